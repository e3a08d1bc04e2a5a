//! `/healthz`, `/readyz`

use serde_json::json;

use crate::support::Local;

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
