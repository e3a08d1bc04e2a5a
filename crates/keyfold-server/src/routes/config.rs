//! What a page needs before anybody has signed in. Nothing secret.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

#[derive(Serialize, ToSchema)]
pub(crate) struct PublicConfig {
    /// `local` or `production`
    mode: &'static str,
    auth: AuthConfig,
    /// `keyfold` or `alwrity`
    onboarding: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AuthConfig {
    /// `none` or `token`
    kind: &'static str,
}

/// Mode, sign-in and onboarding.
#[utoipa::path(get, path = "/api/config", operation_id = "publicConfig", tag = "operations", responses((status = 200, body = PublicConfig, description = "done")))]
pub(crate) async fn config(State(app): State<App>) -> Json<PublicConfig> {
    let kind = if app.guard.has_token() { "token" } else { "none" };
    Json(PublicConfig {
        mode: app.keyfold.mode().as_str(),
        auth: AuthConfig { kind },
        onboarding: app.keyfold.preset().as_str(),
    })
}
