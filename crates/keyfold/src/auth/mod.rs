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
mod verifier;

pub use claims::VerifiedToken;
#[doc(hidden)]
pub use compact::CompactToken;
pub use key_source::{KeySetError, KeySetTimeouts};
pub use refusal::TokenRefusal;
pub use verifier::{REFRESH_EVERY, TokenVerifier};

use crate::user::UserId;

/// A caller whose identity was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedUser {
    user: UserId,
}

impl AuthenticatedUser {
    /// Whoever may use this machine's local mode is its one user.
    pub fn of_local_access(_admitted: &local::LocalAccess) -> Self {
        Self { user: UserId::local() }
    }

    /// For the check of a token's claims, which runs after that of its signature.
    fn of_verified_token(user: UserId) -> Self {
        Self { user }
    }

    /// The user's id.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}
