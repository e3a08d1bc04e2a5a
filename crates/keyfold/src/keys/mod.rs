//! Each user's keys: one context per user, through which every look at a key goes.
//!
//! [`UserApiKeys`] is made for one user and carries that user into every query. [`OpenedKey`] is made by
//! [`UserApiKeys::open`] only, and is wiped when dropped.

mod cache;
mod environment;
mod listing;
mod saving;
mod status;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use zeroize::Zeroizing;

pub use cache::CacheState;
use cache::UserCache;
pub(crate) use environment::{EnvFiles, set_frontend_variable};
pub use listing::{KeyRecord, KeySource};
pub use saving::{CheckedKey, KEPT_FOR, Saved, Warning};
pub use status::KeyStatus;

use crate::audit::Audit;
use crate::clock::{Clock, Random};
use crate::envelope::{DataKey, EnvelopeError, MasterKeyRing, Purpose, Sealed};
use crate::error::Error;
use crate::figures::{Call, CallKind, CallOutcome, Figures, Opening};
use crate::provider::http::HttpClient;
use crate::provider::{Provider, ProviderId, Registry, Verdict, check};
use crate::secret::ApiKey;
use crate::storage::keys::KeyVersion;
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
    pub(crate) figures: Figures,
    pub(crate) audit: Audit,
    cache: UserCache,
    /// Where keys stand in `.env` files, two savings at once wait for each other: files have no versions.
    saving: tokio::sync::Mutex<()>,
    notes: Mutex<Notes>,
    /// Recognises a key that stands in the environment only, without keeping it.
    digest_key: hmac::Key,
}

/// What is known in this process and not, or not yet, in the database.
#[derive(Default)]
struct Notes {
    used: HashMap<(UserId, ProviderId, KeyVersion), Timestamp>,
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
    Version(KeyVersion),
    /// Entered by hand into the environment; known by its digest.
    Outside([u8; 32]),
}

/// One user's keys. Every look at a key goes through a value of this type.
pub struct UserApiKeys {
    user: UserId,
    asked_by: AskedBy,
    keys: Arc<Keys>,
    stored: Arc<Stored>,
}

/// Who looks at a user's keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AskedBy {
    User,
    /// Who also looks after the keys of a suspended user.
    Operator,
}

/// A user's rows, still sealed.
#[derive(Default)]
struct Stored {
    data_key: Option<Result<DataKey, EnvelopeError>>,
    is_suspended: bool,
    keys: Vec<StoredKey>,
}

struct StoredKey {
    row: storage::keys::KeyRow,
    sealed: Result<Sealed, EnvelopeError>,
    /// When it was last opened since it was read, in microseconds (Unix time); 0: not yet.
    used_at: AtomicI64,
    /// The use that was last put down for writing, in the same measure.
    noted_at: AtomicI64,
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
            figures: Figures::new(registry.iter().map(|provider| provider.id.as_str())),
            audit: Audit::default(),
            cache: UserCache::new(),
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
        let stored = self.remembered_or_read(user).await?;
        self.context(user, stored)
    }

    /// The keys of this user as they stand in the database now, for a change: what it replaces must be known.
    pub(crate) async fn of_to_change(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        let stored = Arc::new(self.read(user).await?);
        self.context(user, stored)
    }

    /// The same for an operator, who may also look after the keys of a suspended user.
    pub(crate) async fn of_even_if_suspended(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        let stored = Arc::new(self.read(user).await?);
        Ok(UserApiKeys { user: user.clone(), asked_by: AskedBy::Operator, keys: Arc::clone(self), stored })
    }

    fn context(self: &Arc<Self>, user: &UserId, stored: Arc<Stored>) -> Result<UserApiKeys, Error> {
        if stored.is_suspended {
            return Err(Error::UserSuspended);
        }
        Ok(UserApiKeys { user: user.clone(), asked_by: AskedBy::User, keys: Arc::clone(self), stored })
    }

    async fn remembered_or_read(&self, user: &UserId) -> Result<Arc<Stored>, Error> {
        let Some(changes) = self.database.changes() else { return Ok(Arc::new(self.read(user).await?)) };
        if let Some(stored) = self.cache.get(changes, user) {
            return Ok(stored);
        }
        let stamp = changes.stamp(user);
        let stored = Arc::new(self.read(user).await?);
        self.cache.put(user.clone(), stamp, Arc::clone(&stored));
        Ok(stored)
    }

    async fn read(&self, user: &UserId) -> Result<Stored, Error> {
        let rows = storage::keys::load(&self.database, user).await?;
        Ok(rows.map(|rows| Stored::read(self, user, rows)).unwrap_or_default())
    }

    /// This process changed something of the user: what it remembers of it is no longer used.
    pub(crate) fn forget(&self, user: &UserId) {
        if let Some(changes) = self.database.changes() {
            changes.announce(user.as_str());
        }
    }

    /// How the cache stands; `None` where there is none.
    pub(crate) fn cache_state(&self) -> Option<CacheState> {
        self.database.changes().map(|changes| self.cache.state(changes))
    }

    /// The provider with this id, or the error that lists those there are.
    pub(crate) fn provider(&self, id: &str) -> Result<Arc<Provider>, Error> {
        self.registry.get(id).cloned().ok_or_else(|| Error::UnknownProvider { known: self.registry.ids() })
    }

    /// Asks a provider about a key, and counts that.
    async fn ask(&self, provider: &Provider, key: &ApiKey) -> Verdict {
        // One that cannot be asked is not called.
        let call = provider.check.is_some().then(|| self.figures.call(provider.id.as_str(), CallKind::Check));
        let verdict = check::check(&self.http, provider, key).await;
        if let Some(call) = call {
            count_check(call, &verdict);
        }
        verdict
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
        let keys = rows.keys.into_iter().map(StoredKey::read).collect();
        Self { data_key: Some(data_key), is_suspended: rows.suspended_at.is_some(), keys }
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

impl StoredKey {
    fn read(row: storage::keys::KeyRow) -> Self {
        let sealed = row.key.parse();
        Self { sealed, row, used_at: AtomicI64::new(0), noted_at: AtomicI64::new(0) }
    }

    /// Remembers the use, and says whether it is to be written down: not more than once a minute.
    fn use_at(&self, now: Timestamp) -> bool {
        const MINUTE: i64 = 60_000_000;
        let now = now.as_microsecond();
        self.used_at.store(now, Ordering::Relaxed);
        let noted = self.noted_at.load(Ordering::Relaxed);
        now.saturating_sub(noted).saturating_abs() >= MINUTE
            && self.noted_at.compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn used_at(&self) -> Option<Timestamp> {
        let used = self.used_at.load(Ordering::Relaxed);
        (used != 0).then(|| Timestamp::from_microsecond(used).ok()).flatten()
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
        self.note_use(&opened.ticket);
        Ok(opened)
    }

    fn note_use(&self, ticket: &KeyTicket) {
        let now = self.keys.clock.now();
        let place = || (self.user.clone(), ticket.provider.id.clone());
        match ticket.identity {
            Identity::Version(version) => {
                let stored = self.stored.find(&ticket.provider.id);
                if stored.is_none_or(|stored| stored.use_at(now)) {
                    let (user, provider) = place();
                    self.keys.notes().used.insert((user, provider, version), now);
                }
            }
            Identity::Outside(digest) => self.keys.notes().mark(place(), digest).used_at = Some(now),
        }
    }

    /// Opens the key without counting it as used: a check is no use.
    fn look_at(&self, provider: &Arc<Provider>) -> Result<OpenedKey, Error> {
        let found = self.find(provider);
        self.keys.figures.opened(provider.id.as_str(), opening_of(&found));
        let (key, identity, status) = found?;
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
        let verdict = self.keys.ask(provider, &key).await;
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
                Ok((key, Identity::Version(stored.row.identity()), KeyStatus::parse(&stored.row.status)))
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
            return (Identity::Version(stored.row.identity()), KeyStatus::parse(&stored.row.status));
        }
        let digest = self.keys.digest(key);
        let notes = self.keys.notes();
        let mark = notes.marks.get(&(self.user.clone(), provider.id.clone()));
        let status = mark.filter(|mark| mark.digest == digest).map(|mark| mark.status);
        (Identity::Outside(digest), status.unwrap_or(KeyStatus::Unverified))
    }

    /// Whether `text` repeats one of this user's keys, whichever provider's it is.
    pub(crate) fn repeated_in(&self, text: &str) -> bool {
        let stored = self.stored.keys.iter().any(|stored| {
            ProviderId::parse(&stored.row.provider).is_ok_and(|id| {
                self.stored.open(&self.user, &id, stored).is_ok_and(|key| key.stands_in(text))
            })
        });
        match &self.keys.read_from {
            ReadFrom::Database => stored,
            ReadFrom::Environment(files) => stored || files.repeat(&self.keys.registry, text),
        }
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

fn opening_of<T>(found: &Result<T, Error>) -> Opening {
    match found {
        Ok(_) => Opening::Opened,
        Err(Error::NoApiKey { .. }) => Opening::Missing,
        Err(_) => Opening::Unreadable,
    }
}

fn count_check(call: Call, verdict: &Verdict) {
    if !matches!(verdict, Verdict::Unknown(_)) {
        call.answered();
    }
    call.ended(match verdict {
        Verdict::Valid => CallOutcome::Ok,
        Verdict::Limited(_) => CallOutcome::Limited,
        Verdict::Rejected => CallOutcome::KeyRejected,
        Verdict::Unknown(_) => CallOutcome::Unusable,
    });
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
                self.keys.forget(&self.user);
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
