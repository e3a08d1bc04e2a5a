//! `/api/keys`

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use keyfold::provider::http::Timeouts;
use keyfold_standin::{
    Behaviour, PROVIDERS, answer_text, example_key, example_key_with, fingerprint, refused_port,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::production::Production;
use crate::support::{Answer, Local, START, Setup, files_below};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn shown(key: &str) -> String {
    format!("****{}", &key[key.len() - 4..])
}

/// Everything that saving a key could change.
async fn all_there_is(local: &Local) -> (String, String, Value) {
    (local.file(".env"), local.file("frontend/.env"), local.get("/api/keys").await.ok())
}

async fn save(local: &Local, provider: &str, key: &str) -> Answer {
    local.put(&format!("/api/keys/{provider}"), json!({ "key": key })).await
}

#[track_caller]
fn only_warning(saved: &Value) -> String {
    let warnings = saved["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{saved}");
    warnings[0].as_str().unwrap().to_owned()
}

async fn generated_with(local: &Local, provider: &str) -> String {
    let answer = local.post("/api/generate", json!({ "prompt": "hello", "provider": provider })).await.ok();
    answer["text"].as_str().unwrap().to_owned()
}

// What else the page is told

#[tokio::test]
async fn a_key_tells_whether_it_can_be_rolled_back() {
    let local = Local::start().await;
    let has_previous = async || local.listed("gemini").await["has_previous"].clone();
    let old = local.has_example_key("gemini", 1).await;
    assert_eq!(has_previous().await, false);
    // The same again is nothing new to go back to.
    let again = local.has_key("gemini", &old).await.json();
    assert_eq!(has_previous().await, again["has_previous"]);
    let saved = local.has_key("gemini", &example_key("gemini", 2)).await.json();
    assert_eq!((&saved["has_previous"], has_previous().await), (&json!(true), json!(true)));
    local.clock.advance(DAY);
    assert_eq!(has_previous().await, false);
    local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");

    // An edit by hand is a version too.
    local.write(".env", &format!("GEMINI_API_KEY={}\n", example_key("gemini", 3)));
    assert_eq!(has_previous().await, true);
    let back = local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!((&back["has_previous"], has_previous().await), (&json!(true), json!(true)));

    let missing = local.listed("exa").await;
    assert_eq!(missing, Value::Null);
    local.has_example_key("exa", 1).await;
    assert_eq!(local.listed("exa").await["has_previous"], false);
}

#[tokio::test]
async fn a_key_tells_the_files_that_it_stands_in() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    let saved = local.has_example_key("copilotkit", 1).await;
    let both = json!([local.path(".env"), local.path("frontend/.env")]);
    assert_eq!(local.listed("copilotkit").await["files"], both);
    assert_eq!(local.has_key("copilotkit", &saved).await.json()["files"], both);
    assert_eq!(local.listed("gemini").await["files"], json!([local.path(".env")]));

    let local = Setup::default().without_frontend().start().await;
    local.has_example_key("copilotkit", 1).await;
    assert_eq!(local.listed("copilotkit").await["files"], json!([local.path(".env")]));
}

#[tokio::test]
async fn a_key_tells_which_variable_of_the_process_is_used_instead() {
    let of_process = example_key("gemini", 1);
    let local = Setup::default().with("GEMINI_API_KEY", &of_process).start().await;
    let listed = local.listed("gemini").await;
    assert_eq!((&listed["source"], &listed["overridden"]), (&json!("environment"), &Value::Null));
    let saved = local.has_key("gemini", &example_key("gemini", 2)).await.json();
    assert_eq!((&saved["source"], &saved["overridden"]), (&json!("env_file"), &json!("GEMINI_API_KEY")));
    let listed = local.listed("gemini").await;
    assert_eq!((&listed["source"], &listed["overridden"]), (&json!("environment"), &json!("GEMINI_API_KEY")));
    assert_eq!(listed["masked"], shown(&of_process));
    let other = local.has_key("exa", &example_key("exa", 1)).await.json();
    assert_eq!(
        (&other["overridden"], &local.listed("exa").await["overridden"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn in_production_there_are_no_files_and_only_the_user_can_roll_back() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    a.has_example_key("gemini", 1).await;
    b.has_example_key("gemini", 2).await;
    let saved = a.put("/api/keys/gemini", json!({ "key": example_key("gemini", 3) })).await.ok();
    assert_eq!(saved["has_previous"], true);
    for (user, has_previous) in [(&a, true), (&b, false)] {
        let listed = user.get("/api/keys").await.ok()["keys"][0].take();
        assert_eq!(listed["has_previous"], has_previous);
        assert!(listed.get("files").is_none() && listed.get("overridden").is_none(), "{listed}");
    }
}

// Saving

#[tokio::test]
async fn a_saved_key_is_listed_masked_and_stands_in_the_env_file() {
    let local = Local::start().await;
    let key = example_key("gemini", 1);
    let saved = local.put("/api/keys/gemini", json!({ "key": format!("  {key}\n") })).await;
    assert_eq!(saved.status, 201);
    let saved = saved.json();
    assert_eq!(saved["status"], "valid");
    assert_eq!(saved["masked"], format!("****{}", &key[key.len() - 4..]));
    assert_eq!(saved["warnings"], json!([]));
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
    let list = local.get("/api/keys").await.ok();
    assert_eq!(list["missing"], json!([]));
    assert_eq!(list["keys"][0]["version"], 1);
    assert!(!list.to_string().contains(&key));
}

#[tokio::test]
async fn a_new_key_is_answered_by_its_whole_record() {
    let local = Local::start().await;
    let key = example_key("gemini", 1);
    let saved = save(&local, "gemini", &key).await;
    assert_eq!(saved.status, 201);
    let record = json!({
        "provider": "gemini", "masked": shown(&key), "status": "valid", "source": "env_file", "version": 1,
        "created_at": START, "updated_at": START, "last_used_at": null, "last_verified_at": START,
        "has_previous": false, "files": [local.path(".env")],
    });
    let mut expected = record.clone();
    expected["warnings"] = json!([]);
    assert_eq!(saved.json(), expected);
    assert_eq!(local.get("/api/keys").await.ok(), json!({ "keys": [record], "missing": [] }));
}

#[tokio::test]
async fn a_user_without_keys_has_an_empty_list_and_sees_what_is_required() {
    let local = Local::start().await;
    assert_eq!(local.get("/api/keys").await.ok(), json!({ "keys": [], "missing": ["gemini"] }));
    let local = Setup::default().with("KEYFOLD_ONBOARDING", "alwrity").start().await;
    let list = local.get("/api/keys").await.ok();
    assert_eq!(list, json!({ "keys": [], "missing": ["gemini", "exa", "copilotkit"] }));
}

#[tokio::test]
async fn a_replaced_key_is_the_second_version() {
    let local = Local::start().await;
    let old = local.has_example_key("gemini", 1).await;
    local.clock.advance(SignedDuration::from_hours(1));
    let new = example_key("gemini", 2);
    let saved = save(&local, "gemini", &new).await;
    assert_eq!(saved.status, 200);
    let saved = saved.json();
    assert_eq!(saved["version"], 2);
    assert_eq!(saved["masked"], shown(&new));
    assert_eq!(saved["created_at"], START);
    assert_eq!(saved["updated_at"], "2026-01-02T04:04:05Z");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={new}\n"));
    assert!(!local.get("/api/keys").await.body.contains(&old[old.len() - 4..]));
}

#[tokio::test]
async fn every_provider_takes_its_own_keys_without_a_warning() {
    let local = Local::start().await;
    for provider in PROVIDERS {
        let key = example_key(provider, 3);
        let saved = save(&local, provider, &key).await;
        assert_eq!(saved.status, 201, "{provider}: {}", saved.body);
        let saved = saved.json();
        if provider == "copilotkit" {
            // It has no free check.
            assert_eq!(saved["status"], "unverified");
            assert!(only_warning(&saved).contains("has no free way to check"));
        } else {
            assert_eq!(saved["status"], "valid", "{provider}: {saved}");
            assert_eq!(saved["warnings"], json!([]), "{provider}");
            let asked = local.standin.requests_for(provider);
            assert_eq!(asked.len(), 1, "{provider}");
            assert_eq!(asked[0].key, key, "{provider}");
        }
        let variable = local.keyfold.registry().get(provider).unwrap().variable.clone();
        assert!(local.file(".env").contains(&format!("{variable}={key}\n")), "{provider}");
    }
    let list = local.get("/api/keys").await.ok();
    assert_eq!(list["keys"].as_array().unwrap().len(), PROVIDERS.len());
}

#[tokio::test]
async fn white_space_around_a_key_does_not_count() {
    let local = Local::start().await;
    let key = example_key("openai", 1);
    for around in ["\n", "\r\n", "\t", "   ", "\u{a0}", " \n\t "] {
        let saved = save(&local, "openai", &format!("{around}{key}{around}")).await;
        assert!(saved.status.is_success(), "{around:?}: {}", saved.body);
        assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={key}\n"), "{around:?}");
    }
}

#[tokio::test]
async fn a_key_with_characters_that_no_key_has_is_refused_and_nothing_changes() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    let before = all_there_is(&local).await;
    let key = example_key("openai", 2);
    let (start, end) = key.split_at(20);
    let inside = [
        "\n", "\r", "\r\n", "\0", "\t", "\u{7f}", "\u{1b}", "\u{85}", " ", "\u{a0}", "\u{2028}", "\u{200b}",
        "ü", "ключ", "🔑", "$", "'", "\"", "`", "\\",
    ];
    for wrong in inside.map(|between| format!("{start}{between}{end}")).iter().chain(&[format!("{key}\0")]) {
        let refused = save(&local, "openai", wrong).await;
        let problem = refused.problem(422, "invalid_key_format");
        assert_eq!(problem["provider"], "openai", "{wrong:?}");
        assert!(!refused.everything().contains(start), "{wrong:?}");
    }
    assert_eq!(all_there_is(&local).await, before);
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn an_empty_key_is_refused() {
    let local = Local::start().await;
    for empty in ["", " ", "\n\t "] {
        let problem = save(&local, "gemini", empty).await.problem(422, "invalid_key_format");
        assert!(problem["detail"].as_str().unwrap().contains("empty"), "{problem}");
    }
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn a_key_has_at_most_4096_bytes() {
    let local = Local::start().await;
    let longest = "k".repeat(4096);
    let saved = save(&local, "exa", &format!(" {longest} ")).await;
    assert_eq!(saved.status, 201);
    assert_eq!(local.file(".env"), format!("EXA_API_KEY={longest}\n"));
    let before = all_there_is(&local).await;
    for too_long in ["k".repeat(4097), "k".repeat(5 * 1024)] {
        let problem = save(&local, "exa", &too_long).await.problem(422, "invalid_key_format");
        assert!(problem["detail"].as_str().unwrap().contains("4,096"), "{problem}");
    }
    assert_eq!(all_there_is(&local).await, before);
}

#[tokio::test]
async fn a_short_key_shows_nothing_of_itself() {
    let local = Local::start().await;
    for (key, masked) in [("abcdefghijk", "****"), ("abcdefghijkl", "****ijkl")] {
        let saved = save(&local, "mistral", key).await.ok();
        assert_eq!(saved["masked"], masked);
        assert_eq!(local.listed("mistral").await["masked"], masked);
    }
}

#[tokio::test]
async fn a_key_that_can_only_be_another_providers_is_refused_before_anybody_is_asked() {
    let local = Local::start().await;
    let telling = [
        "gemini",
        "copilotkit",
        "openai",
        "anthropic",
        "groq",
        "xai",
        "tavily",
        "perplexity",
        "openrouter",
        "together",
        "huggingface",
    ];
    for owner in telling {
        let name = &local.keyfold.registry().get(owner).unwrap().name;
        for n in [1, 2] {
            let key = example_key(owner, n);
            for provider in PROVIDERS.into_iter().filter(|provider| *provider != owner) {
                let refused = save(&local, provider, &key).await;
                let problem = refused.problem(422, "invalid_key_format");
                let detail = problem["detail"].as_str().unwrap();
                assert!(
                    detail.contains(&format!("looks like a key of {name}")),
                    "{owner} {provider}: {detail}"
                );
                assert!(!refused.everything().contains(&key), "{owner} {provider}");
            }
        }
    }
    assert!(local.standin.requests().is_empty());
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn a_refusal_says_what_a_key_should_look_like() {
    let local = Local::start().await;
    let problem =
        save(&local, "gemini", &example_key("anthropic", 1)).await.problem(422, "invalid_key_format");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("Anthropic") && detail.contains("starts with AQ."), "{detail}");
}

#[tokio::test]
async fn admin_keys_are_refused_everywhere() {
    let local = Local::start().await;
    let filling = "TestData".repeat(8);
    for prefix in ["sk-admin-", "sk-ant-admin01-"] {
        for provider in PROVIDERS {
            let refused = save(&local, provider, &format!("{prefix}{filling}")).await;
            refused.problem(422, "invalid_key_format");
            assert!(!refused.everything().contains(&filling), "{provider}");
        }
    }
    let problem =
        save(&local, "openai", &format!("sk-admin-{filling}")).await.problem(422, "invalid_key_format");
    assert!(problem["detail"].as_str().unwrap().contains("admin key"), "{problem}");
    let problem = save(&local, "anthropic", &format!("sk-ant-admin01-{filling}"))
        .await
        .problem(422, "invalid_key_format");
    assert!(problem["detail"].as_str().unwrap().contains("admin key"), "{problem}");
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn placeholders_are_refused() {
    let local = Local::start().await;
    let placeholders = [
        "your_gemini_api_key_here",
        "YOUR_API_KEY",
        "your-key",
        "changeme",
        "CHANGE_ME",
        "<paste>",
        "xxxxxxxxxxxx",
        "AIza...",
        "AIzaXXXXXXXX",
        "********",
        "placeholder",
        "replace-me",
        "null",
        "none",
        "undefined",
        "todo",
        "test",
    ];
    for placeholder in placeholders {
        let problem = save(&local, "gemini", placeholder).await.problem(422, "invalid_key_format");
        assert!(problem["detail"].as_str().unwrap().contains("placeholder"), "{placeholder}: {problem}");
    }
    assert!(local.standin.requests().is_empty());
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn an_unknown_form_only_warns() {
    let local = Local::start().await;
    let key = "GQ-a-form-of-tomorrow-0123456789";
    let saved = save(&local, "gemini", key).await;
    assert_eq!(saved.status, 201);
    let saved = saved.json();
    assert_eq!(saved["status"], "valid");
    assert!(only_warning(&saved).contains("does not look like"), "{saved}");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
}

#[tokio::test]
async fn an_unknown_form_is_described_in_whole_sentences() {
    let local = Local::start().await;
    for provider in PROVIDERS {
        let saved = save(&local, provider, "a-form=of,tomorrow").await.ok();
        for warning in saved["warnings"].as_array().unwrap() {
            let warning = warning.as_str().unwrap();
            let Some((_, hint)) = warning.split_once("(a key ") else { continue };
            let verb = hint.split(' ').next().unwrap();
            assert!(["starts", "has", "is"].contains(&verb), "{provider}: {warning}");
        }
    }
}

#[tokio::test]
async fn a_rejected_key_is_not_saved_and_the_old_one_stays() {
    let local = Local::start().await;
    for provider in PROVIDERS.into_iter().filter(|provider| *provider != "copilotkit") {
        let old = local.has_example_key(provider, 1).await;
        let before = all_there_is(&local).await;
        let wrong = example_key_with(provider, "INVALID");
        let refused = save(&local, provider, &wrong).await;
        let problem = refused.problem(422, "key_rejected");
        assert_eq!(problem["provider"], provider);
        let setup_url = &local.keyfold.registry().get(provider).unwrap().setup_url;
        assert!(problem["detail"].as_str().unwrap().contains(setup_url), "{problem}");
        assert!(!refused.everything().contains(&wrong[wrong.len() - 8..]), "{provider}");
        assert_eq!(all_there_is(&local).await, before, "{provider}");
        assert!(before.0.contains(&old));
    }
}

#[tokio::test]
async fn a_key_that_was_never_valid_leaves_no_trace() {
    let local = Local::start().await;
    save(&local, "openai", &example_key_with("openai", "INVALID")).await.problem(422, "key_rejected");
    assert!(!local.path(".env").exists());
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
    local.post("/api/keys/openai/rollback", json!({})).await.problem(404, "no_previous_version");
}

#[tokio::test]
async fn a_blocked_xai_key_is_rejected_although_its_answer_succeeds() {
    let local = Local::start().await;
    for marker in ["BLOCKED", "DISABLED"] {
        save(&local, "xai", &example_key_with("xai", marker)).await.problem(422, "key_rejected");
    }
}

#[tokio::test]
async fn a_limited_key_is_saved_with_a_warning_that_says_why() {
    let local = Local::start().await;
    let cases = [
        ("gemini", "DENIED", "Generative Language API"),
        ("gemini", "DENIEDREF", "web sites"),
        ("gemini", "DENIEDIP", "addresses"),
        ("openai", "DENIED", "scope"),
        ("openai", "DENIED401", "scope"),
        ("openai", "QUOTA", "quota"),
        ("anthropic", "NOCREDIT", "credits"),
        ("exa", "NOCREDIT", "credits"),
        ("elevenlabs", "DENIED", "permission"),
    ];
    for (provider, marker, why) in cases {
        let key = example_key_with(provider, marker);
        let saved = save(&local, provider, &key).await;
        assert!(saved.status.is_success(), "{provider} {marker}: {}", saved.body);
        let saved = saved.json();
        assert_eq!(saved["status"], "limited", "{provider} {marker}: {saved}");
        let warnings = saved["warnings"].to_string();
        assert!(warnings.contains("limited") && warnings.contains(why), "{provider} {marker}: {saved}");
        assert_eq!(local.listed(provider).await["status"], "limited", "{provider} {marker}");
        assert!(local.file(".env").contains(&key), "{provider} {marker}");
    }
}

/// The key is saved with a warning that says why nobody knows whether it is live.
async fn assert_saved_unverified(local: &Local, key: &str, behaviour: Behaviour, why: &str) {
    local.standin.script("openai", behaviour.clone());
    let saved = save(local, "openai", key).await;
    assert!(saved.status.is_success(), "{behaviour:?}: {}", saved.body);
    let saved = saved.json();
    assert_eq!(saved["status"], "unverified", "{behaviour:?}");
    assert_eq!(saved["last_verified_at"], Value::Null, "{behaviour:?}");
    let warning = only_warning(&saved);
    assert!(warning.contains("without being verified") && warning.contains(why), "{behaviour:?}: {warning}");
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={key}\n"), "{behaviour:?}");
}

#[tokio::test]
async fn a_provider_that_is_slow_never_rejects_a_key() {
    let timeouts = Timeouts { check: Duration::from_millis(100), ..Timeouts::default() };
    let local = Setup::default().timeouts(timeouts).start().await;
    for (n, behaviour) in
        [(1, Behaviour::Hang), (2, Behaviour::HangAfterHeaders), (3, Behaviour::StreamThenHang { chunks: 2 })]
    {
        assert_saved_unverified(&local, &example_key("openai", n), behaviour, "did not answer in time").await;
    }
    // Nothing is left running there.
    local.standin.wait_for_cancelled(3).await;
}

#[tokio::test]
async fn a_provider_that_makes_no_sense_never_rejects_a_key() {
    let local = Local::start().await;
    let html = "<html><body>Sign in to the hotel's network</body></html>";
    let cases = [
        (Behaviour::CloseWithoutAnswer, "could not be reached"),
        (Behaviour::NotJson, "a web page answered"),
        (Behaviour::InvalidJson, "not as it should"),
        (Behaviour::status_with(401, &[("content-type", "text/html")], html), "a web page answered"),
        (Behaviour::status_with(403, &[("content-type", "text/html")], html), "a web page answered"),
        (Behaviour::status(407, ""), "answered 407"),
        (Behaviour::status(500, r#"{"error":"oh no"}"#), "answered 500"),
        (Behaviour::status(503, r#"{"error":"API key expired while we were away"}"#), "answered 503"),
        (Behaviour::status(429, r#"{"error":{"message":"slow down"}}"#), "fewer requests"),
        (Behaviour::Redirect { location: "http://127.0.0.1:9/".into() }, "answered 307"),
        (Behaviour::StreamThenCut { chunks: 2 }, "not as it should"),
    ];
    for (n, (behaviour, why)) in (10..).zip(cases) {
        assert_saved_unverified(&local, &example_key("openai", n), behaviour, why).await;
    }
}

#[tokio::test]
async fn an_endless_answer_to_a_check_is_cut_short() {
    let local = Local::start().await;
    local.standin.script("openai", Behaviour::Huge { bytes: 100 * 1024 * 1024 });
    let saved = save(&local, "openai", &example_key("openai", 1)).await;
    assert_eq!(saved.status, 201);
    let saved = saved.json();
    assert_eq!(saved["status"], "unverified");
    assert!(only_warning(&saved).contains("more than was asked for"), "{saved}");
    // It was not read to its end.
    local.standin.wait_for_cancelled(1).await;
}

#[tokio::test]
async fn a_provider_that_is_away_does_not_keep_a_key_from_being_saved() {
    let local = Setup::default().with("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &refused_port()).start().await;
    let key = example_key("gemini", 1);
    let saved = save(&local, "gemini", &key).await;
    assert_eq!(saved.status, 201);
    let saved = saved.json();
    assert_eq!(saved["status"], "unverified");
    assert!(only_warning(&saved).contains("could not be reached"), "{saved}");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
    let checked = local.post("/api/keys/gemini/validate", json!({})).await.ok();
    assert_eq!((&checked["valid"], &checked["status"]), (&Value::Null, &json!("unverified")));
}

#[tokio::test]
async fn a_key_for_the_front_end_is_written_to_both_files() {
    let local = Local::start().await;
    local.write("frontend/.env", "REACT_APP_TITLE=mine\n");
    let key = local.has_example_key("copilotkit", 1).await;
    assert_eq!(local.listed("copilotkit").await["status"], "unverified");
    assert_eq!(local.file(".env"), format!("COPILOTKIT_API_KEY={key}\n"));
    assert_eq!(
        local.file("frontend/.env"),
        format!("REACT_APP_TITLE=mine\nREACT_APP_COPILOTKIT_API_KEY={key}\n")
    );
    assert_eq!(local.delete("/api/keys/copilotkit").await.status, 204);
    assert_eq!(local.file(".env"), "");
    assert_eq!(local.file("frontend/.env"), "REACT_APP_TITLE=mine\n");
}

#[tokio::test]
async fn without_a_front_end_its_key_is_saved_with_a_warning() {
    let local = Setup::default().without_frontend().start().await;
    let key = example_key("copilotkit", 1);
    let saved = save(&local, "copilotkit", &key).await;
    assert_eq!(saved.status, 201);
    let saved = saved.json();
    let warnings = saved["warnings"].to_string();
    assert!(warnings.contains("KEYFOLD_FRONTEND_ENV_FILE"), "{warnings}");
    assert_eq!(local.file(".env"), format!("COPILOTKIT_API_KEY={key}\n"));
    assert!(!local.path("frontend").exists());
}

#[tokio::test]
async fn other_lines_of_the_env_file_stay_as_they_are() {
    let local = Local::start().await;
    let mine =
        "# mine\r\nDATABASE_NAME='a b'\r\nexport GEMINI_API_KEY=your_key_here # put it here\r\n\r\nLAST=1";
    local.write(".env", mine);
    let key = local.has_example_key("gemini", 1).await;
    assert_eq!(local.file(".env"), mine.replace("your_key_here", &key));
}

#[tokio::test]
async fn an_unknown_provider_is_404_with_those_that_there_are() {
    let local = Local::start().await;
    let sent = "sk-pasted-into-the-wrong-place";
    let body = || json!({ "key": "abcdefghijkl" });
    let answers = [
        save(&local, sent, "abcdefghijkl").await,
        local.delete(&format!("/api/keys/{sent}")).await,
        local.post(&format!("/api/keys/{sent}/validate"), body()).await,
        local.post(&format!("/api/keys/{sent}/rollback"), body()).await,
        save(&local, "GEMINI", "abcdefghijkl").await,
        save(&local, "%00", "abcdefghijkl").await,
        save(&local, "..%2fgemini", "abcdefghijkl").await,
    ];
    for answer in answers {
        let problem = answer.problem(404, "unknown_provider");
        let mut known: Vec<&str> =
            problem["known_providers"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        let mut expected = PROVIDERS.to_vec();
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected);
        assert!(problem["detail"].as_str().unwrap().contains("gemini"), "{problem}");
        assert!(!answer.everything().contains("pasted"), "{}", answer.everything());
    }
}

// The process, and edits by hand

#[tokio::test]
async fn a_variable_of_the_process_comes_before_the_file() {
    let of_process = example_key("gemini", 7);
    let local = Setup::default().with("GEMINI_API_KEY", &of_process).start().await;
    let listed = local.listed("gemini").await;
    assert_eq!(listed["source"], "environment");
    assert_eq!(listed["status"], "unverified");
    assert_eq!(listed["version"], Value::Null);
    assert_eq!(listed["masked"], shown(&of_process));

    let saved_key = example_key("gemini", 1);
    let saved = save(&local, "gemini", &saved_key).await;
    assert_eq!(saved.status, 201);
    assert!(only_warning(&saved.json()).contains("GEMINI_API_KEY"), "{}", saved.body);
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={saved_key}\n"));
    let listed = local.listed("gemini").await;
    assert_eq!(listed["source"], "environment");
    assert_eq!(listed["masked"], shown(&of_process));

    assert_eq!(generated_with(&local, "gemini").await, answer_text(&of_process, "hello"));
    assert_eq!(local.listed("gemini").await["status"], "valid");
}

#[tokio::test]
async fn an_empty_or_placeholder_variable_of_the_process_does_not_count() {
    for value in ["", "  ", "your_gemini_api_key_here"] {
        let local = Setup::default().with("GEMINI_API_KEY", value).start().await;
        let saved = save(&local, "gemini", &example_key("gemini", 1)).await.ok();
        assert_eq!(saved["warnings"], json!([]), "{value:?}");
        assert_eq!(local.listed("gemini").await["source"], "env_file", "{value:?}");
    }
}

#[tokio::test]
async fn an_unusable_variable_of_the_process_is_listed_as_unreadable() {
    let local = Setup::default().with("GEMINI_API_KEY", "pasted with blanks").start().await;
    let listed = local.listed("gemini").await;
    assert_eq!(listed["status"], "unreadable");
    assert_eq!(listed["source"], "environment");
    let refused = local.post("/api/generate", json!({ "prompt": "hello" })).await;
    let problem = refused.problem(500, "key_unreadable");
    assert!(problem["detail"].as_str().unwrap().contains("GEMINI_API_KEY"), "{problem}");
    assert!(!refused.everything().contains("pasted"));
}

#[tokio::test]
async fn an_edit_by_hand_counts_at_once() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    let by_hand = example_key("gemini", 2);
    local.write(".env", &format!("GEMINI_API_KEY=\"{by_hand}\"\n"));
    let listed = local.listed("gemini").await;
    assert_eq!(listed["masked"], shown(&by_hand));
    assert_eq!(listed["status"], "unverified");
    assert_eq!(listed["source"], "env_file");
    assert_eq!(listed["version"], Value::Null);
    assert_eq!(generated_with(&local, "gemini").await, answer_text(&by_hand, "hello"));
    let listed = local.listed("gemini").await;
    assert_eq!(listed["status"], "valid");
    assert_eq!(listed["last_used_at"], START);
}

#[tokio::test]
async fn putting_the_saved_key_back_by_hand_makes_it_the_saved_one_again() {
    let local = Local::start().await;
    let key = local.has_example_key("gemini", 1).await;
    let saved = local.listed("gemini").await;
    local.write(".env", &format!("GEMINI_API_KEY={}\n", example_key("gemini", 2)));
    assert_ne!(local.listed("gemini").await, saved);
    local.write(".env", &format!("GEMINI_API_KEY='{key}'\n"));
    assert_eq!(local.listed("gemini").await, saved);
}

#[tokio::test]
async fn a_key_that_was_entered_by_hand_is_kept_when_it_is_replaced() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    let by_hand = example_key("gemini", 2);
    local.write(".env", &format!("GEMINI_API_KEY={by_hand}\n"));
    let newer = example_key("gemini", 3);
    let saved = save(&local, "gemini", &newer).await;
    assert_eq!(saved.status, 200);
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={newer}\n"));
    let back = local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(back["masked"], shown(&by_hand));
    assert_eq!(back["status"], "unverified");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={by_hand}\n"));
}

#[tokio::test]
async fn saving_over_a_key_that_was_only_entered_by_hand_replaces_it() {
    let local = Local::start().await;
    let by_hand = example_key("gemini", 2);
    local.write(".env", &format!("GEMINI_API_KEY={by_hand}\n"));
    let saved = save(&local, "gemini", &example_key("gemini", 3)).await;
    assert_eq!(saved.status, 200);
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={by_hand}\n"));
}

#[tokio::test]
async fn saving_the_key_that_was_entered_by_hand_adopts_it() {
    let local = Local::start().await;
    let key = example_key("gemini", 2);
    local.write(".env", &format!("GEMINI_API_KEY={key}\n"));
    let saved = save(&local, "gemini", &key).await.ok();
    assert_eq!((&saved["status"], &saved["version"]), (&json!("valid"), &json!(1)));
    local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
}

#[tokio::test]
async fn after_an_edit_by_hand_rollback_gives_the_saved_key_and_keeps_the_edit() {
    let local = Local::start().await;
    let old = local.has_example_key("gemini", 1).await;
    let new = local.has_example_key("gemini", 2).await;
    local.write(".env", &format!("GEMINI_API_KEY={old}\n"));
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={new}\n"));
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={old}\n"));
}

#[tokio::test]
async fn a_line_that_was_removed_by_hand_is_a_missing_key() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.write(".env", "OTHER=1\n");
    assert_eq!(local.get("/api/keys").await.ok(), json!({ "keys": [], "missing": ["gemini"] }));
    local.post("/api/generate", json!({ "prompt": "hello" })).await.problem(404, "no_api_key");
    local.post("/api/keys/gemini/validate", json!({})).await.problem(404, "no_api_key");
}

#[tokio::test]
async fn a_placeholder_in_the_file_is_no_key() {
    let local = Local::start().await;
    for value in ["", "your_gemini_api_key_here", "xxxx", "<your key>", "\"\""] {
        local.write(".env", &format!("GEMINI_API_KEY={value}\n"));
        assert_eq!(
            local.get("/api/keys").await.ok(),
            json!({ "keys": [], "missing": ["gemini"] }),
            "{value}"
        );
        let refused = local.post("/api/generate", json!({ "prompt": "hello" })).await;
        assert_eq!(refused.problem(404, "no_api_key")["provider"], "gemini", "{value}");
    }
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn a_value_that_cannot_be_a_key_is_listed_as_unreadable_and_never_used() {
    let local = Local::start().await;
    local.write(".env", "# keys\nGEMINI_API_KEY=\"secret with blanks\"\n");
    let list = local.get("/api/keys").await.ok();
    assert_eq!(list["missing"], json!(["gemini"]));
    let listed = &list["keys"][0];
    assert_eq!((&listed["provider"], &listed["status"]), (&json!("gemini"), &json!("unreadable")));
    assert_eq!(listed["masked"], "****");
    let refused = local.post("/api/generate", json!({ "prompt": "hello" })).await;
    let problem = refused.problem(500, "key_unreadable");
    assert_eq!(problem["provider"], "gemini");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("GEMINI_API_KEY") && detail.contains("line 2"), "{detail}");
    assert!(!refused.everything().contains("secret"));
    local.post("/api/keys/gemini/validate", json!({})).await.problem(500, "key_unreadable");
    assert!(local.standin.requests().is_empty());

    local.has_example_key("gemini", 1).await;
    assert_eq!(local.listed("gemini").await["status"], "valid");
}

#[tokio::test]
async fn an_env_file_that_cannot_be_understood_is_told_by_its_line_and_left_alone() {
    let local = Local::start().await;
    let broken = "FIRST=1\nthese words have no sense sk-secret-words\nGEMINI_API_KEY=abc\n";
    local.write(".env", broken);
    let key = example_key("gemini", 1);
    let answers = [
        save(&local, "gemini", &key).await,
        local.get("/api/keys").await,
        local.delete("/api/keys/gemini").await,
        local.post("/api/generate", json!({ "prompt": "hello" })).await,
        local.get("/api/onboarding/api-keys").await,
        local
            .post("/api/onboarding/step/1/complete", json!({ "data": { "api_keys": { "gemini": key } } }))
            .await,
    ];
    for answer in answers {
        let problem = answer.problem(500, "env_file_error");
        assert!(problem["detail"].as_str().unwrap().contains("line 2"), "{problem}");
        assert!(!answer.everything().contains("secret"), "{}", answer.everything());
    }
    assert_eq!(local.file(".env"), broken);
    // The database took nothing either.
    local.write(".env", "");
    assert_eq!(save(&local, "gemini", &key).await.status, 201);
}

#[tokio::test]
async fn a_read_only_env_file_is_an_error_and_loses_nothing() {
    let local = Local::start().await;
    let old = local.has_example_key("gemini", 1).await;
    let mut permissions = std::fs::metadata(local.path(".env")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(local.path(".env"), permissions).unwrap();
    let before = all_there_is(&local).await;
    for answer in
        [save(&local, "gemini", &example_key("gemini", 2)).await, local.delete("/api/keys/gemini").await]
    {
        let problem = answer.problem(500, "env_file_error");
        assert!(problem["detail"].as_str().unwrap().contains("read-only"), "{problem}");
    }
    assert_eq!(all_there_is(&local).await, before);
    assert_eq!(generated_with(&local, "gemini").await, answer_text(&old, "hello"));
}

#[tokio::test]
async fn when_the_second_file_cannot_be_written_the_first_is_put_back() {
    let local = Local::start().await;
    let old = local.has_example_key("copilotkit", 1).await;
    local.write("frontend/.env", "not an assignment\n");
    let before = all_there_is(&local).await;
    save(&local, "copilotkit", &example_key("copilotkit", 2)).await.problem(500, "env_file_error");
    local.delete("/api/keys/copilotkit").await.problem(500, "env_file_error");
    assert_eq!(all_there_is(&local).await, before);
    assert!(before.0.contains(&old));
    local.post("/api/keys/copilotkit/rollback", json!({})).await.problem(404, "no_previous_version");
}

// Asking about a key

#[tokio::test]
async fn a_stored_key_can_be_validated() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let validate = || async { local.post("/api/keys/openai/validate", json!({})).await.ok() };

    let checked = validate().await;
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(true), &json!("valid")));
    assert!(checked["detail"].as_str().unwrap().contains("OpenAI"), "{checked}");

    let missing_scope = r#"{"error":{"message":"Missing scopes: api.model.read"}}"#;
    local.standin.script("openai", Behaviour::status(403, missing_scope));
    let checked = validate().await;
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(true), &json!("limited")));
    assert!(checked["detail"].as_str().unwrap().contains("scope"), "{checked}");
    assert_eq!(local.listed("openai").await["status"], "limited");

    local.standin.script("openai", Behaviour::status(401, r#"{"error":{"code":"invalid_api_key"}}"#));
    let checked = validate().await;
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("rejected")));
    assert_eq!(local.listed("openai").await["status"], "rejected");

    // An answer that says nothing of the key changes nothing.
    local.standin.script("openai", Behaviour::NotJson);
    let checked = validate().await;
    assert_eq!((&checked["valid"], &checked["status"]), (&Value::Null, &json!("unverified")));
    assert_eq!(local.listed("openai").await["status"], "rejected");

    assert_eq!(validate().await["status"], "valid");
    assert_eq!(local.listed("openai").await["status"], "valid");
}

#[tokio::test]
async fn validating_notes_when() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.clock.advance(SignedDuration::from_hours(2));
    let checked =
        Answer::read(local.request(Method::POST, "/api/keys/openai/validate").send().await.unwrap()).await;
    assert_eq!(checked.status, 200);
    assert_eq!(local.listed("openai").await["last_verified_at"], "2026-01-02T05:04:05Z");
}

#[tokio::test]
async fn a_key_without_a_free_check_cannot_be_judged() {
    let local = Local::start().await;
    local.has_example_key("copilotkit", 1).await;
    let checked = local.post("/api/keys/copilotkit/validate", json!({})).await.ok();
    assert_eq!((&checked["valid"], &checked["status"]), (&Value::Null, &json!("unverified")));
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_validate() {
    let local = Local::start().await;
    let problem = local.post("/api/keys/exa/validate", json!({})).await.problem(404, "no_api_key");
    assert_eq!(problem["provider"], "exa");
    assert!(problem["detail"].as_str().unwrap().contains("EXA_API_KEY"), "{problem}");
}

#[tokio::test]
async fn an_unsaved_key_can_be_validated_and_stays_unsaved() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.has_key("groq", &example_key("groq", 1)).await;
    let before = all_there_is(&local).await;
    let validate = |provider: &'static str, key: String| {
        let local = &local;
        async move { local.post(&format!("/api/keys/{provider}/validate"), json!({ "key": key })).await }
    };
    for (provider, key, valid, status) in [
        ("openai", example_key("openai", 2), json!(true), "valid"),
        ("openai", example_key_with("openai", "DENIED"), json!(true), "limited"),
        ("openai", example_key_with("openai", "INVALID"), json!(false), "rejected"),
        ("openai", example_key_with("openai", "BROKEN"), Value::Null, "unverified"),
        ("gemini", example_key("gemini", 2), json!(true), "valid"),
    ] {
        let checked = validate(provider, key).await.ok();
        assert_eq!((&checked["valid"], &checked["status"]), (&valid, &json!(status)), "{checked}");
    }
    validate("openai", example_key("anthropic", 1)).await.problem(422, "invalid_key_format");
    validate("openai", "sk-with blank".into()).await.problem(422, "invalid_key_format");
    assert_eq!(all_there_is(&local).await, before);
}

#[tokio::test]
async fn a_mark_outlives_a_restart() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.has_key("anthropic", &example_key_with("anthropic", "NOCREDIT")).await;
    local.has_example_key("gemini", 1).await;
    local.has_example_key("copilotkit", 1).await;
    local.standin.script("openai", Behaviour::status(401, r#"{"error":{"code":"invalid_api_key"}}"#));
    local.post("/api/keys/openai/validate", json!({})).await.ok();
    let before = local.get("/api/keys").await.ok();
    let statuses: Vec<&str> =
        before["keys"].as_array().unwrap().iter().map(|key| key["status"].as_str().unwrap()).collect();
    // anthropic, copilotkit, gemini, openai
    assert_eq!(statuses, ["limited", "unverified", "valid", "rejected"]);

    let local = Setup::default().in_dir(local.stop().await).start().await;
    assert_eq!(local.get("/api/keys").await.ok(), before);
}

#[tokio::test]
async fn keys_are_used_after_a_restart_and_the_time_of_their_use_is_kept() {
    let local = Local::start().await;
    let key = local.has_example_key("gemini", 1).await;
    local.clock.advance(SignedDuration::from_mins(5));
    generated_with(&local, "gemini").await;
    assert_eq!(local.listed("gemini").await["last_used_at"], "2026-01-02T03:09:05Z");
    let local = Setup::default().in_dir(local.stop().await).start().await;
    assert_eq!(local.listed("gemini").await["last_used_at"], "2026-01-02T03:09:05Z");
    assert_eq!(generated_with(&local, "gemini").await, answer_text(&key, "hello"));
    // Version and history are still there as well.
    assert_eq!(save(&local, "gemini", &example_key("gemini", 2)).await.ok()["version"], 2);
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
}

#[tokio::test]
async fn keys_are_never_stored_in_plain_text() {
    let local = Local::start().await;
    let (old, new) = (example_key("gemini", 1), example_key("gemini", 2));
    local.has_key("gemini", &old).await;
    local.has_key("gemini", &new).await;
    local.has_example_key("copilotkit", 1).await;
    for key in [&old, &new, &example_key("copilotkit", 1)] {
        assert_eq!(local.state_files_with(key), Vec::<std::path::PathBuf>::new());
        assert_eq!(local.state_files_with(&key[8..]), Vec::<std::path::PathBuf>::new());
    }
}

// Going back, removing

#[tokio::test]
async fn rollback_puts_the_previous_key_into_the_file_and_can_be_undone() {
    let local = Local::start().await;
    let (old, new) = (example_key("gemini", 1), example_key("gemini", 2));
    local.has_key("gemini", &old).await;
    local.has_key("gemini", &new).await;
    let back = local.post("/api/keys/gemini/rollback", json!({})).await;
    assert_eq!(back.status, 200);
    assert_eq!(back.json()["masked"], shown(&old));
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={old}\n"));
    assert_eq!(generated_with(&local, "gemini").await, answer_text(&old, "hello"));
    let listed = local.listed("gemini").await;
    assert_eq!((&listed["status"], &listed["version"]), (&json!("valid"), &json!(3)));

    let forth = local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    assert_eq!(forth["masked"], shown(&new));
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={new}\n"));
}

#[tokio::test]
async fn only_the_last_version_is_kept() {
    let local = Local::start().await;
    for n in 1..=3 {
        local.has_example_key("gemini", n).await;
    }
    for expected in [2, 3, 2] {
        local.post("/api/keys/gemini/rollback", json!({})).await.ok();
        assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={}\n", example_key("gemini", expected)));
    }
}

#[tokio::test]
async fn rollback_writes_the_front_ends_file_too() {
    let local = Local::start().await;
    let old = local.has_example_key("copilotkit", 1).await;
    local.has_example_key("copilotkit", 2).await;
    local.post("/api/keys/copilotkit/rollback", json!({})).await.ok();
    assert_eq!(local.file("frontend/.env"), format!("REACT_APP_COPILOTKIT_API_KEY={old}\n"));
}

#[tokio::test]
async fn there_is_nothing_to_roll_back_to_without_a_replacement() {
    let local = Local::start().await;
    local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    let key = local.has_example_key("gemini", 1).await;
    let problem =
        local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    assert_eq!(problem["provider"], "gemini");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
}

#[tokio::test]
async fn a_replaced_key_is_kept_for_24_hours() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    let new = local.has_example_key("gemini", 2).await;
    local.clock.advance(DAY - SignedDuration::from_secs(1));
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    local.post("/api/keys/gemini/rollback", json!({})).await.ok();
    local.clock.advance(DAY);
    local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={new}\n"));
}

#[tokio::test]
async fn a_removed_key_is_gone_everywhere() {
    let local = Local::start().await;
    local.write(".env", "FIRST=1\n");
    local.has_example_key("gemini", 1).await;
    local.has_example_key("gemini", 2).await;
    let other = local.has_example_key("exa", 1).await;
    let removed = local.delete("/api/keys/gemini").await;
    assert_eq!(removed.status, 204);
    assert_eq!(removed.body, "");
    assert_eq!(local.file(".env"), format!("FIRST=1\nEXA_API_KEY={other}\n"));
    let list = local.get("/api/keys").await.ok();
    assert_eq!(list["missing"], json!(["gemini"]));
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);
    local.post("/api/keys/gemini/rollback", json!({})).await.problem(404, "no_previous_version");
    local.post("/api/generate", json!({ "prompt": "hello" })).await.problem(404, "no_api_key");
    let problem = local.delete("/api/keys/gemini").await.problem(404, "no_api_key");
    assert_eq!(problem["provider"], "gemini");
    // The next one begins anew.
    let saved = save(&local, "gemini", &example_key("gemini", 3)).await;
    assert_eq!(saved.status, 201);
    assert_eq!(saved.json()["version"], 1);
}

#[tokio::test]
async fn a_key_that_was_entered_by_hand_can_be_removed() {
    let local = Local::start().await;
    for line in
        [format!("GEMINI_API_KEY={}\n", example_key("gemini", 1)), "GEMINI_API_KEY=\"not a key\"\n".into()]
    {
        local.write(".env", &format!("A=1\n{line}B=2\n"));
        assert_eq!(local.delete("/api/keys/gemini").await.status, 204);
        assert_eq!(local.file(".env"), "A=1\nB=2\n");
    }
}

/// Every sealed text in the state directory, that of keys and of everything else.
fn sealed_texts(dir: &Path) -> BTreeSet<Vec<u8>> {
    let mut texts = BTreeSet::new();
    for file in files_below(&dir.join(".keyfold")) {
        let bytes = std::fs::read(file).unwrap_or_default();
        for (at, _) in bytes.windows(4).enumerate().filter(|(_, window)| *window == b"kf1.") {
            let is_text = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
            texts.insert(bytes[at..].iter().take_while(is_text).copied().collect());
        }
    }
    texts
}

#[tokio::test]
async fn what_was_removed_or_kept_long_enough_is_wiped_from_the_disk() {
    let local = Local::start().await;
    local.has_example_key("exa", 1).await;
    let dir = local.stop().await;
    let others = sealed_texts(dir.path());

    let local = Setup::default().in_dir(dir).start().await;
    local.has_example_key("gemini", 1).await;
    let dir = local.stop().await;
    let first: Vec<_> = sealed_texts(dir.path()).difference(&others).cloned().collect();
    assert_eq!(first.len(), 1);

    // Replaced, it is kept; after a day the next change of any key wipes it.
    let local = Setup::default().in_dir(dir).start().await;
    local.has_example_key("gemini", 2).await;
    let dir = local.stop().await;
    assert!(sealed_texts(dir.path()).contains(&first[0]));
    let local = Setup::default().in_dir(dir).start().await;
    local.clock.advance(DAY);
    local.has_example_key("openai", 1).await;
    let dir = local.stop().await;
    assert!(!sealed_texts(dir.path()).contains(&first[0]));

    let local = Setup::default().in_dir(dir).start().await;
    for provider in ["gemini", "openai"] {
        assert_eq!(local.delete(&format!("/api/keys/{provider}")).await.status, 204);
    }
    let dir = local.stop().await;
    assert_eq!(sealed_texts(dir.path()), others);
}

// At the same time

#[tokio::test]
async fn of_two_savings_at_once_one_wins() {
    let local = Local::start().await;
    local.standin.script("openai", Behaviour::Hang);
    local.standin.script("openai", Behaviour::Hang);
    let keys = [example_key("openai", 1), example_key("openai", 2)];
    let (first, second, ()) =
        tokio::join!(save(&local, "openai", &keys[0]), save(&local, "openai", &keys[1]), async {
            local.standin.wait_for_requests(2).await;
            local.standin.release();
        });
    let winner = match (first.status.as_u16(), second.status.as_u16()) {
        (201, 409) => 0,
        (409, 201) => 1,
        other => panic!("{other:?}"),
    };
    let problem = if winner == 0 { &second } else { &first }.problem(409, "conflict");
    assert_eq!(problem["provider"], "openai");
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={}\n", keys[winner]));
    let listed = local.listed("openai").await;
    assert_eq!((&listed["masked"], &listed["version"]), (&json!(shown(&keys[winner])), &json!(1)));
}

#[tokio::test]
async fn of_two_replacements_at_once_one_wins_and_the_old_key_is_kept() {
    let local = Local::start().await;
    let old = local.has_example_key("openai", 1).await;
    local.standin.clear();
    local.standin.script("openai", Behaviour::Hang);
    local.standin.script("openai", Behaviour::Hang);
    let keys = [example_key("openai", 2), example_key("openai", 3)];
    let (first, second, ()) =
        tokio::join!(save(&local, "openai", &keys[0]), save(&local, "openai", &keys[1]), async {
            local.standin.wait_for_requests(2).await;
            local.standin.release();
        });
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(local.listed("openai").await["version"], 2);
    local.post("/api/keys/openai/rollback", json!({})).await.ok();
    assert_eq!(local.file(".env"), format!("OPENAI_API_KEY={old}\n"));
}

#[tokio::test]
async fn a_key_that_was_removed_while_its_successor_was_checked_is_a_conflict() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    local.standin.script("openai", Behaviour::Hang);
    let key = example_key("openai", 2);
    let (saved, removed) = tokio::join!(save(&local, "openai", &key), async {
        local.standin.wait_for_requests(1).await;
        let removed = local.delete("/api/keys/openai").await;
        local.standin.release();
        removed
    });
    assert_eq!(removed.status, 204);
    saved.problem(409, "conflict");
    assert_eq!(local.file(".env"), "");
    assert_eq!(local.listed("openai").await, Value::Null);
}

#[tokio::test]
async fn keys_of_several_providers_can_be_saved_at_once() {
    let local = Local::start().await;
    let providers = ["openai", "anthropic", "mistral", "groq", "xai", "cohere"];
    let saved = futures_util::future::join_all(providers.map(|provider| {
        let local = &local;
        async move { save(local, provider, &example_key(provider, 1)).await }
    }))
    .await;
    for answer in saved {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let file = local.file(".env");
    for provider in providers {
        assert!(file.contains(&example_key(provider, 1)), "{provider}: {file}");
    }
    assert_eq!(file.lines().count(), providers.len());
    assert_eq!(local.get("/api/keys").await.ok()["keys"].as_array().unwrap().len(), providers.len());
}

#[tokio::test]
async fn who_leaves_while_the_key_is_checked_has_saved_nothing() {
    let local = Local::start().await;
    local.standin.script("openai", Behaviour::Hang);
    let saving =
        local.request(Method::PUT, "/api/keys/openai").json(&json!({ "key": example_key("openai", 1) }));
    let saving = tokio::spawn(saving.send());
    local.standin.wait_for_requests(1).await;
    saving.abort();
    // The question is taken back.
    local.standin.wait_for_cancelled(1).await;
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
    assert!(!local.path(".env").exists());
}

#[tokio::test]
async fn who_leaves_while_the_files_are_written_does_not_leave_half_of_it() {
    let local = Local::start().await;
    // Another program holds the second file's folder, so that the saving stops halfway.
    let folder = std::fs::File::open(local.path("frontend")).unwrap();
    folder.lock().unwrap();
    let key = example_key("copilotkit", 1);
    let saving = local.request(Method::PUT, "/api/keys/copilotkit").json(&json!({ "key": key }));
    let saving = tokio::spawn(saving.send());
    while !local.file(".env").contains(&key) {
        tokio::task::yield_now().await;
    }
    saving.abort();
    assert!(saving.await.unwrap_err().is_cancelled());
    folder.unlock().unwrap();
    // Savings take turns: this one comes after it.
    local.has_example_key("exa", 1).await;
    assert_eq!(local.file("frontend/.env"), format!("REACT_APP_COPILOTKIT_API_KEY={key}\n"));
    let listed = local.listed("copilotkit").await;
    assert_eq!((&listed["masked"], &listed["version"]), (&json!(shown(&key)), &json!(1)));
}

#[tokio::test]
async fn the_check_sees_the_key_in_its_header_and_nowhere_else() {
    let local = Local::start().await;
    let key = local.has_example_key("gemini", 1).await;
    let seen = &local.standin.requests_for("gemini")[0];
    assert_eq!(seen.key_fingerprint, fingerprint(&key));
    assert_eq!(seen.header("x-goog-api-key"), Some(key.as_str()));
    assert!(!seen.path.contains(&key) && !seen.query.as_deref().unwrap_or_default().contains(&key));
    assert_eq!(seen.header("authorization"), None);
}
