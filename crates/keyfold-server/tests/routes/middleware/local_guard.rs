//! Local mode's guard over the wire: where a request comes from, and the local token.

use std::collections::HashSet;

use data_encoding::BASE64;
use keyfold_standin::{answer_text, example_key};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Answer, Local, Setup};

const TOKEN: &str = "correct-horse-battery-staple";
const EVIL: &str = "https://evil.example";

/// How a browser goes to a page when somebody clicks a link elsewhere.
const NAVIGATION: [(&str, &str); 3] =
    [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

fn with(mut request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

async fn get_with(local: &Local, path: &str, headers: &[(&str, &str)]) -> Answer {
    local.send(with(local.request(Method::GET, path), headers)).await
}

async fn with_token() -> Local {
    Setup::default().with("KEYFOLD_LOCAL_TOKEN", TOKEN).start().await
}

/// Every call that there is, its parameters filled in, and some that there are not.
async fn all_calls(local: &Local) -> Vec<(Method, String)> {
    let request = local.request(Method::GET, "/openapi.json").bearer_auth(TOKEN);
    let description = local.send(request).await.ok();
    let mut calls = vec![];
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.replace("{provider}", "gemini").replace("{n}", "1");
        for method in methods.as_object().unwrap().keys() {
            calls.push((method.to_uppercase().parse().unwrap(), path.clone()));
        }
    }
    for path in
        ["/", "/docs", "/openapi.json", "/assets/page.css", "/assets/docs.js", "/assets/docs.js", "/nothing"]
    {
        calls.push((Method::GET, path.to_owned()));
    }
    calls.push((Method::POST, "/healthz".to_owned()));
    assert!(calls.len() > 40);
    calls
}

// Host

#[tokio::test]
async fn only_loopback_names_are_answered() {
    let local = Local::start().await;
    let port = local.address.port();
    let own = [
        "localhost".to_owned(),
        format!("localhost:{port}"),
        format!("LocalHost:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}"),
        "127.1.2.3".to_owned(),
        "[::1]".to_owned(),
        format!("[::1]:{port}"),
        "localhost:1".to_owned(),
    ];
    for host in own {
        assert_eq!(local.raw_get("/healthz", &[&format!("Host: {host}")]).await.status, 200, "{host}");
    }
    let foreign = [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "192.168.0.1:8000",
        "localhost:",
        "localhost:8000:1",
        "localhost:port",
        "localhost:999999",
        "::1",
        "user@localhost",
        "localhost@evil.example",
        "localhost, evil.example",
        "localhost evil.example",
        "localhost.",
        "2130706433",
        "127.1",
        "0x7f.0.0.1",
        "127.0.0.1/",
        "",
        "%6cocalhost",
        "localhost#",
        "[::1",
        "[localhost]x",
    ];
    for host in foreign {
        for target in ["/healthz", "/", "/api/keys", "/docs", "/nothing"] {
            let answer = local.raw_get(target, &[&format!("Host: {host}")]).await;
            let problem = answer.problem(403, "forbidden");
            assert!(problem["detail"].as_str().unwrap().contains("KEYFOLD_ALLOWED_HOSTS"), "{host}");
            assert!(!answer.everything().contains("evil"), "{host}");
        }
    }
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let local = Local::start().await;
    local.raw_get("/healthz", &[]).await.problem(403, "forbidden");
    local.raw_get("/healthz", &["Host: localhost", "Host: localhost"]).await.problem(403, "forbidden");
    local.raw_get("/healthz", &["Host: localhost", "Host: evil.example"]).await.problem(403, "forbidden");
    local.raw_get("/healthz", &["Host: evil.example", "Host: localhost"]).await.problem(403, "forbidden");
    local.raw("GET /healthz HTTP/1.0\r\n\r\n").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_target_with_a_host_must_agree_with_the_header() {
    let local = Local::start().await;
    let own = local.address.to_string();
    let host = format!("Host: {own}");
    assert_eq!(local.raw_get(&format!("http://{own}/healthz"), &[&host]).await.status, 200);
    for target in [
        "http://evil.example/healthz".to_owned(),
        "http://localhost/healthz".to_owned(),
        format!("http://user@{own}/healthz"),
        format!("http://{own}@evil.example/healthz"),
    ] {
        local.raw_get(&target, &[&host]).await.problem(403, "forbidden");
    }
    local.raw_get(&format!("http://{own}/healthz"), &["Host: evil.example"]).await.problem(403, "forbidden");
    local.raw_get("http://evil.example/healthz", &["Host: evil.example"]).await.problem(403, "forbidden");
    local.raw_get("http://evil.example/healthz", &[]).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_forwarded_host_does_not_count() {
    let local = Local::start().await;
    for header in [
        "X-Forwarded-Host: localhost",
        "Forwarded: host=localhost",
        "X-Host: localhost",
        "X-Original-Host: localhost",
    ] {
        local.raw_get("/healthz", &["Host: evil.example", header]).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn further_hosts_can_be_allowed() {
    let local = Setup::default().with("KEYFOLD_ALLOWED_HOSTS", "keys.test, Dev.Example:8443").start().await;
    for host in ["keys.test", "KEYS.TEST:9000", "dev.example:8443", "localhost"] {
        assert_eq!(local.raw_get("/healthz", &[&format!("Host: {host}")]).await.status, 200, "{host}");
    }
    for host in ["dev.example", "dev.example:8444", "sub.keys.test", "keys.test.evil.example"] {
        local.raw_get("/healthz", &[&format!("Host: {host}")]).await.problem(403, "forbidden");
    }
    // A page of that host may call it.
    let headers = ["Host: keys.test", "Origin: http://keys.test"];
    assert_eq!(local.raw_get("/healthz", &headers).await.status, 200);
    local
        .raw_get("/healthz", &["Host: keys.test", "Origin: https://evil.example"])
        .await
        .problem(403, "forbidden");
}

// Origin and Sec-Fetch-Site

#[tokio::test]
async fn other_pages_requests_are_refused() {
    let local = Local::start().await;
    let (address, port) = (local.address, local.address.port());
    let own = format!("http://{address}");
    let welcome: [&[(&str, &str)]; 8] = [
        &[],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", &own)],
        &[("origin", &own), ("sec-fetch-site", "same-origin")],
        &[("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")],
        &[("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")],
        &[("origin", "HTTP://LOCALHOST:3000")],
    ];
    for headers in welcome {
        assert_eq!(get_with(&local, "/api/keys", headers).await.status, 200, "{headers:?}");
    }
    let (https, other_port, by_name) = (
        format!("https://{address}"),
        format!("http://127.0.0.1:{}", port.wrapping_add(1)),
        format!("http://localhost:{port}"),
    );
    let refused: [&[(&str, &str)]; 17] = [
        &[("origin", EVIL)],
        &[("origin", EVIL), ("sec-fetch-site", "none")],
        &[("origin", EVIL), ("sec-fetch-site", "same-origin")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "http://localhost")],
        &[("origin", "http://localhost:3001")],
        &[("origin", "https://localhost:3000")],
        &[("origin", "http://localhost:3000.evil.example")],
        &[("origin", "http://localhost:3000/")],
        &[("origin", &https)],
        &[("origin", &other_port)],
        &[("origin", &by_name)],
        &[("origin", &own), ("origin", &own)],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
    ];
    for headers in refused {
        let answer = get_with(&local, "/api/keys", headers).await;
        let problem = answer.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("KEYFOLD_ALLOWED_ORIGINS"), "{headers:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{headers:?}");
    }
}

#[tokio::test]
async fn another_page_changes_nothing() {
    let local = Local::start().await;
    let key = example_key("gemini", 1);
    for headers in [&[("origin", EVIL)][..], &[("sec-fetch-site", "cross-site")], &NAVIGATION] {
        for (method, path) in all_calls(&local).await {
            if method == Method::GET && NAVIGATION == *headers && ["/", "/docs"].contains(&path.as_str()) {
                continue;
            }
            let request = local
                .request(method, &path)
                .json(&json!({ "key": key, "api_key": key, "provider": "gemini" }));
            local.send(with(request, headers)).await.problem(403, "forbidden");
        }
    }
    assert!(!local.path(".env").exists());
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn a_link_elsewhere_may_lead_to_the_pages_only() {
    let local = Local::start().await;
    for path in ["/", "/docs", "/onboarding", "/keys/gemini", "/callback"] {
        assert_eq!(get_with(&local, path, &NAVIGATION).await.status, 200, "{path}");
        let same_site = [("sec-fetch-site", "same-site"), NAVIGATION[1], NAVIGATION[2]];
        assert_eq!(get_with(&local, path, &same_site).await.status, 200, "{path}");
        // Neither in a frame, nor as a script's request, nor as a form's.
        for (mode, destination) in [
            ("navigate", "iframe"),
            ("navigate", "frame"),
            ("navigate", "embed"),
            ("no-cors", "document"),
            ("cors", "empty"),
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("navigate", ""),
        ] {
            let headers =
                [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)];
            get_with(&local, path, &headers).await.problem(403, "forbidden");
        }
        let form = [NAVIGATION[0], NAVIGATION[1], NAVIGATION[2], ("origin", EVIL)];
        get_with(&local, path, &form).await.problem(403, "forbidden");
        let posted = with(local.request(Method::POST, path), &NAVIGATION);
        local.send(posted).await.problem(403, "forbidden");
    }
    for path in
        ["/api/keys", "/api/config", "/healthz", "/openapi.json", "/assets/page.css", "//", "/nothing"]
    {
        get_with(&local, path, &NAVIGATION).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_link_elsewhere_cannot_choose_the_host() {
    let local = Local::start().await;
    let headers = [
        "Host: evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ];
    local.raw_get("/", &headers).await.problem(403, "forbidden");
}

// CORS

#[tokio::test]
async fn an_allowed_origin_may_ask_first() {
    let local = Local::start().await;
    let own = format!("http://{}", local.address);
    for origin in ["http://localhost:3000", "http://localhost:5173", &own] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", method),
                ("access-control-request-headers", "content-type,authorization,x-request-id"),
                ("sec-fetch-site", "same-site"),
            ];
            let answer = local.send(with(local.request(Method::OPTIONS, "/api/keys/gemini"), &headers)).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            let allowed = answer.header("access-control-allow-methods").to_ascii_uppercase();
            assert!(allowed.split(',').any(|allowed| allowed.trim() == method), "{allowed}");
            let allowed = answer.header("access-control-allow-headers").to_ascii_lowercase();
            for header in ["content-type", "authorization", "x-request-id"] {
                assert!(allowed.contains(header), "{allowed}");
            }
            assert!(answer.header("vary").contains("origin"));
            assert_eq!(answer.header("access-control-allow-credentials"), "");
        }
    }
}

#[tokio::test]
async fn a_foreign_origin_may_not_even_ask() {
    let local = Local::start().await;
    for origin in [EVIL, "null", "http://localhost:3001", "https://localhost:3000"] {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        let answer = local.send(with(local.request(Method::OPTIONS, "/api/keys/gemini"), &headers)).await;
        answer.problem(403, "forbidden");
        assert!(
            !answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")),
            "{:?}",
            answer.headers
        );
    }
}

#[tokio::test]
async fn an_allowed_origin_can_read_answers_and_problems() {
    let local = Local::start().await;
    let origin = "http://localhost:3000";
    for path in ["/api/keys", "/api/keys/gemini/nothing", "/nothing", "/api/generate"] {
        let answer = get_with(&local, path, &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
        let exposed = answer.header("access-control-expose-headers").to_ascii_lowercase();
        for header in ["x-request-id", "retry-after", "ratelimit", "keyfold-error"] {
            assert!(exposed.contains(header), "{exposed}");
        }
    }
    let answer = local.get("/api/keys").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn the_allowed_origins_are_a_setting() {
    let local = Setup::default()
        .with("KEYFOLD_ALLOWED_ORIGINS", "https://app.example.com, http://localhost:4000")
        .with("KEYFOLD_PUBLIC_URL", "https://keys.example.com")
        .start()
        .await;
    for origin in ["https://app.example.com", "http://localhost:4000", "https://keys.example.com"] {
        let answer =
            get_with(&local, "/api/keys", &[("origin", origin), ("sec-fetch-site", "cross-site")]).await;
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
    }
    // The usual ones are no longer allowed.
    for origin in ["http://localhost:3000", "http://app.example.com", "https://app.example.com:8443", EVIL] {
        get_with(&local, "/api/keys", &[("origin", origin)]).await.problem(403, "forbidden");
    }
}

// The local token

#[tokio::test]
async fn without_the_local_token_nothing_is_answered() {
    let local = with_token().await;
    for (method, path) in all_calls(&local).await {
        let answer = local.send(local.request(method.clone(), &path)).await;
        let problem = answer.problem(401, "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        assert!(problem["detail"].as_str().unwrap().contains("KEYFOLD_LOCAL_TOKEN"), "{problem}");
        assert!(!answer.everything().contains(TOKEN));
    }
    assert_eq!(local.send(local.request(Method::HEAD, "/healthz")).await.status, 401);
    assert!(local.standin.requests().is_empty());
}

#[tokio::test]
async fn the_local_token_opens_everything() {
    let local = with_token().await;
    for (method, path) in all_calls(&local).await {
        let answer = local.send(local.request(method.clone(), &path).bearer_auth(TOKEN)).await;
        // What is for services needs a service token besides; see service.rs.
        let is_for_services = path.starts_with("/api/service/");
        assert_eq!(answer.status == 401, is_for_services, "{method} {path}");
    }
    for value in [format!("bearer {TOKEN}"), format!("BEARER {TOKEN}"), format!("Bearer   {TOKEN}")] {
        assert_eq!(get_with(&local, "/healthz", &[("authorization", &value)]).await.status, 200, "{value}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_401() {
    let local = with_token().await;
    let upper = TOKEN.to_uppercase();
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer wrong".into(),
        format!("Bearer {upper}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
    ];
    for value in wrong {
        let answer = get_with(&local, "/api/keys", &[("authorization", &value)]).await;
        answer.problem(401, "unauthenticated");
        assert!(!answer.everything().contains(TOKEN));
    }
    let bearer = format!("Bearer {TOKEN}");
    get_with(&local, "/healthz", &[("authorization", &bearer), ("authorization", &bearer)])
        .await
        .problem(401, "unauthenticated");
    for elsewhere in ["x-api-key", "keyfold-local-token", "cookie"] {
        get_with(&local, "/healthz", &[(elsewhere, TOKEN)]).await.problem(401, "unauthenticated");
    }
    let cookie = format!("keyfold_session={TOKEN}");
    get_with(&local, "/healthz", &[("cookie", &cookie)]).await.problem(401, "unauthenticated");
}

/// The session cookie that an answer sets, after a look at how it is guarded.
#[track_caller]
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let set = answer.header("set-cookie");
    let mut parts = set.split("; ");
    let pair = parts.next().unwrap().to_owned();
    let attributes: HashSet<&str> = parts.collect();
    assert_eq!(attributes, HashSet::from(["Path=/", "HttpOnly", "SameSite=Strict"]), "{set}");
    let value = pair.strip_prefix("keyfold_session=").unwrap();
    assert!(value.len() >= 32 && !value.contains(TOKEN), "{set}");
    pair
}

#[tokio::test]
async fn the_token_in_the_address_becomes_a_cookie() {
    let local = with_token().await;
    local.write(".env", &format!("GEMINI_API_KEY={}\n", example_key("gemini", 1)));
    let answer = local.get(&format!("/?token={TOKEN}")).await;
    let cookie = session(&answer);
    assert_eq!(answer.header("location"), "/");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    for path in ["/", "/docs", "/api/keys", "/healthz", "/assets/docs.js"] {
        assert_eq!(get_with(&local, path, &[("cookie", &cookie)]).await.status, 200, "{path}");
    }
    let among_others = format!("theme=dark; {cookie}; x=y");
    let request = with(local.request(Method::POST, "/api/generate"), &[("cookie", &among_others)]);
    let answer = local.send(request.json(&json!({ "prompt": "hello" }))).await.ok();
    assert_eq!(answer["text"], answer_text(&example_key("gemini", 1), "hello"));
    // It opens nothing for another page.
    get_with(&local, "/api/keys", &[("cookie", &cookie), ("origin", EVIL)]).await.problem(403, "forbidden");
}

#[tokio::test]
async fn every_session_is_another_one_and_none_outlives_the_process() {
    let local = with_token().await;
    let path = format!("/?token={TOKEN}");
    let (first, second) = (session(&local.get(&path).await), session(&local.get(&path).await));
    assert_ne!(first, second);
    let local = Setup::default().with("KEYFOLD_LOCAL_TOKEN", TOKEN).in_dir(local.stop().await).start().await;
    get_with(&local, "/healthz", &[("cookie", &first)]).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_redirect_keeps_the_rest_of_the_address_and_never_the_token() {
    let local = with_token().await;
    let cases = [
        (format!("/docs?token={TOKEN}"), "/docs"),
        (format!("/docs?a=b&token={TOKEN}&c=d"), "/docs?a=b&c=d"),
        (format!("/?token={TOKEN}&token=other"), "/"),
        (format!("/?%74oken={TOKEN}"), "/"),
        (format!("/?token={}", TOKEN.replace('-', "%2d")), "/"),
        (format!("/api/keys?x=%26token%3D1&token={TOKEN}"), "/api/keys?x=%26token%3D1"),
        (format!("/nothing?token={TOKEN}"), "/nothing"),
    ];
    for (path, location) in cases {
        let answer = local.get(&path).await;
        session(&answer);
        assert_eq!(answer.header("location"), location, "{path}");
        assert!(!answer.everything().contains(TOKEN), "{path}");
    }
}

#[tokio::test]
async fn the_redirect_stays_here() {
    let local = with_token().await;
    for target in
        ["//evil.example/", "///evil.example", "/\\evil.example", "//\\evil.example", "/\\/evil.example"]
    {
        let answer = local.raw_get(&format!("{target}?token={TOKEN}"), &["Host: localhost"]).await;
        let location = answer.header("location");
        assert!(
            answer.status == 303 && location.starts_with("/evil.example"),
            "{target}: {} {location}",
            answer.status
        );
    }
}

#[tokio::test]
async fn a_wrong_token_in_the_address_starts_no_session() {
    let local = with_token().await;
    for path in [
        "/?token=wrong",
        "/?token=",
        "/?token",
        &format!("/?token=wrong&token={TOKEN}"),
        &format!("/?Token={TOKEN}"),
    ] {
        let answer = local.get(path).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("set-cookie"), "", "{path}");
        assert!(!answer.everything().contains(TOKEN), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = local.send(local.request(method, &format!("/api/keys/gemini?token={TOKEN}"))).await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn without_a_local_token_a_token_in_the_address_means_nothing() {
    let local = Local::start().await;
    let answer = local.get(&format!("/?token={TOKEN}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("set-cookie"), "");
}

#[tokio::test]
async fn the_page_can_be_opened_from_a_link_with_the_token() {
    let local = with_token().await;
    session(&get_with(&local, &format!("/?token={TOKEN}"), &NAVIGATION).await);
    // But not as a picture, or by a script of another page.
    let picture =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    get_with(&local, &format!("/?token={TOKEN}"), &picture).await.problem(403, "forbidden");
}

#[tokio::test]
async fn an_allowed_origin_may_ask_first_without_the_token() {
    let local = with_token().await;
    let headers = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = local.send(with(local.request(Method::OPTIONS, "/api/keys"), &headers)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
    // The request itself needs it, and can read why.
    let refused = get_with(&local, "/api/keys", &[("origin", "http://localhost:3000")]).await;
    refused.problem(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), "http://localhost:3000");
}

#[tokio::test]
async fn the_token_does_not_help_a_foreign_host() {
    let local = with_token().await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    local.raw_get("/healthz", &["Host: evil.example", &bearer]).await.problem(403, "forbidden");
    local.raw_get(&format!("/?token={TOKEN}"), &["Host: evil.example"]).await.problem(403, "forbidden");
}

// With a token issuer

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl";

fn with_clerk() -> Setup {
    let key = format!("pk_test_{}", BASE64.encode(b"clever-cat-1.clerk.accounts.dev$"));
    Setup::default().with("CLERK_PUBLISHABLE_KEY", &key)
}

#[tokio::test]
async fn with_an_issuer_what_looks_like_a_token_must_verify() {
    let local = with_clerk().start().await;
    let calls = [
        (Method::GET, "/api/keys"),
        (Method::PUT, "/api/keys/gemini"),
        (Method::DELETE, "/api/keys/gemini"),
        (Method::POST, "/api/keys/gemini/validate"),
        (Method::POST, "/api/keys/gemini/rollback"),
        (Method::POST, "/api/generate"),
        (Method::POST, "/api/research"),
        (Method::POST, "/api/frontend-env/update"),
        (Method::GET, "/api/onboarding/init"),
        (Method::GET, "/api/onboarding/providers"),
        (Method::POST, "/api/onboarding/reset"),
    ];
    for (method, path) in calls {
        for scheme in ["Bearer", "bearer"] {
            let request =
                local.request(method.clone(), path).header("authorization", format!("{scheme} {JWT}"));
            let answer = local.send(request.json(&json!({ "prompt": "hello" }))).await;
            answer.problem(401, "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
            assert!(!answer.everything().contains(JWT), "{path}");
        }
    }
}

#[tokio::test]
async fn with_an_issuer_a_request_without_a_token_is_the_local_user() {
    let local = with_clerk().start().await;
    let user = |answer: Answer| answer.ok()["user"]["id"].clone();
    assert_eq!(user(local.get("/api/onboarding/init").await), "local");
    // Nor is everything a token.
    for value in ["Bearer abc", "Bearer a.b.c", "Basic eyJh.eyJi.c"] {
        assert_eq!(
            user(get_with(&local, "/api/onboarding/init", &[("authorization", value)]).await),
            "local",
            "{value}"
        );
    }
    assert_eq!(local.has_example_key("gemini", 1).await.len(), 39);
}

#[tokio::test]
async fn without_an_issuer_a_token_means_nothing() {
    let local = Local::start().await;
    let bearer = format!("Bearer {JWT}");
    let answer = get_with(&local, "/api/onboarding/init", &[("authorization", &bearer)]).await;
    assert_eq!(answer.ok()["user"]["id"], "local");
}

#[tokio::test]
async fn the_local_token_is_still_needed_with_an_issuer() {
    let local = with_clerk().with("KEYFOLD_LOCAL_TOKEN", TOKEN).start().await;
    local.get("/api/keys").await.problem(401, "unauthenticated");
    let bearer = format!("Bearer {JWT}");
    get_with(&local, "/api/keys", &[("authorization", &bearer)]).await.problem(401, "unauthenticated");
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(get_with(&local, "/api/keys", &[("authorization", &bearer)]).await.status, 200);
}
