//! Keys in the database: whose key comes out, and what must not come out.

use keyfold_standin::{Behaviour, Standin, example_key, example_key_with};
use tempfile::TempDir;

use super::*;
use crate::clock::{ManualClock, SystemRandom};
use crate::envelope::MasterKey;
use crate::provider::BaseAddress;
use crate::provider::http::Timeouts;
use crate::storage::{Connection, Statement, Value, statement};

struct Fixture {
    keys: Arc<Keys>,
    standin: Standin,
    clock: Arc<ManualClock>,
    master_key: Arc<MasterKey>,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let standin = Standin::start().await;
        let text = MasterKey::generate(&SystemRandom).unwrap();
        let master_key = Arc::new(MasterKey::parse(&text).unwrap());
        let clock = Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
        let keys = open(&folder, &standin, &master_key, &clock).await;
        Self { keys, standin, clock, master_key, folder }
    }

    async fn of(&self, user: &str) -> UserApiKeys {
        self.keys.of(&id(user)).await.unwrap()
    }

    fn provider(&self, id: &str) -> Arc<Provider> {
        self.keys.provider(id).unwrap()
    }

    async fn save(&self, user: &str, provider: &str, key: &str) -> Result<Saved, Error> {
        self.of(user).await.save(&self.provider(provider), ApiKey::parse(key).unwrap()).await
    }

    async fn key_of(&self, user: &str, provider: &str) -> Result<String, Error> {
        self.of(user).await.get(provider).map(|key| key.expose().to_owned())
    }

    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> u64 {
        const fn by_hand(sql: &'static str) -> Statement {
            statement("by hand", sql)
        }
        self.keys.database.execute(&by_hand(sql), values).await.unwrap()
    }
}

async fn open(
    folder: &TempDir,
    standin: &Standin,
    master: &Arc<MasterKey>,
    clock: &Arc<ManualClock>,
) -> Arc<Keys> {
    let database = Database::open_sqlite(folder.path().join("keyfold.db"), std::time::Duration::from_secs(3))
        .await
        .unwrap();
    let mut registry = Registry::built_in().unwrap();
    for provider in registry.ids() {
        let address = BaseAddress::parse(&standin.base_url(provider.as_str())).unwrap();
        registry = registry.with_address(&provider, address);
    }
    let keys = Keys::new(
        database,
        MasterKeyRing::new(Arc::clone(master), vec![]),
        registry,
        Arc::new(HttpClient::new(Timeouts::default())),
        clock.clone(),
        Arc::new(SystemRandom),
        ReadFrom::Database,
    );
    Arc::new(keys.unwrap())
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    result.err().map_or("none", |error| error.code())
}

#[tokio::test]
async fn each_user_gets_their_own_key() {
    let fixture = Fixture::new().await;
    let (ann, bob) = (example_key("gemini", 1), example_key("gemini", 2));
    assert!(fixture.save("ann", "gemini", &ann).await.unwrap().is_new);
    assert!(fixture.save("bob", "gemini", &bob).await.unwrap().is_new);
    assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), ann);
    assert_eq!(fixture.key_of("bob", "gemini").await.unwrap(), bob);
    assert_eq!(code(fixture.key_of("eve", "gemini").await), "no_api_key");
    assert_eq!(code(fixture.key_of("ann", "exa").await), "no_api_key");
    assert_eq!(code(fixture.key_of("ann", "nobody").await), "unknown_provider");
}

#[tokio::test]
async fn a_row_that_was_moved_to_another_user_provider_or_version_does_not_open() {
    let moves = [
        "UPDATE api_keys SET key = (SELECT key FROM api_keys WHERE provider = 'gemini' AND session_id = 2) WHERE provider = 'gemini' AND session_id = 1",
        "UPDATE api_keys SET key = (SELECT key FROM api_keys WHERE provider = 'exa' AND session_id = 1) WHERE provider = 'gemini' AND session_id = 1",
        "UPDATE api_keys SET version = 2 WHERE provider = 'gemini' AND session_id = 1",
        "UPDATE onboarding_sessions SET data_key = (SELECT data_key FROM onboarding_sessions WHERE id = 2) WHERE id = 1",
        "UPDATE onboarding_sessions SET user_id = CASE user_id WHEN 'ann' THEN 'x' ELSE user_id END",
    ];
    for sql in moves {
        let fixture = Fixture::new().await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.save("ann", "exa", &example_key("exa", 1)).await.unwrap();
        fixture.save("bob", "gemini", &example_key("gemini", 2)).await.unwrap();
        assert!(fixture.execute(sql, vec![]).await > 0, "{sql}");
        let user = if sql.contains("'x'") { "x" } else { "ann" };
        assert_eq!(code(fixture.key_of(user, "gemini").await), "key_unreadable", "{sql}");
        let list = fixture.of(user).await.list().unwrap();
        let gemini = list.iter().find(|record| record.provider.as_str() == "gemini").unwrap();
        assert_eq!((gemini.status, gemini.masked.as_str()), (KeyStatus::Unreadable, "****"), "{sql}");
    }
}

#[tokio::test]
async fn a_stored_text_that_is_not_sealed_by_us_is_unreadable_and_the_rest_of_the_list_stays() {
    for stored in [
        "AIza-plain-text-key",
        "",
        "kf1.",
        "kf2.AAAA",
        "kf1.!!!!",
        "kf1.AAAAAAAAAAA",
        "kf1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let fixture = Fixture::new().await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.save("ann", "exa", &example_key("exa", 1)).await.unwrap();
        fixture.execute("UPDATE api_keys SET key = $1 WHERE provider = 'gemini'", vec![stored.into()]).await;
        assert_eq!(code(fixture.key_of("ann", "gemini").await), "key_unreadable", "{stored}");
        assert_eq!(fixture.key_of("ann", "exa").await.unwrap(), example_key("exa", 1), "{stored}");
        assert_eq!(fixture.of("ann").await.list().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn every_flipped_bit_of_a_stored_key_and_data_key_is_noticed() {
    let fixture = Fixture::new().await;
    fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
    let columns = [
        ("SELECT key FROM api_keys", "UPDATE api_keys SET key = $1"),
        ("SELECT data_key FROM onboarding_sessions", "UPDATE onboarding_sessions SET data_key = $1"),
    ];
    for (select, update) in columns {
        let rows = fixture.keys.database.query(&statement("by hand", select), vec![]).await.unwrap();
        let good = rows[0].text(0).unwrap().to_owned();
        for index in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[index] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            fixture.execute(update, vec![changed.into()]).await;
            assert_eq!(
                code(fixture.key_of("ann", "gemini").await),
                "key_unreadable",
                "{select} byte {index}"
            );
        }
        fixture.execute(update, vec![good.into()]).await;
        assert!(fixture.key_of("ann", "gemini").await.is_ok());
    }
}

#[tokio::test]
async fn an_unreadable_key_can_be_entered_again() {
    let damages = [
        "UPDATE api_keys SET key = 'kf1.AAAA'",
        "UPDATE onboarding_sessions SET data_key = 'kf1.AAAA'",
        "UPDATE onboarding_sessions SET data_key = ''",
    ];
    for damage in damages {
        let fixture = Fixture::new().await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.execute(damage, vec![]).await;
        let saved = fixture.save("ann", "gemini", &example_key("gemini", 2)).await.unwrap();
        assert_eq!(saved.record.version, Some(2), "{damage}");
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2), "{damage}");
    }
}

#[tokio::test]
async fn under_another_master_key_nothing_opens_and_nothing_is_overwritten() {
    let fixture = Fixture::new().await;
    fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
    let other = Arc::new(MasterKey::parse(&MasterKey::generate(&SystemRandom).unwrap()).unwrap());
    let keys = open(&fixture.folder, &fixture.standin, &other, &fixture.clock).await;
    let ann = keys.of(&id("ann")).await.unwrap();
    assert_eq!(code(ann.get("gemini")), "key_unreadable");
    let key = ApiKey::parse(&example_key("gemini", 2)).unwrap();
    assert_eq!(code(ann.save(&keys.provider("gemini").unwrap(), key).await), "key_unreadable");
    let keys = open(&fixture.folder, &fixture.standin, &fixture.master_key, &fixture.clock).await;
    let ann = keys.of(&id("ann")).await.unwrap();
    assert_eq!(ann.get("gemini").unwrap().expose(), example_key("gemini", 1));
}

#[tokio::test]
async fn replacing_rolling_back_and_removing_keep_to_the_user() {
    let fixture = Fixture::new().await;
    let gemini = fixture.provider("gemini");
    for user in ["ann", "bob"] {
        fixture.save(user, "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.save(user, "gemini", &example_key("gemini", 2)).await.unwrap();
    }
    let record = fixture.of("ann").await.roll_back(&gemini).await.unwrap();
    assert_eq!(record.version, Some(3));
    assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 1));
    assert_eq!(fixture.key_of("bob", "gemini").await.unwrap(), example_key("gemini", 2));
    fixture.of("ann").await.roll_back(&gemini).await.unwrap();
    assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2));
    fixture.of("ann").await.remove(&gemini).await.unwrap();
    assert_eq!(code(fixture.key_of("ann", "gemini").await), "no_api_key");
    assert_eq!(code(fixture.of("ann").await.roll_back(&gemini).await), "no_previous_version");
    assert_eq!(code(fixture.of("ann").await.remove(&gemini).await), "no_api_key");
    assert_eq!(fixture.key_of("bob", "gemini").await.unwrap(), example_key("gemini", 2));
}

#[tokio::test]
async fn a_replaced_key_is_kept_for_a_day() {
    let fixture = Fixture::new().await;
    let gemini = fixture.provider("gemini");
    fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
    fixture.save("ann", "gemini", &example_key("gemini", 2)).await.unwrap();
    fixture.clock.advance(KEPT_FOR);
    assert_eq!(code(fixture.of("ann").await.roll_back(&gemini).await), "no_previous_version");
    assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2));
}

#[tokio::test]
async fn of_two_changes_from_the_same_state_one_wins_and_the_other_learns_it() {
    let fixture = Fixture::new().await;
    let gemini = fixture.provider("gemini");
    fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
    let (first, second) = (fixture.of("ann").await, fixture.of("ann").await);
    let key = |n| ApiKey::parse(&example_key("gemini", n)).unwrap();
    first.save(&gemini, key(2)).await.unwrap();
    assert_eq!(code(second.save(&gemini, key(3)).await), "conflict");
    assert_eq!(code(second.remove(&gemini).await), "conflict");
    assert_eq!(code(second.roll_back(&gemini).await), "conflict");
    assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2));
}

#[tokio::test]
async fn hundreds_of_users_at_once_never_see_each_others_keys() {
    let fixture = Arc::new(Fixture::new().await);
    let users = (0..200_u32).map(|n| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let (user, key) = (format!("user_{n}"), example_key("exa", n));
            fixture.save(&user, "exa", &key).await.unwrap();
            for _ in 0..5 {
                assert_eq!(fixture.key_of(&user, "exa").await.unwrap(), key);
                tokio::task::yield_now().await;
            }
        })
    });
    futures_util::future::try_join_all(users.collect::<Vec<_>>()).await.unwrap();
}

#[tokio::test]
async fn marks_follow_what_the_provider_says_and_its_own_troubles_change_nothing() {
    let fixture = Fixture::new().await;
    let openai = fixture.provider("openai");
    fixture.save("ann", "openai", &example_key("openai", 1)).await.unwrap();
    let status = async || fixture.of("ann").await.list().unwrap()[0].status;
    let says = async |behaviour| {
        fixture.standin.script("openai", behaviour);
        fixture.of("ann").await.validate(&openai).await.unwrap()
    };
    assert_eq!(
        says(Behaviour::status(401, r#"{"error":{"code":"invalid_api_key"}}"#)).await,
        Verdict::Rejected
    );
    assert_eq!(status().await, KeyStatus::Rejected);
    for trouble in [
        Behaviour::status(500, "{}"),
        Behaviour::status(429, "{}"),
        Behaviour::NotJson,
        Behaviour::CloseWithoutAnswer,
    ] {
        assert!(matches!(says(trouble).await, Verdict::Unknown(_)));
        assert_eq!(status().await, KeyStatus::Rejected);
    }
    assert_eq!(fixture.of("ann").await.validate(&openai).await.unwrap(), Verdict::Valid);
    assert_eq!(status().await, KeyStatus::Valid);
    assert!(matches!(says(Behaviour::status(402, "{}")).await, Verdict::Limited(_)));
    assert_eq!(status().await, KeyStatus::Limited);
}

#[tokio::test]
async fn a_rejected_key_is_not_saved() {
    let fixture = Fixture::new().await;
    let bad = example_key_with("gemini", "INVALID");
    assert_eq!(code(fixture.save("ann", "gemini", &bad).await), "key_rejected");
    assert!(fixture.of("ann").await.list().unwrap().is_empty());
}

#[tokio::test]
async fn the_time_of_the_last_use_is_shown_at_once_and_written_later() {
    let fixture = Fixture::new().await;
    fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
    let used = async |keys: &Arc<Keys>| keys.of(&id("ann")).await.unwrap().list().unwrap()[0].last_used_at;
    assert_eq!(used(&fixture.keys).await, None);
    drop(fixture.of("ann").await.get("gemini").unwrap());
    let now = fixture.clock.now();
    assert_eq!(used(&fixture.keys).await, Some(now));
    fixture.keys.flush().await;
    let elsewhere = open(&fixture.folder, &fixture.standin, &fixture.master_key, &fixture.clock).await;
    assert_eq!(used(&elsewhere).await, Some(now));
}
