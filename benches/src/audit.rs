//! The audit log: what a call costs its caller, and how fast events come to the database.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;
use keyfold::keys::{OpenedKey, UserApiKeys};
use keyfold::secret::ApiKey;
use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Keyfold, Parts};
use keyfold_standin::example_key;
use keyfold_test_servers::PostgresServer;
use rustix::time::{ClockId, clock_gettime};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::report::{ROUNDS, heading, line, median, plain};

const CALLS: u32 = 2_000;
/// Each is two events.
const SHIPPED_CALLS: u32 = 50_000;
/// Rounds of shipping.
const SHIPPINGS: usize = 3;
/// Rows of one commit of the floor.
const TOGETHER: usize = 64;

pub(crate) async fn measure() {
    let server = tokio::task::spawn_blocking(|| PostgresServer::start(&["max_wal_size=4GB"])).await.unwrap();
    let name = server.new_database().await;
    let folder = tempfile::tempdir().unwrap();
    let keyfold = open(&server.address_of(&name), folder.path()).await;
    let gemini = keyfold.provider("gemini").unwrap();
    let key = ApiKey::parse(&example_key("gemini", 1)).unwrap();
    keyfold.user_api_keys("user_000001").await.unwrap().save(&gemini, key).await.unwrap();
    let keys = keyfold.user_api_keys("user_000001").await.unwrap();
    let opened = keys.get("gemini").unwrap();

    let (mut calls, mut at_once, mut floors) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        floors.push(floor_of_a_call(folder.path()));
        let begun = used_by_thread();
        record(&keys, &opened, CALLS).await;
        calls.push(microseconds(used_by_thread().saturating_sub(begun), CALLS));
        all_shipped(&keyfold).await;
        at_once.push(record_at_once(&keys, &opened));
        all_shipped(&keyfold).await;
    }
    heading("Recording a call, opened and ended (floor: one write of 300 bytes to a file)");
    line("processor time of the caller", median(calls), median(floors), "µs", "aim: 2 µs or less");
    plain(&format!("the same, {} threads at once", cores()), median(at_once), "µs", "aim: as above");

    let admin = server.connect(&name).await;
    let (mut shipped, mut costs) = (vec![], vec![]);
    let (mut floors, mut floor_costs) = (vec![], vec![]);
    for _ in 0..SHIPPINGS {
        let (all_begun, own_begun) = (used_by_process(), used_by_thread());
        let recorded_before = keyfold.audit_figures().shipped();
        record(&keys, &opened, SHIPPED_CALLS).await;
        let recording = used_by_thread().saturating_sub(own_begun);
        let (begun, before) = (Instant::now(), keyfold.audit_figures().shipped());
        all_shipped(&keyfold).await;
        let rows = u32::try_from(keyfold.audit_figures().shipped() - before).unwrap();
        shipped.push(f64::from(rows) / begun.elapsed().as_secs_f64() / 1000.0);
        let rows = u32::try_from(keyfold.audit_figures().shipped() - recorded_before).unwrap();
        let shipping = used_by_process().saturating_sub(all_begun).saturating_sub(recording);
        costs.push(microseconds(shipping, rows));
        let (rate, cost) = floor_of_shipping(&admin).await;
        floors.push(rate);
        floor_costs.push(cost);
    }
    heading("Bringing events into PostgreSQL (floor: the same rows, 64 to a commit, by one connection)");
    line("1000 rows a second", median(shipped), median(floors), "", "aim: ratio 0.6 or more");
    line(
        "processor time of Keyfold for a row",
        median(costs),
        median(floor_costs),
        "µs",
        "aim: ratio 1 or less",
    );
    drop((opened, keys));
    keyfold.close().await;
}

async fn open(database: &str, folder: &std::path::Path) -> Keyfold {
    let environment = Environment::from_iter([
        ("DEPLOY_ENV", "bench"),
        ("DATABASE_URL", database),
        ("KEYFOLD_MASTER_KEY", MasterKey::generate(&SystemRandom).unwrap().as_str()),
        // Nothing listens there: the key is saved without being checked.
        ("KEYFOLD_PROVIDER_GEMINI_BASE_URL", keyfold_standin::refused_port().as_str()),
    ]);
    let sources = Sources::load(environment, folder).unwrap();
    let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
    Keyfold::open(&settings, Environment::default(), Parts::default()).await.unwrap()
}

async fn record(keys: &UserApiKeys, opened: &OpenedKey, calls: u32) {
    for _ in 0..calls {
        keys.record_a_call(opened).await.unwrap();
    }
}

async fn all_shipped(keyfold: &Keyfold) {
    let figures = keyfold.audit_figures();
    while figures.shipped() < figures.recorded() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The processor time of a call, where every core records calls at once.
fn record_at_once(keys: &UserApiKeys, opened: &OpenedKey) -> f64 {
    let runtime = tokio::runtime::Handle::current();
    let recorded = || {
        let begun = used_by_thread();
        runtime.block_on(record(keys, opened, CALLS));
        used_by_thread().saturating_sub(begun)
    };
    let used: Duration = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(recorded)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    });
    microseconds(used, CALLS * cores())
}

fn cores() -> u32 {
    thread::available_parallelism().unwrap().get().try_into().unwrap()
}

fn microseconds(used: Duration, times: u32) -> f64 {
    used.as_secs_f64() * 1e6 / f64::from(times)
}

/// The shipper works on other threads.
fn used_by_thread() -> Duration {
    processor_time(ClockId::ThreadCPUTime)
}

fn used_by_process() -> Duration {
    processor_time(ClockId::ProcessCPUTime)
}

fn processor_time(clock: ClockId) -> Duration {
    let used = clock_gettime(clock);
    Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
}

fn floor_of_a_call(folder: &std::path::Path) -> f64 {
    let path = folder.join("floor");
    let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let text = [b'x'; 300];
    let begun = used_by_thread();
    for _ in 0..CALLS {
        file.write_all(&text).unwrap();
    }
    let used = used_by_thread().saturating_sub(begun);
    fs::remove_file(path).unwrap();
    microseconds(used, CALLS)
}

/// Thousands of rows a second, and microseconds of this process for a row.
async fn floor_of_shipping(admin: &Client) -> (f64, f64) {
    const COLUMNS: &str = "at, user_id, actor, action, provider, outcome, request_id, writer, seq, key_version, \
         fingerprint, call_id, purpose, provider_status, duration_ms, address, note, content_hash, hash";
    const TYPES: [Type; 19] = [
        Type::TIMESTAMP,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
    ];
    admin
        .batch_execute(
            "DROP TABLE IF EXISTS floor; CREATE TABLE floor (LIKE audit_events INCLUDING ALL) PARTITION BY RANGE (at); \
             CREATE TABLE floor_all PARTITION OF floor DEFAULT",
        )
        .await
        .unwrap();
    let rows = admin
        .query(&format!("SELECT {COLUMNS} FROM audit_events ORDER BY id DESC LIMIT 50048"), &[])
        .await
        .unwrap();
    let rows: Vec<Vec<Box<dyn ToSql + Sync + Send>>> = rows.iter().map(values).collect();
    let places: Vec<String> = (0..TOGETHER)
        .map(|row| {
            let places: Vec<String> = (1..=19).map(|column| format!("${}", row * 19 + column)).collect();
            format!("({})", places.join(", "))
        })
        .collect();
    let insert = format!("INSERT INTO floor ({COLUMNS}) VALUES {}", places.join(", "));
    let types: Vec<Type> = TYPES.into_iter().cycle().take(19 * TOGETHER).collect();
    let insert = admin.prepare_typed(&insert, &types).await.unwrap();
    let (begun, used) = (Instant::now(), used_by_process());
    for together in rows.chunks_exact(TOGETHER) {
        let values: Vec<&(dyn ToSql + Sync)> =
            together.iter().flatten().map(|value| &**value as &(dyn ToSql + Sync)).collect();
        admin.batch_execute("BEGIN").await.unwrap();
        admin.execute(&insert, &values).await.unwrap();
        admin.batch_execute("COMMIT").await.unwrap();
    }
    let inserted = u32::try_from(rows.len() / TOGETHER * TOGETHER).unwrap();
    let rate = f64::from(inserted) / begun.elapsed().as_secs_f64() / 1000.0;
    (rate, microseconds(used_by_process().saturating_sub(used), inserted))
}

fn values(row: &Row) -> Vec<Box<dyn ToSql + Sync + Send>> {
    let text = |column: usize| Box::new(row.get::<_, Option<String>>(column)) as Box<dyn ToSql + Sync + Send>;
    (0..19)
        .map(|column| match column {
            0 => Box::new(row.get::<_, SystemTime>(column)) as Box<dyn ToSql + Sync + Send>,
            7 | 8 | 9 | 13 | 14 => Box::new(row.get::<_, Option<i64>>(column)),
            _ => text(column),
        })
        .collect()
}
