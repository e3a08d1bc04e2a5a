//! The one way for a handler to learn who is calling: take [`CurrentUser`], which only a check can make.

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyfold::auth::AuthenticatedUser;
use keyfold::auth::local::{LocalRefusal, RequestOrigin};

use crate::app::App;
use crate::problem::Problem;
use crate::web::PAGES;

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
        let request = request_origin(parts);
        let admitted = app.guard.admit(&request).map_err(refusal)?;
        // Whoever configured an issuer means its tokens to be checked; this build cannot, so it refuses them.
        if app.issuer.is_some() && parts.headers.get_all(AUTHORIZATION).iter().any(looks_like_a_token) {
            return Err(Problem::unauthenticated(
                "This token cannot be verified by this build of Keyfold in local mode. Leave the Authorization header out, or remove the issuer's settings.",
            ));
        }
        Ok(Self(AuthenticatedUser::of_local_access(&admitted)))
    }
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
        is_page_navigation: navigates && PAGES.contains(&parts.uri.path()),
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

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A signed or encrypted token (RFC 7519), as a bearer or without any scheme.
fn looks_like_a_token(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return true };
    let token = bearer(value).unwrap_or(value.trim());
    token.starts_with("ey") && token.matches('.').count() >= 2
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
