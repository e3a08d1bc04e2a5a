//! Settings: read once, at start, from the process environment, the backend `.env` (local mode) and
//! `keyfold.toml`; everything that is wrong with them is told at once.

mod audit;
mod catalogue;
mod environment;
mod kms;
mod limits;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use audit::{AuditSettings, Durability, SinkSetting};
pub use catalogue::{Kind, SETTINGS, Setting};
pub use environment::Environment;
pub use kms::KmsKey;
pub(crate) use limits::Encryption;
pub use limits::{AnonymousLimit, LimitSettings, MalformedRate, MalformedRedisAddress, Rate, RedisAddress};
pub use sources::{Origin, Sources};

use crate::envelope::{MasterKey, MasterKeyRing};
use crate::mode::{Mode, parse_boolean};
use crate::preset::Preset;
use crate::provider::{BaseAddress, ProviderId, Registry};
pub use crate::storage::PostgresAddress;

/// One thing that is wrong with the settings, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable that it is about.
    pub variable: String,
    /// What is wrong; continues the variable's name. Never contains a secret.
    pub what: String,
    /// How to put it right.
    pub remedy: String,
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, variable: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Problem { variable: variable.into(), what: what.into(), remedy: remedy.into() });
    }

    /// `Err` if there are any.
    pub fn into_result(self) -> Result<(), SettingsError> {
        if self.0.is_empty() { Ok(()) } else { Err(SettingsError(self)) }
    }
}

/// Keyfold does not start with these settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub Problems);

impl std::error::Error for SettingsError {}

impl std::fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let problems = &self.0.0;
        match problems.len() {
            1 => writeln!(formatter, "Keyfold cannot start: one setting is not right.")?,
            count => writeln!(formatter, "Keyfold cannot start: {count} settings are not right.")?,
        }
        for problem in problems {
            write!(formatter, "\n  {} {}\n      → {}", problem.variable, problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseSetting {
    /// A file of its own.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresAddress),
}

impl std::fmt::Display for DatabaseSetting {
    /// Never shows a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(formatter),
            Self::Postgres(address) => address.fmt(formatter),
        }
    }
}

/// Where the master key comes from.
#[derive(Debug, Clone)]
pub enum MasterKeySetting {
    /// It was given.
    Given(Arc<MasterKey>),
    /// AWS KMS keeps it: the database has it encrypted, and only KMS can decrypt it.
    Kms(KmsKey),
    /// Local mode: a file in the state directory, made on first start.
    StateDirectory,
    /// The same, while a new one takes its place: both are used, and the new one seals.
    NewInStateDirectory,
}

/// The settings of the library: everything but those of the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Local or production.
    pub mode: Mode,
    /// The database.
    pub database: DatabaseSetting,
    /// The folder of local mode's database and master key.
    pub state_dir: PathBuf,
    /// The master key that seals.
    pub master_key: MasterKeySetting,
    /// Further master keys that may open.
    pub other_master_keys: Vec<MasterKeySetting>,
    /// Local mode's backend `.env`.
    pub backend_env_file: PathBuf,
    /// Local mode's frontend `.env`, if there is a front end.
    pub frontend_env_file: Option<PathBuf>,
    /// The providers, with changed addresses.
    pub registry: Registry,
    /// The steps of onboarding.
    pub preset: Preset,
    /// Stored keys are checked daily.
    pub daily_recheck: bool,
    /// The audit log.
    pub audit: AuditSettings,
    /// The rate limits.
    pub limits: LimitSettings,
}

/// What a start that the settings stop is held against all the same: a PostgreSQL database.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatabaseAccess {
    /// Where it is.
    pub address: PostgresAddress,
    /// All master keys that are given; `None` if one of them is not understood, or is kept by a key service.
    pub master_keys: Option<MasterKeyRing>,
}

impl DatabaseAccess {
    /// Reads nothing but these settings, whatever else is wrong; `None` if they name no PostgreSQL database.
    pub fn read(sources: &Sources) -> Option<Self> {
        // Each was told where all settings were read.
        let mut problems = Problems::default();
        let DatabaseSetting::Postgres(address) = read_database(sources, sources.dir(), &mut problems)? else {
            return None;
        };
        let primary = read_master_key(sources, &mut problems);
        let others = read_other_master_keys(sources, &mut problems);
        let given = |setting| match setting {
            MasterKeySetting::Given(key) => Some(key),
            _ => None,
        };
        // One that is not understood may be the one that the database was encrypted with.
        let primary = primary.and_then(given).filter(|_| problems.0.is_empty());
        let others: Option<Vec<_>> = others.into_iter().map(given).collect();
        let master_keys = primary.zip(others).map(|(primary, others)| MasterKeyRing::new(primary, others));
        Some(Self { address, master_keys })
    }
}

/// For a value such as `${{Postgres.DATABASE_URL}}`.
const UNRESOLVED: &str = "is a reference to another variable that the platform did not resolve";

/// How to make a master key, as a remedy.
const MAKE_MASTER_KEY: &str =
    "set it to the output of `keyfold master-key generate` (32 random bytes as base64), and keep a copy";

impl Settings {
    /// Reads the library's settings; what is wrong is added to `problems`.
    ///
    /// `None` exactly if something was added that the rest cannot do without.
    pub fn read(sources: &Sources, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let mode = sources.mode();
        refuse_local_mode_on_a_platform(sources, problems);
        let state_dir = sources.path("KEYFOLD_STATE_DIR").unwrap_or_else(|| sources.dir().join(".keyfold"));
        let database = read_database(sources, &state_dir, problems);
        let master_key = read_master_key(sources, problems);
        let other_master_keys = read_other_master_keys(sources, problems);
        let registry = Self::registry(sources, problems);
        let preset = read_preset(sources, problems);
        let daily_recheck = read_daily_recheck(sources, problems);
        let audit = AuditSettings::read(sources, problems);
        let limits = LimitSettings::read(sources, problems);
        if problems.0.len() > before {
            return None;
        }
        Some(Self {
            mode,
            database: database?,
            state_dir,
            master_key: master_key?,
            other_master_keys,
            backend_env_file: sources.backend_env_file().to_owned(),
            frontend_env_file: frontend_env_file(sources),
            registry: registry?,
            preset: preset?,
            daily_recheck,
            audit,
            limits,
        })
    }
}

impl Settings {
    /// The providers alone, for who needs neither database nor master key.
    pub fn registry(sources: &Sources, problems: &mut Problems) -> Option<Registry> {
        read_registry(sources, problems)
    }

    /// The same for a command that ends soon: its output is its own, and in production it leaves nothing on the disk
    /// of the machine that it happens to run on.
    #[must_use]
    pub fn for_a_command(mut self) -> Self {
        self.audit.sinks.retain(|sink| *sink != SinkSetting::Stdout);
        if self.mode == Mode::Production {
            self.audit.durability = self.audit.durability.or(Some(Durability::Strict));
        }
        self
    }
}

/// Variables that hosting platforms set, and what `DEPLOY_ENV` should be there.
const PLATFORMS: [(&str, &str); 5] = [
    ("RENDER", "render"),
    ("DYNO", "heroku"),
    ("RAILWAY_ENVIRONMENT_NAME", "railway"),
    ("FLY_APP_NAME", "fly"),
    ("K_SERVICE", "cloud-run"),
];

fn refuse_local_mode_on_a_platform(sources: &Sources, problems: &mut Problems) {
    if sources.mode() == Mode::Production {
        return;
    }
    for (marker, platform) in PLATFORMS {
        if sources.process().get(marker).is_some() {
            problems.add(
                marker,
                "is set, so this is a hosting platform, and local mode has no login: everyone would share one user's keys",
                format!("set DEPLOY_ENV={platform} and DEBUG=false, then the settings that production asks for"),
            );
        }
    }
}

fn read_database(sources: &Sources, state_dir: &Path, problems: &mut Problems) -> Option<DatabaseSetting> {
    let production = sources.mode() == Mode::Production;
    let before = problems.0.len();
    let Some(url) = sources.get_or_problem("DATABASE_URL", problems) else {
        // Where its file cannot be read, that is what is wrong, and not that it is missing.
        if problems.0.len() > before {
            return None;
        }
        if production {
            problems.add(
                "DATABASE_URL",
                format!("is missing{}", sources.because_of_env_file()),
                "set it to your PostgreSQL database, like postgres://user:password@host:5432/name; Render, Railway and Heroku show it beside the database",
            );
            return None;
        }
        return Some(DatabaseSetting::Sqlite(state_dir.join("keyfold.db")));
    };
    if sources::is_unresolved(&url) {
        problems.add(
            "DATABASE_URL",
            UNRESOLVED,
            "give the service that Keyfold refers to the right name there, or copy the address itself",
        );
        return None;
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        if has_password_placeholder(&url) {
            problems.add(
                "DATABASE_URL",
                "still has a placeholder where the password belongs",
                "put the database user's password in its place, with special characters percent-encoded; whoever made the database has it, or can set a new one (Supabase: “Reset database password” in its database settings)",
            );
            return None;
        }
        return match url.parse() {
            Ok(address) => Some(DatabaseSetting::Postgres(address)),
            Err(why) => {
                problems.add(
                    "DATABASE_URL",
                    format!("{why}"),
                    "write it like postgres://user:password@host:5432/name?sslmode=require, with special characters of the password percent-encoded",
                );
                None
            }
        };
    }
    if production {
        problems.add(
            "DATABASE_URL",
            "does not name a PostgreSQL database, and production keeps its keys nowhere else",
            "set it to an address that begins with postgres:// or postgresql://",
        );
        return None;
    }
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    let what = match path {
        None | Some("") => "names neither a SQLite file nor a PostgreSQL database",
        Some(path) if path.starts_with(":memory:") => {
            "names a database in memory, in which every key would be lost at the end of the process"
        }
        Some(path) if path.contains('?') => "has options after a `?`, and a SQLite database takes none here",
        Some(path) => return Some(DatabaseSetting::Sqlite(sources.dir().join(path))),
    };
    problems.add("DATABASE_URL", what, "write sqlite://path/to/file.db, or leave it out in local mode");
    None
}

/// Whether the password is what dashboards show in place of it: `[YOUR-PASSWORD]` (Supabase), `<password>`, or
/// asterisks.
fn has_password_placeholder(url: &str) -> bool {
    // Some programs percent-encode what they are given.
    const BRACKETS: [(&str, &str); 5] = [("[", "]"), ("%5B", "%5D"), ("<", ">"), ("%3C", "%3E"), ("{", "}")];
    const NAMES: [&str; 4] = ["your-password", "your_password", "your-db-password", "your_db_password"];
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Some((user, _)) = rest.rsplit_once('@') else { return false };
    let Some((_, password)) = user.split_once(':') else { return false };
    let within = |(open, close)| password.strip_prefix(open)?.strip_suffix(close);
    let bracketed = BRACKETS.into_iter().find_map(within);
    let is = |name: &str| bracketed.unwrap_or(password).eq_ignore_ascii_case(name);
    let is_masked = !password.is_empty() && password.chars().all(|character| character == '*');
    // Without brackets, `password` is a bad one, but one.
    is_masked || NAMES.into_iter().any(is) || (bracketed.is_some() && is("password"))
}

fn read_master_key(sources: &Sources, problems: &mut Problems) -> Option<MasterKeySetting> {
    const NAME: &str = "KEYFOLD_MASTER_KEY";
    let before = problems.0.len();
    let Some(text) = sources.get_or_problem(NAME, problems) else {
        if problems.0.len() > before {
            return None;
        }
        if sources.mode() == Mode::Local {
            return Some(MasterKeySetting::StateDirectory);
        }
        problems.add(NAME, format!("is missing{}", sources.because_of_env_file()), MAKE_MASTER_KEY);
        return None;
    };
    parse_master_key(sources, NAME, &text, problems)
}

fn read_other_master_keys(sources: &Sources, problems: &mut Problems) -> Vec<MasterKeySetting> {
    const NAME: &str = "KEYFOLD_OTHER_MASTER_KEYS";
    let Some(text) = sources.get_or_problem(NAME, problems) else { return vec![] };
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .filter_map(|part| parse_master_key(sources, NAME, part, problems))
        .collect()
}

fn parse_master_key(
    sources: &Sources,
    name: &str,
    text: &str,
    problems: &mut Problems,
) -> Option<MasterKeySetting> {
    let text = sources::unquoted(text);
    let parsed = if sources::is_unresolved(text) {
        problems.add(name, UNRESOLVED, MAKE_MASTER_KEY);
        return None;
    } else if let Some(arn) = text.strip_prefix("awskms:") {
        return kms::read(name, arn, problems).map(MasterKeySetting::Kms);
    } else if let Some(path) = text.strip_prefix("file:") {
        let path = sources.dir().join(path);
        match sources::read_secret_file(&path) {
            Ok(text) => MasterKey::parse(&text),
            Err(error) => {
                problems.add(
                    name,
                    format!("names the file {}, which cannot be read ({error})", path.display()),
                    "correct the path, or make the file readable for Keyfold",
                );
                return None;
            }
        }
    } else {
        MasterKey::parse(text)
    };
    match parsed {
        Ok(key) => Some(MasterKeySetting::Given(Arc::new(key))),
        Err(why) => {
            problems.add(name, why.to_string(), MAKE_MASTER_KEY);
            None
        }
    }
}

fn read_registry(sources: &Sources, problems: &mut Problems) -> Option<Registry> {
    let mut registry = read_providers_file(sources, problems);
    for (written, variable, text) in sources.base_addresses() {
        // Where the file is not right, it is not known which providers there are.
        let id =
            registry.as_ref().map(|registry| id_of(registry, &written).ok_or_else(|| join_ids(registry)));
        if let Some(Err(known)) = id {
            problems.add(
                &variable,
                "is for a provider that Keyfold does not know",
                format!("use one of {known}"),
            );
            continue;
        }
        match (BaseAddress::parse(&text), id) {
            (Ok(address), Some(Ok(id))) => {
                registry = registry.map(|registry| registry.with_address(&id, address));
            }
            (Ok(_), _) => {}
            (Err(why), _) => problems.add(&variable, why.to_string(), "correct it, or leave it out"),
        }
    }
    registry
}

/// The built-in providers, with what `KEYFOLD_PROVIDERS_FILE` adds and changes.
fn read_providers_file(sources: &Sources, problems: &mut Problems) -> Option<Registry> {
    const FILE: &str = "KEYFOLD_PROVIDERS_FILE";
    let file = sources.path(FILE);
    let extra = match &file {
        None => None,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => {
                problems.add(
                    FILE,
                    format!("names the file {}, which cannot be read ({error})", path.display()),
                    "correct the path, or leave the setting out",
                );
                return None;
            }
        },
    };
    match Registry::from_toml(extra.as_deref()) {
        Ok(registry) => Some(registry),
        Err(error) => {
            let file = file.map(|path| path.display().to_string()).unwrap_or_default();
            for mistake in error.0 {
                problems.add(
                    FILE,
                    format!("names the file {file}, which has a mistake: {mistake}"),
                    "correct the file; its form is described in docs/providers.md",
                );
            }
            None
        }
    }
}

/// No shell takes a `-` in a variable's name, so there it is written `_`.
fn id_of(registry: &Registry, written: &ProviderId) -> Option<ProviderId> {
    let same = |id: &ProviderId| id.as_str().replace('-', "_") == written.as_str();
    let exact = registry.get(written.as_str()).map(|provider| provider.id.clone());
    exact.or_else(|| registry.ids().into_iter().find(same))
}

fn join_ids(registry: &Registry) -> String {
    registry.ids().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn read_daily_recheck(sources: &Sources, problems: &mut Problems) -> bool {
    const NAME: &str = "KEYFOLD_RECHECK";
    let value = sources.get(NAME);
    match parse_boolean(NAME, value.as_ref().map_or("", |value| value.as_str())) {
        Ok(given) => given.unwrap_or(true),
        Err(error) => {
            let what = format!("is `{}`, which is neither on nor off", error.value);
            problems.add(NAME, what, "use on or off, or leave it out");
            true
        }
    }
}

fn read_preset(sources: &Sources, problems: &mut Problems) -> Option<Preset> {
    match sources.get("KEYFOLD_ONBOARDING").as_ref().map(|name| name.as_str()) {
        None | Some("keyfold") => Some(Preset::Keyfold),
        Some("alwrity") => Some(Preset::Alwrity),
        Some(other) => {
            problems.add(
                "KEYFOLD_ONBOARDING",
                format!("is `{other}`, which is no set of steps"),
                "use keyfold or alwrity, or leave it out",
            );
            None
        }
    }
}

fn frontend_env_file(sources: &Sources) -> Option<PathBuf> {
    let dir = sources.dir();
    sources.path("KEYFOLD_FRONTEND_ENV_FILE").or_else(|| {
        let inside_backend = dir.file_name().is_some_and(|name| name == "backend");
        let beside = dir.join("../frontend");
        if dir.join("frontend").is_dir() {
            Some(dir.join("frontend/.env"))
        } else if inside_backend && beside.is_dir() {
            Some(beside.join(".env"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests;
