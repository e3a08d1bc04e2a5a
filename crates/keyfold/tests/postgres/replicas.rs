//! Replicas that start at once, and that were given different master keys.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::{join, join_all, join3};
use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;

use crate::setup::{Production, another_master_key, code, key_of, listening, save, soon};

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_that_start_at_once_make_one_database() {
    let server = PostgresServer::shared();
    for _ in 0..3 {
        let name = server.new_database().await;
        let production = Production::on(server.address_of(&name)).await;
        let (one, two, three) = join3(production.open(), production.open(), production.open()).await;
        let sql = server.connect(&name).await;
        let count = async |table: &str| {
            let count = format!("SELECT COUNT(*) FROM {table}");
            sql.query_one(&count, &[]).await.unwrap().get::<_, i64>(0)
        };
        assert_eq!(count("root_secrets WHERE name LIKE 'master\\_key\\_check\\_%'").await, 1);
        assert_eq!(
            count("(SELECT version FROM keyfold_schema GROUP BY version HAVING COUNT(*) > 1) twice").await,
            0
        );
        let replicas = [one, two, three];
        let saved = join_all((0..3).map(|n| save(&replicas[n as usize], "ann", n))).await;
        assert!(saved.iter().any(Result::is_ok), "{saved:?}");
        for keyfold in &replicas {
            soon("each sees the same", async || {
                key_of(keyfold, "ann").await.unwrap() == key_of(&replicas[0], "ann").await.unwrap()
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_replicas_with_different_master_keys_one_starts() {
    let server = PostgresServer::shared();
    for _ in 0..5 {
        let production = Production::on(server.empty_database().await).await;
        let keys = [another_master_key(), another_master_key(), another_master_key()];
        let with = async |n: usize| production.open_with(&[("KEYFOLD_MASTER_KEY", &keys[n])]).await;
        let (one, two, three) = join3(with(0), with(1), with(2)).await;
        let outcomes = [one, two, three];
        let started = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(started, 1, "{:?}", outcomes.iter().map(code).collect::<Vec<_>>());
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(keyfold) => {
                    save(&keyfold, "ann", 1).await.unwrap();
                    assert!(with(n).await.is_ok());
                }
                Err(error) => assert_eq!(error.code(), "master_key_unavailable", "{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_another_master_key_does_not_start_and_says_why() {
    let production = Production::on(PostgresServer::shared().empty_database().await).await;
    let first = production.open().await;
    save(&first, "ann", 1).await.unwrap();
    let other = another_master_key();
    let refused = production.open_with(&[("KEYFOLD_MASTER_KEY", &other)]).await.err().unwrap();
    assert_eq!(refused.code(), "master_key_unavailable");
    for part in ["encrypted with the master key", "KEYFOLD_MASTER_KEY", "KEYFOLD_OTHER_MASTER_KEYS"] {
        assert!(refused.to_string().contains(part), "{part:?} is missing in: {refused}");
    }
    assert!(
        !refused.to_string().contains(other.as_str())
            && !refused.to_string().contains(&production.master_key)
    );
    // The refused one left nothing that would keep the first one out.
    assert_eq!(key_of(&production.open().await, "ann").await.unwrap(), example_key("gemini", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_know_each_others_master_key_work_whichever_is_primary() {
    let production = Production::on(PostgresServer::shared().empty_database().await).await;
    let other = another_master_key();
    // The roll-out: first the next one is made known everywhere, then it becomes the primary.
    let old = [("KEYFOLD_OTHER_MASTER_KEYS", other.as_str())];
    let new = [("KEYFOLD_MASTER_KEY", other.as_str()), ("KEYFOLD_OTHER_MASTER_KEYS", &production.master_key)];
    let old_alone = production.open().await;
    save(&old_alone, "eve", 5).await.unwrap();
    let (old, new) = join(production.open_with(&old), production.open_with(&new)).await;
    let (old, new) = (old.unwrap(), new.unwrap());
    save(&old, "ann", 1).await.unwrap();
    save(&new, "bob", 2).await.unwrap();
    for keyfold in [&old, &new] {
        for (user, number) in [("ann", 1), ("bob", 2), ("eve", 5)] {
            assert_eq!(key_of(keyfold, user).await.unwrap(), example_key("gemini", number), "{user}");
        }
    }
    // Whoever knows one of them only is refused, now that both are in use.
    assert_eq!(code(&production.open_with(&[]).await), "master_key_unavailable");
    let alone = [("KEYFOLD_MASTER_KEY", other.as_str())];
    assert_eq!(code(&production.open_with(&alone).await), "master_key_unavailable");
}

/// What a later release may do to the schema, by the rule that its test of migrations holds.
const LATER_MIGRATION: &str = "BEGIN; \
    ALTER TABLE onboarding_sessions ADD COLUMN later TEXT; \
    ALTER TABLE api_keys ADD COLUMN later INTEGER NOT NULL DEFAULT 0; \
    CREATE TABLE later (session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE); \
    CREATE INDEX api_keys_later ON api_keys (later); \
    DROP TRIGGER keyfold_changes ON api_keys; \
    CREATE TRIGGER keyfold_changes AFTER INSERT OR DELETE OR UPDATE OF session_id, provider, key, version, status, later \
        ON api_keys FOR EACH ROW EXECUTE FUNCTION keyfold_announce_key(); \
    INSERT INTO keyfold_schema (version, name) SELECT MAX(version) + 1, 'later' FROM keyfold_schema; \
    COMMIT";

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_goes_on_serving_while_a_newer_one_migrates_under_it() {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let production = Production::on(server.address_of(&name)).await;
    let old = production.open().await;
    // Statements are prepared, and users remembered.
    listening(&old).await;
    let (over, rounds) = (AtomicBool::new(false), AtomicU32::new(0));
    let live = async |user: &str, first: u32| {
        let mut number = first;
        while !over.load(Ordering::SeqCst) || number == first {
            number += 1;
            save(&old, user, number).await.unwrap();
            assert_eq!(key_of(&old, user).await.unwrap(), example_key("gemini", number), "{user}");
            rounds.fetch_add(1, Ordering::SeqCst);
        }
        number
    };
    let migrate = async {
        let sql = server.connect(&name).await;
        soon("users are served", async || rounds.load(Ordering::SeqCst) > 20).await;
        sql.batch_execute(LATER_MIGRATION).await.unwrap();
        let then = rounds.load(Ordering::SeqCst);
        soon("users are served after it", async || rounds.load(Ordering::SeqCst) > then + 20).await;
        over.store(true, Ordering::SeqCst);
    };
    let all = futures_util::future::join4(live("ann", 0), live("bob", 10_000), live("eve", 20_000), migrate);
    let (ann, bob, eve, ()) = Box::pin(all).await;
    for (user, number) in [("ann", ann), ("bob", bob), ("eve", eve)] {
        assert_eq!(key_of(&old, user).await.unwrap(), example_key("gemini", number), "{user}");
    }
    // It serves as long as it runs. Started again it would not know what it does to the newer one's tables.
    let again = production.open_with(&[]).await.err().unwrap();
    assert!(again.to_string().contains("at least as new"), "{again}");
}
