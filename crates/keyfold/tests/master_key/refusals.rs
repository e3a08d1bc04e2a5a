//! Master keys swapped, several of them, one missing.

use crate::setup::{Site, all_there, id, new_key, refused, rotate, save, user};

#[tokio::test(flavor = "multi_thread")]
async fn whichever_of_two_keys_seals_everything_opens() {
    for site in Site::both().await {
        let (one, other) = (new_key(), new_key());
        for (number, (primary, others)) in (0..).zip([(&one, &other), (&other, &one), (&one, &other)]) {
            let keyfold = site.open(primary, &[others]).await;
            save(&keyfold, &user(number), number).await;
            all_there(&keyfold, 0..=number).await;
            keyfold.close().await;
        }
        // Each still wraps something, so neither may be left out.
        refused(site.try_open(&one, &[]).await, &[&id(&other), &id(&one)]);
        refused(site.try_open(&other, &[]).await, &[&id(&one), &id(&other)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_still_wraps_something_is_missed_whatever_else_is_given() {
    for site in Site::both().await {
        let keys: Vec<String> = (0..4).map(|_| new_key()).collect();
        let given = |without: usize| -> Vec<&str> {
            (0..4).filter(|n| *n != without).map(|n| keys[n].as_str()).collect()
        };
        for (number, key) in (0..).zip(&keys) {
            let before: Vec<&str> = keys.iter().map(String::as_str).filter(|other| other != key).collect();
            let keyfold = site.open(key, &before).await;
            save(&keyfold, &user(number), number).await;
            keyfold.close().await;
        }
        for (without, missing) in keys.iter().enumerate() {
            let given = given(without);
            let parts = [&id(missing), "KEYFOLD_MASTER_KEY", "KEYFOLD_OTHER_MASTER_KEYS"];
            refused(site.try_open(given[0], &given[1..]).await, &parts);
        }
        let all: Vec<&str> = keys.iter().map(String::as_str).collect();
        let keyfold = site.open(all[0], &all[1..]).await;
        all_there(&keyfold, 0..4).await;
        rotate(&keyfold).await;
        keyfold.close().await;
        let keyfold = site.open(all[0], &[]).await;
        all_there(&keyfold, 0..4).await;
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_database_is_no_help() {
    for site in Site::both().await {
        let (right, wrong) = (new_key(), new_key());
        let keyfold = site.open(&right, &[]).await;
        save(&keyfold, "ann", 1).await;
        keyfold.close().await;
        refused(site.try_open(&wrong, &[&new_key()]).await, &[&id(&right), &id(&wrong)]);
        // It is no harm either: the refused start wrote nothing under it.
        let keyfold = site.open(&right, &[&wrong]).await;
        assert!(rotate(&keyfold).await.from.is_empty());
    }
}
