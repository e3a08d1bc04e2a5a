//! Keys on the paths that ALwrity's front end calls.

use keyfold_standin::{Behaviour, example_key, example_key_with};
use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_fields, onboarding};
use crate::support::Local;

const PATH: &str = "/api/onboarding/api-keys";

#[tokio::test]
async fn both_lists_are_masked() {
    let local = onboarding("alwrity").await;
    let empty = json!({ "api_keys": {}, "total_providers": 0, "configured_providers": [] });
    assert_eq!(local.get(PATH).await.ok(), empty);
    let gemini = local.has_example_key("gemini", 1).await;
    let exa = local.has_example_key("exa", 1).await;
    local.has_key("mistral", "short-key").await;
    let masked = |key: &str| format!("****{}", &key[key.len() - 4..]);
    let expected = json!({
        "api_keys": { "gemini": masked(&gemini), "exa": masked(&exa), "mistral": "****" },
        "total_providers": 3, "configured_providers": ["exa", "gemini", "mistral"],
    });
    assert_eq!(local.get(PATH).await.ok(), expected);
    assert_eq!(local.get("/api/onboarding/api-keys/onboarding").await.ok(), expected);
}

#[tokio::test]
async fn a_key_can_be_saved() {
    let local = Local::start().await;
    let key = example_key("gemini", 1);
    let body = json!({ "provider": "gemini", "api_key": format!(" {key}\n"), "description": "mine" });
    let saved = local.post(PATH, body).await;
    assert_eq!(saved.status, 200);
    let saved = saved.json();
    assert_fields(&saved, &["message", "provider", "status"]);
    assert_eq!((&saved["provider"], &saved["status"]), (&json!("gemini"), &json!("valid")));
    assert_eq!(local.file(".env"), format!("GEMINI_API_KEY={key}\n"));
    assert_eq!(local.listed("gemini").await["version"], 1);
    // The description may be left out.
    let saved = local
        .post(PATH, json!({ "provider": "copilotkit", "api_key": example_key("copilotkit", 1) }))
        .await
        .ok();
    assert_eq!(saved["status"], "unverified");
    assert_eq!(saved["warnings"].as_array().unwrap().len(), 1);
    assert!(local.file("frontend/.env").contains("REACT_APP_COPILOTKIT_API_KEY="));
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused_here_too() {
    let local = Local::start().await;
    let save = |provider: &str, key: &str| {
        let body = json!({ "provider": provider, "api_key": key });
        let local = &local;
        async move { local.post(PATH, body).await }
    };
    let wrong = example_key_with("gemini", "INVALID");
    save("gemini", &wrong).await.problem(422, "key_rejected");
    save("gemini", "a b").await.problem(422, "invalid_key_format");
    save("gemini", &example_key("openai", 1)).await.problem(422, "invalid_key_format");
    let unknown = save("sk-secret-in-the-wrong-field", "abcdefghijkl").await;
    unknown.problem(404, "unknown_provider");
    assert!(!unknown.everything().contains("secret"));
    for (body, field) in [
        (json!({ "provider": "gemini" }), "api_key"),
        (json!({ "api_key": "abcdefghijkl" }), "provider"),
        (json!({ "provider": "gemini", "api_key": 7 }), "api_key"),
        (json!({ "provider": ["gemini"], "api_key": "abcdefghijkl" }), "provider"),
    ] {
        assert_eq!(local.post(PATH, body).await.problem(422, "invalid_request")["field"], field);
    }
    assert!(!local.path(".env").exists());
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
}

#[tokio::test]
async fn all_keys_are_validated_at_once() {
    let local = Local::start().await;
    let path = "/api/onboarding/api-keys/validate";
    let nothing = json!({ "validation_results": {}, "all_valid": true, "total_providers": 0 });
    assert_eq!(local.get(path).await.ok(), nothing);
    local.has_example_key("gemini", 1).await;
    local.has_example_key("copilotkit", 1).await;
    local.has_key("openai", &example_key_with("openai", "DENIED")).await;
    let good = json!({
        "validation_results": {
            "gemini": { "valid": true, "status": "valid" },
            "copilotkit": { "valid": null, "status": "unverified" },
            "openai": { "valid": true, "status": "limited" },
        },
        "all_valid": true, "total_providers": 3,
    });
    for method in [Method::GET, Method::POST] {
        assert_eq!(local.send(local.request(method, path)).await.ok(), good);
    }
    // ALwrity's front end posts an empty object.
    assert_eq!(local.post(path, json!({})).await.ok(), good);
}

#[tokio::test]
async fn one_bad_key_is_told_from_the_others() {
    let local = Local::start().await;
    let path = "/api/onboarding/api-keys/validate";
    local.has_example_key("gemini", 1).await;
    local.has_example_key("openai", 1).await;
    local.standin.script("openai", Behaviour::status(401, r#"{"error":{"code":"invalid_api_key"}}"#));
    let checked = local.get(path).await.ok();
    assert_eq!(checked["all_valid"], false);
    assert_eq!(checked["validation_results"]["gemini"], json!({ "valid": true, "status": "valid" }));
    assert_eq!(checked["validation_results"]["openai"], json!({ "valid": false, "status": "rejected" }));
    assert_eq!(local.listed("openai").await["status"], "rejected");

    local.write(".env", "EXA_API_KEY=\"not a key\"\n");
    let checked = local.post(path, json!({})).await.ok();
    let expected = json!({
        "validation_results": { "exa": { "valid": false, "status": "unreadable" } }, "all_valid": false, "total_providers": 1,
    });
    assert_eq!(checked, expected);
}

#[tokio::test]
async fn the_providers_are_asked_at_the_same_time() {
    let local = Local::start().await;
    local.has_example_key("gemini", 1).await;
    local.has_example_key("openai", 1).await;
    local.standin.clear();
    local.standin.script("gemini", Behaviour::Hang);
    local.standin.script("openai", Behaviour::Hang);
    let (checked, ()) = tokio::join!(local.get("/api/onboarding/api-keys/validate"), async {
        local.standin.wait_for_requests(2).await;
        local.standin.release();
    });
    assert_eq!(checked.ok()["all_valid"], true);
    assert_ne!(local.listed("gemini").await, Value::Null);
}
