//! The master keys: where they come from, what each still wraps, and putting another one in their place.
//!
//! A rotation wraps data keys and root secrets anew; users' keys are not touched. It may be interrupted at any point
//! and run beside replicas, as long as each of them has both keys.

#[cfg(feature = "kms")]
mod kms;
mod ring;
mod rotation;
mod status;

use std::sync::Arc;

pub(crate) use ring::{open_ring, still_fits, verify};
pub use rotation::{Progress, Rotation};
pub use status::{KeyStanding, MasterKeyStatus, Role};

use crate::envelope::{DataKey, Sealed};
use crate::error::Error;
use crate::keys::Keys;
use crate::user::UserId;

/// The master keys of this Keyfold, for whoever runs it.
pub struct MasterKeys {
    keys: Arc<Keys>,
}

impl MasterKeys {
    pub(crate) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// A wrapped data key of nobody yet: for benchmarks.
    #[doc(hidden)]
    pub fn new_data_key(&self, user: &UserId) -> Result<Sealed, Error> {
        Ok(DataKey::generate(&self.keys.ring, &*self.keys.random, user)?.1)
    }
}

#[cfg(test)]
mod tests;
