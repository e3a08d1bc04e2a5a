//! A user's keys as the user may see them: never the key itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::environment::{EnvFiles, Found, Place};
use super::{Identity, KEPT_FOR, KeyStatus, ReadFrom, StoredKey, UserApiKeys};
use crate::dotenv::EnvFile;
use crate::envelope::EnvelopeError;
use crate::error::Error;
use crate::provider::{Provider, ProviderId};
use crate::secret::ApiKey;
use crate::storage;

/// Where a key is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// The database.
    Database,
    /// The backend `.env`.
    EnvFile,
    /// A variable of the process.
    Environment,
}

impl KeySource {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::EnvFile => "env_file",
            Self::Environment => "environment",
        }
    }
}

/// What a user may know of a stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// The provider.
    pub provider: ProviderId,
    /// The last four characters, or nothing of it.
    pub masked: String,
    /// What is known of it.
    pub status: KeyStatus,
    /// Where it is read from.
    pub source: KeySource,
    /// Counts the replacements; `None` for a key that was never saved here.
    pub version: Option<i64>,
    /// When the first version was saved.
    pub created_at: Option<Timestamp>,
    /// When this version was saved.
    pub updated_at: Option<Timestamp>,
    /// When this version was last opened.
    pub last_used_at: Option<Timestamp>,
    /// When the provider last said something of this version.
    pub last_verified_at: Option<Timestamp>,
    /// Local mode: the variable of the process that is used instead of what the files have.
    pub overridden_by: Option<String>,
    /// Local mode: the `.env` files that a saved key is written to.
    pub files: Vec<PathBuf>,
}

/// A key beside the one that a user has saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The user has none.
    None,
    /// It is the same.
    Same,
    /// It is another one, of which this may be shown.
    Another(String),
    /// What is there is no key, or does not open.
    Unreadable,
}

impl UserApiKeys {
    /// Compares a key with the one that stands where saving would put it. Nobody gets to see either.
    pub fn compare(&self, provider: &Arc<Provider>, key: &ApiKey) -> Result<Comparison, Error> {
        let saved = match &self.keys.read_from {
            ReadFrom::Database => match self.stored.find(&provider.id) {
                None => return Ok(Comparison::None),
                Some(stored) => match self.stored.open(&self.user, &provider.id, stored) {
                    Ok(saved) => saved,
                    // Nothing is wrong with that key: it is not to be replaced for a missing master key.
                    Err(why) if self.stored.not_given.is_some() => {
                        return Err(self.stored.unopened(provider, &why));
                    }
                    Err(_) => return Ok(Comparison::Unreadable),
                },
            },
            ReadFrom::Environment(files) => {
                match files.find_in_file(provider, &EnvFile::read(files.backend())?) {
                    Found::Nothing => return Ok(Comparison::None),
                    Found::Unusable { .. } => return Ok(Comparison::Unreadable),
                    Found::Key { key, .. } => key,
                }
            }
        };
        Ok(if saved.is_same_as(key) { Comparison::Same } else { Comparison::Another(saved.masked()) })
    }

    /// Whether `path` is a `.env` file of local mode, where saved keys stand.
    pub fn are_kept_in(&self, path: &Path) -> bool {
        let ReadFrom::Environment(files) = &self.keys.read_from else { return false };
        let same = |own: &Path| match (std::fs::canonicalize(own), std::fs::canonicalize(path)) {
            (Ok(own), Ok(path)) => own == path,
            _ => false,
        };
        same(files.backend()) || files.frontend().is_some_and(same)
    }

    /// The user's keys, ordered by provider.
    pub fn list(&self) -> Result<Vec<KeyRecord>, Error> {
        match &self.keys.read_from {
            ReadFrom::Database => {
                Ok(self.stored.keys.iter().filter_map(|stored| self.stored_record(stored)).collect())
            }
            ReadFrom::Environment(files) => {
                let file = EnvFile::read(files.backend())?;
                let mut records = vec![];
                for provider in self.keys.registry.iter() {
                    let found = if files.process_overrides(provider) {
                        files.find(provider)?
                    } else {
                        files.find_in_file(provider, &file)
                    };
                    records.extend(self.environment_record(provider, &found, files, &file));
                }
                Ok(records)
            }
        }
    }

    /// Local mode: keys that lie in the database and stand nowhere where local mode reads keys. The line of one was taken
    /// out of the `.env` by hand, or another program stored it.
    pub fn not_read(&self) -> Result<Vec<KeyRecord>, Error> {
        if matches!(self.keys.read_from, ReadFrom::Database) {
            return Ok(vec![]);
        }
        let read = self.list()?;
        let stored = self.stored.keys.iter().filter_map(|stored| self.stored_record(stored));
        Ok(stored.filter(|stored| read.iter().all(|read| read.provider != stored.provider)).collect())
    }

    /// The record of one key, if there is one.
    pub fn record(&self, provider: &ProviderId) -> Result<Option<KeyRecord>, Error> {
        Ok(self.list()?.into_iter().find(|record| record.provider == *provider))
    }

    /// The providers whose key can be rolled back now.
    pub async fn with_previous(&self) -> Result<BTreeSet<ProviderId>, Error> {
        let oldest = self.keys.clock.now().saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
        let kept = storage::keys::with_previous(&self.keys.database, &self.user, oldest).await?;
        let mut found: BTreeSet<_> = kept.iter().filter_map(|id| ProviderId::parse(id).ok()).collect();
        if let ReadFrom::Environment(files) = &self.keys.read_from {
            let file = EnvFile::read(files.backend())?;
            // An edit by hand is the present version, so the saved one is the version before it.
            let edited = self.keys.registry.iter().filter(|provider| {
                self.stored.find(&provider.id).is_some()
                    && matches!(files.find_in_file(provider, &file), Found::Key { key, .. }
                        if matches!(self.identify(provider, &key), (Identity::Outside(_), _)))
            });
            found.extend(edited.map(|provider| provider.id.clone()));
        }
        Ok(found)
    }

    fn stored_record(&self, stored: &StoredKey) -> Option<KeyRecord> {
        let provider = ProviderId::parse(&stored.row.provider).ok()?;
        let opened = self.stored.open(&self.user, &provider, stored);
        Some(match &opened {
            Ok(key) => self.record_of(&provider, key, stored, KeySource::Database),
            Err(EnvelopeError::Empty) => return None,
            // Nothing is wrong with the key: nobody is to enter it again.
            Err(_) if self.stored.not_given.is_some() => KeyRecord {
                masked: "****".into(),
                ..self.record_without_key(&provider, stored, KeySource::Database)
            },
            Err(_) => KeyRecord {
                masked: "****".into(),
                status: KeyStatus::Unreadable,
                ..self.record_without_key(&provider, stored, KeySource::Database)
            },
        })
    }

    fn environment_record(
        &self,
        provider: &Provider,
        found: &Found,
        files: &EnvFiles,
        file: &EnvFile,
    ) -> Option<KeyRecord> {
        let empty = |place: Place| KeyRecord {
            provider: provider.id.clone(),
            masked: "****".into(),
            status: KeyStatus::Unreadable,
            source: match place {
                Place::Process => KeySource::Environment,
                Place::File => KeySource::EnvFile,
            },
            version: None,
            created_at: None,
            updated_at: None,
            last_used_at: None,
            last_verified_at: None,
            overridden_by: files.overridden_by(provider, file),
            files: files.of(provider),
        };
        match found {
            Found::Nothing => None,
            Found::Unusable { place, .. } => Some(empty(*place)),
            Found::Key { key, place } => {
                let empty = empty(*place);
                let (identity, status) = self.identify(provider, key);
                if let (Identity::Version(_), Some(stored)) = (identity, self.stored.find(&provider.id)) {
                    let KeyRecord { source, overridden_by, files, .. } = empty;
                    let record = self.record_of(&provider.id, key, stored, source);
                    return Some(KeyRecord { overridden_by, files, ..record });
                }
                let notes = self.keys.notes();
                let mark = notes.marks.get(&(self.user.clone(), provider.id.clone()));
                let mark = mark.filter(|mark| Identity::Outside(mark.digest) == identity);
                Some(KeyRecord {
                    masked: key.masked(),
                    status,
                    last_used_at: mark.and_then(|mark| mark.used_at),
                    last_verified_at: mark.and_then(|mark| mark.verified_at),
                    ..empty
                })
            }
        }
    }

    fn record_of(
        &self,
        provider: &ProviderId,
        key: &ApiKey,
        stored: &StoredKey,
        source: KeySource,
    ) -> KeyRecord {
        KeyRecord { masked: key.masked(), ..self.record_without_key(provider, stored, source) }
    }

    fn record_without_key(&self, provider: &ProviderId, stored: &StoredKey, source: KeySource) -> KeyRecord {
        let row = &stored.row;
        let noted =
            self.keys.notes().used.get(&(self.user.clone(), provider.clone(), row.identity())).copied();
        KeyRecord {
            provider: provider.clone(),
            masked: String::new(),
            status: KeyStatus::parse(&row.status),
            source,
            version: Some(row.version),
            created_at: Some(row.created_at),
            updated_at: Some(row.updated_at),
            last_used_at: noted.max(stored.used_at()).max(row.last_used_at),
            last_verified_at: row.last_verified_at,
            overridden_by: None,
            files: vec![],
        }
    }
}
