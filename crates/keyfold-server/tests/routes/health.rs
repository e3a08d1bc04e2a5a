//! `/healthz`, `/readyz`

use keyfold_test_servers::PostgresServer;
use serde_json::json;

use crate::support::Local;
use crate::support::production::Production;

#[tokio::test]
async fn a_running_keyfold_is_alive_and_ready() {
    let local = Local::start().await;
    assert_eq!(local.get("/healthz").await.ok(), json!({ "status": "ok" }));
    assert_eq!(local.get("/readyz").await.ok(), json!({ "status": "ready" }));
}

#[tokio::test]
async fn a_broken_env_file_does_not_make_it_unready() {
    let local = Local::start().await;
    local.write(".env", "not an assignment\n");
    assert_eq!(local.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn without_its_database_it_is_alive_and_not_ready_and_recovers_by_itself() {
    let server = PostgresServer::start(&["fsync=off"]);
    let production = Production::with("DATABASE_URL", &server.empty_database().await).start().await;
    assert_eq!(production.get("/readyz").await.ok(), json!({ "status": "ready" }));
    server.stop();
    let answer = production.get("/readyz").await;
    answer.problem(503, "database_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(production.get("/healthz").await.ok(), json!({ "status": "ok" }));
    server.start_again();
    assert_eq!(production.get("/readyz").await.ok(), json!({ "status": "ready" }));
}

#[tokio::test]
async fn with_another_database_in_the_place_of_its_own_it_is_not_ready() {
    let production = Production::start().await;
    production.sql().await.batch_execute("DELETE FROM root_secrets").await.unwrap();
    let answer = production.get("/readyz").await;
    answer.problem(503, "master_key_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(production.get("/healthz").await.status, 200);
}
