//! What a token says, once its signature is known to be right (RFC 7519, section 4; Clerk's session token v2).

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Number, Value};

use super::AuthenticatedUser;
use super::compact;
use super::issuer::Issuer;
use super::refusal::TokenRefusal;
use crate::requester::Actor;
use crate::user::UserId;

/// How far clocks may be apart; the same as in Clerk's own libraries.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// A token that was verified, and what it says.
///
/// Tens of thousands of them are remembered, so it holds no more than is used, and nothing of any length.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    user: AuthenticatedUser,
    expires_at: Timestamp,
    not_before: Option<Timestamp>,
}

/// What the configured issuer's tokens must say.
pub(super) struct Rules {
    issuer: String,
    audience: Option<String>,
    authorized_parties: Vec<String>,
    must_name_party: bool,
}

impl VerifiedToken {
    /// Whose token it is (`sub`).
    pub fn user(&self) -> &AuthenticatedUser {
        &self.user
    }

    /// When it was issued (`iat`). Issuers may leave it out.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.user.issued_at()
    }

    /// When it ends (`exp`), without the skew that is granted.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Who acts in the user's name (`act.sub`, RFC 8693, section 4.1): support staff who impersonate the user.
    pub fn impersonator(&self) -> Option<&UserId> {
        match &self.user.requester().actor {
            Actor::Impersonator(actor) => Some(actor),
            _ => None,
        }
    }

    /// Checks `exp` and `nbf`.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), TokenRefusal> {
        if now >= later(self.expires_at) {
            return Err(TokenRefusal::Expired);
        }
        if self.not_before.is_some_and(|not_before| later(now) < not_before) {
            return Err(TokenRefusal::NotYetValid);
        }
        Ok(())
    }
}

/// Only the user, who is no secret.
impl fmt::Debug for VerifiedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("VerifiedToken").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Rules {
    pub(super) fn of(issuer: &Issuer) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            authorized_parties: issuer.authorized_parties.clone(),
            // A Clerk instance is one application's; another issuer makes tokens for any of its applications.
            must_name_party: issuer.audience.is_none() && !issuer.is_clerk(),
        }
    }

    /// Why these claims would be refused, whoever signed them.
    pub(super) fn refusal_of(&self, claims: &str, now: Timestamp) -> Option<TokenRefusal> {
        self.check(claims, now).err()
    }

    /// Reads the claims of a token whose signature was verified.
    pub(super) fn check(&self, claims: &str, now: Timestamp) -> Result<VerifiedToken, TokenRefusal> {
        let claims: Claims = compact::read_object(claims)?;
        if claims.iss.as_ref() != Some(&self.issuer) {
            return Err(TokenRefusal::Issuer);
        }
        let user = claims.sub.as_deref().and_then(user_of).ok_or(TokenRefusal::Subject)?;
        // Somebody acts, but nobody could tell who.
        let nobody = TokenRefusal::Malformed;
        let impersonator = claims.act.map(|actor| user_of(&actor.sub).ok_or(nobody)).transpose();
        let issued_at = claims.iat.map(|date| date.0);
        let token = VerifiedToken {
            user: AuthenticatedUser::of_verified_token(user, impersonator?.as_ref(), issued_at),
            expires_at: claims.exp.ok_or(TokenRefusal::NoExpiry)?.0,
            not_before: claims.nbf.map(|date| date.0),
        };
        token.check_time(now)?;
        if self.audience.as_ref().is_some_and(|audience| !claims.aud.is_some_and(|aud| aud.names(audience))) {
            return Err(TokenRefusal::Audience);
        }
        match claims.azp {
            Some(party) if !self.authorized_parties.contains(&party) => return Err(TokenRefusal::Party),
            None if self.must_name_party => return Err(TokenRefusal::NoParty),
            _ => {}
        }
        if claims.sts.is_some_and(|status| status == "pending") {
            return Err(TokenRefusal::PendingSession);
        }
        Ok(token)
    }
}

/// Blanks alone name nobody. Around a name they are a part of it, as every other character is.
fn user_of(subject: &str) -> Option<UserId> {
    if subject.trim().is_empty() { None } else { UserId::parse(subject).ok() }
}

fn later(time: Timestamp) -> Timestamp {
    time.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX)
}

/// A member that is there twice is an error, so that no two readers take different ones.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    azp: Option<String>,
    act: Option<ActorClaim>,
    /// Clerk's only; another issuer may mean something else by it.
    sts: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

#[derive(Deserialize)]
struct ActorClaim {
    sub: String,
}

/// Seconds since 1970, with or without a fraction. A text is none.
#[derive(Deserialize)]
#[serde(try_from = "Number")]
struct NumericDate(Timestamp);

impl TryFrom<Number> for NumericDate {
    type Error = &'static str;

    fn try_from(number: Number) -> Result<Self, Self::Error> {
        let duration = match (number.as_i64(), number.as_f64()) {
            (Some(seconds), _) => Some(SignedDuration::from_secs(seconds)),
            (None, Some(seconds)) => SignedDuration::try_from_secs_f64(seconds).ok(),
            (None, None) => None,
        };
        duration
            .and_then(|duration| Timestamp::from_duration(duration).ok())
            .map(Self)
            .ok_or("no time between the years -9999 and 9999")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// This user's, until the year 2000.
    pub(in crate::auth) fn token_of(user: &str) -> VerifiedToken {
        VerifiedToken {
            user: AuthenticatedUser::of_verified_token(UserId::parse(user).unwrap(), None, None),
            expires_at: Timestamp::from_second(946_684_800).unwrap(),
            not_before: None,
        }
    }

    #[test]
    fn dates_are_numbers_within_the_calendar() {
        let date =
            |text: &str| serde_json::from_str::<NumericDate>(text).map(|date| date.0.as_millisecond()).ok();
        assert_eq!(date("1700000000"), Some(1_700_000_000_000));
        assert_eq!(date("1700000000.25"), Some(1_700_000_000_250));
        assert_eq!(date("1.7e9"), Some(1_700_000_000_000));
        assert_eq!(date("-1"), Some(-1000));
        for bad in [
            "\"1700000000\"",
            "null",
            "true",
            "[1700000000]",
            "1700000000000",
            "1e300",
            "18446744073709551615",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
