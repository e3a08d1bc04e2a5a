//! Replicas that start at once, and that were given different master keys.

use futures_util::future::{join, join_all, join3};
use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;

use crate::setup::{Production, another_master_key, code, key_of, save, soon};

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
