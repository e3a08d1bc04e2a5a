//! Whether the process lives, and whether it can work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::Problem;

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "operations", responses((status = 200, body = Health, description = "done")))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The database answers, and it is the one whose master key Keyfold has.
#[utoipa::path(get, path = "/readyz", operation_id = "readiness", tag = "operations", responses(
    (status = 200, body = Health, description = "done"),
    (status = 503, description = "`database_unavailable`, `master_key_unavailable`")
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Problem> {
    app.keyfold.ready().await?;
    Ok(Json(Health { status: "ready" }))
}
