//! Who is calling. [`AuthenticatedUser`] is made by a check and by nothing else, so holding one means that the
//! check ran.

pub mod issuer;
pub mod local;

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

    /// The user's id.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}
