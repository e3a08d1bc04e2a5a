//! What is between the connection and the handlers: routes that are not there, methods that do not fit, panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyfold::clock::{NoRandomness, Random, SystemRandom};
use keyfold_standin::{answer_text, example_key};
use reqwest::Method;
use serde_json::json;

use crate::support::{Local, Setup};

/// Randomness that panics, or fails, when a test says so.
#[derive(Default)]
struct Trap {
    panics: AtomicBool,
    fails: AtomicBool,
}

impl Random for Trap {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        assert!(!self.panics.load(Ordering::SeqCst), "words that hold a secret");
        if self.fails.load(Ordering::SeqCst) { Err(NoRandomness) } else { SystemRandom.fill(bytes) }
    }
}

async fn with_trap() -> (Local, Arc<Trap>) {
    let trap = Arc::new(Trap::default());
    (Setup::default().random(trap.clone()).start().await, trap)
}

#[tokio::test]
async fn an_address_without_anything_is_404() {
    let local = Local::start().await;
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/keys/",
        "/api/keys/gemini/",
        "/api/keys/gemini/nothing",
        "/api/onboarding",
        "//",
        "/assets/",
        "/.env",
        "/.keyfold/keyfold.db",
        "/index.html",
        "/metrics",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            local.send(local.request(method, path)).await.problem(404, "not_found");
        }
    }
    assert_eq!(local.send(local.request(Method::HEAD, "/nothing")).await.status, 404);
    // As no client would send them.
    for path in [
        "/../",
        "/%2e%2e/",
        "/assets/../Cargo.toml",
        "/assets/..%2fpage.css",
        "/healthz/../api/keys",
        "/./healthz",
        "/%68ealthz",
    ] {
        local.raw_get(path, &["Host: localhost"]).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_method_that_does_not_fit_is_405_with_those_that_do() {
    let local = Local::start().await;
    let cases = [
        ("DELETE", "/api/keys", "GET,HEAD"),
        ("GET", "/api/keys/gemini", "PUT,DELETE"),
        ("POST", "/api/keys/gemini", "PUT,DELETE"),
        ("GET", "/api/generate", "POST"),
        ("PATCH", "/api/generate", "POST"),
        ("TRACE", "/healthz", "GET,HEAD"),
        ("BREW", "/healthz", "GET,HEAD"),
        ("POST", "/", "GET,HEAD"),
        ("PUT", "/api/onboarding/api-keys", "GET,HEAD,POST"),
        ("DELETE", "/openapi.json", "GET,HEAD"),
    ];
    for (method, path, allowed) in cases {
        let answer = local.send(local.request(method.parse().unwrap(), path)).await;
        answer.problem(405, "method_not_allowed");
        let words = |text: &str| {
            let mut words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
            words.sort();
            words
        };
        assert_eq!(words(answer.header("allow")), words(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let local = Local::start().await;
    for path in ["/healthz", "/api/keys", "/", "/docs", "/openapi.json"] {
        let answer = local.send(local.request(Method::HEAD, path)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""), "{path}");
        assert_eq!(answer.header("content-type"), local.get(path).await.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_an_internal_error_that_says_nothing() {
    let (local, trap) = with_trap().await;
    trap.panics.store(true, Ordering::SeqCst);
    let request = local.request(Method::GET, "/api/onboarding/init").header("x-request-id", "my-id");
    let answer = local.send(request).await;
    let problem = answer.problem(500, "internal_error");
    assert_eq!(problem["request_id"], "my-id");
    assert!(
        !answer.everything().contains("secret") && !answer.everything().contains("panic"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(local.get("/healthz").await.status, 200);
    trap.panics.store(false, Ordering::SeqCst);
    assert_eq!(local.get("/api/onboarding/init").await.status, 200);
}

#[tokio::test]
async fn a_saving_that_panics_leaves_everything_as_it_was() {
    let (local, trap) = with_trap().await;
    let old = local.has_example_key("gemini", 1).await;
    let before = (local.file(".env"), local.get("/api/keys").await.ok());
    trap.panics.store(true, Ordering::SeqCst);
    let answer = local.put("/api/keys/gemini", json!({ "key": example_key("gemini", 2) })).await;
    answer.problem(500, "internal_error");
    assert!(!answer.everything().contains("secret"), "{}", answer.body);
    assert_eq!((local.file(".env"), local.get("/api/keys").await.ok()), before);
    // Using keys needs no randomness.
    let answer = local.post("/api/generate", json!({ "prompt": "hello" })).await.ok();
    assert_eq!(answer["text"], answer_text(&old, "hello"));
    trap.panics.store(false, Ordering::SeqCst);
    assert_eq!(local.has_key("gemini", &example_key("gemini", 2)).await.json()["version"], 2);
}

#[tokio::test]
async fn without_randomness_nothing_is_saved() {
    let (local, trap) = with_trap().await;
    trap.fails.store(true, Ordering::SeqCst);
    let answer = local.put("/api/keys/gemini", json!({ "key": example_key("gemini", 1) })).await;
    let problem = answer.problem(500, "internal_error");
    assert!(!problem["detail"].as_str().unwrap().contains("random"), "the cause is for the log: {problem}");
    assert!(!local.path(".env").exists());
    trap.fails.store(false, Ordering::SeqCst);
    assert_eq!(local.put("/api/keys/gemini", json!({ "key": example_key("gemini", 1) })).await.status, 201);
}
