//! All key derivation, all labels and all associated data, on one screen.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::{EnvelopeError, KEY_LEN, KeyId};
use crate::provider::ProviderId;
use crate::user::UserId;

/// Names the format in every associated data; a new format gets a new name.
const FORMAT: &[u8] = b"kf1";

/// What the 32 bytes of a master key become (HKDF-SHA-256, RFC 5869, empty salt).
pub(super) struct DerivedMasterKey {
    pub(super) id: KeyId,
    pub(super) key_encrypting_key: Zeroizing<[u8; KEY_LEN]>,
}

pub(super) fn derive_master_key(bytes: &[u8; KEY_LEN]) -> Result<DerivedMasterKey, EnvelopeError> {
    let mut derived = DerivedMasterKey { id: KeyId([0; 8]), key_encrypting_key: Zeroizing::default() };
    expand(bytes, b"keyfold/1/master-key-id", &mut derived.id.0)?;
    expand(bytes, b"keyfold/1/key-encrypting-key", derived.key_encrypting_key.as_mut())?;
    Ok(derived)
}

fn expand(secret: &[u8; KEY_LEN], label: &[u8], out: &mut [u8]) -> Result<(), EnvelopeError> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    Salt::new(HKDF_SHA256, &[])
        .extract(secret)
        .expand(&[label], Length(out.len()))
        .and_then(|key| key.fill(out))
        .map_err(|_| EnvelopeError::Malformed)
}

/// What the audit log's hashes and signatures are over: HMAC-SHA-256 under the audit key, each label first.
pub(crate) mod audit_labels {
    /// What a row tells, and its place.
    pub(crate) const CONTENT: &[u8] = b"keyfold/1/audit-content";
    /// A row's place after the one before it.
    pub(crate) const LINK: &[u8] = b"keyfold/1/audit-link";
    /// What is left of a row that was made anonymous.
    pub(crate) const ERASED: &[u8] = b"keyfold/1/audit-erased";
    /// The end of a writer's chain.
    pub(crate) const HEAD: &[u8] = b"keyfold/1/audit-head";
    /// The place where a writer's chain begins.
    pub(crate) const ANCHOR: &[u8] = b"keyfold/1/audit-anchor";
    /// How many writers there ever were.
    pub(crate) const COUNT: &[u8] = b"keyfold/1/audit-count";
    /// Which database a spool is for.
    pub(crate) const SPOOL: &[u8] = b"keyfold/1/audit-spool";
}

/// What is sealed, and for whom: a value opens only for the purpose that it was sealed for.
pub(crate) enum Purpose<'a> {
    /// Proves at start that the master key is the right one.
    MasterKeyCheck,
    /// A secret of the whole database, by the name of its row, under the master key.
    RootSecret { name: &'a str },
    /// A user's data key, under the master key.
    DataKey { user: &'a UserId },
    /// A provider key, under the user's data key.
    ApiKey { user: &'a UserId, provider: &'a ProviderId, version: i64 },
    /// A provider key that no user can be given, by the id of its row, under a key of the whole database.
    KeptKey { row: i64 },
    /// What a step of onboarding was told, under the user's data key.
    StepData { user: &'a UserId, preset: &'a str, step: i64 },
}

impl Purpose<'_> {
    /// Format, label, the sealing key's id and the purpose's own fields, each preceded by its length
    /// (32 bits, big endian), so that no two lists of fields give the same bytes.
    pub(super) fn associated_data(&self, key_id: KeyId) -> Vec<u8> {
        let mut data = Vec::with_capacity(128);
        let mut field = |bytes: &[u8]| {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(bytes);
        };
        field(FORMAT);
        match self {
            Self::MasterKeyCheck => {
                field(b"master-key-check");
                field(&key_id.0);
            }
            Self::RootSecret { name } => {
                field(b"root-secret");
                field(&key_id.0);
                field(name.as_bytes());
            }
            Self::DataKey { user } => {
                field(b"data-key");
                field(&key_id.0);
                field(user.as_str().as_bytes());
            }
            Self::ApiKey { user, provider, version } => {
                field(b"api-key");
                field(&key_id.0);
                field(user.as_str().as_bytes());
                field(provider.as_str().as_bytes());
                field(&version.to_be_bytes());
            }
            Self::KeptKey { row } => {
                field(b"kept-key");
                field(&key_id.0);
                field(&row.to_be_bytes());
            }
            Self::StepData { user, preset, step } => {
                field(b"step-data");
                field(&key_id.0);
                field(user.as_str().as_bytes());
                field(preset.as_bytes());
                field(&step.to_be_bytes());
            }
        }
        data
    }
}
