//! Keys that lie around where the process runs are nobody's in production.

use std::path::{Path, PathBuf};

use keyfold_standin::example_key;
use serde_json::json;

use super::ledger::{Call, Ledger, Mark};
use crate::support::files_below;
use crate::support::production::{Production, Setup};

const FILES: [&str; 3] = [".env", "backend/.env", "frontend/.env"];
const VARIABLES: [(&str, &str); 5] = [
    ("GEMINI_API_KEY", "gemini"),
    ("GOOGLE_API_KEY", "gemini"),
    ("OPENAI_API_KEY", "openai"),
    ("EXA_API_KEY", "exa"),
    ("COPILOTKIT_API_KEY", "copilotkit"),
];

/// A Keyfold in a process and a folder full of keys.
async fn among_keys() -> Production {
    let mut setup = Setup::default();
    for (variable, provider) in VARIABLES {
        setup = setup.with(variable, &example_key(provider, 900));
    }
    for name in FILES {
        setup = setup.file(name, &content());
    }
    setup.start().await
}

fn content() -> String {
    VARIABLES.map(|(variable, provider)| format!("{variable}={}\n", example_key(provider, 901))).concat()
}

/// But those of the audit spool, which come and go.
fn files_of_users(folder: &Path) -> Vec<PathBuf> {
    let spool = folder.join(".keyfold/spool");
    let mut found: Vec<PathBuf> =
        files_below(folder).into_iter().filter(|path| !path.starts_with(&spool)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn keys_of_the_process_and_of_env_files_are_used_for_nobody() {
    let production = among_keys().await;
    let (with, without) = (production.as_user("with"), production.as_user("without"));
    let before = files_of_users(production.dir.path());
    let own = with.has_example_key("gemini", 1).await;

    for provider in ["gemini", "openai"] {
        let body = json!({ "prompt": "Say hello", "provider": provider });
        without.post("/api/generate", body.clone()).await.problem(404, "no_api_key");
        let streamed = json!({ "prompt": "Say hello", "provider": provider, "stream": true });
        without.post("/api/generate", streamed).await.problem(404, "no_api_key");
        without.post(&format!("/api/keys/{provider}/validate"), json!({})).await.problem(404, "no_api_key");
        without.delete(&format!("/api/keys/{provider}")).await.problem(404, "no_api_key");
    }
    without.post("/api/research", json!({ "query": "news" })).await.problem(404, "no_api_key");
    assert_eq!(without.get("/api/keys").await.ok()["keys"], json!([]));
    without.get("/api/onboarding/api-keys/validate").await.ok();
    // Who has one key has no others.
    let other = json!({ "prompt": "Say hello", "provider": "openai" });
    with.post("/api/generate", other).await.problem(404, "no_api_key");

    let mark = Mark { user: 1, operation: 1 };
    with.post("/api/generate", json!({ "prompt": mark.to_string() })).await.ok();
    with.delete("/api/keys/gemini").await;
    with.post("/api/generate", json!({ "prompt": "Say hello" })).await.problem(404, "no_api_key");

    let mut ledger = Ledger::default();
    ledger.check("gemini", &own);
    ledger.call(mark, Call { provider: "gemini", keys: vec![own], must_come: true });
    ledger.judge(&production.standin.requests()).without_complaints();
    assert_eq!(files_of_users(production.dir.path()), before);
    for name in FILES {
        assert_eq!(std::fs::read_to_string(production.dir.path().join(name)).unwrap(), content());
    }
}

#[tokio::test]
async fn no_env_file_comes_into_being() {
    let production = Production::start().await;
    let user = production.as_user("user_a");
    user.has_example_key("gemini", 1).await;
    user.has_example_key("copilotkit", 1).await;
    user.post("/api/generate", json!({ "prompt": "Say hello" })).await.ok();
    user.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    user.delete("/api/keys/copilotkit").await;
    let found = files_of_users(production.dir.path());
    assert!(found.iter().all(|path| !path.to_string_lossy().contains(".env")), "{found:?}");
}
