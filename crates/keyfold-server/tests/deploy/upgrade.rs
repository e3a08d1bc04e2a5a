//! Replicas are replaced while people use them: two programs that know different versions of the tables, on one
//! database. The newer one knows a migration more, which is in its debug build only (`later.sql`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::files::path;
use crate::harness::{Answer, Server, Start, gemini};
use crate::site::Site;

/// Both programs, before the newer one started.
struct RollOut {
    site: Site,
    old: Server,
    /// The version that the older one knows.
    known: i64,
}

impl RollOut {
    fn begin() -> Self {
        let site = Site::new();
        let old = start(&site, "old").serve();
        let versions = site.production.column("SELECT MAX(version)::TEXT FROM keyfold_schema");
        let known = versions[0].parse().unwrap();
        Self { site, old, known }
    }

    fn start_old(&self) -> Start {
        start(&self.site, "old")
    }

    /// The newer program, which says that its tables are readable from that version on.
    fn start_new(&self, readable_from: i64) -> Start {
        let later = path("crates/keyfold-server/tests/deploy/later.sql");
        let told = format!("{readable_from}:{}", later.display());
        start(&self.site, "new").env("KEYFOLD_TEST_LATER_MIGRATION", &told)
    }

    /// The version of the tables, and from which one on they are readable.
    fn version(&self) -> Vec<String> {
        self.site.production.column(
            "SELECT version || ' from ' || readable_from FROM keyfold_schema ORDER BY version DESC LIMIT 1",
        )
    }

    /// A user saves a key at one program, and it is used at once there, and then at the other.
    fn round(&self, user: &str, number: u32, at: &Server, other: &Server) {
        let token = self.site.issuer.token_for(user);
        let save = at.request("PUT", "/api/keys/gemini").bearer_auth(&token);
        let saved = Answer::to(save.json(&json!({ "key": gemini(number) }))).unwrap();
        assert!([200, 201].contains(&saved.status), "{user}, {number}: {saved:?}");
        let listed = Answer::to(at.request("GET", "/api/keys").bearer_auth(&token)).unwrap();
        let masked = listed.body["keys"][0]["masked"].as_str().unwrap_or_default().to_owned();
        assert!(
            masked.ends_with(&gemini(number)[gemini(number).len() - 4..]),
            "{user}, {number}: {listed:?}"
        );
        for server in [at, other] {
            let call = server.request("POST", "/api/generate").bearer_auth(&token);
            let answer = Answer::to(call.json(&json!({ "prompt": "Hello" }))).unwrap();
            assert_eq!(answer.status, 200, "{user}, {number}: {answer:?}");
        }
    }
}

/// Whoever ends, well or not, ends it for all.
struct Ends<'a> {
    over: &'a AtomicBool,
    done: Sender<Option<&'static str>>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.done.send(None);
    }
}

fn start(site: &Site, name: &str) -> Start {
    site.serve()
        .env("KEYFOLD_STATE_DIR", &format!("state_{name}"))
        .env("KEYFOLD_RATE_LIMIT_KEYS", "off")
        .env("KEYFOLD_RATE_LIMIT_GENERATE", "off")
}

#[test]
fn old_and_new_serve_one_database_under_load_during_and_after_the_migration() {
    let roll_out = RollOut::begin();
    // As a database whose versions did not say yet from where on they are readable.
    roll_out.site.production.sql("ALTER TABLE keyfold_schema DROP COLUMN readable_from");
    let old = &roll_out.old;
    let over = &AtomicBool::new(false);
    let (done, rounds) = channel();
    let live = |user: &'static str, at: &Server, other: &Server, done: Sender<Option<&'static str>>| {
        let _ends = Ends { over, done: done.clone() };
        let mut number = 0;
        while !over.load(Ordering::SeqCst) {
            number += 1;
            roll_out.round(user, number, at, other);
            let _ = done.send(Some(user));
        }
    };
    let live = &live;
    // Each goes on for some rounds, unless one fails.
    let more = |users: &[&'static str]| {
        let mut wanted: BTreeMap<&str, u32> = users.iter().map(|user| (*user, 5)).collect();
        while !wanted.is_empty() {
            let Some(user) = rounds.recv().unwrap() else { return };
            if let Some(rounds) = wanted.get_mut(user) {
                *rounds -= 1;
            }
            wanted.retain(|_, rounds| *rounds > 0);
        }
    };
    thread::scope(|scope| {
        let _ends = Ends { over, done: done.clone() };
        for user in ["user_a", "user_b"] {
            let done = done.clone();
            scope.spawn(move || live(user, old, old, done));
        }
        more(&["user_a", "user_b"]);
        let new = roll_out.start_new(roll_out.known).serve();
        more(&["user_a", "user_b"]);
        thread::scope(|scope| {
            let _ends = Ends { over, done: done.clone() };
            let (new, done) = (&new, done.clone());
            scope.spawn(move || live("user_c", new, old, done));
            more(&["user_a", "user_b", "user_c"]);
        });
    });
    assert_eq!(roll_out.version(), [format!("{} from {}", roll_out.known + 1, roll_out.known)]);
    assert_eq!(roll_out.site.production.column("SELECT DISTINCT later::TEXT FROM api_keys"), ["0"]);
}

#[test]
fn an_old_replica_that_starts_again_works_on_what_the_new_one_made() {
    let roll_out = RollOut::begin();
    let new = roll_out.start_new(roll_out.known).serve();
    roll_out.old.signal(Signal::KILL);
    let again = roll_out.start_old().serve();
    roll_out.round("user_a", 1, &again, &new);
    roll_out.round("user_a", 2, &new, &again);
    let production = &roll_out.site.production;
    assert_eq!(production.listed("user_a", "gemini")["status"], "valid");
    production.keyfold(&["audit", "verify"]).run().ok();
    let doctor = production.keyfold(&["doctor"]).run();
    let said = format!("the tables have version {}", roll_out.known + 1);
    assert!(doctor.out.contains(&said) && doctor.out.contains("works on them as well"), "{doctor:?}");
    assert_eq!(roll_out.version(), [format!("{} from {}", roll_out.known + 1, roll_out.known)]);
}

#[test]
fn an_old_replica_does_not_start_on_tables_that_it_would_damage() {
    let roll_out = RollOut::begin();
    let _new = roll_out.start_new(roll_out.known + 1).serve();
    let version = format!("schema version {}", roll_out.known + 1);
    roll_out.old.signal(Signal::KILL);
    roll_out.start_old().refused_start().refused_with(&[&version, "at least as new"]);
    let doctor = roll_out.site.production.keyfold(&["doctor"]).run();
    assert!(doctor.out.contains("run a newer one"), "{doctor:?}");
    assert_eq!(roll_out.version(), [format!("{0} from {0}", roll_out.known + 1)]);
}
