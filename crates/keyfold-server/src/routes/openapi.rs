//! The description of the API, for programs.

use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::router::description;

pub(crate) async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| description().to_pretty_json().unwrap_or_default());
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.as_str()).into_response()
}
