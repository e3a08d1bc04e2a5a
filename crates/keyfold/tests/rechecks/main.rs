//! Stored keys are checked over time: the stand-in says who was asked and when, and the clock is moved by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

#[path = "../service_tokens/setup.rs"]
#[allow(dead_code, reason = "shared with the tests of service tokens")]
mod setup;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join3;
use jiff::SignedDuration;
use keyfold::Keyfold;
use keyfold::keys::{KeyRecord, KeyStatus};
use keyfold::recheck::Rechecks;
use keyfold::secret::ApiKey;
use keyfold::settings::{Problems, Settings, Sources};
use keyfold_standin::{Behaviour, example_key};

use setup::{Setup, save, user};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What Gemini says to a key that it does not know.
const REFUSED: &str =
    r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;

fn away() -> Behaviour {
    Behaviour::status(503, "{}")
}

async fn record(keyfold: &Keyfold, id: &str) -> KeyRecord {
    let keys = keyfold.users().keys_of(&user(id)).await.unwrap();
    keys.list().unwrap().into_iter().find(|record| record.provider.as_str() == "gemini").unwrap()
}

async fn status(keyfold: &Keyfold, id: &str) -> KeyStatus {
    record(keyfold, id).await.status
}

/// How often Gemini is asked by checks that are due now.
async fn asked(setup: &Setup, rechecks: &Rechecks) -> usize {
    setup.standin.clear();
    let made = rechecks.run_due().await.unwrap();
    let asked = setup.standin.requests_for("gemini").len();
    assert!(asked as u64 <= made, "{asked} of {made}");
    asked
}

/// Saves a key while its provider is away, and plans its first check.
async fn unverified(setup: &Setup, keyfold: &Keyfold, id: &str, number: u32) {
    setup.standin.always("gemini", away());
    save(keyfold, id, "gemini", number).await;
    assert_eq!(status(keyfold, id).await, KeyStatus::Unverified);
    assert_eq!(asked(setup, &keyfold.rechecks()).await, 0, "it was asked when it was saved");
}

async fn growing_pauses(setup: Setup) {
    let keyfold = setup.open().await;
    let rechecks = keyfold.rechecks();
    unverified(&setup, &keyfold, "ann", 1).await;
    for pause in [MINUTE, MINUTE * 5, MINUTE * 30, HOUR * 2, HOUR * 12] {
        setup.clock.advance(pause - SECOND);
        assert_eq!(asked(&setup, &rechecks).await, 0, "a second before {pause}");
        setup.clock.advance(SECOND);
        assert_eq!(asked(&setup, &rechecks).await, 1, "after {pause}");
        assert_eq!(asked(&setup, &rechecks).await, 0, "again after {pause}");
        assert_eq!(status(&keyfold, "ann").await, KeyStatus::Unverified);
    }
    for _ in 0..2 {
        setup.clock.advance(HOUR * 22 - SECOND);
        assert_eq!(asked(&setup, &rechecks).await, 0);
        setup.clock.advance(HOUR * 4 + SECOND);
        assert_eq!(asked(&setup, &rechecks).await, 1);
    }
    setup.standin.reset();
    setup.clock.advance(HOUR * 26);
    assert_eq!(asked(&setup, &rechecks).await, 1);
    let record = record(&keyfold, "ann").await;
    assert_eq!((record.status, record.last_used_at), (KeyStatus::Valid, None), "a check is no use");
    assert_eq!(record.last_verified_at, Some(keyfold::clock::Clock::now(&*setup.clock)));
}

#[tokio::test]
async fn an_unverified_key_is_asked_about_with_growing_pauses_and_then_daily() {
    growing_pauses(Setup::postgres().await).await;
    growing_pauses(Setup::sqlite().await).await;
}

/// Brings the clock to where the next daily check is due.
fn next_day(setup: &Setup) {
    setup.clock.advance(HOUR * 26);
}

#[tokio::test]
async fn only_what_a_provider_says_beyond_doubt_changes_what_is_known_of_a_key() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    let rechecks = keyfold.rechecks();
    save(&keyfold, "ann", "gemini", 1).await;
    assert_eq!(asked(&setup, &rechecks).await, 0);
    let doubtful = [
        Behaviour::status(500, REFUSED),
        Behaviour::status(503, "{}"),
        Behaviour::status(429, r#"{"error":{"status":"UNAVAILABLE"}}"#),
        Behaviour::status(401, "<html>sign in</html>"),
        Behaviour::status(404, "{}"),
        Behaviour::NotJson,
        Behaviour::InvalidJson,
        Behaviour::CloseWithoutAnswer,
        Behaviour::Hang,
        Behaviour::HangAfterHeaders,
        Behaviour::Redirect { location: "/elsewhere".into() },
    ];
    for behaviour in doubtful {
        setup.standin.always("gemini", behaviour.clone());
        next_day(&setup);
        assert_eq!(asked(&setup, &rechecks).await, 1, "{behaviour:?}");
        assert_eq!(status(&keyfold, "ann").await, KeyStatus::Valid, "{behaviour:?}");
        setup.standin.release();
    }
    for (behaviour, expected) in [
        (Behaviour::status(400, REFUSED), KeyStatus::Rejected),
        (away(), KeyStatus::Rejected),
        (Behaviour::status(403, "{}"), KeyStatus::Limited),
        (Behaviour::Usual, KeyStatus::Valid),
    ] {
        setup.standin.always("gemini", behaviour.clone());
        next_day(&setup);
        assert_eq!(asked(&setup, &rechecks).await, 1, "{behaviour:?}");
        assert_eq!(status(&keyfold, "ann").await, expected, "{behaviour:?}");
    }
}

async fn each_key_is_asked_once(setup: Setup) {
    const KEYS: u32 = 40;
    let replicas = [setup.open().await, setup.open().await, setup.open().await];
    setup.standin.always("gemini", away());
    for number in 0..KEYS {
        save(&replicas[0], &format!("user-{number}"), "gemini", number).await;
    }
    setup.standin.always("gemini", Behaviour::Usual);
    let rechecks = replicas.each_ref().map(Keyfold::rechecks);
    rechecks[0].run_due().await.unwrap();
    setup.clock.advance(MINUTE);
    // Several days: they do not meet over the same keys every time.
    for _ in 0..6 {
        setup.standin.clear();
        let runs = join3(rechecks[0].run_due(), rechecks[1].run_due(), rechecks[2].run_due());
        let (one, two, three) = runs.await;
        assert_eq!(one.unwrap() + two.unwrap() + three.unwrap(), u64::from(KEYS));
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for request in setup.standin.requests_for("gemini") {
            *times.entry(request.key).or_default() += 1;
        }
        assert_eq!(times.len(), KEYS as usize);
        assert!(times.values().all(|times| *times == 1), "{times:?}");
        next_day(&setup);
    }
    for number in 0..KEYS {
        assert_eq!(status(&replicas[1], &format!("user-{number}")).await, KeyStatus::Valid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_replicas_one_asks_about_each_key() {
    each_key_is_asked_once(Setup::postgres().await).await;
    each_key_is_asked_once(Setup::sqlite().await).await;
}

#[tokio::test]
async fn daily_checks_come_at_different_times() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    for number in 0..20 {
        save(&keyfold, &format!("user-{number}"), "gemini", number).await;
    }
    let rechecks = keyfold.rechecks();
    assert_eq!(asked(&setup, &rechecks).await, 0);
    let mut hours_with_some = 0;
    let mut all = 0;
    for _ in 0..24 {
        setup.clock.advance(HOUR);
        let asked = asked(&setup, &rechecks).await;
        hours_with_some += usize::from(asked > 0);
        all += asked;
    }
    // Nobody is asked a second time before 22 hours are over.
    assert!((20..=24).contains(&all), "{all}");
    // That 20 keys fall into fewer hours than these happens once in a million.
    assert!(hours_with_some >= 6, "{hours_with_some}");
}

#[tokio::test]
async fn without_daily_checks_only_unverified_keys_are_asked_about() {
    let setup = Setup::with(&[("KEYFOLD_RECHECK", "off")]).await;
    let keyfold = setup.open().await;
    let rechecks = keyfold.rechecks();
    save(&keyfold, "ann", "gemini", 1).await;
    unverified(&setup, &keyfold, "bob", 2).await;
    setup.standin.reset();
    setup.clock.advance(MINUTE);
    assert_eq!(asked(&setup, &rechecks).await, 1);
    assert_eq!(status(&keyfold, "bob").await, KeyStatus::Valid);
    for _ in 0..3 {
        next_day(&setup);
        assert_eq!(asked(&setup, &rechecks).await, 0);
    }
}

#[tokio::test]
async fn switching_daily_checks_off_takes_their_plans_back() {
    let mut setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    save(&keyfold, "ann", "gemini", 1).await;
    assert_eq!(asked(&setup, &keyfold.rechecks()).await, 0);
    let planned = "SELECT provider FROM api_keys WHERE next_check_at IS NOT NULL";
    assert_eq!(setup.column(planned).await, ["gemini"]);
    setup.set("KEYFOLD_RECHECK", "off");
    let rechecks = setup.open().await.rechecks();
    rechecks.begin().await.unwrap();
    assert!(setup.column(planned).await.is_empty());
    next_day(&setup);
    assert_eq!(asked(&setup, &rechecks).await, 0);
}

#[tokio::test]
async fn a_suspended_users_key_is_left_alone() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    let rechecks = keyfold.rechecks();
    unverified(&setup, &keyfold, "ann", 1).await;
    keyfold.users().suspend(&user("ann")).await.unwrap();
    setup.clock.advance(MINUTE);
    assert_eq!(asked(&setup, &rechecks).await, 0);
    keyfold.users().resume(&user("ann")).await.unwrap();
    setup.standin.reset();
    next_day(&setup);
    assert_eq!(asked(&setup, &rechecks).await, 1);
    assert_eq!(status(&keyfold, "ann").await, KeyStatus::Valid);
}

#[tokio::test]
async fn a_key_that_was_replaced_or_removed_has_a_plan_of_its_own() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    let rechecks = keyfold.rechecks();
    unverified(&setup, &keyfold, "ann", 1).await;
    for _ in 0..3 {
        setup.clock.advance(HOUR);
        assert_eq!(asked(&setup, &rechecks).await, 1);
    }
    save(&keyfold, "ann", "gemini", 2).await;
    assert_eq!(asked(&setup, &rechecks).await, 0);
    setup.clock.advance(MINUTE);
    assert_eq!(asked(&setup, &rechecks).await, 1, "the pauses begin anew");
    assert_eq!(setup.standin.requests_for("gemini")[0].key, example_key("gemini", 2));
    let keys = keyfold.user_api_keys("ann").await.unwrap();
    keys.remove(&keyfold.provider("gemini").unwrap()).await.unwrap();
    next_day(&setup);
    assert_eq!(asked(&setup, &rechecks).await, 0);
}

#[tokio::test]
async fn a_check_that_broke_off_is_made_some_minutes_later() {
    let setup = Setup::postgres().await;
    let keyfold = setup.open().await;
    unverified(&setup, &keyfold, "ann", 1).await;
    setup.clock.advance(MINUTE);
    setup.standin.clear();
    setup.standin.always("gemini", Behaviour::Hang);
    let rechecks = keyfold.rechecks();
    let running = tokio::spawn(async move { rechecks.run_due().await });
    setup.standin.wait_for_requests(1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    setup.standin.release();
    setup.standin.reset();
    let other = setup.open().await;
    setup.clock.advance(MINUTE * 10 - SECOND);
    assert_eq!(asked(&setup, &other.rechecks()).await, 0);
    setup.clock.advance(SECOND);
    assert_eq!(asked(&setup, &other.rechecks()).await, 1);
    assert_eq!(status(&other, "ann").await, KeyStatus::Valid);
}

#[tokio::test]
async fn an_unreadable_key_is_not_shown_to_its_provider() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    unverified(&setup, &keyfold, "ann", 1).await;
    setup.sql("UPDATE api_keys SET version = 9").await;
    setup.clock.advance(HOUR);
    assert_eq!(asked(&setup, &keyfold.rechecks()).await, 0);
    // A key of a provider without a free check is never planned.
    let keys = keyfold.user_api_keys("bob").await.unwrap();
    let key = ApiKey::parse(&example_key("perplexity", 1)).unwrap();
    keys.save(&keyfold.provider("perplexity").unwrap(), key).await.unwrap();
    next_day(&setup);
    assert_eq!(keyfold.rechecks().run_due().await.unwrap(), 1, "the unreadable one");
}

/// At most four at once: the others wait for their turn.
#[tokio::test]
async fn few_checks_are_made_at_once() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    setup.standin.always("gemini", away());
    for number in 0..8 {
        save(&keyfold, &format!("user-{number}"), "gemini", number).await;
    }
    let rechecks = keyfold.rechecks();
    assert_eq!(asked(&setup, &rechecks).await, 0);
    setup.clock.advance(MINUTE);
    setup.standin.always("gemini", Behaviour::Hang);
    let running = tokio::spawn(async move { rechecks.run_due().await });
    setup.standin.wait_for_requests(4).await;
    // Each gives up by itself; the next one comes only then.
    assert!(setup.standin.in_flight() <= 4, "{}", setup.standin.in_flight());
    setup.standin.wait_for_requests(8).await;
    assert!(setup.standin.in_flight() <= 4, "{}", setup.standin.in_flight());
    setup.standin.release();
    let made = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap().unwrap();
    assert_eq!(made, 8);
}

#[tokio::test]
async fn checks_that_come_with_time_are_in_the_audit_log() {
    let setup = Setup::sqlite().await;
    let keyfold = setup.open().await;
    unverified(&setup, &keyfold, "ann", 1).await;
    setup.standin.always("gemini", Behaviour::status(400, REFUSED));
    setup.clock.advance(MINUTE);
    assert_eq!(asked(&setup, &keyfold.rechecks()).await, 1);
    assert_eq!(status(&keyfold, "ann").await, KeyStatus::Rejected);
    let query = "SELECT actor || ' ' || user_id || ' ' || provider || ' ' || outcome FROM audit_events \
                 WHERE action = 'key.checked' AND purpose = 'recheck'";
    let waiting = async {
        while setup.column(query).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert_eq!(setup.column(query).await, ["keyfold ann gemini rejected"]);
    let of_the_call = "SELECT action || ' ' || outcome || ' ' || purpose FROM audit_events \
                       WHERE call_id IS NOT NULL AND actor = 'keyfold' ORDER BY id";
    assert_eq!(setup.column(of_the_call).await, ["key.opened ok recheck", "key.ended failed recheck"]);
}

#[test]
fn a_value_that_is_neither_on_nor_off_stops_the_start() {
    let read = |value: &str| {
        let environment = [("DEBUG", "true"), ("KEYFOLD_RECHECK", value)].into_iter().collect();
        let mut problems = Problems::default();
        let sources = Sources::read(environment, Path::new("/nowhere"), &mut problems).unwrap();
        let settings = Settings::read(&sources, &mut problems);
        (settings.map(|settings| settings.daily_recheck), problems.0)
    };
    for (value, daily) in
        [("on", true), ("", true), ("TRUE", true), ("off", false), ("no", false), ("0", false)]
    {
        assert_eq!(read(value), (Some(daily), vec![]), "{value}");
    }
    for value in ["daily", "never", "2", "24h"] {
        let (settings, problems) = read(value);
        assert_eq!((settings, problems.len()), (None, 1), "{value}");
        assert_eq!(problems[0].variable, "KEYFOLD_RECHECK");
        assert!(problems[0].what.contains(value) && problems[0].remedy.contains("on or off"), "{problems:?}");
    }
}
