//! Local mode's guard: where a request comes from, before anything else looks at it; and the local token.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode, Uri};
use url::form_urlencoded;

use crate::app::App;
use crate::current_user::{SESSION_COOKIE, refusal, request_origin};
use crate::problem::Problem;

/// Refuses requests that come from elsewhere.
pub(crate) async fn check_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match app.guard.check_origin(&request_origin(&parts)) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refusal(refused).into_response(),
    }
}

/// Refuses requests without the local token, if there is one. `?token=` is answered by a session cookie.
pub(crate) async fn check_token(State(app): State<App>, request: Request, next: Next) -> Response {
    if !app.guard.has_token() {
        return next.run(request).await;
    }
    if request.method() == Method::GET
        && let Some(token) = token_in_query(request.uri())
    {
        return if app.guard.is_token(&token) {
            start_session(&app, request.uri()).unwrap_or_else(IntoResponse::into_response)
        } else {
            Problem::unauthenticated("The token in this address is not the local token.").into_response()
        };
    }
    let (parts, body) = request.into_parts();
    match app.guard.admit(&request_origin(&parts)) {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refusal(refused).into_response(),
    }
}

fn token_in_query(uri: &Uri) -> Option<String> {
    form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(name, _)| name == "token")
        .map(|(_, value)| value.into_owned())
}

/// A redirect to the same address without the token, and the cookie that now stands for it.
fn start_session(app: &App, uri: &Uri) -> Result<Response, Problem> {
    let session =
        app.guard.start_session(&*app.random).map_err(|error| Problem::internal(error.to_string()))?;
    let rest = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .filter(|(name, _)| name != "token"),
        )
        .finish();
    // `//host` would lead elsewhere, and to browsers `\` is another `/`.
    let path = format!("/{}", uri.path().trim_start_matches(['/', '\\']));
    let location = if rest.is_empty() { path } else { format!("{path}?{rest}") };
    let cookie = format!("{SESSION_COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", *session);
    let header =
        |text: &str| HeaderValue::from_str(text).map_err(|error| Problem::internal(error.to_string()));
    let mut cookie = header(&cookie)?;
    cookie.set_sensitive(true);
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, header(&location)?);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
