//! What cannot be recorded is not done.

use std::fs;

use crate::setup::{Place, assert_sound, code, events, key, local_user, prompt, told};

/// Makes the database of local mode refuse every row of the log, until `accept`. On a thread of its own: the log may be
/// written just now, and goes on meanwhile.
async fn refuse(place: &Place, sql: &'static str) {
    let path = place.dir.path().join(".keyfold/keyfold.db");
    let refusing = tokio::task::spawn_blocking(move || {
        let database = rusqlite::Connection::open(path).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        database.execute_batch(sql).unwrap();
    });
    refusing.await.unwrap();
}

const REFUSE: &str =
    "CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'refused'); END";
const ACCEPT: &str = "DROP TRIGGER refuse";

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    let place = Place::local().await;
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    let keys = async || keyfold.user_api_keys("local").await.unwrap();
    keys().await.save(&gemini, key(1)).await.unwrap();
    keys().await.save(&gemini, key(2)).await.unwrap();
    let before = (place.file(".env"), keys().await.list().unwrap());
    refuse(&place, REFUSE).await;
    assert_eq!(code(&keys().await.save(&gemini, key(3)).await), "audit_unavailable");
    assert_eq!(code(&keys().await.roll_back(&gemini).await), "audit_unavailable");
    assert_eq!(code(&keys().await.remove(&gemini).await), "audit_unavailable");
    assert_eq!((place.file(".env"), keys().await.list().unwrap()), before);
    refuse(&place, ACCEPT).await;
    keys().await.remove(&gemini).await.unwrap();
    assert_sound(&keyfold).await;
    keyfold.close().await;
}

#[tokio::test]
async fn no_key_is_opened_when_nothing_can_record_it() {
    let mut place = Place::local().await;
    place.set("KEYFOLD_AUDIT_DURABILITY", "strict");
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    keyfold.user_api_keys("local").await.unwrap().save(&gemini, key(1)).await.unwrap();
    assert!(!place.spool().exists());
    place.standin.clear();
    refuse(&place, REFUSE).await;
    assert_eq!(code(&keyfold.generate(&local_user(), "gemini", &prompt()).await), "audit_unavailable");
    let keys = keyfold.user_api_keys("local").await.unwrap();
    // Here the caller holds up the only thread there is.
    assert_eq!(code(&keys.get("gemini")), "audit_unavailable");
    assert_eq!(code(&keys.validate(&gemini).await), "audit_unavailable");
    assert_eq!(place.standin.requests().len(), 0);
    refuse(&place, ACCEPT).await;
    drop(keys.get("gemini").unwrap());
    keyfold.generate(&local_user(), "gemini", &prompt()).await.unwrap();
    let told = told(&events(&keyfold, 5).await);
    assert_eq!(told[2..4], ["key.released ok application", "key.opened ok generate"]);
    drop(keys);
    keyfold.close().await;
}

#[tokio::test]
async fn with_a_spool_calls_go_on_while_the_database_takes_no_events() {
    let place = Place::local().await;
    let keyfold = place.open().await;
    let gemini = keyfold.provider("gemini").unwrap();
    keyfold.user_api_keys("local").await.unwrap().save(&gemini, key(1)).await.unwrap();
    refuse(&place, REFUSE).await;
    keyfold.generate(&local_user(), "gemini", &prompt()).await.unwrap();
    assert!(fs::read_dir(place.spool()).unwrap().count() > 0);
    refuse(&place, ACCEPT).await;
    let told = told(&events(&keyfold, 4).await);
    assert_eq!(told[2..], ["key.opened ok generate", "key.ended ok generate"]);
    assert_sound(&keyfold).await;
    keyfold.close().await;
}
