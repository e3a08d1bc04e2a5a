//! Saving, replacing, rolling back and removing keys.
//!
//! A change is made in the database's transaction first, then in the `.env` files, then committed; whatever
//! fails undoes the rest. It runs as a task of its own, so a caller who leaves does not leave half of it.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::environment::{EnvFiles, Found, Undo};
use super::journal::Entry;
use super::{AskedBy, KeyRecord, KeySource, KeyStatus, Keys, ReadFrom, Stored, UserApiKeys};
use crate::audit::{self, Action, Event, Outcome};
use crate::clock::Random;
use crate::dotenv::EnvFile;
use crate::envelope::{DataKey, EnvelopeError, Purpose, Sealed};
use crate::error::Error;
use crate::provider::key_shape::{Appearance, appearance};
use crate::provider::{Provider, ProviderId, Verdict};
use crate::requester::{Actor, Requester};
use crate::secret::ApiKey;
use crate::storage::keys::{KeyRow, UserKeyRows};
use crate::storage::{self, StorageError, Transaction};
use crate::user::UserId;

/// How long a replaced key can be rolled back.
pub const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A key that was saved, and what the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The key as it now is.
    pub record: KeyRecord,
    /// Whether there was none before.
    pub is_new: bool,
    /// Whether there is a version to roll back to.
    pub has_previous: bool,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// Something that the user should know about a saved key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It does not look like the keys of this provider that Keyfold knows.
    UnfamiliarForm(String),
    /// Live, but restricted; says why.
    Limited(String),
    /// The provider could not be asked; says why.
    NotVerified(String),
    /// A variable of the process hides the saved key.
    Overridden(String),
    /// Browsers need it, and there is no frontend `.env`.
    NoFrontendFile(String),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::UnfamiliarForm(text)
        | Self::Limited(text)
        | Self::NotVerified(text)
        | Self::Overridden(text)
        | Self::NoFrontendFile(text)) = self;
        formatter.write_str(text)
    }
}

/// A key that its provider was asked about and did not reject: only such a key is saved.
pub struct CheckedKey {
    provider: Arc<Provider>,
    key: ApiKey,
    verdict: Verdict,
    warnings: Vec<Warning>,
}

impl CheckedKey {
    /// Whose key it is to be.
    pub(crate) fn provider(&self) -> &ProviderId {
        &self.provider.id
    }
}

impl UserApiKeys {
    /// Asks the provider about a key that is not saved.
    pub async fn check_unsaved(&self, provider: &Arc<Provider>, key: ApiKey) -> Result<Verdict, Error> {
        Ok(match self.check_before_saving(provider, key).await {
            Ok(checked) => checked.verdict,
            Err(Error::KeyRejectedOnSaving { .. }) => Verdict::Rejected,
            Err(error) => return Err(error),
        })
    }

    /// Looks at a key and asks its provider; the result can be [`store`](Self::store)d.
    pub async fn check_before_saving(
        &self,
        provider: &Arc<Provider>,
        key: ApiKey,
    ) -> Result<CheckedKey, Error> {
        let mut warnings = vec![];
        match appearance(&self.keys.registry, provider, &key) {
            Appearance::Known => {}
            Appearance::Unknown => warnings.push(Warning::UnfamiliarForm(format!(
                "This does not look like the keys of {} that Keyfold knows (a key {}). Providers change their formats, so it was taken as it is.",
                provider.name, provider.format_hint
            ))),
            Appearance::Wrong(why) => {
                return Err(Error::InvalidKeyFormat {
                    provider: provider.id.clone(),
                    name: provider.name.clone(),
                    why,
                });
            }
        }
        let verdict = self.keys.ask(provider, &key).await;
        if provider.check.is_some() {
            let mut event = Event::new(Action::KeyChecked, super::checked(&verdict), &self.requester)
                .of_user(&self.user)
                .at_provider(&provider.id);
            event.fingerprint = Some(self.keys.audit.fingerprint(&key));
            event.purpose = Some(audit::Purpose::Check);
            self.keys.audit.record_check(event).await?;
        }
        match &verdict {
            Verdict::Valid => {}
            Verdict::Limited(why) => {
                warnings.push(Warning::Limited(format!("The key is live, but limited: {why}.")));
            }
            Verdict::Unknown(why) => warnings
                .push(Warning::NotVerified(format!("The key was saved without being verified: {why}."))),
            Verdict::Rejected => {
                return Err(Error::KeyRejectedOnSaving {
                    provider: provider.id.clone(),
                    name: provider.name.clone(),
                    setup_url: provider.setup_url.clone(),
                });
            }
        }
        Ok(CheckedKey { provider: Arc::clone(provider), key, verdict, warnings })
    }

    /// Checks a key and saves it, over the old one if there is one. A rejected key is not saved.
    pub async fn save(&self, provider: &Arc<Provider>, key: ApiKey) -> Result<Saved, Error> {
        self.store(self.check_before_saving(provider, key).await?).await
    }

    /// Saves a key that was checked; [`Error::Conflict`] if it was changed since this context was made.
    pub async fn store(&self, checked: CheckedKey) -> Result<Saved, Error> {
        let CheckedKey { provider, key, verdict, mut warnings } = checked;
        let status = KeyStatus::from_verdict(&verdict).unwrap_or(KeyStatus::Unverified);
        if let ReadFrom::Environment(files) = &self.keys.read_from {
            warnings.extend(file_warnings(files, &provider));
        }
        let change = Change::Save { key, status };
        let Changed { record, is_new, has_previous } = self.change(&provider, change).await?;
        let record = record.ok_or_else(|| Error::Internal("a saved key has no record".into()))?;
        Ok(Saved { record, is_new, has_previous, warnings })
    }

    /// Goes back to the version before the current one, if it was replaced within the last 24 hours.
    /// What is current now can then be gone back to in turn.
    pub async fn roll_back(&self, provider: &Arc<Provider>) -> Result<KeyRecord, Error> {
        let changed = self.change(provider, Change::RollBack).await?;
        changed.record.ok_or_else(|| Error::Internal("a restored key has no record".into()))
    }

    /// Removes all versions of a key, and its lines from the `.env` files.
    pub async fn remove(&self, provider: &Arc<Provider>) -> Result<(), Error> {
        self.change(provider, Change::Remove).await.map(drop)
    }

    async fn change(&self, provider: &Arc<Provider>, change: Change) -> Result<Changed, Error> {
        let work = Changing {
            keys: Arc::clone(&self.keys),
            user: self.user.clone(),
            asked_by: self.asked_by,
            requester: self.requester.clone(),
            provider: Arc::clone(provider),
            seen: self.stored.find(&provider.id).map(|stored| stored.row.version),
        };
        tokio::spawn(work.run(change)).await?
    }
}

impl Keys {
    /// The user's rows; other changes of this user wait from here on. A user who was never here gets a session
    /// with a data key, and one whose data key is damaged a new one: the keys under the old one cannot be read
    /// any more, but can be entered again.
    pub(super) async fn rows_to_change(
        &self,
        transaction: &Transaction,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Stored, Error> {
        self.take_turn(transaction, user, now).await?;
        let mut rows = load(transaction, user).await?;
        if rows.data_key.is_none() {
            self.give_data_key(transaction, user).await?;
            rows = load(transaction, user).await?;
        }
        let damaged = rows.data_key.clone().unwrap_or_default();
        let stored = Stored::read(self, transaction, user, rows).await?;
        // A master key that is not given is the operator's to put right: nothing is lost yet.
        let is_damaged = matches!(
            stored.data_key,
            Some(Err(EnvelopeError::NotSealed | EnvelopeError::Malformed | EnvelopeError::DoesNotOpen))
        );
        if !is_damaged {
            return Ok(stored);
        }
        tracing::error!("a user's data key is damaged; it is put aside, and a new one takes its place");
        storage::sessions::keep_damaged_data_key(transaction, user).await?;
        let (_, wrapped) = DataKey::generate(&self.ring, &*self.random, user)?;
        storage::sessions::replace_data_key(transaction, user, &damaged, &wrapped.to_string()).await?;
        Stored::read(self, transaction, user, load(transaction, user).await?).await
    }

    /// Wipes every user's replaced keys whose time is over; what fails is done the next time.
    pub(crate) async fn wipe_expired_versions(&self) {
        let oldest = self.clock.now().saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
        if let Err(error) = storage::keys::wipe_expired(&self.database, oldest).await {
            tracing::debug!(%error, "replaced keys were not wiped");
        }
    }

    /// Finishes what killed processes left half done between the `.env` files and the database (local mode).
    pub(crate) async fn settle_changes(self: &Arc<Self>) {
        if let ReadFrom::Environment(files) = &self.read_from {
            let _turn = self.saving.lock().await;
            self.settle(files).await;
        }
    }

    /// The same while no other change is under way in this process.
    async fn settle(self: &Arc<Self>, files: &EnvFiles) {
        let notes = files.journal().notes();
        if notes.is_empty() {
            return;
        }
        for note in notes {
            match self.finish(files, &note).await {
                Ok(()) => drop(std::fs::remove_file(&note)),
                // Tried again before the next change.
                Err(error) => tracing::warn!(
                    cause = %error.cause(),
                    "a change that a killed process left half done is not finished yet"
                ),
            }
        }
        let keys = Arc::clone(self);
        let swept = tokio::task::spawn_blocking(move || {
            if let ReadFrom::Environment(files) = &keys.read_from {
                files.sweep();
            }
        });
        drop(swept.await);
    }

    async fn finish(self: &Arc<Self>, files: &EnvFiles, note: &Path) -> Result<(), Error> {
        let mut entry = Entry::read(note);
        if entry.is_none() {
            // Half of it: its process is about to write the rest, or is dead.
            drop(self.database.begin().await?);
            entry = Entry::read(note);
        }
        let Some(entry) = entry else { return Ok(()) };
        let (Some(user), Ok(provider)) = (entry.user(), self.provider(entry.provider())) else {
            return Ok(());
        };
        let key = entry.key(&self.ring, &user, &provider.id)?;
        let half_done = Changing {
            keys: Arc::clone(self),
            user,
            asked_by: AskedBy::Operator,
            requester: Requester::new(Actor::Keyfold),
            provider,
            seen: entry.seen,
        };
        if !half_done.reached_the_files(files, note, key.as_ref()).await? {
            return Ok(());
        }
        let change = match key {
            Some(key) => Change::Save { key, status: KeyStatus::Unverified },
            None => Change::Remove,
        };
        match half_done.run_in_turn(change).await {
            // Somebody else was faster.
            Ok(_) | Err(Error::Conflict { .. } | Error::NoApiKey { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

enum Change {
    Save { key: ApiKey, status: KeyStatus },
    RollBack,
    Remove,
}

/// What came of it.
struct Changed {
    /// Of the key that is current now; `None` if there is none.
    record: Option<KeyRecord>,
    is_new: bool,
    has_previous: bool,
}

impl Change {
    /// What it is called, of a key that was there before.
    fn action(&self) -> Action {
        match self {
            Self::Save { .. } => Action::KeyReplaced,
            Self::RollBack => Action::KeyRolledBack,
            Self::Remove => Action::KeyDeleted,
        }
    }
}

struct Changing {
    keys: Arc<Keys>,
    user: UserId,
    asked_by: AskedBy,
    requester: Requester,
    provider: Arc<Provider>,
    /// The version that the caller saw; another one now is a conflict.
    seen: Option<i64>,
}

impl Changing {
    async fn run(self, change: Change) -> Result<Changed, Error> {
        let keys = Arc::clone(&self.keys);
        let mut lost = self.event(change.action());
        lost.outcome = Outcome::Conflict;
        let done = match &keys.read_from {
            ReadFrom::Database => self.run_in_turn(change).await,
            ReadFrom::Environment(files) => {
                let _turn = keys.saving.lock().await;
                keys.settle(files).await;
                self.run_in_turn(change).await
            }
        };
        if matches!(done, Err(Error::Conflict { .. })) {
            keys.audit.note(lost);
        }
        done
    }

    fn event(&self, action: Action) -> Event {
        Event::new(action, Outcome::Ok, &self.requester).of_user(&self.user).at_provider(&self.provider.id)
    }

    async fn run_in_turn(self, change: Change) -> Result<Changed, Error> {
        let now = self.keys.clock.now();
        let transaction = self.keys.database.begin().await?;
        let oldest = now.saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
        let mut stored = self.keys.rows_to_change(&transaction, &self.user, now).await?;
        // Providers take their time to answer; an operator may have acted meanwhile.
        stored.admit(self.asked_by, &*self.keys.clock)?;
        let mut events = vec![];
        if stored.plain_counts && stored.find(&self.provider.id).is_some_and(super::StoredKey::is_plain) {
            // What is kept of it to go back to is sealed.
            events = self
                .keys
                .seal_in_turn(&transaction, &self.user, Some(&self.provider.id), &self.requester)
                .await?;
            stored = self.keys.rows_to_change(&transaction, &self.user, now).await?;
        }
        if !stored.keys.is_empty() {
            storage::keys::wipe_expired_of(&transaction, &self.user, oldest).await?;
        }
        let current = stored.find(&self.provider.id).map(|current| current.row.clone());
        if current.as_ref().map(|row| row.version) != self.seen {
            return Err(self.conflict());
        }
        let outside = self.outside(&stored)?;
        let is_new = current.is_none() && outside.is_none();
        let is_first = is_new && matches!(change, Change::Save { .. });
        let mut event = self.event(if is_first { Action::KeySaved } else { change.action() });
        let (undo, row, masked) = match change {
            Change::Remove => {
                let removed =
                    storage::keys::remove(&transaction, &self.user, self.provider.id.as_str()).await?;
                if !removed && outside.is_none() && !self.in_files_already()? {
                    return Err(self.nothing_there());
                }
                if let Some(row) = &current {
                    event.key_version = Some(row.version);
                    let key = self.open(&stored, &row.key, row.version).ok();
                    event.fingerprint = key.map(|key| self.keys.audit.fingerprint(&key));
                }
                (self.in_files(None).await?, None, String::new())
            }
            Change::Save { key, status } => {
                let masked = key.masked();
                event.fingerprint = Some(self.keys.audit.fingerprint(&key));
                let verified_at = (status != KeyStatus::Unverified).then_some(now);
                let row = self
                    .replace(&transaction, &stored, current.as_ref(), outside, &key, status, verified_at, now)
                    .await?;
                (self.in_files(Some(key)).await?, Some(row), masked)
            }
            Change::RollBack => {
                let (sealed, version, status) = if let (Some(_), Some(saved)) = (&outside, &current) {
                    // An edit by hand is the present version, so the saved one is the version before it.
                    (saved.key.clone(), saved.version, saved.status.clone())
                } else {
                    let provider = self.provider.id.as_str();
                    storage::keys::previous(&transaction, &self.user, provider, oldest)
                        .await?
                        .map(|previous| (previous.key, previous.version, previous.status))
                        .ok_or_else(|| Error::NoPreviousVersion { provider: self.provider.id.clone() })?
                };
                let key = self.open(&stored, &sealed, version)?;
                let masked = key.masked();
                event.fingerprint = Some(self.keys.audit.fingerprint(&key));
                let status = KeyStatus::parse(&status);
                let row = self
                    .replace(&transaction, &stored, current.as_ref(), outside, &key, status, None, now)
                    .await?;
                (self.in_files(Some(key)).await?, Some(row), masked)
            }
        };
        if let Some(row) = &row {
            event.key_version = Some(row.version);
        }
        events.push(event);
        let has_previous = row.is_some() && !is_new && self.has_previous(&transaction, now).await?;
        let committed = self.keys.audit.commit(transaction, events).await;
        // Also when it failed: an answer that got lost may have been a yes.
        self.keys.forget(&self.user);
        if let Err(error) = committed {
            undo.into_iter().for_each(Undo::apply);
            return Err(error);
        }
        Ok(Changed { record: row.map(|row| self.record(&row, masked)), is_new, has_previous })
    }

    /// Whether this change, which a note tells of, is in the backend file and not in the database.
    async fn reached_the_files(
        &self,
        files: &EnvFiles,
        note: &Path,
        key: Option<&ApiKey>,
    ) -> Result<bool, Error> {
        // A process that lives holds the turn as long as its note is needed.
        let transaction = self.keys.database.begin().await?;
        let stored = self.keys.rows_to_change(&transaction, &self.user, self.keys.clock.now()).await?;
        let version = stored.find(&self.provider.id).map(|current| current.row.version);
        if version != self.seen || !note.exists() {
            return Ok(false);
        }
        let file = EnvFile::read(files.backend())?;
        Ok(match (key, files.find_in_file(&self.provider, &file)) {
            (Some(key), Found::Key { key: there, .. }) => there.is_same_as(key),
            (Some(_), _) => false,
            (None, _) => file.variable(&self.provider.variable).is_none(),
        })
    }

    /// A key that was entered by hand and is about to be replaced: it is kept like a saved one.
    fn outside(&self, stored: &Stored) -> Result<Option<ApiKey>, Error> {
        let ReadFrom::Environment(files) = &self.keys.read_from else { return Ok(None) };
        let file = EnvFile::read(files.backend())?;
        let Found::Key { key, .. } = files.find_in_file(&self.provider, &file) else { return Ok(None) };
        let saved = stored
            .find(&self.provider.id)
            .and_then(|row| stored.open(&self.user, &self.provider.id, row).ok());
        Ok(if saved.is_some_and(|saved| saved.is_same_as(&key)) { None } else { Some(key) })
    }

    /// Whether the files have anything at all under this name, a placeholder for instance.
    fn in_files_already(&self) -> Result<bool, Error> {
        let ReadFrom::Environment(files) = &self.keys.read_from else { return Ok(false) };
        if EnvFile::read(files.backend())?.variable(&self.provider.variable).is_some() {
            return Ok(true);
        }
        let (Some(frontend), Some(variable)) = (files.frontend(), &self.provider.frontend_variable) else {
            return Ok(false);
        };
        Ok(EnvFile::read(frontend)?.variable(variable).is_some())
    }

    #[expect(clippy::too_many_arguments, reason = "each is a different part of one row")]
    async fn replace(
        &self,
        transaction: &Transaction,
        stored: &Stored,
        current: Option<&KeyRow>,
        outside: Option<ApiKey>,
        key: &ApiKey,
        status: KeyStatus,
        verified_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<KeyRow, Error> {
        let mut current = current.cloned();
        // The same key again would only push out the version that is worth going back to.
        if let Some(outside) = outside.filter(|outside| !outside.is_same_as(key)) {
            let row = self.row(stored, current.as_ref(), &outside, KeyStatus::Unverified, None, now)?;
            self.put(transaction, current.as_ref(), &row).await?;
            current = Some(row);
        }
        let row = self.row(stored, current.as_ref(), key, status, verified_at, now)?;
        if let Some(current) = current.as_ref().filter(|_| !stored.has_nothing(&self.user, &self.provider.id))
            && (!self.is_the_same(stored, current, key) || !self.has_previous(transaction, now).await?)
        {
            storage::keys::keep_current(transaction, &self.user, self.provider.id.as_str(), now).await?;
        }
        self.put(transaction, current.as_ref(), &row).await?;
        Ok(row)
    }

    fn is_the_same(&self, stored: &Stored, row: &KeyRow, key: &ApiKey) -> bool {
        self.open(stored, &row.key, row.version).is_ok_and(|current| current.is_same_as(key))
    }

    async fn has_previous(&self, transaction: &Transaction, now: Timestamp) -> Result<bool, Error> {
        let oldest = now.saturating_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
        let provider = self.provider.id.as_str();
        Ok(storage::keys::previous(transaction, &self.user, provider, oldest).await?.is_some())
    }

    async fn put(
        &self,
        transaction: &Transaction,
        current: Option<&KeyRow>,
        row: &KeyRow,
    ) -> Result<(), Error> {
        let put = match current {
            None => storage::keys::insert(transaction, &self.user, row).await,
            Some(current) => storage::keys::replace(transaction, &self.user, row, current.version).await,
        };
        put.map_err(|error| match error {
            StorageError::Conflict => self.conflict(),
            other => other.into(),
        })
    }

    fn row(
        &self,
        stored: &Stored,
        current: Option<&KeyRow>,
        key: &ApiKey,
        status: KeyStatus,
        verified_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<KeyRow, Error> {
        let version = current.map_or(1, |current| current.version + 1);
        Ok(KeyRow {
            provider: self.provider.id.to_string(),
            key: self.seal(stored, key, version)?.to_string(),
            version,
            status: status.as_str().into(),
            created_at: current.map_or(now, |current| current.created_at),
            updated_at: now,
            last_used_at: None,
            last_verified_at: verified_at,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "sealed at once")]
    fn seal(&self, stored: &Stored, key: &ApiKey, version: i64) -> Result<Sealed, Error> {
        let random: &dyn Random = &*self.keys.random;
        let purpose = Purpose::ApiKey { user: &self.user, provider: &self.provider.id, version };
        Ok(self.data_key(stored)?.seal(random, &purpose, key.expose().as_bytes())?)
    }

    fn open(&self, stored: &Stored, sealed: &str, version: i64) -> Result<ApiKey, Error> {
        let purpose = Purpose::ApiKey { user: &self.user, provider: &self.provider.id, version };
        let data_key = self.data_key(stored)?;
        let open = || {
            let opened = data_key.open(&purpose, &sealed.parse()?)?;
            ApiKey::from_opened(opened).map_err(|_| EnvelopeError::Malformed)
        };
        open().map_err(|error| super::unreadable(&self.provider, &error.to_string()))
    }

    /// A damaged data key was replaced when the rows were read; one that does not open now is the operator's
    /// to put right (a master key that is not given, a later format).
    fn data_key<'a>(&self, stored: &'a Stored) -> Result<&'a DataKey, Error> {
        match &stored.data_key {
            Some(Ok(data_key)) => Ok(data_key),
            Some(Err(error)) => Err(stored.unopened(&self.provider, error)),
            None => Err(Error::Internal("a session has no data key".into())),
        }
    }

    /// Writes or removes the key in the `.env` files, off the runtime's threads.
    async fn in_files(&self, key: Option<ApiKey>) -> Result<Option<Undo>, Error> {
        if matches!(self.keys.read_from, ReadFrom::Database) {
            return Ok(None);
        }
        let (keys, provider) = (Arc::clone(&self.keys), Arc::clone(&self.provider));
        let entry = Entry::new(&keys.ring, &*keys.random, &self.user, &provider.id, self.seen, key.as_ref())?;
        let written = tokio::task::spawn_blocking(move || {
            let ReadFrom::Environment(files) = &keys.read_from else { return Ok(None) };
            let note = files.journal().note(&*keys.random, &entry)?;
            let undo = match key {
                Some(key) => files.write(&provider, &key, note),
                None => files.remove(&provider, note),
            };
            Ok::<_, Error>(Some(undo?))
        });
        written.await?
    }

    fn record(&self, row: &KeyRow, masked: String) -> KeyRecord {
        let files = match &self.keys.read_from {
            ReadFrom::Database => None,
            ReadFrom::Environment(files) => Some(files),
        };
        KeyRecord {
            provider: ProviderId::clone(&self.provider.id),
            masked,
            status: KeyStatus::parse(&row.status),
            source: if files.is_some() { KeySource::EnvFile } else { KeySource::Database },
            version: Some(row.version),
            created_at: Some(row.created_at),
            updated_at: Some(row.updated_at),
            last_used_at: None,
            last_verified_at: row.last_verified_at,
            // It was just written to the files.
            overridden_by: files
                .filter(|files| files.process_overrides(&self.provider))
                .map(|_| self.provider.variable.clone()),
            files: files.map(|files| files.of(&self.provider)).unwrap_or_default(),
        }
    }

    fn conflict(&self) -> Error {
        Error::Conflict { provider: self.provider.id.clone() }
    }

    fn nothing_there(&self) -> Error {
        Error::NoApiKey {
            provider: self.provider.id.clone(),
            name: self.provider.name.clone(),
            remedy: match &self.keys.read_from {
                ReadFrom::Environment(files) if files.process_overrides(&self.provider) => format!(
                    "The one that is used is the variable {} of the process: unset it and restart Keyfold.",
                    self.provider.variable
                ),
                _ => "There is nothing to remove.".into(),
            },
        }
    }
}

async fn load(transaction: &Transaction, user: &UserId) -> Result<UserKeyRows, Error> {
    let rows = storage::keys::load(transaction, user).await?;
    rows.ok_or_else(|| Error::Internal("a user's session vanished".into()))
}

fn file_warnings(files: &EnvFiles, provider: &Provider) -> Vec<Warning> {
    let mut warnings = vec![];
    if files.process_overrides(provider) {
        warnings.push(Warning::Overridden(format!(
            "The variable {} is set for this process and overrides {}: calls keep using the process's key. Unset it and restart Keyfold.",
            provider.variable,
            files.backend().display()
        )));
    }
    if let (Some(variable), None) = (&provider.frontend_variable, files.frontend()) {
        warnings.push(Warning::NoFrontendFile(format!(
            "There is no frontend folder here, so {variable} was not written for the front end. Set KEYFOLD_FRONTEND_ENV_FILE to its .env."
        )));
    }
    warnings
}
