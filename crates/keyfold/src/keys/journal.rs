//! What local mode needs in order to finish a change that a killed process left half done.
//!
//! `.env` files and the database cannot change in one step. So before a change touches the first file, it is noted
//! in the state directory, sealed; after the commit the note goes away. A note that is found while the user's turn is
//! held was left by a process that is dead.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::clock::{Random, random_bytes};
use crate::envelope::{DataKey, EnvelopeError, MasterKeyRing, Purpose};
use crate::error::Error;
use crate::provider::ProviderId;
use crate::secret::ApiKey;
use crate::state_dir::{NOTE_OF_A_CHANGE, StateDir};
use crate::user::UserId;

/// Where the notes are.
pub(super) struct Journal(PathBuf);

/// A change that may have reached the files. Removed when dropped, by which time it is done or undone.
pub(super) struct Note(PathBuf);

/// What a note says.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    user: String,
    provider: String,
    /// The version in the database that the change is over.
    pub(super) seen: Option<i64>,
    /// The new key; `None`: it is to be removed.
    key: Option<SealedKey>,
}

/// A key, sealed under a data key of its own: the user may have none yet.
#[derive(Serialize, Deserialize)]
struct SealedKey {
    data_key: String,
    key: String,
}

impl Journal {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Notes a change, so that it survives the machine's death too. Where that cannot be done, the change is made
    /// without: it is half done only if this process dies in the middle of it.
    pub(super) fn note(&self, random: &dyn Random, entry: &Entry) -> Result<Option<Note>, Error> {
        let text = serde_json::to_vec(entry)
            .map_err(|error| Error::Internal(format!("a note of a change: {error}")))?;
        let name = format!("{NOTE_OF_A_CHANGE}{}", HEXLOWER.encode(&random_bytes::<8>(random)?));
        let note = Note(self.0.join(name));
        let written = match self.write(&note, &text) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                StateDir::prepare(&self.0)?;
                self.write(&note, &text)
            }
            written => written,
        };
        Ok(match written {
            Ok(()) => Some(note),
            Err(error) => {
                tracing::warn!(%error, "the state directory cannot be written: a change is made without a note of it");
                None
            }
        })
    }

    fn write(&self, note: &Note, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&note.0)?;
        file.write_all(text)?;
        file.sync_all()?;
        File::open(&self.0)?.sync_all()
    }

    /// The notes there are, those of living processes among them.
    pub(super) fn notes(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return vec![] };
        let is_note = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NOTE_OF_A_CHANGE))
        };
        entries.flatten().map(|entry| entry.path()).filter(is_note).collect()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // One that stays is found to be done the next time.
        let _ = fs::remove_file(&self.0);
    }
}

impl Entry {
    #[expect(clippy::disallowed_methods, reason = "sealed at once")]
    pub(super) fn new(
        ring: &MasterKeyRing,
        random: &dyn Random,
        user: &UserId,
        provider: &ProviderId,
        seen: Option<i64>,
        key: Option<&ApiKey>,
    ) -> Result<Self, Error> {
        let seal = |key: &ApiKey| {
            let (data_key, wrapped) = DataKey::generate(ring, random, user)?;
            let sealed = data_key.seal(random, &purpose(user, provider), key.expose().as_bytes())?;
            Ok::<_, EnvelopeError>(SealedKey { data_key: wrapped.to_string(), key: sealed.to_string() })
        };
        let key = key.map(seal).transpose()?;
        Ok(Self { user: user.as_str().into(), provider: provider.to_string(), seen, key })
    }

    /// `None` if nothing whole stands there: the files were not touched then.
    pub(super) fn read(note: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(note).ok()?).ok()
    }

    pub(super) fn user(&self) -> Option<UserId> {
        UserId::parse(&self.user).ok()
    }

    pub(super) fn provider(&self) -> &str {
        &self.provider
    }

    /// The new key; `None` if it was to be removed.
    pub(super) fn key(
        &self,
        ring: &MasterKeyRing,
        user: &UserId,
        provider: &ProviderId,
    ) -> Result<Option<ApiKey>, EnvelopeError> {
        let open = |sealed: &SealedKey| {
            let data_key = DataKey::unwrap(ring, user, &sealed.data_key.parse()?)?;
            let opened = data_key.open(&purpose(user, provider), &sealed.key.parse()?)?;
            ApiKey::from_opened(opened).map_err(|_| EnvelopeError::Malformed)
        };
        self.key.as_ref().map(open).transpose()
    }
}

/// Nothing else is sealed under a note's data key.
fn purpose<'a>(user: &'a UserId, provider: &'a ProviderId) -> Purpose<'a> {
    Purpose::ApiKey { user, provider, version: 0 }
}
