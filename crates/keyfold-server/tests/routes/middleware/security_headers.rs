//! What browsers are told about every answer.

use keyfold_standin::example_key;
use serde_json::json;

use crate::support::Local;

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let local = Local::start().await;
    local.has_key("openai", &example_key("openai", 1)).await;
    let answers = [
        local.get("/").await,
        local.get("/docs").await,
        local.get("/assets/overview.js").await,
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
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.headers.get_all("content-security-policy").iter().count(), 1);
        assert_eq!(answer.header("server"), "");
    }
}

#[tokio::test]
async fn nothing_about_keys_is_cached() {
    let local = Local::start().await;
    for path in ["/api/keys", "/api/onboarding/init", "/api/config", "/healthz", "/nothing"] {
        assert_eq!(local.get(path).await.header("cache-control"), "no-store", "{path}");
    }
}
