//! Master keys: how they are written, which are too weak, and the ring of those that may open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::derivation::derive_master_key;
use super::{EnvelopeError, KEY_LEN, KeyId, Purpose, Sealed, SealingKey};
use crate::clock::{NoRandomness, Random, random_bytes};

/// What the master key's check value says when it opens.
const CHECK: &[u8] = b"keyfold";

/// 32 random bytes have at most a 10^-12 chance of fewer different values than this.
const FEWEST_DIFFERENT_BYTES: usize = 16;

/// Why a text is no master key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedMasterKey {
    /// Neither 64 hex digits nor base64.
    #[error("is neither base64 nor 64 hex digits")]
    Encoding,
    /// Fewer than 32 bytes.
    #[error("is too short: it holds {0} bytes and must hold 32")]
    TooShort(usize),
    /// More than 32 bytes.
    #[error("is too long: it holds {0} bytes and must hold 32")]
    TooLong(usize),
    /// All bytes equal, repeated, counted up, readable text or words, or a published sample.
    #[error("is weak: it is a pattern, readable text or a published sample, not 32 random bytes")]
    Weak,
}

/// A master key, ready to wrap data keys. Wiped on drop; its `Debug` shows its id only.
pub struct MasterKey {
    key: SealingKey,
    /// Who keeps it, if it was not given as it is.
    keeper: Option<String>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({})", self.id())
    }
}

impl MasterKey {
    /// Reads 32 bytes as 64 hex digits or as base64 (standard or url-safe, padded or not) and refuses weak ones.
    pub fn parse(text: &str) -> Result<Self, MalformedMasterKey> {
        let bytes = decode(text.trim())?;
        let bytes: &[u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| {
            if bytes.len() < KEY_LEN {
                MalformedMasterKey::TooShort(bytes.len())
            } else {
                MalformedMasterKey::TooLong(bytes.len())
            }
        })?;
        if is_weak(bytes) || is_written_by_hand(text.trim()) {
            return Err(MalformedMasterKey::Weak);
        }
        Self::derive(bytes, None)
    }

    /// Takes the 32 bytes that a key service (`keeper`, as it is shown) keeps.
    #[cfg(feature = "kms")]
    pub(crate) fn from_keeper(bytes: &[u8], keeper: &str) -> Result<Self, MalformedMasterKey> {
        let bytes: &[u8; KEY_LEN] = bytes.try_into().map_err(|_| MalformedMasterKey::Encoding)?;
        if is_weak(bytes) {
            return Err(MalformedMasterKey::Weak);
        }
        Self::derive(bytes, Some(keeper.to_owned()))
    }

    fn derive(bytes: &[u8; KEY_LEN], keeper: Option<String>) -> Result<Self, MalformedMasterKey> {
        let derived = derive_master_key(bytes).map_err(|_| MalformedMasterKey::Encoding)?;
        let key = SealingKey::new(derived.id, &derived.key_encrypting_key)
            .map_err(|_| MalformedMasterKey::Encoding)?;
        Ok(Self { key, keeper })
    }

    /// 32 random bytes as base64, for a settings file. The text is wiped on drop.
    pub fn generate(random: &dyn Random) -> Result<Zeroizing<String>, NoRandomness> {
        let bytes = Zeroizing::new(random_bytes::<KEY_LEN>(random)?);
        Ok(Zeroizing::new(BASE64.encode(bytes.as_slice())))
    }

    /// The id that values sealed by this key carry.
    pub fn id(&self) -> KeyId {
        self.key.id()
    }

    /// The key service that keeps it, as it is written in the settings; `None` for one that was given as it is.
    pub fn keeper(&self) -> Option<&str> {
        self.keeper.as_deref()
    }
}

/// The master key that seals, and further ones that may open.
#[derive(Debug)]
pub struct MasterKeyRing {
    primary: Arc<MasterKey>,
    others: Vec<Arc<MasterKey>>,
}

impl MasterKeyRing {
    /// `primary` seals; it and `others` open.
    pub fn new(primary: Arc<MasterKey>, others: Vec<Arc<MasterKey>>) -> Self {
        Self { primary, others }
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.all().map(MasterKey::id).collect()
    }

    /// The id of the sealing key.
    pub fn primary_id(&self) -> KeyId {
        self.primary.id()
    }

    /// The same keys, and one more that may open.
    #[must_use]
    pub(crate) fn with_other(mut self, key: Arc<MasterKey>) -> Self {
        self.others.push(key);
        self
    }

    pub(super) fn primary(&self) -> &SealingKey {
        &self.primary.key
    }

    pub(super) fn by_id(&self, id: KeyId) -> Result<&SealingKey, EnvelopeError> {
        self.all().map(|key| &key.key).find(|key| key.id() == id).ok_or(EnvelopeError::UnknownKey(id))
    }

    /// All keys, the sealing one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&*self.primary).chain(self.others.iter().map(|key| &**key))
    }

    /// A value that only a ring with this master key can [`verify`](Self::verify).
    pub(crate) fn check_value(&self, random: &dyn Random) -> Result<Sealed, EnvelopeError> {
        self.primary().seal(random, &Purpose::MasterKeyCheck, CHECK)
    }

    /// What some key of this ring sealed for `purpose`, sealed anew by the one that seals.
    pub(crate) fn reseal(
        &self,
        random: &dyn Random,
        purpose: &Purpose<'_>,
        sealed: &Sealed,
    ) -> Result<Sealed, EnvelopeError> {
        let content = self.by_id(sealed.key_id())?.open(purpose, sealed)?;
        self.primary().seal(random, purpose, &content)
    }

    /// Whether the database that holds `check` was encrypted with a key of this ring.
    pub(crate) fn verify(&self, check: &Sealed) -> Result<(), EnvelopeError> {
        let content = self.by_id(check.key_id())?.open(&Purpose::MasterKeyCheck, check)?;
        if content.as_slice() == CHECK { Ok(()) } else { Err(EnvelopeError::DoesNotOpen) }
    }
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, MalformedMasterKey> {
    if text.len() == 2 * KEY_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| MalformedMasterKey::Encoding);
    }
    let mut standard: Zeroizing<String> = Zeroizing::new(String::with_capacity(text.len() + 3));
    standard.extend(text.trim_end_matches('=').chars().map(|character| match character {
        '-' => '+',
        '_' => '/',
        other => other,
    }));
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    BASE64.decode(standard.as_bytes()).map(Zeroizing::new).map_err(|_| MalformedMasterKey::Encoding)
}

fn is_weak(bytes: &[u8; KEY_LEN]) -> bool {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    let step = bytes[1].wrapping_sub(bytes[0]);
    let counts = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'));
    let repeats =
        (1..=KEY_LEN / 2).any(|period| bytes.iter().zip(&bytes[period..]).all(|(one, next)| one == next));
    // Also covers the samples of well-known documentation, which are readable text or counted bytes.
    different < FEWEST_DIFFERENT_BYTES || counts || text || repeats || is_published(bytes)
}

/// Whether base64 is words that somebody wrote, and no random bytes: most passphrases of the right length are valid
/// base64. Of a billion random keys, one would be taken for that.
fn is_written_by_hand(text: &str) -> bool {
    const WORDS: [&str; 7] =
        ["changeme", "masterkey", "secretkey", "password", "replaceme", "placeholder", "keyfoldmaster"];
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let letters = |is: fn(&u8) -> bool| text.bytes().filter(is).count();
    let mut plain: Zeroizing<String> = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()));
    letters(u8::is_ascii_uppercase) == 0
        || letters(u8::is_ascii_lowercase) == 0
        || WORDS.iter().any(|word| plain.contains(word))
}

/// Keys printed in standards and tutorials, and hashes of what people type first: public, however random they look.
fn is_published(bytes: &[u8; KEY_LEN]) -> bool {
    const HASHED: [&str; 10] = [
        "password",
        "secret",
        "changeme",
        "change-me",
        "test",
        "admin",
        "123456",
        "master",
        "masterkey",
        "keyfold",
    ];
    const PUBLISHED: [&str; 7] = [
        // RFC 7520, 3.5: the symmetric key of the JOSE cookbook.
        "849b57219dae48de646d07dbb533566e976686457c1491be3a76dcea6c427188",
        // RFC 8032, 7.1, test 1.
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        // The first key of NaCl's documentation and tests.
        "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389",
        // NIST SP 800-38A, F.1.5: the AES-256 example key.
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        // The GCM specification's test cases 13 to 18 (McGrew and Viega).
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        // RFC 8439, 2.5.2 (Poly1305).
        "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b",
        // The hash of no bytes (SHA-256), a favourite placeholder.
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ];
    HASHED.iter().any(|word| digest(&SHA256, word.as_bytes()).as_ref() == bytes)
        || PUBLISHED.iter().any(|sample| {
            HEXLOWER_PERMISSIVE.decode(sample.as_bytes()).is_ok_and(|sample| sample.as_slice() == bytes)
        })
}
