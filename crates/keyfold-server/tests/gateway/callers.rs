//! Who may call, and for whom.

use jiff::SignedDuration;
use keyfold::service_tokens::{NewToken, Scope};
use keyfold::user::UserId;
use keyfold_standin::example_key;
use serde_json::json;

use crate::stage::{Request, Way, answer_to, recorded, service, service_token};
use crate::support::production::Production;
use crate::support::{Answer, Local, Setup};
use crate::wire::Connection;

const PATH: &str = "/gateway/openai/v1/models";

/// Which user's key the stand-in saw last, by its number.
fn last_key(production: &Production) -> String {
    production.standin.requests_for("openai").pop().unwrap().key
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_calls_with_its_own_users_key() {
    let production = Production::start().await;
    let keys = [
        production.as_user("user_a").has_example_key("openai", 1).await,
        production.as_user("user_b").has_example_key("openai", 2).await,
    ];
    let tokens = ["user_a", "user_b"].map(|user| production.token_for(user));
    for way in Way::BOTH {
        // One connection of a caller who calls for both in turn.
        let mut caller = Connection::to(production.address).await;
        for turn in [0, 1, 1, 0, 1, 0, 0] {
            caller.send(Request::get(way, PATH).by(&tokens[turn]).bytes()).await;
            let answer = caller.read_answer().await;
            way.assert_taken(&answer);
            let fingerprint = keyfold_standin::fingerprint(&keys[turn]);
            assert_eq!(answer.head.one("x-key-fingerprint"), Some(fingerprint.as_str()), "{way:?}");
            assert_eq!(last_key(&production), keys[turn]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_credential_nobody_is_called() {
    let production = Production::start().await;
    production.as_user("user_a").has_example_key("openai", 1).await;
    production.as_user("user_a").has_example_key("gemini", 1).await;
    production.standin.clear();
    let token = production.token_for("user_a");
    let mut claims = production.claims_for("user_a");
    claims["exp"] = (production.seconds() - 60).into();
    let expired = keyfold_standin::issuer::RSA.token(&claims);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for way in Way::BOTH {
        let plain = || Request::get(way, PATH);
        for request in [
            plain(),
            plain().with("Authorization", ""),
            plain().with("Authorization", &token),
            plain().with("Authorization", &format!("Basic {token}")),
            plain().with("Authorization", &format!("bearer: {token}")),
            plain().by(""),
            plain().by(&expired),
            plain().by(&forged),
            plain().by(&format!("{token}.")),
            plain().by(&format!("kfs_{token}")),
            plain().by("kfs_AAAA"),
            plain().with("x-api-key", &example_key("openai", 1)),
            plain().with("Api-Key", &token),
            plain().with("Cookie", &format!("token={token}; keyfold_session={token}")),
            Request::get(way, &format!("{PATH}?key={token}")),
            Request::get(way, &format!("{PATH}?token={token}")),
            Request::get(way, &format!("{PATH}?access_token={token}")),
            Request::get(way, &format!("/gateway/gemini/v1beta/models?Key={token}")),
        ] {
            let answer = answer_to(&production, &request).await;
            answer.problem(401, "unauthenticated");
            assert!(answer.head.has("www-authenticate"), "{way:?}: {:?}", answer.head);
            assert!(!format!("{answer:?}").contains(&token), "{way:?}");
        }
        for request in [
            plain().by(&token).by(&token),
            plain().by(&token).with("x-api-key", &token),
            plain().by(&token).with("x-api-key", ""),
            plain().with("x-api-key", &token).with("xi-api-key", "other"),
            Request::get(way, &format!("/gateway/gemini/v1beta/models?key={token}")).by(&token),
            Request::get(way, &format!("/gateway/gemini/v1beta/models?key={token}&key={token}")),
            Request::get(way, &format!("/gateway/gemini/v1beta/models?k%65y={token}")).by(&token),
            Request::get(way, "/gateway/gemini/v1beta/models?key=").by(&token),
        ] {
            answer_to(&production, &request).await.problem(400, "invalid_request");
        }
    }
    assert!(production.standin.requests().is_empty(), "a provider was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_calls_for_the_user_it_names_and_for_nobody_else() {
    let production = Production::start().await;
    let key_of_a = production.as_user("user_a").has_example_key("openai", 1).await;
    let key_of_b = production.as_user("org/ä").has_example_key("openai", 2).await;
    production.as_user("user_a").has_example_key("gemini", 3).await;
    production.standin.clear();
    let anybody = service_token(&production.keyfold, &service("anybody")).await;
    let only_a = NewToken { users: vec![UserId::parse("user_a").unwrap()], ..service("only_a") };
    let only_a = service_token(&production.keyfold, &only_a).await;
    let only_gemini = NewToken { providers: vec!["gemini".into()], ..service("only_gemini") };
    let only_gemini = service_token(&production.keyfold, &only_gemini).await;
    let reader = NewToken { scopes: vec![Scope::KeysRead], ..service("reader") };
    let reader = service_token(&production.keyfold, &reader).await;
    let short = NewToken { lifetime: Some(SignedDuration::from_secs(60)), ..service("short") };
    let short = service_token(&production.keyfold, &short).await;
    let user_token = production.token_for("user_a");

    for way in Way::BOTH {
        let by = |token: &str, user: &str| Request::get(way, PATH).by(token).with("Keyfold-User", user);
        for (request, key) in [
            (by(&anybody, "user_a"), &key_of_a),
            (by(&anybody, "org%2F%C3%A4"), &key_of_b),
            (by(&only_a, "user_a"), &key_of_a),
            (Request::get(way, PATH).with("x-api-key", &anybody).with("keyfold-USER", "user_a"), &key_of_a),
        ] {
            let answer = answer_to(&production, &request).await;
            assert_eq!(answer.head.status(), 200, "{way:?}: {}", answer.text());
            way.assert_taken(&answer);
            let seen = production.standin.requests_for("openai").pop().unwrap();
            assert_eq!(&seen.key, key);
            assert!(seen.header("keyfold-user").is_none());
        }
        // A user may name themselves.
        let answer = answer_to(&production, &by(&user_token, "user_a")).await;
        assert_eq!(answer.head.status(), 200, "{}", answer.text());

        production.standin.clear();
        let plain = || Request::get(way, PATH);
        for (request, status, code) in [
            (plain().by(&anybody), 422, "invalid_request"),
            (by(&anybody, ""), 422, "invalid_request"),
            (by(&anybody, "100%"), 422, "invalid_request"),
            (by(&anybody, "user_a").with("Keyfold-User", "user_a"), 422, "invalid_request"),
            (by(&anybody, "user_a").with("Keyfold-User", "org%2F%C3%A4"), 422, "invalid_request"),
            (by(&anybody, "nobody"), 404, "no_api_key"),
            (by(&only_a, "org%2F%C3%A4"), 403, "forbidden"),
            (by(&only_gemini, "user_a"), 403, "forbidden"),
            (by(&reader, "user_a"), 403, "forbidden"),
            (by(&user_token, "org%2F%C3%A4"), 403, "forbidden"),
            (by(&user_token, "user_b"), 403, "forbidden"),
            // Addresses are logged.
            (
                Request::get(way, &format!("{PATH}?key={anybody}")).with("Keyfold-User", "user_a"),
                400,
                "invalid_request",
            ),
            (
                Request::get(way, &format!("/gateway/gemini/v1beta/models?key={anybody}"))
                    .with("Keyfold-User", "user_a"),
                400,
                "invalid_request",
            ),
            (
                Request::get(way, &format!("{PATH}?a=%6bfs_{}", &anybody[4..])).by(&user_token),
                400,
                "invalid_request",
            ),
        ] {
            let answer = answer_to(&production, &request).await;
            answer.problem(status, code);
            assert!(!format!("{answer:?}").contains("kfs_A"), "{way:?}");
        }
        assert!(production.standin.requests().is_empty(), "{way:?}: a provider was called");
    }
    // Whose key was asked for can see who did. The same refusal stands there once a minute.
    let refused = recorded(&production, "user_a", "key.refused", 2).await;
    for service in ["service:only_gemini", "service:reader"] {
        let event = refused.iter().find(|event| event["actor"] == service).expect(service);
        assert_eq!(
            (&event["outcome"], &event["purpose"], &event["provider"]),
            (&json!("forbidden"), &json!("gateway"), &json!("openai"))
        );
    }

    for way in Way::BOTH {
        let request = Request::get(way, PATH).by(&short).with("Keyfold-User", "user_a");
        assert_eq!(answer_to(&production, &request).await.head.status(), 200);
    }
    production.clock.advance(SignedDuration::from_secs(61));
    for way in Way::BOTH {
        let request = Request::get(way, PATH).by(&short).with("Keyfold-User", "user_a");
        answer_to(&production, &request).await.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_deleted_users_are_refused() {
    let production = Production::start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    user.has_example_key("openai", 1).await;
    let service = service_token(&production.keyfold, &service("anybody")).await;
    let requests = |way| {
        [
            Request::get(way, PATH).by(&token),
            Request::get(way, PATH).by(&service).with("Keyfold-User", "user_a"),
        ]
    };
    let id = UserId::parse("user_a").unwrap();
    production.keyfold.users().suspend(&id).await.unwrap();
    production.standin.clear();
    for request in Way::BOTH.into_iter().flat_map(requests) {
        answer_to(&production, &request).await.problem(403, "user_suspended");
    }
    production.keyfold.users().resume(&id).await.unwrap();
    for request in Way::BOTH.into_iter().flat_map(requests) {
        assert_eq!(answer_to(&production, &request).await.head.status(), 200);
    }
    production.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(user.delete("/api/me").await.status.as_u16(), 204);
    production.standin.clear();
    for request in Way::BOTH.into_iter().flat_map(requests) {
        let answer = answer_to(&production, &request).await;
        let code = answer.head.one("keyfold-error").unwrap_or_default().to_owned();
        assert!(["user_deleted", "no_api_key"].contains(&code.as_str()), "{}", answer.text());
    }
    for way in Way::BOTH {
        answer_to(&production, &Request::get(way, PATH).by(&token)).await.problem(410, "user_deleted");
    }
    // Who signs in afresh is somebody new, without a key.
    production.clock.advance(SignedDuration::from_secs(1));
    let fresh = production.token_for("user_a");
    for way in Way::BOTH {
        answer_to(&production, &Request::get(way, PATH).by(&fresh)).await.problem(404, "no_api_key");
    }
    assert!(production.standin.requests().is_empty(), "a provider was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn locally_anybody_on_this_machine_calls_whatever_stands_in_the_keys_place() {
    let local = Local::start().await;
    let key = local.has_example_key("openai", 1).await;
    local.standin.clear();
    for line in [
        "X-Nothing: x",
        "Authorization: Bearer anything",
        "x-api-key: sk-whatever",
        "Authorization: Bearer eyJ.x.y",
    ] {
        let answer = local.raw_get(PATH, &["Host: localhost", line]).await;
        assert_eq!(answer.status.as_u16(), 200, "{line}: {}", answer.body);
    }
    let requests = local.standin.requests_for("openai");
    assert_eq!(requests.len(), 4);
    for seen in requests {
        assert_eq!(seen.key, key);
        assert!(!format!("{:?}", seen.headers).contains("whatever"));
    }
    local.standin.clear();
    for (lines, status) in [
        (&["Host: evil.example"][..], 403),
        (&[], 403),
        (&["Host: localhost", "Host: localhost"], 403),
        (&["Host: localhost", "Origin: https://evil.example"], 403),
        (&["Host: localhost", "Origin: null"], 403),
        (&["Host: localhost", "Sec-Fetch-Site: cross-site"], 403),
        (
            &[
                "Host: localhost",
                "Sec-Fetch-Site: cross-site",
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-Dest: document",
            ],
            403,
        ),
        (
            &[
                "Host: localhost",
                "Sec-Fetch-Site: none",
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-Dest: document",
            ],
            403,
        ),
        (&["Host: localhost", "Authorization: Bearer a", "x-api-key: a"], 400),
        (&["Host: localhost", "Authorization: Bearer kfs_nothing"], 401),
    ] {
        let answer = local.raw_get(PATH, lines).await;
        assert_eq!(answer.status.as_u16(), status, "{lines:?}: {}", answer.body);
    }
    assert!(local.standin.requests().is_empty(), "a provider was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_token_stands_wherever_a_key_would() {
    const TOKEN: &str = "test-data-local-token-0123456789";
    let local = Setup::default().with("KEYFOLD_LOCAL_TOKEN", TOKEN).start().await;
    let get = async |target: &str, lines: &[&str]| -> Answer { local.raw_get(target, lines).await };
    let saved = local
        .request(reqwest::Method::PUT, "/api/keys/openai")
        .bearer_auth(TOKEN)
        .json(&json!({ "key": example_key("openai", 1) }));
    assert!(local.send(saved).await.status.is_success());
    let saved = local
        .request(reqwest::Method::PUT, "/api/keys/gemini")
        .bearer_auth(TOKEN)
        .json(&json!({ "key": example_key("gemini", 1) }));
    assert!(local.send(saved).await.status.is_success());
    local.standin.clear();
    for line in [
        format!("Authorization: Bearer {TOKEN}"),
        format!("x-api-key: {TOKEN}"),
        format!("x-goog-api-key: {TOKEN}"),
        format!("xi-api-key: {TOKEN}"),
        format!("X-CopilotCloud-Public-Api-Key: {TOKEN}"),
    ] {
        let answer = get(PATH, &["Host: localhost", &line]).await;
        assert_eq!(answer.status.as_u16(), 200, "{line}: {}", answer.body);
    }
    let answer = get(&format!("/gateway/gemini/v1beta/models?key={TOKEN}"), &["Host: localhost"]).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let requests = local.standin.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|seen| !format!("{seen:?}").contains(TOKEN)), "the token went on");
    local.standin.clear();
    for (target, lines) in [
        (PATH, &["Host: localhost"][..]),
        (PATH, &["Host: localhost", "Authorization: Bearer wrong"]),
        (PATH, &["Host: localhost", "x-api-key: test-data-local-token-012345678"]),
        ("/gateway/openai/v1/models?token=test-data-local-token-0123456789", &["Host: localhost"]),
    ] {
        let answer = get(target, lines).await;
        assert_eq!(answer.status.as_u16(), 401, "{}", answer.body);
        assert_eq!(answer.header("keyfold-error"), "unauthenticated");
    }
    assert!(local.standin.requests().is_empty(), "a provider was called");
}
