//! A user's data key: random, wrapped by the master key, seals that user's keys.

use zeroize::Zeroizing;

use super::{EnvelopeError, KEY_LEN, KeyId, MasterKeyRing, Purpose, Sealed, SealingKey};
use crate::clock::{Random, random_bytes};
use crate::user::UserId;

const ID_LEN: usize = 8;

/// A user's data key, ready to seal and open that user's keys.
pub(crate) struct DataKey(SealingKey);

impl DataKey {
    /// A new data key for `user`, and its wrapped form for the database.
    pub(crate) fn generate(
        ring: &MasterKeyRing,
        random: &dyn Random,
        user: &UserId,
    ) -> Result<(Self, Sealed), EnvelopeError> {
        // Id and key travel together, so that the id is authenticated too.
        let mut content = Zeroizing::new([0_u8; ID_LEN + KEY_LEN]);
        content[..ID_LEN].copy_from_slice(&random_bytes::<ID_LEN>(random)?);
        random.fill(&mut content[ID_LEN..])?;
        let wrapped = ring.primary().seal(random, &Purpose::DataKey { user }, content.as_slice())?;
        Ok((Self::from_content(content.as_slice())?, wrapped))
    }

    /// Opens the wrapped form that was made for `user`.
    pub(crate) fn unwrap(
        ring: &MasterKeyRing,
        user: &UserId,
        wrapped: &Sealed,
    ) -> Result<Self, EnvelopeError> {
        let content = ring.by_id(wrapped.key_id())?.open(&Purpose::DataKey { user }, wrapped)?;
        Self::from_content(&content)
    }

    /// The key that seals what belongs to no user: a secret of the whole database.
    pub(crate) fn of_root_key(key: &[u8; KEY_LEN]) -> Result<Self, EnvelopeError> {
        SealingKey::new(KeyId(*b"kept key"), key).map(Self)
    }

    fn from_content(content: &[u8]) -> Result<Self, EnvelopeError> {
        let (id, key) = content.split_first_chunk::<ID_LEN>().ok_or(EnvelopeError::Malformed)?;
        let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| EnvelopeError::Malformed)?;
        SealingKey::new(KeyId(*id), key).map(Self)
    }

    pub(crate) fn seal(
        &self,
        random: &dyn Random,
        purpose: &Purpose<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, EnvelopeError> {
        self.0.seal(random, purpose, plaintext)
    }

    pub(crate) fn open(
        &self,
        purpose: &Purpose<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        self.0.open(purpose, sealed)
    }
}
