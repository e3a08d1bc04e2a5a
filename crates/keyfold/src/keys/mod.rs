//! Each user's keys: one context per user, through which every look at a key goes.
//!
//! [`UserApiKeys`] is made for one user and carries that user into every query. [`OpenedKey`] is made by
//! [`UserApiKeys::open`] only, and is wiped when dropped.

mod environment;
mod listing;
mod saving;
mod status;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub(crate) use environment::{EnvFiles, set_frontend_variable};
pub use listing::{KeyRecord, KeySource};
pub use saving::{CheckedKey, KEPT_FOR, Saved, Warning};
pub use status::KeyStatus;

use crate::clock::{Clock, Random};
use crate::envelope::{DataKey, EnvelopeError, MasterKeyRing, Purpose, Sealed};
use crate::error::Error;
use crate::provider::http::HttpClient;
use crate::provider::{Provider, ProviderId, Registry, Verdict, check};
use crate::secret::ApiKey;
use crate::storage::{self, Database};
use crate::user::UserId;
use environment::Found;

/// Where keys are read from when they are used.
pub(crate) enum ReadFrom {
    /// The database, for exactly that user.
    Database,
    /// Local mode: the process environment, then the backend `.env` as it is on disk now.
    Environment(EnvFiles),
}

/// Everything that contexts share; holds no plain key.
pub(crate) struct Keys {
    pub(crate) database: Database,
    pub(crate) ring: MasterKeyRing,
    pub(crate) registry: Registry,
    pub(crate) http: Arc<HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) read_from: ReadFrom,
    /// Two savings at once in this process wait for each other (`.env` files have no versions).
    saving: tokio::sync::Mutex<()>,
    notes: Mutex<Notes>,
    /// Recognises a key that stands in the environment only, without keeping it.
    digest_key: hmac::Key,
}

/// What is known in this process and not, or not yet, in the database.
#[derive(Default)]
struct Notes {
    used: HashMap<(UserId, ProviderId, i64), Timestamp>,
    marks: HashMap<(UserId, ProviderId), Mark>,
}

/// What is known of a key that stands in the environment only.
struct Mark {
    digest: [u8; 32],
    status: KeyStatus,
    used_at: Option<Timestamp>,
    verified_at: Option<Timestamp>,
}

/// Which stored thing an opened key was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// This version in the database.
    Version(i64),
    /// Entered by hand into the environment; known by its digest.
    Outside([u8; 32]),
}

/// One user's keys. Every look at a key goes through a value of this type.
pub struct UserApiKeys {
    user: UserId,
    keys: Arc<Keys>,
    stored: Stored,
}

/// A user's rows, still sealed.
#[derive(Default)]
struct Stored {
    data_key: Option<Result<DataKey, EnvelopeError>>,
    keys: Vec<StoredKey>,
}

struct StoredKey {
    row: storage::keys::KeyRow,
    sealed: Result<Sealed, EnvelopeError>,
}

/// A key in plain text, opened for one user and one use. No `Clone`, no `Debug`; wiped on drop.
pub struct OpenedKey {
    key: ApiKey,
    ticket: KeyTicket,
}

/// Says whose key was opened, after the key itself is gone.
pub(crate) struct KeyTicket {
    keys: Arc<Keys>,
    user: UserId,
    provider: Arc<Provider>,
    identity: Identity,
    status: KeyStatus,
}

impl Keys {
    pub(crate) fn new(
        database: Database,
        ring: MasterKeyRing,
        registry: Registry,
        http: Arc<HttpClient>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        read_from: ReadFrom,
    ) -> Result<Self, Error> {
        let digest_key = Zeroizing::new(crate::clock::random_bytes::<32>(&*random)?);
        Ok(Self {
            digest_key: hmac::Key::new(hmac::HMAC_SHA256, digest_key.as_slice()),
            saving: tokio::sync::Mutex::default(),
            notes: Mutex::default(),
            database,
            ring,
            registry,
            http,
            clock,
            random,
            read_from,
        })
    }

    /// The keys of this user and of nobody else.
    pub(crate) async fn of(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        let rows = storage::keys::load(&self.database, user).await?;
        let stored = rows.map(|rows| Stored::read(self, user, rows)).unwrap_or_default();
        Ok(UserApiKeys { user: user.clone(), keys: Arc::clone(self), stored })
    }

    /// The provider with this id, or the error that lists those there are.
    pub(crate) fn provider(&self, id: &str) -> Result<Arc<Provider>, Error> {
        self.registry.get(id).cloned().ok_or_else(|| Error::UnknownProvider { known: self.registry.ids() })
    }

    /// Writes down when keys were last used; what fails is kept for the next time.
    pub(crate) async fn flush(&self) {
        let used = std::mem::take(&mut self.notes().used);
        for ((user, provider, version), at) in used {
            let written =
                storage::keys::set_used(&self.database, &user, provider.as_str(), version, at).await;
            if let Err(error) = written {
                tracing::debug!(%error, "the time of a key's last use was not written");
                self.notes().used.entry((user, provider, version)).or_insert(at);
            }
        }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "hashed under a random key of this process")]
    fn digest(&self, key: &ApiKey) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.digest_key, key.expose().as_bytes()).as_ref());
        digest
    }
}

impl Stored {
    fn read(keys: &Keys, user: &UserId, rows: storage::keys::UserKeyRows) -> Self {
        let data_key = rows.data_key.parse().and_then(|wrapped| DataKey::unwrap(&keys.ring, user, &wrapped));
        let keys = rows.keys.into_iter().map(|row| StoredKey { sealed: row.key.parse(), row }).collect();
        Self { data_key: Some(data_key), keys }
    }

    fn find(&self, provider: &ProviderId) -> Option<&StoredKey> {
        self.keys.iter().find(|stored| stored.row.provider == provider.as_str())
    }

    fn open(
        &self,
        user: &UserId,
        provider: &ProviderId,
        stored: &StoredKey,
    ) -> Result<ApiKey, EnvelopeError> {
        let purpose = Purpose::ApiKey { user, provider, version: stored.row.version };
        let data_key = match &self.data_key {
            Some(Ok(data_key)) => data_key,
            Some(Err(EnvelopeError::UnknownKey(id))) => return Err(EnvelopeError::UnknownKey(*id)),
            Some(Err(_)) | None => return Err(EnvelopeError::DoesNotOpen),
        };
        let sealed = stored.sealed.as_ref().map_err(|error| match error {
            EnvelopeError::NotSealed => EnvelopeError::NotSealed,
            EnvelopeError::UnknownFormat => EnvelopeError::UnknownFormat,
            _ => EnvelopeError::Malformed,
        })?;
        ApiKey::from_opened(data_key.open(&purpose, sealed)?).map_err(|_| EnvelopeError::Malformed)
    }
}

impl UserApiKeys {
    /// Whose keys these are.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Opens this user's key for the provider with this id.
    ///
    /// # Errors
    /// [`Error::NoApiKey`] with what to do, [`Error::UnknownProvider`], and [`Error::KeyUnreadable`] if what
    /// is stored does not open for this user.
    pub fn get(&self, provider: &str) -> Result<OpenedKey, Error> {
        self.open(&self.keys.provider(provider)?)
    }

    /// Opens this user's key for `provider`.
    pub fn open(&self, provider: &Arc<Provider>) -> Result<OpenedKey, Error> {
        let opened = self.look_at(provider)?;
        opened.ticket.note_use();
        Ok(opened)
    }

    /// Opens the key without counting it as used: a check is no use.
    fn look_at(&self, provider: &Arc<Provider>) -> Result<OpenedKey, Error> {
        let (key, identity, status) = self.find(provider)?;
        let ticket = KeyTicket {
            keys: Arc::clone(&self.keys),
            user: self.user.clone(),
            provider: Arc::clone(provider),
            identity,
            status,
        };
        Ok(OpenedKey { key, ticket })
    }

    /// Asks the provider about the stored key and remembers what it said.
    pub async fn validate(&self, provider: &Arc<Provider>) -> Result<Verdict, Error> {
        let OpenedKey { key, ticket } = self.look_at(provider)?;
        let verdict = check::check(&self.keys.http, provider, &key).await;
        drop(key);
        ticket.note_verdict(&verdict).await?;
        Ok(verdict)
    }

    fn find(&self, provider: &Arc<Provider>) -> Result<(ApiKey, Identity, KeyStatus), Error> {
        match &self.keys.read_from {
            ReadFrom::Database => {
                let Some(stored) = self.stored.find(&provider.id) else {
                    return Err(self.no_key(provider));
                };
                let key = self
                    .stored
                    .open(&self.user, &provider.id, stored)
                    .map_err(|error| unreadable(provider, &error.to_string()))?;
                Ok((key, Identity::Version(stored.row.version), KeyStatus::parse(&stored.row.status)))
            }
            ReadFrom::Environment(files) => match files.find(provider)? {
                Found::Nothing => Err(self.no_key(provider)),
                Found::Unusable { why, .. } => Err(unreadable(provider, &why)),
                Found::Key { key, .. } => {
                    let (identity, status) = self.identify(provider, &key);
                    Ok((key, identity, status))
                }
            },
        }
    }

    /// Whether a key of the environment is the one that was saved, or was entered by hand.
    fn identify(&self, provider: &Provider, key: &ApiKey) -> (Identity, KeyStatus) {
        let saved = self.stored.find(&provider.id).filter(|stored| {
            self.stored.open(&self.user, &provider.id, stored).is_ok_and(|saved| saved.is_same_as(key))
        });
        if let Some(stored) = saved {
            return (Identity::Version(stored.row.version), KeyStatus::parse(&stored.row.status));
        }
        let digest = self.keys.digest(key);
        let notes = self.keys.notes();
        let mark = notes.marks.get(&(self.user.clone(), provider.id.clone()));
        let status = mark.filter(|mark| mark.digest == digest).map(|mark| mark.status);
        (Identity::Outside(digest), status.unwrap_or(KeyStatus::Unverified))
    }

    fn no_key(&self, provider: &Provider) -> Error {
        let remedy = match &self.keys.read_from {
            ReadFrom::Database => {
                format!("Save one on the keys page; you get it at {}.", provider.setup_url)
            }
            ReadFrom::Environment(files) => format!(
                "Save one on the keys page, or set {} in {}; you get it at {}.",
                provider.variable,
                files.backend().display(),
                provider.setup_url
            ),
        };
        Error::NoApiKey { provider: provider.id.clone(), name: provider.name.clone(), remedy }
    }
}

fn unreadable(provider: &Provider, why: &str) -> Error {
    tracing::warn!(provider = %provider.id, why, "a stored key cannot be read");
    Error::KeyUnreadable { provider: provider.id.clone(), name: provider.name.clone(), why: why.to_owned() }
}

impl OpenedKey {
    /// The plain text; hand it to the provider's client and let it go.
    #[expect(clippy::disallowed_methods, reason = "this is what the caller opened it for")]
    pub fn expose(&self) -> &str {
        self.key.expose()
    }

    pub(crate) fn into_parts(self) -> (ApiKey, KeyTicket) {
        (self.key, self.ticket)
    }
}

impl KeyTicket {
    pub(crate) fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    fn note_use(&self) {
        let now = self.keys.clock.now();
        let place = (self.user.clone(), self.provider.id.clone());
        let mut notes = self.keys.notes();
        match self.identity {
            Identity::Version(version) => drop(notes.used.insert((place.0, place.1, version), now)),
            Identity::Outside(digest) => {
                notes.mark(place, digest).used_at = Some(now);
            }
        }
    }

    /// Remembers what the provider said of the key; an answer that says nothing changes nothing.
    pub(crate) async fn note_verdict(&self, verdict: &Verdict) -> Result<(), Error> {
        let Some(status) = KeyStatus::from_verdict(verdict) else { return Ok(()) };
        let now = self.keys.clock.now();
        match self.identity {
            Identity::Version(version) => {
                let provider = self.provider.id.as_str();
                let database = &self.keys.database;
                storage::keys::set_status(
                    database,
                    &self.user,
                    provider,
                    version,
                    status.as_str(),
                    Some(now),
                )
                .await?;
            }
            Identity::Outside(digest) => {
                let mut notes = self.keys.notes();
                let mark = notes.mark((self.user.clone(), self.provider.id.clone()), digest);
                mark.status = status;
                mark.verified_at = Some(now);
            }
        }
        Ok(())
    }

    /// A call succeeded: the provider takes the key (again). Most calls change nothing.
    pub(crate) async fn note_success(&self) {
        if matches!(self.status, KeyStatus::Rejected | KeyStatus::Unverified) {
            self.note_quietly(&Verdict::Valid).await;
        }
    }

    /// The provider refused the key in a call.
    pub(crate) async fn note_rejection(&self) {
        if self.status != KeyStatus::Rejected {
            self.note_quietly(&Verdict::Rejected).await;
        }
    }

    async fn note_quietly(&self, verdict: &Verdict) {
        if let Err(error) = self.note_verdict(verdict).await {
            tracing::warn!(cause = error.cause(), "a key's state was not written");
        }
    }
}

impl Notes {
    fn mark(&mut self, place: (UserId, ProviderId), digest: [u8; 32]) -> &mut Mark {
        let fresh = || Mark { digest, status: KeyStatus::Unverified, used_at: None, verified_at: None };
        let mark = self.marks.entry(place).or_insert_with(fresh);
        if mark.digest != digest {
            *mark = fresh();
        }
        mark
    }
}

impl fmt::Debug for UserApiKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UserApiKeys({})", self.user)
    }
}

#[cfg(test)]
mod tests;
