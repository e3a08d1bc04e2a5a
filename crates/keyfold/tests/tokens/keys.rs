//! How the issuer's keys are fetched, kept, replaced and dropped.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use keyfold::auth::{KeySetError, KeySetTimeouts, TokenRefusal, TokenVerifier};
use keyfold::clock::ManualClock;
use keyfold::provider::MalformedAddress;
use keyfold::provider::document::DocumentError;
use serde_json::{Value, json};

use crate::setup::{Log, NOW, Setup, claims, good, in_time, let_others_run, read_issuer, until, waits};
use keyfold_standin::Issuer;
use keyfold_standin::issuer::{Answer, DISCOVERY_PATH, FOREIGN_RSA, KEY_SET_PATH, NEXT_RSA, P256, RSA};

#[tokio::test]
async fn a_token_without_a_key_name_needs_a_set_of_one_key() {
    let nameless = RSA.token_with(&json!({"alg": "RS256"}), &claims(|_| ()));
    let setup = Setup::clerk(&[&RSA]).await;
    assert_eq!(setup.user(&nameless).await, "user_2abc");

    let setup = Setup::clerk(&[&RSA, &P256]).await;
    assert_eq!(setup.refusal(&nameless).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.asked(), 1);

    // Keys that cannot be used do not count.
    let mut encryption = P256.jwk();
    encryption["use"] = json!("enc");
    let setup = Setup::clerk(&[]).await;
    setup.issuer.publish_jwks(&[encryption, RSA.jwk(), json!({"kty": "oct", "k": "AAAA"})]);
    assert_eq!(setup.user(&nameless).await, "user_2abc");

    // A key without a name is nobody's namesake.
    let mut jwk = RSA.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let setup = Setup::clerk(&[]).await;
    setup.issuer.publish_jwks(&[jwk]);
    assert_eq!(setup.user(&nameless).await, "user_2abc");
    assert_eq!(setup.refusal(&good()).await, TokenRefusal::UnknownKey);
}

#[tokio::test]
async fn keys_of_two_kinds_may_share_a_name() {
    let setup = Setup::clerk(&[]).await;
    let mut twin = P256.jwk();
    twin["kid"] = json!(RSA.id());
    setup.issuer.publish_jwks(&[twin, RSA.jwk()]);
    assert_eq!(setup.user(&good()).await, "user_2abc");
    let header = json!({"alg": "ES256", "kid": RSA.id()});
    assert_eq!(setup.user(&P256.token_with(&header, &claims(|_| ()))).await, "user_2abc");
}

#[tokio::test]
async fn ten_thousand_unknown_keys_cause_a_handful_of_requests() {
    let body = BASE64URL_NOPAD.encode(claims(|_| ()).to_string().as_bytes());
    let signature = BASE64URL_NOPAD.encode(&[7; 256]);
    let tokens: Vec<String> = (0..10_000)
        .map(|number| format!(r#"{{"alg":"RS256","kid":"made-up-{number}"}}"#))
        .map(|header| format!("{}.{body}.{signature}", BASE64URL_NOPAD.encode(header.as_bytes())))
        .collect();
    let clerk = Setup::clerk(&[&RSA]).await;
    let other = Setup::other(&[&RSA], &[]).await;
    let good_ones = [good(), RSA.token(&other.claims(|_| ()))];
    for (setup, good) in [clerk, other].into_iter().zip(good_ones) {
        // All at once, before anything is known; then one after the other.
        let all = futures_util::future::join_all(tokens.iter().map(|token| setup.verifier.verify(token)));
        assert!(in_time(all).await.into_iter().all(|one| one.err() == Some(TokenRefusal::UnknownKey)));
        for token in &tokens {
            assert_eq!(setup.refusal(token).await, TokenRefusal::UnknownKey);
        }
        let requests = setup.issuer.requests();
        assert!(requests.len() <= 5, "{requests:?}");
        assert_eq!(setup.asked(), 2, "once for any key, and once for an unknown one");
        assert_eq!(setup.verifier.remembered_tokens(), 0);
        assert_eq!(setup.user(&good).await, "user_2abc");
    }
}

#[tokio::test]
async fn the_first_unknown_key_is_asked_for_at_once_and_others_every_30_seconds() {
    let setup = Setup::clerk(&[&RSA]).await;
    let next = NEXT_RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 3600)));
    assert_eq!(setup.user(&good()).await, "user_2abc");
    assert_eq!(setup.asked(), 1);
    assert_eq!(setup.refusal(&next).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.asked(), 2);
    // Published right after it was asked for.
    setup.issuer.publish(&[&RSA, &NEXT_RSA]);
    setup.advance(29);
    assert_eq!(setup.refusal(&next).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.asked(), 2);
    setup.advance(1);
    assert_eq!(setup.user(&next).await, "user_2abc");
    assert_eq!(setup.asked(), 3);
}

#[tokio::test]
async fn after_every_other_request_the_first_unknown_key_is_asked_for_at_once_again() {
    let setup = Setup::clerk(&[&RSA]).await;
    let next = NEXT_RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 3600)));
    assert_eq!(setup.refusal(&next).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.asked(), 2);
    assert_eq!(setup.verifier.refresh().await, Ok(1));
    setup.issuer.publish(&[&RSA, &NEXT_RSA]);
    assert_eq!(setup.user(&next).await, "user_2abc");
    assert_eq!(setup.asked(), 4);
}

#[tokio::test]
async fn an_issuer_whose_port_is_closed_stops_nobody_who_is_known() {
    let setup = Setup::clerk(&[&RSA]).await;
    let token = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.issuer.go_away().await;
    for _ in 0..3 {
        setup.advance(3600);
        assert_eq!(setup.user(&token).await, "user_2abc");
        assert!(setup.verifier.refresh().await.is_err());
    }
    let next = NEXT_RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.refusal(&next).await, TokenRefusal::UnknownKey);
    setup.issuer.publish(&[&RSA, &NEXT_RSA]);
    setup.issuer.come_back().await;
    setup.advance(30);
    assert_eq!(setup.user(&next).await, "user_2abc");
}

#[tokio::test]
async fn a_rotated_key_drops_the_tokens_that_it_signed() {
    let setup = Setup::clerk(&[&RSA, &P256]).await;
    let lasting = claims(|claims| claims["exp"] = json!(NOW + 7200));
    let (old, other, new) = (RSA.token(&lasting), P256.token(&lasting), NEXT_RSA.token(&lasting));
    for token in [&old, &other] {
        assert_eq!(setup.user(token).await, "user_2abc");
    }
    // The new key is found by its first token; the old one is still there.
    setup.issuer.publish(&[&RSA, &P256, &NEXT_RSA]);
    for token in [&new, &old, &other] {
        assert_eq!(setup.user(token).await, "user_2abc");
    }
    assert_eq!((setup.asked(), setup.verifier.known_keys(), setup.verifier.remembered_tokens()), (2, 3, 3));

    // The old one goes: found after ten minutes, in the background.
    setup.issuer.publish(&[&P256, &NEXT_RSA]);
    setup.advance(599);
    assert_eq!(setup.user(&old).await, "user_2abc");
    let_others_run().await;
    assert_eq!(setup.asked(), 2);
    setup.advance(1);
    assert_eq!(setup.user(&old).await, "user_2abc");
    until(|| setup.verifier.known_keys() == 2).await;
    assert_eq!(setup.refusal(&old).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.verifier.remembered_tokens(), 2, "only what the old key signed is dropped");
    for token in [&new, &other] {
        assert_eq!(setup.user(token).await, "user_2abc");
    }

    // Other key material under the same name is another key.
    let mut changed = FOREIGN_RSA.jwk();
    changed["kid"] = json!(NEXT_RSA.id());
    setup.issuer.publish_jwks(&[P256.jwk(), changed]);
    assert_eq!(setup.verifier.refresh().await, Ok(2));
    assert_eq!(setup.refusal(&new).await, TokenRefusal::Signature);
    assert_eq!(setup.user(&other).await, "user_2abc");

    // A key that comes back counts again.
    setup.issuer.publish(&[&RSA]);
    assert_eq!(setup.verifier.refresh().await, Ok(1));
    assert_eq!(setup.user(&old).await, "user_2abc");
}

#[tokio::test]
async fn keys_that_nobody_used_for_long_are_asked_for_before_they_count() {
    let setup = Setup::clerk(&[&RSA, &P256]).await;
    let token = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.issuer.publish(&[&P256]);
    setup.advance(3600);
    assert_eq!(setup.refusal(&token).await, TokenRefusal::UnknownKey);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_keep_keys_for_ever() {
    let setup = Setup::clerk(&[&RSA, &P256]).await;
    setup.advance(86_400 * 365);
    let token = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400 * 366)));
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.issuer.publish(&[&P256]);
    setup.advance(-86_400 * 365);
    assert_eq!(setup.user(&token).await, "user_2abc");
    until(|| setup.verifier.known_keys() == 1).await;
    assert_eq!(setup.refusal(&token).await, TokenRefusal::UnknownKey);
}

fn unreachable(cause: &str) -> KeySetError {
    DocumentError::Unreachable(cause.into()).into()
}

/// Every way in which an issuer that listens gives no keys.
fn faults() -> Vec<(&'static str, Answer, KeySetError)> {
    let mut encryption = RSA.jwk();
    encryption["use"] = json!("enc");
    let html = "<!doctype html><title>Sign in</title>".to_owned();
    let nonsense = KeySetError::Nonsense("a key set");
    vec![
        ("closed", Answer::CloseWithoutAnswer, unreachable("connection closed before message completed")),
        ("broken", Answer::Raw(500, vec![], "{}".into()), DocumentError::Status(500).into()),
        ("gone", Answer::Raw(404, vec![], String::new()), DocumentError::Status(404).into()),
        ("a page", Answer::Raw(200, vec![("content-type", "text/html".into())], html), nonsense.clone()),
        ("nothing", Answer::Raw(200, vec![], String::new()), nonsense.clone()),
        ("no set", Answer::Json(json!({"error": "none"})), nonsense.clone()),
        ("a list", Answer::Json(json!([RSA.jwk()])), nonsense),
        ("no keys", Answer::Json(json!({"keys": []})), KeySetError::NoUsableKey),
        (
            "other keys",
            Answer::Json(json!({"keys": [encryption, {"kty": "oct", "k": "AA"}, 7]})),
            KeySetError::NoUsableKey,
        ),
        (
            "too much",
            Answer::Json(json!({"keys": [RSA.jwk()], "pad": "x".repeat(300_000)})),
            DocumentError::TooLarge(256 * 1024).into(),
        ),
        (
            "sent on",
            Answer::Raw(302, vec![("location", "/elsewhere".into())], String::new()),
            DocumentError::Status(302).into(),
        ),
    ]
}

#[tokio::test]
async fn known_keys_outlive_every_fault_of_the_issuer() {
    let setup = Setup::clerk(&[&RSA]).await;
    setup.issuer.answer("/elsewhere", Answer::Json(json!({"keys": [FOREIGN_RSA.jwk()]})));
    let old = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&old).await, "user_2abc");
    for (number, (name, answer, failure)) in faults().into_iter().enumerate() {
        setup.issuer.answer(KEY_SET_PATH, answer);
        assert_eq!(setup.verifier.refresh().await, Err(failure), "{name}");
        assert_eq!(setup.verifier.known_keys(), 1, "{name}");
        // Remembered and new ones.
        let new = RSA.token(&claims(|claims| {
            claims["exp"] = json!(NOW + 86_400);
            claims["jti"] = json!(number);
        }));
        for token in [&old, &new] {
            assert_eq!(setup.user(token).await, "user_2abc", "{name}");
        }
        let refusal = setup.refusal(&FOREIGN_RSA.token(&claims(|_| ()))).await;
        assert_eq!(refusal, TokenRefusal::UnknownKey, "{name}");
        // An hour later still.
        setup.advance(3600);
        assert_eq!(setup.user(&old).await, "user_2abc", "{name}");
    }
    assert!(!setup.issuer.requests().contains(&"/elsewhere".to_owned()));
    setup.issuer.publish(&[&RSA, &NEXT_RSA]);
    setup.advance(30);
    let next = NEXT_RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&next).await, "user_2abc");
}

#[tokio::test]
async fn an_issuer_that_is_away_at_start_is_asked_until_it_is_back() {
    for (name, answer, failure) in faults() {
        let setup = Setup::clerk(&[&RSA]).await;
        setup.issuer.answer(KEY_SET_PATH, answer);
        for _ in 0..100 {
            let refusal = setup.refusal(&good()).await;
            assert_eq!(refusal, TokenRefusal::KeySetUnavailable, "{name}");
            assert!(refusal.is_unavailable());
        }
        assert_eq!(setup.asked(), 1, "{name}");
        assert_eq!(setup.verifier.refresh().await, Err(failure), "{name}");
        setup.issuer.publish(&[&RSA]);
        setup.advance(1);
        assert_eq!(setup.refusal(&good()).await, TokenRefusal::KeySetUnavailable, "{name}");
        setup.advance(1);
        assert_eq!(setup.user(&good()).await, "user_2abc", "{name}");
        assert_eq!(setup.verifier.refresh().await, Ok(1), "{name}");
    }
}

#[tokio::test]
async fn without_keys_a_token_is_refused_for_what_it_says_all_the_same() {
    let setup = Setup::clerk(&[&RSA]).await;
    setup.issuer.go_away().await;
    let with = |name: &'static str, value: Value| RSA.token(&claims(|claims| claims[name] = value));
    for (token, refusal) in [
        (with("iss", json!("https://other.example")), TokenRefusal::Issuer),
        (with("exp", json!(NOW - 60)), TokenRefusal::Expired),
        (with("azp", json!("https://evil.example")), TokenRefusal::Party),
        (with("sub", json!("")), TokenRefusal::Subject),
        (with("sub", json!(7)), TokenRefusal::Malformed),
        (good(), TokenRefusal::KeySetUnavailable),
        (FOREIGN_RSA.token(&claims(|_| ())), TokenRefusal::KeySetUnavailable),
    ] {
        assert_eq!(setup.refusal(&token).await, refusal);
    }
    assert_eq!(setup.verifier.remembered_tokens(), 0);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_asked_every_30_seconds() {
    let (log, _listening) = Log::listen();
    let setup = Setup::clerk(&[&RSA]).await;
    let token = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.issuer.answer(KEY_SET_PATH, Answer::CloseWithoutAnswer);
    setup.advance(600);
    for round in 1..=10 {
        for _ in 0..20 {
            assert_eq!(setup.user(&token).await, "user_2abc");
        }
        until(|| log.lines().len() == 1 + round).await;
        assert_eq!(setup.asked(), 1 + round);
        setup.advance(29);
        assert_eq!(setup.user(&token).await, "user_2abc");
        let_others_run().await;
        assert_eq!(setup.asked(), 1 + round);
        setup.advance(1);
    }
}

#[tokio::test]
async fn a_slow_issuer_holds_nobody_up_who_is_known() {
    let setup = Setup::clerk(&[&RSA]).await;
    let token = RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    assert_eq!(setup.user(&token).await, "user_2abc");
    setup.issuer.answer(KEY_SET_PATH, Answer::Hang);
    setup.advance(600);
    // Due, asked for, not waited for.
    for number in 0..50 {
        assert_eq!(setup.user(&token).await, "user_2abc");
        let new = RSA.token(&claims(|claims| {
            claims["exp"] = json!(NOW + 86_400);
            claims["jti"] = json!(number);
        }));
        assert_eq!(setup.user(&new).await, "user_2abc");
    }
    in_time(setup.issuer.wait_for_requests(2)).await;
    // Whoever needs the answer waits for it, and for no other.
    let unknown = NEXT_RSA.token(&claims(|claims| claims["exp"] = json!(NOW + 86_400)));
    let mut waiting = std::pin::pin!(setup.verifier.verify(&unknown));
    assert!(waits(waiting.as_mut()));
    assert_eq!(setup.user(&token).await, "user_2abc");
    assert_eq!(setup.asked(), 2);
    setup.issuer.publish(&[&RSA, &NEXT_RSA]);
    setup.issuer.release();
    assert_eq!(in_time(waiting).await.unwrap().user().user().as_str(), "user_2abc");
    assert_eq!(setup.asked(), 2);
}

#[tokio::test]
async fn a_slow_issuer_is_given_up() {
    let issuer = Issuer::start_with(&[]).await;
    issuer.answer(KEY_SET_PATH, Answer::Hang);
    let settings = read_issuer(vec![
        ("KEYFOLD_AUTH_ISSUER", issuer.url().to_owned()),
        ("KEYFOLD_AUTH_JWKS_URL", issuer.key_set_url()),
    ]);
    let token = RSA.token(&claims(|claims| claims["iss"] = json!(issuer.url())));
    let clock = Arc::new(ManualClock::at(Timestamp::from_second(NOW).unwrap()));
    let timeouts = KeySetTimeouts { connect: Duration::from_secs(5), total: Duration::from_millis(50) };
    let verifier = TokenVerifier::new(&settings, clock, timeouts);
    assert_eq!(in_time(verifier.verify(&token)).await.unwrap_err(), TokenRefusal::KeySetUnavailable);
    assert_eq!(in_time(verifier.refresh()).await, Err(KeySetError::TimedOut));
}

#[tokio::test]
async fn clients_that_give_up_do_not_cause_more_requests() {
    let setup = Setup::clerk(&[&RSA]).await;
    setup.issuer.answer(KEY_SET_PATH, Answer::Hang);
    for _ in 0..100 {
        let token = good();
        let mut verifying = Box::pin(setup.verifier.verify(&token));
        assert!(waits(verifying.as_mut()));
        drop(verifying);
        tokio::task::yield_now().await;
    }
    in_time(setup.issuer.wait_for_requests(1)).await;
    assert_eq!(setup.asked(), 1);
    setup.issuer.publish(&[&RSA]);
    setup.issuer.release();
}

#[tokio::test]
async fn the_discovery_document_names_the_key_set() {
    let setup = Setup::other(&[&RSA], &[]).await;
    let token = RSA.token(&setup.claims(|_| ()));
    assert_eq!(setup.user(&token).await, "user_2abc");
    assert_eq!(setup.issuer.requests(), [DISCOVERY_PATH, KEY_SET_PATH]);
    // It may move.
    let mut moved = setup.issuer.discovery_document();
    moved["jwks_uri"] = json!(format!("{}/keys?p=policy", setup.issuer.url()));
    setup.issuer.answer(DISCOVERY_PATH, Answer::Json(moved));
    setup.issuer.answer("/keys?p=policy", Answer::Json(json!({"keys": [NEXT_RSA.jwk()]})));
    assert_eq!(setup.verifier.refresh().await, Ok(1));
    assert_eq!(setup.refusal(&token).await, TokenRefusal::UnknownKey);
    assert_eq!(setup.user(&NEXT_RSA.token(&setup.claims(|_| ()))).await, "user_2abc");
}

#[tokio::test]
async fn a_discovery_document_that_is_not_the_issuers_counts_for_nothing() {
    let evil = Issuer::start_with(&[&FOREIGN_RSA]).await;
    let setup = Setup::other(&[&RSA], &[]).await;
    let document = |change: &dyn Fn(&mut Value)| {
        let mut document = setup.issuer.discovery_document();
        change(&mut document);
        document
    };
    let url = setup.issuer.url().to_owned();
    let address = |text: &str, why| KeySetError::Address(text.to_owned(), why);
    let no_address = MalformedAddress::NotAnAddress;
    let foreign = "http://keys.example.com/jwks";
    let cases = [
        (
            document(&|document| document["issuer"] = json!("https://other.example")),
            KeySetError::ForeignIssuer,
        ),
        (document(&|document| document["issuer"] = json!(format!("{url}/"))), KeySetError::ForeignIssuer),
        (evil.discovery_document(), KeySetError::ForeignIssuer),
        (
            document(&|document| document["jwks_uri"] = json!(foreign)),
            address(foreign, MalformedAddress::NotHttps),
        ),
        (
            document(&|document| document["jwks_uri"] = json!("file:///etc/passwd")),
            address("file:///etc/passwd", no_address),
        ),
        (document(&|document| document["jwks_uri"] = json!("/keys")), address("/keys", no_address)),
        (
            document(&|document| document["jwks_uri"] = Value::Null),
            KeySetError::Nonsense("a discovery document"),
        ),
        (json!({"keys": [RSA.jwk()]}), KeySetError::Nonsense("a discovery document")),
    ];
    for (document, failure) in cases {
        setup.issuer.answer(DISCOVERY_PATH, Answer::Json(document.clone()));
        assert_eq!(setup.verifier.refresh().await, Err(failure), "{document}");
    }
    assert_eq!(setup.asked(), 0);
    assert_eq!(evil.requests(), [""; 0]);
}

#[tokio::test]
async fn keys_are_not_fetched_over_plain_http_from_elsewhere() {
    let issuer = "https://issuer.example.com";
    let mut settings = read_issuer(vec![("KEYFOLD_AUTH_ISSUER", issuer.into())]);
    let token = RSA.token(&claims(|claims| claims["iss"] = json!(issuer)));
    let (plain, none) = (MalformedAddress::NotHttps, MalformedAddress::NotAnAddress);
    for (bad, why) in [
        ("http://192.0.2.1/jwks", plain),
        ("http://keys.example.com/jwks", plain),
        ("ftp://127.0.0.1/jwks", none),
        ("jwks", none),
    ] {
        settings.jwks_url = Some(bad.to_owned());
        let clock = Arc::new(ManualClock::at(Timestamp::from_second(NOW).unwrap()));
        let verifier = TokenVerifier::new(&settings, clock, KeySetTimeouts::default());
        assert_eq!(in_time(verifier.refresh()).await, Err(KeySetError::Address(bad.to_owned(), why)));
        assert_eq!(in_time(verifier.verify(&token)).await.unwrap_err(), TokenRefusal::KeySetUnavailable);
    }
}
