//! Users' keys for backend services that call providers themselves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use keyfold::service_tokens::ReleasedKeys;
use keyfold::user::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::current_service::CurrentService;
use crate::json_body::PathPart;
use crate::problem::Problem;

#[derive(Serialize, ToSchema)]
#[schema(as = ServiceKeys)]
struct Keys<'a> {
    /// Each provider's id with the key in plain text.
    keys: BTreeMap<&'a str, &'a str>,
}

/// All keys of a user that the token is for, in plain text.
#[utoipa::path(get, path = "/api/service/users/{user_id}/keys", operation_id = "readKeysOfUser", tag = "service", params(
    ("user_id" = String, Path, description = "the user's id, percent-encoded")
), responses(
    (status = 200, body = Keys<'_>, description = "done, and in the audit log"),
    (status = 403, description = "`forbidden`, `user_suspended`"),
    (status = 410, description = "`user_deleted`"),
    (status = 500, description = "`key_unreadable`: one of them does not open, so none is given; ask for the others one by one"),
    (status = 503, description = "`audit_unavailable`, `master_key_unavailable`")
))]
pub(crate) async fn keys(
    State(app): State<App>,
    CurrentService(service): CurrentService,
    PathPart(user): PathPart<String>,
) -> Result<Response, Problem> {
    let released = app.keyfold.service_tokens().release(&service, &parse(&user)?, None).await?;
    Ok(answer(&released))
}

/// One key of a user, in plain text.
#[utoipa::path(get, path = "/api/service/users/{user_id}/keys/{provider}", operation_id = "readKeyOfUser", tag = "service", params(
    ("user_id" = String, Path, description = "the user's id, percent-encoded"),
    ("provider" = String, Path, description = "the provider's id")
), responses(
    (status = 200, body = Keys<'_>, description = "done, and in the audit log"),
    (status = 403, description = "`forbidden`, `user_suspended`"),
    (status = 404, description = "`no_api_key`, `unknown_provider`"),
    (status = 410, description = "`user_deleted`"),
    (status = 500, description = "`key_unreadable`"),
    (status = 503, description = "`audit_unavailable`, `master_key_unavailable`")
))]
pub(crate) async fn key(
    State(app): State<App>,
    CurrentService(service): CurrentService,
    PathPart((user, provider)): PathPart<(String, String)>,
) -> Result<Response, Problem> {
    let user = parse(&user)?;
    let provider = app.keyfold.provider(&provider)?;
    let released = app.keyfold.service_tokens().release(&service, &user, Some(&provider)).await?;
    Ok(answer(&released))
}

fn parse(user: &str) -> Result<UserId, Problem> {
    UserId::parse(user).map_err(|why| Problem::invalid_request("user_id", why.to_string()))
}

#[expect(clippy::disallowed_methods, reason = "the service asked for them, and the audit log has it")]
fn answer(released: &ReleasedKeys) -> Response {
    let keys = released.iter().map(|(provider, key)| (provider.as_str(), key.expose())).collect();
    let mut response = Json(Keys { keys }).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
