//! `migrate encrypt` and `migrate decrypt`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keyfold_standin::example_key;

use crate::setup::{Old, decrypt, encrypt, key, key_of, operator, save, user};

/// The rows whose keys are plain text.
async fn plain(old: &Old) -> Vec<Vec<String>> {
    old.rows("SELECT id FROM api_keys WHERE substr(key, 1, 4) <> 'kf1.' ORDER BY id").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_sealed_where_it_lies_and_turned_back_as_it_was() {
    for old in Old::both_like_alwrity().await {
        let (before, keys) = (old.all_but_keys_at_first().await, old.keys().await);
        let keyfold = old.open().await;
        let mut seen = vec![];
        let encrypted =
            keyfold.migration().encrypt(&operator(), &mut |progress| seen.push(progress)).await.unwrap();
        assert_eq!((encrypted.counted, encrypted.keys, encrypted.left), (true, 14, 0));
        assert!(
            seen.iter().all(|progress| progress.total == 14) && seen.last().unwrap().done == 14,
            "{seen:?}"
        );
        let aside: Vec<_> = encrypted
            .set_aside
            .iter()
            .map(|key| (key.id, key.user.as_str(), key.provider.as_str()))
            .collect();
        assert_eq!(aside, [(1, "ann", "gemini"), (2, "ann", "gemini"), (4, "ann", "openai")]);
        assert_eq!(plain(&old).await, Vec::<Vec<String>>::new());
        assert_eq!(old.all_but_keys().await, before);
        let now = old.keys().await;
        assert_eq!(now.len(), keys.len());
        assert!(
            !now.concat().iter().any(|stored| stored.contains("test-data")),
            "no plain text is left: {now:?}"
        );
        for (user, provider, key) in [
            ("ann", "gemini", "test-data-ann-gemini"),
            ("ann", "openai", "test-data-ann-openai"),
            ("carl", "gemini", "test-data-carl-gemini"),
            ("user_ü", "anthropic", "test-data-u-anthropic"),
            ("bob", "exa", "no_api_key"),
            ("bob", "mistral", "key_unreadable"),
        ] {
            assert_eq!(key_of(&keyfold, user, provider).await, key, "{user} {provider}");
        }
        let events = "SELECT COUNT(*) FROM audit_events WHERE action = ";
        assert_eq!(old.value(&format!("{events}'key.encrypted'")).await, "14");
        assert_eq!(old.value(&format!("{events}'keys.encrypted'")).await, "1");
        // Again.
        let encrypted = encrypt(&keyfold).await;
        assert_eq!((encrypted.counted, encrypted.keys, encrypted.left), (false, 0, 0));

        // What does not open keeps everything as it is.
        let sealed = old.keys().await;
        let decrypted = decrypt(&keyfold).await;
        let unreadable: Vec<_> = decrypted.unreadable.iter().map(|key| key.id).collect();
        assert_eq!((decrypted.keys, unreadable), (0, vec![14]));
        assert_eq!(old.keys().await, sealed);
        old.sql("DELETE FROM api_keys WHERE id = 14").await;
        let decrypted = decrypt(&keyfold).await;
        assert_eq!((decrypted.keys, decrypted.left, decrypted.unreadable.len()), (14, 0, 0));
        let all_but_it: Vec<_> = keys.into_iter().filter(|row| row[0] != "14").collect();
        assert_eq!(old.keys().await, all_but_it);
        assert_eq!(key_of(&keyfold, "ann", "gemini").await, "test-data-ann-gemini");
        assert_eq!(old.value(&format!("{events}'key.decrypted'")).await, "14");
        let encrypted = encrypt(&keyfold).await;
        assert_eq!((encrypted.counted, encrypted.keys, encrypted.left), (true, 14, 0));
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keyfold_made_itself_can_be_left_too() {
    for old in Old::both().await {
        let keyfold = old.open().await;
        save(&keyfold, "ann", 1).await.unwrap();
        assert!(!encrypt(&keyfold).await.counted);
        assert_eq!(decrypt(&keyfold).await.keys, 1);
        assert_eq!(old.value("SELECT key FROM api_keys").await, example_key("gemini", 1));
        assert_eq!(key_of(&keyfold, "ann", "gemini").await, example_key("gemini", 1));
        assert_eq!(encrypt(&keyfold).await.keys, 1);
        assert_eq!(key_of(&keyfold, "ann", "gemini").await, example_key("gemini", 1));
        keyfold.close().await;
    }
}

const USERS: u32 = 60;

/// Every user has both keys, as they were.
async fn all_there(old: &Old, expected: &HashMap<String, String>) {
    let keyfold = old.open().await;
    for number in 0..USERS {
        let user = user(number);
        let wanted = expected.get(&user).cloned().unwrap_or_else(|| key(number));
        assert_eq!(key_of(&keyfold, &user, "gemini").await, wanted, "{user}");
    }
    assert_eq!(old.value("SELECT COUNT(*) FROM api_keys").await, (2 * USERS).to_string());
    keyfold.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_anywhere_and_run_again_both_ways_lose_nothing() {
    for old in Old::both().await {
        old.with_users(USERS).await;
        let keyfold = old.open().await;
        // After so many keys, in the middle of the next one.
        for stop_after in [0, 1, 7, 30, 90] {
            for seals in [true, false] {
                let stopped = Arc::new(AtomicBool::new(false));
                let (running, flag) = (keyfold.clone(), Arc::clone(&stopped));
                let run = tokio::spawn(async move {
                    let mut progress = |progress: keyfold::migration::Progress| {
                        if progress.done >= stop_after {
                            flag.store(true, Ordering::SeqCst);
                        }
                    };
                    let migration = running.migration();
                    if seals {
                        migration.encrypt(&operator(), &mut progress).await.map(drop)
                    } else {
                        migration.decrypt(&operator(), &mut progress).await.map(drop)
                    }
                });
                while !stopped.load(Ordering::SeqCst) && !run.is_finished() {
                    tokio::task::yield_now().await;
                }
                run.abort();
                drop(run.await);
                all_there(&old, &HashMap::new()).await;
                if seals {
                    assert_eq!(encrypt(&keyfold).await.left, 0);
                    assert!(plain(&old).await.is_empty());
                } else {
                    assert_eq!(decrypt(&keyfold).await.left, 0);
                    assert_eq!(plain(&old).await.len(), 2 * USERS as usize);
                }
                all_there(&old, &HashMap::new()).await;
            }
        }
        keyfold.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_seal_every_key_once() {
    for old in Old::both().await {
        old.with_users(USERS).await;
        let (one, two) = (old.open().await, old.open().await);
        let (first, second) = tokio::join!(encrypt(&one), encrypt(&two));
        assert_eq!(first.keys + second.keys, u64::from(2 * USERS), "{first:?} {second:?}");
        assert!(plain(&old).await.is_empty());
        assert_eq!(old.value("SELECT COUNT(*) FROM root_secrets WHERE name = 'plain_keys'").await, "0");
        let events = "SELECT COUNT(*) FROM audit_events WHERE action = 'key.encrypted'";
        assert_eq!(old.value(events).await, (2 * USERS).to_string());
        all_there(&old, &HashMap::new()).await;
        for keyfold in [one, two] {
            keyfold.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_turn_every_key_back_once() {
    for old in Old::both().await {
        old.with_users(USERS).await;
        let keys = old.keys().await;
        let (one, two) = (old.open().await, old.open().await);
        encrypt(&one).await;
        let (first, second) = tokio::join!(decrypt(&one), decrypt(&two));
        assert_eq!(first.keys + second.keys, u64::from(2 * USERS), "{first:?} {second:?}");
        assert_eq!((first.unreadable.len(), second.unreadable.len()), (0, 0));
        assert_eq!(old.keys().await, keys);
        assert_eq!(old.value("SELECT COUNT(*) FROM root_secrets WHERE name = 'plain_keys'").await, "1");
        let events = "SELECT COUNT(*) FROM audit_events WHERE action = 'key.decrypted'";
        assert_eq!(old.value(events).await, (2 * USERS).to_string());
        all_there(&old, &HashMap::new()).await;
        for keyfold in [one, two] {
            keyfold.close().await;
        }
    }
}

/// What the other program writes for a user whose number is one of its own.
fn from_beside(number: u32, round: u32) -> String {
    format!("test-data-from-beside-{number:05}-{round}")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_all_is_turned_back_users_and_the_other_program_go_on_and_lose_nothing() {
    for old in Old::both().await.map(Arc::new) {
        old.with_users(USERS).await;
        let (server, operator) = (old.open().await, old.open().await);
        encrypt(&operator).await;
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let end_of_round = |rounds: &Arc<AtomicU32>| rounds.fetch_add(1, Ordering::SeqCst);
        // Users with even numbers read, every second of them saves; the other program writes for the rest.
        let (keyfold, flag, counter) = (server.clone(), Arc::clone(&over), Arc::clone(&rounds));
        let users = tokio::spawn(async move {
            let (mut expected, mut round) = (HashMap::new(), 0);
            while !flag.load(Ordering::SeqCst) || round == 0 {
                for number in (0..USERS).filter(|number| number % 2 == 0) {
                    let user = user(number);
                    let wanted = expected.get(&user).cloned().unwrap_or_else(|| key(number));
                    let found = key_of(&keyfold, &user, "gemini").await;
                    assert!(found == wanted || found == "database_unavailable", "{user}: {found}");
                    if number % 4 == 0 && save(&keyfold, &user, number + round).await.is_ok() {
                        expected.insert(user, example_key("gemini", number + round));
                    }
                }
                round += 1;
                end_of_round(&counter);
            }
            expected
        });
        let (program, flag, counter) = (Arc::clone(&old), Arc::clone(&over), Arc::clone(&rounds));
        let beside = tokio::spawn(async move {
            let mut round = 0;
            while !flag.load(Ordering::SeqCst) || round == 0 {
                for number in (0..USERS).filter(|number| number % 2 == 1) {
                    let (user, key) = (user(number), from_beside(number, round));
                    program
                        .sql(&format!(
                            "UPDATE api_keys SET key = '{key}' WHERE provider = 'gemini' AND session_id = \
                         (SELECT id FROM onboarding_sessions WHERE user_id = '{user}')"
                        ))
                        .await;
                    tokio::task::yield_now().await;
                }
                round += 1;
                end_of_round(&counter);
            }
            round - 1
        });
        while rounds.load(Ordering::SeqCst) < 2 && !users.is_finished() && !beside.is_finished() {
            tokio::task::yield_now().await;
        }
        // What is saved meanwhile is sealed, so some may be left.
        let decrypted = decrypt(&operator).await;
        over.store(true, Ordering::SeqCst);
        let (mut expected, last) = (users.await.unwrap(), beside.await.unwrap());
        assert!(decrypted.keys > 0 && !expected.is_empty(), "{decrypted:?}");
        for number in (0..USERS).filter(|number| number % 2 == 1) {
            expected.insert(user(number), from_beside(number, last));
        }
        assert_eq!(decrypt(&operator).await.left, 0, "nobody saves any more");
        assert_eq!(plain(&old).await.len(), 2 * USERS as usize);
        all_there(&old, &expected).await;
        for keyfold in [server, operator] {
            keyfold.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_read_and_save_meanwhile_notice_nothing_and_lose_nothing() {
    for old in Old::both().await {
        old.with_users(USERS).await;
        let (server, operator) = (old.open().await, old.open().await);
        let (over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let worker = |mine: u32| {
            let (server, over, reads) = (server.clone(), Arc::clone(&over), Arc::clone(&reads));
            tokio::spawn(async move {
                let mut expected = HashMap::new();
                let mut round = 0;
                while !over.load(Ordering::SeqCst) || round == 0 {
                    for number in (0..USERS).filter(|number| number % 3 == mine) {
                        let user = user(number);
                        let wanted = expected.get(&user).cloned().unwrap_or_else(|| key(number));
                        let found = key_of(&server, &user, "gemini").await;
                        assert!(found == wanted || found == "database_unavailable", "{user}: {found}");
                        reads.fetch_add(1, Ordering::SeqCst);
                        if number % 2 == 0 && save(&server, &user, number + round).await.is_ok() {
                            expected.insert(user, example_key("gemini", number + round));
                        }
                    }
                    round += 1;
                }
                expected
            })
        };
        let workers: Vec<_> = (0..3).map(worker).collect();
        while reads.load(Ordering::SeqCst) < USERS / 4 {
            tokio::task::yield_now().await;
        }
        while encrypt(&operator).await.left > 0 {}
        over.store(true, Ordering::SeqCst);
        let mut expected = HashMap::new();
        for worker in workers {
            expected.extend(worker.await.unwrap());
        }
        assert!(!expected.is_empty(), "somebody saved");
        assert!(plain(&old).await.is_empty());
        all_there(&old, &expected).await;
        for keyfold in [server, operator] {
            keyfold.close().await;
        }
    }
}
