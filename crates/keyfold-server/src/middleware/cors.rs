//! Pages of other origins (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>): those in
//! `KEYFOLD_ALLOWED_ORIGINS`, and the public address. Never with cookies.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use keyfold::gateway;

use crate::app::App;
use crate::problem::Problem;

/// What a browser may send, and for how many seconds it may remember that.
const ANSWER_TO_PREFLIGHT: [(HeaderName, &str); 4] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-request-id"),
    (ACCESS_CONTROL_MAX_AGE, "600"),
    (VARY, "origin, access-control-request-method, access-control-request-headers"),
];

/// The same for the gateway, where client libraries have headers of their own: it says those that were asked for.
const GATEWAY_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// The longest list of them.
const LONGEST_LIST: usize = 2048;

/// What a page may read besides the body.
const EXPOSED: &str =
    "keyfold-error, keyfold-request-id, ratelimit, ratelimit-policy, request-id, retry-after, x-request-id";

/// Lets allowed pages read every answer, problems too; tells caches that answers depend on the asking page.
pub(crate) async fn share_with_allowed_origins(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let origin = allowed_origin(&app, request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let is_said = headers.get_all(VARY).iter().any(|vary| vary.as_bytes().starts_with(b"origin"));
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

/// Answers the question that a browser asks before the request itself. It carries no credential.
pub(crate) async fn answer_preflight(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_preflight = request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return next.run(request).await;
    }
    if allowed_origin(&app, headers).is_none() {
        return Problem::new(
            "forbidden",
            "This page's origin may not call Keyfold. If it is yours, the operator lists it in KEYFOLD_ALLOWED_ORIGINS.",
        )
        .into_response();
    }
    let answer = ANSWER_TO_PREFLIGHT.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let mut answer = HeaderMap::from_iter(answer);
    if request.uri().path().starts_with(gateway::PREFIX) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(GATEWAY_METHODS));
        if let Some(asked) =
            headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| is_list_of_names(asked))
        {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    (StatusCode::OK, answer).into_response()
}

fn is_list_of_names(value: &HeaderValue) -> bool {
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b',' | b' ');
    !value.is_empty() && value.len() <= LONGEST_LIST && value.as_bytes().iter().all(is_of_a_name)
}

/// The one origin that the request names, if it is one of those that may call; `null` never is.
fn allowed_origin(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut named = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (named.next(), named.next()) else { return None };
    app.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}
