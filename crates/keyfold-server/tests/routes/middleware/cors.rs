//! Pages of other origins, in production: a token is all that counts, so a request is refused for want of it and
//! never for where it comes from. Local mode's rules are in `local_guard.rs`.

use keyfold_standin::issuer::PARTY;
use reqwest::Method;
use serde_json::json;

use crate::support::Answer;
use crate::support::production::{PUBLIC_URL, Production};

const EVIL: &str = "https://evil.example";

async fn preflight(production: &Production, origin: &str, method: &str, path: &str) -> Answer {
    let request = production.request(Method::OPTIONS, path).header("origin", origin);
    let asks = "authorization,content-type,x-request-id";
    let request = request.header("access-control-request-method", method);
    production.send(request.header("access-control-request-headers", asks)).await
}

#[track_caller]
fn has_no_cors_headers(answer: &Answer, what: &str) {
    let cors: Vec<_> =
        answer.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
    assert!(cors.is_empty(), "{what}: {cors:?}");
}

/// The words of a header that is a list.
fn words(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
    values.flat_map(|value| value.split(',')).map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn allowed_pages_may_ask_first_without_a_token() {
    let production = Production::start().await;
    for origin in [PARTY, PUBLIC_URL] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = preflight(&production, origin, method, "/api/keys/gemini").await;
            assert_eq!(answer.status, 200, "{origin} {method}");
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert!(
                words(&answer, "access-control-allow-methods").contains(&method.to_ascii_lowercase()),
                "{method}"
            );
            let allowed = words(&answer, "access-control-allow-headers");
            for header in ["authorization", "content-type", "x-request-id"] {
                assert!(allowed.iter().any(|allowed| allowed == header), "{allowed:?}");
            }
            assert_eq!(answer.header("access-control-max-age"), "600");
            assert!(words(&answer, "vary").contains(&"origin".to_owned()));
            assert_eq!(answer.header("access-control-allow-credentials"), "");
            assert_eq!(answer.body, "");
        }
    }
}

#[tokio::test]
async fn allowed_pages_can_read_answers_and_problems() {
    let production = Production::start().await;
    let user = production.as_user("user_a");
    let large = "a".repeat(40 * 1024);
    let from = |request: reqwest::RequestBuilder| {
        production.send(request.header("origin", PARTY).header("sec-fetch-site", "cross-site"))
    };
    for (status, answer) in [
        (200, from(user.request(Method::GET, "/api/keys")).await),
        (200, from(production.request(Method::GET, "/api/config")).await),
        (404, from(user.request(Method::DELETE, "/api/keys/gemini/nothing")).await),
        (422, from(user.request(Method::POST, "/api/generate").json(&json!({}))).await),
        (401, from(production.request(Method::GET, "/api/keys")).await),
        (431, from(production.request(Method::GET, "/healthz").header("x-large", large)).await),
    ] {
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), PARTY, "{status}");
        assert_eq!(
            words(&answer, "access-control-expose-headers"),
            [
                "keyfold-error",
                "keyfold-request-id",
                "ratelimit",
                "ratelimit-policy",
                "request-id",
                "retry-after",
                "x-request-id"
            ],
            "{status}"
        );
        assert!(words(&answer, "vary").contains(&"origin".to_owned()));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[tokio::test]
async fn other_pages_can_neither_ask_first_nor_read() {
    let production = Production::start().await;
    let user = production.as_user("user_a");
    let close = [
        EVIL,
        "null",
        "",
        "*",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://app.example.com/",
        "HTTPS://APP.EXAMPLE.COM",
        "https://app.example.com, https://evil.example",
        // Local mode's usual ones.
        "http://localhost:3000",
        &format!("http://{}", production.address),
    ];
    for origin in close {
        let asked = preflight(&production, origin, "PUT", "/api/keys/gemini").await;
        asked.problem(403, "forbidden");
        has_no_cors_headers(&asked, origin);
        // Whoever has a token could as well send it from elsewhere.
        let request = user.request(Method::GET, "/api/keys").header("origin", origin);
        let read = production.send(request.header("sec-fetch-site", "cross-site")).await;
        assert_eq!(read.status, 200, "{origin}");
        has_no_cors_headers(&read, origin);
        assert!(words(&read, "vary").contains(&"origin".to_owned()), "caches must keep answers apart");
    }
    let twice = user.request(Method::GET, "/api/keys").header("origin", PARTY).header("origin", PARTY);
    has_no_cors_headers(&production.send(twice).await, "two origins");
    has_no_cors_headers(&user.get("/api/keys").await, "no origin");
}

#[tokio::test]
async fn without_settings_no_page_elsewhere_may_call() {
    let production =
        Production::with("KEYFOLD_ALLOWED_ORIGINS", "").with("KEYFOLD_PUBLIC_URL", "").start().await;
    for origin in [PARTY, PUBLIC_URL, "http://localhost:3000", &format!("http://{}", production.address)] {
        has_no_cors_headers(&preflight(&production, origin, "GET", "/api/keys").await, origin);
    }
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_an_ordinary_one() {
    let production = Production::start().await;
    let request = production.request(Method::OPTIONS, "/api/keys").header("origin", PARTY);
    let answer = production.send(request).await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.header("access-control-allow-origin"), PARTY);
}

#[tokio::test]
async fn the_host_and_the_place_of_the_caller_do_not_matter() {
    let production = Production::start().await;
    let user = production.as_user("user_a");
    for (name, value) in [
        ("host", "keys.example.com"),
        ("host", "anything.example"),
        ("origin", EVIL),
        ("sec-fetch-site", "cross-site"),
        ("referer", "https://evil.example/"),
    ] {
        let answer = production.send(user.request(Method::GET, "/api/keys").header(name, value)).await;
        assert_eq!(answer.status, 200, "{name}: {value}");
    }
}
