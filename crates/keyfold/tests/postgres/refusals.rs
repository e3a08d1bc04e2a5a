//! The server is there and does not do what it is asked.

use keyfold_standin::example_key;
use keyfold_test_servers::{PostgresServer, SqlClient};

use crate::setup::{Production, code, in_time, key_of, listening, save, soon};

/// A replica on a database of its own, and the database's name.
async fn production() -> (Production, String) {
    let server = PostgresServer::shared();
    let name = server.new_database().await;
    (Production::on(server.address_of(&name)).await, name)
}

/// Returns when the server has let go of them; the replica notices when it next uses one.
async fn end_connections(sql: &SqlClient, database: &str) {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = $1 AND application_name = 'keyfold'";
    sql.query(end, &[&database]).await.unwrap();
}

/// How many of Keyfold's statements the server is still at.
async fn at_work(sql: &SqlClient, database: &str) -> i64 {
    let active = "SELECT COUNT(*) FROM pg_stat_activity \
                  WHERE datname = $1 AND application_name = 'keyfold' AND wait_event_type = 'Lock'";
    sql.query_one(active, &[&database]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_read_only_database_is_read_and_takes_changes_again_by_itself() {
    let (production, name) = production().await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    let sql = PostgresServer::shared().connect("postgres").await;
    let set = async |value: &str| {
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
        sql.batch_execute(&set).await.unwrap();
    };
    set("on").await;
    end_connections(&sql, &name).await;

    // A change whose connection is found dead is not tried again, so the first one may hear of that instead.
    soon("no old connection is used any more", async || {
        let refused = save(&keyfold, "ann", 2).await.err().unwrap();
        assert_eq!(refused.code(), "database_unavailable");
        refused.cause().contains("read-only")
    })
    .await;
    for user in ["ann", "bob"] {
        let refused = save(&keyfold, user, 2).await.err().unwrap();
        assert_eq!(refused.code(), "database_unavailable");
        assert!(refused.to_string().contains("cannot be written at the moment"), "{refused}");
        assert!(refused.cause().contains("read-only"), "{}", refused.cause());
    }
    let keys = keyfold.user_api_keys("ann").await.unwrap();
    let gemini = keyfold.provider("gemini").unwrap();
    assert_eq!(code(&keys.remove(&gemini).await), "database_unavailable");
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    // Another replica starts, too: there is nothing that it would have to write.
    let another = production.open().await;
    assert_eq!(key_of(&another, "ann").await.unwrap(), example_key("gemini", 1));

    set("off").await;
    soon("changes are taken again", async || save(&keyfold, "ann", 3).await.is_ok()).await;
    soon("changes are taken again", async || save(&another, "ann", 4).await.is_ok()).await;
}

#[tokio::test]
async fn with_a_full_disk_nothing_is_saved_and_what_was_stays() {
    let (production, name) = production().await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    let sql = PostgresServer::shared().connect(&name).await;
    // The server's own error, without a disk of its own to fill.
    sql.batch_execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
        END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON api_keys EXECUTE FUNCTION full_disk()",
    )
    .await
    .unwrap();
    for user in ["ann", "bob"] {
        let refused = save(&keyfold, user, 2).await.err().unwrap();
        assert_eq!(refused.code(), "database_unavailable");
        assert!(refused.to_string().contains("disk that holds Keyfold's database is full"), "{refused}");
    }
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    let left: i64 = sql.query_one("SELECT COUNT(*) FROM api_keys", &[]).await.unwrap().get(0);
    let users: i64 = sql.query_one("SELECT COUNT(*) FROM onboarding_sessions", &[]).await.unwrap().get(0);
    assert_eq!((left, users), (1, 1), "not even a session of bob is left");
    sql.batch_execute("DROP TRIGGER full_disk ON api_keys").await.unwrap();
    save(&keyfold, "ann", 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_hangs_ends_in_time_here_and_on_the_server() {
    let (production, name) = production().await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    save(&keyfold, "bob", 1).await.unwrap();
    let server = PostgresServer::shared();
    let (sql, other) = (server.connect("postgres").await, server.connect(&name).await);
    other
        .batch_execute("BEGIN; SELECT * FROM onboarding_sessions WHERE user_id = 'ann' FOR UPDATE")
        .await
        .unwrap();

    let outcomes = in_time(futures_util::future::join_all((0..3).map(|_| save(&keyfold, "ann", 2)))).await;
    for outcome in outcomes {
        assert_eq!(code(&outcome), "database_unavailable");
    }
    soon("the server works for nobody any more", async || at_work(&sql, &name).await == 0).await;
    save(&keyfold, "bob", 2).await.unwrap();
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1), "nothing came late");
    save(&keyfold, "ann", 3).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_hang_end_in_time_here_and_on_the_server() {
    let (production, name) = production().await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    // From now on statements are prepared.
    listening(&keyfold).await;
    let server = PostgresServer::shared();
    let (sql, other) = (server.connect("postgres").await, server.connect(&name).await);
    other.batch_execute("BEGIN; LOCK TABLE onboarding_sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // More than there are connections: the rest waits for one, and no longer than the others.
    let look = |n: u32| {
        let keyfold = keyfold.clone();
        async move { key_of(&keyfold, &format!("user_{n}")).await }
    };
    for outcome in in_time(futures_util::future::join_all((0..20).map(look))).await {
        assert_eq!(code(&outcome), "database_unavailable");
    }
    soon("the server works for nobody any more", async || at_work(&sql, &name).await == 0).await;

    // Callers who leave, leave nothing behind either.
    for n in 0..6 {
        let leaving = tokio::spawn(look(n));
        soon("the server is at it", async || at_work(&sql, &name).await > 0).await;
        leaving.abort();
    }
    soon("the server works for nobody any more", async || at_work(&sql, &name).await == 0).await;

    other.batch_execute("ROLLBACK").await.unwrap();
    soon("no connection is held up", async || {
        let state = keyfold.pool_state().unwrap();
        state.waiting == 0 && state.idle == state.open
    })
    .await;
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));
    for outcome in futures_util::future::join_all((0..20).map(look)).await {
        assert_eq!(code(&outcome), "no_api_key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_leave_in_the_middle_of_a_change_leave_a_usable_connection() {
    let (production, name) = production().await;
    let keyfold = production.open().await;
    let sql = PostgresServer::shared().connect("postgres").await;
    let backends =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'keyfold'";
    for n in 0..200_u32 {
        let user = format!("user_{}", n % 7);
        let leaving = async {
            // At another point each time.
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = save(&keyfold, &user, n) => {}
            () = leaving => {}
        }
    }
    save(&keyfold, "ann", 1).await.unwrap();
    for n in 0..7 {
        let user = format!("user_{n}");
        let found = key_of(&keyfold, &user).await;
        assert!(["none", "no_api_key"].contains(&code(&found)), "{found:?}");
        soon("it can be saved", async || save(&keyfold, &user, 1000).await.is_ok()).await;
        assert_eq!(key_of(&keyfold, &user).await.unwrap(), example_key("gemini", 1000));
    }
    let open: i64 = sql.query_one(backends, &[&name]).await.unwrap().get(0);
    let most = keyfold.pool_state().unwrap().most;
    assert!(usize::try_from(open).unwrap() <= most + 1, "{open} connections for {most} and the listener");
}

#[tokio::test]
async fn a_schema_of_a_newer_keyfold_is_refused_and_stays_as_it_is() {
    let (production, name) = production().await;
    production.open().await.close().await;
    let sql = PostgresServer::shared().connect(&name).await;
    sql.batch_execute("INSERT INTO keyfold_schema (version, name) VALUES (999, 'later')").await.unwrap();
    let refused = production.open_with(&[]).await.err().unwrap();
    assert_eq!(refused.code(), "cannot_start");
    assert!(refused.to_string().contains("schema version 999"), "{refused}");
    assert!(refused.to_string().contains("at least as new"), "{refused}");
    let rows: i64 =
        sql.query_one("SELECT MAX(version)::BIGINT FROM keyfold_schema", &[]).await.unwrap().get(0);
    assert_eq!(rows, 999);
}

#[tokio::test]
async fn tables_of_another_program_are_refused_and_stay_as_they_are() {
    let (production, name) = production().await;
    let sql = PostgresServer::shared().connect(&name).await;
    sql.batch_execute("CREATE TABLE api_keys (id INTEGER)").await.unwrap();
    let refused = production.open_with(&[]).await.err().unwrap();
    assert_eq!(refused.code(), "cannot_start");
    assert!(refused.to_string().contains("`api_keys`"), "{refused}");
    let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(sql.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn user_ids_that_cannot_be_are_refused_before_the_database_is_asked() {
    let (production, _) = production().await;
    let keyfold = production.open().await;
    let long = "u".repeat(300);
    for impossible in ["", "a\0b", "a\nb", long.as_str()] {
        let refused = keyfold.user_api_keys(impossible).await.err().unwrap();
        assert_eq!(refused.code(), "invalid_request", "{refused}");
    }
    let longest = "ü".repeat(255);
    save(&keyfold, &longest, 1).await.unwrap();
    assert_eq!(key_of(&keyfold, &longest).await.unwrap(), example_key("gemini", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_is_really_full_keys_are_read_and_saved_again_once_there_is_room() {
    let server = PostgresServer::start(&["fsync=off"]);
    let Some(disk) = server.small_disk() else {
        eprintln!("NOT TESTED: a full disk, for want of the right to mount one; run as root");
        return;
    };
    let admin = server.connect("postgres").await;
    let tables = disk.join("tables").display().to_string();
    admin.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{tables}'")).await.unwrap();
    admin.batch_execute("CREATE DATABASE on_small TABLESPACE small").await.unwrap();
    let production = Production::on(server.address_of("on_small")).await;
    let keyfold = production.open().await;
    save(&keyfold, "ann", 1).await.unwrap();
    // Fills what is left; the last write finds no room.
    let junk = disk.join("junk");
    let filled = std::fs::write(&junk, vec![7; 24 << 20]).err().unwrap();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);

    // Pages that are there have room for some more.
    let mut refused = None;
    for n in 0..500 {
        refused = save(&keyfold, &format!("user_{n}"), n).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), "database_unavailable");
    assert!(refused.to_string().contains("disk that holds Keyfold's database is full"), "{refused}");
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 1));

    std::fs::remove_file(&junk).unwrap();
    save(&keyfold, "bob", 2).await.unwrap();
    assert_eq!(key_of(&keyfold, "bob").await.unwrap(), example_key("gemini", 2));
}
