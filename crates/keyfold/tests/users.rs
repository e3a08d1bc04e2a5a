//! Users as an operator sees them, with PostgreSQL: who is suspended is refused everywhere, and loses nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::time::Duration;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::secret::ApiKey;
use keyfold::user::UserId;
use keyfold::users::{Resumption, Standing, Suspension};
use keyfold::{Error, Keyfold};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;

/// Production in a folder of its own, with the stand-in in Gemini's place.
struct Production {
    standin: Standin,
    dir: TempDir,
    database: String,
    master_key: String,
}

impl Production {
    async fn new() -> Self {
        Self {
            standin: Standin::start().await,
            dir: TempDir::new().unwrap(),
            database: PostgresServer::shared().empty_database().await,
            master_key: MasterKey::generate(&SystemRandom).unwrap().to_string(),
        }
    }

    /// One of its replicas.
    async fn open(&self) -> Keyfold {
        let address = self.standin.base_url("gemini");
        let variables = [
            ("DEPLOY_ENV", "render"),
            ("DATABASE_URL", &self.database),
            ("KEYFOLD_MASTER_KEY", &self.master_key),
            ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &address),
        ];
        Keyfold::open_with(variables.into_iter().collect(), self.dir.path()).await.unwrap()
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

async fn save(keyfold: &Keyfold, user: &str, key: &str) {
    let keys = keyfold.user_api_keys(user).await.unwrap();
    keys.save(&keyfold.provider("gemini").unwrap(), ApiKey::parse(key).unwrap()).await.unwrap();
}

async fn key_of(keyfold: &Keyfold, user: &str) -> Result<String, Error> {
    Ok(keyfold.user_api_keys(user).await?.get("gemini")?.expose().to_owned())
}

fn is_suspended(found: &Result<String, Error>) -> bool {
    found.as_ref().is_err_and(|error| error.code() == "user_suspended")
}

#[tokio::test]
async fn a_suspended_user_is_refused_and_keeps_the_keys() {
    let production = Production::new().await;
    let keyfold = production.open().await;
    let (ann, key) = (user("ann"), example_key("gemini", 1));
    save(&keyfold, "ann", &key).await;
    save(&keyfold, "bob", &example_key("gemini", 2)).await;
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), key);

    let users = keyfold.users();
    assert_eq!(users.standing(&ann).await.unwrap(), Standing::Active);
    assert_eq!(users.suspend(&ann).await.unwrap(), Suspension::New);
    let Standing::Suspended(since) = users.standing(&ann).await.unwrap() else { panic!("not suspended") };
    assert_eq!(users.suspend(&ann).await.unwrap(), Suspension::Already(since));

    let refused = keyfold.user_api_keys("ann").await.err().unwrap();
    assert_eq!(refused.code(), "user_suspended");
    assert!(refused.to_string().contains("Ask the operator"), "{refused}");
    assert_eq!(key_of(&keyfold, "bob").await.unwrap(), example_key("gemini", 2));
    // The operator's own hands reach the keys.
    let keys = users.keys_of(&ann).await.unwrap();
    assert_eq!(keys.list().unwrap().len(), 1);

    assert_eq!(users.resume(&ann).await.unwrap(), Resumption::Resumed);
    assert_eq!(users.resume(&ann).await.unwrap(), Resumption::WasNotSuspended);
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), key);
}

#[tokio::test]
async fn every_replica_hears_of_it() {
    let production = Production::new().await;
    let (here, there) = (production.open().await, production.open().await);
    save(&here, "ann", &example_key("gemini", 1)).await;
    for _ in 0..20 {
        // By now it is remembered there.
        assert!(key_of(&there, "ann").await.is_ok());
    }
    let soon = async |wanted: bool| {
        let waiting = async {
            while is_suspended(&key_of(&there, "ann").await) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok()
    };
    here.users().suspend(&user("ann")).await.unwrap();
    assert!(soon(true).await, "it goes on");
    here.users().resume(&user("ann")).await.unwrap();
    assert!(soon(false).await, "it stays out");
}

#[tokio::test]
async fn who_was_never_here_can_be_suspended_and_not_resumed() {
    let production = Production::new().await;
    let keyfold = production.open().await;
    let (users, eve) = (keyfold.users(), user("eve"));
    assert_eq!(users.standing(&eve).await.unwrap(), Standing::NeverHere);
    let refused = users.resume(&eve).await.err().unwrap();
    assert_eq!(refused.code(), "not_found");
    assert!(refused.to_string().contains("eve"), "{refused}");

    assert_eq!(users.suspend(&eve).await.unwrap(), Suspension::BeforeFirstVisit);
    assert!(is_suspended(&key_of(&keyfold, "eve").await));
    users.resume(&eve).await.unwrap();
    // The data key that was made for the row is a good one.
    save(&keyfold, "eve", &example_key("gemini", 1)).await;
    assert_eq!(key_of(&keyfold, "eve").await.unwrap(), example_key("gemini", 1));
}

#[tokio::test]
async fn of_many_suspensions_at_once_one_is_new() {
    let production = Production::new().await;
    let keyfold = production.open().await;
    for id in ["ann", "eve"] {
        if id == "ann" {
            save(&keyfold, id, &example_key("gemini", 1)).await;
        }
        let suspended = (0..16).map(|_| {
            let users = keyfold.users();
            async move { users.suspend(&user(id)).await.unwrap() }
        });
        let found = futures_util::future::join_all(suspended).await;
        let new = found.iter().filter(|each| !matches!(each, Suspension::Already(_))).count();
        assert_eq!(new, 1, "{found:?}");
    }
}
