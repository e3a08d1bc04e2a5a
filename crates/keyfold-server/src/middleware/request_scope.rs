//! The request id, the one log line per request, and the bodies of problems.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue};
use keyfold::clock::random_bytes;
use keyfold::provider::key_shape::is_somebodys_key;
use keyfold::user::UserId;

use crate::app::App;
use crate::caller::{Caller, RequestId};
use crate::metrics::known_method;
use crate::problem::Problem;
use crate::rate_limit::write_headers;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_ID: usize = 128;

pub(crate) async fn request_scope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = now();
    let id: Arc<str> = callers_own(&app, &request).unwrap_or_else(|| made(&app)).into();
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let caller = Caller::of(request.extensions(), request.headers(), &app.trusted_proxies);
    request.extensions_mut().insert(caller.clone());
    let method = request.method().clone();
    // The template of the path, never the path: somebody may paste a key into an address.
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();

    let mut response = next.run(request).await;

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let written = problem.respond(&id);
        let (parts, body) = written.into_parts();
        for (name, value) in &parts.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        *response.status_mut() = parts.status;
        *response.body_mut() = body;
    }
    write_headers(&caller, response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let duration = begun.elapsed();
    app.metrics.request(&method, &route, status, duration);
    tracing::info!(
        target: "keyfold::request",
        request_id = &*id,
        method = known_method(&method),
        route,
        status,
        duration_ms = duration.as_secs_f64() * 1000.0,
        client = caller.address.map(tracing::field::display),
        user = caller.user().map(UserId::as_str),
        service = caller.service(),
        code = problem.as_ref().map(Problem::code),
        cause = problem.as_ref().filter(|_| status >= 500).and_then(Problem::cause),
        "request"
    );
    response
}

/// A measured duration only: nothing is decided by it.
fn now() -> Instant {
    Instant::now()
}

/// 1 to 128 letters, digits and `. _ -`, and not certainly a key: the id is logged and sent back.
fn callers_own(app: &App, request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let sane = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !is_somebodys_key(app.keyfold.registry(), id);
    sane.then(|| id.to_owned())
}

fn made(app: &App) -> String {
    random_bytes::<12>(&*app.random).map_or_else(|_| "unknown".into(), |bytes| HEXLOWER.encode(&bytes))
}
