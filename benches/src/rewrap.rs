//! Rotating the master key: how many data keys are wrapped anew in a second.

use std::time::Instant;

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::requester::{Actor, Requester};
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::user::UserId;
use keyfold::{Keyfold, Parts, REWRAPPED_AT_ONCE};
use keyfold_test_servers::{PostgresServer, SqlClient};
use tokio_postgres::types::{ToSql, Type};

use crate::report::{heading, line, median};

const USERS: usize = 100_000;
/// Each takes seconds, and is a hundred thousand data keys.
const ROUNDS: usize = 3;

pub(crate) async fn measure() {
    let server = tokio::task::spawn_blocking(|| {
        PostgresServer::start(&["shared_buffers=1GB", "max_wal_size=4GB", "autovacuum=off"])
    });
    let server = server.await.unwrap();
    let name = server.new_database().await;
    let admin = server.connect(&name).await;
    let mut keys = vec![new_key()];
    let keyfold = open(&server.address_of(&name), &keys).await;
    add_users(&admin, &keyfold).await;
    keyfold.close().await;

    let (mut figures, mut floors) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(floor(&admin).await);
        admin.batch_execute("VACUUM ANALYZE onboarding_sessions").await.unwrap();
        keys.insert(0, new_key());
        let keyfold = open(&server.address_of(&name), &keys).await;
        let operator = Requester::new(Actor::Operator);
        let begun = Instant::now();
        let rotation = keyfold.master_keys().rotate(&operator, &mut |_| ()).await.unwrap();
        figures.push(per_second(begun));
        assert_eq!((rotation.data_keys, rotation.left), (USERS as u64, 0));
        keyfold.close().await;
        admin.batch_execute("VACUUM ANALYZE onboarding_sessions").await.unwrap();
    }
    heading(&format!(
        "Rotating the master key, {USERS} users (floor: the same batches written by the bare driver, with nothing sealed)"
    ));
    line(
        "data keys wrapped anew",
        median(figures),
        median(floors),
        "/s",
        "aim: 20000 or more (higher is better)",
    );
}

fn new_key() -> String {
    MasterKey::generate(&SystemRandom).unwrap().to_string()
}

/// The first key seals.
async fn open(address: &str, keys: &[String]) -> Keyfold {
    let folder = tempfile::tempdir().unwrap();
    let others = keys[1..].join(",");
    let environment = Environment::from_iter([
        ("DEBUG", "false"),
        ("DEPLOY_ENV", "bench"),
        ("DATABASE_URL", address),
        ("KEYFOLD_MASTER_KEY", &keys[0]),
        ("KEYFOLD_OTHER_MASTER_KEYS", &others),
    ]);
    let sources = Sources::load(environment, folder.path()).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    Keyfold::open(&settings, sources.process().clone(), Parts::default()).await.unwrap()
}

async fn add_users(admin: &SqlClient, keyfold: &Keyfold) {
    let names: Vec<String> = (0..USERS).map(|n| format!("user_{n:08}_of_a_token_issuer")).collect();
    let wrap = |name: &String| {
        keyfold.master_keys().new_data_key(&UserId::parse(name).unwrap()).unwrap().to_string()
    };
    let data_keys: Vec<String> = names.iter().map(wrap).collect();
    admin.batch_execute("ALTER TABLE onboarding_sessions DISABLE TRIGGER USER").await.unwrap();
    let insert =
        "INSERT INTO onboarding_sessions (user_id, data_key) SELECT * FROM unnest($1::TEXT[], $2::TEXT[])";
    admin.execute(insert, &[&names, &data_keys]).await.unwrap();
    admin.batch_execute("ALTER TABLE onboarding_sessions ENABLE TRIGGER USER").await.unwrap();
    admin.batch_execute("VACUUM ANALYZE").await.unwrap();
}

/// Writes what stands there over itself, in the same batches, with the same statements. Data keys of the same length
/// cost the database the same, whatever they say.
async fn floor(admin: &SqlClient) -> f64 {
    let rows = admin.query("SELECT id, data_key FROM onboarding_sessions ORDER BY id", &[]).await.unwrap();
    let rows: Vec<(i64, String)> =
        rows.iter().map(|row| (i64::from(row.get::<_, i32>(0)), row.get(1))).collect();
    let row = || [Type::INT8, Type::TEXT, Type::TEXT];
    let kinds: Vec<Type> = (0..REWRAPPED_AT_ONCE).flat_map(|_| row()).collect();
    let update = admin.prepare_typed(keyfold::rewrap_sql(), &kinds).await.unwrap();
    let (no_id, no_key) = (None::<i64>, None::<String>);
    let begun = Instant::now();
    for batch in rows.chunks(REWRAPPED_AT_ONCE) {
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(kinds.len());
        for (id, data_key) in batch {
            values.extend([id as &(dyn ToSql + Sync), data_key, data_key]);
        }
        while values.len() < kinds.len() {
            values.extend([&no_id as &(dyn ToSql + Sync), &no_key, &no_key]);
        }
        admin.batch_execute("BEGIN; SET LOCAL keyfold.rewrapping = 'on'").await.unwrap();
        admin.execute(&update, &values).await.unwrap();
        admin.batch_execute("COMMIT").await.unwrap();
    }
    per_second(begun)
}

#[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
fn per_second(begun: Instant) -> f64 {
    USERS as f64 / begun.elapsed().as_secs_f64()
}
