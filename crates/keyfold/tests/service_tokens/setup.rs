//! A Keyfold with a held clock on either database, and replicas of it.

#![allow(clippy::single_match_else, reason = "the two databases stand side by side")]

use std::sync::Arc;
use std::time::Duration;

use keyfold::clock::{ManualClock, SystemRandom};
use keyfold::envelope::MasterKey;
use keyfold::provider::http::Timeouts;
use keyfold::secret::ApiKey;
use keyfold::service_tokens::{AuthenticatedService, NewToken, Scope, ServiceToken};
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::user::UserId;
use keyfold::{Error, Keyfold, Parts};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::{PostgresServer, SqlClient};
use tempfile::TempDir;

pub(crate) const START: &str = "2026-01-02T03:04:05Z";
const PROVIDERS: [&str; 2] = ["gemini", "exa"];

/// What replicas share.
pub(crate) struct Setup {
    pub(crate) standin: Standin,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) dir: TempDir,
    /// Its name on the shared server; `None`: SQLite.
    database: Option<String>,
    variables: Vec<(String, String)>,
}

impl Setup {
    pub(crate) async fn postgres() -> Self {
        let database = PostgresServer::shared().new_database().await;
        Self::new(Some(database), &[]).await
    }

    /// Keys are in the database here too.
    pub(crate) async fn sqlite() -> Self {
        Self::new(None, &[]).await
    }

    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        let database = PostgresServer::shared().new_database().await;
        Self::new(Some(database), variables).await
    }

    async fn new(database: Option<String>, more: &[(&str, &str)]) -> Self {
        let standin = Standin::start().await;
        let master_key = MasterKey::generate(&SystemRandom).unwrap().to_string();
        let mut variables: Vec<(String, String)> = vec![("KEYFOLD_MASTER_KEY".into(), master_key)];
        match &database {
            Some(name) => variables.extend([
                ("DEPLOY_ENV".into(), "render".into()),
                ("DATABASE_URL".into(), PostgresServer::shared().address_of(name)),
            ]),
            None => variables.push(("DEBUG".into(), "true".into())),
        }
        for provider in PROVIDERS {
            let name = format!("KEYFOLD_PROVIDER_{}_BASE_URL", provider.to_uppercase());
            variables.push((name, standin.base_url(provider)));
        }
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
        Self { standin, clock, dir: TempDir::new().unwrap(), database, variables }
    }

    /// One of its replicas.
    pub(crate) async fn open(&self) -> Keyfold {
        let timeouts = Timeouts { check: Duration::from_millis(300), ..Timeouts::default() };
        let parts = Parts { clock: self.clock.clone(), random: Arc::new(SystemRandom), timeouts };
        let environment: Environment = self.variables.iter().cloned().collect();
        let mut problems = Problems::default();
        let sources = Sources::read(environment, self.dir.path(), &mut problems).unwrap();
        let settings = Settings::read(&sources, &mut problems);
        let settings = settings.unwrap_or_else(|| panic!("{problems:?}"));
        match self.database {
            Some(_) => Keyfold::open(&settings, Environment::default(), parts).await.unwrap(),
            None => Keyfold::open_with_keys_in_database(&settings, parts).await.unwrap(),
        }
    }

    /// Another value of a variable, for replicas that are opened from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// Replicas that are opened from now on seal with another master key; the present one opens.
    pub(crate) fn use_another_master_key(&mut self) {
        let present = self.variables.iter().find(|(name, _)| name == "KEYFOLD_MASTER_KEY").unwrap().1.clone();
        let another = MasterKey::generate(&SystemRandom).unwrap().to_string();
        self.set("KEYFOLD_MASTER_KEY", &another);
        self.set("KEYFOLD_OTHER_MASTER_KEYS", &present);
    }

    /// Runs statements as the database's owner.
    pub(crate) async fn sql(&self, statements: &str) {
        match &self.database {
            Some(_) => self.client().await.batch_execute(statements).await.unwrap(),
            None => {
                let path = self.dir.path().join(".keyfold/keyfold.db");
                let statements = format!("BEGIN IMMEDIATE; {statements}; COMMIT");
                // Off the runtime: a transaction of Keyfold's own may have to go on first.
                let run = move || rusqlite::Connection::open(path).unwrap().execute_batch(&statements);
                tokio::task::spawn_blocking(run).await.unwrap().unwrap();
            }
        }
    }

    /// The first column of what a query finds, as text.
    pub(crate) async fn column(&self, query: &str) -> Vec<String> {
        match &self.database {
            Some(_) => {
                let rows = self.client().await.query(query, &[]).await.unwrap();
                rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
            }
            None => {
                let path = self.dir.path().join(".keyfold/keyfold.db");
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(query).unwrap();
                let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
                rows.map(|text| text.unwrap().unwrap_or_default()).collect()
            }
        }
    }

    pub(crate) async fn client(&self) -> SqlClient {
        PostgresServer::shared().connect(self.database.as_ref().unwrap()).await
    }
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

/// A token for reading everybody's keys, without an end.
pub(crate) fn reader(name: &str) -> NewToken {
    NewToken {
        name: name.into(),
        scopes: vec![Scope::KeysRead],
        users: vec![],
        providers: vec![],
        lifetime: None,
    }
}

pub(crate) async fn create(keyfold: &Keyfold, new: &NewToken) -> ServiceToken {
    keyfold.service_tokens().create(new).await.unwrap().1
}

pub(crate) async fn service(keyfold: &Keyfold, token: &ServiceToken) -> AuthenticatedService {
    keyfold.service_tokens().authenticate(token.expose()).await.unwrap()
}

/// Saves the example key of this number.
pub(crate) async fn save(keyfold: &Keyfold, user: &str, provider: &str, number: u32) {
    let keys = keyfold.user_api_keys(user).await.unwrap();
    let key = ApiKey::parse(&example_key(provider, number)).unwrap();
    keys.save(&keyfold.provider(provider).unwrap(), key).await.unwrap();
}

/// What is released for this user: each provider with its key.
#[expect(clippy::disallowed_methods, reason = "test data")]
pub(crate) async fn released(
    keyfold: &Keyfold,
    service: &AuthenticatedService,
    id: &str,
    provider: Option<&str>,
) -> Result<Vec<(String, String)>, Error> {
    let provider = provider.map(|id| keyfold.provider(id).unwrap());
    let keys = keyfold.service_tokens().release(service, &user(id), provider.as_ref()).await?;
    Ok(keys.iter().map(|(provider, key)| (provider.to_string(), key.expose().to_owned())).collect())
}
