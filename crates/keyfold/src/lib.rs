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

pub mod audit;
pub mod auth;
pub mod calls;
pub mod clock;
pub mod dotenv;
pub mod envelope;
mod error;
pub mod figures;
pub mod keys;
pub mod mode;
pub mod onboarding;
mod preset;
pub mod provider;
mod recent;
pub mod requester;
pub mod secret;
pub mod settings;
pub mod state_dir;
mod storage;
pub mod user;
pub mod users;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use error::Error;
pub use keys::{CacheState, OpenedKey, UserApiKeys};
pub use settings::{Environment, Settings};
pub use storage::PoolState;
pub use storage::inspection::{Encryption, PostgresFacts, Schema};
#[doc(hidden)]
pub use storage::keys::LOOK_UP;

use auth::issuer::Issuer;
use auth::{AuthenticatedUser, KeySetTimeouts, TokenVerifier};
use clock::{Clock, Random, SystemClock, SystemRandom};
use envelope::{EnvelopeError, MasterKeyRing, Sealed};
use figures::Figures;
use keys::{EnvFiles, Keys, ReadFrom};
use mode::Mode;
use onboarding::{Onboarding, Preset};
use provider::Registry;
use provider::http::{HttpClient, Timeouts};
use settings::{DatabaseAccess, DatabaseSetting, MasterKeySetting, PostgresAddress, Problems, Sources};
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
        let read_from = match settings.mode {
            Mode::Production => ReadFrom::Database,
            Mode::Local => ReadFrom::Environment(EnvFiles::new(
                process,
                settings.backend_env_file.clone(),
                settings.frontend_env_file.clone(),
            )),
        };
        Self::open_reading_from(read_from, settings, parts).await
    }

    /// Opens Keyfold so that keys are read from the database, as in production, on SQLite: for benchmarks.
    #[doc(hidden)]
    pub async fn open_with_keys_in_database(settings: &Settings, parts: Parts) -> Result<Self, Error> {
        Self::open_reading_from(ReadFrom::Database, settings, parts).await
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
        let ring = master_key_ring(settings, &database, &*parts.random).await?;
        let keys = Keys::new(
            database,
            ring,
            settings.registry.clone(),
            Arc::new(HttpClient::new(parts.timeouts)),
            parts.clock,
            parts.random,
            read_from,
        )?;
        Ok(Self { keys: Arc::new(keys), preset: settings.preset, mode: settings.mode })
    }

    /// Verifies this issuer's tokens, by the same clock. One per process.
    pub fn token_verifier(&self, issuer: &Issuer) -> TokenVerifier {
        TokenVerifier::new(issuer, Arc::clone(&self.keys.clock), KeySetTimeouts::default())
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
        self.keys.of(user.user()).await
    }

    /// The keys of a user whose identity was checked, as they stand in the database now: for a change.
    pub async fn keys_to_change(&self, user: &AuthenticatedUser) -> Result<UserApiKeys, Error> {
        self.keys.of_to_change(user.user()).await
    }

    /// A user's onboarding; [`Error::UserSuspended`] if an operator keeps them out.
    pub async fn onboarding(&self, user: &AuthenticatedUser) -> Result<Onboarding, Error> {
        self.keys.of(user.user()).await?;
        Ok(Onboarding::new(Arc::clone(&self.keys), self.preset, user.user().clone()))
    }

    /// The users, for whoever runs this Keyfold.
    pub fn users(&self) -> Users {
        Users::new(Arc::clone(&self.keys))
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

    /// Whether the database answers, and still has what the master key was verified with.
    pub async fn ready(&self) -> Result<(), Error> {
        let (database, ring) = (&self.keys.database, &self.keys.ring);
        let name = storage::root_secrets::master_key_check(ring.ids()[0]);
        let check = storage::root_secrets::find(database, &name).await.map_err(Error::DatabaseUnavailable)?;
        let check = check.and_then(|check| check.parse::<Sealed>().ok());
        match check.map(|check| ring.verify(&check)) {
            Some(Ok(())) => Ok(()),
            // It was there at the start.
            _ => Err(Error::MasterKey(
                "The database no longer has the check value of Keyfold's master key. Was another one restored or put in its place?".into(),
            )),
        }
    }

    /// Writes down what was only noted so far: when keys were last used.
    pub async fn flush(&self) {
        self.keys.flush().await;
    }

    /// Wipes replaced keys that can no longer be rolled back to.
    pub async fn wipe_expired_versions(&self) {
        self.keys.wipe_expired_versions().await;
    }

    /// Writes down what was noted and closes the database, if this is the last one that uses it.
    pub async fn close(self) {
        self.keys.flush().await;
        if let Ok(keys) = Arc::try_unwrap(self.keys) {
            keys.database.close().await;
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
            Some(ring) => verify_master_keys(ring, &database, &checks).await,
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
    use storage::StorageError::{ForeignTable, NewerSchema};
    match storage::inspection::schema(database).await? {
        Schema::Newer { found, known } => Err(NewerSchema { found, known }),
        Schema::Foreign(table) => Err(ForeignTable(table)),
        Schema::Empty => Ok(vec![]),
        Schema::Older { .. } | Schema::Current(_) => storage::root_secrets::master_key_checks(database).await,
    }
}

/// The master keys, verified against the database: each that ever sealed something there left a check value.
async fn master_key_ring(
    settings: &Settings,
    database: &Database,
    random: &dyn Random,
) -> Result<MasterKeyRing, Error> {
    let checks = storage::root_secrets::master_key_checks(database).await?;
    let primary = match &settings.master_key {
        MasterKeySetting::Given(key) => Arc::clone(key),
        MasterKeySetting::StateDirectory => {
            let state_dir = StateDir::prepare(&settings.state_dir)?;
            Arc::new(state_dir.master_key(random, !checks.is_empty())?)
        }
    };
    let ring = MasterKeyRing::new(primary, settings.other_master_keys.clone());
    verify_master_keys(&ring, database, &checks).await?;
    let name = storage::root_secrets::master_key_check(ring.ids()[0]);
    if storage::root_secrets::find(database, &name).await?.is_none() {
        // Of replicas that start at once with different master keys, the first one decides.
        let transaction = database.begin().await?;
        storage::root_secrets::take_turn(&transaction).await?;
        let checks = storage::root_secrets::master_key_checks(&transaction).await?;
        verify_master_keys(&ring, &transaction, &checks).await?;
        let made = ring.check_value(random)?.to_string();
        storage::root_secrets::insert_or_find(&transaction, &name, &made).await?;
        transaction.commit().await?;
    }
    Ok(ring)
}

async fn verify_master_keys(
    ring: &MasterKeyRing,
    connection: &impl storage::Connection,
    checks: &[String],
) -> Result<(), Error> {
    let given = ring.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (mut verified, mut unknown) = (false, vec![]);
    for check in checks {
        let check: Sealed = check.parse().map_err(|_| damaged_check())?;
        match ring.verify(&check) {
            Ok(()) => verified = true,
            Err(EnvelopeError::UnknownKey(id)) => unknown.push(id),
            Err(_) => return Err(damaged_check()),
        }
    }
    for id in unknown {
        // A key that is not given is missed if it is all there is, or if something is still wrapped by it.
        if !verified || storage::sessions::any_wrapped_by(connection, &id.sealed_prefix()).await? {
            return Err(Error::MasterKey(format!(
                "This database was encrypted with the master key {id}, and the given one is {given}. Give the right one as KEYFOLD_MASTER_KEY, or add it to KEYFOLD_OTHER_MASTER_KEYS."
            )));
        }
    }
    Ok(())
}

fn damaged_check() -> Error {
    Error::MasterKey(
        "The database's master key check value is damaged. Restore the database from a backup.".into(),
    )
}

fn explain_start(database: &DatabaseSetting, error: &storage::StorageError) -> Error {
    use storage::StorageError::{ForeignTable, NewerSchema, Unavailable};
    let remedy = match (error, database) {
        (NewerSchema { .. }, _) => "Run a Keyfold that is at least as new as the one that wrote it.",
        (ForeignTable(_), _) => "Give Keyfold a database of its own with DATABASE_URL.",
        (_, DatabaseSetting::Sqlite(_)) => "Check the folder's permissions and the disk's free space.",
        (Unavailable(_), DatabaseSetting::Postgres(_)) => {
            "Check that it runs, that this machine may reach it, and the user and password in DATABASE_URL."
        }
        _ => "Check that the user in DATABASE_URL may create tables, and the disk's free space.",
    };
    Error::CannotStart(format!("The database {database} cannot be used: {error}. {remedy}"))
}
