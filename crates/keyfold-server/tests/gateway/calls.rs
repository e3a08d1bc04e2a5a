//! What reaches the provider.

use keyfold_standin::{PROVIDERS, Seen, credential, example_key};

use crate::stage::{Request, Stage, Way, answer_to};
use crate::support::production::Production;

/// Wherever a client library puts a key.
const PLACES: [(&str, &str); 6] = [
    ("Authorization", "Bearer "),
    ("authorization", "bearer "),
    ("x-api-key", ""),
    ("X-Goog-Api-Key", ""),
    ("xi-api-key", ""),
    ("X-CopilotCloud-Public-Api-Key", ""),
];
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// The key, once, in the provider's own place; of the caller's credential nothing is left.
#[track_caller]
fn assert_key_alone(seen: &Seen, key: &str, token: &str) {
    let (own, value) = credential(seen.provider, key);
    assert_eq!(seen.headers.get_all(&own).iter().collect::<Vec<_>>(), [&value], "{seen:?}");
    for (place, _) in PLACES {
        assert!(own == place || seen.headers.get(place).is_none(), "{place}: {seen:?}");
    }
    let told = format!("{:?} {:?} {:?}", seen.headers, seen.path, seen.query);
    assert!(!told.contains(token), "the token went on: {told}");
    assert_eq!(format!("{seen:?}").matches(key).count(), 2, "once in its header, once read by the stand-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_gets_the_users_key_in_its_own_place_wherever_the_callers_credential_stood() {
    let production = Production::start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    for provider in PROVIDERS {
        let key = user.has_example_key(provider, 1).await;
        // Another user's, who must not come into it.
        production.as_user("user_b").has_example_key(provider, 2).await;
        for way in Way::BOTH {
            production.standin.clear();
            for (name, scheme) in PLACES {
                let target = format!("/gateway/{provider}/v1/a%20b/c:d?alpha=1&beta=%2F&gamma");
                let request = Request::get(way, &target).with(name, &format!("{scheme}{token}"));
                way.assert_taken(&answer_to(&production, &request).await);
                let seen = production.standin.requests_for(provider).pop().unwrap();
                assert_key_alone(&seen, &key, &token);
                assert_eq!(seen.path, "/v1/a%20b/c:d");
                assert_eq!(seen.query.as_deref(), Some("alpha=1&beta=%2F&gamma"));
            }
            assert_eq!(production.standin.requests().len(), PLACES.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_takes_the_credential_in_the_query_too_and_the_rest_of_the_query_goes_on() {
    let production = Production::start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    let key = user.has_example_key("gemini", 1).await;
    for way in Way::BOTH {
        for (query, goes_on) in [
            (format!("key={token}"), None),
            (format!("alt=sse&key={token}"), Some("alt=sse")),
            (format!("key={token}&alt=sse&pageToken=key"), Some("alt=sse&pageToken=key")),
            // The same name, as a server decodes it.
            (format!("%6bey={token}&a=1"), Some("a=1")),
        ] {
            production.standin.clear();
            let request = Request::get(way, &format!("/gateway/gemini/v1beta/models?{query}"));
            let answer = answer_to(&production, &request).await;
            assert_eq!(answer.head.status(), 200, "{way:?} {query}: {}", answer.text());
            way.assert_taken(&answer);
            let seen = production.standin.requests_for("gemini").pop().unwrap();
            assert_key_alone(&seen, &key, &token);
            assert_eq!(seen.query.as_deref(), goes_on);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_a_provider_needs_are_put_in_unless_the_caller_sends_them() {
    let production = Production::start().await;
    let (user, token) = (production.as_user("user_a"), production.token_for("user_a"));
    user.has_example_key("anthropic", 1).await;
    for way in Way::BOTH {
        let request = Request::get(way, "/gateway/anthropic/v1/models").by(&token);
        for (request, version) in
            [(request.clone(), "2023-06-01"), (request.with("Anthropic-Version", "2099-01-01"), "2099-01-01")]
        {
            production.standin.clear();
            answer_to(&production, &request).await;
            let seen = production.standin.requests_for("anthropic").pop().unwrap();
            let versions: Vec<_> = seen.headers.get_all("anthropic-version").iter().collect();
            assert_eq!(versions, [version], "{way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_reaches_the_provider_as_it_was_written() {
    let stage = Stage::set().await;
    for way in Way::BOTH {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/a//b///",
            "/a/.b/c../...d",
            "/%41%2F%2f%C3%A4",
            "/a:b@c,d;e=f!$&'()*+~",
            "/[1]{2}|3^",
            "/100%",
            "/a?",
            "/a?b=/../c&d=//e?f&&=%",
            "/a?token=1&key=2",
        ] {
            let request = Request::get(way, &format!("/gateway/openai{path}")).by(&stage.token);
            let (seen, answer) = stage.exchange(&request, OK).await;
            way.assert_taken(&answer);
            assert_eq!(seen.head.first, format!("GET {path} HTTP/1.1"), "{way:?}");
            assert_eq!(seen.head.one("host"), Some(stage.provider.address().to_string().as_str()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_and_body_goes_on_as_it_came() {
    let stage = Stage::set().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for way in Way::BOTH {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = Request::new(way, method, crate::stage::PATH).by(&stage.token);
            let (seen, answer) = stage.exchange(&request, OK).await;
            way.assert_taken(&answer);
            assert!(seen.head.first.starts_with(&format!("{method} /v1/things ")), "{}", seen.head.first);
            assert!(seen.body.is_empty() && !seen.head.has("transfer-encoding"));
        }
        for body in [&b""[..], b"x", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", &bytes] {
            let request = stage.post(way, body).with("Content-Type", "application/octet-stream");
            let (seen, answer) = stage.exchange(&request, OK).await;
            way.assert_taken(&answer);
            assert_eq!(seen.body, body, "{way:?}");
            assert_eq!(seen.head.one("content-length"), Some(body.len().to_string().as_str()));
            assert_eq!(seen.head.one("content-type"), Some("application/octet-stream"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_callers_side_never_goes_on() {
    let stage = Stage::set().await;
    let never = [
        ("Cookie", "keyfold_session=canary"),
        ("Cookie", "b=canary"),
        ("Forwarded", "for=canary"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "canary.example"),
        ("x-forwarded-anything", "canary"),
        ("X-Real-IP", "192.0.2.1"),
        ("X-Original-URL", "/canary"),
        ("X-Rewrite-URL", "/canary"),
        ("Via", "1.1 canary"),
        ("Keyfold-Anything", "canary"),
        ("keyfold-request-id", "canary"),
        ("Keep-Alive", "timeout=99"),
        // What some servers take for the same names.
        ("X_Forwarded_For", "canary"),
        ("Content_Length", "99"),
        ("Transfer_Encoding", "chunked"),
        ("X_Api_Key", "canary"),
    ];
    // Only hyper's way takes these at all.
    let never_by_hyper = [
        ("Origin", "https://canary.example"),
        ("Access-Control-Request-Method", "canary"),
        ("Sec-Fetch-Site", "none"),
        ("Sec-Purpose", "canary"),
        ("Proxy-Authorization", "Basic canary"),
        ("Proxy-Connection", "keep-alive"),
        ("HTTP2-Settings", "canary"),
        ("Connection", "X-Canary-One, x-canary-two"),
        ("Connection", "keep-alive, Anthropic-Beta"),
        ("X-Canary-One", "canary"),
        ("X-CANARY-TWO", "canary"),
        ("anthropic-beta", "canary"),
        ("Trailer", "X-Canary"),
        ("TE", "gzip"),
    ];
    let passes = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip, br;q=0.5"),
        ("User-Agent", "OpenAI/Python 2.0"),
        ("X-Stainless-Lang", "python"),
        ("OpenAI-Organization", "org-1"),
        ("Idempotency-Key", "abc"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-Request-Id", "mine-1"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"a\""),
        ("X-Same", "1"),
        ("X-Same", "2"),
        ("X-Empty", ""),
        ("X-Latin", "caf\u{e9}"),
        ("X-Spaces", "a  b\tc"),
    ];
    for way in Way::BOTH {
        let more = if way == Way::Hyper { &never_by_hyper[..] } else { &[] };
        let fields = never.iter().chain(more).chain(&passes);
        let request = fields.fold(stage.get(way), |request, (name, value)| request.with(name, value));
        let (seen, answer) = stage.exchange(&request, OK).await;
        way.assert_taken(&answer);
        for (name, _) in never.iter().chain(more) {
            assert!(!seen.head.has(name), "{way:?}: {name} went on: {:?}", seen.head);
        }
        for (name, _) in passes {
            let sent: Vec<&str> =
                passes.iter().filter(|(same, _)| *same == name).map(|(_, value)| *value).collect();
            assert_eq!(seen.head.all(name), sent, "{way:?}: {name}");
        }
        assert_eq!(seen.head.all("authorization"), [format!("Bearer {}", stage.key)]);
        let told = format!("{:?}", seen.head);
        assert!(!told.contains("canary") && !told.contains("192.0.2.1"), "{way:?}: {told}");
        assert!(!told.contains(&stage.token), "{way:?}: {told}");
    }
    assert_eq!(stage.key, example_key("openai", 1));
}
