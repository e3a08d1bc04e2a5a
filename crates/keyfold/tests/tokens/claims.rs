//! What a token must say.

use data_encoding::BASE64;
use jiff::Timestamp;
use keyfold::auth::TokenRefusal;
use keyfold::user::UserId;
use serde_json::{Value, json};

use crate::setup::{APP, CLERK, CLERK_HOST, NOW, Setup, claims, good, token_of};
use keyfold_standin::Issuer;
use keyfold_standin::issuer::{KEY_SET_PATH, RSA};

#[tokio::test]
async fn a_good_token_names_its_user() {
    let setup = Setup::clerk(&[&RSA]).await;
    let verified = setup.verify(&good()).await.unwrap();
    assert_eq!(verified.user().user().as_str(), "user_2abc");
    assert_eq!(verified.issued_at(), Some(Timestamp::from_second(NOW).unwrap()));
    assert_eq!(verified.expires_at(), Timestamp::from_second(NOW + 60).unwrap());
    assert_eq!(verified.impersonator(), None);
    assert_eq!(setup.issuer.requests(), [KEY_SET_PATH]);

    // What a token may leave out, and what it may say besides.
    let spare = claims(|claims| {
        for name in ["azp", "fva", "iat", "jti", "nbf", "o", "sid", "sts", "v"] {
            claims.as_object_mut().unwrap().remove(name);
        }
    });
    let verified = setup.verify(&RSA.token(&spare)).await.unwrap();
    assert_eq!(verified.issued_at(), None);
    let odd =
        ["a'b\"; --", "../x", "a/b?c#d%2F", "ユーザー|1", "👩‍💻", " user_2abc", "user_2abc ", &"ü".repeat(255)];
    for user in odd {
        assert_eq!(setup.user(&token_of(user)).await, user);
    }
    let unlike_clerk = claims(|claims| {
        claims["sts"] = json!({"any": "thing"});
        claims["aud"] = json!("not configured, so not looked at");
        claims["exp"] = json!(60.5 + 1_795_348_800.0);
    });
    assert_eq!(setup.user(&RSA.token(&unlike_clerk)).await, "user_2abc");
    assert_eq!(setup.asked(), 1);
}

#[tokio::test]
async fn an_impersonator_is_told() {
    let setup = Setup::clerk(&[&RSA]).await;
    let acted = |act: Value| RSA.token(&claims(|claims| claims["act"] = act));
    let verified = setup
        .verify(&acted(json!({"iss": "https://dashboard.clerk.com", "sub": "user_staff"})))
        .await
        .unwrap();
    assert_eq!(verified.user().user().as_str(), "user_2abc");
    assert_eq!(verified.impersonator().map(UserId::as_str), Some("user_staff"));
    // Somebody acts, but nobody could tell who.
    let blank = json!({ "sub": " \u{3000}" });
    let long = json!({ "sub": "x".repeat(256) });
    for unreadable in
        [json!({}), json!("user_staff"), json!({"sub": 7}), json!({"sub": ""}), blank, long, json!(true)]
    {
        assert_eq!(setup.refusal(&acted(unreadable)).await, TokenRefusal::Malformed);
    }
}

#[tokio::test]
async fn claims_that_do_not_fit_are_refused() {
    let setup = Setup::clerk(&[&RSA]).await;
    let cases: Vec<(&str, Value, TokenRefusal)> = vec![
        ("iss", Value::Null, TokenRefusal::Issuer),
        ("iss", json!("https://evil.clerk.accounts.dev"), TokenRefusal::Issuer),
        ("iss", json!(format!("{CLERK}/")), TokenRefusal::Issuer),
        ("iss", json!(CLERK.to_uppercase()), TokenRefusal::Issuer),
        ("iss", json!(""), TokenRefusal::Issuer),
        ("iss", json!([CLERK]), TokenRefusal::Malformed),
        ("exp", Value::Null, TokenRefusal::NoExpiry),
        ("exp", json!((NOW + 60).to_string()), TokenRefusal::Malformed),
        ("exp", json!(true), TokenRefusal::Malformed),
        ("exp", json!((NOW + 60) * 1000), TokenRefusal::Malformed),
        ("exp", json!(1e300), TokenRefusal::Malformed),
        ("exp", json!(NOW - 60), TokenRefusal::Expired),
        ("exp", json!(0), TokenRefusal::Expired),
        ("exp", json!(-1), TokenRefusal::Expired),
        ("nbf", json!(NOW + 60), TokenRefusal::NotYetValid),
        ("nbf", json!("0"), TokenRefusal::Malformed),
        ("iat", json!("0"), TokenRefusal::Malformed),
        ("sub", Value::Null, TokenRefusal::Subject),
        ("sub", json!(""), TokenRefusal::Subject),
        ("sub", json!(" "), TokenRefusal::Subject),
        ("sub", json!("   "), TokenRefusal::Subject),
        ("sub", json!("\t"), TokenRefusal::Subject),
        ("sub", json!(" \u{a0}\u{2003}\u{3000}\u{2028}"), TokenRefusal::Subject),
        ("sub", json!("a\u{0}b"), TokenRefusal::Subject),
        ("sub", json!("a\nb"), TokenRefusal::Subject),
        ("sub", json!("u".repeat(256)), TokenRefusal::Subject),
        ("sub", json!("ü".repeat(300)), TokenRefusal::Subject),
        ("sub", json!(7), TokenRefusal::Malformed),
        ("sub", json!(["user_2abc"]), TokenRefusal::Malformed),
        ("azp", json!("https://evil.example"), TokenRefusal::Party),
        ("azp", json!(format!("{APP}/")), TokenRefusal::Party),
        ("azp", json!(format!("{APP}.evil.example")), TokenRefusal::Party),
        ("azp", json!(""), TokenRefusal::Party),
        ("azp", json!([APP]), TokenRefusal::Malformed),
        ("aud", json!(7), TokenRefusal::Malformed),
        ("sts", json!("pending"), TokenRefusal::PendingSession),
    ];
    for (name, value, expected) in cases {
        let token = RSA.token(&claims(|claims| claims[name] = value.clone()));
        assert_eq!(setup.refusal(&token).await, expected, "{name}: {value}");
        // Refused again, not remembered.
        assert_eq!(setup.refusal(&token).await, expected, "{name}: {value}");
    }
    assert_eq!(setup.verifier.remembered_tokens(), 0);
    for name in ["iss", "exp", "sub"] {
        let without = claims(|claims| {
            claims.as_object_mut().unwrap().remove(name);
        });
        assert!(setup.verify(&RSA.token(&without)).await.is_err(), "{name}");
    }
    // Which of two would count?
    let header = json!({"alg": "RS256", "kid": RSA.id()}).to_string();
    let twice = claims(|_| ()).to_string().replacen('{', r#"{"sub":"user_other","#, 1);
    let list = json!([CLERK, "user_2abc", null, NOW + 60]).to_string();
    for body in [twice.as_str(), &list, "null", "[]", "", "7", "{", "\u{feff}{}"] {
        let token = RSA.sign(header.as_bytes(), body.as_bytes());
        assert_eq!(setup.refusal(&token).await, TokenRefusal::Malformed, "{body}");
    }
    assert_eq!(setup.asked(), 1);
}

#[tokio::test]
async fn clocks_may_be_five_seconds_apart() {
    let setup = Setup::clerk(&[&RSA]).await;
    let at = |name: &'static str, offset: f64| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        RSA.token(&claims(|claims| claims[name] = json!(NOW as f64 + offset)))
    };
    assert!(setup.verify(&at("exp", -4.99)).await.is_ok());
    assert_eq!(setup.refusal(&at("exp", -5.0)).await, TokenRefusal::Expired);
    assert!(setup.verify(&at("nbf", 5.0)).await.is_ok());
    assert_eq!(setup.refusal(&at("nbf", 5.01)).await, TokenRefusal::NotYetValid);
}

#[tokio::test]
async fn a_configured_audience_must_be_named() {
    let setup = Setup::other(&[&RSA], &[("KEYFOLD_AUTH_AUDIENCE", "https://keys.example.com")]).await;
    let with = |aud: Value| {
        RSA.token(&setup.claims(|claims| {
            claims["aud"] = aud;
            claims["azp"] = Value::Null;
        }))
    };
    for good in [json!("https://keys.example.com"), json!(["https://a.example", "https://keys.example.com"])]
    {
        assert_eq!(setup.user(&with(good)).await, "user_2abc");
    }
    for foreign in [
        Value::Null,
        json!(""),
        json!([]),
        json!("https://other.example.com"),
        json!("https://keys.example.com/"),
        json!(["https://other.example.com"]),
        json!("https://keys.example.com https://other.example.com"),
    ] {
        assert_eq!(setup.refusal(&with(foreign.clone())).await, TokenRefusal::Audience, "{foreign}");
    }
    for unreadable in [json!(["https://keys.example.com", 7]), json!({"aud": "https://keys.example.com"})] {
        assert_eq!(setup.refusal(&with(unreadable)).await, TokenRefusal::Malformed);
    }
    // A party that is named is checked all the same.
    let foreign = setup.claims(|claims| {
        claims["aud"] = json!("https://keys.example.com");
        claims["azp"] = json!("https://evil.example");
    });
    assert_eq!(setup.refusal(&RSA.token(&foreign)).await, TokenRefusal::Party);
}

#[tokio::test]
async fn only_clerk_may_leave_the_party_out_without_an_audience() {
    let clerk_key = format!("pk_live_{}", BASE64.encode(format!("{CLERK_HOST}$").as_bytes()));
    let parties = ("KEYFOLD_AUTHORIZED_PARTIES", "spa-client,https://app.example.com");
    // A publishable key beside another issuer does not make that one Clerk.
    for variables in [vec![parties], vec![parties, ("CLERK_PUBLISHABLE_KEY", clerk_key.as_str())]] {
        let setup = Setup::other(&[&RSA], &variables).await;
        let with = |azp: Value| RSA.token(&setup.claims(|claims| claims["azp"] = azp));
        assert_eq!(setup.user(&with(json!("spa-client"))).await, "user_2abc");
        assert_eq!(setup.refusal(&with(Value::Null)).await, TokenRefusal::NoParty);
        assert_eq!(setup.refusal(&with(json!("another-client"))).await, TokenRefusal::Party);
    }
    // Clerk's own issuer, named by hand beside its key.
    let issuer = Issuer::start_with(&[&RSA]).await;
    let setup = Setup::with(issuer, |_, variables| {
        variables.extend([
            ("KEYFOLD_AUTH_ISSUER", CLERK.to_owned()),
            ("KEYFOLD_AUTHORIZED_PARTIES", APP.to_owned()),
        ]);
    });
    assert_eq!(setup.user(&RSA.token(&claims(|claims| claims["azp"] = Value::Null))).await, "user_2abc");
    // The same issuer without its key: nobody says that it is Clerk.
    let issuer = Issuer::start_with(&[&RSA]).await;
    let setup = Setup::with(issuer, |_, variables| {
        variables.retain(|(name, _)| *name != "CLERK_PUBLISHABLE_KEY");
        variables.extend([
            ("KEYFOLD_AUTH_ISSUER", CLERK.to_owned()),
            ("KEYFOLD_AUTHORIZED_PARTIES", APP.to_owned()),
        ]);
    });
    let refusal = setup.refusal(&RSA.token(&claims(|claims| claims["azp"] = Value::Null))).await;
    assert_eq!(refusal, TokenRefusal::NoParty);
}
