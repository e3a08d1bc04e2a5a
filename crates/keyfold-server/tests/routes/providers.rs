//! `/api/providers`

use std::collections::HashSet;

use keyfold_standin::PROVIDERS;

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
        for field in ["required", "generates", "checkable"] {
            assert!(provider[field].is_boolean(), "{field}: {provider}");
        }
        assert_eq!(provider.get("default_model").is_some(), provider["generates"] == true, "{provider}");
    }
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
