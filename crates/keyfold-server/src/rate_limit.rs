//! Rate limits as clients meet them: who is counted by which limit, and the headers that say how it stands.
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>

use std::fmt::Write;
use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use keyfold::auth::AuthenticatedUser;
use keyfold::limit::{Class, Counted, Refusal, Standing, StreamPlace};
use keyfold::mode::Mode;
use keyfold::service_tokens::AuthenticatedService;

use crate::app::App;
use crate::caller::Caller;
use crate::problem::Problem;

pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Counts `cost` requests of this user.
pub(crate) async fn count(
    app: &App,
    caller: &Caller,
    user: &AuthenticatedUser,
    class: Class,
    cost: u32,
) -> Result<(), Problem> {
    note(caller, app.keyfold.count(user, class, cost).await)
}

/// Counts a request with this service's token, whoever it is made for.
pub(crate) async fn count_service(
    app: &App,
    caller: &Caller,
    service: &AuthenticatedService,
) -> Result<(), Problem> {
    let token = format!("{} {}", service.token_id(), service.name());
    note(caller, app.keyfold.limits().count(Class::Service, &token, 1).await)
}

/// A place for a stream of this user, until it is dropped.
pub(crate) fn open_stream(
    app: &App,
    caller: &Caller,
    user: &AuthenticatedUser,
) -> Result<StreamPlace, Problem> {
    let opened = app.keyfold.open_stream(user).map(|(place, standing)| {
        caller.note_limit(standing);
        place
    });
    opened.map_err(|refusal| refused(caller, refusal))
}

/// What a request without a valid credential is answered: as `problem` says, or that its address is over the limit.
///
/// Asked after the credential was looked at: a good one is never refused for what others do behind its address, and
/// keys that sign tokens cannot be guessed.
pub(crate) async fn of_stranger(app: &App, parts: &Parts, problem: Problem) -> Problem {
    match parts.extensions.get::<Caller>() {
        Some(caller) => of_strange_caller(app, caller, problem).await,
        None => problem,
    }
}

/// The same where the request itself is gone.
pub(crate) async fn of_strange_caller(app: &App, caller: &Caller, problem: Problem) -> Problem {
    let Some(address) = own_address(app, caller) else { return problem };
    match note(caller, app.keyfold.limits().count_stranger(address).await) {
        Ok(()) => problem,
        Err(over_the_limit) => over_the_limit,
    }
}

/// `Err` while the address is over the limit. For what could be guessed, before it is looked at.
pub(crate) fn before_a_guess(app: &App, parts: &Parts) -> Result<(), Problem> {
    let Some(caller) = parts.extensions.get::<Caller>() else { return Ok(()) };
    let Some(address) = own_address(app, caller) else { return Ok(()) };
    app.keyfold.limits().stranger_is_blocked(address).map_err(|refusal| refused(caller, refusal))
}

/// The address, if its limit would not hit others: behind a platform's proxy that is not trusted, all have one.
fn own_address(app: &App, caller: &Caller) -> Option<IpAddr> {
    let address = caller.address?;
    // No platform's proxy stands before local mode.
    let is_known = caller.address_is_its_own || (app.keyfold.mode() == Mode::Local && !address.is_loopback());
    (is_known || app.keyfold.limits().counts_every_address()).then_some(address)
}

/// Notes how the limit stands that a request was counted by.
pub(crate) fn note(caller: &Caller, counted: Counted) -> Result<(), Problem> {
    if let Some(standing) = counted.map_err(|refusal| refused(caller, refusal))? {
        caller.note_limit(standing);
    }
    Ok(())
}

/// Notes how a limit stands that refused a request, and says so.
pub(crate) fn refused(caller: &Caller, refusal: Refusal) -> Problem {
    caller.note_limit(*refusal.standing());
    keyfold::Error::from(refusal).into()
}

/// Tells the client how the limits stand that its request was counted by.
pub(crate) fn write_headers(caller: &Caller, headers: &mut HeaderMap) {
    let standings = caller.limits();
    if standings.is_empty() {
        return;
    }
    let (mut now, mut policy) = (String::new(), String::new());
    for standing in standings {
        if !now.is_empty() {
            now.push_str(", ");
            policy.push_str(", ");
        }
        put_now(&mut now, &standing);
        put_policy(&mut policy, &standing);
    }
    for (name, value) in [(RATE_LIMIT, now), (RATE_LIMIT_POLICY, policy)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// The same of one limit, as whole lines. Without the machinery of formatting: every call through the gateway pays for it.
pub(crate) fn put_lines(out: &mut Vec<u8>, standing: &Standing) {
    let Standing { class, quota, remaining, .. } = *standing;
    let name = class.as_str().as_bytes();
    out.reserve(128);
    put(out, &[b"ratelimit: \"", name, b"\";r="], u64::from(remaining));
    if standing.window.is_some() {
        put(out, &[b";t="], standing.seconds_to_next());
    }
    put(out, &[b"\r\nratelimit-policy: \"", name, b"\";q="], u64::from(quota));
    match standing.window {
        Some(window) => put(out, &[b";w="], window.into()),
        None => out.extend_from_slice(b";qu=\"concurrent-requests\""),
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, texts: &[&[u8]], number: u64) {
    for text in texts {
        out.extend_from_slice(text);
    }
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

// Writing to a string does not fail.
fn put_now(out: &mut String, standing: &Standing) {
    let Standing { class, remaining, .. } = standing;
    let _ = write!(out, "\"{}\";r={remaining}", class.as_str());
    if standing.window.is_some() {
        let _ = write!(out, ";t={}", standing.seconds_to_next());
    }
}

fn put_policy(out: &mut String, standing: &Standing) {
    let Standing { class, quota, .. } = standing;
    let _ = match standing.window {
        Some(window) => write!(out, "\"{}\";q={quota};w={window}", class.as_str()),
        None => write!(out, "\"{}\";q={quota};qu=\"concurrent-requests\"", class.as_str()),
    };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_say_what_headers_say() {
        for standing in [
            Standing {
                class: Class::Gateway,
                quota: 600,
                window: Some(60),
                remaining: 599,
                next_in: Duration::from_millis(100),
            },
            Standing {
                class: Class::Streams,
                quota: 20,
                window: None,
                remaining: 0,
                next_in: Duration::ZERO,
            },
        ] {
            let (mut now, mut policy, mut lines) = (String::new(), String::new(), vec![]);
            put_now(&mut now, &standing);
            put_policy(&mut policy, &standing);
            put_lines(&mut lines, &standing);
            let expected = format!("ratelimit: {now}\r\nratelimit-policy: {policy}\r\n");
            assert_eq!(String::from_utf8(lines).unwrap(), expected);
        }
    }
}
