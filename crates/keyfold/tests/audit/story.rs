//! Each thing that is done with a key leaves its events.

use futures_util::StreamExt;
use keyfold::provider::generate::Part;
use keyfold_standin::Behaviour;

use crate::setup::{Place, assert_sound, code, events, key, local_user, prompt, told};

#[tokio::test]
async fn a_key_from_its_entry_to_its_end() {
    for (place, user) in [(Place::local().await, "local"), (Place::production().await, "user_1")] {
        let keyfold = place.open().await;
        let gemini = keyfold.provider("gemini").unwrap();
        let keys = async || keyfold.user_api_keys(user).await.unwrap();
        keys().await.save(&gemini, key(1)).await.unwrap();
        keys().await.save(&gemini, key(2)).await.unwrap();
        drop(keys().await.get("gemini").unwrap());
        keys().await.roll_back(&gemini).await.unwrap();
        keys().await.validate(&gemini).await.unwrap();
        keys().await.remove(&gemini).await.unwrap();
        assert_eq!(code(&keys().await.get("gemini")), "no_api_key");
        let events = events(&keyfold, 11).await;
        let mut told = told(&events);
        let mut expected = [
            "key.checked valid check",
            "key.saved ok -",
            "key.checked valid check",
            "key.replaced ok -",
            "key.released ok application",
            "key.rolled_back ok -",
            // Of the stored one; what was just typed is not opened.
            "key.opened ok check",
            "key.ended ok check",
            "key.checked valid check",
            "key.deleted ok -",
            "key.refused no_key application",
        ]
        .to_vec();
        // What is spooled comes later than what is committed.
        told.sort();
        expected.sort_unstable();
        assert_eq!(told, expected);
        for event in &events {
            assert_eq!((event.user_id.as_deref(), event.actor.as_str()), (Some(user), "application"));
            assert_eq!(event.provider.as_deref(), Some("gemini"));
        }
        let of = |action: &str| events.iter().find(|event| event.action == action).unwrap();
        let [saved, replaced, rolled_back, deleted] =
            ["key.saved", "key.replaced", "key.rolled_back", "key.deleted"].map(of);
        assert_eq!(
            [saved, replaced, rolled_back, deleted].map(|event| event.key_version),
            [1, 2, 3, 3].map(Some)
        );
        assert!(saved.fingerprint.is_some() && saved.fingerprint != replaced.fingerprint);
        assert_eq!(saved.fingerprint, rolled_back.fingerprint);
        assert_eq!(of("key.released").fingerprint, replaced.fingerprint);
        assert_eq!(deleted.fingerprint, saved.fingerprint);
        assert_sound(&keyfold).await;
        keyfold.close().await;
    }
}

#[tokio::test]
async fn calls_say_how_they_ended() {
    let place = Place::local().await;
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    keyfold.user_api_keys("local").await.unwrap().save(&gemini, key(1)).await.unwrap();
    let user = local_user();
    let mut count = 2;

    for (behaviour, outcome, status) in [
        (Behaviour::Usual, "ok", Some(200)),
        (Behaviour::status(503, "{}"), "failed", Some(503)),
        (Behaviour::CloseWithoutAnswer, "failed", None),
    ] {
        place.standin.script("gemini", behaviour);
        let _ = keyfold.generate(&user, "gemini", &prompt()).await;
        count += 2;
        let events = events(&keyfold, count).await;
        let [opened, ended] = &events[count - 2..] else { panic!() };
        assert_eq!((opened.action.as_str(), ended.action.as_str()), ("key.opened", "key.ended"));
        assert_eq!((ended.outcome.as_str(), ended.provider_status), (outcome, status));
        assert!(opened.call_id.is_some() && opened.call_id == ended.call_id);
        assert!(opened.fingerprint.is_some() && opened.fingerprint == events[1].fingerprint);
        assert_eq!((opened.key_version, ended.purpose.as_deref()), (Some(1), Some("generate")));
        for event in [opened, ended] {
            assert_eq!((event.actor.as_str(), event.request_id.as_deref()), ("user", Some("request-1")));
            assert_eq!(event.address.as_deref(), Some("127.0.0.1"));
        }
    }

    // Streams: to their end, cut, and left.
    for (behaviour, outcome) in [
        (Behaviour::Usual, "ok"),
        (Behaviour::StreamThenCut { chunks: 1 }, "failed"),
        (Behaviour::StreamThenHang { chunks: 1 }, "abandoned"),
    ] {
        place.standin.script("gemini", behaviour);
        let mut parts = Box::pin(keyfold.generate_streamed(&user, "gemini", &prompt()).await.unwrap());
        let first = parts.next().await.unwrap().unwrap();
        assert!(matches!(first, Part::Text(_)));
        count += 2;
        if outcome == "abandoned" {
            drop(parts);
        } else {
            while parts.next().await.is_some() {}
        }
        let events = events(&keyfold, count).await;
        assert_eq!(
            (events[count - 1].action.as_str(), events[count - 1].outcome.as_str()),
            ("key.ended", outcome)
        );
    }
    place.standin.release();
    assert_sound(&keyfold).await;
    keyfold.close().await;
}

#[tokio::test]
async fn what_was_not_saved_is_told_too() {
    let place = Place::production().await;
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    let keys = keyfold.user_api_keys("user_1").await.unwrap();
    let late = keyfold.user_api_keys("user_1").await.unwrap();
    place.standin.script(
        "gemini",
        Behaviour::status(
            400,
            r#"{"error":{"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
        ),
    );
    assert_eq!(code(&keys.save(&gemini, key(1)).await), "key_rejected");
    keys.save(&gemini, key(2)).await.unwrap();
    assert_eq!(code(&late.save(&gemini, key(3)).await), "conflict");
    let mut told = told(&events(&keyfold, 5).await);
    told.sort();
    let expected = [
        "key.checked rejected check",
        "key.checked valid check",
        "key.checked valid check",
        "key.replaced conflict -",
        "key.saved ok -",
    ];
    assert_eq!(told, expected);
    assert_sound(&keyfold).await;
    keyfold.close().await;
}
