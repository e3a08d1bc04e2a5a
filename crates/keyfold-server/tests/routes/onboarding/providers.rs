//! Providers on the paths that ALwrity's front end calls.

use keyfold_standin::{Behaviour, PROVIDERS, example_key, example_key_with};
use serde_json::{Value, json};

use super::{assert_fields, onboarding};
use crate::support::Local;

#[tokio::test]
async fn every_provider_is_described() {
    for (preset, required) in [("keyfold", vec!["gemini"]), ("alwrity", vec!["gemini", "exa", "copilotkit"])]
    {
        let local = onboarding(preset).await;
        let list = local.get("/api/onboarding/providers").await.ok();
        assert_fields(&list, &["providers"]);
        assert_fields(&list["providers"], &PROVIDERS);
        for provider in PROVIDERS {
            let setup = &list["providers"][provider];
            assert_fields(setup, &["name", "description", "setup_url", "required"]);
            assert_eq!(setup["required"], required.contains(&provider), "{preset} {provider}");
            assert!(setup["setup_url"].as_str().unwrap().starts_with("https://"), "{provider}");
        }
    }
}

#[tokio::test]
async fn one_provider_comes_with_instructions() {
    let local = onboarding("alwrity").await;
    let list = local.get("/api/onboarding/providers").await.ok();
    for provider in PROVIDERS {
        let one = local.get(&format!("/api/onboarding/providers/{provider}")).await.ok();
        assert_fields(&one, &["name", "description", "setup_url", "required", "setup_instructions"]);
        assert!(!one["setup_instructions"].as_array().unwrap().is_empty(), "{provider}");
        for field in ["name", "description", "setup_url", "required"] {
            assert_eq!(one[field], list["providers"][provider][field], "{provider}");
        }
    }
    let unknown = local.get("/api/onboarding/providers/sk-secret").await;
    unknown.problem(404, "unknown_provider");
    assert!(!unknown.everything().contains("secret"));
}

#[tokio::test]
async fn a_stored_key_can_be_validated() {
    let local = Local::start().await;
    local.has_example_key("openai", 1).await;
    let path = "/api/onboarding/providers/openai/validate";
    let checked = local.post(path, json!({})).await.ok();
    for field in ["valid", "status", "provider"] {
        assert!(checked.get(field).is_some(), "{checked}");
    }
    assert_eq!(
        (&checked["valid"], &checked["status"], &checked["provider"]),
        (&json!(true), &json!("valid"), &json!("openai"))
    );
    local.standin.script("openai", Behaviour::status(401, r#"{"error":{"code":"invalid_api_key"}}"#));
    let checked = local.send(local.request(reqwest::Method::POST, path)).await.ok();
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("rejected")));
    local.standin.script("openai", Behaviour::status(500, "{}"));
    let checked = local.post(path, json!({})).await.ok();
    assert_eq!((&checked["valid"], &checked["status"]), (&Value::Null, &json!("unverified")));
    assert_eq!(local.listed("openai").await["status"], "rejected");
    local.post("/api/onboarding/providers/exa/validate", json!({})).await.problem(404, "no_api_key");
    local.post("/api/onboarding/providers/nobody/validate", json!({})).await.problem(404, "unknown_provider");
}

#[tokio::test]
async fn an_unsaved_key_can_be_validated() {
    let local = Local::start().await;
    let path = "/api/onboarding/providers/gemini/validate";
    for (key, valid) in [(example_key("gemini", 1), true), (example_key_with("gemini", "INVALID"), false)] {
        let checked = local.post(path, json!({ "api_key": key })).await.ok();
        assert_eq!((&checked["valid"], &checked["provider"]), (&json!(valid), &json!("gemini")));
    }
    local.post(path, json!({ "api_key": example_key("openai", 1) })).await.problem(422, "invalid_key_format");
    assert_eq!(local.get("/api/keys").await.ok()["keys"], json!([]));
    assert!(!local.path(".env").exists());
}
