//! Local mode, where the key stands in the `.env` too.

use futures_util::future::join_all;
use keyfold_standin::{Behaviour, example_key, example_key_with};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Local, Setup};

const AT_ONCE: u32 = 50;

async fn generate(local: &Local) -> Value {
    local.post("/api/generate", json!({ "prompt": "hello", "provider": "openai" })).await.ok()
}

/// The keys of the calls that came since the last look, checks among them.
fn keys_seen(local: &Local) -> Vec<String> {
    let keys = local.standin.requests().into_iter().map(|seen| seen.key).collect();
    local.standin.clear();
    keys
}

#[tokio::test]
async fn a_call_under_way_finishes_with_the_old_key_and_the_next_one_uses_the_new() {
    let local = Local::start().await;
    let old = local.has_example_key("openai", 1).await;
    local.standin.clear();
    local.standin.script("openai", Behaviour::StreamThenHang { chunks: 2 });
    let mut stream = local.stream(json!({ "prompt": "hello", "provider": "openai" })).await;
    assert_eq!(stream.next().await.unwrap().0, "delta");
    local.standin.script("openai", Behaviour::Hang);
    let request = json!({ "prompt": "hello", "provider": "openai" });
    let (whole, new) = tokio::join!(local.post("/api/generate", request), async {
        local.standin.wait_for_requests(2).await;
        let new = local.has_example_key("openai", 2).await;
        generate(&local).await;
        local.standin.release();
        new
    });
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.body);
    assert_eq!(stream.rest().await.last().unwrap().0, "done");
    // The two that had begun; the check; the call after it.
    assert_eq!(keys_seen(&local), [old.clone(), old, new.clone(), new]);
}

#[tokio::test]
async fn until_the_new_key_is_checked_the_old_one_is_used_and_a_rejected_one_changes_nothing() {
    let local = Local::start().await;
    let old = local.has_example_key("openai", 1).await;
    for (new, status) in [(example_key_with("openai", "INVALID"), 422), (example_key("openai", 2), 200)] {
        local.standin.clear();
        local.standin.script("openai", Behaviour::Hang);
        let (saved, ()) = tokio::join!(local.put("/api/keys/openai", json!({ "key": new })), async {
            local.standin.wait_for_requests(1).await;
            generate(&local).await;
            assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={old}\n"));
            local.standin.release();
        });
        assert_eq!(saved.status, status, "{}", saved.body);
        let present = if status == 200 { &new } else { &old };
        generate(&local).await;
        assert_eq!(keys_seen(&local), [&new, &old, present].map(Clone::clone));
        assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={present}\n"));
    }
    assert_eq!(local.listed("openai").await["version"], 2);
    local.post("/api/keys/openai/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={old}\n"), "the rejected one was never a version");
}

#[tokio::test]
async fn of_fifty_replacements_at_once_one_wins_and_file_and_database_agree() {
    let local = Setup::default().with("KEYFOLD_RATE_LIMIT_KEYS", "off").start().await;
    let old = local.has_example_key("openai", 1).await;
    local.standin.clear();
    let new: Vec<String> = (2..2 + AT_ONCE).map(|n| example_key("openai", n)).collect();
    for _ in &new {
        local.standin.script("openai", Behaviour::Hang);
    }
    let saving = join_all(new.iter().map(|key| local.put("/api/keys/openai", json!({ "key": key }))));
    let (answers, ()) = tokio::join!(saving, async {
        local.standin.wait_for_requests(new.len()).await;
        local.standin.release();
    });
    let won: Vec<&String> =
        new.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).map(|(key, _)| key).collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(409, "conflict");
    }
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={}\n", won[0]));
    // A version is listed only where the file has what the database has.
    assert_eq!(local.listed("openai").await["version"], 2);
    local.standin.clear();
    generate(&local).await;
    assert_eq!(keys_seen(&local), [won[0].clone()]);
    local.post("/api/keys/openai/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={old}\n"));
}
