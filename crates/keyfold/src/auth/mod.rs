//! Who is calling. [`AuthenticatedUser`] is made by a check and by nothing else, so holding one means that the
//! check ran.

mod claims;
mod compact;
pub mod issuer;
mod issuer_keys;
mod key_set;
mod key_source;
pub mod local;
mod refusal;
mod remembered;
mod sign_in;
mod verifier;
pub mod webhook;

pub use claims::VerifiedToken;
#[doc(hidden)]
pub use compact::CompactToken;
pub use key_source::{KeySetError, KeySetTimeouts};
pub use refusal::TokenRefusal;
pub use sign_in::{SignInOrigins, SignInPlaces};
pub use verifier::{REFRESH_EVERY, TokenVerifier};

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::requester::{Actor, Requester};
use crate::user::UserId;

/// A caller whose identity was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedUser {
    user: UserId,
    requester: Requester,
    issued_at: Option<Timestamp>,
}

impl AuthenticatedUser {
    /// Whoever may use this machine's local mode is its one user.
    pub fn of_local_access(_admitted: &local::LocalAccess) -> Self {
        Self { user: UserId::local(), requester: Requester::user(), issued_at: None }
    }

    /// For the check of a token's claims, which runs after that of its signature.
    fn of_verified_token(user: UserId, impersonator: Option<&UserId>, issued_at: Option<Timestamp>) -> Self {
        let actor = impersonator.map_or(Actor::User, |actor| Actor::Impersonator(actor.clone()));
        Self { user, requester: Requester { actor, ..Requester::user() }, issued_at }
    }

    /// The same caller, in this request.
    #[must_use]
    pub fn in_request(mut self, request_id: impl Into<Arc<str>>, address: Option<IpAddr>) -> Self {
        self.requester.request_id = Some(request_id.into());
        self.requester.address = address;
        self
    }

    /// The user's id.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Who asks in the user's name, and in which request.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// When the caller's token was issued (`iat`); `None` in local mode, and where the issuer leaves it out.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }
}
