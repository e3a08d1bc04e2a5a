//! Requests with too much in their headers, and those whose headers cannot be read.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::serve::Unreadable;

/// The most that all header names and values may have together, in bytes.
pub(crate) const MOST_BYTES: usize = 32 * 1024;
/// The most headers.
pub(crate) const MOST_HEADERS: usize = 100;
/// The longest request target, in bytes.
pub(crate) const LONGEST_TARGET: usize = 16 * 1024;

pub(crate) async fn header_limit(request: Request, next: Next) -> Response {
    if let Some(Unreadable(status)) = request.extensions().get() {
        return Problem::unreadable(*status).into_response();
    }
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let target = request.uri().path().len() + request.uri().query().map_or(0, str::len);
    if size > MOST_BYTES || headers.len() > MOST_HEADERS || target > LONGEST_TARGET {
        return Problem::new(
            "headers_too_large",
            "The request's address or headers are too large: at most 16 KiB of address, 100 headers and 32 KiB of headers are taken.",
        )
        .into_response();
    }
    next.run(request).await
}
