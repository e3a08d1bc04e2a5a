//! The request id, and what is counted.

use std::collections::HashSet;

use keyfold_standin::example_key;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Local, Setup};

async fn with_id(local: &Local, id: &str) -> Answer {
    local.send(local.request(Method::GET, "/healthz").header("x-request-id", id)).await
}

fn is_made(id: &str) -> bool {
    id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_sane_request_id_is_kept() {
    let local = Local::start().await;
    for id in ["1", "abc-123_X.y", "550e8400-e29b-41d4-a716-446655440000", &"a".repeat(128)] {
        assert_eq!(with_id(&local, id).await.header("x-request-id"), id);
    }
}

#[tokio::test]
async fn a_key_in_the_place_of_the_request_id_is_not_taken_for_one() {
    let local = Local::start().await;
    for provider in ["gemini", "openai", "anthropic", "groq", "openrouter"] {
        assert!(
            is_made(with_id(&local, &example_key(provider, 1)).await.header("x-request-id")),
            "{provider}"
        );
    }
}

#[tokio::test]
async fn any_other_request_id_is_replaced() {
    let local = Local::start().await;
    for id in [
        "",
        " ",
        "a b",
        "a\tb",
        "a\"b",
        "<script>",
        "a;b",
        "a,b",
        "a/b",
        "a%0d%0aSet-Cookie",
        "{}",
        &"a".repeat(129),
    ] {
        let answer = with_id(&local, id).await;
        assert!(is_made(answer.header("x-request-id")), "{id}: {:?}", answer.headers);
    }
    let answer = local.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: \xff\xfe\r\nConnection: close\r\n\r\n").await;
    assert!(is_made(answer.header("x-request-id")));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let local = Local::start().await;
    let mut ids = HashSet::new();
    for _ in 0..50 {
        assert!(ids.insert(local.get("/healthz").await.header("x-request-id").to_owned()));
    }
}

#[tokio::test]
async fn every_kind_of_answer_has_the_id_once() {
    let local = Setup::default().with("KEYFOLD_LOCAL_TOKEN", "correct-horse").start().await;
    local.write(
        ".env",
        &format!("OPENAI_API_KEY={}\nEXA_API_KEY={}\n", example_key("openai", 1), example_key("exa", 1)),
    );
    let generate = json!({ "prompt": "hello", "provider": "openai" });
    let stream = json!({ "prompt": "hello", "provider": "openai", "stream": true });
    let large = vec![b' '; 1024 * 1024 + 1];
    let json = |method, path, body: serde_json::Value| {
        local.request(method, path).bearer_auth("correct-horse").json(&body)
    };
    let plain =
        |method: &str, path| local.request(method.parse().unwrap(), path).bearer_auth("correct-horse");
    let cases = [
        (200, json(Method::POST, "/api/generate", generate.clone())),
        (200, json(Method::POST, "/api/generate", stream)),
        (200, plain("GET", "/")),
        (200, plain("GET", "/assets/page.css")),
        (
            200,
            local
                .request(Method::OPTIONS, "/api/keys")
                .header("origin", "http://localhost:3000")
                .header("access-control-request-method", "PUT"),
        ),
        (401, local.request(Method::OPTIONS, "/api/keys").header("origin", "http://localhost:3000")),
        (201, json(Method::PUT, "/api/keys/gemini", json!({ "key": example_key("gemini", 1) }))),
        (204, plain("DELETE", "/api/keys/exa")),
        (303, local.request(Method::GET, "/?token=correct-horse")),
        (400, plain("POST", "/api/generate").header("content-type", "application/json").body("{")),
        (401, local.request(Method::GET, "/")),
        (403, plain("GET", "/healthz").header("origin", "https://evil.example")),
        (404, plain("GET", "/nothing")),
        (405, plain("POST", "/healthz")),
        (413, plain("POST", "/api/generate").header("content-type", "application/json").body(large)),
        (415, plain("POST", "/api/generate").body("{}")),
        (422, json(Method::POST, "/api/generate", json!({}))),
        (431, plain("GET", "/healthz").header("x-large", "a".repeat(40 * 1024))),
    ];
    for (status, request) in cases {
        let answer = local.send(request.header("x-request-id", "my-own-id")).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1, "{status}");
        assert_eq!(answer.header("x-request-id"), "my-own-id", "{status}");
    }
    // Not the provider's, although it sends one.
    let answer = local.send(json(Method::POST, "/api/generate", generate)).await;
    assert!(is_made(answer.header("x-request-id")));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_what_was_sent() {
    let local = Local::start().await;
    local.get("/api/keys").await;
    local.has_key("gemini", &example_key("gemini", 1)).await;
    local.get("/api/keys/pasted-key").await;
    local.delete("/api/keys/pasted-key").await;
    local.get("/pasted-key?key=pasted-key").await;
    local.send(local.request("PASTED".parse().unwrap(), "/healthz")).await;
    let text = local.metrics.text();
    assert!(
        text.contains(r#"keyfold_http_requests_total{method="GET",route="/api/keys",status="200"} 1"#),
        "{text}"
    );
    assert!(text.contains(r#"route="/api/keys/{provider}",status="201"} 1"#), "{text}");
    assert!(text.contains(r#"method="DELETE",route="/api/keys/{provider}",status="404"} 1"#), "{text}");
    assert!(text.contains(r#"method="other",route="/healthz",status="405"} 1"#), "{text}");
    assert!(
        text.contains(
            r#"keyfold_http_request_duration_seconds_count{method="GET",route="/api/keys",status="200"} 1"#
        ),
        "{text}"
    );
    for sent in ["pasted", "PASTED", "local\""] {
        assert!(!text.contains(sent), "{text}");
    }
    assert!(!text.contains(&example_key("gemini", 1)[..8]), "{text}");
}
