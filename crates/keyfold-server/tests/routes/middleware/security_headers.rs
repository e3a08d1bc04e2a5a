//! What browsers are told about every answer.

use keyfold_standin::example_key;
use serde_json::json;

use crate::support::production::Production;
use crate::support::{Answer, Local};

#[track_caller]
fn is_careful(answer: &Answer) {
    assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
    is_careful_but_opens_windows(answer);
}

/// The page where people sign in, who may do that in a window beside it; `tests/routes/web.rs` has its value.
#[track_caller]
fn is_careful_but_opens_windows(answer: &Answer) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert!(answer.header("permissions-policy").contains("camera=()"));
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(!answer.header("content-security-policy").contains("unsafe"));
    assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1);
    assert_eq!(answer.header("server"), "");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let local = Local::start().await;
    local.has_key("openai", &example_key("openai", 1)).await;
    let answers = [
        local.get("/").await,
        local.get("/docs").await,
        local.get("/assets/docs.js").await,
        local.get("/openapi.json").await,
        local.get("/healthz").await,
        local.get("/api/keys").await,
        local.get("/nothing").await,
        local.delete("/api/keys").await,
        local.post("/api/generate", json!({ "prompt": "hello", "provider": "openai", "stream": true })).await,
        local.delete("/api/keys/openai").await,
        local.raw_get("/healthz", &["Host: evil.example"]).await,
        local.raw_get("/healthz", &["Host: localhost", &format!("X-Large: {}", "a".repeat(40 * 1024))]).await,
    ];
    for answer in answers {
        is_careful(&answer);
        // It would bind whatever else a developer serves on this machine.
        assert_eq!(answer.header("strict-transport-security"), "");
    }
}

#[tokio::test]
async fn production_is_no_less_careful() {
    let production = Production::start().await;
    let user = production.as_user("user_a");
    user.has_example_key("gemini", 1).await;
    is_careful_but_opens_windows(&production.get("/").await);
    let answers = [
        production.get("/docs").await,
        production.get("/healthz").await,
        production.get("/api/keys").await,
        production.get("/nothing").await,
        user.get("/api/keys").await,
        user.post("/api/generate", json!({ "prompt": "hello", "stream": true })).await,
        user.delete("/api/keys/gemini").await,
    ];
    for answer in &answers {
        is_careful(answer);
        // The public address is https.
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    }
    for answer in &answers[1..] {
        assert!(answer.header("cache-control").contains("no-store"), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_https_only_where_there_is_https() {
    async fn told(production: &Production, protocol: &str) -> String {
        let request = production.request(reqwest::Method::GET, "/healthz");
        let answer = production.send(request.header("x-forwarded-proto", protocol)).await;
        answer.header("strict-transport-security").to_owned()
    }
    let plain = || Production::with("KEYFOLD_PUBLIC_URL", "http://keys.example.com");
    let behind_a_proxy = plain().with("KEYFOLD_TRUSTED_PROXIES", "127.0.0.1").start().await;
    assert_eq!(told(&behind_a_proxy, "https").await, "max-age=31536000");
    assert_eq!(told(&behind_a_proxy, "http").await, "");
    // Anybody can say that.
    assert_eq!(told(&plain().start().await, "https").await, "");
}

#[tokio::test]
async fn nothing_about_keys_is_cached() {
    let local = Local::start().await;
    for path in ["/api/keys", "/api/onboarding/init", "/api/config", "/healthz", "/nothing"] {
        assert_eq!(local.get(path).await.header("cache-control"), "no-store", "{path}");
    }
}
