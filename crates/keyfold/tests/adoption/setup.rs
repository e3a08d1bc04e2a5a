//! Databases of another program, on PostgreSQL and SQLite, and how a test looks at them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::requester::{Actor, Requester};
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Error, Keyfold, Parts};
use keyfold_standin::Standin;
use keyfold_test_servers::{PostgresServer, SqlClient};
use tempfile::TempDir;

/// Tables and columns of the other program, whatever Keyfold adds.
const DUMPS: [&str; 5] = [
    "SELECT id, COALESCE(duplicate_of, user_id), current_step, progress, started_at, updated_at, email, is_active \
     FROM onboarding_sessions ORDER BY id",
    "SELECT id, COALESCE(duplicate_of, provider), description, is_active, created_at, updated_at FROM api_keys ORDER BY id",
    "SELECT * FROM website_analyses ORDER BY id",
    "SELECT * FROM research_preferences ORDER BY id",
    "SELECT * FROM key_notes ORDER BY id",
];

enum Store {
    Postgres { name: String, client: SqlClient },
    Sqlite(PathBuf),
}

/// A database that another program uses.
pub(crate) struct Old {
    dir: TempDir,
    standin: Arc<Standin>,
    store: Store,
    pub(crate) master_key: String,
    pub(crate) preset: &'static str,
}

impl Old {
    /// One of each kind with nothing in it.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite().await, Self::postgres().await]
    }

    /// One of each kind with the tables of such an application.
    pub(crate) async fn both_like_alwrity() -> [Self; 2] {
        let both = Self::both().await;
        for old in &both {
            old.sql(include_str!("alwrity.sql")).await;
            if matches!(old.store, Store::Postgres { .. }) {
                // Ids were given by hand.
                old.sql(
                    "SELECT setval('onboarding_sessions_id_seq', 100); SELECT setval('api_keys_id_seq', 100)",
                )
                .await;
            }
        }
        both
    }

    pub(crate) async fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::Sqlite(dir.path().join("old.db"));
        Self {
            dir,
            standin: Arc::new(Standin::start().await),
            store,
            master_key: new_key(),
            preset: "keyfold",
        }
    }

    pub(crate) async fn postgres() -> Self {
        let name = PostgresServer::shared().new_database().await;
        let client = PostgresServer::shared().connect(&name).await;
        Self { store: Store::Postgres { name, client }, ..Self::sqlite().await }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.store, Store::Postgres { .. })
    }

    pub(crate) async fn try_open(&self) -> Result<Keyfold, Error> {
        self.try_open_with("").await
    }

    /// With another master key besides its own.
    pub(crate) async fn open_with_other(&self, other: &str) -> Keyfold {
        self.try_open_with(other).await.unwrap()
    }

    async fn try_open_with(&self, other: &str) -> Result<Keyfold, Error> {
        let gemini = self.standin.base_url("gemini");
        let address = match &self.store {
            Store::Postgres { name, .. } => PostgresServer::shared().address_of(name),
            Store::Sqlite(path) => format!("sqlite://{}", path.display()),
        };
        let mut variables = vec![
            ("KEYFOLD_MASTER_KEY", self.master_key.as_str()),
            ("KEYFOLD_OTHER_MASTER_KEYS", other),
            ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &gemini),
            ("KEYFOLD_ONBOARDING", self.preset),
            ("DATABASE_URL", &address),
        ];
        variables.push(if self.is_postgres() { ("DEPLOY_ENV", "render") } else { ("DEBUG", "true") });
        let sources = Sources::load(Environment::from_iter(variables), self.dir.path()).unwrap();
        let mut problems = Problems::default();
        let settings = Settings::read(&sources, &mut problems);
        problems.into_result().unwrap();
        Keyfold::open_with_keys_in_database(&settings.unwrap(), Parts::default()).await
    }

    pub(crate) async fn open(&self) -> Keyfold {
        self.try_open().await.unwrap_or_else(|error| panic!("{error} ({})", error.cause()))
    }

    /// What the other program does.
    pub(crate) async fn sql(&self, statements: &str) {
        self.try_sql(statements).await.unwrap();
    }

    /// The same where it may be refused; says with which words.
    pub(crate) async fn try_sql(&self, statements: &str) -> Result<(), String> {
        match &self.store {
            Store::Postgres { client, .. } => {
                let done = client.batch_execute(&statements.replace("id ID", "id SERIAL PRIMARY KEY")).await;
                if let Err(error) = done {
                    client.batch_execute("ROLLBACK").await.unwrap();
                    return Err(error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string));
                }
            }
            Store::Sqlite(path) => {
                let statements = statements.replace("id ID", "id INTEGER PRIMARY KEY AUTOINCREMENT");
                open_sqlite(path).execute_batch(&statements).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Each row as text.
    pub(crate) async fn rows(&self, select: &str) -> Vec<Vec<String>> {
        match &self.store {
            Store::Postgres { client, .. } => {
                let messages = client.simple_query(select).await.unwrap();
                let rows = messages.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| (0..row.len()).map(|n| row.get(n).unwrap_or("NULL").to_owned()).collect())
                    .collect()
            }
            Store::Sqlite(path) => {
                let database = open_sqlite(path);
                let mut prepared = database.prepare(select).unwrap();
                let columns = prepared.column_count();
                let rows = prepared.query_map([], |row| {
                    (0..columns)
                        .map(|n| {
                            let value: rusqlite::types::Value = row.get(n)?;
                            Ok(match value {
                                rusqlite::types::Value::Null => "NULL".into(),
                                rusqlite::types::Value::Integer(value) => value.to_string(),
                                rusqlite::types::Value::Real(value) => value.to_string(),
                                rusqlite::types::Value::Text(value) => value,
                                rusqlite::types::Value::Blob(_) => "a blob".into(),
                            })
                        })
                        .collect()
                });
                rows.unwrap().collect::<Result<_, _>>().unwrap()
            }
        }
    }

    pub(crate) async fn value(&self, select: &str) -> String {
        self.rows(select).await[0][0].clone()
    }

    /// All that is the other program's, but for the keys.
    pub(crate) async fn all_but_keys(&self) -> Vec<Vec<Vec<String>>> {
        let mut dumps = vec![];
        for dump in DUMPS {
            dumps.push(self.rows(dump).await);
        }
        dumps
    }

    /// The same before Keyfold was there.
    pub(crate) async fn all_but_keys_at_first(&self) -> Vec<Vec<Vec<String>>> {
        let mut dumps = vec![];
        for dump in DUMPS {
            let dump = dump
                .replace("COALESCE(duplicate_of, user_id)", "user_id")
                .replace("COALESCE(duplicate_of, provider)", "provider");
            dumps.push(self.rows(&dump).await);
        }
        dumps
    }

    /// What stands in the rows of keys.
    pub(crate) async fn keys(&self) -> Vec<Vec<String>> {
        self.rows("SELECT id, key FROM api_keys ORDER BY id").await
    }

    /// The names of all tables.
    pub(crate) async fn tables(&self) -> Vec<Vec<String>> {
        self.rows(if self.is_postgres() {
            "SELECT table_name, column_name, data_type, character_maximum_length FROM information_schema.columns \
             WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
        } else {
            "SELECT name, sql FROM sqlite_master ORDER BY name"
        })
        .await
    }

    /// Many users, each with a key in plain text.
    pub(crate) async fn with_users(&self, users: u32) {
        self.sql(
            "CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64) UNIQUE, updated_at TIMESTAMP); \
             CREATE TABLE api_keys (id ID, session_id INTEGER REFERENCES onboarding_sessions(id), \
             provider VARCHAR(20) NOT NULL, key VARCHAR(256) NOT NULL, UNIQUE (session_id, provider))",
        )
        .await;
        let mut statements = String::from("BEGIN;");
        for number in 0..users {
            let (user, key) = (user(number), key(number));
            write!(
                statements,
                "INSERT INTO onboarding_sessions (user_id) VALUES ('{user}'); \
                 INSERT INTO api_keys (session_id, provider, key) \
                 SELECT id, 'gemini', '{key}' FROM onboarding_sessions WHERE user_id = '{user}'; \
                 INSERT INTO api_keys (session_id, provider, key) \
                 SELECT id, 'acme', '{key}-acme' FROM onboarding_sessions WHERE user_id = '{user}';"
            )
            .unwrap();
        }
        self.sql(&(statements + "COMMIT")).await;
    }
}

fn open_sqlite(path: &PathBuf) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    database.pragma_update(None, "foreign_keys", true).unwrap();
    database
}

pub(crate) fn new_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

pub(crate) fn operator() -> Requester {
    Requester::new(Actor::Operator)
}

pub(crate) fn user(number: u32) -> String {
    format!("user_{number:05}")
}

/// Such as no provider has.
pub(crate) fn key(number: u32) -> String {
    format!("test-data-plain-key-{number:05}")
}

/// The key of this user, or the code of what is told instead.
pub(crate) async fn key_of(keyfold: &Keyfold, user: &str, provider: &str) -> String {
    let keys = match keyfold.user_api_keys(user).await {
        Ok(keys) => keys,
        Err(error) => return error.code().to_owned(),
    };
    match keys.get(provider) {
        Ok(key) => key.expose().to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

/// Saves the stand-in's example key of this number.
pub(crate) async fn save(keyfold: &Keyfold, user: &str, number: u32) -> Result<(), Error> {
    let key = ApiKey::parse(&keyfold_standin::example_key("gemini", number)).unwrap();
    let keys = keyfold.user_api_keys_read_anew(user).await?;
    keys.save(&keyfold.provider("gemini").unwrap(), key).await.map(drop)
}

pub(crate) async fn encrypt(keyfold: &Keyfold) -> keyfold::migration::Encrypted {
    let encrypted = keyfold.migration().encrypt(&operator(), &mut |_| ()).await;
    encrypted.unwrap_or_else(|error| panic!("{error} ({})", error.cause()))
}

pub(crate) async fn decrypt(keyfold: &Keyfold) -> keyfold::migration::Decrypted {
    let decrypted = keyfold.migration().decrypt(&operator(), &mut |_| ()).await;
    decrypted.unwrap_or_else(|error| panic!("{error} ({})", error.cause()))
}
