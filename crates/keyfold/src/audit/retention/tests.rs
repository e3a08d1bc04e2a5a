//! What is removed and what is made anonymous, and that the rest verifies. One suite, run on both databases.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;

use super::*;
use crate::audit::{AuditParts, Entry, FindingKind, Report};
use crate::clock::{Clock, ManualClock, Random, SystemRandom};
use crate::envelope::{MasterKey, MasterKeyRing};
use crate::settings::{AuditSettings, DatabaseSetting};
use crate::storage::{Connection, Database, statement};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A log of two processes, by a clock that stands still until it is moved.
struct Log {
    database: Database,
    log: AuditLog,
    audits: Vec<Audit>,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

impl Log {
    async fn on(setting: Option<DatabaseSetting>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setting = setting.unwrap_or_else(|| DatabaseSetting::Sqlite(folder.path().join("keyfold.db")));
        let clock = Arc::new(ManualClock::at("2026-01-02T03:04:05Z".parse().unwrap()));
        let (shared, random): (Arc<dyn Clock>, Arc<dyn Random>) = (clock.clone(), Arc::new(SystemRandom));
        let master_key = MasterKey::parse(&MasterKey::generate(&SystemRandom).unwrap()).unwrap();
        let ring = MasterKeyRing::new(Arc::new(master_key), vec![]);
        let mut audits = vec![];
        for process in ["a", "b"] {
            let state_dir: PathBuf = folder.path().join(process);
            let parts = AuditParts {
                database: &connect(&setting).await,
                ring: &ring,
                clock: &shared,
                random: &random,
                setting: &setting,
                settings: &AuditSettings::default(),
                state_dir: &state_dir,
            };
            audits.push(Audit::open(parts).await.unwrap());
        }
        let database = connect(&setting).await;
        let log = AuditLog::new(database.clone(), audits[0].chain().clone(), shared);
        Self { database, log, audits, clock, _folder: folder }
    }

    /// An event of each process about this user, now.
    async fn record(&self, user: &str) {
        storage::audit::make_partitions(&self.database, self.clock.now()).await.unwrap();
        let address = Some("192.0.2.1".parse().unwrap());
        let actor = Actor::Impersonator(UserId::parse("support").unwrap());
        let requester = Requester::new(actor).in_request("request", address);
        let user = UserId::parse(user).unwrap();
        for audit in &self.audits {
            let event =
                Event::new(Action::KeySaved, Outcome::Ok, &requester).of_user(&user).with_note("a note");
            audit.record(vec![event]).await.unwrap();
        }
    }

    /// Ten times twenty days, an event of each process at the beginning of each.
    async fn record_for_200_days(&self) {
        for _ in 0..10 {
            self.record("user_a").await;
            self.clock.advance(DAY * 20);
        }
    }

    async fn prune(&self, days: i32) -> i64 {
        self.log.prune(DAY * days, &self.audits[0]).await.unwrap()
    }

    async fn erase(&self, days: i32) -> u64 {
        self.log.erase_deleted_users(DAY * days, &self.audits[0]).await.unwrap()
    }

    async fn entries(&self) -> Vec<Entry> {
        self.log.latest(None, 1000).await.unwrap()
    }

    async fn verify(&self) -> Report {
        self.log.verify(None, |_| ()).await.unwrap()
    }

    #[track_caller]
    fn is_clean(report: &Report) {
        assert_eq!(report.findings, []);
    }

    async fn run(&self, sql: &str) {
        let sql: &'static str = Box::leak(sql.to_owned().into_boxed_str());
        let done = self.database.execute(&statement(sql, &[]), vec![]).await;
        assert!(done.is_ok(), "{sql}: {done:?}");
    }

    async fn has_deleted(&self, user: &str) {
        let now = self.clock.now().strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
        self.run(&format!("INSERT INTO deleted_users (user_id, deleted_at, refused_until) VALUES ('{user}', '{now}', '{now}')"))
            .await;
    }
}

async fn connect(setting: &DatabaseSetting) -> Database {
    match setting {
        DatabaseSetting::Sqlite(path) => Database::open_sqlite(path.clone(), Duration::from_secs(3)).await,
        DatabaseSetting::Postgres(address) => Database::open_postgres(address).await,
    }
    .unwrap()
}

fn actions(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

mod suite {
    use super::*;

    pub(super) async fn old_rows_go_and_the_rest_verifies_and_goes_on(log: Log) {
        log.record_for_200_days().await;
        Log::is_clean(&log.verify().await);
        let exported = log.log.heads().await.unwrap();
        // Of 0, 20, … 180 days, those up to 100 days ago stay.
        assert_eq!(log.prune(100).await, 10);
        let entries = log.entries().await;
        let oldest = log.clock.now() - DAY * 100;
        assert!(entries.iter().all(|entry| entry.at >= oldest), "{entries:?}");
        assert_eq!(entries.len(), 11);
        let pruned = entries.last().unwrap();
        assert_eq!((pruned.action.as_str(), pruned.actor.as_str()), ("audit.pruned", "keyfold"));
        let note: serde_json::Value = serde_json::from_str(pruned.note.as_deref().unwrap()).unwrap();
        assert_eq!(note, json!({ "rows": 10, "before": oldest.to_string() }));
        Log::is_clean(&log.verify().await);

        // Once more there is nothing to do, and nothing to tell.
        assert_eq!(log.prune(100).await, 0);
        assert_eq!(log.entries().await.len(), 11);
        // The processes go on with their chains.
        log.record("user_a").await;
        Log::is_clean(&log.verify().await);
        assert_eq!(log.verify().await.writers, 2);
        // Heads of before the removal are still good, and of chains of which all is over too.
        Log::is_clean(&log.log.verify(Some(&exported), |_| ()).await.unwrap());
        log.prune(1).await;
        Log::is_clean(&log.log.verify(Some(&exported), |_| ()).await.unwrap());
        for _ in 0..8 {
            log.record("user_a").await;
        }
        // What is missing now was not over.
        log.run("DELETE FROM audit_events WHERE writer = 2 AND seq = 15").await;
        assert_eq!(log.verify().await.findings[0].kind, FindingKind::Removed);
    }

    pub(super) async fn chains_of_which_all_is_over_keep_their_heads(log: Log) {
        log.record_for_200_days().await;
        assert_eq!(log.prune(10).await, 20);
        assert_eq!(actions(&log.entries().await), ["audit.pruned"]);
        let report = log.verify().await;
        Log::is_clean(&report);
        assert_eq!((report.events, report.writers), (1, 2));
        log.run("DELETE FROM audit_writers WHERE id = 1").await;
        assert!(!log.verify().await.is_clean());
    }

    pub(super) async fn a_removal_that_was_cut_off_leaves_a_log_that_verifies(log: Log) {
        log.record_for_200_days().await;
        let until = log.clock.now() - DAY * 100;
        assert_eq!(log.log.move_beginnings(until).await.unwrap(), 10);
        Log::is_clean(&log.verify().await);
        // The oldest go first.
        log.run("DELETE FROM audit_events WHERE seq < 3").await;
        Log::is_clean(&log.verify().await);
        log.run("UPDATE audit_events SET outcome = 'failed' WHERE writer = 1 AND seq = 3").await;
        assert_eq!(
            log.verify().await.findings[0].kind,
            FindingKind::Changed,
            "it is not over while it is there"
        );
        log.run("DELETE FROM audit_events WHERE writer = 2 AND seq = 4").await;
        let found = log.verify().await.findings;
        assert_eq!((found[1].kind, found[1].writer, found[1].seq), (FindingKind::Added, Some(2), Some(3)));
        // Whoever comes next removes the rest, and nothing is counted twice.
        assert_eq!(log.prune(100).await, 0);
        assert_eq!(log.entries().await.len(), 10);
        Log::is_clean(&log.verify().await);
    }

    pub(super) async fn nothing_is_made_good_by_a_removal(log: Log) {
        log.record_for_200_days().await;
        // Recent rows are gone, and the one after them looks old.
        log.run("DELETE FROM audit_events WHERE writer = 1 AND seq IN (8, 9)").await;
        log.run("UPDATE audit_events SET at = '2026-01-01 00:00:00.000000' WHERE writer = 1 AND seq = 10")
            .await;
        // The other chain's five rows go, this one's stay.
        assert_eq!(log.prune(100).await, 5);
        let found: Vec<_> =
            log.verify().await.findings.iter().map(|finding| (finding.kind, finding.seq)).collect();
        assert_eq!(found, [(FindingKind::Removed, Some(8)), (FindingKind::Changed, Some(10))]);
        // The hash that the rest would go on from is another one.
        log.run("UPDATE audit_events SET hash = content_hash WHERE writer = 2 AND seq = 7").await;
        assert_eq!(log.prune(60).await, 0);
        assert_eq!(log.verify().await.findings.last().unwrap().seq, Some(7));
    }

    pub(super) async fn only_what_is_over_goes(log: Log) {
        log.record("user_a").await;
        assert_eq!(log.prune(1).await, 0);
        log.clock.advance(DAY);
        assert_eq!(log.prune(1).await, 0, "to the microsecond");
        log.clock.advance(SignedDuration::from_micros(1));
        assert_eq!(log.prune(1).await, 2);
        assert_eq!(log.prune(1).await, 0);
        Log::is_clean(&log.verify().await);
    }

    pub(super) async fn rows_about_deleted_users_no_longer_say_who_it_was(log: Log) {
        log.record("user_a").await;
        log.record("user_b").await;
        log.has_deleted("user_a").await;
        log.clock.advance(DAY * 30);
        assert_eq!(log.erase(30).await, 0, "it is not over");
        log.clock.advance(DAY);
        assert_eq!(log.erase(30).await, 2);
        let entries = log.entries().await;
        let (erased, kept): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| entry.erased);
        assert_eq!((erased.len(), kept.len()), (2, 3));
        for entry in erased {
            let shown = entry.to_json();
            for gone in ["user_a", "support", "192.0.2.1", "request\"", "a note"] {
                assert!(!shown.contains(gone), "{gone}: {shown}");
            }
            assert_eq!((entry.action.as_str(), entry.actor.as_str()), ("key.saved", "act"));
        }
        assert!(kept.iter().any(|entry| entry.user_id.as_deref() == Some("user_b")));
        let told = kept.last().unwrap();
        assert_eq!((told.action.as_str(), told.user_id.as_deref()), ("user.erased", None));
        assert_eq!(told.note.as_deref(), Some("{\"rows\":2}"));
        Log::is_clean(&log.verify().await);
        assert_eq!(log.erase(30).await, 0);

        // What is left of it is signed.
        for (set, back) in [
            ("outcome = 'failed'", "outcome = 'ok'"),
            ("actor = 'operator'", "actor = 'act'"),
            ("user_id = 'user_b'", "user_id = NULL"),
            ("note = 'x'", "note = NULL"),
        ] {
            log.run(&format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = 1")).await;
            let found = log.verify().await.findings;
            assert_eq!(
                (found.len(), found[0].kind, found[0].seq),
                (1, FindingKind::Changed, Some(1)),
                "{set}"
            );
            log.run(&format!("UPDATE audit_events SET {back} WHERE writer = 2 AND seq = 1")).await;
        }
        log.run("UPDATE audit_events SET erased = (SELECT erased FROM audit_events WHERE writer = 1 AND seq = 1) WHERE writer = 2 AND seq = 1").await;
        assert_eq!(log.verify().await.findings.len(), 1, "the mark of another row");
        log.run("UPDATE audit_events SET erased = NULL WHERE writer = 2 AND seq = 1").await;
        assert_eq!(log.verify().await.findings.len(), 1, "no mark");
    }

    pub(super) async fn who_came_back_is_somebody_new(log: Log) {
        log.record("user_a").await;
        log.has_deleted("user_a").await;
        log.clock.advance(DAY);
        let user = UserId::parse("user_a").unwrap();
        let now = log.clock.now();
        storage::sessions::insert_and_take_turn(&log.database, &user, "wrapped", now).await.unwrap();
        log.record("user_a").await;
        log.clock.advance(DAY * 40);
        assert_eq!(log.erase(30).await, 2);
        let of_user = log.log.latest(Some(&user), 100).await.unwrap();
        assert_eq!(of_user.len(), 2);
        assert!(of_user.iter().all(|entry| entry.at == now));
        Log::is_clean(&log.verify().await);
    }

    pub(super) async fn nothing_is_made_good_by_making_it_anonymous(log: Log) {
        log.record("user_a").await;
        log.record("user_a").await;
        log.run("UPDATE audit_events SET outcome = 'failed' WHERE writer = 1 AND seq = 2").await;
        log.has_deleted("user_a").await;
        log.clock.advance(DAY * 40);
        assert_eq!(log.erase(30).await, 3);
        let found = log.verify().await.findings;
        assert_eq!((found.len(), found[0].kind, found[0].seq), (1, FindingKind::Changed, Some(2)));
    }

    pub(super) async fn nothing_is_found_beside_recording_and_removal(log: Log) {
        log.record_for_200_days().await;
        let verifying = async {
            for _ in 0..20 {
                Log::is_clean(&log.verify().await);
            }
        };
        let changing = async {
            for days in [190, 150, 100, 60, 10] {
                log.prune(days).await;
                for _ in 0..4 {
                    log.record("user_a").await;
                }
            }
        };
        tokio::join!(verifying, changing);
        Log::is_clean(&log.verify().await);
    }

    pub(super) async fn what_was_made_anonymous_is_removed_in_its_time(log: Log) {
        log.record_for_200_days().await;
        log.has_deleted("user_a").await;
        log.clock.advance(DAY * 40);
        assert_eq!(log.erase(30).await, 20);
        assert_eq!(log.prune(140).await, 10);
        Log::is_clean(&log.verify().await);
        assert_eq!(log.entries().await.iter().filter(|entry| entry.erased).count(), 10);
    }
}

/// Runs the whole suite, each test with a log that `$empty` makes.
macro_rules! suite {
    ($empty:ident: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                super::suite::$test($empty().await).await;
            }
        )*
    };
}

macro_rules! all {
    ($empty:ident) => {
        suite! { $empty:
            old_rows_go_and_the_rest_verifies_and_goes_on
            chains_of_which_all_is_over_keep_their_heads
            a_removal_that_was_cut_off_leaves_a_log_that_verifies
            nothing_is_made_good_by_a_removal
            only_what_is_over_goes
            rows_about_deleted_users_no_longer_say_who_it_was
            who_came_back_is_somebody_new
            nothing_is_made_good_by_making_it_anonymous
            nothing_is_found_beside_recording_and_removal
            what_was_made_anonymous_is_removed_in_its_time
        }
    };
}

mod postgres {
    use super::*;

    async fn empty() -> Log {
        let address = PostgresServer::shared().empty_database().await;
        Log::on(Some(DatabaseSetting::Postgres(address.parse().unwrap()))).await
    }

    all!(empty);

    /// The months that have a partition of their own.
    async fn months(log: &Log) -> Vec<String> {
        const MONTHS: crate::storage::Statement = statement(
            "SELECT relname FROM pg_class WHERE relname ~ '^audit_events_[0-9]{4}_[0-9]{2}$' ORDER BY relname",
            &[],
        );
        let rows = log.database.query(&MONTHS, vec![]).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn whole_months_are_dropped() {
        let log = empty().await;
        log.record_for_200_days().await;
        let before = months(&log).await;
        assert_eq!((before.first().unwrap().as_str(), before.len()), ("audit_events_2026_01", 9));
        // It is the 21st of July.
        assert_eq!(log.prune(100).await, 10);
        assert_eq!(months(&log).await, before[3..], "January to March are over, and of April a part");
        Log::is_clean(&log.verify().await);
        assert_eq!(log.entries().await.len(), 11);
    }

    #[tokio::test]
    async fn a_month_with_a_row_that_must_stay_is_not_dropped() {
        let log = empty().await;
        log.record_for_200_days().await;
        let until = log.clock.now() - DAY * 100;
        // Nothing was moved: every row is still missed if it goes.
        assert_eq!(storage::audit::drop_partitions(&log.database, until).await.unwrap(), 0);
        log.log.move_beginnings(until).await.unwrap();
        assert_eq!(storage::audit::drop_partitions(&log.database, until).await.unwrap(), 3);
        Log::is_clean(&log.verify().await);
    }

    #[tokio::test]
    async fn no_month_is_dropped_while_older_rows_stand_outside_of_the_months() {
        let log = empty().await;
        log.record_for_200_days().await;
        let until = log.clock.now() - DAY * 100;
        log.log.move_beginnings(until).await.unwrap();
        log.run("UPDATE audit_events SET at = '2025-01-01 00:00:00' WHERE writer = 1 AND seq = 1").await;
        assert_eq!(storage::audit::drop_partitions(&log.database, until).await.unwrap(), 0);
        assert_eq!(storage::audit::remove_pruned(&log.database, until, 1).await.unwrap(), 1);
        assert_eq!(storage::audit::drop_partitions(&log.database, until).await.unwrap(), 3);
        Log::is_clean(&log.verify().await);
    }
}

mod sqlite {
    use super::*;

    async fn empty() -> Log {
        Log::on(None).await
    }

    all!(empty);
}
