//! `/api/service/…`: users' keys for backend services.

use jiff::SignedDuration;
use keyfold::clock::Clock;
use keyfold::service_tokens::{NewToken, Scope};
use keyfold::user::UserId;
use keyfold_standin::example_key;
use reqwest::Method;
use serde_json::json;

use crate::support::production::{Production, Setup as ProductionSetup};
use crate::support::{Answer, Local, Setup};

fn reader() -> NewToken {
    NewToken {
        name: "billing".into(),
        scopes: vec![Scope::KeysRead],
        users: vec![],
        providers: vec![],
        lifetime: None,
    }
}

async fn token(keyfold: &keyfold::Keyfold, new: &NewToken) -> String {
    keyfold.service_tokens().create(new).await.unwrap().1.expose().to_owned()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

#[tokio::test]
async fn a_service_reads_the_keys_of_exactly_that_user() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    let gemini = production.as_user("user_a").has_example_key("gemini", 1).await;
    let exa = production.as_user("user_a").has_example_key("exa", 2).await;
    let other = production.as_user("user_b").has_example_key("gemini", 3).await;

    let all = production.get_with("/api/service/users/user_a/keys", &token).await;
    assert_eq!(all.ok(), json!({ "keys": { "gemini": gemini, "exa": exa } }));
    assert_eq!(all.header("cache-control"), "no-store");
    assert!(!all.everything().contains(&other) && !all.everything().contains(&token));
    let one = production.get_with("/api/service/users/user_b/keys/gemini", &token).await;
    assert_eq!(one.ok(), json!({ "keys": { "gemini": other } }));
    assert_eq!(one.header("cache-control"), "no-store");

    let missing = production.get_with("/api/service/users/user_b/keys/exa", &token).await;
    assert_eq!(missing.problem(404, "no_api_key")["provider"], "exa");
    production
        .get_with("/api/service/users/user_b/keys/nothing", &token)
        .await
        .problem(404, "unknown_provider");
    assert_eq!(production.get_with("/api/service/users/x/keys", &token).await.ok(), json!({ "keys": {} }));
}

#[tokio::test]
async fn a_users_id_is_taken_from_the_address_as_it_is_meant() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    for (number, (id, encoded)) in (1..).zip([
        ("org/ann", "org%2Fann"),
        ("org/ann/keys", "org%2Fann%2fkeys"),
        ("auth0|1", "auth0%7C1"),
        (" spaced ", "%20spaced%20"),
        ("100%", "100%25"),
        ("a+b", "a+b"),
        ("..", "%2E%2E"),
        ("ユーザー", "%E3%83%A6%E3%83%BC%E3%82%B6%E3%83%BC"),
    ]) {
        let key = production.as_user(id).has_example_key("gemini", number).await;
        for path in [format!("{encoded}/keys"), format!("{encoded}/keys/gemini")] {
            let line = format!("Authorization: Bearer {token}");
            let answer = raw_get(&production, &format!("/api/service/users/{path}"), &[&line]).await;
            assert_eq!(answer.ok(), json!({ "keys": { "gemini": key } }), "{path}");
        }
    }
    let long = "u".repeat(256);
    for bad in ["", "a%00b", "%0a", long.as_str()] {
        let path = format!("/api/service/users/{bad}/keys");
        let problem = production.get_with(&path, &token).await.problem(422, "invalid_request");
        assert_eq!(problem["field"], "user_id");
    }
    for path in ["/api/service/users/a/b/keys", "/api/service/users/%ff/keys"] {
        production.get_with(path, &token).await.problem(404, "not_found");
    }
}

/// A request with exactly this target: no client changes it on the way.
async fn raw_get(production: &Production, target: &str, headers: &[&str]) -> Answer {
    use tokio::io::AsyncWriteExt;
    let mut connection = tokio::net::TcpStream::connect(production.address).await.unwrap();
    let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    Answer::read_raw(&mut connection).await
}

#[tokio::test]
async fn a_token_opens_what_it_is_for_and_nothing_else() {
    let production = Production::start().await;
    for id in ["user_a", "user_b"] {
        production.as_user(id).has_example_key("gemini", 1).await;
        production.as_user(id).has_example_key("exa", 1).await;
    }
    let limited = NewToken { users: vec![user("user_a")], providers: vec!["gemini".into()], ..reader() };
    let token_of_a = token(&production.keyfold, &limited).await;
    let gateway = NewToken { name: "gateway".into(), scopes: vec![Scope::Gateway], ..reader() };
    let gateway = token(&production.keyfold, &gateway).await;

    let all = production.get_with("/api/service/users/user_a/keys", &token_of_a).await.ok();
    assert_eq!(all, json!({ "keys": { "gemini": example_key("gemini", 1) } }));
    for path in ["user_a/keys/exa", "user_b/keys", "user_b/keys/gemini", "user_A/keys"] {
        let answer = production.get_with(&format!("/api/service/users/{path}"), &token_of_a).await;
        answer.problem(403, "forbidden");
        assert!(!answer.body.contains(&example_key("gemini", 1)), "{}", answer.body);
    }
    let answer = production.get_with("/api/service/users/user_a/keys", &gateway).await;
    let detail = answer.problem(403, "forbidden")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("keys:read"), "{detail}");
}

#[tokio::test]
async fn who_is_suspended_is_refused_to_services_too() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    production.as_user("user_a").has_example_key("gemini", 1).await;
    production.keyfold.users().suspend(&user("user_a")).await.unwrap();
    for path in ["user_a/keys", "user_a/keys/gemini"] {
        let answer = production.get_with(&format!("/api/service/users/{path}"), &token).await;
        answer.problem(403, "user_suspended");
    }
}

#[tokio::test]
async fn who_was_deleted_is_gone_for_services_too() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    let a = production.as_user("user_a");
    a.has_example_key("gemini", 1).await;
    let answer = a.delete("/api/me").await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    for path in ["user_a/keys", "user_a/keys/gemini"] {
        let answer = production.get_with(&format!("/api/service/users/{path}"), &token).await;
        answer.problem(410, "user_deleted");
    }
    // Who came back has new keys.
    production.clock.advance(SignedDuration::from_secs(2));
    let key = production.as_user("user_a").has_example_key("gemini", 2).await;
    let answer = production.get_with("/api/service/users/user_a/keys", &token).await;
    assert_eq!(answer.ok(), json!({ "keys": { "gemini": key } }));
}

#[tokio::test]
async fn credentials_that_are_no_service_token_are_refused() {
    let production = Production::start().await;
    let good = token(&production.keyfold, &reader()).await;
    production.as_user("user_a").has_example_key("gemini", 1).await;
    let path = "/api/service/users/user_a/keys";
    let answer = production.get(path).await;
    let detail = answer.problem(401, "unauthenticated")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("keyfold token create"), "{detail}");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    let of_a_user = production.token_for("user_a");
    let mut mistyped = good.clone();
    mistyped.replace_range(10..11, if &good[10..11] == "0" { "1" } else { "0" });
    for wrong in
        [&of_a_user, "kfs_", "kfs_abc", &good[..40], &good[4..], &mistyped, &good.to_uppercase(), "x"]
    {
        let answer = production.get_with(path, wrong).await;
        answer.problem(401, "unauthenticated");
        assert!(!answer.everything().contains(wrong) || wrong.len() < 5, "{}", answer.body);
    }
    for lines in [
        vec![format!("Authorization: Basic {good}")],
        vec![format!("Authorization: {good}")],
        vec![format!("X-Api-Key: {good}")],
        vec![format!("Authorization: Bearer {good}"), format!("Authorization: Bearer {good}")],
        vec![format!("Authorization: Bearer {good}"), format!("Authorization: Bearer {of_a_user}")],
        vec![format!("Authorization: Bearer {good} {good}")],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        raw_get(&production, path, &lines).await.problem(401, "unauthenticated");
    }
    production.get_with(path, &good).await.ok();
}

#[tokio::test]
async fn a_revoked_or_expired_token_is_refused_on_every_replica() {
    let production = Production::start().await;
    let replica = production.replica().start().await;
    let lasting = token(&production.keyfold, &reader()).await;
    let short = NewToken { name: "short".into(), lifetime: Some(SignedDuration::from_hours(1)), ..reader() };
    let short = token(&production.keyfold, &short).await;
    let path = "/api/service/users/user_a/keys";
    for keyfold in [&production, &replica] {
        keyfold.get_with(path, &lasting).await.ok();
        keyfold.get_with(path, &short).await.ok();
    }
    production.keyfold.service_tokens().revoke("billing").await.unwrap();
    production.clock.advance(SignedDuration::from_hours(1));
    for keyfold in [&production, &replica] {
        for (token, why) in [(&lasting, "revoked"), (&short, "expired")] {
            let answer = keyfold.get_with(path, token).await;
            let detail = answer.problem(401, "unauthenticated")["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(why), "{detail}");
            assert!(answer.header("www-authenticate").contains("invalid_token"));
        }
    }
}

#[tokio::test]
async fn a_service_token_is_no_user_anywhere() {
    let production = Production::start().await;
    let on_production = token(&production.keyfold, &reader()).await;
    let local = Local::start().await;
    let on_local = token(&local.keyfold, &reader()).await;
    let description = production.get("/openapi.json").await.json();
    let mut refused = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"] != json!([{ "token": [] }]) {
                continue;
            }
            let address = path.replace("{provider}", "gemini").replace("{n}", "1");
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = json!({ "key": "x", "api_key": "x", "provider": "gemini", "prompt": "x", "query": "x", "data": {} });
            for (request, token) in [
                (production.request(method.clone(), &address), &on_production),
                (local.request(method.clone(), &address), &on_local),
            ] {
                let answer = production.send(request.bearer_auth(token).json(&body)).await;
                let problem = answer.problem(403, "forbidden");
                assert!(problem["detail"].as_str().unwrap().contains("service token"), "{method} {path}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 58, "{refused}");
    // What only looks like one signs nobody in either, in local mode where nobody needs a token.
    for wrong in ["kfs_", "kfs_abc"] {
        let answer = local.send(local.request(Method::GET, "/api/keys").bearer_auth(wrong)).await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_service_token_in_an_address_is_refused_and_shown_nowhere() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    let of_a_user = production.token_for("user_a");
    for path in [
        format!("/api/service/users/user_a/keys?token={token}"),
        format!("/api/service/users/user_a/keys?key={token}"),
        format!("/api/service/users/user_a/keys?{token}"),
        format!("/api/keys?key={token}"),
    ] {
        for credential in [&token, &of_a_user] {
            let answer = production.get_with(&path, credential).await;
            let problem = answer.problem(400, "invalid_request");
            assert!(problem["detail"].as_str().unwrap().contains("Revoke it"), "{problem}");
            assert!(!answer.everything().contains(&token), "{path}");
        }
    }
    // Nor is it taken for the id of a request.
    let request = production.request(Method::GET, "/healthz").header("x-request-id", &token);
    assert_ne!(production.send(request).await.header("x-request-id"), token);
    // Nor for a key.
    let answer = production.as_user("user_a").put("/api/keys/mistral", json!({ "key": token })).await;
    let problem = answer.problem(422, "invalid_key_format");
    assert!(problem["detail"].as_str().unwrap().contains("service token"), "{problem}");
    assert!(production.standin.requests().is_empty());
}

#[tokio::test]
async fn requests_with_a_token_are_limited_by_that_token() {
    let setup = ProductionSetup::default().with("KEYFOLD_RATE_LIMIT_GATEWAY", "3/minute");
    let production = setup.start().await;
    let one = token(&production.keyfold, &reader()).await;
    let other = token(&production.keyfold, &NewToken { name: "other".into(), ..reader() }).await;
    let path = "/api/service/users/user_a/keys";
    for _ in 0..3 {
        production.get_with(path, &one).await.ok();
    }
    let answer = production.get_with(path, &one).await;
    answer.problem(429, "rate_limited");
    assert!(!answer.header("retry-after").is_empty());
    production.get_with(path, &other).await.ok();
}

#[tokio::test]
async fn in_local_mode_a_service_gets_the_keys_of_this_machine() {
    let local = Local::start().await;
    let token = token(&local.keyfold, &reader()).await;
    let key = local.has_example_key("gemini", 1).await;
    let get = async |path: &str| local.send(local.request(Method::GET, path).bearer_auth(&token)).await;
    assert_eq!(get("/api/service/users/local/keys").await.ok(), json!({ "keys": { "gemini": key } }));
    // An edit by hand counts at once.
    local.write(".env", &format!("EXA_API_KEY={}\n", example_key("exa", 5)));
    let edited = get("/api/service/users/local/keys").await.ok();
    assert_eq!(edited, json!({ "keys": { "exa": example_key("exa", 5) } }));
    // Nobody gets them without a token, though local mode has no login.
    local.get("/api/service/users/local/keys").await.problem(401, "unauthenticated");
    let foreign = local.request(Method::GET, "/api/service/users/local/keys").bearer_auth(&token);
    local.send(foreign.header("origin", "https://evil.example")).await.problem(403, "forbidden");
}

#[tokio::test]
async fn where_local_mode_has_a_token_a_service_needs_that_too() {
    let local =
        Setup::default().with("KEYFOLD_LOCAL_TOKEN", "test-data-local-token-0123456789").start().await;
    let token = token(&local.keyfold, &reader()).await;
    let path = "/api/service/users/local/keys";
    local.send(local.request(Method::GET, path).bearer_auth(&token)).await.problem(401, "unauthenticated");
    let opened = local.get("/?token=test-data-local-token-0123456789").await;
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    local.send(local.request(Method::GET, path).bearer_auth(&token).header("cookie", &cookie)).await.ok();
    local
        .send(local.request(Method::GET, path).header("cookie", &cookie))
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_list_of_tokens_says_when_one_was_last_used() {
    let production = Production::start().await;
    let token = token(&production.keyfold, &reader()).await;
    production.get_with("/api/service/users/user_a/keys", &token).await.ok();
    production.keyfold.flush().await;
    let listed = production.keyfold.service_tokens().list().await.unwrap();
    assert_eq!(listed[0].last_used_at, Some(production.clock.now()));
}
