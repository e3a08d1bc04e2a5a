//! Who calls the gateway: the one credential of a request, wherever a client library puts a key, and whose it is.

use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::header::AUTHORIZATION;
use keyfold::auth::AuthenticatedUser;
use keyfold::auth::local::RequestOrigin;
use keyfold::gateway::{CREDENTIAL_IN_QUERY, Field, GatewayCaller, Target, may_hold_a_credential};
use keyfold::mode::Mode;
use keyfold::provider::{KeyPlacement, Provider};

use crate::app::App;
use crate::caller::Caller;
use crate::current_service::{self, KEYFOLD_USER, acting_for, is_service_token};
use crate::current_user::{bearer, looks_like_a_token, refusal, verify};
use crate::problem::Problem;

/// Where Google's libraries put a key, unless it stands in the query.
const GOOGLES_HEADER: &str = "x-goog-api-key";

/// The caller's credential, as a request has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credential<'a> {
    /// Without its scheme.
    pub(crate) text: &'a str,
    /// It stands in the address, and is to be taken out of it.
    pub(crate) is_in_query: bool,
}

/// The request that a caller makes, as far as it matters to who that is.
pub(crate) struct AskedIn<'a> {
    pub(crate) request_id: &'a Arc<str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) fields: &'a [Field<'a>],
}

/// The one credential of a request; `None` without any.
pub(crate) fn find_credential<'a>(
    fields: &[Field<'a>],
    target: &Target<'a>,
    provider: &Provider,
) -> Result<Option<Credential<'a>>, Problem> {
    let is_place = |name: &str| {
        may_hold_a_credential(name)
            || matches!(&provider.key_placement, KeyPlacement::Header(own) if name.eq_ignore_ascii_case(own.as_str()))
    };
    let mut found = None;
    for field in fields.iter().filter(|field| is_place(field.name)) {
        let text = std::str::from_utf8(field.value).map_err(|_| not_readable())?;
        let text = if field.name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            bearer(text).ok_or_else(no_bearer)?
        } else {
            text.trim()
        };
        if found.replace(Credential { text, is_in_query: false }).is_some() {
            return Err(more_than_one());
        }
    }
    // Google's libraries alone put a key there.
    if matches!(&provider.key_placement, KeyPlacement::Header(own) if own.as_str() == GOOGLES_HEADER) {
        for text in target.in_query(CREDENTIAL_IN_QUERY) {
            if found.replace(Credential { text, is_in_query: true }).is_some() {
                return Err(more_than_one());
            }
        }
    }
    Ok(found.filter(|credential| !credential.text.is_empty()))
}

/// Whose request this is. In local mode, where it comes from decides; `origin` says that.
pub(crate) async fn admit(
    app: &App,
    credential: Option<&str>,
    origin: &RequestOrigin<'_>,
    provider: &Provider,
    asked: &AskedIn<'_>,
    log: Option<&Caller>,
) -> Result<GatewayCaller, Problem> {
    if app.keyfold.mode() == Mode::Local {
        let admitted = app.guard.admit(&RequestOrigin { bearer: credential, ..*origin }).map_err(refusal)?;
        let is_theirs = |credential: &str| {
            is_service_token(credential)
                || (app.verifier.is_some()
                    && looks_like_a_token(credential)
                    && !app.guard.is_token(credential))
        };
        if !credential.is_some_and(is_theirs) {
            let user = AuthenticatedUser::of_local_access(&admitted);
            return of_user(user, asked, log);
        }
    }
    let credential = credential.ok_or_else(|| {
        Problem::unauthenticated(
            "Sign in: put your Keyfold token where this provider's client library takes its API key, or send it in a header of the form `Authorization: Bearer …`.",
        )
    })?;
    if !is_service_token(credential) {
        return of_user(verify(app, credential).await?, asked, log);
    }
    let service = current_service::authenticate_call(app, credential).await?;
    if let Some(log) = log {
        log.note_service(service.name());
    }
    let user = acting_for(keyfold_user(asked.fields))?;
    let service = service.in_request(Arc::clone(asked.request_id), asked.address);
    Ok(app.keyfold.gateway().caller_of_service(&service, &user, provider)?)
}

fn of_user(
    user: AuthenticatedUser,
    asked: &AskedIn<'_>,
    log: Option<&Caller>,
) -> Result<GatewayCaller, Problem> {
    if let Some(log) = log {
        log.note_user(user.user());
    }
    // Who names somebody else means to act for them, and may not.
    if keyfold_user(asked.fields).next().is_some() && acting_for(keyfold_user(asked.fields))? != *user.user()
    {
        return Err(Problem::new(
            "forbidden",
            "Keyfold-User names another user than the one whose token this is. Only service tokens (`keyfold token create`) act for users; leave the header out.",
        ));
    }
    Ok(GatewayCaller::of_user(&user.in_request(Arc::clone(asked.request_id), asked.address)))
}

fn keyfold_user<'a>(fields: &'a [Field<'a>]) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(KEYFOLD_USER.as_str()))
        .map(|field| field.value)
}

/// A service token in the address is refused wherever it is: logs keep addresses.
pub(crate) fn refuse_in_address(target: &Target<'_>) -> Result<(), Problem> {
    if target.whole_query().is_empty() {
        return Ok(());
    }
    match format!("/?{}", target.whole_query()).parse::<Uri>() {
        Ok(uri) => current_service::refuse_in_address(&uri),
        Err(_) => {
            Err(Problem::malformed("The query of the address cannot be read.").with_field("field", "query"))
        }
    }
}

fn more_than_one() -> Problem {
    Problem::malformed(
        "The request has more than one credential. Send exactly one: your Keyfold token, where this provider's client library puts its API key.",
    )
    .with_field("field", "headers")
}

fn no_bearer() -> Problem {
    Problem::unauthenticated(
        "The Authorization header has another scheme than Bearer. Send your Keyfold token in a header of the form `Authorization: Bearer …`.",
    )
}

fn not_readable() -> Problem {
    Problem::unauthenticated("The credential has characters that no token has.")
}

#[cfg(test)]
mod tests {
    use keyfold::provider::Registry;

    use super::*;

    fn found<'a>(
        provider: &str,
        target: &'a str,
        fields: &[(&'a str, &'a str)],
    ) -> Result<Option<(&'a str, bool)>, &'static str> {
        let registry = Registry::built_in().unwrap();
        let fields: Vec<Field<'a>> =
            fields.iter().map(|(name, value)| Field { name, value: value.as_bytes() }).collect();
        let target = Target::parse(target).unwrap();
        find_credential(&fields, &target, registry.get(provider).unwrap())
            .map(|found| found.map(|credential| (credential.text, credential.is_in_query)))
            .map_err(|problem| problem.code())
    }

    #[test]
    fn a_credential_is_found_wherever_a_library_puts_a_key() {
        for (provider, name, value) in [
            ("openai", "Authorization", "Bearer t"),
            ("openai", "authorization", "bearer t"),
            ("anthropic", "x-api-key", "t"),
            ("anthropic", "Authorization", "Bearer t"),
            ("gemini", "X-Goog-Api-Key", "t"),
            ("elevenlabs", "xi-api-key", "t"),
            ("copilotkit", "X-CopilotCloud-Public-Api-Key", "t"),
            ("serper", "X-API-KEY", "t"),
            ("openai", "x-goog-api-key", "t"),
        ] {
            let target = format!("/gateway/{provider}/v1");
            let target: &'static str = target.leak();
            assert_eq!(found(provider, target, &[("Accept", "x"), (name, value)]), Ok(Some(("t", false))));
        }
        assert_eq!(found("gemini", "/gateway/gemini/v1?key=t&alt=sse", &[]), Ok(Some(("t", true))));
    }

    #[test]
    fn there_is_exactly_one() {
        let (bearer, key) = (("Authorization", "Bearer t"), ("x-api-key", "t"));
        let openai = "/gateway/openai/v1?key=x";
        assert_eq!(found("openai", openai, &[]), Ok(None), "`key` in the query is Gemini's only");
        assert_eq!(found("openai", openai, &[("x-api-key", "")]), Ok(None));
        assert_eq!(found("openai", openai, &[bearer, key]), Err("invalid_request"));
        assert_eq!(found("openai", openai, &[bearer, bearer]), Err("invalid_request"));
        assert_eq!(found("gemini", "/gateway/gemini/v1?key=t", &[bearer]), Err("invalid_request"));
        assert_eq!(found("gemini", "/gateway/gemini/v1?key=t&key=u", &[]), Err("invalid_request"));
        assert_eq!(found("openai", openai, &[("Authorization", "Basic dDp0")]), Err("unauthenticated"));
        assert_eq!(found("openai", openai, &[("Authorization", "t")]), Err("unauthenticated"));
    }
}
