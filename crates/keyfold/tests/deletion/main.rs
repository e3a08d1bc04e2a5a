//! Deletions through the library, on PostgreSQL: the program that uses it vouches for its users itself, and no token
//! says since when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::SignedDuration;
use keyfold::clock::{ManualClock, SystemRandom};
use keyfold::envelope::MasterKey;
use keyfold::provider::ProviderId;
use keyfold::provider::http::Timeouts;
use keyfold::secret::ApiKey;
use keyfold::settings::{Problems, Settings, Sources};
use keyfold::user::UserId;
use keyfold::users::{Removal, Standing};
use keyfold::{Environment, Error, Keyfold, Parts};
use keyfold_standin::{Standin, example_key};
use keyfold_test_servers::{PostgresServer, SqlClient};
use tempfile::TempDir;

/// Production with a clock that stands still, and the stand-in in the providers' place.
struct Production {
    standin: Standin,
    dir: TempDir,
    database: String,
    master_key: String,
    clock: Arc<ManualClock>,
}

impl Production {
    async fn new() -> Self {
        Self {
            standin: Standin::start().await,
            dir: TempDir::new().unwrap(),
            database: PostgresServer::shared().new_database().await,
            master_key: MasterKey::generate(&SystemRandom).unwrap().to_string(),
            clock: Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap())),
        }
    }

    /// One of its replicas.
    async fn open(&self) -> Keyfold {
        let address = PostgresServer::shared().address_of(&self.database);
        let (gemini, exa) = (self.standin.base_url("gemini"), self.standin.base_url("exa"));
        let variables = [
            ("DEPLOY_ENV", "render"),
            ("DATABASE_URL", address.as_str()),
            ("KEYFOLD_MASTER_KEY", &self.master_key),
            ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", &gemini),
            ("KEYFOLD_PROVIDER_EXA_BASE_URL", &exa),
        ];
        let sources = Sources::load(variables.into_iter().collect(), self.dir.path()).unwrap();
        let mut problems = Problems::default();
        let settings = Settings::read(&sources, &mut problems);
        problems.into_result().unwrap();
        let parts = Parts {
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom),
            timeouts: Timeouts::default(),
        };
        Keyfold::open(&settings.unwrap(), Environment::default(), parts).await.unwrap()
    }

    async fn sql(&self) -> SqlClient {
        PostgresServer::shared().connect(&self.database).await
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

async fn save(keyfold: &Keyfold, user: &str, provider: &str, number: u32) -> Result<(), Error> {
    let keys = keyfold.user_api_keys_read_anew(user).await?;
    let key = ApiKey::parse(&example_key(provider, number)).unwrap();
    keys.save(&keyfold.provider(provider)?, key).await.map(drop)
}

async fn key_of(keyfold: &Keyfold, user: &str) -> Result<String, Error> {
    Ok(keyfold.user_api_keys(user).await?.get("gemini")?.expose().to_owned())
}

fn code<T>(result: &Result<T, Error>) -> &'static str {
    result.as_ref().err().map_or("none", Error::code)
}

#[tokio::test]
async fn a_program_that_vouches_for_a_user_begins_anew_and_is_refused_while_the_user_is() {
    let production = Production::new().await;
    let keyfold = production.open().await;
    let (users, ann) = (keyfold.users(), user("ann"));
    save(&keyfold, "ann", "gemini", 1).await.unwrap();
    // A context from before finds its key gone, and cannot bring it back.
    let before = keyfold.user_api_keys("ann").await.unwrap();
    assert_eq!(users.delete(&ann).await.unwrap(), Removal::Deleted);
    assert!(matches!(users.standing(&ann).await.unwrap(), Standing::Deleted(_)));
    assert!(matches!(users.delete(&ann).await.unwrap(), Removal::Already(_)));
    let gemini = keyfold.provider("gemini").unwrap();
    let replaced = before.save(&gemini, ApiKey::parse(&example_key("gemini", 2)).unwrap()).await;
    assert_eq!(code(&replaced), "conflict");
    assert_eq!(code(&before.roll_back(&gemini).await), "conflict");

    assert_eq!(code(&key_of(&keyfold, "ann").await), "no_api_key");
    save(&keyfold, "ann", "gemini", 3).await.unwrap();
    assert_eq!(key_of(&keyfold, "ann").await.unwrap(), example_key("gemini", 3));
    assert_eq!(users.standing(&ann).await.unwrap(), Standing::Active);

    users.delete_gone(&ann).await.unwrap();
    assert_eq!(code(&key_of(&keyfold, "ann").await), "user_deleted");
    assert_eq!(code(&save(&keyfold, "ann", "gemini", 4).await), "user_deleted");
    // An operator may look, and there is nothing.
    assert!(users.keys_of(&ann).await.unwrap().list().unwrap().is_empty());
    production.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(code(&key_of(&keyfold, "ann").await), "no_api_key");
    save(&keyfold, "ann", "gemini", 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn storms_of_saves_and_deletions_on_two_replicas_end_in_a_state_that_opens() {
    let production = Production::new().await;
    let replicas = [production.open().await, production.open().await];
    for round in 0..5 {
        let name = format!("user_{round}");
        let work = (0..60_u32).map(|n| {
            let (keyfold, name) = (replicas[n as usize % 2].clone(), name.clone());
            tokio::spawn(async move {
                let done = if n % 6 == 5 {
                    keyfold.users().delete(&user(&name)).await.map(drop)
                } else {
                    save(&keyfold, &name, if n % 2 == 0 { "gemini" } else { "exa" }, n).await
                };
                let known = ["none", "conflict", "not_found"];
                assert!(known.contains(&code(&done)), "{done:?}");
            })
        });
        for done in join_all(work).await {
            done.unwrap();
        }
        // Whatever is there opens on both, and is the same.
        let seen = join_all(replicas.iter().map(async |keyfold| {
            let keys = keyfold.user_api_keys_read_anew(&name).await.unwrap();
            keys.list().unwrap().iter().map(|record| record.masked.clone()).collect::<Vec<_>>()
        }))
        .await;
        assert_eq!(seen[0], seen[1]);
        assert!(!seen[0].contains(&"****".to_owned()), "{seen:?}");
    }
    // Nobody has rows without a session, and whoever was deleted and is there again knows it.
    let sql = production.sql().await;
    let lost = "SELECT COUNT(*) FROM onboarding_sessions s JOIN deleted_users d ON d.user_id = s.user_id \
        WHERE s.valid_from IS NULL";
    assert_eq!(sql.query_one(lost, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_suspension_beside_a_deletion_is_not_lost() {
    let production = Production::new().await;
    let replicas = [production.open().await, production.open().await];
    for round in 0..40 {
        let name = format!("user_{round}");
        save(&replicas[0], &name, "gemini", 1).await.unwrap();
        let (users, others, id) = (replicas[0].users(), replicas[1].users(), user(&name));
        let (suspended, deleted) = tokio::join!(users.suspend(&id), others.delete(&id));
        suspended.unwrap();
        deleted.unwrap();
        assert!(matches!(users.standing(&id).await.unwrap(), Standing::Suspended(_)), "{round}");
        assert_eq!(code(&save(&replicas[1], &name, "gemini", 2).await), "user_suspended");
        others.resume(&id).await.unwrap();
        assert_eq!(code(&save(&replicas[0], &name, "gemini", 2).await), "none");
    }
}

#[tokio::test]
async fn a_revoked_key_is_gone_on_every_replica_and_was_one_of_its_provider() {
    let production = Production::new().await;
    let (here, there) = (production.open().await, production.open().await);
    for name in ["ann", "bob"] {
        for (provider, number) in [("gemini", 1), ("gemini", 2), ("exa", 1)] {
            save(&here, name, provider, number).await.unwrap();
        }
    }
    for _ in 0..20 {
        // By now it is remembered there.
        key_of(&there, "ann").await.unwrap();
    }
    let (users, gemini) = (here.users(), ProviderId::parse("gemini").unwrap());
    assert_eq!(users.holders(&gemini, None, 10).await.unwrap(), [user("ann"), user("bob")]);
    assert!(users.revoke(&user("ann"), &gemini).await.unwrap());
    assert!(!users.revoke(&user("ann"), &gemini).await.unwrap());
    assert!(!users.revoke(&user("nobody"), &gemini).await.unwrap());
    let gone = async || code(&key_of(&there, "ann").await) == "no_api_key";
    let waiting = async {
        while !gone().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.is_ok(), "it goes on");
    let provider = here.provider("gemini").unwrap();
    let rolled_back = here.user_api_keys("ann").await.unwrap().roll_back(&provider).await;
    assert_eq!(code(&rolled_back), "no_previous_version");
    assert_eq!(key_of(&there, "bob").await.unwrap(), example_key("gemini", 2));
    assert!(here.user_api_keys("ann").await.unwrap().get("exa").is_ok());
    assert_eq!(users.count_holders(&gemini).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_waited_for_a_deletion_sees_it() {
    let production = Production::new().await;
    let keyfold = production.open().await;
    let (deleting, watching) = (production.sql().await, production.sql().await);
    for (name, was_here) in [("ann", true), ("eve", false)] {
        if was_here {
            save(&keyfold, name, "gemini", 1).await.unwrap();
        }
        // What a deletion does on another replica, up to its commit.
        deleting
            .batch_execute(&format!(
                "BEGIN; INSERT INTO onboarding_sessions (user_id, data_key) VALUES ('{name}', 'none') \
                 ON CONFLICT (user_id) DO UPDATE SET updated_at = onboarding_sessions.updated_at; \
                 DELETE FROM api_keys; DELETE FROM onboarding_sessions WHERE user_id = '{name}'; \
                 INSERT INTO deleted_users (user_id, deleted_at, refused_until) \
                 VALUES ('{name}', '2026-01-02 03:04:05', '2026-01-03 03:04:05')"
            ))
            .await
            .unwrap();
        let saving = tokio::spawn({
            let keyfold = keyfold.clone();
            async move { save(&keyfold, name, "exa", 1).await }
        });
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while watching.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(!saving.is_finished(), "{name}: it did not wait");
            tokio::task::yield_now().await;
        }
        deleting.batch_execute("COMMIT").await.unwrap();
        assert_eq!(code(&saving.await.unwrap()), "user_deleted", "{name}");
        let rows = watching.query("SELECT 1 FROM onboarding_sessions", &[]).await.unwrap();
        assert!(rows.is_empty(), "{name} is back");
    }
}
