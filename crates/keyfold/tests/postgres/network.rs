//! The way to the server breaks without a word.

use std::sync::Arc;
use std::time::Duration;

use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;

use crate::proxy::{Pooler, Proxy};
use crate::setup::{Production, code, in_time, key_of, listening, save, soon};

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_noticed_and_replaced_and_nothing_remembered_is_used_meanwhile() {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let proxy = Proxy::to(server.port()).await;
    let production = Production::on(proxy.address_of(&name)).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    listening(&keyfold).await;
    // Several connections are open and will break.
    for outcome in futures_util::future::join_all((0..20).map(|n| save(&keyfold, "bob", n))).await {
        assert!(["none", "conflict"].contains(&code(&outcome)), "{outcome:?}");
    }
    soon("ann's key is remembered", async || {
        let hits = keyfold.cache_state().unwrap().hits;
        key_of(&keyfold, "ann").await.unwrap();
        keyfold.cache_state().unwrap().hits > hits
    })
    .await;

    proxy.cut();
    // Another replica removes the key, which cannot be heard.
    server.connect(&name).await.batch_execute("DELETE FROM api_keys").await.unwrap();
    soon("it no longer believes to listen", async || !keyfold.cache_state().unwrap().listening).await;
    // One only: the other connections are found out later.
    assert_eq!(code(&in_time(key_of(&keyfold, "ann")).await), "database_unavailable");

    proxy.mend();
    // All that were open are dead; that is found out on the way.
    assert_eq!(code(&in_time(key_of(&keyfold, "ann")).await), "no_api_key");
    in_time(save(&keyfold, "ann", 2)).await.unwrap();
    listening(&keyfold).await;
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_in_the_middle_of_a_change_holds_nobody_up_for_long() {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let proxy = Proxy::to(server.port()).await;
    let production = Production::on(proxy.address_of(&name)).await;
    let direct = server.address_of(&name);
    let cut_off = production.open().await;
    let keyfold = production.open_with(&[("DATABASE_URL", &direct)]).await.unwrap();
    save(&keyfold, "ann", 1).await.unwrap();
    let (sql, other) = (server.connect("postgres").await, server.connect(&name).await);
    // Its change waits for somebody else's, then gets its turn, and then nobody tells the server to go on.
    other
        .batch_execute("BEGIN; SELECT * FROM onboarding_sessions WHERE user_id = 'ann' FOR UPDATE")
        .await
        .unwrap();
    let changing = tokio::spawn(async move { save(&cut_off, "ann", 2).await });
    soon("the change waits", async || waiting(&sql, &name).await > 0).await;
    proxy.cut();
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(code(&in_time(changing).await.unwrap()), "database_unavailable");
    soon("others take their turn", async || save(&keyfold, "ann", 3).await.is_ok()).await;
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_while_it_migrates_does_not_hold_the_lock_for_ever() {
    const LOCK: &str = "SELECT pg_advisory_xact_lock(x'6b6579666f6c64'::BIGINT)";
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let proxy = Proxy::to(server.port()).await;
    let production = Arc::new(Production::on(proxy.address_of(&name)).await);
    let direct = server.address_of(&name);
    let (sql, other) = (server.connect("postgres").await, server.connect(&name).await);
    other.batch_execute(&format!("BEGIN; {LOCK}")).await.unwrap();
    let starting = tokio::spawn({
        let production = Arc::clone(&production);
        async move { production.open().await }
    });
    soon("the first one waits for the lock", async || waiting(&sql, &name).await > 0).await;
    proxy.cut();
    // The lock goes to a replica that is no longer there, as far as anybody can tell.
    drop(other);
    let holders = "SELECT COUNT(*) FROM pg_locks JOIN pg_database ON oid = database \
                   WHERE datname = $1 AND locktype = 'advisory' AND granted";
    soon("it holds the lock", async || {
        waiting(&sql, &name).await == 0
            && sql.query_one(holders, &[&name]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let directly = [("DATABASE_URL", direct.as_str())];
    let another = production.open_with(&directly);
    let keyfold = tokio::time::timeout(Duration::from_secs(60), another).await.unwrap().unwrap();
    save(&keyfold, "ann", 1).await.unwrap();
    starting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_connection_pooler_nothing_is_remembered() {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    let pooler = Pooler::to(server.port()).await;
    let production = Production::on(pooler.address_of(&name)).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    let sql = server.connect(&name).await;
    soon("what others announce is lost", async || {
        sql.batch_execute("UPDATE api_keys SET status = status").await.unwrap();
        pooler.lost() > 1
    })
    .await;
    soon("it gives up to listen", async || {
        let listening = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'LISTEN %'";
        sql.query_one(listening, &[&name]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    // Unheard, and seen all the same.
    for n in 2..20 {
        sql.batch_execute("UPDATE onboarding_sessions SET suspended_at = NOW() WHERE user_id = 'ann'")
            .await
            .unwrap();
        assert_eq!(code(&key_of(&keyfold, "ann").await), "user_suspended");
        sql.batch_execute("UPDATE onboarding_sessions SET suspended_at = NULL").await.unwrap();
        save(&keyfold, "ann", n).await.unwrap();
        assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", n));
    }
    let state = keyfold.cache_state().unwrap();
    assert_eq!((state.listening, state.hits), (false, 0));
}

/// How many statements wait for somebody's lock.
async fn waiting(sql: &keyfold_test_servers::SqlClient, database: &str) -> i64 {
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
    sql.query_one(waiting, &[&database]).await.unwrap().get(0)
}
