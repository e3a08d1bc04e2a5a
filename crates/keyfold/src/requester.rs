//! Who asks for something, and in which request: what every audit event says besides what happened.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::user::UserId;

/// Who does something with a user's keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// The user.
    User,
    /// Somebody who acts in the user's name (`act.sub` of the token, RFC 8693, section 4.1).
    Impersonator(UserId),
    /// A backend service, by the name of its token.
    Service(Arc<str>),
    /// Whoever runs this Keyfold, by a command.
    Operator,
    /// The program that uses this library.
    Application,
    /// The token issuer's webhook.
    Issuer,
    /// Keyfold itself, without being asked.
    Keyfold,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => formatter.write_str("user"),
            Self::Impersonator(actor) => write!(formatter, "act:{actor}"),
            Self::Service(name) => write!(formatter, "service:{name}"),
            Self::Operator => formatter.write_str("operator"),
            Self::Application => formatter.write_str("application"),
            Self::Issuer => formatter.write_str("issuer"),
            Self::Keyfold => formatter.write_str("keyfold"),
        }
    }
}

/// An actor, and the request that the actor made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requester {
    /// Who.
    pub actor: Actor,
    /// The id of the request, if it was one.
    pub request_id: Option<Arc<str>>,
    /// The address that the request came from, past trusted proxies.
    pub address: Option<IpAddr>,
}

impl Requester {
    /// This actor, outside any request.
    pub fn new(actor: Actor) -> Self {
        Self { actor, request_id: None, address: None }
    }

    /// The user, outside any request.
    pub fn user() -> Self {
        Self::new(Actor::User)
    }

    /// The same, in this request.
    #[must_use]
    pub fn in_request(mut self, request_id: impl Into<Arc<str>>, address: Option<IpAddr>) -> Self {
        self.request_id = Some(request_id.into());
        self.address = address;
        self
    }
}
