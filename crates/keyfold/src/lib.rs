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

pub mod auth;
pub mod calls;
pub mod clock;
pub mod dotenv;
pub mod envelope;
mod error;
pub mod keys;
pub mod mode;
pub mod onboarding;
mod preset;
pub mod provider;
pub mod secret;
pub mod settings;
pub mod state_dir;
mod storage;
pub mod user;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use error::Error;
pub use keys::{OpenedKey, UserApiKeys};
pub use settings::{Environment, Settings};

use auth::AuthenticatedUser;
use clock::{Clock, Random, SystemClock, SystemRandom};
use envelope::{EnvelopeError, MasterKeyRing, Sealed};
use keys::{EnvFiles, Keys, ReadFrom};
use mode::Mode;
use onboarding::{Onboarding, Preset};
use provider::Registry;
use provider::http::{HttpClient, Timeouts};
use settings::{DatabaseSetting, MasterKeySetting, Problems, Sources};
use state_dir::StateDir;
use storage::Database;
use user::UserId;

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
        let sources = Sources::load(environment, dir)?;
        let mut problems = Problems::default();
        let settings = Settings::read(&sources, &mut problems);
        problems.into_result()?;
        let settings = settings.ok_or_else(|| Error::Internal("settings are missing".into()))?;
        Self::open(&settings, sources.process().clone(), Parts::default()).await
    }

    /// Opens Keyfold. `process` is looked at for keys in local mode only.
    pub async fn open(settings: &Settings, process: Environment, parts: Parts) -> Result<Self, Error> {
        let DatabaseSetting::Sqlite(path) = &settings.database else {
            return Err(not_built_yet());
        };
        if settings.mode == Mode::Production {
            return Err(not_built_yet());
        }
        let files =
            EnvFiles::new(process, settings.backend_env_file.clone(), settings.frontend_env_file.clone());
        Self::open_reading_from(ReadFrom::Environment(files), settings, path, parts).await
    }

    /// Opens Keyfold so that keys are read from the database, as in production, on SQLite: for benchmarks.
    #[doc(hidden)]
    pub async fn open_with_keys_in_database(settings: &Settings, parts: Parts) -> Result<Self, Error> {
        let DatabaseSetting::Sqlite(path) = &settings.database else {
            return Err(not_built_yet());
        };
        Self::open_reading_from(ReadFrom::Database, settings, path, parts).await
    }

    async fn open_reading_from(
        read_from: ReadFrom,
        settings: &Settings,
        path: &Path,
        parts: Parts,
    ) -> Result<Self, Error> {
        let state_dir = StateDir::prepare(&settings.state_dir)?;
        let database = Database::open_sqlite(path.to_owned(), PATIENCE).await;
        let database = database.map_err(|error| explain_start(path, &error))?;
        let ring = master_key_ring(settings, &state_dir, &database, &*parts.random).await?;
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

    /// The keys of this user and of nobody else. The caller vouches for the user here, and only here.
    pub async fn user_api_keys(&self, user_id: &str) -> Result<UserApiKeys, Error> {
        let user = UserId::parse(user_id)
            .map_err(|why| Error::InvalidRequest { field: "user_id".into(), why: why.to_string() })?;
        self.keys.of(&user).await
    }

    /// The keys of a user whose identity was checked.
    pub async fn keys_of(&self, user: &AuthenticatedUser) -> Result<UserApiKeys, Error> {
        self.keys.of(user.user()).await
    }

    /// A user's onboarding.
    pub fn onboarding(&self, user: &AuthenticatedUser) -> Onboarding {
        Onboarding::new(Arc::clone(&self.keys), self.preset, user.user().clone())
    }

    /// The providers.
    pub fn registry(&self) -> &Registry {
        &self.keys.registry
    }

    /// The provider with this id, or the error that lists those there are.
    pub fn provider(&self, id: &str) -> Result<Arc<provider::Provider>, Error> {
        self.keys.provider(id)
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

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), Error> {
        self.keys.database.ping().await.map_err(Error::DatabaseUnavailable)
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

/// The master keys, verified against the database: each that ever sealed something there left a check value.
async fn master_key_ring(
    settings: &Settings,
    state_dir: &StateDir,
    database: &Database,
    random: &dyn Random,
) -> Result<MasterKeyRing, Error> {
    let checks = storage::root_secrets::master_key_checks(database).await?;
    let primary = match &settings.master_key {
        MasterKeySetting::Given(key) => Arc::clone(key),
        MasterKeySetting::StateDirectory => Arc::new(state_dir.master_key(random, !checks.is_empty())?),
    };
    let ring = MasterKeyRing::new(primary, settings.other_master_keys.clone());
    let given = ring.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (mut verified, mut unknown) = (false, vec![]);
    for check in &checks {
        let check: Sealed = check.parse().map_err(|_| damaged_check())?;
        match ring.verify(&check) {
            Ok(()) => verified = true,
            Err(EnvelopeError::UnknownKey(id)) => unknown.push(id),
            Err(_) => return Err(damaged_check()),
        }
    }
    for id in unknown {
        // A key that is not given is missed if it is all there is, or if something is still wrapped by it.
        if !verified || storage::sessions::any_wrapped_by(database, &id.sealed_prefix()).await? {
            return Err(Error::MasterKey(format!(
                "This database was encrypted with the master key {id}, and the given one is {given}. Give the right one as KEYFOLD_MASTER_KEY, or add it to KEYFOLD_OTHER_MASTER_KEYS."
            )));
        }
    }
    let name = storage::root_secrets::master_key_check(ring.ids()[0]);
    if storage::root_secrets::find(database, &name).await?.is_none() {
        let made = ring.check_value(random)?.to_string();
        let stands: Sealed = storage::root_secrets::insert_or_find(database, &name, &made).await?.parse()?;
        ring.verify(&stands).map_err(|_| damaged_check())?;
    }
    Ok(ring)
}

fn damaged_check() -> Error {
    Error::MasterKey(
        "The database's master key check value is damaged. Restore the database from a backup.".into(),
    )
}

fn explain_start(path: &Path, error: &storage::StorageError) -> Error {
    use storage::StorageError::{ForeignTable, NewerSchema};
    let remedy = match error {
        NewerSchema { .. } => "Run a Keyfold that is at least as new as the one that wrote it.",
        ForeignTable(_) => "Give Keyfold a database of its own with DATABASE_URL.",
        _ => "Check the folder's permissions and the disk's free space.",
    };
    Error::CannotStart(format!("The database {} cannot be used: {error}. {remedy}", path.display()))
}

fn not_built_yet() -> Error {
    Error::CannotStart(
        "This build of Keyfold serves local mode only, and keeps its keys in SQLite: it cannot use the PostgreSQL database that DATABASE_URL names. Leave DATABASE_URL out (it may stand in the backend .env), or write sqlite://path/to/file.db.".into(),
    )
}
