//! How a token must be made: its parts, its header, its signature.

use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use keyfold::auth::{CompactToken, TokenRefusal};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::setup::{Setup, claims, good};
use keyfold_standin::Issuer;
use keyfold_standin::issuer::{ED25519, FOREIGN_RSA, P256, RSA, SigningKey};

#[tokio::test]
async fn every_algorithm_counts_for_its_own_key_only() {
    let keys: [&'static SigningKey; 3] = [&RSA, &P256, &ED25519];
    let setup = Setup::clerk(&keys).await;
    for key in keys {
        assert_eq!(setup.user(&key.token(&claims(|_| ()))).await, "user_2abc", "{}", key.id());
    }
    for signer in keys {
        for named in keys.into_iter().filter(|named| named.id() != signer.id()) {
            // The signature fits the algorithm; the named key is for another one.
            let header = json!({"alg": signer.algorithm(), "kid": named.id()});
            let refusal = setup.refusal(&signer.token_with(&header, &claims(|_| ()))).await;
            assert_eq!(refusal, TokenRefusal::Algorithm, "{} as {}", signer.id(), named.id());
            // The algorithm fits the named key; the signature does not.
            let header = json!({"alg": named.algorithm(), "kid": named.id()});
            let refusal = setup.refusal(&signer.token_with(&header, &claims(|_| ()))).await;
            assert_eq!(refusal, TokenRefusal::Signature, "{} for {}", signer.id(), named.id());
        }
    }
    // A key that is for something else is no key.
    for (member, value) in [("alg", "RS512"), ("alg", "PS256"), ("use", "enc")] {
        let setup = Setup::clerk(&[]).await;
        let mut jwk = RSA.jwk();
        jwk[member] = json!(value);
        setup.issuer.publish_jwks(&[jwk, P256.jwk()]);
        assert_eq!(setup.refusal(&good()).await, TokenRefusal::UnknownKey, "{member} {value}");
    }
}

#[tokio::test]
async fn algorithm_none_and_hmac_are_refused_unasked() {
    let setup = Setup::clerk(&[&RSA]).await;
    let body = |header: &Value| {
        format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.to_string().as_bytes()),
            BASE64URL_NOPAD.encode(claims(|_| ()).to_string().as_bytes())
        )
    };
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": none, "kid": RSA.id()});
        for token in [format!("{}.", body(&header)), RSA.token_with(&header, &claims(|_| ()))] {
            assert_eq!(setup.refusal(&token).await, TokenRefusal::Algorithm, "{none}");
        }
    }
    let hashes = [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];
    for (name, hash) in hashes {
        for secret in RSA.public_forms() {
            let signed = body(&json!({"alg": name, "kid": RSA.id()}));
            let tag = hmac::sign(&hmac::Key::new(hash, &secret), signed.as_bytes());
            let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
            assert_eq!(setup.refusal(&token).await, TokenRefusal::Algorithm, "{name}");
        }
    }
    assert_eq!(setup.user(&good()).await, "user_2abc");
    // The same with a header that says RS256.
    for secret in RSA.public_forms() {
        let signed = body(&json!({"alg": "RS256", "kid": RSA.id()}));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
        assert_eq!(setup.refusal(&token).await, TokenRefusal::Signature);
    }
    assert_eq!(setup.asked(), 1);
}

#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let setup = Setup::clerk(&[&RSA]).await;
    let attacker = Issuer::start_with(&[&FOREIGN_RSA]).await;
    let mut jwk_as_issuers = FOREIGN_RSA.jwk();
    jwk_as_issuers["kid"] = json!(RSA.id());
    let headers = [
        json!({}),
        json!({"jku": attacker.key_set_url()}),
        json!({"x5u": attacker.key_set_url()}),
        json!({"jwk": FOREIGN_RSA.jwk()}),
        json!({"jwk": jwk_as_issuers}),
        json!({"x5c": [BASE64.encode(&FOREIGN_RSA.public_forms()[1])]}),
        json!({"jku": attacker.key_set_url(), "x5u": attacker.url(), "jwk": FOREIGN_RSA.jwk(), "x5t": "AAAA"}),
    ];
    for mut header in headers {
        header["alg"] = json!("RS256");
        for (id, expected) in
            [(RSA.id(), TokenRefusal::Signature), (FOREIGN_RSA.id(), TokenRefusal::UnknownKey)]
        {
            header["kid"] = json!(id);
            let token = FOREIGN_RSA.token_with(&header, &claims(|_| ()));
            assert_eq!(setup.refusal(&token).await, expected, "{header}");
        }
        // The only key stands in for no name; this is not it.
        header.as_object_mut().unwrap().remove("kid");
        let token = FOREIGN_RSA.token_with(&header, &claims(|_| ()));
        assert_eq!(setup.refusal(&token).await, TokenRefusal::Signature, "{header}");
        // Nor does anybody look there for a good token.
        header["kid"] = json!(RSA.id());
        assert_eq!(setup.user(&RSA.token_with(&header, &claims(|_| ()))).await, "user_2abc");
    }
    assert_eq!(attacker.requests(), [""; 0]);
    assert!(setup.asked() <= 2);
}

#[tokio::test]
async fn broken_texts_are_refused_unasked() {
    let setup = Setup::clerk(&[&RSA]).await;
    let token = good();
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let header_of = |json: &str| BASE64URL_NOPAD.encode(json.as_bytes());
    let texts = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{body}"),
        format!("{token}.{signature}"),
        format!("{header}.{body}.{signature}.{body}.{signature}"),
        format!(".{header}.{body}.{signature}"),
        format!(".{body}.{signature}"),
        format!(" {token}"),
        format!("{header}=.{body}.{signature}"),
        format!("{}.{body}.{signature}", BASE64.encode(br#"{"alg":"RS256","typ":"?>"}"#)),
        format!("{}.{body}.{signature}", header_of("{\"alg\":\"RS256\"")),
        format!("{}.{body}.{signature}", header_of("not json")),
        format!("{}.{body}.{signature}", header_of(r#"{"kid":"ins_rsa"}"#)),
        format!("{}.{body}.{signature}", header_of(r#"{"alg":"RS256","alg":"RS256"}"#)),
        format!("{}.{body}.{signature}", header_of(r#"{"alg":{"RS256":1}}"#)),
        "ü.ü.ü".into(),
        "\u{0}.\u{0}.\u{0}".into(),
    ];
    for text in texts {
        assert_eq!(setup.refusal(&text).await, TokenRefusal::Malformed, "{text}");
    }
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), Value::Null] {
        let header = json!({"alg": "RS256", "kid": RSA.id(), "b64": false, "crit": crit});
        assert_eq!(setup.refusal(&RSA.token_with(&header, &claims(|_| ()))).await, TokenRefusal::Extension);
    }
    assert!(setup.asked() <= 1, "keys are fetched once, whatever comes first");
}

#[tokio::test]
async fn long_tokens_are_refused_before_any_work() {
    let setup = Setup::clerk(&[&RSA]).await;
    let padded = |bytes: usize| RSA.token(&claims(|claims| claims["pad"] = json!("x".repeat(bytes))));
    for long in [padded(8 * 1024), padded(1024 * 1024), "a.".repeat(512 * 1024), "x".repeat(8 * 1024 + 1)] {
        assert_eq!(setup.refusal(&long).await, TokenRefusal::TooLong);
    }
    assert_eq!(setup.issuer.requests(), [""; 0]);
    let token = padded(5000);
    assert!((7000..=8192).contains(&token.len()));
    assert_eq!(setup.user(&token).await, "user_2abc");
}

#[tokio::test]
async fn no_changed_character_goes_unnoticed() {
    let setup = Setup::clerk(&[&RSA]).await;
    let token = good();
    assert_eq!(setup.user(&token).await, "user_2abc");
    for at in 0..token.len() {
        for other in ['A', 'B', '_', '.', '='] {
            let mut changed = token.clone();
            changed.replace_range(at..=at, &other.to_string());
            if changed != token {
                assert!(setup.verify(&changed).await.is_err(), "{at} {other}");
            }
        }
    }
    for cut in 0..token.len() {
        assert!(setup.verify(&token[..cut]).await.is_err(), "{cut}");
    }
    assert!(setup.verify(&format!("{token}A")).await.is_err());
    assert_eq!(setup.verifier.remembered_tokens(), 1);
}

proptest! {
    #[test]
    fn any_text_can_be_parsed_without_harm(
        text in "\\PC*",
        parts in prop::collection::vec("[A-Za-z0-9_=-]{0,20}", 0..6),
        header in "\\{(\"(alg|kid|crit|typ)\":(\"(RS256|none|x)\"|null|7|\\[\\])(,|)){0,4}\\}",
    ) {
        let _ = CompactToken::parse(&text);
        let _ = CompactToken::parse(&parts.join("."));
        let token = format!("{}.e30.AAAA", BASE64URL_NOPAD.encode(header.as_bytes()));
        if CompactToken::parse(&token).is_ok() {
            prop_assert!(header.contains("\"alg\":\"RS256\""));
            prop_assert!(!header.contains("crit"));
        }
    }
}
