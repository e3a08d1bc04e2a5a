//! Each user's keys: one context per user, through which every look at a key goes.
//!
//! [`UserApiKeys`] is made for one user and carries that user into every query. [`OpenedKey`] is made by
//! [`UserApiKeys::open`] only, and is wiped when dropped.

mod cache;
mod deletion;
mod environment;
mod journal;
mod listing;
mod plain;
mod saving;
mod status;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

pub use cache::CacheState;
use cache::UserCache;
pub(crate) use deletion::{Deletion, REFUSED_FOR};
pub(crate) use environment::{EnvFiles, set_frontend_variable};
pub use listing::{Comparison, KeyRecord, KeySource};
pub use saving::{CheckedKey, KEPT_FOR, Saved, Warning};
pub use status::KeyStatus;

use crate::audit::{self, Action, Audit, Event, Fingerprint, Outcome, UseRecord};
use crate::auth::AuthenticatedUser;
use crate::clock::{Clock, Random};
use crate::envelope::{DataKey, EnvelopeError, KeyId, MasterKeyRing, Purpose, Sealed};
use crate::error::Error;
use crate::figures::{Call, CallKind, CallOutcome, Figures, Opening};
use crate::provider::http::HttpClient;
use crate::provider::{Provider, ProviderId, Registry, Verdict, check};
use crate::requester::{Actor, Requester};
use crate::secret::{ApiKey, MalformedKey};
use crate::storage::deletions::Tombstone;
use crate::storage::keys::{KeyVersion, LastUse, MOST_USED};
use crate::storage::plain_keys::is_plain;
use crate::storage::{self, Connection, Database, StorageError, root_secrets};
use crate::usage::Usage;
use crate::user::UserId;
use environment::Found;

/// Where keys are read from when they are used.
pub(crate) enum ReadFrom {
    /// The database, for exactly that user.
    Database,
    /// Local mode: the process environment, then the backend `.env` as it is on disk now.
    Environment(EnvFiles),
}

/// Refused calls lead to a check of their key not more often than this.
const CHECKED_SOON_EVERY: SignedDuration = SignedDuration::from_mins(10);

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
    pub(crate) usage: Usage,
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
    /// Who it was, for the audit log.
    requester: Requester,
    keys: Arc<Keys>,
    stored: Arc<Stored>,
}

/// Who looks at a user's keys: it decides who is refused once the user was suspended or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// Whoever showed a token of the user that was issued then; one that does not say when counts as old.
    Token(Option<Timestamp>),
    /// A program that vouches for the user now.
    Application,
    /// Who also looks after the keys of a suspended user.
    Operator,
}

impl AskedBy {
    /// Who that is, as long as nothing more is known.
    fn requester(self) -> Requester {
        Requester::new(match self {
            Self::Token(_) => Actor::User,
            Self::Application => Actor::Application,
            Self::Operator => Actor::Operator,
        })
    }

    pub(crate) fn token_of(user: &AuthenticatedUser) -> Self {
        Self::Token(user.issued_at())
    }
}

/// A user's rows, still sealed.
#[derive(Default)]
struct Stored {
    data_key: Option<Result<DataKey, EnvelopeError>>,
    /// The master key of this database that wraps the data key, if it is not given: the operator's to put right.
    not_given: Option<KeyId>,
    is_suspended: bool,
    /// The user was deleted once: tokens that were issued up to then are refused.
    valid_from: Option<Timestamp>,
    /// The mark of an adopted database stands: keys in plain text count.
    plain_counts: bool,
    keys: Vec<StoredKey>,
}

struct StoredKey {
    row: storage::keys::KeyRow,
    sealed: Result<Sealed, EnvelopeError>,
    /// When it was last opened since it was read, in microseconds (Unix time); 0: not yet.
    used_at: AtomicI64,
    /// The use that was last put down for writing, in the same measure.
    noted_at: AtomicI64,
    /// Of the key in plain text, once it was opened.
    fingerprint: OnceLock<Fingerprint>,
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
    fingerprint: Fingerprint,
    /// Where the key was opened for a call: how that ends is recorded.
    call: Option<UseRecord>,
}

impl Keys {
    #[expect(clippy::too_many_arguments, reason = "each is a different part")]
    pub(crate) fn new(
        database: Database,
        ring: MasterKeyRing,
        registry: Registry,
        http: Arc<HttpClient>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        read_from: ReadFrom,
        audit: Audit,
    ) -> Result<Self, Error> {
        let digest_key = Zeroizing::new(crate::clock::random_bytes::<32>(&*random)?);
        Ok(Self {
            digest_key: hmac::Key::new(hmac::HMAC_SHA256, digest_key.as_slice()),
            figures: Figures::new(registry.iter().map(|provider| provider.id.as_str())),
            usage: Usage::default(),
            audit,
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

    /// The keys of this user and of nobody else, for a program that vouches for the user.
    pub(crate) async fn of(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        self.of_asked_by(user, AskedBy::Application).await
    }

    /// The same, for whoever asks.
    pub(crate) async fn of_asked_by(
        self: &Arc<Self>,
        user: &UserId,
        asked_by: AskedBy,
    ) -> Result<UserApiKeys, Error> {
        let stored = self.remembered_or_read(user).await?;
        self.context(user, asked_by, stored)
    }

    /// The keys of this user as they stand in the database now, for a change: what it replaces must be known.
    pub(crate) async fn of_to_change(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        self.of_to_change_asked_by(user, AskedBy::Application).await
    }

    /// The same, for whoever asks.
    pub(crate) async fn of_to_change_asked_by(
        self: &Arc<Self>,
        user: &UserId,
        asked_by: AskedBy,
    ) -> Result<UserApiKeys, Error> {
        let stored = Arc::new(self.read(user).await?);
        self.context(user, asked_by, stored)
    }

    /// The same for an operator, who may also look after the keys of a suspended user.
    pub(crate) async fn of_even_if_suspended(self: &Arc<Self>, user: &UserId) -> Result<UserApiKeys, Error> {
        self.of_to_change_asked_by(user, AskedBy::Operator).await
    }

    fn context(
        self: &Arc<Self>,
        user: &UserId,
        asked_by: AskedBy,
        stored: Arc<Stored>,
    ) -> Result<UserApiKeys, Error> {
        stored.admit(asked_by, &*self.clock)?;
        let requester = asked_by.requester();
        Ok(UserApiKeys { user: user.clone(), asked_by, requester, keys: Arc::clone(self), stored })
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
        if let Some(rows) = storage::keys::load(&self.database, user).await? {
            let is_anothers = rows.data_key.is_none();
            let mut stored = Stored::read(self, &self.database, user, rows).await?;
            if is_anothers && let Some(tombstone) = storage::deletions::find(&self.database, user).await? {
                // Another program brought the row of a deleted user back.
                stored.valid_from = Some(tombstone.refused_until);
                stored.is_suspended |= tombstone.suspended_at.is_some();
            }
            return Ok(stored);
        }
        // Who has no row was never here, or was deleted.
        let tombstone = storage::deletions::find(&self.database, user).await?;
        Ok(tombstone.map(Stored::of_deleted).unwrap_or_default())
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
        let to_write = std::mem::take(&mut self.notes().used);
        let mut uses: Vec<_> = to_write
            .into_iter()
            .map(|((user, provider, key), at)| LastUse { user, provider, key, at })
            .collect();
        // In the same order everywhere: processes that note the same keys wait for each other in turn.
        uses.sort_by(|one, other| (&one.user, &one.provider).cmp(&(&other.user, &other.provider)));
        let mut is_away = false;
        for uses in uses.chunks(MOST_USED) {
            if !is_away {
                match storage::keys::set_used(&self.database, uses).await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "the times of the last uses of keys were not written");
                        is_away = matches!(error, StorageError::Unavailable(_));
                    }
                }
            }
            let mut notes = self.notes();
            for LastUse { user, provider, key, at } in uses {
                notes.used.entry((user.clone(), provider.clone(), *key)).or_insert(*at);
            }
        }
    }

    /// Writes down what calls came to. Only users of local mode can have made some without a session.
    pub(crate) async fn flush_usage(&self) {
        if let ReadFrom::Environment(_) = self.read_from {
            for user in self.usage.users() {
                if let Err(error) = self.make_session(&user).await {
                    tracing::debug!(cause = error.cause(), "no session was made for usage figures");
                }
            }
        }
        self.usage.flush(&self.database).await;
    }

    async fn make_session(&self, user: &UserId) -> Result<(), Error> {
        if storage::sessions::find(&self.database, user).await?.is_none() {
            let transaction = self.database.begin().await?;
            self.take_turn(&transaction, user, self.clock.now()).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::disallowed_methods, reason = "hashed under a random key of this process")]
    fn digest(&self, key: &ApiKey) -> [u8; 32] {
        let mut digest = [0; 32];
        // In place: `sign` would leave a copy of the key on the stack. It fails for a buffer that is too small only.
        let _ = hmac::sign_to_buffer(&self.digest_key, key.expose().as_bytes(), &mut digest);
        digest
    }
}

impl Stored {
    async fn read(
        keys: &Keys,
        connection: &impl Connection,
        user: &UserId,
        rows: storage::keys::UserKeyRows,
    ) -> Result<Self, Error> {
        let unwrap =
            |wrapped: &str| wrapped.parse().and_then(|wrapped| DataKey::unwrap(&keys.ring, user, &wrapped));
        let data_key = rows.data_key.as_deref().map(unwrap);
        let plain_counts = rows.keys.iter().any(|row| is_plain(&row.key))
            && keys.is_mark_of_plain_keys(rows.plain_mark.as_deref());
        let mut not_given = None;
        if let Some(Err(EnvelopeError::UnknownKey(id))) = &data_key {
            // Any id can be written into a damaged row; a master key that was used here left a check value.
            let check = root_secrets::find(connection, &root_secrets::master_key_check(id)).await?;
            not_given = check.is_some().then_some(*id);
        }
        Ok(Self {
            data_key,
            not_given,
            is_suspended: rows.suspended_at.is_some(),
            valid_from: rows.valid_from,
            plain_counts,
            keys: rows.keys.into_iter().map(StoredKey::read).collect(),
        })
    }

    /// What there is of a user who was deleted and did not come back.
    fn of_deleted(tombstone: Tombstone) -> Self {
        Self {
            data_key: None,
            not_given: None,
            is_suspended: tombstone.suspended_at.is_some(),
            valid_from: Some(tombstone.refused_until),
            plain_counts: false,
            keys: vec![],
        }
    }

    /// Refuses whoever may not look at these keys or change them.
    fn admit(&self, asked_by: AskedBy, clock: &dyn Clock) -> Result<(), Error> {
        admit(asked_by, self.valid_from, self.is_suspended, clock)
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
        if self.plain_counts && stored.is_plain() {
            return ApiKey::parse(&stored.row.key).map_err(no_key_in_it);
        }
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
        ApiKey::from_opened(data_key.open(&purpose, sealed)?).map_err(no_key_in_it)
    }

    /// Whether the row for this provider has no key in it.
    fn has_nothing(&self, user: &UserId, provider: &ProviderId) -> bool {
        let stored = self.find(provider);
        stored.is_some_and(|stored| matches!(self.open(user, provider, stored), Err(EnvelopeError::Empty)))
    }

    /// What is told of something that did not open: that it is to be entered again, unless only a master key is missing.
    fn unopened(&self, provider: &Provider, why: &EnvelopeError) -> Error {
        let Some(id) = self.not_given else { return unreadable(provider, &why.to_string()) };
        tracing::error!(
            master_key = %id,
            "a user's keys are sealed by a master key of this database that is not given; give it in KEYFOLD_OTHER_MASTER_KEYS and restart"
        );
        Error::MasterKey(format!(
            "Your keys are sealed with the master key {id}, which this Keyfold was not given. Nothing is lost, and there is no need to enter a key again: try later. The operator gives Keyfold that master key, as KEYFOLD_MASTER_KEY or in KEYFOLD_OTHER_MASTER_KEYS, and restarts it."
        ))
    }
}

impl StoredKey {
    fn read(row: storage::keys::KeyRow) -> Self {
        let sealed = row.key.parse();
        Self {
            sealed,
            row,
            used_at: AtomicI64::new(0),
            noted_at: AtomicI64::new(0),
            fingerprint: OnceLock::new(),
        }
    }

    fn is_plain(&self) -> bool {
        is_plain(&self.row.key)
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

    /// Whether there is a key for the provider with this id, one that does not open too. Opens none.
    ///
    /// # Errors
    /// [`Error::UnknownProvider`].
    pub fn holds(&self, provider: &str) -> Result<bool, Error> {
        let provider = self.keys.provider(provider)?;
        match &self.keys.read_from {
            ReadFrom::Database => Ok(self.stored.find(&provider.id).is_some()),
            ReadFrom::Environment(files) => Ok(!matches!(files.find(&provider)?, Found::Nothing)),
        }
    }

    /// Opens this user's key for `provider`. That it was handed out is recorded before this returns.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Error::AuditUnavailable`] if it can be recorded nowhere.
    pub fn open(&self, provider: &Arc<Provider>) -> Result<OpenedKey, Error> {
        let opened = self.look_at_for(provider, audit::Purpose::Application)?;
        let event = self.event_of(&opened.ticket, Action::KeyReleased, audit::Purpose::Application);
        self.keys.audit.record_use(event)?;
        self.note_use(&opened.ticket, self.keys.clock.now());
        Ok(opened)
    }

    /// Opens this user's key for a call of Keyfold's own, which is recorded before this returns; the ticket then takes
    /// how the call ended.
    pub(crate) async fn open_for(
        &self,
        provider: &Arc<Provider>,
        purpose: audit::Purpose,
    ) -> Result<OpenedKey, Error> {
        let mut opened = self.look_at_for(provider, purpose)?;
        let event = self.event_of(&opened.ticket, Action::KeyOpened, purpose);
        let call = self.keys.audit.begin_use(event).await?;
        self.note_use(&opened.ticket, call.begun());
        opened.ticket.call = Some(call);
        Ok(opened)
    }

    /// Opens the key and lets it go, so there is nothing to record: for benchmarks.
    #[doc(hidden)]
    pub fn open_and_drop(&self, provider: &Arc<Provider>) -> Result<(), Error> {
        self.look_at(provider).map(drop)
    }

    /// What one call with this user's key costs the audit log, without the key and the call: for benchmarks.
    #[doc(hidden)]
    pub async fn record_a_call(&self, opened: &OpenedKey) -> Result<(), Error> {
        let event = self.event_of(&opened.ticket, Action::KeyOpened, audit::Purpose::Gateway);
        self.keys.audit.begin_use(event).await?.end(Outcome::Ok, Some(200));
        Ok(())
    }

    /// The same user's keys, asked for by `requester`.
    #[must_use]
    pub(crate) fn asked_for(mut self, requester: &Requester) -> Self {
        self.requester = requester.clone();
        self
    }

    fn event_of(&self, ticket: &KeyTicket, action: Action, purpose: audit::Purpose) -> Event {
        let mut event = Event::new(action, Outcome::Ok, &self.requester)
            .of_user(&self.user)
            .at_provider(&ticket.provider.id);
        event.key_version = match ticket.identity {
            Identity::Version(version) => Some(version.version),
            Identity::Outside(_) => None,
        };
        event.fingerprint = Some(ticket.fingerprint);
        event.purpose = Some(purpose);
        event
    }

    /// Opens the key; a refusal is recorded.
    fn look_at_for(&self, provider: &Arc<Provider>, purpose: audit::Purpose) -> Result<OpenedKey, Error> {
        self.look_at(provider).inspect_err(|error| {
            let outcome = match error {
                Error::NoApiKey { .. } => Outcome::NoKey,
                Error::KeyUnreadable { .. } => Outcome::Unreadable,
                _ => Outcome::Failed,
            };
            let mut refused = Event::new(Action::KeyRefused, outcome, &self.requester)
                .of_user(&self.user)
                .at_provider(&provider.id);
            refused.purpose = Some(purpose);
            self.keys.audit.refused(refused);
        })
    }

    fn note_use(&self, ticket: &KeyTicket, now: Timestamp) {
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
        let fingerprint = || self.keys.audit.fingerprint(&key);
        let fingerprint = match (&self.keys.read_from, self.stored.find(&provider.id)) {
            (ReadFrom::Database, Some(stored)) => *stored.fingerprint.get_or_init(fingerprint),
            _ => fingerprint(),
        };
        let ticket = KeyTicket {
            keys: Arc::clone(&self.keys),
            user: self.user.clone(),
            provider: Arc::clone(provider),
            identity,
            status,
            fingerprint,
            call: None,
        };
        Ok(OpenedKey { key, ticket })
    }

    /// Asks the provider about the stored key because its time has come, and remembers what it said.
    /// `None`: there is no key to ask about.
    pub(crate) async fn recheck(&self, provider: &Arc<Provider>) -> Result<Option<Verdict>, Error> {
        if !self.has(provider) {
            return Ok(None);
        }
        self.check_stored(provider, audit::Purpose::Recheck).await.map(Some)
    }

    /// Whether the user was deleted and did not come back.
    pub(crate) fn is_of_deleted_user(&self) -> bool {
        self.stored.data_key.is_none() && self.stored.valid_from.is_some()
    }

    /// Whether there is a key for `provider`, one that does not open too.
    pub(crate) fn has(&self, provider: &Arc<Provider>) -> bool {
        !matches!(self.find(provider), Err(Error::NoApiKey { .. }))
    }

    /// Opens the key to hand it out, and counts it as used. Whoever takes it records the event before it leaves.
    pub(crate) fn open_to_release(
        &self,
        provider: &Arc<Provider>,
        requester: &Requester,
    ) -> Result<(ApiKey, Event), Error> {
        let OpenedKey { key, ticket } = self.look_at(provider)?;
        self.note_use(&ticket, self.keys.clock.now());
        let mut event = self.event_of(&ticket, Action::KeyReleased, audit::Purpose::Service);
        event.requester = requester.clone();
        Ok((key, event))
    }

    /// Asks the provider about the stored key and remembers what it said.
    pub async fn validate(&self, provider: &Arc<Provider>) -> Result<Verdict, Error> {
        self.check_stored(provider, audit::Purpose::Check).await
    }

    /// That the key was opened for it is recorded before the provider is asked.
    async fn check_stored(
        &self,
        provider: &Arc<Provider>,
        purpose: audit::Purpose,
    ) -> Result<Verdict, Error> {
        let OpenedKey { key, ticket } = self.look_at_for(provider, purpose)?;
        // One that cannot be asked is not called.
        let begun = if provider.check.is_some() {
            let event = self.event_of(&ticket, Action::KeyOpened, purpose);
            Some(self.keys.audit.begin_use(event).await?)
        } else {
            None
        };
        let verdict = self.keys.ask(provider, &key).await;
        drop(key);
        if let Some(begun) = begun {
            let is_taken = matches!(verdict, Verdict::Valid | Verdict::Limited(_));
            begun.end(if is_taken { Outcome::Ok } else { Outcome::Failed }, None);
            let mut event = self.event_of(&ticket, Action::KeyChecked, purpose);
            event.outcome = checked(&verdict);
            self.keys.audit.record_check(event).await?;
        }
        ticket.note_verdict(&verdict).await?;
        Ok(verdict)
    }

    fn find(&self, provider: &Arc<Provider>) -> Result<(ApiKey, Identity, KeyStatus), Error> {
        match &self.keys.read_from {
            ReadFrom::Database => {
                let Some(stored) = self.stored.find(&provider.id) else {
                    return Err(self.no_key(provider));
                };
                let key =
                    self.stored.open(&self.user, &provider.id, stored).map_err(|error| match error {
                        EnvelopeError::Empty => self.no_key(provider),
                        error => self.stored.unopened(provider, &error),
                    })?;
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

/// Refuses whoever asks for a user who was deleted or suspended. Tokens tell whole seconds, so one of the very second
/// of the deletion counts as older.
fn admit(
    asked_by: AskedBy,
    valid_from: Option<Timestamp>,
    is_suspended: bool,
    clock: &dyn Clock,
) -> Result<(), Error> {
    let is_in_time = valid_from.is_none_or(|valid_from| match asked_by {
        AskedBy::Token(issued_at) => {
            issued_at.is_some_and(|issued_at| issued_at.as_second() > valid_from.as_second())
        }
        AskedBy::Application => clock.now() >= valid_from,
        AskedBy::Operator => true,
    });
    if !is_in_time {
        return Err(Error::UserDeleted);
    }
    if is_suspended && asked_by != AskedBy::Operator {
        return Err(Error::UserSuspended);
    }
    Ok(())
}

fn opening_of<T>(found: &Result<T, Error>) -> Opening {
    match found {
        Ok(_) => Opening::Opened,
        Err(Error::NoApiKey { .. }) => Opening::Missing,
        Err(_) => Opening::Unreadable,
    }
}

/// What a check came to, in the audit log's words.
fn checked(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Valid => Outcome::Valid,
        Verdict::Limited(_) => Outcome::Limited,
        Verdict::Rejected => Outcome::Rejected,
        Verdict::Unknown(_) => Outcome::Unverified,
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

/// Another program may keep a row without a key, or with something that is none.
fn no_key_in_it(why: MalformedKey) -> EnvelopeError {
    match why {
        MalformedKey::Empty => EnvelopeError::Empty,
        _ => EnvelopeError::Malformed,
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

    /// For whoever records how the call ended.
    pub(crate) fn take_call(&mut self) -> Option<UseRecord> {
        self.call.take()
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
        if self.success_is_news() {
            self.note_quietly(&Verdict::Valid).await;
        }
    }

    /// Whether a success would change what is known of the key.
    pub(crate) fn success_is_news(&self) -> bool {
        matches!(self.status, KeyStatus::Rejected | KeyStatus::Unverified)
    }

    /// The provider refused the key in a call.
    pub(crate) async fn note_rejection(&self) {
        if self.status != KeyStatus::Rejected {
            self.note_quietly(&Verdict::Rejected).await;
        }
    }

    /// The provider refused a call, perhaps because of the key: a check will tell, where there is a free one.
    pub(crate) async fn check_soon(&self) {
        let (Identity::Version(version), true) = (self.identity, self.provider.check.is_some()) else {
            return;
        };
        let now = self.keys.clock.now();
        let not_since = now.saturating_sub(CHECKED_SOON_EVERY).unwrap_or(Timestamp::MIN);
        let (database, provider) = (&self.keys.database, self.provider.id.as_str());
        let planned = storage::rechecks::soon(database, &self.user, provider, version, now, not_since).await;
        if let Err(error) = planned {
            tracing::debug!(%error, "a check of a key was not planned");
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
