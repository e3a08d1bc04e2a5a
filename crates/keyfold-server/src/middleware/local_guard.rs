//! Local mode's guard: where a request comes from, before anything else looks at it; and the local token.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode, Uri};
use keyfold::auth::local::LocalRefusal;
use keyfold::gateway;
use url::form_urlencoded;

use crate::app::App;
use crate::current_user::{SESSION_COOKIE, refusal, request_origin};
use crate::problem::Problem;
use crate::rate_limit::{before_a_guess, of_stranger};

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
    // On the gateway the token may stand wherever a client library puts a key, so its handler looks.
    if !app.guard.has_token() || request.uri().path().starts_with(gateway::PREFIX) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // People choose this token, so it can be guessed: who guessed too often is not even told whether it was right.
    let may_guess = before_a_guess(&app, &parts);
    if parts.method == Method::GET
        && let Some(token) = token_in_query(&parts.uri)
    {
        return match may_guess {
            Err(too_often) => too_often.into_response(),
            Ok(()) if app.guard.is_token(&token) => {
                start_session(&app, &parts.uri).unwrap_or_else(IntoResponse::into_response)
            }
            Ok(()) => {
                let wrong = Problem::unauthenticated("The token in this address is not the local token.");
                of_stranger(&app, &parts, wrong).await.into_response()
            }
        };
    }
    let mut origin = request_origin(&parts);
    if may_guess.is_err() {
        // A session is nothing that could be guessed.
        origin.bearer = None;
    }
    match (app.guard.admit(&origin), may_guess) {
        (Ok(_), _) => next.run(Request::from_parts(parts, body)).await,
        (Err(LocalRefusal::Token), Err(too_often)) => too_often.into_response(),
        (Err(refused @ LocalRefusal::Token), Ok(())) => {
            of_stranger(&app, &parts, refusal(refused)).await.into_response()
        }
        (Err(refused), _) => refusal(refused).into_response(),
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
