//! Keys in the database: whose key comes out, and what must not come out. One suite, run on both databases.

use std::time::Duration;

use keyfold_standin::{Behaviour, Standin, example_key, example_key_with};
use tempfile::TempDir;

use super::*;
use crate::clock::{ManualClock, SystemRandom};
use crate::envelope::MasterKey;
use crate::provider::BaseAddress;
use crate::provider::http::Timeouts;
use crate::settings::{AuditSettings, DatabaseSetting};
use crate::storage::{Connection, Kind, PostgresAddress, Statement, Value, statement};

/// An empty database for one test.
enum Place {
    Sqlite(TempDir),
    /// With a state directory.
    Postgres(PostgresAddress, TempDir),
}

struct Fixture {
    place: Place,
    keys: Arc<Keys>,
    standin: Standin,
    clock: Arc<ManualClock>,
    master_key: Arc<MasterKey>,
}

impl Fixture {
    async fn new(place: &Place) -> Self {
        Self::in_place(place.another().await).await
    }

    async fn in_place(place: Place) -> Self {
        let standin = Standin::start().await;
        let master_key = another_master_key();
        let clock = Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
        let ring = MasterKeyRing::new(Arc::clone(&master_key), vec![]);
        let keys = open(&place, &standin, ring, &master_key, &clock).await;
        Self { place, keys, standin, clock, master_key }
    }

    /// Another replica on the same database.
    async fn replica(&self) -> Arc<Keys> {
        self.replica_with(MasterKeyRing::new(Arc::clone(&self.master_key), vec![])).await
    }

    async fn replica_with(&self, ring: MasterKeyRing) -> Arc<Keys> {
        open(&self.place, &self.standin, ring, &self.master_key, &self.clock).await
    }

    async fn of(&self, user: &str) -> UserApiKeys {
        self.keys.of(&id(user)).await.unwrap()
    }

    fn provider(&self, id: &str) -> Arc<Provider> {
        self.keys.provider(id).unwrap()
    }

    async fn save(&self, user: &str, provider: &str, key: &str) -> Result<Saved, Error> {
        save(&self.keys, user, provider, key).await
    }

    async fn key_of(&self, user: &str, provider: &str) -> Result<String, Error> {
        key_of(&self.keys, user, provider).await
    }

    /// As a start with this master key does it.
    async fn is_used_here(&self, master_key: &Arc<MasterKey>) {
        let ring = MasterKeyRing::new(Arc::clone(master_key), vec![]);
        let check = ring.check_value(&SystemRandom).unwrap().to_string();
        let name = storage::root_secrets::master_key_check(master_key.id());
        storage::root_secrets::insert_or_find(&self.keys.database, &name, &check).await.unwrap();
    }

    /// Changes something of ann's by hand, with texts as parameters, and waits until that was heard.
    async fn execute(&self, sql: &'static str, values: Vec<Value>) -> u64 {
        let changes = self.keys.database.changes();
        let before = changes.map(|changes| changes.stamp(&id("ann")));
        let rows = self.keys.database.execute(&by_hand(sql, &values), values).await.unwrap();
        if let (Some(changes), Some(before)) = (changes, before)
            && rows > 0
        {
            soon("what was changed by hand is heard", async || !changes.is_current(before)).await;
        }
        rows
    }

    async fn text(&self, sql: &'static str) -> String {
        let rows = self.keys.database.query(&by_hand(sql, &[]), vec![]).await.unwrap();
        rows[0].text(0).unwrap().to_owned()
    }
}

impl Place {
    /// As empty as this one was.
    async fn another(&self) -> Self {
        match self {
            Self::Sqlite(_) => sqlite::empty().await,
            Self::Postgres(..) => postgres::empty().await,
        }
    }
}

fn by_hand(sql: &'static str, values: &[Value]) -> Statement {
    const TEXTS: [Kind; 4] = [Kind::Text; 4];
    statement(sql, &TEXTS[..values.len()])
}

/// The audit log's own keys are under `master_key`, whatever opens the users'.
async fn open(
    place: &Place,
    standin: &Standin,
    ring: MasterKeyRing,
    master_key: &Arc<MasterKey>,
    clock: &Arc<ManualClock>,
) -> Arc<Keys> {
    let database = match place {
        Place::Sqlite(folder) => {
            Database::open_sqlite(folder.path().join("keyfold.db"), Duration::from_secs(3)).await
        }
        Place::Postgres(address, _) => Database::open_postgres(address).await,
    };
    let mut registry = Registry::built_in().unwrap();
    for provider in registry.ids() {
        let address = BaseAddress::parse(&standin.base_url(provider.as_str())).unwrap();
        registry = registry.with_address(&provider, address);
    }
    let database = database.unwrap();
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (clock.clone(), Arc::new(SystemRandom));
    let setting = match place {
        Place::Sqlite(folder) => DatabaseSetting::Sqlite(folder.path().join("keyfold.db")),
        Place::Postgres(address, _) => DatabaseSetting::Postgres(address.clone()),
    };
    let audit = Audit::open(audit::AuditParts {
        database: &database,
        ring: &MasterKeyRing::new(Arc::clone(master_key), vec![]),
        clock: &clock,
        random: &random,
        setting: &setting,
        settings: &AuditSettings::default(),
        state_dir: match place {
            Place::Sqlite(folder) | Place::Postgres(_, folder) => folder.path(),
        },
    })
    .await
    .unwrap();
    let keys = Keys::new(
        database,
        ring,
        registry,
        Arc::new(HttpClient::new(Timeouts::default())),
        clock,
        random,
        ReadFrom::Database,
        audit,
    );
    Arc::new(keys.unwrap())
}

fn another_master_key() -> Arc<MasterKey> {
    Arc::new(MasterKey::parse(&MasterKey::generate(&SystemRandom).unwrap()).unwrap())
}

async fn save(keys: &Arc<Keys>, user: &str, provider: &str, key: &str) -> Result<Saved, Error> {
    let provider = keys.provider(provider)?;
    keys.of_to_change(&id(user)).await?.save(&provider, ApiKey::parse(key).unwrap()).await
}

async fn key_of(keys: &Arc<Keys>, user: &str, provider: &str) -> Result<String, Error> {
    keys.of(&id(user)).await?.get(provider).map(|key| key.expose().to_owned())
}

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    result.err().map_or("none", |error| error.code())
}

/// Waits for what comes by itself.
async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "not so: {what}");
}

mod suite {
    use super::*;

    pub(super) async fn each_user_gets_their_own_key(place: Place) {
        let fixture = Fixture::new(&place).await;
        let (ann, bob) = (example_key("gemini", 1), example_key("gemini", 2));
        assert!(fixture.save("ann", "gemini", &ann).await.unwrap().is_new);
        assert!(fixture.save("bob", "gemini", &bob).await.unwrap().is_new);
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), ann);
        assert_eq!(fixture.key_of("bob", "gemini").await.unwrap(), bob);
        assert_eq!(code(fixture.key_of("eve", "gemini").await), "no_api_key");
        assert_eq!(code(fixture.key_of("ann", "exa").await), "no_api_key");
        assert_eq!(code(fixture.key_of("ann", "nobody").await), "unknown_provider");
    }

    pub(super) async fn a_text_that_repeats_ones_own_key_is_recognised(place: Place) {
        let fixture = Fixture::new(&place).await;
        let (ann, bob) = ("own.test-data.key", "other.test-data.key");
        fixture.save("ann", "serper", ann).await.unwrap();
        fixture.save("bob", "serper", bob).await.unwrap();
        let keys = fixture.of("ann").await;
        assert!(keys.repeated_in(ann) && keys.repeated_in(&format!("models/{ann}")));
        assert!(!keys.repeated_in(bob) && !keys.repeated_in("own.test-data"));
        assert!(!fixture.of("eve").await.repeated_in(ann));
    }

    pub(super) async fn a_row_that_was_moved_to_another_user_provider_or_version_does_not_open(place: Place) {
        let moves = [
            "UPDATE api_keys SET key = (SELECT key FROM api_keys WHERE provider = 'gemini' AND session_id = 2) WHERE provider = 'gemini' AND session_id = 1",
            "UPDATE api_keys SET key = (SELECT key FROM api_keys WHERE provider = 'exa' AND session_id = 1) WHERE provider = 'gemini' AND session_id = 1",
            "UPDATE api_keys SET version = 2 WHERE provider = 'gemini' AND session_id = 1",
            "UPDATE onboarding_sessions SET data_key = (SELECT data_key FROM onboarding_sessions WHERE id = 2) WHERE id = 1",
            "UPDATE onboarding_sessions SET user_id = CASE user_id WHEN 'ann' THEN 'x' ELSE user_id END",
        ];
        for sql in moves {
            let fixture = Fixture::new(&place).await;
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

    pub(super) async fn a_stored_text_that_is_not_sealed_by_us_is_unreadable_and_the_rest_of_the_list_stays(
        place: Place,
    ) {
        for stored in [
            "AIza-plain-text-key",
            "",
            "kf1.",
            "kf2.AAAA",
            "kf1.!!!!",
            "kf1.AAAAAAAAAAA",
            "kf1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let fixture = Fixture::new(&place).await;
            fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
            fixture.save("ann", "exa", &example_key("exa", 1)).await.unwrap();
            fixture
                .execute("UPDATE api_keys SET key = $1 WHERE provider = 'gemini'", vec![stored.into()])
                .await;
            assert_eq!(code(fixture.key_of("ann", "gemini").await), "key_unreadable", "{stored}");
            assert_eq!(fixture.key_of("ann", "exa").await.unwrap(), example_key("exa", 1), "{stored}");
            assert_eq!(fixture.of("ann").await.list().unwrap().len(), 2);
        }
    }

    pub(super) async fn every_flipped_bit_of_a_stored_key_and_data_key_is_noticed(place: Place) {
        let fixture = Fixture::new(&place).await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.save("ann", "exa", &example_key("exa", 1)).await.unwrap();
        let columns = [
            (
                "SELECT key FROM api_keys WHERE provider = 'gemini'",
                "UPDATE api_keys SET key = $1 WHERE provider = 'gemini'",
                true,
            ),
            (
                "SELECT data_key FROM onboarding_sessions",
                "UPDATE onboarding_sessions SET data_key = $1",
                false,
            ),
        ];
        for (select, update, others_open) in columns {
            let good = fixture.text(select).await;
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
                let ann = fixture.of("ann").await;
                let status = |record: &KeyRecord| (record.provider.to_string(), record.status);
                let shown: Vec<_> = ann.list().unwrap().iter().map(status).collect();
                let exa = if others_open { KeyStatus::Valid } else { KeyStatus::Unreadable };
                let expected = [("exa".to_owned(), exa), ("gemini".to_owned(), KeyStatus::Unreadable)];
                assert_eq!(shown, expected, "{select} byte {index}");
                assert_eq!(ann.get("exa").is_ok(), others_open, "{select} byte {index}");
            }
            fixture.execute(update, vec![good.into()]).await;
            assert!(fixture.key_of("ann", "gemini").await.is_ok());
        }
    }

    pub(super) async fn an_unreadable_key_can_be_entered_again(place: Place) {
        let damages = [
            "UPDATE api_keys SET key = 'kf1.AAAA'",
            "UPDATE onboarding_sessions SET data_key = 'kf1.AAAA'",
            "UPDATE onboarding_sessions SET data_key = ''",
        ];
        for damage in damages {
            let fixture = Fixture::new(&place).await;
            fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
            fixture.execute(damage, vec![]).await;
            let saved = fixture.save("ann", "gemini", &example_key("gemini", 2)).await.unwrap();
            assert_eq!(saved.record.version, Some(2), "{damage}");
            assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2), "{damage}");
        }
    }

    pub(super) async fn under_another_master_key_nothing_opens_and_nothing_is_overwritten(place: Place) {
        let fixture = Fixture::new(&place).await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        let keys = fixture.replica_with(MasterKeyRing::new(another_master_key(), vec![])).await;
        let ann = keys.of(&id("ann")).await.unwrap();
        assert_eq!(code(ann.get("gemini")), "key_unreadable");
        let key = ApiKey::parse(&example_key("gemini", 2)).unwrap();
        assert_eq!(code(ann.save(&keys.provider("gemini").unwrap(), key).await), "key_unreadable");
        // What was used here, as a check value tells, is a master key that somebody has.
        fixture.is_used_here(&fixture.master_key).await;
        for number in [2, 3] {
            let ann = keys.of_to_change(&id("ann")).await.unwrap();
            let gemini = keys.provider("gemini").unwrap();
            let refused = ann.get("gemini").err().unwrap();
            assert_eq!(refused.code(), "master_key_unavailable");
            let text = refused.to_string();
            assert!(text.contains("Nothing is lost") && !text.contains("again."), "{text}");
            assert_eq!(code(ann.validate(&gemini).await), "master_key_unavailable");
            assert_eq!(code(ann.roll_back(&gemini).await), "no_previous_version");
            let key = ApiKey::parse(&example_key("gemini", number)).unwrap();
            assert_eq!(code(ann.save(&gemini, key).await), "master_key_unavailable");
            let exa = keys.provider("exa").unwrap();
            let key = ApiKey::parse(&example_key("exa", number)).unwrap();
            assert_eq!(code(ann.save(&exa, key).await), "master_key_unavailable");
            // The list invites nobody to enter it again.
            let [record] = &ann.list().unwrap()[..] else { panic!() };
            assert_eq!((record.status, record.masked.as_str()), (KeyStatus::Valid, "****"));
        }
        let keys = fixture.replica().await;
        let ann = keys.of(&id("ann")).await.unwrap();
        assert_eq!(ann.get("gemini").unwrap().expose(), example_key("gemini", 1));
    }

    pub(super) async fn replacing_rolling_back_and_removing_keep_to_the_user(place: Place) {
        let fixture = Fixture::new(&place).await;
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

    pub(super) async fn the_same_key_again_leaves_the_one_before_to_go_back_to(place: Place) {
        let fixture = Fixture::new(&place).await;
        let gemini = fixture.provider("gemini");
        for number in [1, 2, 2] {
            fixture.save("ann", "gemini", &example_key("gemini", number)).await.unwrap();
        }
        fixture.of("ann").await.roll_back(&gemini).await.unwrap();
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 1));
    }

    pub(super) async fn a_replaced_key_is_kept_for_a_day(place: Place) {
        let fixture = Fixture::new(&place).await;
        let gemini = fixture.provider("gemini");
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        fixture.save("ann", "gemini", &example_key("gemini", 2)).await.unwrap();
        fixture.clock.advance(KEPT_FOR);
        assert_eq!(code(fixture.of("ann").await.roll_back(&gemini).await), "no_previous_version");
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 2));
    }

    pub(super) async fn of_two_changes_from_the_same_state_one_wins_and_the_other_learns_it(place: Place) {
        let fixture = Fixture::new(&place).await;
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

    pub(super) async fn hundreds_of_users_at_once_never_see_each_others_keys(place: Place) {
        let fixture = Arc::new(Fixture::new(&place).await);
        let users = (0..200_u32).map(|n| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                let (user, key) = (format!("user_{n}"), example_key("exa", n));
                // Whoever is told that too many wait for the database tries again.
                while let Err(error) = fixture.save(&user, "exa", &key).await {
                    assert_eq!(error.code(), "database_unavailable");
                }
                for _ in 0..5 {
                    assert_eq!(fixture.key_of(&user, "exa").await.unwrap(), key);
                    tokio::task::yield_now().await;
                }
            })
        });
        futures_util::future::try_join_all(users.collect::<Vec<_>>()).await.unwrap();
    }

    pub(super) async fn marks_follow_what_the_provider_says_and_its_own_troubles_change_nothing(
        place: Place,
    ) {
        let fixture = Fixture::new(&place).await;
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

    pub(super) async fn a_rejected_key_is_not_saved(place: Place) {
        let fixture = Fixture::new(&place).await;
        let bad = example_key_with("gemini", "INVALID");
        assert_eq!(code(fixture.save("ann", "gemini", &bad).await), "key_rejected");
        assert!(fixture.of("ann").await.list().unwrap().is_empty());
    }

    pub(super) async fn the_time_of_the_last_use_is_shown_at_once_and_written_later(place: Place) {
        let fixture = Fixture::new(&place).await;
        fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        let used =
            async |keys: &Arc<Keys>| keys.of(&id("ann")).await.unwrap().list().unwrap()[0].last_used_at;
        assert_eq!(used(&fixture.keys).await, None);
        drop(fixture.of("ann").await.get("gemini").unwrap());
        let now = fixture.clock.now();
        assert_eq!(used(&fixture.keys).await, Some(now));
        fixture.keys.flush().await;
        let elsewhere = fixture.replica().await;
        assert_eq!(used(&elsewhere).await, Some(now));
    }

    pub(super) async fn under_two_master_keys_that_know_each_other_everything_opens(place: Place) {
        let fixture = Fixture::new(&place).await;
        let (old, new) = (Arc::clone(&fixture.master_key), another_master_key());
        let first = fixture.replica_with(MasterKeyRing::new(Arc::clone(&old), vec![Arc::clone(&new)])).await;
        let second = fixture.replica_with(MasterKeyRing::new(Arc::clone(&new), vec![old])).await;
        save(&first, "ann", "gemini", &example_key("gemini", 1)).await.unwrap();
        save(&second, "bob", "gemini", &example_key("gemini", 2)).await.unwrap();
        // Each under the data key that the other made.
        save(&second, "ann", "exa", &example_key("exa", 1)).await.unwrap();
        save(&first, "bob", "exa", &example_key("exa", 2)).await.unwrap();
        for keys in [&first, &second] {
            for (user, n) in [("ann", 1), ("bob", 2)] {
                for provider in ["gemini", "exa"] {
                    assert_eq!(key_of(keys, user, provider).await.unwrap(), example_key(provider, n));
                }
            }
        }
        // Whoever does not know the new master key reads what the old one wrapped, and nothing else.
        assert_eq!(fixture.key_of("ann", "exa").await.unwrap(), example_key("exa", 1));
        assert_eq!(code(fixture.key_of("bob", "exa").await), "key_unreadable");
        let over = fixture.save("bob", "gemini", &example_key("gemini", 3)).await;
        assert_eq!(code(over), "key_unreadable");
        fixture.is_used_here(&new).await;
        let keys = fixture.replica().await;
        assert_eq!(key_of(&keys, "ann", "exa").await.unwrap(), example_key("exa", 1));
        assert_eq!(code(key_of(&keys, "bob", "exa").await), "master_key_unavailable");
        let over = save(&keys, "bob", "gemini", &example_key("gemini", 3)).await;
        assert_eq!(code(over), "master_key_unavailable");
        assert_eq!(key_of(&second, "bob", "gemini").await.unwrap(), example_key("gemini", 2));
    }

    pub(super) async fn first_saves_of_a_user_by_two_replicas_at_once_both_open(place: Place) {
        let fixture = Fixture::new(&place).await;
        let replicas = [Arc::clone(&fixture.keys), fixture.replica().await];
        for n in 0..10 {
            let user = format!("user_{n}");
            let (gemini, exa) = (example_key("gemini", n), example_key("exa", n));
            let (one, other) = tokio::join!(
                save(&replicas[0], &user, "gemini", &gemini),
                save(&replicas[1], &user, "exa", &exa)
            );
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
            for keys in &replicas {
                assert_eq!(key_of(keys, &user, "gemini").await.unwrap(), gemini);
                assert_eq!(key_of(keys, &user, "exa").await.unwrap(), exa);
            }
        }
    }

    pub(super) async fn of_two_replicas_that_save_the_same_key_at_once_one_wins(place: Place) {
        let fixture = Fixture::new(&place).await;
        let replicas = [Arc::clone(&fixture.keys), fixture.replica().await];
        let (ann, gemini) = (id("ann"), fixture.provider("gemini"));
        for round in 0..10 {
            let (one, other) = tokio::join!(replicas[0].of_to_change(&ann), replicas[1].of_to_change(&ann));
            let new = [example_key("gemini", 2 * round), example_key("gemini", 2 * round + 1)];
            let (one, other) = (one.unwrap(), other.unwrap());
            let (one, other) = tokio::join!(
                one.save(&gemini, ApiKey::parse(&new[0]).unwrap()),
                other.save(&gemini, ApiKey::parse(&new[1]).unwrap())
            );
            let won = usize::from(one.is_err());
            let mut codes = [code(one), code(other)];
            codes.sort_unstable();
            assert_eq!(codes, ["conflict", "none"], "round {round}");
            for keys in &replicas {
                let stands = keys.of_to_change(&ann).await.unwrap();
                assert_eq!(stands.get("gemini").unwrap().expose(), new[won]);
                assert_eq!(stands.list().unwrap()[0].version, Some(i64::from(round) + 1));
            }
        }
    }

    pub(super) async fn storms_of_changes_by_two_replicas_end_in_a_state_that_opens(place: Place) {
        const USERS: [&str; 2] = ["ann", "bob"];
        let fixture = Fixture::new(&place).await;
        let replicas = [Arc::clone(&fixture.keys), fixture.replica().await];
        let storm = (0..8_u32).map(|n| {
            let keys = Arc::clone(&replicas[usize::from(n % 4 > 1)]);
            tokio::spawn(async move {
                let gemini = keys.provider("gemini").unwrap();
                let (place, mut done) = (usize::from(n % 2 == 1), 0);
                let user = USERS[place];
                for round in 0..10 {
                    let context = keys.of_to_change(&id(user)).await.unwrap();
                    let outcome = match (n / 2 + round) % 5 {
                        0 => code(context.roll_back(&gemini).await),
                        1 => code(context.remove(&gemini).await),
                        _ => {
                            // The last digit tells whose it is.
                            let number = (n * 100 + round) * 10 + u32::from(place == 1);
                            code(save(&keys, user, "gemini", &example_key("gemini", number)).await)
                        }
                    };
                    let expected = ["none", "conflict", "no_api_key", "no_previous_version"];
                    assert!(expected.contains(&outcome), "{user}: {outcome}");
                    done += u32::from(outcome == "none");
                }
                done
            })
        });
        let done: Vec<u32> = futures_util::future::try_join_all(storm.collect::<Vec<_>>()).await.unwrap();
        assert!(done.iter().sum::<u32>() >= 8, "most changes came to something: {done:?}");
        for (place, user) in USERS.iter().enumerate() {
            let own: Vec<String> = (0..8_u32)
                .flat_map(|n| (0..10).map(move |round| (n * 100 + round) * 10 + u32::from(place == 1)))
                .map(|number| example_key("gemini", number))
                .collect();
            let gemini = fixture.provider("gemini");
            let stands =
                async |keys: &Arc<Keys>| match keys.of_to_change(&id(user)).await.unwrap().get("gemini") {
                    Ok(key) => Some(key.expose().to_owned()),
                    Err(error) => {
                        assert_eq!(error.code(), "no_api_key");
                        None
                    }
                };
            let key = stands(&replicas[0]).await;
            assert_eq!(key, stands(&replicas[1]).await);
            assert!(key.is_none_or(|key| own.contains(&key)), "{user} has a key of somebody else");
            let back = replicas[0].of_to_change(&id(user)).await.unwrap().roll_back(&gemini).await;
            if back.is_ok() {
                assert!(own.contains(&stands(&replicas[1]).await.unwrap()));
            } else {
                assert_eq!(code(back), "no_previous_version");
            }
            let again = example_key("gemini", 9_999);
            save(&replicas[1], user, "gemini", &again).await.unwrap();
            assert_eq!(stands(&replicas[0]).await, Some(again));
        }
    }

    pub(super) async fn a_suspended_user_is_refused_also_in_the_middle_of_a_change(place: Place) {
        let fixture = Fixture::new(&place).await;
        let (ann, gemini) = (id("ann"), fixture.provider("gemini"));
        for user in ["ann", "bob"] {
            fixture.save(user, "gemini", &example_key("gemini", 1)).await.unwrap();
            fixture.save(user, "gemini", &example_key("gemini", 2)).await.unwrap();
        }
        let begun = fixture.keys.of_to_change(&ann).await.unwrap();
        let other = fixture.replica().await;
        crate::users::Users::new(Arc::clone(&other)).suspend(&ann).await.unwrap();

        assert_eq!(code(other.of(&ann).await), "user_suspended");
        assert_eq!(code(fixture.keys.of_to_change(&ann).await), "user_suspended");
        soon("the other replica refuses", async || {
            code(fixture.key_of("ann", "gemini").await) == "user_suspended"
        })
        .await;
        let key = ApiKey::parse(&example_key("gemini", 3)).unwrap();
        assert_eq!(code(begun.save(&gemini, key).await), "user_suspended");
        assert_eq!(code(begun.roll_back(&gemini).await), "user_suspended");
        assert_eq!(code(begun.remove(&gemini).await), "user_suspended");
        assert_eq!(fixture.key_of("bob", "gemini").await.unwrap(), example_key("gemini", 2));

        let operator = fixture.keys.of_even_if_suspended(&ann).await.unwrap();
        assert_eq!(operator.get("gemini").unwrap().expose(), example_key("gemini", 2));
        operator.roll_back(&gemini).await.unwrap();
        crate::users::Users::new(Arc::clone(&fixture.keys)).resume(&ann).await.unwrap();
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 1));
    }

    pub(super) async fn odd_user_ids_are_users_like_any_other(place: Place) {
        let fixture = Fixture::new(&place).await;
        let long = [format!("{}a", "ü".repeat(254)), format!("{}b", "ü".repeat(254))];
        let odd = [
            "o'brien",
            "a\"b",
            "a'; DELETE FROM api_keys; --",
            "../../etc/passwd",
            "a/b",
            "a\\b",
            "%",
            "_",
            "$1",
            "user|１２３",
            "ユーザー",
            "é",
            "e\u{301}",
            " ",
            "NULL",
            &long[0],
            &long[1],
        ];
        for (n, user) in (0..).zip(odd) {
            fixture.save(user, "gemini", &example_key("gemini", n)).await.unwrap();
        }
        for (n, user) in (0..).zip(odd) {
            assert_eq!(fixture.key_of(user, "gemini").await.unwrap(), example_key("gemini", n), "{user}");
        }
        assert!(UserId::parse(&"u".repeat(300)).is_err());
    }
}

/// Runs the whole suite in places that `$empty` makes.
macro_rules! suite {
    ($empty:ident: $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                suite::$test($empty().await).await;
            }
        )*
    };
    ($empty:ident) => {
        suite! { $empty:
            each_user_gets_their_own_key
            a_text_that_repeats_ones_own_key_is_recognised
            a_row_that_was_moved_to_another_user_provider_or_version_does_not_open
            a_stored_text_that_is_not_sealed_by_us_is_unreadable_and_the_rest_of_the_list_stays
            every_flipped_bit_of_a_stored_key_and_data_key_is_noticed
            an_unreadable_key_can_be_entered_again
            under_another_master_key_nothing_opens_and_nothing_is_overwritten
            replacing_rolling_back_and_removing_keep_to_the_user
            the_same_key_again_leaves_the_one_before_to_go_back_to
            a_replaced_key_is_kept_for_a_day
            of_two_changes_from_the_same_state_one_wins_and_the_other_learns_it
            hundreds_of_users_at_once_never_see_each_others_keys
            marks_follow_what_the_provider_says_and_its_own_troubles_change_nothing
            a_rejected_key_is_not_saved
            the_time_of_the_last_use_is_shown_at_once_and_written_later
            under_two_master_keys_that_know_each_other_everything_opens
            first_saves_of_a_user_by_two_replicas_at_once_both_open
            of_two_replicas_that_save_the_same_key_at_once_one_wins
            storms_of_changes_by_two_replicas_end_in_a_state_that_opens
            a_suspended_user_is_refused_also_in_the_middle_of_a_change
            odd_user_ids_are_users_like_any_other
        }
    };
}

mod sqlite {
    use super::*;

    pub(super) async fn empty() -> Place {
        Place::Sqlite(tempfile::tempdir().unwrap())
    }

    suite!(empty);
}

mod postgres {
    use keyfold_test_servers::{PostgresServer, SqlClient};

    use super::*;

    pub(super) async fn empty() -> Place {
        let address = PostgresServer::shared().empty_database().await.parse().unwrap();
        Place::Postgres(address, tempfile::tempdir().unwrap())
    }

    suite!(empty);

    /// A replica, and a connection whose changes are not announced.
    async fn with_unannounced_changes() -> (Fixture, SqlClient) {
        let server = PostgresServer::shared();
        let name = server.new_database().await;
        let address = server.address_of(&name).parse().unwrap();
        let fixture = Fixture::in_place(Place::Postgres(address, tempfile::tempdir().unwrap())).await;
        let sql = server.connect(&name).await;
        // No trigger runs, so nobody is told.
        sql.batch_execute("SET session_replication_role = replica").await.unwrap();
        (fixture, sql)
    }

    async fn listening(keys: &Keys) {
        soon("it listens", async || keys.cache_state().unwrap().listening).await;
    }

    /// Whether the next look-up is answered from memory.
    async fn is_remembered(keys: &Arc<Keys>, user: &str) -> bool {
        let hits = keys.cache_state().unwrap().hits;
        keys.of(&id(user)).await.unwrap();
        keys.cache_state().unwrap().hits > hits
    }

    #[tokio::test]
    async fn ones_own_change_is_seen_at_once() {
        let fixture = Fixture::new(&empty().await).await;
        let gemini = fixture.provider("gemini");
        for n in 0..10 {
            fixture.save("ann", "gemini", &example_key("gemini", n)).await.unwrap();
            assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", n));
            // The announcement of one's own change comes later, and is forgotten once more.
            soon("it is remembered", async || is_remembered(&fixture.keys, "ann").await).await;
        }
        fixture.of("ann").await.roll_back(&gemini).await.unwrap();
        assert_eq!(fixture.key_of("ann", "gemini").await.unwrap(), example_key("gemini", 8));
        soon("it is remembered", async || is_remembered(&fixture.keys, "ann").await).await;
        fixture.of("ann").await.remove(&gemini).await.unwrap();
        assert_eq!(code(fixture.key_of("ann", "gemini").await), "no_api_key");
    }

    #[tokio::test]
    async fn another_replicas_change_is_seen_and_is_about_its_user_only() {
        let fixture = Fixture::new(&empty().await).await;
        let other = fixture.replica().await;
        let others: Vec<String> = (0..20).map(|n| format!("user_{n}")).collect();
        for user in others.iter().map(String::as_str).chain(["ann"]) {
            fixture.save(user, "exa", &example_key("exa", 1)).await.unwrap();
        }
        for user in others.iter().map(String::as_str).chain(["ann"]) {
            soon("it is remembered", async || is_remembered(&fixture.keys, user).await).await;
        }
        let round = std::cell::Cell::new(2);
        // Where beats are late, everybody is read again for a moment; then it is tried once more.
        soon("only ann, and who shares her counter, is read again", async || {
            round.set(round.get() + 1);
            let new = example_key("exa", round.get());
            save(&other, "ann", "exa", &new).await.unwrap();
            soon("the change is seen", async || fixture.key_of("ann", "exa").await.unwrap() == new).await;
            let mut still = 0;
            for user in &others {
                still += usize::from(is_remembered(&fixture.keys, user).await);
            }
            still >= 15
        })
        .await;
    }

    #[tokio::test]
    async fn nothing_remembered_is_used_once_the_listener_was_cut_off_not_even_later() {
        let (fixture, sql) = with_unannounced_changes().await;
        // Where beats are late, it is looked up again for a moment; then it is tried once more.
        soon("a key that is gone is used from memory", async || {
            fixture.save("ann", "gemini", &example_key("gemini", 1)).await.unwrap();
            soon("it is remembered", async || is_remembered(&fixture.keys, "ann").await).await;
            sql.batch_execute("DELETE FROM api_keys").await.unwrap();
            is_remembered(&fixture.keys, "ann").await && fixture.key_of("ann", "gemini").await.is_ok()
        })
        .await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query LIKE '%pg_notify%' AND pid <> pg_backend_pid()";
        assert!(
            !sql.query(cut, &[]).await.unwrap().is_empty(),
            "the listener is known by its last statement"
        );
        soon("the database is asked again", async || {
            code(fixture.key_of("ann", "gemini").await) == "no_api_key"
        })
        .await;
        listening(&fixture.keys).await;
        for _ in 0..100 {
            assert_eq!(code(fixture.key_of("ann", "gemini").await), "no_api_key");
        }
        soon("what is read from now on is remembered", async || is_remembered(&fixture.keys, "ann").await)
            .await;
    }
}
