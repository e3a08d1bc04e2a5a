//! The server goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;

use crate::setup::{Production, code, in_time, key_of, listening, save, soon};

const QUICK: [&str; 1] = ["fsync=off"];

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_in_a_restart_end_and_later_ones_succeed() {
    let server = PostgresServer::start(&QUICK);
    let production = Production::on(server.empty_database().await).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    listening(&keyfold).await;
    let stop = Arc::new(AtomicBool::new(false));
    let succeeded = Arc::new(AtomicU32::new(0));
    let calling: Vec<_> = (0..8_u32)
        .map(|n| {
            let (keyfold, stop, succeeded) = (keyfold.clone(), Arc::clone(&stop), Arc::clone(&succeeded));
            tokio::spawn(async move {
                let user = format!("user_{n}");
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let done = in_time(save(&keyfold, &user, number)).await.map(drop);
                    let read = in_time(key_of(&keyfold, &user)).await.map(drop);
                    for outcome in [&done, &read] {
                        let known = ["none", "database_unavailable", "conflict", "no_api_key"];
                        assert!(known.contains(&code(outcome)), "{outcome:?}");
                    }
                    succeeded.fetch_add(u32::from(done.is_ok()), Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for crash in [false, true] {
        let before = succeeded.load(Ordering::Relaxed);
        soon("calls succeed", async || succeeded.load(Ordering::Relaxed) > before + 8).await;
        if crash {
            server.crash();
        } else {
            server.stop();
        }
        soon("callers learn it", async || {
            code(&key_of(&keyfold, "somebody").await) == "database_unavailable"
        })
        .await;
        server.start_again();
        // At once, without any attempt that fails.
        assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    }
    let before = succeeded.load(Ordering::Relaxed);
    soon("calls succeed", async || succeeded.load(Ordering::Relaxed) > before + 8).await;
    stop.store(true, Ordering::Relaxed);
    for calling in calling {
        calling.await.unwrap();
    }
    listening(&keyfold).await;
    let state = keyfold.pool_state().unwrap();
    assert!(state.open <= state.most, "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_every_call_learns_it_in_time() {
    let server = PostgresServer::start(&QUICK);
    let production = Production::on(server.empty_database().await).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    server.stop();
    for _ in 0..3 {
        let calls = (0..50).map(|n| {
            let keyfold = keyfold.clone();
            async move {
                match n % 3 {
                    0 => key_of(&keyfold, &format!("user_{n}")).await.map(drop),
                    1 => save(&keyfold, &format!("user_{n}"), 1).await.map(drop),
                    _ => keyfold.ready().await,
                }
            }
        });
        for outcome in in_time(futures_util::future::join_all(calls)).await {
            assert_eq!(code(&outcome), "database_unavailable");
        }
    }
    soon("nothing remembered is used", async || {
        code(&key_of(&keyfold, "ann").await) == "database_unavailable"
    })
    .await;
    server.start_again();
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    save(&keyfold, "ann", 2).await.unwrap();
    keyfold.ready().await.unwrap();
}

#[tokio::test]
async fn without_its_database_it_does_not_start_and_says_why() {
    let server = PostgresServer::start(&QUICK);
    let production = Production::on(server.empty_database().await).await;
    server.stop();
    let refused = production.open_with(&[]).await.err().unwrap();
    assert_eq!(refused.code(), "cannot_start");
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    assert!(refused.to_string().contains("Check that it runs"), "{refused}");
    server.start_again();
    production.open().await.ready().await.unwrap();
}
