//! The description of the API, for programs.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

/// The description as the router made it.
pub(crate) fn openapi(description: &Arc<str>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], description.to_string()).into_response()
}
