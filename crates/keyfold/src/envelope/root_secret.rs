//! Secrets of the whole database: 32 random bytes each, under the master key.

use zeroize::Zeroizing;

use super::{EnvelopeError, KEY_LEN, MasterKeyRing, Purpose, Sealed};
use crate::clock::Random;

impl MasterKeyRing {
    /// A new root secret, sealed for the row of this name.
    pub(crate) fn new_root_secret(&self, random: &dyn Random, name: &str) -> Result<Sealed, EnvelopeError> {
        let mut secret = Zeroizing::new([0_u8; KEY_LEN]);
        random.fill(secret.as_mut())?;
        self.primary().seal(random, &Purpose::RootSecret { name }, secret.as_slice())
    }

    /// Opens what was sealed for the row of this name.
    pub(crate) fn open_root_secret(
        &self,
        name: &str,
        sealed: &Sealed,
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, EnvelopeError> {
        let opened = self.by_id(sealed.key_id())?.open(&Purpose::RootSecret { name }, sealed)?;
        let bytes = <[u8; KEY_LEN]>::try_from(opened.as_slice()).map_err(|_| EnvelopeError::Malformed)?;
        Ok(Zeroizing::new(bytes))
    }
}
