//! What a page needs before anybody has signed in. Nothing secret.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use keyfold::auth::issuer::Issuer;
use keyfold::mode::Mode;
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
    /// Local mode: where saved keys go besides the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    env_files: Option<EnvFilePaths>,
}

/// The `.env` files of local mode.
#[derive(Serialize, ToSchema)]
pub(crate) struct EnvFilePaths {
    /// The back end's.
    backend: String,
    /// The front end's, which takes the keys that browsers need.
    #[serde(skip_serializing_if = "Option::is_none")]
    frontend: Option<String>,
}

/// How to sign in. Of the others only those are there that the kind needs.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct AuthConfig {
    /// `none`, `token`, `clerk` or `oidc`
    kind: &'static str,
    /// Clerk's publishable key
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
    /// The `OpenID` Connect issuer
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The client id that the page signs in with
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The audience to ask for
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
}

/// Mode, sign-in and onboarding.
#[utoipa::path(get, path = "/api/config", operation_id = "publicConfig", tag = "operations", responses((status = 200, body = PublicConfig, description = "done")))]
pub(crate) async fn config(State(app): State<App>) -> Json<PublicConfig> {
    let mode = app.keyfold.mode();
    let auth = match (mode, &app.issuer) {
        (Mode::Production, Some(issuer)) => of_issuer(issuer),
        _ if app.guard.has_token() => AuthConfig { kind: "token", ..AuthConfig::default() },
        _ => AuthConfig { kind: "none", ..AuthConfig::default() },
    };
    let shown = |path: &Path| path.display().to_string();
    let env_files = app
        .keyfold
        .env_files()
        .map(|(backend, frontend)| EnvFilePaths { backend: shown(backend), frontend: frontend.map(shown) });
    Json(PublicConfig { mode: mode.as_str(), auth, onboarding: app.keyfold.preset().as_str(), env_files })
}

fn of_issuer(issuer: &Issuer) -> AuthConfig {
    if issuer.is_clerk() {
        return AuthConfig {
            kind: "clerk",
            publishable_key: issuer.clerk_publishable_key.clone(),
            ..AuthConfig::default()
        };
    }
    AuthConfig {
        kind: "oidc",
        issuer: Some(issuer.issuer.clone()),
        client_id: issuer.client_id.clone(),
        audience: issuer.audience.clone(),
        ..AuthConfig::default()
    }
}
