//! A rotation while replicas serve, whichever of the two keys each of them seals with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use keyfold::Keyfold;
use keyfold_test_servers::PostgresServer;

use crate::setup::{
    Site, all_there, assert_all_there, has, id, new_key, rotate, save, save_many, standing, user,
};

async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "not so: {what}");
}

async fn listening(keyfold: &Keyfold) {
    soon("it listens", async || {
        let _ = keyfold.user_api_keys("somebody").await;
        keyfold.cache_state().unwrap().listening
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_either_key_first_go_on_opening_and_saving() {
    const USERS: u32 = 600;
    let site = Site::postgres().await;
    let (old, new) = (new_key(), new_key());
    let replicas = [site.open(&old, &[&new]).await, site.open(&new, &[&old]).await];
    save_many(&replicas[0], 0..USERS).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(USERS)));
    let mut at_work = vec![];
    for replica in &replicas {
        let (replica, stop, next) = (replica.clone(), Arc::clone(&stop), Arc::clone(&next));
        at_work.push(tokio::spawn(async move {
            let mut look = 0;
            while !stop.load(Ordering::SeqCst) {
                // New users while it runs, and those of before.
                let number = next.fetch_add(1, Ordering::SeqCst);
                save(&replica, &user(number), number).await;
                for _ in 0..20 {
                    look = (look + 7) % USERS;
                    assert_all_there(has(&replica, &user(look), look).await);
                }
            }
        }));
    }
    let operator = site.open(&new, &[&old]).await;
    let rotation = rotate(&operator).await;
    assert!(rotation.data_keys >= USERS.into(), "{rotation:?}");
    stop.store(true, Ordering::SeqCst);
    for worker in at_work {
        worker.await.unwrap();
    }
    let users = next.load(Ordering::SeqCst);
    for replica in &replicas {
        replica.ready().await.unwrap();
        all_there(replica, 0..users).await;
    }
    // Nobody seals with the old one now.
    assert!(!rotate(&operator).await.goes_on);
    assert!(standing(&operator, &old).await.may_be_dropped());
    all_there(&site.open(&new, &[]).await, 0..users).await;
}

/// What a replica remembers of a user is still right after that user's data key was wrapped anew, so a million
/// announcements are spared. All else is announced as ever, also while a rotation runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_announced_once_and_changes_of_keys_as_ever() {
    let site = Site::postgres().await;
    let (old, new) = (new_key(), new_key());
    let replica = site.open(&old, &[&new]).await;
    save_many(&replica, 0..30).await;
    listening(&replica).await;
    let heard = {
        let client = PostgresServer::shared().connect(site.database.as_ref().unwrap()).await;
        // What a transaction announces is counted where it is announced.
        client
            .batch_execute(
                "CREATE TABLE announced (payload TEXT);
                 CREATE OR REPLACE FUNCTION keyfold_announce_user() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO announced VALUES (NEW.user_id); PERFORM pg_notify('keyfold_changes', NEW.user_id);
                 RETURN NULL; END $$",
            )
            .await
            .unwrap();
        client
    };
    let count = async || {
        let row = heard.query_one("SELECT COUNT(*) FROM announced", &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let operator = site.open(&new, &[&old]).await;
    assert_eq!(rotate(&operator).await.data_keys, 30);
    assert_eq!(count().await, 0);
    all_there(&replica, 0..30).await;
    // An operator's own statement is announced for each user that it changes.
    heard
        .batch_execute("UPDATE onboarding_sessions SET data_key = 'damaged' WHERE user_id < 'user_00002'")
        .await
        .unwrap();
    assert_eq!(count().await, 2);
    soon("the replica hears of it", async || has(&replica, &user(1), 1).await.is_err()).await;
    all_there(&replica, 2..30).await;
}

/// The new key was not given to all before somebody rotated. What users are told is not to enter their keys again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_not_given_the_new_key_says_so_and_is_not_ready() {
    for site in Site::both().await {
        let (old, new) = (new_key(), new_key());
        let replica = site.open(&old, &[]).await;
        for number in 0..3 {
            save(&replica, &user(number), number).await;
        }
        let operator = site.open(&new, &[&old]).await;
        // Nothing is sealed by the new one yet.
        replica.ready().await.unwrap();
        assert_eq!(rotate(&operator).await.data_keys, 3);
        soon("it hears of it", async || has(&replica, &user(0), 0).await.is_err()).await;
        for number in 0..3 {
            let error = has(&replica, &user(number), number).await.unwrap_err();
            assert_eq!(error.code(), "master_key_unavailable", "{error}");
            assert!(error.to_string().contains(&id(&new)) && error.to_string().contains("Nothing is lost"));
        }
        let not_ready = replica.ready().await.unwrap_err();
        assert_eq!(not_ready.code(), "master_key_unavailable", "{not_ready}");
        assert!(not_ready.to_string().contains(&id(&new)), "{not_ready}");
        // An id that is no master key's of this database is damage, whatever it says.
        let unknown = format!("kf1.{}", "A".repeat(100));
        site.sql(&format!(
            "UPDATE onboarding_sessions SET data_key = '{unknown}' WHERE user_id = '{}'",
            user(1)
        ))
        .await;
        soon("it is damaged", async || {
            has(&replica, &user(1), 1).await.is_err_and(|error| error.code() == "key_unreadable")
        })
        .await;
        operator.ready().await.unwrap();
        all_there(&operator, [0, 2]).await;
        // Later on the old one's check value stands, and seals nothing.
        site.open(&new, &[]).await.ready().await.unwrap();
        for keyfold in [replica, operator] {
            keyfold.close().await;
        }
    }
}
