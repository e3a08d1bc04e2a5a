//! The one way for a handler to learn who is calling: take [`CurrentUser`], which only a check can make.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use keyfold::auth::AuthenticatedUser;
use keyfold::auth::local::{LocalRefusal, RequestOrigin};
use keyfold::limit::Class;
use keyfold::mode::Mode;

use crate::app::App;
use crate::caller::{Caller, RequestId};
use crate::current_service::{is_service_token, not_a_user, refuse_in_address};
use crate::problem::Problem;
use crate::rate_limit;
use crate::web::is_page;

/// The cookie that stands for a local token that was shown once.
pub(crate) const SESSION_COOKIE: &str = "keyfold_session";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// A caller whose identity was checked for this request.
pub(crate) struct CurrentUser(pub(crate) AuthenticatedUser);

impl FromRequestParts<App> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let user = match identify(parts, app).await {
            Err(problem) if problem.code() == "unauthenticated" => {
                return Err(rate_limit::of_stranger(app, parts, problem).await);
            }
            identified => identified?,
        };
        let mut address = None;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.note_user(user.user());
            address = caller.address;
        }
        let request_id =
            parts.extensions.get::<RequestId>().map_or_else(Arc::default, |id| Arc::clone(&id.0));
        Ok(Self(user.in_request(request_id, address)))
    }
}

/// What a route's requests are counted by.
pub(crate) trait CountedBy {
    const CLASS: Class;
}

/// The limit of saving and checking keys.
pub(crate) enum ByKeys {}
/// The limit of generate and research.
pub(crate) enum ByGenerate {}

impl CountedBy for ByKeys {
    const CLASS: Class = Class::Keys;
}

impl CountedBy for ByGenerate {
    const CLASS: Class = Class::Generate;
}

/// The same as [`CurrentUser`], and the request was within the user's limit. Its body was not read before.
pub(crate) struct CountedUser<L>(pub(crate) AuthenticatedUser, pub(crate) PhantomData<L>);

impl<L: CountedBy> FromRequestParts<App> for CountedUser<L> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let CurrentUser(user) = CurrentUser::from_request_parts(parts, app).await?;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            rate_limit::count(app, caller, &user, L::CLASS, 1).await?;
        }
        Ok(Self(user, PhantomData))
    }
}

async fn identify(parts: &Parts, app: &App) -> Result<AuthenticatedUser, Problem> {
    refuse_services(parts)?;
    match app.keyfold.mode() {
        Mode::Local => local_user(parts, app).await,
        Mode::Production => verified_user(parts, app).await,
    }
}

/// A service token is no user's, in local mode neither.
fn refuse_services(parts: &Parts) -> Result<(), Problem> {
    refuse_in_address(&parts.uri)?;
    let values = parts.headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
    match values.filter_map(bearer).find(|token| is_service_token(token)) {
        Some(token) => Err(not_a_user(token)),
        None => Ok(()),
    }
}

/// Whoever the guard admits is the one user; who shows a token all the same is that token's user.
async fn local_user(parts: &Parts, app: &App) -> Result<AuthenticatedUser, Problem> {
    let admitted = app.guard.admit(&request_origin(parts)).map_err(refusal)?;
    let shows_token = parts.headers.get_all(AUTHORIZATION).iter().any(|value| {
        value.to_str().map_or(true, |value| looks_like_a_token(bearer(value).unwrap_or(value.trim())))
    });
    let is_local_token = || {
        once(&parts.headers, &AUTHORIZATION).and_then(bearer).is_some_and(|token| app.guard.is_token(token))
    };
    // Whoever configured an issuer means its tokens to be checked.
    if app.verifier.is_some() && shows_token && !is_local_token() {
        return verified_user(parts, app).await;
    }
    Ok(AuthenticatedUser::of_local_access(&admitted))
}

/// The user of the bearer token (RFC 6750, section 2.1).
async fn verified_user(parts: &Parts, app: &App) -> Result<AuthenticatedUser, Problem> {
    verify(app, bearer_token(&parts.headers)?).await
}

/// The user of this token.
pub(crate) async fn verify(app: &App, token: &str) -> Result<AuthenticatedUser, Problem> {
    let verifier = app.verifier.as_ref().ok_or_else(|| Problem::internal("no token issuer is configured"))?;
    let token = verifier.verify(token).await.map_err(|refusal| match app.keyfold.mode() {
        // Whoever took this for a bad token would sign its user out.
        Mode::Production if refusal.is_unavailable() => Problem::issuer_unavailable(refusal),
        _ => Problem::invalid_token(refusal),
    });
    Ok(token?.user().clone())
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, Problem> {
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Err(Problem::unauthenticated(
            "The request has more than one Authorization header. Send exactly one.",
        ));
    }
    let token = once(headers, &AUTHORIZATION).and_then(bearer).filter(|token| !token.is_empty());
    token.ok_or_else(|| {
        Problem::unauthenticated(
            "Sign in: send your token as a bearer token, in a header of the form `Authorization: Bearer …`.",
        )
    })
}

/// What the request says of where it comes from. A header that is there twice counts as wrong.
pub(crate) fn request_origin(parts: &Parts) -> RequestOrigin<'_> {
    let headers = &parts.headers;
    let navigates = parts.method == Method::GET
        && once(headers, &SEC_FETCH_MODE) == Some("navigate")
        && once(headers, &SEC_FETCH_DEST) == Some("document")
        && !headers.contains_key(ORIGIN);
    RequestOrigin {
        host: match parts.uri.authority() {
            Some(authority)
                if headers.contains_key(HOST) && once(headers, &HOST) != Some(authority.as_str()) =>
            {
                None
            }
            Some(authority) => Some(authority.as_str()),
            None => once(headers, &HOST),
        },
        origin: headers.contains_key(ORIGIN).then(|| once(headers, &ORIGIN).unwrap_or("")),
        fetch_site: headers
            .contains_key(SEC_FETCH_SITE)
            .then(|| once(headers, &SEC_FETCH_SITE).unwrap_or("")),
        is_page_navigation: navigates && is_page(parts.uri.path()),
        bearer: once(headers, &AUTHORIZATION).and_then(bearer),
        session: cookie(headers, SESSION_COOKIE),
    }
}

/// How a refusal of the guard is told.
pub(crate) fn refusal(refusal: LocalRefusal) -> Problem {
    match refusal {
        LocalRefusal::Token => Problem::unauthenticated(refusal.to_string()),
        _ => Problem::new("forbidden", refusal.to_string()),
    }
}

fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The token of an `Authorization` header's value, if it is one.
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A signed or encrypted token (RFC 7519).
pub(crate) fn looks_like_a_token(credential: &str) -> bool {
    credential.starts_with("ey") && credential.matches('.').count() >= 2
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}
