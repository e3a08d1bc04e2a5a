//! Keyfold in both modes, and how a test looks at its audit log.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use keyfold::audit::{Entry, Selection};
use keyfold::auth::AuthenticatedUser;
use keyfold::auth::local::{LocalGuard, RequestOrigin};
use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::provider::generate::Prompt;
use keyfold::secret::ApiKey;
use keyfold::{Error, Keyfold};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;

/// A place to open Keyfold in, with the stand-in in the place of all providers that tests use.
pub(crate) struct Place {
    pub(crate) standin: Standin,
    pub(crate) dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    /// Local mode, on SQLite.
    pub(crate) async fn local() -> Self {
        Self::with(&[]).await
    }

    /// Production, on PostgreSQL.
    pub(crate) async fn production() -> Self {
        let database = PostgresServer::shared().empty_database().await;
        let master_key = MasterKey::generate(&SystemRandom).unwrap();
        Self::with(&[
            ("DEPLOY_ENV", "render"),
            ("DATABASE_URL", &database),
            ("KEYFOLD_MASTER_KEY", &master_key),
        ])
        .await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let standin = Standin::start().await;
        let address = standin.base_url("gemini");
        let variables =
            variables.iter().copied().chain([("KEYFOLD_PROVIDER_GEMINI_BASE_URL", address.as_str())]);
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { standin, dir: TempDir::new().unwrap(), variables }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) async fn open(&self) -> Keyfold {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Keyfold::open_with(variables.collect(), self.dir.path()).await.unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(name)).ok()
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.dir.path().join(".keyfold/spool")
    }
}

/// The user of local mode, in a request.
pub(crate) fn local_user() -> AuthenticatedUser {
    let origin = RequestOrigin { host: Some("localhost:8000"), ..RequestOrigin::default() };
    let admitted = LocalGuard::new(vec![], vec![], None).admit(&origin).unwrap();
    AuthenticatedUser::of_local_access(&admitted).in_request("request-1", Some("127.0.0.1".parse().unwrap()))
}

pub(crate) fn prompt() -> Prompt {
    Prompt { text: "Say hello.".into(), system: None, model: None, max_tokens: None }
}

pub(crate) fn key(number: u32) -> ApiKey {
    ApiKey::parse(&example_key("gemini", number)).unwrap()
}

pub(crate) fn code<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().err().map_or("none", Error::code)
}

/// All events, once there are that many.
pub(crate) async fn events(keyfold: &Keyfold, count: usize) -> Vec<Entry> {
    let log = keyfold.audit_log();
    let waiting = async {
        loop {
            let events = log.page(&Selection::default(), None, 10_000).await.unwrap();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let events = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    let events = events.expect("events are missing in the audit log");
    assert_eq!(events.len(), count, "{:#?}", told(&events));
    events
}

/// Action, outcome and purpose of each.
pub(crate) fn told(events: &[Entry]) -> Vec<String> {
    let tell = |event: &Entry| {
        format!("{} {} {}", event.action, event.outcome, event.purpose.as_deref().unwrap_or("-"))
    };
    events.iter().map(tell).collect()
}

pub(crate) async fn assert_sound(keyfold: &Keyfold) {
    let report = keyfold.audit_log().verify(None, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{}", report.to_json());
}
