//! What is said of a refused token, to clients and in the log.

use std::collections::HashSet;

use keyfold::auth::{CompactToken, TokenRefusal};
use serde_json::json;

use crate::setup::{Log, Setup, claims};
use keyfold_standin::issuer::{Answer, FOREIGN_RSA, KEY_SET_PATH, NEXT_RSA, RSA};

#[tokio::test]
async fn neither_refusals_nor_the_log_repeat_a_token() {
    let (log, listening) = Log::listen();
    let setup = Setup::clerk(&[&RSA]).await;
    let secret = claims(|claims| {
        claims["sub"] = json!("user_canary");
        claims["sid"] = json!("sess_canary");
        claims["azp"] = json!("https://canary.example");
    });
    let mut texts = vec![];
    let header = json!({"alg": "RS256", "kid": "canary", "jku": "https://canary.example"});
    for token in
        [RSA.token(&secret), FOREIGN_RSA.token(&secret), RSA.token_with(&header, &secret), "canary".into()]
    {
        let refusal = setup.refusal(&token).await;
        texts.push(format!("{refusal} {refusal:?}"));
        texts.extend(CompactToken::parse(&token).iter().map(|token| format!("{token:?}")));
    }
    let verified =
        setup.verify(&RSA.token(&claims(|claims| claims["sid"] = json!("sess_canary")))).await.unwrap();
    texts.push(format!("{verified:?}"));
    // One outage, many failures; then another one.
    for _ in 0..2 {
        setup.issuer.answer(KEY_SET_PATH, Answer::CloseWithoutAnswer);
        for _ in 0..5 {
            assert!(setup.verifier.refresh().await.is_err());
        }
        setup.issuer.publish(&[&RSA, &NEXT_RSA]);
        assert!(setup.verifier.refresh().await.is_ok());
    }
    drop(listening);
    let lines = log.lines();
    let count = |level: &str| lines.iter().filter(|line| line.starts_with(level)).count();
    assert_eq!((count("WARN"), count("INFO")), (2, 2), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("keys=2 new=1 gone=0")), "{lines:?}");
    texts.extend(lines);
    let jwk = RSA.jwk();
    for text in texts {
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains(jwk["n"].as_str().unwrap()), "{text}");
    }
}

#[test]
fn refusals_say_what_happened_and_what_to_do() {
    use TokenRefusal::{
        Algorithm, Audience, Expired, Extension, Issuer, KeySetUnavailable, Malformed, NoExpiry, NoParty,
        NotYetValid, Party, PendingSession, Signature, Subject, TooLong, UnknownKey,
    };
    let all = [
        Algorithm,
        Audience,
        Expired,
        Extension,
        Issuer,
        KeySetUnavailable,
        Malformed,
        NoExpiry,
        NoParty,
        NotYetValid,
        Party,
        PendingSession,
        Signature,
        Subject,
        TooLong,
        UnknownKey,
    ];
    let texts: HashSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    for text in texts {
        assert!(text.ends_with('.') && text.contains(". "), "two sentences: {text}");
    }
    assert_eq!(all.iter().filter(|refusal| refusal.is_unavailable()).count(), 1);
}
