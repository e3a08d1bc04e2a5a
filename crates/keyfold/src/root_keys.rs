//! Keys of the whole database: random, made by whichever process comes first, kept there under the master key.

use zeroize::Zeroizing;

use crate::clock::Random;
use crate::envelope::MasterKeyRing;
use crate::error::Error;
use crate::storage::{self, Connection};

/// 32 random bytes; wiped on drop.
pub(crate) type RootKey = Zeroizing<[u8; 32]>;

/// The key of this name, if it was made.
///
/// # Errors
/// [`Error::MasterKey`] if it does not open with the master keys that are given.
pub(crate) async fn find(
    connection: &impl Connection,
    ring: &MasterKeyRing,
    name: &str,
) -> Result<Option<RootKey>, Error> {
    let sealed = storage::root_secrets::find(connection, name).await?;
    sealed.map(|sealed| open(ring, name, &sealed)).transpose()
}

/// Makes the key unless another process came first; returns the one that stands, and whether it is this one.
pub(crate) async fn make(
    connection: &impl Connection,
    ring: &MasterKeyRing,
    random: &dyn Random,
    name: &str,
) -> Result<(RootKey, bool), Error> {
    let made = ring.new_root_secret(random, name)?.to_string();
    let stands = storage::root_secrets::insert_or_find(connection, name, &made).await?;
    Ok((open(ring, name, &stands)?, stands == made))
}

fn open(ring: &MasterKeyRing, name: &str, sealed: &str) -> Result<RootKey, Error> {
    sealed.parse().and_then(|sealed| ring.open_root_secret(name, &sealed)).map_err(|error| {
        Error::MasterKey(format!(
            "The database's `{name}` does not open with the master keys that are given: {error}. Give the master key that it was sealed with as KEYFOLD_MASTER_KEY or in KEYFOLD_OTHER_MASTER_KEYS, or restore the database from a backup."
        ))
    })
}
