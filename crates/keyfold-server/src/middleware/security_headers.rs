//! What browsers are told about every answer.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use keyfold::mode::Mode;

use crate::app::App;
use crate::caller::Caller;

/// Headers that an answer gets unless its handler set them.
const DEFAULTS: [(HeaderName, &str); 8] = [
    // Answers are data: nothing in them is loaded or run.
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // For pages that embed an answer. Allowed origins read them with CORS, for which this does not count.
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// A year, which is what browsers' own lists ask for; for this host only, as others are not Keyfold's.
pub(crate) const STAY_WITH_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// The same as a whole line.
pub(crate) const STAY_WITH_HTTPS_LINE: &[u8] = b"strict-transport-security: max-age=31536000\r\n";

/// Whether browsers are told to use HTTPS only. Not in local mode: it would bind whatever else a developer serves under
/// this name.
pub(crate) fn stays_with_https(app: &App, came_over_https: bool) -> bool {
    app.keyfold.mode() == Mode::Production && (came_over_https || app.is_public_over_https)
}

pub(crate) async fn security_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let came_over_https = request.extensions().get::<Caller>().is_some_and(|caller| caller.came_over_https);
    let mut response = next.run(request).await;
    if stays_with_https(&app, came_over_https) {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, STAY_WITH_HTTPS);
    }
    for (name, value) in DEFAULTS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
