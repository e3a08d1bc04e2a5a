//! The pages that come with the program: the overview at `/` and the description of the API at `/docs`.

use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

/// The pages that a link elsewhere may lead to.
pub(crate) const PAGES: [&str; 2] = ["/", "/docs"];

/// A page loads its own style, script and data, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(crate) async fn overview() -> Response {
    page(include_str!("../../../frontend/index.html"))
}

pub(crate) async fn docs() -> Response {
    page(include_str!("../../../frontend/docs.html"))
}

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../../../frontend/page.css"))
}

pub(crate) async fn overview_script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../../frontend/overview.js"))
}

pub(crate) async fn docs_script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../../frontend/docs.js"))
}

fn page(html: &'static str) -> Response {
    ([policy()], Html(html)).into_response()
}

fn policy() -> (HeaderName, HeaderValue) {
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        // Asked for anew each time, and small: a new binary shows at once.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}
