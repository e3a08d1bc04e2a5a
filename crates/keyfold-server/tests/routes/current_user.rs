//! Who the user is: verified tokens in production, and where an issuer is configured in local mode too.

use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use keyfold_standin::issuer::{Answer as IssuerAnswer, FOREIGN_RSA, KEY_SET_PATH, NEXT_RSA, RSA, SigningKey};
use keyfold_standin::{Issuer, example_key};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::support::production::{Production, Setup as ProductionSetup};
use crate::support::{Answer, Local, Setup};

/// What needs no token: it is the same for everybody.
const PUBLIC: [&str; 3] = ["GET /healthz", "GET /readyz", "GET /api/config"];

/// Asserts that this is a refusal for want of a good token, and returns the challenge.
#[track_caller]
fn challenge(answer: &Answer) -> String {
    answer.problem(401, "unauthenticated");
    let challenge = answer.header("www-authenticate").to_owned();
    assert!(challenge.starts_with("Bearer realm=\"keyfold\""), "{challenge}");
    challenge
}

/// Asserts the same, with RFC 6750's word for a token that does not count.
#[track_caller]
fn is_refused(answer: &Answer, what: &str) {
    let challenge = challenge(answer);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    let expected =
        format!("Bearer realm=\"keyfold\", error=\"invalid_token\", error_description=\"{detail}\"");
    assert_eq!(challenge, expected, "{what}");
}

#[tokio::test]
async fn a_verified_token_names_the_user() {
    let production = Production::start().await;
    let (a, b) = (production.as_user("user_a"), production.as_user("user_b"));
    let key = a.has_example_key("gemini", 1).await;
    assert_eq!(a.listed("gemini").await["masked"], format!("****{}", &key[key.len() - 4..]));
    assert_eq!(b.listed("gemini").await, Value::Null);
    assert_eq!(production.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn every_call_but_the_public_ones_is_refused_without_a_good_token() {
    let production = Production::start().await;
    let description = production.get("/openapi.json").await.json();
    let paths = description["paths"].as_object().unwrap();
    let mut refused = 0;
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let call = format!("{} {path}", method.to_uppercase());
            let address = path.replace("{provider}", "gemini").replace("{n}", "1");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = || production.request(method.clone(), &address);
            // It has a signature in a token's place; see webhooks.rs.
            if call == "POST /webhooks/clerk" {
                continue;
            }
            if PUBLIC.contains(&call.as_str()) {
                assert_eq!(production.send(request()).await.status, 200, "{call}");
                continue;
            }
            // Nothing, an empty body, and one that is right or wrong: the caller comes first.
            for answer in [
                production.send(request()).await,
                production.send(request().bearer_auth("")).await,
                production.send(request().basic_auth("user_a", Some("x"))).await,
                production.send(request().header("content-type", "application/json").body("{")).await,
                production.send(request().json(&json!({"key": "x", "prompt": "x", "query": "x"}))).await,
            ] {
                assert!(!challenge(&answer).contains("error"), "{call}: no token, nothing wrong with it");
            }
            let foreign = FOREIGN_RSA.token(&production.claims_for("user_a"));
            is_refused(&production.send(request().bearer_auth(foreign)).await, &call);
            refused += 1;
        }
    }
    assert!(refused >= 30, "{refused}");
    assert!(production.standin.requests().is_empty());
}

#[tokio::test]
async fn a_token_in_any_broken_form_is_refused() {
    let production = Production::start().await;
    let other = Issuer::start().await;
    let now = production.seconds();
    let claims = |change: &dyn Fn(&mut Value)| {
        let mut claims = production.claims_for("user_a");
        change(&mut claims);
        claims
    };
    let with = |name: &str, value: Value| RSA.token(&claims(&|claims| claims[name] = value.clone()));
    let without = |name: &str| {
        RSA.token(&claims(&|claims| {
            claims.as_object_mut().unwrap().remove(name);
        }))
    };
    let header = |header: Value, key: &SigningKey| key.token_with(&header, &claims(&|_| ()));
    let unsigned = |header: Value| {
        let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}", part(header), part(claims(&|_| ())))
    };
    let hmac = {
        let signed = unsigned(json!({"alg": "HS256", "kid": RSA.id()}));
        let secret = RSA.public_forms().pop().unwrap();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    };
    let own_key = |name: &str, value: Value| {
        header(json!({"alg": "RS256", "kid": RSA.id(), name: value}), &FOREIGN_RSA)
    };
    let cases = [
        ("algorithm none", format!("{}.", unsigned(json!({"alg": "none", "kid": RSA.id()})))),
        ("HMAC with the public key", hmac),
        ("other issuer", with("iss", json!(other.url()))),
        ("other key under the same kid", header(json!({"alg": "RS256", "kid": RSA.id()}), &FOREIGN_RSA)),
        ("unknown kid", FOREIGN_RSA.token(&claims(&|_| ()))),
        ("jku", own_key("jku", json!(other.key_set_url()))),
        ("x5u", own_key("x5u", json!(other.url()))),
        ("jwk", own_key("jwk", FOREIGN_RSA.jwk())),
        ("crit", header(json!({"alg": "RS256", "kid": RSA.id(), "crit": ["exp"]}), &RSA)),
        ("expired", with("exp", json!(now - 6))),
        ("not yet valid", with("nbf", json!(now + 60))),
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("empty sub", with("sub", json!(""))),
        ("long sub", with("sub", json!("ü".repeat(300)))),
        ("foreign azp", with("azp", json!("https://evil.example"))),
        ("no azp, and no audience configured", without("azp")),
        ("pending", with("sts", json!("pending"))),
        ("no token at all", "eyJ".into()),
        ("9 KiB long", with("pad", json!("x".repeat(9000)))),
    ];
    for (what, token) in &cases {
        let answer = production.get_with("/api/keys", token).await;
        is_refused(&answer, what);
        assert!(
            !answer.everything().contains(token.as_str()) && !answer.everything().contains("evil"),
            "{what}"
        );
    }
    assert_eq!(other.requests(), [""; 0]);
    assert_eq!(production.as_user("user_a").get("/api/keys").await.status, 200);
}

#[tokio::test]
async fn a_token_of_a_megabyte_is_refused_and_others_are_served() {
    let production = Production::start().await;
    let mut claims = production.claims_for("user_a");
    claims["pad"] = json!("x".repeat(1024 * 1024));
    let request = production.request(Method::GET, "/api/keys").bearer_auth(RSA.token(&claims));
    // It is more than any header may have; whoever sends it may find the connection closed.
    if let Ok(answer) = request.send().await {
        assert!([401, 431].contains(&answer.status().as_u16()), "{}", answer.status());
    }
    assert_eq!(production.as_user("user_a").get("/api/keys").await.status, 200);
    assert_eq!(production.issuer.key_set_requests(), 1);
}

#[tokio::test]
async fn a_credential_that_is_no_single_bearer_token_is_refused() {
    let production = Production::start().await;
    let token = production.token_for("user_a");
    let request = || production.request(Method::GET, "/api/keys");
    for authorization in [token.clone(), format!("Token {token}"), format!("Bearer{token}"), "Bearer ".into()]
    {
        let answer = production.send(request().header(AUTHORIZATION, &authorization)).await;
        assert!(!challenge(&answer).contains("error"), "{authorization}");
    }
    let twice = request().bearer_auth(&token).header(AUTHORIZATION, format!("Bearer {token}"));
    challenge(&production.send(twice).await);
    for header in ["x-api-key", "cookie", "x-user-id", "keyfold-user"] {
        challenge(&production.send(request().header(header, &token)).await);
    }
    challenge(&production.get(&format!("/api/keys?token={token}")).await);
    // The scheme has no case (RFC 9110, section 11.1).
    let answer = production.send(request().header(AUTHORIZATION, format!("bEARER {token}"))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_configured_audience_must_be_named() {
    let setup = ProductionSetup::default().with("KEYFOLD_AUTH_AUDIENCE", "https://keys.example.com");
    let production = setup.start().await;
    is_refused(&production.as_user("user_a").get("/api/keys").await, "no aud");
    let mut claims = production.claims_for("user_a");
    for (audience, status) in [("https://keys.example.com", 200), ("https://other.example.com", 401)] {
        claims["aud"] = json!([audience]);
        assert_eq!(production.get_with("/api/keys", &RSA.token(&claims)).await.status, status, "{audience}");
    }
}

#[tokio::test]
async fn odd_user_ids_are_users_of_their_own() {
    let production = Production::start().await;
    let long = "ü".repeat(255);
    let ids =
        ["o'brien\"; --", "../etc/passwd", "a/b?c#d%2F", "ユーザー|1", "USER_A", "user_a", "user_a ", &long];
    for (n, id) in (1..).zip(ids) {
        let user = production.as_user(id);
        assert_eq!(user.listed("gemini").await, Value::Null, "{id}");
        user.has_example_key("gemini", n).await;
    }
    for (n, id) in (1..).zip(ids) {
        let key = example_key("gemini", n);
        let shown = format!("****{}", &key[key.len() - 4..]);
        assert_eq!(production.as_user(id).listed("gemini").await["masked"], shown, "{id}");
    }
    let rows = production.sql().await.query("SELECT user_id FROM onboarding_sessions", &[]).await.unwrap();
    let mut stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut expected = ids.map(str::to_owned).to_vec();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
    is_refused(&production.as_user(&"u".repeat(300)).get("/api/keys").await, "300 characters");
}

#[tokio::test]
async fn while_no_key_of_the_issuer_is_known_tokens_get_503_and_everything_else_answers() {
    let issuer = Arc::new(Issuer::start().await);
    issuer.go_away().await;
    let production = ProductionSetup::default().issuer(issuer).start().await;
    let answer = production.as_user("user_a").get("/api/keys").await;
    answer.problem(503, "issuer_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    challenge(&production.get("/api/keys").await);
    is_refused(&production.get_with("/api/keys", "nonsense").await, "it needs no key to see that");
    assert_eq!(production.get("/readyz").await.status, 200);
    let expired = RSA.token(&{
        let mut claims = production.claims_for("user_a");
        claims["exp"] = json!(production.seconds() - 60);
        claims
    });
    is_refused(&production.get_with("/api/keys", &expired).await, "nor that");
    production.issuer.come_back().await;
    production.clock.advance(jiff::SignedDuration::from_secs(2));
    assert_eq!(production.as_user("user_a").get("/api/keys").await.status, 200);
}

#[tokio::test]
async fn the_issuer_being_away_or_slow_stops_nobody_whose_key_is_known() {
    let production = Production::start().await;
    assert_eq!(production.as_user("user_a").get("/api/keys").await.status, 200);
    production.issuer.answer(KEY_SET_PATH, IssuerAnswer::Hang);
    production.clock.advance(jiff::SignedDuration::from_secs(600));
    assert_eq!(production.as_user("user_a").get("/api/keys").await.status, 200);
    production.issuer.go_away().await;
    assert_eq!(production.as_user("user_b").get("/api/keys").await.status, 200);
    is_refused(
        &production.get_with("/api/keys", &NEXT_RSA.token(&production.claims_for("user_a"))).await,
        "a key that nobody knows",
    );
}

#[tokio::test]
async fn a_rotated_key_counts_at_once_and_a_withdrawn_one_no_more() {
    let production = Production::start().await;
    let old = production.token_for("user_a");
    assert_eq!(production.get_with("/api/keys", &old).await.status, 200);
    production.issuer.publish(&[&NEXT_RSA]);
    let new = NEXT_RSA.token(&production.claims_for("user_a"));
    assert_eq!(production.get_with("/api/keys", &new).await.status, 200);
    is_refused(&production.get_with("/api/keys", &old).await, "remembered, and its key is gone");
}

#[tokio::test]
async fn a_page_learns_how_to_sign_in() {
    let setup = ProductionSetup::default()
        .with("KEYFOLD_AUTH_CLIENT_ID", "web")
        .with("KEYFOLD_AUTH_AUDIENCE", "https://keys.example.com");
    let production = setup.start().await;
    let config = production.get("/api/config").await.ok();
    let issuer = production.issuer.url();
    let oidc = json!({ "kind": "oidc", "issuer": issuer, "client_id": "web", "audience": "https://keys.example.com" });
    assert_eq!(config, json!({ "mode": "production", "auth": oidc, "onboarding": "keyfold" }));

    let clerk_key = "pk_test_Y2xldmVyLWNhdC0xLmNsZXJrLmFjY291bnRzLmRldiQ";
    let setup = ProductionSetup::default()
        .with("KEYFOLD_AUTH_ISSUER", "")
        .with("CLERK_PUBLISHABLE_KEY", clerk_key)
        .with("CLERK_SECRET_KEY", "sk_test_not_a_real_key");
    let answer = setup.start().await.get("/api/config").await;
    assert_eq!(answer.ok()["auth"], json!({ "kind": "clerk", "publishable_key": clerk_key }));
    assert!(!answer.everything().contains("sk_test"));
}

/// Local mode with an issuer.
async fn local_with_issuer(setup: Setup) -> (Local, Issuer) {
    let issuer = Issuer::start().await;
    issuer.set_time(crate::support::START.parse::<jiff::Timestamp>().unwrap().as_second());
    let setup = issuer.settings().iter().fold(setup, |setup, (name, value)| setup.with(name, value));
    (setup.start().await, issuer)
}

#[tokio::test]
async fn in_local_mode_a_token_is_verified_if_there_is_an_issuer() {
    let (local, issuer) = local_with_issuer(Setup::default()).await;
    let with =
        |token: String| local.send(local.request(Method::GET, "/api/onboarding/init").bearer_auth(token));
    let user = |answer: Answer| answer.ok()["user"]["id"].clone();
    assert_eq!(user(local.get("/api/onboarding/init").await), "local");
    assert_eq!(user(with(issuer.token_for("user_a")).await), "user_a");
    is_refused(&with(FOREIGN_RSA.token(&issuer.claims_for("user_a"))).await, "another's key");
    is_refused(&with(format!("{}x", issuer.token_for("user_a"))).await, "changed");
    // What has not the shape of a token is no claim to be anybody.
    assert_eq!(user(with("anything".into()).await), "local");
    // A token does not lift the guard.
    let request = local.request(Method::GET, "/api/keys").bearer_auth(issuer.token_for("user_a"));
    let answer = local.send(request.header("origin", "https://evil.example")).await;
    answer.problem(403, "forbidden");
}

#[tokio::test]
async fn in_local_mode_a_token_that_cannot_be_checked_is_refused() {
    let (local, issuer) = local_with_issuer(Setup::default()).await;
    issuer.go_away().await;
    let request = local.request(Method::GET, "/api/keys").bearer_auth(issuer.token_for("user_a"));
    is_refused(&local.send(request).await, "the issuer is away");
    assert_eq!(local.get("/api/keys").await.status, 200);
}

#[tokio::test]
async fn in_local_mode_a_token_without_its_scheme_or_beside_another_is_refused() {
    let (local, issuer) = local_with_issuer(Setup::default()).await;
    let token = issuer.token_for("user_a");
    let request = || local.request(Method::GET, "/api/keys");
    challenge(&local.send(request().header(AUTHORIZATION, &token)).await);
    challenge(&local.send(request().bearer_auth("x").header(AUTHORIZATION, format!("Bearer {token}"))).await);
}

#[tokio::test]
async fn a_local_token_that_looks_like_a_token_is_still_the_local_token() {
    let (local, issuer) =
        local_with_issuer(Setup::default().with("KEYFOLD_LOCAL_TOKEN", "eyJ.test.data")).await;
    let with = |token: &str| local.send(local.request(Method::GET, "/api/keys").bearer_auth(token));
    assert_eq!(with("eyJ.test.data").await.status, 200);
    // Whoever has only the issuer's token has not shown the local one.
    challenge(&with(&issuer.token_for("user_a")).await);
}
