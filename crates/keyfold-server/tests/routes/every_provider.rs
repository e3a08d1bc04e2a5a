//! What every provider's answers become, over HTTP: tables over the registry, so that a provider without
//! coverage fails.

use std::time::Duration;

use keyfold::provider::http::Timeouts;
use keyfold_standin::{Behaviour, Outcome, answer_text, credential, example_key, example_key_with, outcomes};
use serde_json::{Value, json};

use crate::generate::GENERATING;
use crate::support::{Local, Setup};

/// The ids of the registry.
fn providers(local: &Local) -> Vec<String> {
    local.keyfold.registry().ids().iter().map(ToString::to_string).collect()
}

fn key_with(provider: &str, marker: &str) -> String {
    if marker.is_empty() { example_key(provider, 1) } else { example_key_with(provider, marker) }
}

/// Puts a key where local mode reads it, as if it had been entered by hand.
fn enter(local: &Local, provider: &str, key: &str) {
    let variable = &local.keyfold.registry().get(provider).unwrap().variable;
    local.write(".env", &format!("{variable}={key}\n"));
}

#[tokio::test]
async fn saving_a_key_comes_to_what_the_provider_documents() {
    let local = Local::start().await;
    for provider in providers(&local) {
        for (marker, outcome) in outcomes(&provider) {
            let (shown, key) = (format!("{provider} {marker}"), key_with(&provider, marker));
            let before = local.listed(&provider).await;
            let saved = local.put(&format!("/api/keys/{provider}"), json!({ "key": key })).await;
            assert!(!saved.everything().contains(&key), "{shown}");
            let (status, why) = match outcome {
                Outcome::Rejected => {
                    saved.problem(422, "key_rejected");
                    assert_eq!(local.listed(&provider).await, before, "{shown}");
                    continue;
                }
                Outcome::Valid => ("valid", None),
                Outcome::Limited(why) => ("limited", Some(why)),
                Outcome::Unknown(why) => ("unverified", Some(why)),
            };
            let saved = saved.ok();
            assert_eq!(saved["status"], status, "{shown}: {saved}");
            if let Some(why) = why {
                assert!(saved["warnings"].to_string().contains(why), "{shown}: {saved}");
            }
            assert_eq!(local.listed(&provider).await["status"], status, "{shown}");
            assert!(local.file(".env").contains(&key), "{shown}");
        }
    }
}

#[tokio::test]
async fn whatever_goes_wrong_on_the_way_every_providers_key_is_saved_unverified() {
    let timeouts = Timeouts { check: Duration::from_millis(100), ..Timeouts::default() };
    let local = Setup::default().timeouts(timeouts).start().await;
    let troubles = [
        Behaviour::status(429, r#"{"error":"slow down"}"#),
        Behaviour::status(503, r#"{"error":"Unauthorized"}"#),
        Behaviour::status(200, ""),
        Behaviour::status(401, "<html>sign in to the network</html>"),
        Behaviour::InvalidJson,
        Behaviour::Redirect { location: "https://evil.invalid/".into() },
        Behaviour::Huge { bytes: 100_000_000 },
        Behaviour::CloseWithoutAnswer,
        Behaviour::HangAfterHeaders,
    ];
    for provider in providers(&local).into_iter().filter(|provider| !outcomes(provider).is_empty()) {
        for (n, trouble) in (1..).zip(troubles.clone()) {
            let shown = format!("{provider} {trouble:?}");
            let key = example_key(&provider, n);
            local.standin.script(&provider, trouble.clone());
            local.standin.script(&provider, trouble);
            let checked =
                local.post(&format!("/api/keys/{provider}/validate"), json!({ "key": key })).await.ok();
            assert_eq!(
                (&checked["valid"], &checked["status"]),
                (&Value::Null, &json!("unverified")),
                "{shown}"
            );
            let saved = local.has_key(&provider, &key).await.ok();
            assert_eq!(saved["status"], "unverified", "{shown}");
            assert!(saved["warnings"].to_string().contains("without being verified"), "{shown}: {saved}");
        }
    }
}

#[tokio::test]
async fn validating_a_key_comes_to_what_the_provider_documents() {
    let local = Local::start().await;
    for provider in providers(&local) {
        let path = format!("/api/keys/{provider}/validate");
        for (marker, outcome) in outcomes(&provider) {
            let (shown, key) = (format!("{provider} {marker}"), key_with(&provider, marker));
            let (valid, status, why) = match outcome {
                Outcome::Valid => (json!(true), "valid", ""),
                Outcome::Limited(why) => (json!(true), "limited", why),
                Outcome::Rejected => (json!(false), "rejected", ""),
                Outcome::Unknown(why) => (Value::Null, "unverified", why),
            };
            local.write(".env", "");
            let unsaved = local.post(&path, json!({ "key": key })).await.ok();
            assert_eq!(local.listed(&provider).await, Value::Null, "{shown}");
            enter(&local, &provider, &key);
            let stored = local.post(&path, json!({})).await.ok();
            for checked in [unsaved, stored] {
                assert_eq!((&checked["valid"], &checked["status"]), (&valid, &json!(status)), "{shown}");
                assert!(checked["detail"].as_str().unwrap().contains(why), "{shown}: {checked}");
            }
            assert_eq!(local.listed(&provider).await["status"], status, "{shown}");
        }
    }
}

/// The problem of a generation that was refused before it began, or as its stream's last event.
async fn refusal(local: &Local, provider: &str, stream: bool) -> (u16, String, Value) {
    let answer =
        local.post("/api/generate", json!({ "prompt": "hi", "provider": provider, "stream": stream })).await;
    let retry_after = answer.header("retry-after").to_owned();
    if answer.status == 200 {
        let (name, problem) = answer.events().pop().unwrap();
        assert_eq!(name, "error", "{provider}: {problem}");
        return (u16::try_from(problem["status"].as_u64().unwrap()).unwrap(), retry_after, problem);
    }
    (answer.status.as_u16(), retry_after, answer.json())
}

#[tokio::test]
async fn a_refused_generation_keeps_what_the_provider_said_and_does_not_mark_the_key() {
    let local = Local::start().await;
    let cases: [(&str, &[u64]); 5] = [
        ("DENIED", &[401, 403]),
        ("QUOTA", &[429]),
        ("NOCREDIT", &[400, 401, 402, 403, 429]),
        ("BROKEN", &[500]),
        ("NONSENSE", &[]),
    ];
    for provider in GENERATING {
        for (marker, statuses) in cases {
            let (shown, key) = (format!("{provider} {marker}"), key_with(provider, marker));
            enter(&local, provider, &key);
            for stream in [false, true] {
                let (status, retry_after, problem) = refusal(&local, provider, stream).await;
                assert_eq!(problem["code"], "provider_error", "{shown}: {problem}");
                assert_eq!(problem["provider"], provider);
                let said = problem["provider_status"].as_u64();
                assert_eq!(said.is_some(), !statuses.is_empty(), "{shown}: {problem}");
                assert!(said.is_none_or(|said| statuses.contains(&said)), "{shown}: {problem}");
                let kept = said.filter(|said| [402, 429].contains(said)).unwrap_or(502);
                assert_eq!(u64::from(status), kept, "{shown}: {problem}");
                assert_eq!(retry_after, if marker == "QUOTA" { "7" } else { "" }, "{shown}");
                assert!(!problem.to_string().contains(&key[4..]), "{shown}");
            }
            assert_eq!(local.listed(provider).await["status"], "unverified", "{shown}");
        }
    }
}

#[tokio::test]
async fn a_mark_is_cleared_by_every_providers_success() {
    let local = Local::start().await;
    for provider in GENERATING {
        for stream in [false, true] {
            let key = example_key(provider, 1);
            enter(&local, provider, &key);
            let refused = local.keyfold.registry().get(provider).unwrap().id.as_str();
            let (status, body) = match refused {
                "gemini" => (400, r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#),
                _ => (401, r#"{"error":{"message":"no such key"}}"#),
            };
            local.standin.script(provider, Behaviour::status(status, body));
            let (status, _, problem) = refusal(&local, provider, stream).await;
            assert_eq!((status, &problem["code"]), (424, &json!("key_rejected")), "{provider}");
            assert_eq!(local.listed(provider).await["status"], "rejected", "{provider}");
            let body = json!({ "prompt": "hi", "provider": provider, "stream": stream });
            assert_eq!(local.post("/api/generate", body).await.status, 200, "{provider}");
            assert_eq!(local.listed(provider).await["status"], "valid", "{provider}");
        }
    }
}

#[tokio::test]
async fn every_provider_that_is_slow_is_a_timeout() {
    let timeouts = Timeouts { first_byte: Duration::from_millis(50), ..Timeouts::default() };
    let local = Setup::default().timeouts(timeouts).start().await;
    for provider in GENERATING {
        enter(&local, provider, &example_key(provider, 1));
        for stream in [false, true] {
            local.standin.script(provider, Behaviour::Hang);
            let (status, _, problem) = refusal(&local, provider, stream).await;
            assert_eq!((status, &problem["code"]), (504, &json!("provider_timeout")), "{provider}");
        }
    }
}

#[tokio::test]
async fn whatever_exa_answers_research_says_it_by_its_code() {
    let local = Local::start().await;
    let cases = [
        ("INVALID", 424, "key_rejected", None, "rejected"),
        ("DENIED", 502, "provider_error", Some(403), "unverified"),
        ("QUOTA", 429, "provider_error", Some(429), "unverified"),
        ("NOCREDIT", 402, "provider_error", Some(402), "unverified"),
        ("BROKEN", 502, "provider_error", Some(500), "unverified"),
        ("NONSENSE", 502, "provider_error", None, "unverified"),
    ];
    for (marker, status, code, said, listed) in cases {
        enter(&local, "exa", &key_with("exa", marker));
        let answer = local.post("/api/research", json!({ "query": "tides" })).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem["provider_status"].as_u64(), said, "{marker}: {problem}");
        assert_eq!(answer.header("retry-after"), if marker == "QUOTA" { "7" } else { "" }, "{marker}");
        assert_eq!(local.listed("exa").await["status"], listed, "{marker}");
    }
}

// Providers of KEYFOLD_PROVIDERS_FILE

/// As the documentation shows it; it speaks like OpenAI, so the stand-in's OpenAI plays it.
const ACME: &str = r#"
[acme-ai]
name = "Acme"
description = "Writes texts."
address = "https://api.acme.example"
variable = "ACME_API_KEY"
setup_url = "https://acme.example/keys"
format_hint = "starts with acme_"
shapes = [{ prefix = "acme_", characters = "word", at_least = 20, only_here = true }]
generate = { api = "openai", path = "/v1/chat/completions", model = "acme-1" }
check = { method = "GET", path = "/v1/models" }

[groq]
generate = { api = "openai", path = "/openai/v1/chat/completions", model = "acme-on-groq" }
"#;

/// With Acme, and its address set as an operator would.
async fn with_acme() -> Local {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("providers.toml"), ACME).unwrap();
    let double = keyfold_standin::Standin::start().await;
    let address = double.base_url("openai");
    let setup = Setup::default()
        .in_dir(dir)
        .with("KEYFOLD_PROVIDERS_FILE", "providers.toml")
        .with("KEYFOLD_PROVIDER_ACME_AI_BASE_URL", &address);
    let mut local = setup.start().await;
    local.standin = double;
    local
}

#[tokio::test]
async fn a_provider_of_the_file_is_listed_saved_checked_and_used() {
    let local = with_acme().await;
    let list = local.get("/api/providers").await.ok();
    let listed =
        list["providers"].as_array().unwrap().iter().find(|provider| provider["id"] == "acme-ai").unwrap();
    assert_eq!(listed["name"], "Acme");
    assert_eq!((&listed["generates"], &listed["checkable"]), (&json!(true), &json!(true)));
    assert!(!list.to_string().contains("api.acme.example"), "{list}");

    let key = format!("acme_TestData{:032}", 1);
    let saved = local.has_key("acme-ai", &key).await.ok();
    assert_eq!((&saved["status"], &saved["warnings"]), (&json!("valid"), &json!([])));
    assert_eq!(local.file(".env"), format!("ACME_API_KEY={key}\n"));
    assert_eq!(local.listed("acme-ai").await["status"], "valid");

    for stream in [false, true] {
        local.standin.clear();
        let body = json!({ "prompt": "hi", "provider": "acme-ai", "stream": stream });
        let answer = local.post("/api/generate", body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        if !stream {
            assert_eq!(answer.json()["text"], answer_text(&key, "hi"));
        }
        let seen = local.standin.requests();
        assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/v1/chat/completions"));
        assert_eq!(seen[0].json()["model"], "acme-1");
        let (name, value) = credential("openai", &key);
        assert_eq!(seen[0].headers.get(name), Some(&value));
    }

    let rejected = local.put("/api/keys/acme-ai", json!({ "key": format!("acme_INVALID{:032}", 1) })).await;
    rejected.problem(422, "key_rejected");
    let problem =
        local.put("/api/keys/openai", json!({ "key": key })).await.problem(422, "invalid_key_format");
    assert!(problem["detail"].as_str().unwrap().contains("looks like a key of Acme"), "{problem}");
    assert_eq!(local.delete("/api/keys/acme-ai").await.status, 204);
    assert_eq!(local.file(".env"), "");
    let body = json!({ "prompt": "hi", "provider": "acme-ai" });
    let problem = local.post("/api/generate", body).await.problem(404, "no_api_key");
    assert!(problem["detail"].as_str().unwrap().contains("ACME_API_KEY"), "{problem}");
}

#[tokio::test]
async fn a_field_that_the_file_changes_counts() {
    let local = with_acme().await;
    let list = local.get("/api/providers").await.ok();
    let models = list["providers"].as_array().unwrap().iter();
    let groq = models.clone().find(|provider| provider["id"] == "groq").unwrap();
    assert_eq!((&groq["default_model"], &groq["name"]), (&json!("acme-on-groq"), &json!("Groq")));
}
