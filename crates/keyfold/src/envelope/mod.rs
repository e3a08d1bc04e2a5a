//! Envelope encryption: a master key wraps one data key per user, the data key seals that user's keys.
//!
//! AES-256-GCM throughout. Every sealed value is bound, as associated data, to what it is and whose it is
//! (`Purpose`), so a value that was copied to another user, provider or version does not open.

mod data_key;
mod derivation;
mod master_key;
mod root_secret;
mod sealed;
mod specimen;

pub(crate) use data_key::DataKey;
pub(crate) use derivation::{Purpose, audit_labels};
pub use master_key::{MalformedMasterKey, MasterKey, MasterKeyRing};
pub use sealed::{KeyId, Sealed};
#[doc(hidden)]
pub use specimen::Specimen;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::clock::{NoRandomness, Random, random_bytes};

/// Bytes of every symmetric key.
pub(crate) const KEY_LEN: usize = 32;

/// Why something was not sealed or did not open.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The text does not begin with `kf1.`: plain text, or another program's.
    #[error("the stored value is not in Keyfold's sealed form")]
    NotSealed,
    /// The text begins like a sealed form of a version that this program does not know.
    #[error("the stored value has a format version that this Keyfold does not know")]
    UnknownFormat,
    /// There is nothing in it: another program left it empty.
    #[error("the stored value is empty")]
    Empty,
    /// The rest is no base64url or too short.
    #[error("the stored value is damaged")]
    Malformed,
    /// Sealed by a key that was not given.
    #[error("the stored value was sealed with key {0}, which is not among the given ones")]
    UnknownKey(KeyId),
    /// Changed, or moved from another user, provider or version.
    #[error("the stored value does not open for this user, provider and version")]
    DoesNotOpen,
    /// No nonce could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// An AES-256-GCM key with its schedule ready, and the id that its sealed values carry.
pub(crate) struct SealingKey {
    id: KeyId,
    key: LessSafeKey,
}

impl SealingKey {
    pub(crate) fn new(id: KeyId, bytes: &[u8; KEY_LEN]) -> Result<Self, EnvelopeError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| EnvelopeError::DoesNotOpen)?;
        Ok(Self { id, key: LessSafeKey::new(key) })
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Seals under a fresh random nonce (96 bits; NIST SP 800-38D allows 2^32 per key).
    pub(crate) fn seal(
        &self,
        random: &dyn Random,
        purpose: &Purpose<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, EnvelopeError> {
        let nonce = random_bytes(random)?;
        let ciphertext = self.encrypt(nonce, &purpose.associated_data(self.id), plaintext)?;
        Ok(Sealed { key_id: self.id, nonce, ciphertext })
    }

    /// Opens what this key sealed for this purpose; the result is wiped on drop.
    pub(crate) fn open(
        &self,
        purpose: &Purpose<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if sealed.key_id != self.id {
            return Err(EnvelopeError::UnknownKey(sealed.key_id));
        }
        self.decrypt(sealed.nonce, &purpose.associated_data(self.id), &sealed.ciphertext)
    }

    fn encrypt(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let mut buffer = Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len());
        buffer.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(associated_data), &mut buffer)
            .map_err(|_| EnvelopeError::Malformed)?;
        Ok(buffer)
    }

    fn decrypt(
        &self,
        nonce: [u8; NONCE_LEN],
        associated_data: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self
            .key
            .open_in_place(nonce, Aad::from(associated_data), &mut buffer)
            .map_err(|_| EnvelopeError::DoesNotOpen)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests;
