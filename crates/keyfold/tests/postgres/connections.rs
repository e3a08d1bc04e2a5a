//! A server with few connections.

use keyfold_standin::example_key;
use keyfold_test_servers::{PostgresServer, SqlClient};

use crate::setup::{Production, code, in_time, key_of, listening, save, soon};

/// Takes all connections that are free.
async fn take_the_rest(server: &PostgresServer, taken: &mut Vec<SqlClient>) {
    let address = server.address_of("postgres");
    while let Ok((client, connection)) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_connection_callers_learn_it_in_time_and_it_goes_on_with_the_first_free_one() {
    let server =
        PostgresServer::start(&["fsync=off", "max_connections=8", "superuser_reserved_connections=0"]);
    let production = Production::on(server.empty_database().await).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    let mut taken = vec![];
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyfold'";
    loop {
        take_the_rest(&server, &mut taken).await;
        if code(&in_time(key_of(&keyfold, "nobody")).await) == "database_unavailable" {
            break;
        }
        // Keyfold's own are taken as well.
        taken[0].batch_execute(end).await.unwrap();
    }
    let calls = (0..20).map(|n| {
        let keyfold = keyfold.clone();
        async move { save(&keyfold, &format!("user_{n}"), 1).await }
    });
    for outcome in in_time(futures_util::future::join_all(calls)).await {
        assert_eq!(code(&outcome), "database_unavailable");
    }
    // The listener's may be the one that takes it.
    taken.truncate(taken.len() - 2);
    soon("calls succeed", async || key_of(&keyfold, "ann").await.is_ok()).await;

    // More callers than the server has connections for: they take turns.
    let calls = (0..20_u32).map(|n| {
        let keyfold = keyfold.clone();
        async move {
            let user = format!("user_{n}");
            save(&keyfold, &user, n).await?;
            key_of(&keyfold, &user).await
        }
    });
    for (n, outcome) in (0..).zip(in_time(futures_util::future::join_all(calls)).await) {
        assert_eq!(outcome.unwrap(), example_key("gemini", n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_their_successors_stay_within_twenty_connections() {
    let server =
        PostgresServer::start(&["fsync=off", "max_connections=20", "superuser_reserved_connections=0"]);
    let production = Production::on(server.empty_database().await).await;
    let mut replicas = vec![];
    for _ in 0..4 {
        let keyfold = production.open().await;
        listening(&keyfold).await;
        replicas.push(keyfold);
    }
    let calls = (0..200_u32).map(|n| {
        let keyfold = replicas[usize::try_from(n).unwrap() % 4].clone();
        async move { save(&keyfold, &format!("user_{n}"), n).await }
    });
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(code(&outcome), "none");
    }
    for keyfold in &replicas {
        let state = keyfold.pool_state().unwrap();
        assert!(state.open <= 4 && state.most == 4, "{state:?}");
        assert!(keyfold.cache_state().unwrap().listening);
    }
}

/// Slower than the limit for any one of them, taken together.
#[tokio::test(flavor = "multi_thread")]
async fn callers_behind_many_others_are_served_while_the_server_answers() {
    let server = PostgresServer::start(&["fsync=off"]);
    let production = Production::on(server.empty_database().await).await;
    let keyfold = production.open().await;
    let (_, name) = production.database.rsplit_once('/').unwrap();
    let admin = server.connect(name).await;
    // 4 connections, 50 ms for each of 320 changes: 4 seconds, where one caller waits 2.7 at most for a silent server.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$; \
                CREATE TRIGGER slow BEFORE INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION slow()";
    admin.batch_execute(slow).await.unwrap();
    let calls = (0..320_u32).map(|n| {
        let keyfold = keyfold.clone();
        async move { save(&keyfold, &format!("user_{n}"), n).await }
    });
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(code(&outcome), "none");
    }
}
