//! `keyfold migrate encrypt` and `decrypt`: whenever they are killed, every user's key is there and counts, and they go
//! on where they were.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use keyfold::settings::{Environment, Problems, Settings, Sources};
use keyfold::{Keyfold, Parts};
use rustix::process::Signal;

use crate::harness::{Folder, Production, Start, gemini, runtime};
use crate::random::{Random, SEED, kills};

const USERS: u32 = 120;

const TABLES: &str = "CREATE TABLE onboarding_sessions (id ID, user_id VARCHAR(64), updated_at TIMESTAMP);
    CREATE TABLE api_keys (id ID, session_id INTEGER REFERENCES onboarding_sessions(id),
        provider VARCHAR(20) NOT NULL, key VARCHAR(256) NOT NULL, description TEXT);";

/// Another program's tables, with the stand-in's example keys.
fn another_programs(id: &str) -> String {
    let mut sql = TABLES.replace("id ID", id);
    for number in 1..=USERS {
        let (user, key) = (user(number), gemini(number));
        let _ = write!(
            sql,
            "INSERT INTO onboarding_sessions (id, user_id) VALUES ({number}, '{user}');
             INSERT INTO api_keys (session_id, provider, key, description) VALUES
                 ({number}, 'gemini', '{key}', 'of {user}'), ({number}, 'Of none', 'test-data-{number}', NULL);"
        );
    }
    sql
}

fn user(number: u32) -> String {
    format!("user_{number:04}")
}

/// Kills it somewhere; false if it was through before.
fn kill(start: Start, random: &mut Random, lasted: Duration) -> bool {
    let process = start.spawn();
    random.pass_part_of(lasted);
    process.signal(Signal::KILL);
    process.end().signal() == Some(9)
}

/// Kills both on their way, again and again; `is_whole` looks at the keys after each kill, `are_plain` and `are_sealed` at
/// the end.
fn kill_both_ways(keyfold: impl Fn(&[&str]) -> Start, is_whole: impl Fn(u64), left: impl Fn(bool) -> usize) {
    println!("seed {SEED:#x}");
    let ways = [&["migrate", "encrypt"][..], &["migrate", "decrypt", "--yes-i-mean-it"]];
    let (mut random, mut lasted, mut killed) = (Random::of(50), [Duration::from_millis(100); 2], 0);
    let rounds = kills() / 8;
    for round in 0..rounds {
        for (way, arguments) in ways.iter().enumerate() {
            for _ in 0..2 {
                killed += u64::from(kill(keyfold(arguments), &mut random, lasted[way]));
                is_whole(round);
            }
            let begun = Instant::now();
            keyfold(arguments).run().ok();
            lasted[way] = lasted[way].max(begun.elapsed());
            is_whole(round);
            assert_eq!(left(way == 0), 0, "round {round}");
        }
    }
    assert!(killed > 0, "each was through before it was killed");
    println!("{killed} of {} were killed", 4 * rounds);
    keyfold(&["audit", "verify"]).run().ok();
}

/// Every user's key is there, opens if it is sealed, and is what it was.
async fn all_there(keyfold: &Keyfold, round: u64) {
    for number in 1..=USERS {
        let keys = keyfold.user_api_keys(&user(number)).await.unwrap();
        let key = keys.get("gemini").unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(key.expose(), gemini(number), "round {round}");
    }
}

#[test]
fn a_kill_at_any_moment_of_a_migration_loses_no_key() {
    let production = Production::new();
    production.sql(&another_programs("id SERIAL PRIMARY KEY"));
    // The ids of the sessions were given by hand.
    production.sql("SELECT setval('onboarding_sessions_id_seq', 1000)");
    let variables = [
        ("DEPLOY_ENV", "render".to_owned()),
        ("DATABASE_URL", production.database_url()),
        ("KEYFOLD_MASTER_KEY", production.master_key.clone()),
    ];
    let is_whole = |round| {
        runtime().block_on(async {
            let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
            let keyfold = Keyfold::open_with(variables.collect::<Environment>(), &production.folder.root);
            let keyfold = keyfold.await.unwrap();
            all_there(&keyfold, round).await;
            keyfold.close().await;
        });
    };
    let left = |are_sealed: bool| {
        let condition = if are_sealed { "NOT LIKE" } else { "LIKE" };
        production.column(&format!("SELECT key FROM api_keys WHERE key {condition} 'kf1.%'")).len()
    };
    kill_both_ways(|arguments| production.keyfold(arguments), is_whole, left);
    let kept =
        production.column("SELECT description FROM api_keys WHERE description IS NOT NULL ORDER BY id");
    assert_eq!(kept, (1..=USERS).map(|number| format!("of {}", user(number))).collect::<Vec<_>>());
}

#[test]
fn a_kill_at_any_moment_of_a_migration_in_local_mode_loses_no_key() {
    let folder = Folder::new();
    let file = folder.path("old.db").display().to_string();
    sqlite(&file, &another_programs("id INTEGER PRIMARY KEY AUTOINCREMENT"));
    let url = format!("sqlite://{file}");
    let count = |condition: &str| {
        let sql = format!("SELECT COUNT(*) FROM api_keys WHERE {condition}");
        sqlite(&file, &sql).trim().parse::<usize>().unwrap()
    };
    let plain = (1..=USERS).map(|number| format!("'{}', 'test-data-{number}'", gemini(number)));
    let known = plain.collect::<Vec<_>>().join(", ");
    let rows = 2 * USERS as usize;
    // The keys of the database's users, which the command line leaves alone in local mode.
    let variables = [("DEBUG", "true"), ("DATABASE_URL", url.as_str())];
    let is_whole = |round| {
        assert_eq!(count(&format!("key IN ({known}) OR key LIKE 'kf1.%'")), rows, "round {round}");
        runtime().block_on(async {
            let sources = Sources::load(variables.into_iter().collect(), &folder.root).unwrap();
            let settings = Settings::read(&sources, &mut Problems::default()).unwrap();
            let keyfold = Keyfold::open_with_keys_in_database(&settings, Parts::default()).await.unwrap();
            all_there(&keyfold, round).await;
            keyfold.close().await;
        });
    };
    let left = |are_sealed: bool| {
        if are_sealed { count("key NOT LIKE 'kf1.%'") } else { rows - count(&format!("key IN ({known})")) }
    };
    kill_both_ways(|arguments| folder.keyfold(arguments).env("DATABASE_URL", &url), is_whole, left);
}

/// Runs statements past Keyfold; what the first row of the last one begins with.
fn sqlite(file: &str, statements: &str) -> String {
    // Python has SQLite everywhere; its command line tool is not installed everywhere.
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1], timeout=10) as database:\n  sql = sys.stdin.read()\n  if sql.startswith('SELECT'): print(database.execute(sql).fetchone()[0])\n  else: database.executescript(sql)";
    let mut process = std::process::Command::new("python3")
        .args(["-c", script, file])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut process.stdin.take().unwrap(), statements.as_bytes()).unwrap();
    let ran = process.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
