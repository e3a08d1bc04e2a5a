//! `/api/config`

use serde_json::json;

use crate::support::production::{PUBLIC_URL, Production};
use crate::support::{Local, Setup};

#[tokio::test]
async fn local_mode_needs_no_sign_in() {
    let local = Local::start().await;
    let config = local.get("/api/config").await.ok();
    let env_files = json!({ "backend": local.path(".env"), "frontend": local.path("frontend/.env") });
    let expected = json!({
        "mode": "local", "auth": { "kind": "none" }, "onboarding": "keyfold", "env_files": env_files,
    });
    assert_eq!(config, expected);
}

#[tokio::test]
async fn without_a_front_end_there_is_one_env_file() {
    let local = Setup::default().without_frontend().start().await;
    let config = local.get("/api/config").await.ok();
    assert_eq!(config["env_files"], json!({ "backend": local.path(".env") }));
}

#[tokio::test]
async fn a_local_token_is_a_way_to_sign_in_and_is_not_shown() {
    let setup =
        Setup::default().with("KEYFOLD_LOCAL_TOKEN", "correct-horse").with("KEYFOLD_ONBOARDING", "alwrity");
    let local = setup.start().await;
    let request = local.request(reqwest::Method::GET, "/api/config").bearer_auth("correct-horse");
    let config = local.send(request).await.ok();
    assert_eq!((&config["mode"], &config["onboarding"]), (&json!("local"), &json!("alwrity")));
    assert_eq!(config["auth"], json!({ "kind": "token" }));
}

#[tokio::test]
async fn production_says_how_to_sign_in_with_an_issuer() {
    let production = Production::with("KEYFOLD_AUTH_CLIENT_ID", "web")
        .with("KEYFOLD_AUTH_AUDIENCE", "keys")
        .with("KEYFOLD_ONBOARDING", "alwrity")
        .start()
        .await;
    let issuer = production.issuer.url();
    let auth = json!({ "kind": "oidc", "issuer": issuer, "client_id": "web", "audience": "keys" });
    let config = production.get("/api/config").await.ok();
    assert_eq!(config, json!({ "mode": "production", "auth": auth, "onboarding": "alwrity" }));
    // What is not set is not there.
    let auth = Production::start().await.get("/api/config").await.ok()["auth"].take();
    assert_eq!(auth.as_object().unwrap().keys().collect::<Vec<_>>(), ["issuer", "kind"]);
}

#[tokio::test]
async fn production_says_how_to_sign_in_with_clerk() {
    let key = "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k";
    let production = Production::with("CLERK_PUBLISHABLE_KEY", key)
        .with("KEYFOLD_AUTH_ISSUER", "")
        .with("KEYFOLD_PUBLIC_URL", PUBLIC_URL)
        .start()
        .await;
    let answer = production.get("/api/config").await;
    assert_eq!(answer.ok()["auth"], json!({ "kind": "clerk", "publishable_key": key }));
}
