//! A database with users, and Keyfolds that open it with different master keys.

use std::path::Path;
use std::sync::Arc;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::master_keys::{KeyStanding, Rotation};
use keyfold::requester::{Actor, Requester};
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Error, Keyfold, Parts};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;

/// A database of a test's own.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    standin: Arc<Standin>,
    /// SQLite without.
    pub(crate) database: Option<String>,
}

impl Site {
    /// One of each kind.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite().await, Self::postgres().await]
    }

    pub(crate) async fn sqlite() -> Self {
        Self { dir: TempDir::new().unwrap(), standin: Arc::new(Standin::start().await), database: None }
    }

    pub(crate) async fn postgres() -> Self {
        let database = PostgresServer::shared().new_database().await;
        Self { database: Some(database), ..Self::sqlite().await }
    }

    fn settings(&self, master_key: &str, others: &[&str]) -> (Settings, Environment) {
        let gemini = self.standin.base_url("gemini");
        let others = others.join(",");
        let address = self.database.as_ref().map(|name| PostgresServer::shared().address_of(name));
        let mut variables = vec![
            ("KEYFOLD_MASTER_KEY", master_key),
            ("KEYFOLD_OTHER_MASTER_KEYS", &others),
            ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &gemini),
        ];
        match &address {
            Some(address) => variables.extend([("DEPLOY_ENV", "render"), ("DATABASE_URL", address)]),
            None => variables.push(("DEBUG", "true")),
        }
        let sources = Sources::load(Environment::from_iter(variables), self.dir.path()).unwrap();
        let mut problems = Problems::default();
        let settings = Settings::read(&sources, &mut problems);
        problems.into_result().unwrap();
        (settings.unwrap(), sources.process().clone())
    }

    pub(crate) async fn try_open(&self, master_key: &str, others: &[&str]) -> Result<Keyfold, Error> {
        let (settings, _) = self.settings(master_key, others);
        Keyfold::open_with_keys_in_database(&settings, Parts::default()).await
    }

    pub(crate) async fn open(&self, master_key: &str, others: &[&str]) -> Keyfold {
        self.try_open(master_key, others).await.unwrap()
    }

    /// Runs statements past Keyfold. SQLite's own command line does it there.
    pub(crate) async fn sql(&self, statements: &str) {
        match &self.database {
            Some(name) => {
                PostgresServer::shared().connect(name).await.batch_execute(statements).await.unwrap();
            }
            None => sqlite(&self.dir.path().join(".keyfold/keyfold.db"), statements),
        }
    }
}

fn sqlite(file: &Path, statements: &str) {
    // Python has SQLite everywhere; its command line tool is not installed everywhere.
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as database: database.executescript(sys.argv[2])";
    let ran = std::process::Command::new("python3").args(["-c", script]).arg(file).arg(statements).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

pub(crate) fn new_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

pub(crate) fn id(key: &str) -> String {
    MasterKey::parse(key).unwrap().id().to_string()
}

pub(crate) async fn save(keyfold: &Keyfold, user: &str, number: u32) {
    let key = ApiKey::parse(&example_key("gemini", number)).unwrap();
    let keys = keyfold.user_api_keys_read_anew(user).await.unwrap();
    keys.save(&keyfold.provider("gemini").unwrap(), key).await.unwrap();
}

/// Saves a key for each of these users, some at once.
pub(crate) async fn save_many(keyfold: &Keyfold, numbers: std::ops::Range<u32>) {
    let mut at_once = tokio::task::JoinSet::new();
    for number in numbers {
        if at_once.len() >= 4 {
            at_once.join_next().await.unwrap().unwrap();
        }
        let keyfold = keyfold.clone();
        at_once.spawn(async move { save(&keyfold, &user(number), number).await });
    }
    at_once.join_all().await;
}

pub(crate) fn user(number: u32) -> String {
    format!("user_{number:05}")
}

/// Whether this user's key is the one of this number.
pub(crate) async fn has(keyfold: &Keyfold, user: &str, number: u32) -> Result<(), Error> {
    let keys = keyfold.user_api_keys(user).await?;
    assert_eq!(keys.get("gemini")?.expose(), example_key("gemini", number), "{user}");
    Ok(())
}

#[track_caller]
pub(crate) fn assert_all_there(checked: Result<(), Error>) {
    if let Err(error) = checked {
        panic!("{error} ({})", error.cause());
    }
}

pub(crate) async fn all_there(keyfold: &Keyfold, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert_all_there(has(keyfold, &user(number), number).await);
    }
}

pub(crate) async fn rotate(keyfold: &Keyfold) -> Rotation {
    let operator = Requester::new(Actor::Operator);
    keyfold.master_keys().rotate(&operator, &mut |_| ()).await.unwrap()
}

pub(crate) async fn standing(keyfold: &Keyfold, key: &str) -> KeyStanding {
    let status = keyfold.master_keys().status().await.unwrap();
    status.keys.into_iter().find(|standing| standing.id.to_string() == id(key)).expect("it is listed")
}

#[track_caller]
pub(crate) fn refused(opened: Result<Keyfold, Error>, parts: &[&str]) {
    let Err(error) = opened else { panic!("it starts") };
    assert_eq!(error.code(), "master_key_unavailable", "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
    }
}
