//! The text in which sealed values are stored: `kf1.` + base64url of key id, nonce, ciphertext and tag.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::NONCE_LEN;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use super::EnvelopeError;

const PREFIX: &str = "kf1.";
const KEY_ID_LEN: usize = 8;
const TAG_LEN: usize = 16;

/// Names the key that sealed a value, without saying anything about it. Shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; KEY_ID_LEN]);

impl KeyId {
    /// How every value begins that this key sealed, 14 characters; two keys share it once in 2^60.
    pub(crate) fn sealed_prefix(self) -> String {
        format!("{PREFIX}{}", &BASE64URL_NOPAD.encode(&self.0)[..10])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

/// A sealed value. Holds no plain text, so it may be shown, stored and cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(super) key_id: KeyId,
    pub(super) nonce: [u8; NONCE_LEN],
    /// Ends in the 16-byte tag.
    pub(super) ciphertext: Vec<u8>,
}

impl Sealed {
    /// The key that sealed it.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(KEY_ID_LEN + NONCE_LEN + self.ciphertext.len());
        bytes.extend_from_slice(&self.key_id.0);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.ciphertext);
        write!(formatter, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Sealed {
    type Err = EnvelopeError;

    /// Accepts exactly what `Display` writes: no padding, no white space, no stray final bits.
    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(if looks_like_another_version(text) {
                EnvelopeError::UnknownFormat
            } else {
                EnvelopeError::NotSealed
            });
        };
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| EnvelopeError::Malformed)?;
        let (key_id, rest) = bytes.split_first_chunk().ok_or(EnvelopeError::Malformed)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(EnvelopeError::Malformed)?;
        if ciphertext.len() < TAG_LEN {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self { key_id: KeyId(*key_id), nonce: *nonce, ciphertext: ciphertext.to_vec() })
    }
}

/// `kf` + digits + a dot.
fn looks_like_another_version(text: &str) -> bool {
    text.strip_prefix("kf")
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(version, _)| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}
