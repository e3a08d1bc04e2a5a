//! Requests that are one too many: what counts, who is refused, and what the caller is told.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use keyfold::limit::Class;
use keyfold::service_tokens::{NewToken, Scope};
use keyfold_standin::{Behaviour, example_key};
use keyfold_test_servers::RedisServer;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::production::Production;
use crate::support::{Answer, Local, Setup};

/// The refusal's status, code, headers and fields, which must agree with each other.
#[track_caller]
fn refused(answer: &Answer, class: &str, quota: u32, window: u32, seconds: u64) -> Value {
    let body = answer.problem(429, "rate_limited");
    assert_eq!(body["retry_after"], seconds, "{body}");
    assert_eq!(answer.header("retry-after"), seconds.to_string());
    assert_eq!(answer.header("ratelimit"), format!("\"{class}\";r=0;t={seconds}"));
    assert_eq!(answer.header("ratelimit-policy"), format!("\"{class}\";q={quota};w={window}"));
    body
}

async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_tests_stolen_keys_here() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_KEYS", "6/minute").start().await;
    let (ann, bob) = (production.as_user("ann"), production.as_user("bob"));
    let key = |n| json!({ "key": example_key("gemini", n) });
    let saved = ann.put("/api/keys/gemini", key(1)).await;
    assert_eq!(saved.status, 201);
    assert_eq!(saved.header("ratelimit"), "\"keys\";r=5;t=10");
    assert_eq!(saved.header("ratelimit-policy"), "\"keys\";q=6;w=60");
    // Everything that asks a provider about a key, or puts another one in its place.
    assert_eq!(ann.put("/api/keys/gemini", key(2)).await.status, 200);
    assert_eq!(ann.post("/api/keys/gemini/validate", key(3)).await.status, 200);
    assert_eq!(ann.post("/api/keys/gemini/rollback", json!({})).await.status, 200);
    let onboarding = json!({ "provider": "gemini", "api_key": example_key("gemini", 4) });
    assert_eq!(ann.post("/api/onboarding/api-keys", onboarding.clone()).await.status, 200);
    assert_eq!(ann.post("/api/onboarding/providers/gemini/validate", json!({})).await.status, 200);
    let asked = production.standin.requests().len();
    for answer in [
        ann.put("/api/keys/gemini", key(5)).await,
        ann.post("/api/keys/gemini/validate", key(5)).await,
        ann.post("/api/keys/gemini/validate", json!({})).await,
        ann.post("/api/keys/gemini/rollback", json!({})).await,
        ann.post("/api/onboarding/api-keys", onboarding).await,
        ann.get("/api/onboarding/api-keys/validate").await,
        ann.post("/api/onboarding/api-keys/validate", json!({})).await,
        ann.post("/api/onboarding/providers/gemini/validate", json!({})).await,
        // Providers that there are not count too.
        ann.put("/api/keys/nobody", key(5)).await,
    ] {
        let body = refused(&answer, "keys", 6, 60, 10);
        assert_eq!(body["detail"], "Too many requests: 6 per minute are allowed. Try again in 10 s.");
    }
    assert_eq!(production.standin.requests().len(), asked, "no provider was asked");
    // Looking, and taking a key away, are not limited; and others are not concerned.
    assert_eq!(ann.get("/api/keys").await.status, 200);
    assert_eq!(ann.delete("/api/keys/gemini").await.status, 204);
    assert_eq!(bob.put("/api/keys/gemini", key(6)).await.status, 201);
    production.clock.advance(SignedDuration::from_secs(10));
    assert_eq!(ann.put("/api/keys/gemini", key(7)).await.status, 201);
    refused(&ann.put("/api/keys/gemini", key(7)).await, "keys", 6, 60, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_as_often_as_it_has_keys() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_KEYS", "5/minute").start().await;
    let ann = production.as_user("ann");
    let keys = |ids: &[&str]| {
        let keys: Value = ids.iter().map(|id| ((*id).to_owned(), json!(example_key(id, 1)))).collect();
        json!({ "data": { "api_keys": keys } })
    };
    let mut three = keys(&["gemini", "exa", "openai"]);
    // An empty field of a form is no key.
    three["data"]["api_keys"]["anthropic"] = json!(" ");
    let answer = ann.post("/api/onboarding/step/1/complete", three).await;
    assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, "\"keys\";r=2;t=12"));
    // What saves no key counts nothing.
    assert_eq!(ann.post("/api/onboarding/step/1/complete", json!({ "data": {} })).await.status, 200);
    let answer = ann.post("/api/onboarding/step/1/complete", keys(&["gemini", "exa", "openai"])).await;
    refused(&answer, "keys", 5, 60, 12);
    // All three stored keys would be checked.
    refused(&ann.get("/api/onboarding/api-keys/validate").await, "keys", 5, 60, 12);
    production.clock.advance(SignedDuration::from_secs(12));
    let answer = ann.get("/api/onboarding/api-keys/validate").await;
    assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, "\"keys\";r=0;t=12"));
}

#[tokio::test(flavor = "multi_thread")]
async fn generate_and_research_share_a_limit() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_GENERATE", "2/second").start().await;
    let ann = production.as_user("ann");
    ann.has_example_key("gemini", 1).await;
    ann.has_example_key("exa", 1).await;
    let hello = json!({ "prompt": "hello" });
    let answer = ann.post("/api/generate", hello.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, "\"generate\";r=1;t=1"));
    assert_eq!(ann.post("/api/research", json!({ "query": "hello" })).await.status, 200);
    refused(&ann.post("/api/generate", hello.clone()).await, "generate", 2, 1, 1);
    refused(&ann.post("/api/research", json!({ "query": "hello" })).await, "generate", 2, 1, 1);
    production.clock.advance(SignedDuration::from_millis(500));
    assert_eq!(ann.post("/api/generate", hello).await.status, 200);
    // Another class.
    ann.has_example_key("gemini", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_mode_has_limits_too_and_refuses_before_it_reads() {
    let local = Setup::default().with("KEYFOLD_RATE_LIMIT_KEYS", "1/hour").start().await;
    local.has_example_key("gemini", 1).await;
    let mut connection = local.connect().await;
    let head = "PUT /api/keys/gemini HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\nConnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    // The body never comes.
    refused(&Answer::read_raw(&mut connection).await, "keys", 1, 3600, 3600);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_settings_the_limits_are_those_of_the_reference() {
    let mut setup = Setup::default();
    for class in ["KEYS", "GENERATE", "GATEWAY", "ANONYMOUS"] {
        // Empty counts as unset.
        setup = setup.with(&format!("KEYFOLD_RATE_LIMIT_{class}"), "");
    }
    let local = setup.start().await;
    let saved = local.put("/api/keys/gemini", json!({ "key": example_key("gemini", 1) })).await;
    assert_eq!(saved.header("ratelimit"), "\"keys\";r=29;t=2");
    let answer = local.post("/api/generate", json!({ "prompt": "hello" })).await;
    assert_eq!(answer.header("ratelimit"), "\"generate\";r=59;t=1");
    for (class, quota) in [(Class::Gateway, 600), (Class::Service, 600), (Class::Anonymous, 120)] {
        let standing = local.keyfold.limits().count(class, "somebody", 1).await.unwrap().unwrap();
        assert_eq!((standing.quota, standing.window), (quota, Some(60)), "{class:?}");
    }
    assert_eq!(local.get("/api/keys").await.header("ratelimit"), "", "nothing was counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_are_limited_until_they_end() {
    let production = Production::with("KEYFOLD_MAX_STREAMS", "2").start().await;
    let (ann, bob) = (production.as_user("ann"), production.as_user("bob"));
    for user in [&ann, &bob] {
        user.has_example_key("openai", 1).await;
    }
    let hanging = async || {
        production.standin.script("openai", Behaviour::StreamThenHang { chunks: 1 });
        ann.stream(json!({ "prompt": "one two three", "provider": "openai" })).await
    };
    let first = hanging().await;
    assert_eq!(first.headers["ratelimit"], "\"streams\";r=1");
    assert_eq!(first.headers["ratelimit-policy"], "\"streams\";q=2;qu=\"concurrent-requests\"");
    let second = hanging().await;
    let third = json!({ "prompt": "hello", "provider": "openai", "stream": true });
    let answer = ann.post("/api/generate", third).await;
    let body = answer.problem(429, "rate_limited");
    assert_eq!(body["detail"], "Too many requests: 2 open streams are allowed. Try again in 1 s.");
    assert_eq!((body["retry_after"].as_u64(), answer.header("retry-after")), (Some(1), "1"));
    assert_eq!(answer.header("ratelimit"), "\"streams\";r=0");
    // Whole answers are no streams, and others have places of their own.
    assert_eq!(
        ann.post("/api/generate", json!({ "prompt": "hello", "provider": "openai" })).await.status,
        200
    );
    assert_eq!(bob.stream(json!({ "prompt": "hello", "provider": "openai" })).await.status, 200);
    // One is left by its client.
    drop(first);
    let limits = production.keyfold.limits();
    soon("the place is free", async || limits.open_streams() == 1).await;
    // One ends; one cannot even begin; one breaks off.
    let hello = json!({ "prompt": "hello", "provider": "openai" });
    let done = ann.stream(hello.clone()).await.rest().await;
    assert_eq!(done.last().unwrap().0, "done");
    soon("the place is free", async || limits.open_streams() == 1).await;
    production.standin.script("openai", Behaviour::status(500, "{}"));
    assert_eq!(ann.stream(hello.clone()).await.status, 502);
    soon("the place is free", async || limits.open_streams() == 1).await;
    production
        .standin
        .script("openai", Behaviour::status_with(200, &[("content-type", "text/event-stream")], "x"));
    assert_eq!(ann.stream(hello).await.rest().await.last().unwrap().0, "error");
    soon("the place is free", async || limits.open_streams() == 1).await;
    drop(second);
    soon("all places are free", async || limits.open_streams() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_limited_by_their_address_and_nobody_else_is() {
    let production = Production::with("KEYFOLD_TRUSTED_PROXIES", "127.0.0.0/8")
        .with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "3/minute")
        .start()
        .await;
    let from = |address: &str, token: &str| {
        let request = production.request(Method::GET, "/api/keys").header("x-forwarded-for", address);
        production.send(if token.is_empty() { request } else { request.bearer_auth(token) })
    };
    let good = production.token_for("ann");
    assert_eq!(from("198.51.100.1", &good).await.header("ratelimit"), "", "who is known is not counted here");
    let first = from("198.51.100.1", "").await;
    first.problem(401, "unauthenticated");
    assert_eq!(first.header("ratelimit"), "\"anonymous\";r=2;t=20");
    let mut wrong = good.clone();
    wrong.truncate(good.len() - 5);
    from("198.51.100.1", &wrong).await.problem(401, "unauthenticated");
    // Services' tokens count alike.
    from("198.51.100.1", "kfs_nonsense").await.problem(401, "unauthenticated");
    refused(&from("198.51.100.1", &wrong).await, "anonymous", 3, 60, 20);
    refused(&from("198.51.100.1", "").await, "anonymous", 3, 60, 20);
    let service = production
        .request(Method::GET, "/api/service/users/ann/keys")
        .header("x-forwarded-for", "198.51.100.1")
        .bearer_auth("kfs_nonsense");
    refused(&production.send(service).await, "anonymous", 3, 60, 20);
    // A good token from there is let in, the first time it is seen too; so are others from elsewhere.
    assert_eq!(from("198.51.100.1", &good).await.status, 200);
    assert_eq!(from("198.51.100.1", &production.token_for("bob")).await.status, 200);
    from("198.51.100.2", "").await.problem(401, "unauthenticated");
    // What anybody may see is not counted.
    let public = production.request(Method::GET, "/api/config").header("x-forwarded-for", "198.51.100.1");
    assert_eq!(production.send(public).await.status, 200);
    production.clock.advance(SignedDuration::from_secs(20));
    from("198.51.100.1", "").await.problem(401, "unauthenticated");
    refused(&from("198.51.100.1", "").await, "anonymous", 3, 60, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_requests_come_from_one_proxy_its_address_is_nobodys() {
    // As on a platform, whose proxy nobody named.
    let unnamed = Production::with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "").start().await;
    for _ in 0..130 {
        unnamed.get("/api/keys").await.problem(401, "unauthenticated");
    }
    let named = Production::with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "")
        .with("KEYFOLD_TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let stranger = async || {
        named.send(named.request(Method::GET, "/api/keys").header("x-forwarded-for", "198.51.100.1")).await
    };
    for _ in 0..120 {
        stranger().await.problem(401, "unauthenticated");
    }
    refused(&stranger().await, "anonymous", 120, 60, 1);
    // The proxy itself, and a proxy that says nothing.
    for _ in 0..130 {
        named.get("/api/keys").await.problem(401, "unauthenticated");
    }
    // Whoever sets the limit means every address.
    let set = Production::with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "1/hour").start().await;
    set.get("/api/keys").await.problem(401, "unauthenticated");
    refused(&set.get("/api/keys").await, "anonymous", 1, 3600, 3600);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_token_cannot_be_guessed() {
    const TOKEN: &str = "test-data-local-token";
    let local = Setup::default()
        .with("KEYFOLD_LOCAL_TOKEN", TOKEN)
        .with("KEYFOLD_RATE_LIMIT_ANONYMOUS", "2/minute")
        .start()
        .await;
    let with =
        async |token: &str| local.send(local.request(Method::GET, "/api/keys").bearer_auth(token)).await;
    let link = async |token: &str| local.get(&format!("/?token={token}")).await;
    let session = link(TOKEN).await;
    let cookie = session.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.contains('='), "{}", session.everything());
    with("test-data-guess-1").await.problem(401, "unauthenticated");
    link("test-data-guess-2").await.problem(401, "unauthenticated");
    refused(&with("test-data-guess-3").await, "anonymous", 2, 60, 30);
    // Not even the right one is told from others now.
    refused(&with(TOKEN).await, "anonymous", 2, 60, 30);
    refused(&link(TOKEN).await, "anonymous", 2, 60, 30);
    refused(&local.get("/api/keys").await, "anonymous", 2, 60, 30);
    // Who came in before stays in.
    let inside = local.request(Method::GET, "/api/keys").header("cookie", &cookie);
    assert_eq!(local.send(inside).await.status, 200);
    let made_up = local.request(Method::GET, "/api/keys").header("cookie", "keyfold_session=0000");
    refused(&local.send(made_up).await, "anonymous", 2, 60, 30);
    local.clock.advance(SignedDuration::from_secs(30));
    assert_eq!(with(TOKEN).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_refusals_stand_in_the_audit_once_a_minute() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_GENERATE", "1/hour").start().await;
    let ann = production.as_user("ann");
    let refused_often = async || {
        ann.post("/api/generate", json!({ "prompt": "hello" })).await;
        for _ in 0..5 {
            ann.post("/api/generate", json!({ "prompt": "hello" })).await.problem(429, "rate_limited");
        }
    };
    let recorded = async || {
        let events = ann.get("/api/audit?limit=100").await.ok()["events"].as_array().unwrap().clone();
        events.into_iter().filter(|event| event["outcome"] == "rate_limited").collect::<Vec<_>>()
    };
    refused_often().await;
    soon("it is recorded", async || !recorded().await.is_empty()).await;
    let event = recorded().await.remove(0);
    assert_eq!((&event["action"], &event["actor"]), (&json!("key.refused"), &json!("user")), "{event}");
    production.clock.advance(SignedDuration::from_secs(60));
    refused_often().await;
    soon("it is recorded again", async || recorded().await.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_token_is_limited_whoever_it_asks_for() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_GATEWAY", "2/minute").start().await;
    let token = async |name: &str| {
        let scopes = vec![Scope::KeysRead];
        let new = NewToken { name: name.into(), scopes, users: vec![], providers: vec![], lifetime: None };
        let (_, token) = production.keyfold.service_tokens().create(&new).await.unwrap();
        token.expose().to_owned()
    };
    let (reports, billing) = (token("reports").await, token("billing").await);
    let ask = async |user: &str, token: &str| {
        production.get_with(&format!("/api/service/users/{user}/keys"), token).await
    };
    let first = ask("ann", &reports).await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit")), (200, "\"service\";r=1;t=30"));
    assert_eq!(ask("bob", &reports).await.status, 200);
    refused(&ask("eve", &reports).await, "service", 2, 60, 30);
    assert_eq!(ask("eve", &billing).await.status, 200);
    production.clock.advance(SignedDuration::from_secs(30));
    assert_eq!(ask("eve", &reports).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_without_names() {
    let production = Production::with("KEYFOLD_RATE_LIMIT_GENERATE", "1/hour").start().await;
    let ann = production.as_user("user_ann_of_this_test");
    for _ in 0..3 {
        ann.post("/api/generate", json!({ "prompt": "hello" })).await;
    }
    let text = production.metrics.text();
    assert!(text.contains("keyfold_rate_limit_refusals_total{limit=\"generate\"} 2\n"), "{text}");
    assert!(text.contains("keyfold_rate_limit_refusals_total{limit=\"keys\"} 0\n"), "{text}");
    assert!(text.contains("keyfold_open_streams 0\n"), "{text}");
    assert!(!text.contains("keyfold_rate_limits_shared"), "{text}");
    assert!(!text.contains("user_ann"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_a_user_may_do_while_redis_is_there() {
    let redis = tokio::task::spawn_blocking(|| RedisServer::start(&[])).await.unwrap();
    let one = Production::with("KEYFOLD_RATE_LIMIT_GENERATE", "6/hour")
        .with("REDIS_URL", &redis.url())
        .start()
        .await;
    let other = one.replica().start().await;
    let shared = |production: &Production| production.keyfold.limits().shared().unwrap().is_in_use;
    soon("both use it", async || shared(&one) && shared(&other)).await;
    assert!(one.metrics.text().contains("keyfold_rate_limits_shared 1\n"));
    one.as_user("ann").has_example_key("gemini", 1).await;
    let ask = async |production: &Production| {
        production.as_user("ann").post("/api/generate", json!({ "prompt": "hello" })).await
    };
    for round in 0..3 {
        assert_eq!(ask(&one).await.header("ratelimit"), format!("\"generate\";r={};t=600", 5 - 2 * round));
        assert_eq!(ask(&other).await.header("ratelimit"), format!("\"generate\";r={};t=600", 4 - 2 * round));
    }
    for production in [&one, &other] {
        ask(production).await.problem(429, "rate_limited");
    }
    redis.kill();
    // Alone, each lets through what it has not let through yet, and no more.
    let mut through = String::new();
    for production in [&one, &other] {
        for _ in 0..5 {
            let _ = write!(through, "{} ", ask(production).await.status.as_u16());
        }
    }
    assert_eq!(through, "200 200 200 429 429 200 200 200 429 429 ");
    assert!(one.metrics.text().contains("keyfold_rate_limits_shared 0\n"));
    redis.start_again();
    soon("both use it again", async || shared(&one) && shared(&other)).await;
    assert_eq!(ask(&one).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_read_how_a_limit_stands() {
    let local = Local::start().await;
    let request = local.request(Method::GET, "/api/keys").header("origin", "http://localhost:3000");
    let exposed = local.send(request).await.header("access-control-expose-headers").to_owned();
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{exposed}");
    }
}
