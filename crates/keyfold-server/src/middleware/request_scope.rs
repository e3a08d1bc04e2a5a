//! The request id, the one log line per request, and the bodies of problems.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Uri};
use keyfold::gateway::PREFIX;
use keyfold::mode::Mode;
use keyfold::provider::ErrorShape;
use keyfold::provider::key_shape::is_somebodys_key;
use keyfold::user::UserId;

use crate::app::App;
use crate::caller::{Caller, ProvidersAnswer, RequestId};
use crate::metrics::known_method;
use crate::problem::Problem;
use crate::rate_limit::{RATE_LIMIT, write_headers};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Keyfold's id beside an answer of a provider, which has one of its own.
pub(crate) const KEYFOLD_REQUEST_ID: HeaderName = HeaderName::from_static("keyfold-request-id");
const LONGEST_ID: usize = 128;

pub(crate) async fn request_scope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = now();
    let own = request.headers().get(REQUEST_ID).and_then(|id| callers_own(&app, id.as_bytes()));
    let is_callers_own = own.is_some();
    let id: Arc<str> = own.map_or_else(|| app.request_ids.make(), Arc::from);
    let provider = provider_of(request.uri()).map(str::to_owned);
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let caller = Caller::of(request.extensions(), request.headers(), &app.trusted_proxies);
    request.extensions_mut().insert(caller.clone());
    let method = request.method().clone();
    // The template of the path, never the path: somebody may paste a key into an address.
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();

    let mut response = next.run(request).await;

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let written = match &provider {
            Some(provider) => problem.respond_on_gateway(&id, shape_of(&app, provider)),
            None => problem.respond(&id),
        };
        let (parts, body) = written.into_parts();
        for (name, value) in &parts.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        *response.status_mut() = parts.status;
        *response.body_mut() = body;
    }
    let is_providers = response.extensions().get::<ProvidersAnswer>().is_some();
    let headers = response.headers_mut();
    if !is_providers || !headers.contains_key(RATE_LIMIT) {
        write_headers(&caller, headers);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        if is_providers {
            headers.insert(KEYFOLD_REQUEST_ID, value.clone());
        }
        // A provider's own is what its support asks for.
        if !is_providers || is_callers_own || !headers.contains_key(REQUEST_ID) {
            headers.insert(REQUEST_ID, value);
        }
    }
    let status = response.status().as_u16();
    let duration = begun.elapsed();
    app.metrics.request(&method, &route, status, duration);
    let line = RequestLine {
        id: &id,
        method: known_method(&method),
        route: &route,
        status,
        duration,
        client: caller.address,
        user: caller.user(),
        service: caller.service(),
        problem: problem.as_ref(),
    };
    line.write(is_providers && app.keyfold.mode() == Mode::Production);
    response
}

/// A measured duration only: nothing is decided by it.
fn now() -> Instant {
    Instant::now()
}

/// The one line of the log about a request.
pub(crate) struct RequestLine<'a> {
    pub(crate) id: &'a str,
    pub(crate) method: &'static str,
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) duration: Duration,
    pub(crate) client: Option<IpAddr>,
    pub(crate) user: Option<&'a UserId>,
    pub(crate) service: Option<&'a str>,
    pub(crate) problem: Option<&'a Problem>,
}

impl RequestLine<'_> {
    /// Calls that went well stand in the audit log: on a busy gateway, a line for each would be most of its work.
    pub(crate) fn write(&self, is_a_call: bool) {
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(
                    target: "keyfold::request",
                    request_id = self.id,
                    method = self.method,
                    route = self.route,
                    status = self.status,
                    duration_ms = self.duration.as_secs_f64() * 1000.0,
                    client = self.client.map(tracing::field::display),
                    user = self.user.map(UserId::as_str),
                    service = self.service,
                    code = self.problem.map(Problem::code),
                    cause = self.problem.filter(|_| self.status >= 500).and_then(Problem::cause),
                    "request"
                )
            };
        }
        if is_a_call && self.status < 400 { write_at!(debug) } else { write_at!(info) }
    }
}

/// Whose answers an error on the gateway is to look like.
pub(crate) fn shape_of(app: &App, provider: &str) -> ErrorShape {
    app.keyfold.registry().get(provider).map_or_else(ErrorShape::default, |provider| provider.errors)
}

/// The provider that an address of the gateway names, whether or not there is one.
fn provider_of(uri: &Uri) -> Option<&str> {
    uri.path().strip_prefix(PREFIX)?.split('/').next()
}

/// 1 to 128 letters, digits and `. _ -`, and not certainly a key: the id is logged and sent back.
pub(crate) fn callers_own<'a>(app: &App, id: &'a [u8]) -> Option<&'a str> {
    let id = std::str::from_utf8(id).ok()?;
    let sane = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !is_somebodys_key(app.keyfold.registry(), id);
    sane.then_some(id)
}
