//! Keyfold: each user brings their own provider keys, and every call made for a user uses exactly that user's
//! key.
//!
//! The whole flow in one example, against local mode in a folder of its own:
//!
//! ```
//! use keyfold::{Environment, Keyfold};
//!
//! # tokio_main(async {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join(".env"), "GEMINI_API_KEY=AIza-test-data-not-a-real-key\n")?;
//!
//! // In a service: `Keyfold::from_env().await?`.
//! let environment = Environment::from_iter([("DEBUG", "true")]);
//! let keyfold = Keyfold::open_with(environment, folder.path()).await?;
//!
//! let keys = keyfold.user_api_keys("local").await?;   // this user's keys and nobody else's
//! let gemini = keys.get("gemini")?;                    // wiped from memory when dropped
//! assert_eq!(gemini.expose(), "AIza-test-data-not-a-real-key");
//!
//! let missing = keys.get("exa").err().ok_or("there is no Exa key")?;
//! assert_eq!(missing.code(), "no_api_key");
//! assert!(missing.to_string().contains("EXA_API_KEY"));  // what to do about it
//! # Ok(())
//! # });
//! # fn tokio_main(f: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) {
//! #     tokio::runtime::Runtime::new().unwrap().block_on(f).unwrap();
//! # }
//! ```

pub mod account;
pub mod audit;
pub mod auth;
pub mod calls;
pub mod clock;
pub mod dotenv;
pub mod env_import;
pub mod envelope;
mod error;
pub mod figures;
pub mod gateway;
pub mod keys;
pub mod limit;
pub mod master_keys;
pub mod migration;
pub mod mode;
pub mod onboarding;
mod preset;
pub mod provider;
mod recent;
pub mod recheck;
pub mod requester;
mod root_keys;
pub mod scan;
pub mod secret;
pub mod security;
pub mod service_tokens;
pub mod settings;
pub mod state_dir;
mod storage;
mod turns;
mod usage;
pub mod user;
pub mod users;

/// The guide's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
mod guide {}

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use error::Error;
pub use keys::{CacheState, OpenedKey, UserApiKeys};
pub use settings::{Environment, Settings};
pub use storage::inspection::{Encryption, PostgresFacts, Schema};
#[doc(hidden)]
pub use storage::keys::LOOK_UP;
#[doc(hidden)]
pub use storage::master_keys::{BATCH as REWRAPPED_AT_ONCE, rewrap_sql};
pub use storage::{PoolState, Rest};
#[doc(hidden)]
pub use usage::{AnswerReader, AskedPath, TokenCounts};
pub use usage::{DayOfUsage, UsageFigures};

use account::{Account, IssuerMessages};
use audit::{Action, Audit, AuditLog, AuditParts, EntryFilter, EntryPage, Event, Outcome};
use auth::issuer::Issuer;
use auth::{AuthenticatedUser, KeySetTimeouts, SignInPlaces, TokenVerifier};
use clock::{Clock, Random, SystemClock, SystemRandom};
use figures::{AuditFigures, Figures};
use gateway::{Gateway, GatewayCaller};
use keys::{AskedBy, EnvFiles, Keys, ReadFrom};
use limit::{Class, Counted, Limits, Refusal, Standing, StreamPlace};
use master_keys::{MasterKeys, Progress, Rotation};
use migration::Migration;
use mode::Mode;
use onboarding::{Onboarding, Preset};
use provider::Registry;
use provider::http::{HttpClient, Timeouts};
use recheck::Rechecks;
use requester::{Actor, Requester};
use service_tokens::ServiceTokens;
use settings::{
    AuditSettings, DatabaseAccess, DatabaseSetting, Durability, MasterKeySetting, PostgresAddress, Problems,
    Sources,
};
use state_dir::StateDir;
use storage::Database;
use user::UserId;
use users::Users;

/// How long a statement waits for another process that uses the same SQLite file.
const PATIENCE: Duration = Duration::from_secs(1);

/// A running Keyfold: one database, one master key, one registry of providers. Cheap to clone.
#[derive(Clone)]
pub struct Keyfold {
    keys: Arc<Keys>,
    service_tokens: Arc<ServiceTokens>,
    gateway: Arc<Gateway>,
    daily_recheck: bool,
    audit_settings: AuditSettings,
    limits: Arc<Limits>,
    preset: Preset,
    mode: Mode,
}

/// What a Keyfold is made with besides its settings; a test holds these still.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How long providers may take.
    pub timeouts: Timeouts,
}

impl Default for Parts {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), timeouts: Timeouts::default() }
    }
}

impl Keyfold {
    /// Opens Keyfold with the settings of this process and the working directory.
    pub async fn from_env() -> Result<Self, Error> {
        let here = std::env::current_dir()
            .map_err(|error| Error::CannotStart(format!("The working directory cannot be read: {error}.")))?;
        Self::open_with(Environment::from_process(), &here).await
    }

    /// Opens Keyfold with these variables, as if started in `dir`.
    pub async fn open_with(environment: Environment, dir: &Path) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let sources = Sources::read(environment, dir, &mut problems);
        let settings = sources.as_ref().and_then(|sources| Settings::read(sources, &mut problems));
        problems.into_result()?;
        let settings = settings.ok_or_else(|| Error::Internal("settings are missing".into()))?;
        let process = sources.map(|sources| sources.process().clone()).unwrap_or_default();
        Self::open(&settings, process, Parts::default()).await
    }

    /// Opens Keyfold. `process` is looked at for keys in local mode only.
    pub async fn open(settings: &Settings, process: Environment, parts: Parts) -> Result<Self, Error> {
        // Only in builds for tests.
        #[cfg(debug_assertions)]
        if let Some(told) = process.get("KEYFOLD_TEST_LATER_MIGRATION") {
            storage::know_later_migration(told).map_err(|error| explain_start(&settings.database, &error))?;
        }
        let read_from = match settings.mode {
            Mode::Production => ReadFrom::Database,
            Mode::Local => ReadFrom::Environment(EnvFiles::new(
                process,
                settings.backend_env_file.clone(),
                settings.frontend_env_file.clone(),
                settings.state_dir.clone(),
            )),
        };
        Box::pin(Self::open_reading_from(read_from, settings, parts)).await
    }

    /// Opens Keyfold so that keys are read from the database, as in production, on SQLite: for benchmarks.
    #[doc(hidden)]
    pub async fn open_with_keys_in_database(settings: &Settings, parts: Parts) -> Result<Self, Error> {
        Box::pin(Self::open_reading_from(ReadFrom::Database, settings, parts)).await
    }

    async fn open_reading_from(
        read_from: ReadFrom,
        settings: &Settings,
        parts: Parts,
    ) -> Result<Self, Error> {
        let database = match &settings.database {
            DatabaseSetting::Sqlite(path) => {
                // Its usual place is inside the state directory.
                StateDir::prepare(&settings.state_dir)?;
                Database::open_sqlite(path.clone(), PATIENCE).await
            }
            DatabaseSetting::Postgres(address) => Database::open_postgres(address).await,
        };
        let database = database.map_err(|error| explain_start(&settings.database, &error))?;
        let ring = master_keys::open_ring(settings, &database, &*parts.random).await?;
        let audit = Audit::open(AuditParts {
            database: &database,
            ring: &ring,
            clock: &parts.clock,
            random: &parts.random,
            setting: &settings.database,
            settings: &settings.audit,
            state_dir: &settings.state_dir,
        });
        let audit = audit.await?;
        let keys = Keys::new(
            database,
            ring,
            settings.registry.clone(),
            Arc::new(HttpClient::new(parts.timeouts)),
            parts.clock,
            parts.random,
            read_from,
            audit,
        )?;
        let keys = Arc::new(keys);
        keys.settle_changes().await;
        let service_tokens = Arc::new(ServiceTokens::new(Arc::clone(&keys)));
        let limits = Arc::new(Limits::new(&settings.limits, Arc::clone(&keys.clock)));
        let gateway = Arc::new(Gateway::new(&keys, &limits, parts.timeouts)?);
        let (preset, mode, daily_recheck) = (settings.preset, settings.mode, settings.daily_recheck);
        let audit_settings = settings.audit.clone();
        Ok(Self { keys, service_tokens, gateway, daily_recheck, audit_settings, limits, preset, mode })
    }

    /// Verifies this issuer's tokens, by the same clock. One per process.
    pub fn token_verifier(&self, issuer: &Issuer) -> TokenVerifier {
        TokenVerifier::new(issuer, Arc::clone(&self.keys.clock), KeySetTimeouts::default())
    }

    /// Where this issuer has people sign in, by the same clock. One per process.
    pub fn sign_in_places(&self, issuer: &Issuer) -> SignInPlaces {
        SignInPlaces::new(issuer, Arc::clone(&self.keys.clock), KeySetTimeouts::default())
    }

    /// The keys of this user and of nobody else. The caller vouches for the user here, and only here.
    pub async fn user_api_keys(&self, user_id: &str) -> Result<UserApiKeys, Error> {
        let user = UserId::parse(user_id)
            .map_err(|why| Error::InvalidRequest { field: "user_id".into(), why: why.to_string() })?;
        self.keys.of(&user).await
    }

    /// The same, asking the database each time: for benchmarks.
    #[doc(hidden)]
    pub async fn user_api_keys_read_anew(&self, user_id: &str) -> Result<UserApiKeys, Error> {
        let user = UserId::parse(user_id)
            .map_err(|why| Error::InvalidRequest { field: "user_id".into(), why: why.to_string() })?;
        self.keys.of_to_change(&user).await
    }

    /// The keys of a user whose identity was checked.
    pub async fn keys_of(&self, user: &AuthenticatedUser) -> Result<UserApiKeys, Error> {
        let keys = self.keys.of_asked_by(user.user(), AskedBy::token_of(user)).await;
        self.asked_for(user, keys)
    }

    /// Refuses a user whose identity was checked, but who was suspended, or deleted after the token was issued.
    pub async fn admit(&self, user: &AuthenticatedUser) -> Result<(), Error> {
        self.keys_of(user).await.map(drop)
    }

    /// The keys of a user whose identity was checked, as they stand in the database now: for a change.
    pub async fn keys_to_change(&self, user: &AuthenticatedUser) -> Result<UserApiKeys, Error> {
        let keys = self.keys.of_to_change_asked_by(user.user(), AskedBy::token_of(user)).await;
        self.asked_for(user, keys)
    }

    /// Whose keys they are is known; now also who asks, and in which request. A refusal is recorded.
    fn asked_for(
        &self,
        user: &AuthenticatedUser,
        keys: Result<UserApiKeys, Error>,
    ) -> Result<UserApiKeys, Error> {
        if let Err(Error::UserSuspended | Error::UserDeleted) = keys {
            let refused = Event::new(Action::KeyRefused, Outcome::Forbidden, user.requester());
            self.keys.audit.refused(refused.of_user(user.user()));
        }
        Ok(keys?.asked_for(user.requester()))
    }

    /// A user's onboarding; [`Error::UserSuspended`] if an operator keeps them out.
    pub async fn onboarding(&self, user: &AuthenticatedUser) -> Result<Onboarding, Error> {
        self.admit(user).await?;
        Ok(Onboarding::new(Arc::clone(&self.keys), self.preset, user))
    }

    /// The account of a user whose identity was checked: of one who is suspended, too.
    pub fn account(&self, user: &AuthenticatedUser) -> Account {
        Account::new(Arc::clone(&self.keys), user.clone())
    }

    /// What the token issuer tells by messages.
    pub fn issuer_messages(&self) -> IssuerMessages {
        IssuerMessages::new(Arc::clone(&self.keys))
    }

    /// The users, for whoever runs this Keyfold.
    pub fn users(&self) -> Users {
        Users::new(Arc::clone(&self.keys))
    }

    /// Records that a server started, and with which settings; `note` has no secrets.
    pub async fn record_start(&self, note: &str) -> Result<(), Error> {
        let started = Event::new(Action::Started, Outcome::Ok, &Requester::new(Actor::Keyfold));
        self.keys.audit.record(vec![started.with_note(note)]).await?;
        if self.keys.plain_keys_count(&self.keys.database).await? {
            let plain_text = self.migration().plain_text().await?;
            tracing::warn!(
                keys = plain_text.keys,
                set_aside = plain_text.set_aside,
                "keys lie in the database as plain text, and count; `keyfold migrate encrypt` seals them"
            );
        }
        Ok(())
    }

    /// The ids of the master keys, the one that seals first.
    pub fn master_key_ids(&self) -> Vec<String> {
        self.keys.ring.ids().iter().map(ToString::to_string).collect()
    }

    /// What was recorded in the audit log so far.
    pub fn audit_figures(&self) -> &AuditFigures {
        self.keys.audit.figures()
    }

    /// How the use of a key is recorded before the provider is called.
    pub fn audit_durability(&self) -> Durability {
        self.keys.audit.durability()
    }

    /// Bytes of this process's audit spool. What is in the database already goes with the next whole file.
    pub fn audit_spool_bytes(&self) -> u64 {
        self.keys.audit.spool_bytes()
    }

    /// Lines of the audit log that a file or standard output did not take.
    pub fn audit_lines_lost(&self) -> u64 {
        self.keys.audit.sinks().lost()
    }

    /// Local mode: the backend `.env`, and the frontend one if there is one.
    pub fn env_files(&self) -> Option<(&Path, Option<&Path>)> {
        match &self.keys.read_from {
            ReadFrom::Database => None,
            ReadFrom::Environment(files) => Some((files.backend(), files.frontend())),
        }
    }

    /// The audit log, for whoever runs this Keyfold. It is to be dropped before the Keyfold is closed.
    pub fn audit_log(&self) -> AuditLog {
        let (database, chain) = (self.keys.database.clone(), self.keys.audit.chain().clone());
        AuditLog::new(database, chain, Arc::clone(&self.keys.clock))
    }

    /// A page of what the log says of a user whose identity was checked, the newest first. `cursor` is the
    /// `next_cursor` of the page before.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a cursor that is none.
    pub async fn audit_of(
        &self,
        user: &AuthenticatedUser,
        filter: &EntryFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<EntryPage, Error> {
        self.admit(user).await?;
        self.audit_log().of_user(user.user(), filter, limit, cursor).await
    }

    /// Removes rows of the audit log that are older than its settings allow, and makes those about users anonymous who
    /// were deleted that long ago. Any number of replicas may do so at once. What goes wrong is logged, and done the
    /// next time.
    pub async fn look_after_audit_log(&self) {
        let (log, audit) = (self.audit_log(), &self.keys.audit);
        if let Some(keep) = self.audit_settings.retention
            && let Err(error) = log.prune(keep, audit).await
        {
            tracing::warn!(cause = error.cause(), "old rows of the audit log were not removed");
        }
        if let Some(keep) = self.audit_settings.deleted_users
            && let Err(error) = log.erase_deleted_users(keep, audit).await
        {
            tracing::warn!(cause = error.cause(), "rows about deleted users were not made anonymous");
        }
    }

    /// What the calls of a user whose identity was checked came to in so many days, today included, the newest first.
    pub async fn usage_of(&self, user: &AuthenticatedUser, days: u16) -> Result<Vec<DayOfUsage>, Error> {
        self.admit(user).await?;
        let (keys, now) = (&self.keys, self.keys.clock.now());
        Ok(keys.usage.of_user(&keys.database, user.user(), now, days).await?)
    }

    /// Waits until so many usage figures wait for the database that they should be flushed at once.
    pub async fn much_usage_waits(&self) {
        self.keys.usage.many_wait().await;
    }

    /// Opens the files anew that the audit log is also written to: they may have been moved away.
    pub fn reopen_audit_files(&self) {
        self.keys.audit.sinks().reopen();
    }

    /// The checks of stored keys that come with time. One per serving process.
    pub fn rechecks(&self) -> Rechecks {
        Rechecks::new(Arc::clone(&self.keys), self.daily_recheck)
    }

    /// The tokens of backend services, and the keys that are released for them.
    pub fn service_tokens(&self) -> &ServiceTokens {
        &self.service_tokens
    }

    /// The way to the providers for client libraries.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The rate limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts `cost` requests of this user. Refusals stand in the audit, once a minute at most.
    pub async fn count(&self, user: &AuthenticatedUser, class: Class, cost: u32) -> Counted {
        let counted = self.limits.count(class, user.user().as_str(), cost).await;
        counted.inspect_err(|refusal| self.note_refusal(user, refusal))
    }

    /// A place for a stream of this user, until it is dropped; refusals as in [`count`](Self::count).
    pub fn open_stream(&self, user: &AuthenticatedUser) -> Result<(StreamPlace, Standing), Refusal> {
        let opened = self.limits.open_stream(user.user());
        opened.inspect_err(|refusal| self.note_refusal(user, refusal))
    }

    fn note_refusal(&self, user: &AuthenticatedUser, refusal: &Refusal) {
        self.keys.audit.refused_by_limit(user.user(), user.requester(), refusal.standing().class);
    }

    /// Counts a request to the gateway, whoever makes it for the user.
    pub async fn count_gateway(&self, caller: &GatewayCaller) -> Counted {
        let counted = self.limits.count(Class::Gateway, caller.user().as_str(), 1).await;
        counted.inspect_err(|refusal| {
            self.keys.audit.refused_by_limit(caller.user(), caller.requester(), refusal.standing().class);
        })
    }

    /// The master keys.
    pub fn master_keys(&self) -> MasterKeys {
        MasterKeys::new(Arc::clone(&self.keys))
    }

    /// The keys in plain text of a database that was another program's.
    pub fn migration(&self) -> Migration {
        Migration::new(Arc::clone(&self.keys))
    }

    /// Opens Keyfold, wraps everything anew under the settings' master key and closes it. In local mode without a
    /// master key in the settings that is a new one, which then takes the place of the state directory's.
    ///
    /// # Errors
    /// What was done before the error stays, and Keyfold starts with it; to be run again.
    pub async fn rotate_master_key(
        settings: &Settings,
        process: Environment,
        parts: Parts,
        requester: &Requester,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Rotation, Error> {
        let MasterKeySetting::StateDirectory = settings.master_key else {
            let keyfold = Self::open(settings, process, parts).await?;
            let rotated = keyfold.master_keys().rotate(requester, progress).await;
            keyfold.close().await;
            return rotated;
        };
        let state_dir = StateDir::prepare(&settings.state_dir)?;
        // A server knows the old key only, and could open nothing that the new one wraps.
        let _lock = state_dir.lock_for_serving()?;
        let settings = Settings { master_key: MasterKeySetting::NewInStateDirectory, ..settings.clone() };
        let clock = Arc::clone(&parts.clock);
        let keyfold = Self::open(&settings, process, parts).await?;
        let rotated = async {
            let master_keys = keyfold.master_keys();
            let mut rotation = master_keys.rotate(requester, progress).await?;
            rotation.replaced_file = Some(state_dir.put_next_master_key_in_place(clock.now())?);
            // A command that began before that may have sealed with the old one.
            rotation.goes_on = master_keys.wrap_what_is_left().await?;
            Ok(rotation)
        };
        let rotated = rotated.await;
        keyfold.close().await;
        rotated
    }

    /// The providers.
    pub fn registry(&self) -> &Registry {
        &self.keys.registry
    }

    /// The provider with this id, or the error that lists those there are.
    pub fn provider(&self, id: &str) -> Result<Arc<provider::Provider>, Error> {
        self.keys.provider(id)
    }

    /// What happened so far: keys opened, calls to providers.
    pub fn figures(&self) -> &Figures {
        &self.keys.figures
    }

    /// Local or production.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The steps of onboarding.
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// Writes one of the registry's frontend variables to the frontend `.env` (local mode).
    pub async fn set_frontend_variable(&self, name: &str, value: &str) -> Result<(), Error> {
        keys::set_frontend_variable(&self.keys, name, value).await
    }

    /// How the cache of users' rows stands; `None` where there is none (SQLite).
    pub fn cache_state(&self) -> Option<CacheState> {
        self.keys.cache_state()
    }

    /// How the pool of database connections stands; `None` for SQLite.
    pub fn pool_state(&self) -> Option<PoolState> {
        self.keys.database.pool_state()
    }

    /// Whether the database answers, still has what the master key was verified with, and seals users' keys with none
    /// that is not given.
    pub async fn ready(&self) -> Result<(), Error> {
        master_keys::still_fits(&self.keys.ring, &self.keys.database).await
    }

    /// Writes down what was only noted so far: when keys were last used, and what calls came to.
    pub async fn flush(&self) {
        self.keys.flush().await;
        self.keys.flush_usage().await;
        self.service_tokens.flush().await;
        self.gateway.close_old_connections();
    }

    /// Wipes replaced keys that can no longer be rolled back to.
    pub async fn wipe_expired_versions(&self) {
        self.keys.wipe_expired_versions().await;
    }

    /// Closes SQLite's file until what is returned is dropped, so that the process may fork: SQLite remembers locks that
    /// a child does not have. What needs the file waits. `None` for PostgreSQL, whose connections a child can leave
    /// alone.
    ///
    /// # Errors
    /// [`Error::DatabaseUnavailable`] if a change takes too long.
    pub async fn rest(&self) -> Result<Option<Rest>, Error> {
        Ok(self.keys.database.rest().await?)
    }

    /// Writes down what was noted and closes the database, if this is the last one that uses it.
    pub async fn close(self) {
        self.flush().await;
        drop(self.service_tokens);
        drop(self.gateway);
        if let Ok(keys) = Arc::try_unwrap(self.keys) {
            let Keys { audit, database, .. } = keys;
            if audit.close().await {
                database.close().await;
            }
        }
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }
}

/// What a PostgreSQL server says of itself and of what Keyfold has there. Changes nothing.
pub async fn inspect_postgres(address: &PostgresAddress) -> Result<PostgresFacts, Error> {
    storage::inspection::inspect(address)
        .await
        .map_err(|error| explain_start(&DatabaseSetting::Postgres(address.clone()), &error))
}

/// Whether Keyfold could start with this database, for a start that the settings keep from happening. Changes
/// nothing.
///
/// # Errors
/// [`Error::MasterKey`] if it was encrypted with a master key that is not given, [`Error::CannotStart`] if it
/// cannot be reached, was made by a newer Keyfold or has another program's tables.
pub async fn check_database(access: &DatabaseAccess) -> Result<(), Error> {
    let explain = |error| explain_start(&DatabaseSetting::Postgres(access.address.clone()), &error);
    let database = Database::connect_postgres(&access.address).map_err(explain)?;
    let checked = match find_master_key_checks(&database).await {
        Ok(checks) => match &access.master_keys {
            Some(ring) => master_keys::verify(ring, &database, &checks).await,
            None => Ok(()),
        },
        Err(error) => Err(explain(error)),
    };
    database.close().await;
    match checked {
        Err(Error::DatabaseUnavailable(error)) => Err(explain(error)),
        checked => checked,
    }
}

/// The check values of all master keys, of a database that may have none yet.
async fn find_master_key_checks(database: &Database) -> Result<Vec<String>, storage::StorageError> {
    use storage::StorageError::{ForeignTable, NewerSchema, NotAdoptable};
    match storage::inspection::schema(database).await? {
        Schema::Newer { found, known } => Err(NewerSchema { found, known }),
        Schema::Foreign(table) => Err(ForeignTable(table)),
        Schema::PlainText { in_the_way } if !in_the_way.is_empty() => Err(NotAdoptable(in_the_way)),
        Schema::Empty | Schema::PlainText { .. } => Ok(vec![]),
        Schema::Older { .. } | Schema::Current(_) | Schema::Ahead { .. } => {
            storage::root_secrets::master_key_checks(database).await
        }
    }
}

fn explain_start(database: &DatabaseSetting, error: &storage::StorageError) -> Error {
    use storage::StorageError::{ForeignTable, NewerSchema, NotAdoptable, Refused, Unavailable};
    // "insufficient_privilege"
    let is_not_allowed = |message: &str| message.ends_with("(42501)");
    let remedy = match (error, database) {
        (NewerSchema { .. }, _) => "Run a Keyfold that is at least as new as the one that wrote it.",
        (NotAdoptable(_), _) => {
            "Nothing was changed. Put that right, or give Keyfold a database of its own with DATABASE_URL; see docs/migration.md."
        }
        (ForeignTable(_), _) => "Give Keyfold a database of its own with DATABASE_URL.",
        (_, DatabaseSetting::Sqlite(_)) => "Check the folder's permissions and the disk's free space.",
        (Unavailable(_), DatabaseSetting::Postgres(_)) => {
            "Check that it runs, that this machine may reach it, and the user and password in DATABASE_URL."
        }
        (Refused(message), _) if is_not_allowed(message) => {
            "Nothing was changed. The user in DATABASE_URL must own Keyfold's tables, and may create tables in its schema (GRANT CREATE ON SCHEMA)."
        }
        _ => {
            "Nothing was changed. What is in the way stands in PostgreSQL's own words above; put that right and start again."
        }
    };
    Error::CannotStart(format!("The database {database} cannot be used: {error}. {remedy}"))
}
