//! A sealed key of nobody, for the fuzz target: its own master key seals it, so that nothing else can be opened with
//! it.

use std::sync::Arc;

use super::{DataKey, EnvelopeError, MasterKey, MasterKeyRing, Purpose, Sealed};
use crate::clock::Random;
use crate::provider::ProviderId;
use crate::user::UserId;

const CONTENT: &[u8] = b"test data, not a key";

/// A key sealed as users' keys are, under a data key that is wrapped by a master key of its own.
#[derive(Debug)]
pub struct Specimen {
    ring: MasterKeyRing,
    wrapped: Sealed,
    sealed: Sealed,
}

impl Specimen {
    /// Seals for this user, provider and version.
    pub fn seal(
        random: &dyn Random,
        user: &UserId,
        provider: &ProviderId,
        version: i64,
    ) -> Result<Self, EnvelopeError> {
        let text = MasterKey::generate(random)?;
        let master_key = MasterKey::parse(&text).map_err(|_| EnvelopeError::Malformed)?;
        let ring = MasterKeyRing::new(Arc::new(master_key), vec![]);
        let (data_key, wrapped) = DataKey::generate(&ring, random, user)?;
        let sealed = data_key.seal(random, &Purpose::ApiKey { user, provider, version }, CONTENT)?;
        Ok(Self { ring, wrapped, sealed })
    }

    /// The wrapped data key.
    pub fn wrapped(&self) -> &Sealed {
        &self.wrapped
    }

    /// The sealed key.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Opens `wrapped`, and with it `sealed`, and says whether what was sealed came out.
    pub fn open(
        &self,
        wrapped: &Sealed,
        sealed: &Sealed,
        user: &UserId,
        provider: &ProviderId,
        version: i64,
    ) -> Result<bool, EnvelopeError> {
        let data_key = DataKey::unwrap(&self.ring, user, wrapped)?;
        let content = data_key.open(&Purpose::ApiKey { user, provider, version }, sealed)?;
        Ok(content.as_slice() == CONTENT)
    }
}
