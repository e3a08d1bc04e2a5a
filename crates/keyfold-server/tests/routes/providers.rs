//! `/api/providers`

use std::collections::HashSet;

use keyfold_standin::PROVIDERS;
use serde_json::{Value, json};

use crate::support::{Local, Setup};

#[tokio::test]
async fn every_provider_is_there_with_what_a_page_needs() {
    let local = Local::start().await;
    let list = local.get("/api/providers").await.ok();
    let providers = list["providers"].as_array().unwrap();
    let ids: HashSet<&str> = providers.iter().map(|provider| provider["id"].as_str().unwrap()).collect();
    assert_eq!(ids, PROVIDERS.into_iter().collect());
    for provider in providers {
        for field in ["id", "name", "description", "setup_url", "format_hint", "variable"] {
            assert!(provider[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {provider}");
        }
        for field in ["required", "generates", "researches", "checkable"] {
            assert!(provider[field].is_boolean(), "{field}: {provider}");
        }
        for field in ["default_model", "generate_api"] {
            assert_eq!(provider.get(field).is_some(), provider["generates"] == true, "{field}: {provider}");
        }
        assert!(!provider["setup_instructions"].as_array().unwrap().is_empty(), "{provider}");
        let gateway = format!("/gateway/{}", provider["id"].as_str().unwrap());
        assert_eq!(provider["gateway_path"], gateway);
        if let Some(path) = provider.get("generate_path") {
            assert!(path.as_str().unwrap().starts_with(&format!("{gateway}/")), "{provider}");
        }
    }
}

async fn one(local: &Local, id: &str) -> Value {
    let list = local.get("/api/providers").await.ok();
    list["providers"].as_array().unwrap().iter().find(|provider| provider["id"] == id).unwrap().clone()
}

#[tokio::test]
async fn a_provider_tells_what_its_keys_look_like_and_where_they_go() {
    let local = Local::start().await;
    let gemini = one(&local, "gemini").await;
    assert_eq!(
        gemini["shapes"],
        json!([
            { "prefix": "AQ.", "characters": "any", "at_least": 20, "only_here": true },
            { "prefix": "AIza", "characters": "word", "exactly": 35, "only_here": true },
        ])
    );
    assert_eq!(gemini["also_exported_as"], json!(["GOOGLE_API_KEY"]));
    assert_eq!(gemini["key_header"], json!({ "name": "x-goog-api-key", "prefix": "" }));
    assert_eq!((&gemini["generate_api"], &gemini["researches"]), (&json!("gemini"), &json!(false)));
    assert!(gemini.get("frontend_variable").is_none(), "{gemini}");

    let exa = one(&local, "exa").await;
    assert_eq!(exa["shapes"], json!([{ "characters": "uuid", "only_here": false }]));
    assert_eq!(exa["researches"], true);
    let copilotkit = one(&local, "copilotkit").await;
    assert_eq!(copilotkit["frontend_variable"], "REACT_APP_COPILOTKIT_API_KEY");
    let openai = one(&local, "openai").await;
    assert_eq!(openai["key_header"], json!({ "name": "Authorization", "prefix": "Bearer " }));
    assert_eq!(openai["generate_path"], "/gateway/openai/v1/chat/completions");
    assert_eq!(openai["refused"][0]["prefix"], "sk-admin-");
    assert!(openai["refused"][0]["why"].as_str().unwrap().contains("project key"), "{openai}");
}

#[tokio::test]
async fn the_preset_says_which_are_required() {
    for (preset, expected) in [("keyfold", vec!["gemini"]), ("alwrity", vec!["copilotkit", "exa", "gemini"])]
    {
        let local = Setup::default().with("KEYFOLD_ONBOARDING", preset).start().await;
        let list = local.get("/api/providers").await.ok();
        let mut required: Vec<&str> = list["providers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|provider| provider["required"] == true)
            .map(|provider| provider["id"].as_str().unwrap())
            .collect();
        required.sort_unstable();
        assert_eq!(required, expected);
    }
}

#[tokio::test]
async fn addresses_and_overrides_are_nobodys_business() {
    let local = Local::start().await;
    assert!(!local.get("/api/providers").await.body.contains(&local.standin.addr().to_string()));
}
