//! Finding a user's keys in PostgreSQL: cold, warm, and with many users.

use std::hint::black_box;
use std::time::Instant;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Keyfold, Parts};
use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;
use tokio_postgres::types::Type;

use crate::report::{ROUNDS, heading, line, median, percentile, plain};

/// Users with keys that really open; the others are rows of the same size.
const REAL: usize = 400;
const COLD_CALLS: usize = 400;
const WARM_CALLS: usize = 20_000;

pub(crate) async fn measure() {
    let server = tokio::task::spawn_blocking(|| {
        PostgresServer::start(&["shared_buffers=1GB", "max_wal_size=4GB", "autovacuum=off"])
    });
    let server = server.await.unwrap();
    let mut growth = vec![];
    for users in [10_000, 1_000_000] {
        growth.push(with_users(&server, users).await);
    }
    heading("The same look-up, 1,000,000 users beside 10,000");
    let (few, many) = (&growth[0], &growth[1]);
    line("cold look-up, p50, growth", many.0 / few.0, many.1 / few.1, "x", "aim: not above PostgreSQL's own");
}

/// The median cold look-up and its floor, in microseconds.
async fn with_users(server: &PostgresServer, users: usize) -> (f64, f64) {
    let name = server.new_database().await;
    let keyfold = open(&server.address_of(&name)).await;
    let admin = server.connect(&name).await;
    fill_up(&admin, users).await;
    let names = real_users(&keyfold).await;
    admin.batch_execute("VACUUM ANALYZE").await.unwrap();

    let prepared = admin.prepare_typed(keyfold::LOOK_UP, &[Type::TEXT]).await.unwrap();
    let (mut cold, mut floors) = (vec![], vec![]);
    let mut next = random_walk();
    for _ in 0..ROUNDS {
        let (mut figure, mut floor) = (Vec::with_capacity(COLD_CALLS), Vec::with_capacity(COLD_CALLS));
        for _ in 0..COLD_CALLS {
            let user = &names[next() % REAL];
            let begun = Instant::now();
            black_box(admin.query(&prepared, &[user]).await.unwrap());
            floor.push(begun.elapsed());
            let user = &names[next() % REAL];
            let begun = Instant::now();
            black_box(keyfold.user_api_keys_read_anew(user).await.unwrap());
            figure.push(begun.elapsed());
        }
        floor.sort_unstable();
        figure.sort_unstable();
        floors.push(percentile(&floor, 0.5));
        cold.push(percentile(&figure, 0.5));
    }
    heading(&format!(
        "Looking up a user's keys, {users} users with three keys each (floor: the bare prepared statement through the same driver)"
    ));
    let (cold, floor) = (median(cold), median(floors));
    line("cold look-up, p50", cold, floor, "µs", "aim: ratio 1.15 or less");
    warm(&keyfold, &names).await;
    keyfold.close().await;
    (cold, floor)
}

async fn warm(keyfold: &Keyfold, names: &[String]) {
    // Until it hears what changes, nothing is remembered.
    while !keyfold.cache_state().is_some_and(|state| state.listening) {
        let _ = keyfold.user_api_keys(&names[0]).await;
        tokio::task::yield_now().await;
    }
    let mut rounds = vec![];
    for _ in 0..ROUNDS {
        for name in names {
            keyfold.user_api_keys(name).await.unwrap();
        }
        let before = keyfold.cache_state().unwrap();
        let begun = Instant::now();
        for call in 0..WARM_CALLS {
            black_box(keyfold.user_api_keys(&names[call % REAL]).await.unwrap());
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        rounds.push(begun.elapsed().as_secs_f64() * 1e9 / WARM_CALLS as f64);
        let asked = keyfold.cache_state().unwrap().misses - before.misses;
        assert!(asked < 100, "{asked} of the warm look-ups asked the database");
    }
    plain("warm look-up", median(rounds), "ns", "aim: 500 or less");
}

async fn open(address: &str) -> Keyfold {
    let folder = tempfile::tempdir().unwrap();
    let master_key = MasterKey::generate(&SystemRandom).unwrap();
    let environment = Environment::from_iter([
        ("DEBUG", "false"),
        ("DEPLOY_ENV", "bench"),
        ("DATABASE_URL", address),
        ("KEYFOLD_MASTER_KEY", master_key.as_str()),
        // Nothing listens there: keys are saved without being checked.
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", keyfold_standin::refused_port().as_str()),
        ("KEYFOLD_PROVIDER_EXA_BASE_URL", keyfold_standin::refused_port().as_str()),
    ]);
    let sources = Sources::load(environment, folder.path()).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    Keyfold::open(&settings, sources.process().clone(), Parts::default()).await.unwrap()
}

/// Rows of the usual size for users that nobody asks for.
async fn fill_up(admin: &tokio_postgres::Client, users: usize) {
    let sql = format!(
        "ALTER TABLE api_keys DISABLE TRIGGER USER; ALTER TABLE onboarding_sessions DISABLE TRIGGER USER; \
         INSERT INTO onboarding_sessions (user_id, data_key) \
         SELECT 'user_' || md5(i::text), 'kf1.' || repeat(md5(i::text), 4) FROM generate_series(1, {users}) i; \
         INSERT INTO api_keys (session_id, provider, key) \
         SELECT s.id, p, 'kf1.' || repeat(md5(s.id || p), 4) FROM onboarding_sessions s, \
         unnest(ARRAY['gemini', 'exa', 'copilotkit']) p; \
         ALTER TABLE api_keys ENABLE TRIGGER USER; ALTER TABLE onboarding_sessions ENABLE TRIGGER USER"
    );
    admin.batch_execute(&sql).await.unwrap();
}

async fn real_users(keyfold: &Keyfold) -> Vec<String> {
    let provider = |id| keyfold.provider(id).unwrap();
    let providers = [provider("gemini"), provider("exa"), provider("copilotkit")];
    let mut names = Vec::with_capacity(REAL);
    for number in 0..u32::try_from(REAL).unwrap() {
        let name = format!("user_real_{number:06}");
        for provider in &providers {
            let key = ApiKey::parse(&example_key(provider.id.as_str(), number)).unwrap();
            let keys = keyfold.user_api_keys_read_anew(&name).await.unwrap();
            keys.save(provider, key).await.unwrap();
        }
        names.push(name);
    }
    names
}

/// Numbers in no order that a cache could guess.
fn random_walk() -> impl FnMut() -> usize {
    let mut state = 0x2545_f491_usize;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
