//! Replicas on one database, and how a test looks at them.

use std::time::Duration;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::keys::Saved;
use keyfold::secret::ApiKey;
use keyfold::{Error, Keyfold};
use keyfold_standin::{Standin, example_key};
use tempfile::TempDir;

/// Production on one database, with the stand-in in Gemini's place.
pub(crate) struct Production {
    standin: Standin,
    dir: TempDir,
    pub(crate) database: String,
    pub(crate) master_key: String,
}

impl Production {
    pub(crate) async fn on(database: String) -> Self {
        Self {
            standin: Standin::start().await,
            dir: TempDir::new().unwrap(),
            database,
            master_key: another_master_key(),
        }
    }

    /// One of its replicas.
    pub(crate) async fn open(&self) -> Keyfold {
        self.open_with(&[]).await.unwrap()
    }

    /// One with other settings.
    pub(crate) async fn open_with(&self, variables: &[(&str, &str)]) -> Result<Keyfold, Error> {
        let address = self.standin.base_url("gemini");
        let usual = [
            ("DEPLOY_ENV", "render"),
            ("DATABASE_URL", &self.database),
            ("KEYFOLD_MASTER_KEY", &self.master_key),
            ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &address),
        ];
        let variables = usual.into_iter().chain(variables.iter().copied());
        Keyfold::open_with(variables.collect(), self.dir.path()).await
    }
}

pub(crate) fn another_master_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

/// Saves the example key of this number.
pub(crate) async fn save(keyfold: &Keyfold, user: &str, number: u32) -> Result<Saved, Error> {
    let keys = keyfold.user_api_keys(user).await?;
    let key = ApiKey::parse(&example_key("gemini", number)).unwrap();
    keys.save(&keyfold.provider("gemini")?, key).await
}

pub(crate) async fn key_of(keyfold: &Keyfold, user: &str) -> Result<String, Error> {
    Ok(keyfold.user_api_keys(user).await?.get("gemini")?.expose().to_owned())
}

pub(crate) fn code<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().err().map_or("none", Error::code)
}

/// A call that hangs is a fault. Its own limits are a third of this.
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), call).await.expect("a call hangs")
}

/// Waits for what comes by itself.
pub(crate) async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "not so: {what}");
}

/// Waits until what other replicas do is heard, and looked-up keys are remembered.
pub(crate) async fn listening(keyfold: &Keyfold) {
    soon("it listens", async || {
        // Whoever wants to know is told.
        let _ = keyfold.user_api_keys("somebody").await;
        keyfold.cache_state().unwrap().listening
    })
    .await;
}
