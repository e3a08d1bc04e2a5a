//! `/api/config`

use serde_json::json;

use crate::support::{Local, Setup};

#[tokio::test]
async fn local_mode_needs_no_sign_in() {
    let local = Local::start().await;
    let config = local.get("/api/config").await.ok();
    assert_eq!(config, json!({ "mode": "local", "auth": { "kind": "none" }, "onboarding": "keyfold" }));
}

#[tokio::test]
async fn a_local_token_is_a_way_to_sign_in_and_is_not_shown() {
    let setup =
        Setup::default().with("KEYFOLD_LOCAL_TOKEN", "correct-horse").with("KEYFOLD_ONBOARDING", "alwrity");
    let local = setup.start().await;
    let request = local.request(reqwest::Method::GET, "/api/config").bearer_auth("correct-horse");
    let config = local.send(request).await.ok();
    assert_eq!(config, json!({ "mode": "local", "auth": { "kind": "token" }, "onboarding": "alwrity" }));
}
