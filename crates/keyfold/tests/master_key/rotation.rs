//! What a rotation does, on both databases.

use std::sync::{Arc, Mutex};

use keyfold::master_keys::Role;
use keyfold::requester::{Actor, Requester};

use crate::setup::{
    Site, all_there, assert_all_there, has, id, new_key, refused, rotate, save, save_many, standing, user,
};

/// More than one batch.
const USERS: u32 = 1_203;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_wrapped_by_the_new_key_and_opens_without_the_old_one() {
    for site in Site::both().await {
        let (old, new) = (new_key(), new_key());
        let keyfold = site.open(&old, &[]).await;
        let count = if site.database.is_some() { USERS } else { 20 };
        save_many(&keyfold, 0..count).await;
        keyfold.close().await;

        let keyfold = site.open(&new, &[&old]).await;
        let before = standing(&keyfold, &old).await;
        assert_eq!(
            (before.data_keys, before.role, before.may_be_dropped()),
            (count.into(), Role::Other, false)
        );
        let seen = Arc::new(Mutex::new(vec![]));
        let mut watch = {
            let seen = Arc::clone(&seen);
            move |progress: keyfold::master_keys::Progress| seen.lock().unwrap().push(progress)
        };
        let operator = Requester::new(Actor::Operator);
        let rotation = keyfold.master_keys().rotate(&operator, &mut watch).await.unwrap();
        assert_eq!((rotation.data_keys, rotation.left, rotation.goes_on), (count.into(), 0, false));
        assert_eq!(rotation.root_secrets, before.root_secrets);
        assert_eq!(rotation.to.to_string(), id(&new));
        assert_eq!(rotation.from.iter().map(ToString::to_string).collect::<Vec<_>>(), [id(&old)]);
        let last = *seen.lock().unwrap().last().unwrap();
        assert_eq!((last.rewrapped, last.part.to_string().as_str()), (count.into(), "1"));
        assert!(standing(&keyfold, &old).await.may_be_dropped());
        let after = standing(&keyfold, &new).await;
        assert_eq!((after.data_keys, after.role), (count.into(), Role::Primary));
        all_there(&keyfold, 0..count).await;
        keyfold.ready().await.unwrap();
        keyfold.close().await;

        let keyfold = site.open(&new, &[]).await;
        all_there(&keyfold, 0..count).await;
        // A second one has nothing to do.
        let again = rotate(&keyfold).await;
        assert_eq!((again.data_keys, again.root_secrets, again.from.len()), (0, 0, 0));
        keyfold.close().await;
        // The old one is forgotten, and is nothing to this database any more.
        refused(site.try_open(&old, &[]).await, &["was encrypted with the master key", &id(&new)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_rotations_one_after_the_other_leave_the_last_key() {
    for site in Site::both().await {
        let mut keys = vec![new_key()];
        site.open(&keys[0], &[]).await.close().await;
        for number in 0..4 {
            let new = new_key();
            let others: Vec<&str> = keys.iter().map(String::as_str).collect();
            let keyfold = site.open(&new, &others).await;
            save(&keyfold, &user(number), number).await;
            rotate(&keyfold).await;
            all_there(&keyfold, 0..=number).await;
            keyfold.close().await;
            keys.push(new);
        }
        let keyfold = site.open(keys.last().unwrap(), &[]).await;
        all_there(&keyfold, 0..4).await;
        // Check values of keys that are not given and wrap nothing go with the next rotation.
        rotate(&keyfold).await;
        assert_eq!(keyfold.master_keys().status().await.unwrap().keys.len(), 1);
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_while_it_ran_with_the_old_key_is_found_by_the_next_one() {
    for site in Site::both().await {
        let (old, new) = (new_key(), new_key());
        let late = site.open(&old, &[&new]).await;
        let keyfold = site.open(&new, &[&old]).await;
        save(&late, "early", 1).await;
        assert_eq!(rotate(&keyfold).await.data_keys, 1);
        save(&late, "late", 2).await;
        assert_eq!(standing(&keyfold, &old).await.data_keys, 1);
        refused(site.try_open(&new, &[]).await, &[&id(&old), "KEYFOLD_OTHER_MASTER_KEYS"]);
        assert_eq!(rotate(&keyfold).await.data_keys, 1);
        for keyfold in [&late, &keyfold, &site.open(&new, &[]).await] {
            assert_all_there(has(keyfold, "early", 1).await);
            assert_all_there(has(keyfold, "late", 2).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_do_the_work_of_one() {
    let site = Site::postgres().await;
    let (old, new) = (new_key(), new_key());
    let keyfold = site.open(&old, &[]).await;
    save_many(&keyfold, 0..USERS).await;
    keyfold.close().await;
    let (one, other) = (site.open(&new, &[&old]).await, site.open(&new, &[&old]).await);
    let (first, second) = tokio::join!(rotate(&one), rotate(&other));
    assert_eq!(first.data_keys + second.data_keys, u64::from(USERS));
    assert_eq!((first.left, second.left), (0, 0));
    let keyfold = site.open(&new, &[]).await;
    all_there(&keyfold, 0..USERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_against_each_other_end_and_lose_nothing() {
    let site = Site::postgres().await;
    let (left, right) = (new_key(), new_key());
    let (to_left, to_right) = (site.open(&left, &[&right]).await, site.open(&right, &[&left]).await);
    save_many(&to_left, 0..USERS).await;
    tokio::join!(rotate(&to_left), rotate(&to_right));
    for keyfold in [&to_left, &to_right] {
        all_there(keyfold, 0..USERS).await;
    }
    // One of them alone has the last word.
    let rotation = rotate(&to_right).await;
    assert!(!rotation.goes_on && rotation.left == 0, "{rotation:?}");
    all_there(&site.open(&right, &[]).await, 0..USERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_data_keys_are_put_aside_and_foreign_rows_stay() {
    for site in Site::both().await {
        let (old, new) = (new_key(), new_key());
        let keyfold = site.open(&old, &[]).await;
        for number in 0..6 {
            save(&keyfold, &user(number), number).await;
        }
        keyfold.close().await;
        let of = |number| format!("WHERE user_id = '{}'", user(number));
        site.sql(&format!(
            "UPDATE onboarding_sessions SET data_key = substr(data_key, 1, 60) {};
             UPDATE onboarding_sessions SET data_key = (SELECT data_key FROM onboarding_sessions {}) {};
             UPDATE onboarding_sessions SET data_key = 'plain' {};
             UPDATE onboarding_sessions SET data_key = replace(data_key, 'kf1.', 'kf9.') {};",
            of(0),
            of(5),
            of(1),
            of(2),
            of(3)
        ))
        .await;
        let keyfold = site.open(&new, &[&old]).await;
        let rotation = rotate(&keyfold).await;
        assert_eq!((rotation.data_keys, rotation.put_aside, rotation.left), (2, 2, 2), "{rotation:?}");
        let status = keyfold.master_keys().status().await.unwrap();
        assert_eq!(status.unreadable_data_keys, 2);
        // The truncated one names no key any more by its whole form; the other one is kept whole.
        assert!(standing(&keyfold, &old).await.put_aside >= 1);
        assert!(standing(&keyfold, &old).await.may_be_dropped());
        keyfold.close().await;
        let keyfold = site.open(&new, &[]).await;
        for number in [4, 5] {
            assert_all_there(has(&keyfold, &user(number), number).await);
        }
        for number in [0, 1, 2, 3] {
            let error = has(&keyfold, &user(number), number).await.unwrap_err();
            assert_eq!(error.code(), "key_unreadable", "{number}");
        }
        // They can enter their keys again: nothing waits for the old master key.
        for number in [0, 1] {
            save(&keyfold, &user(number), number).await;
            assert_all_there(has(&keyfold, &user(number), number).await);
        }
        keyfold.close().await;
    }
}
