//! The one way for a handler to learn which backend service is calling: take [`CurrentService`], which only the check
//! of a service token can make.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use data_encoding::HEXLOWER_PERMISSIVE;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Uri};
use keyfold::secret::SERVICE_TOKEN_PREFIX;
use keyfold::service_tokens::{AuthenticatedService, ServiceRefusal, is_well_formed};
use keyfold::user::UserId;
use url::form_urlencoded;

use crate::app::App;
use crate::caller::{Caller, RequestId};
use crate::problem::Problem;
use crate::rate_limit;

/// For whom a service asks, where the address does not say it: the user's id, percent-encoded as in an address.
pub(crate) const KEYFOLD_USER: HeaderName = HeaderName::from_static("keyfold-user");

/// ASCII, as everything in a challenge.
const NO_SERVICE_TOKEN: &str = "This is for backend services, and takes a service token. It begins with kfs_; `keyfold token create` makes one.";
const WITHOUT_TOKEN: &str = "This is for backend services: send a service token as a bearer token, in a header of the form `Authorization: Bearer kfs_…`. `keyfold token create` makes one.";

/// A backend service whose token was checked for this request.
pub(crate) struct CurrentService(pub(crate) AuthenticatedService);

impl FromRequestParts<App> for CurrentService {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let service = match identify(parts, app).await {
            Err(problem) if problem.code() == "unauthenticated" => {
                return Err(rate_limit::of_stranger(app, parts, problem).await);
            }
            identified => identified?,
        };
        let mut address = None;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            caller.note_service(service.name());
            rate_limit::count_service(app, caller, &service).await?;
            address = caller.address;
        }
        let request_id =
            parts.extensions.get::<RequestId>().map_or_else(Arc::default, |id| Arc::clone(&id.0));
        Ok(Self(service.in_request(request_id, address)))
    }
}

async fn identify(parts: &Parts, app: &App) -> Result<AuthenticatedService, Problem> {
    refuse_in_address(&parts.uri)?;
    authenticate(app, bearer(&parts.headers)?).await
}

/// The service that has this token.
pub(crate) async fn authenticate(app: &App, token: &str) -> Result<AuthenticatedService, Problem> {
    app.keyfold.service_tokens().authenticate(token).await.map_err(|refusal| match refusal {
        ServiceRefusal::Unavailable(error) => error.into(),
        refusal => Problem::invalid_token(refusal),
    })
}

/// Whether this credential is meant as a service token, good or not.
pub(crate) fn is_service_token(credential: &str) -> bool {
    credential.starts_with(SERVICE_TOKEN_PREFIX)
}

/// What is told to a service that asks where only users do.
pub(crate) fn not_a_user(token: &str) -> Problem {
    if is_well_formed(token) {
        return Problem::new(
            "forbidden",
            "This is for users: a service token stands for no user. Services have /api/service/users/{user_id}/keys and the gateway.",
        );
    }
    Problem::invalid_token(ServiceRefusal::Malformed)
}

/// Addresses stand in logs and histories: a token that was put into one is refused wherever it is.
pub(crate) fn refuse_in_address(uri: &Uri) -> Result<(), Problem> {
    let mut parts = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    if parts.any(|(name, value)| is_service_token(&name) || is_service_token(&value)) {
        return Err(Problem::malformed(
            "A service token stands in the address, where logs keep it. Revoke it (`keyfold token revoke`), make another one, and send that in the Authorization header.",
        )
        .with_field("field", "query"));
    }
    Ok(())
}

/// The user of the one `Keyfold-User` header, percent-decoded: ids may hold what headers cannot, such as blanks at
/// their ends and letters outside ASCII.
pub(crate) fn acting_for<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<UserId, Problem> {
    let refused = |why: &str| Problem::invalid_request("Keyfold-User", why);
    let (value, None) = (values.next(), values.next()) else {
        return Err(refused("is there more than once; a request is made for one user"));
    };
    let Some(value) = value else {
        return Err(refused("is missing; say for which user, with the header `Keyfold-User: <user id>`"));
    };
    let encoded = std::str::from_utf8(value).ok().filter(|value| value.is_ascii()).ok_or_else(|| {
        refused("has characters that headers cannot carry; percent-encode the user's id as in an address")
    })?;
    let decoded = decode(encoded).ok_or_else(|| {
        refused("is not percent-encoded as it should be; a `%` in a user's id is written `%25`")
    })?;
    UserId::parse(&decoded).map_err(|why| refused(&why.to_string()))
}

/// Every `%` must begin an encoded byte, and all of it must be UTF-8.
fn decode(encoded: &str) -> Option<String> {
    let mut parts = encoded.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.as_bytes().split_at_checked(2)?;
        bytes.extend(HEXLOWER_PERMISSIVE.decode(byte).ok()?);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next(), values.next()) else {
        return Err(Problem::unauthenticated(
            "The request has more than one Authorization header. Send exactly one.",
        ));
    };
    let credential = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match credential {
        Some(token) if is_service_token(token) => Ok(token),
        None | Some("") => Err(Problem::unauthenticated(WITHOUT_TOKEN)),
        Some(_) => Err(Problem::invalid_token(NO_SERVICE_TOKEN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_id_is_read_as_it_would_be_from_an_address() {
        for (value, id) in [
            ("user_2abc", "user_2abc"),
            ("auth0|123", "auth0|123"),
            ("org%2Fann", "org/ann"),
            ("org/ann", "org/ann"),
            ("a+b@example.com", "a+b@example.com"),
            ("100%25", "100%"),
            ("%20spaced%20", " spaced "),
            ("%E3%83%A6", "ユ"),
        ] {
            assert_eq!(acting_for([value.as_bytes()].into_iter()).unwrap().as_str(), id, "{value}");
        }
    }

    #[test]
    fn what_names_no_single_user_is_refused() {
        let long = "u".repeat(256);
        let refused: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"a", b"a"],
            &[b"100%"],
            &[b"%zz"],
            &[b"%ff"],
            &[b"a%00b"],
            &["é".as_bytes()],
            &[long.as_bytes()],
        ];
        for values in refused {
            let problem = acting_for(values.iter().copied()).unwrap_err().body("id");
            assert_eq!(problem["code"], "invalid_request", "{values:?}");
            assert_eq!(problem["field"], "Keyfold-User", "{values:?}");
        }
    }

    #[test]
    fn a_token_in_the_address_is_noticed_however_it_is_written() {
        for address in ["/x?key=kfs_abc", "/x?a=1&token=%6bfs_abc", "/x?kfs_abc", "/x?kfs_abc=1"] {
            assert!(refuse_in_address(&address.parse().unwrap()).is_err(), "{address}");
        }
        for address in ["/x", "/x?q=about+kfs_", "/x?days=7"] {
            assert!(refuse_in_address(&address.parse().unwrap()).is_ok(), "{address}");
        }
    }
}
