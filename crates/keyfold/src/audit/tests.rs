//! Recording and shipping: nothing lost, nothing doubled, nothing done that is not recorded. One suite, run on both
//! databases.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use keyfold_test_servers::PostgresServer;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::spool::Spool;
use super::*;
use crate::clock::{ManualClock, SystemRandom};
use crate::envelope::MasterKey;
use crate::requester::{Actor, Requester};
use crate::settings::SinkSetting;
use crate::storage::{self, Connection, Kind, PostgresAddress, Statement, statement};
use crate::user::UserId;

/// A database, and a state directory that processes share.
struct Log {
    setting: DatabaseSetting,
    database: Database,
    ring: MasterKeyRing,
    clock: Arc<ManualClock>,
    _folder: TempDir,
    state_dir: PathBuf,
}

const ALL_ROWS: Statement =
    statement(concat!("SELECT ", storage::audit::columns!(), " FROM audit_events ORDER BY id"), &[]);
const NO_WRITERS: Statement = statement("DELETE FROM audit_writers", &[]);
const ACCEPT: Statement = statement("DROP TRIGGER refuse", &[]);
const NO_ROWS: Statement = statement("DELETE FROM audit_events", &[]);

impl Log {
    async fn on(setting: Option<PostgresAddress>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setting = setting.map_or_else(
            || DatabaseSetting::Sqlite(folder.path().join("keyfold.db")),
            DatabaseSetting::Postgres,
        );
        let database = connect(&setting).await;
        let master_key = MasterKey::parse(&MasterKey::generate(&SystemRandom).unwrap()).unwrap();
        Self {
            setting,
            database,
            ring: MasterKeyRing::new(Arc::new(master_key), vec![]),
            clock: Arc::new(ManualClock::at("2026-01-02T03:04:05.678901Z".parse().unwrap())),
            state_dir: folder.path().join("state"),
            _folder: folder,
        }
    }

    /// A process.
    async fn open(&self) -> Audit {
        self.open_with(&AuditSettings::default()).await.unwrap()
    }

    async fn open_with(&self, settings: &AuditSettings) -> Result<Audit, Error> {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (self.clock.clone(), Arc::new(SystemRandom));
        Audit::open(AuditParts {
            database: &connect(&self.setting).await,
            ring: &self.ring,
            clock: &clock,
            random: &random,
            setting: &self.setting,
            settings,
            state_dir: &self.state_dir,
        })
        .await
    }

    async fn strict(&self) -> Audit {
        let settings = AuditSettings { durability: Some(Durability::Strict), ..AuditSettings::default() };
        self.open_with(&settings).await.unwrap()
    }

    async fn rows(&self) -> Vec<AuditRow> {
        let rows = self.database.query(&ALL_ROWS, vec![]).await.unwrap();
        rows.iter().map(|row| storage::audit::read_row(row).unwrap()).collect()
    }

    /// What the log tells, without who wrote it.
    async fn told(&self) -> Vec<(String, String)> {
        self.rows().await.into_iter().map(|row| (row.action, row.note.unwrap_or_default())).collect()
    }

    async fn soon_has(&self, rows: usize) {
        let waiting = async {
            while self.rows().await.len() < rows {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{:?}", self.told().await);
    }

    /// Every row hangs on the one before it, and the heads are signed.
    async fn assert_sound(&self) {
        assert_eq!(self.verify().await.findings, []);
    }

    async fn run(&self, sql: &'static str) {
        self.database.execute(&statement(sql, &[]), vec![]).await.unwrap();
    }

    async fn verify(&self) -> Report {
        let chain =
            Chain::new(&log_key(&self.database, &self.ring, &SystemRandom, "audit_key").await.unwrap());
        let log = AuditLog::new(self.database.clone(), chain, self.clock.clone());
        log.verify(None, |_| {}).await.unwrap()
    }

    fn spools(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.state_dir.join("spool")) else { return vec![] };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Makes the database refuse every row of the log.
    async fn refuse_rows(&self) {
        match &self.setting {
            DatabaseSetting::Sqlite(_) => {
                const REFUSE: Statement = statement(
                    "CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'refused'); END",
                    &[],
                );
                self.database.execute(&REFUSE, vec![]).await.unwrap();
            }
            DatabaseSetting::Postgres(_) => {
                const CHECK: Statement =
                    statement("ALTER TABLE audit_events ADD CHECK (at < '2000-01-01') NOT VALID", &[]);
                self.database.execute(&CHECK, vec![]).await.unwrap();
            }
        }
    }
}

async fn connect(setting: &DatabaseSetting) -> Database {
    match setting {
        DatabaseSetting::Sqlite(path) => Database::open_sqlite(path.clone(), Duration::from_secs(2)).await,
        DatabaseSetting::Postgres(address) => Database::open_postgres(address).await,
    }
    .unwrap()
}

fn event(action: Action, note: impl Into<String>) -> Event {
    let requester = Requester::new(Actor::User).in_request("req \"1\"", Some("2001:db8::1".parse().unwrap()));
    Event::new(action, Outcome::Ok, &requester)
        .of_user(&UserId::parse("ann \u{e9} \\").unwrap())
        .with_note(note)
}

fn opened(note: impl Into<String>) -> Event {
    let mut event = event(Action::KeyOpened, note);
    event.purpose = Some(Purpose::Gateway);
    event.key_version = Some(7);
    event.fingerprint = Some(Fingerprint([0xab; 16]));
    event
}

mod suite {
    use super::*;

    pub(super) async fn a_use_is_in_the_log_with_all_that_is_known_of_it(log: Log) {
        let audit = log.open().await;
        audit.begin_use(opened("one")).await.unwrap().end(Outcome::Failed, Some(429));
        drop(audit.begin_use(opened("two")).await.unwrap());
        log.soon_has(4).await;
        let rows = log.rows().await;
        let [first, end, second, abandoned] = &rows[..] else { panic!("{rows:?}") };
        for row in &rows {
            assert_eq!((row.user.as_deref(), row.actor.as_str()), (Some("ann \u{e9} \\"), "user"));
            assert_eq!(
                (row.request_id.as_deref(), row.address.as_deref()),
                (Some("req \"1\""), Some("2001:db8::1"))
            );
            assert_eq!(
                (row.key_version, row.fingerprint.as_deref()),
                (Some(7), Some("ab".repeat(16).as_str()))
            );
            assert_eq!((row.purpose.as_deref(), row.at), (Some("gateway"), log.clock.now()));
        }
        let actions: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.outcome.as_str())).collect();
        let expected =
            [("key.opened", "ok"), ("key.ended", "failed"), ("key.opened", "ok"), ("key.ended", "abandoned")];
        assert_eq!(actions, expected);
        assert_eq!((end.provider_status, abandoned.provider_status), (Some(429), None));
        assert!(end.duration_ms.is_some() && first.duration_ms.is_none());
        assert_eq!((&first.call_id, &second.call_id), (&end.call_id, &abandoned.call_id));
        assert!(first.call_id.is_some() && first.call_id != second.call_id);
        assert!(audit.close().await);
        log.assert_sound().await;
    }

    pub(super) async fn a_change_and_its_event_are_both_there_or_neither(log: Log) {
        const MARK: Statement =
            statement("INSERT INTO root_secrets (name, sealed) VALUES ($1, 'x')", &[Kind::Text]);
        let audit = log.open().await;
        let marked =
            async |name: &str| storage::root_secrets::find(&log.database, name).await.unwrap().is_some();
        let begin = async |name: &str| {
            let transaction = audit.shared.database.begin().await.unwrap();
            transaction.execute(&MARK, vec![name.into()]).await.unwrap();
            transaction
        };
        audit.commit(begin("kept").await, vec![event(Action::KeySaved, "kept")]).await.unwrap();
        assert!(marked("kept").await);
        log.refuse_rows().await;
        let refused = audit.commit(begin("lost").await, vec![event(Action::KeySaved, "lost")]).await;
        assert!(matches!(refused, Err(Error::AuditUnavailable(_))), "{refused:?}");
        assert!(!marked("lost").await);
        assert_eq!(log.told().await, [("key.saved".into(), "kept".into())]);
        audit.close().await;
        log.assert_sound().await;
    }

    pub(super) async fn a_thousand_uses_at_once_are_all_there_once(log: Log) {
        let audit = Arc::new(log.open().await);
        let uses = (0..1000).map(|number| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move {
                let call = audit.begin_use(opened(number.to_string())).await.unwrap();
                if number % 10 == 0 {
                    audit.record(vec![event(Action::KeyReleased, number.to_string())]).await.unwrap();
                }
                call.end(Outcome::Ok, Some(200));
            })
        });
        for call in uses.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        assert!(Arc::into_inner(audit).unwrap().close().await);
        let mut told = log.told().await;
        assert_eq!(told.len(), 2100);
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 2100);
        log.assert_sound().await;
        assert!(log.spools().is_empty());
    }

    pub(super) async fn uses_of_many_threads_have_few_chains_and_end_where_they_began(log: Log) {
        const THREADS: usize = 40;
        let audit = log.open().await;
        let (begun, ending) = std::sync::mpsc::channel();
        let runtime = Handle::current();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (audit, begun) = (&audit, begun.clone());
                let runtime = runtime.clone();
                scope.spawn(move || {
                    for number in 0..15 {
                        let beginning = audit.begin_use(opened(format!("{thread} {number}")));
                        begun.send(runtime.block_on(beginning).unwrap()).unwrap();
                    }
                });
            }
            drop(begun);
            // On another thread than they began on.
            for call in ending {
                call.end(Outcome::Ok, Some(200));
            }
        });
        let parts = audit.shared.spool.as_ref().unwrap().parts().len();
        assert!((parts.min(2)..=parts).contains(&log.spools().len()), "{:?}", log.spools());
        assert!(audit.close().await);
        let mut rows = log.rows().await;
        assert_eq!(rows.len(), THREADS * 15 * 2);
        rows.sort_by_key(|row| (row.call_id.clone(), row.seq));
        for call in rows.chunks_exact(2) {
            assert_eq!((&call[0].call_id, call[0].writer), (&call[1].call_id, call[1].writer));
            assert_eq!([&*call[0].action, &*call[1].action], ["key.opened", "key.ended"]);
        }
        assert!(log.spools().is_empty());
        let report = log.verify().await;
        assert_eq!((report.findings, report.warnings), (vec![], vec![]));
    }

    pub(super) async fn the_spool_of_a_dead_process_is_taken_by_the_next(log: Log) {
        let dead = log.open().await;
        dead.begin_use(opened("one")).await.unwrap().end(Outcome::Ok, None);
        log.soon_has(2).await;
        // From here on it is only written down.
        dead.shipper.lock().unwrap().as_ref().unwrap().abort();
        for number in ["two", "three"] {
            drop(dead.begin_use(opened(number)).await.unwrap());
        }
        let files = || fs::read_dir(&log.spools()[0]).unwrap().map(|entry| entry.unwrap().path());
        let file = files().find(|path| path.extension().is_some_and(|ending| ending == "jsonl")).unwrap();
        for path in files().chain([file.clone()]) {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(dead);
        // Half of a line, as a kill leaves it.
        let mut torn = fs::read(&file).unwrap();
        torn.extend_from_slice(br#"{"n":99,"t":17"#);
        fs::write(&file, torn).unwrap();

        let next = log.open().await;
        // The end of "three" was waiting for the next write, and died with the process.
        log.soon_has(5).await;
        assert_eq!(next.figures().torn_lines(), 1);
        let opened: Vec<_> = log
            .told()
            .await
            .into_iter()
            .filter(|(action, _)| action == "key.opened")
            .map(|(_, note)| note)
            .collect();
        assert_eq!(opened, ["one", "two", "three"]);
        next.close().await;
        assert_eq!(log.told().await.len(), 5);
        assert!(log.spools().is_empty());
        log.assert_sound().await;
        // It went on with the chain of the dead one.
        assert_eq!(
            log.rows().await.iter().map(|row| (row.writer, row.seq)).collect::<Vec<_>>(),
            (1..=5).map(|seq| (1, seq)).collect::<Vec<_>>()
        );
    }

    pub(super) async fn what_is_in_the_log_already_is_not_taken_from_a_spool_again(log: Log) {
        let dead = log.open().await;
        for number in 0..3 {
            dead.begin_use(opened(number.to_string())).await.unwrap().end(Outcome::Ok, None);
        }
        log.soon_has(6).await;
        // Killed after the commit, before the file was removed.
        dead.shipper.lock().unwrap().as_ref().unwrap().abort();
        drop(dead);
        assert_eq!(log.spools().len(), 1);
        let next = log.open().await;
        soon("it is taken", || log.spools().is_empty()).await;
        next.close().await;
        assert_eq!(log.told().await.len(), 6);
        log.assert_sound().await;
    }

    pub(super) async fn processes_share_a_state_directory(log: Log) {
        let (one, other) = (log.open().await, log.open().await);
        for number in 0..20 {
            for (audit, name) in [(&one, "one"), (&other, "other")] {
                let call = audit.begin_use(opened(format!("{name} {number}"))).await.unwrap();
                audit.record(vec![event(Action::KeyReleased, format!("{name} {number}"))]).await.unwrap();
                call.end(Outcome::Ok, None);
            }
        }
        log.soon_has(120).await;
        one.close().await;
        other.close().await;
        let mut told = log.told().await;
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 120);
        log.assert_sound().await;
    }

    pub(super) async fn writers_that_begin_at_once_are_numbered_one_after_the_other(log: Log) {
        let audits = [log.open().await, log.open().await, log.open().await];
        let begun = audits.iter().map(|audit| audit.record(vec![event(Action::KeySaved, "")]));
        for begun in futures_util::future::join_all(begun).await {
            begun.unwrap();
        }
        let mut writers: Vec<_> = log.rows().await.iter().map(|row| row.writer).collect();
        writers.sort_unstable();
        assert_eq!(writers, [1, 2, 3]);
        log.assert_sound().await;
    }

    pub(super) async fn times_never_go_back_within_a_chain(log: Log) {
        let audit = log.open().await;
        let before = log.clock.now();
        for number in 0..2 {
            drop(audit.begin_use(opened(number.to_string())).await.unwrap());
            audit.record(vec![event(Action::KeySaved, number.to_string())]).await.unwrap();
            log.soon_has(3 * (number + 1)).await;
            log.clock.advance(SignedDuration::from_hours(-5));
        }
        assert!(log.rows().await.iter().all(|row| row.at == before));
        audit.close().await;
        log.assert_sound().await;
    }

    pub(super) async fn strict_means_in_the_database_before_the_call(log: Log) {
        let audit = log.strict().await;
        let call = audit.begin_use(opened("one")).await.unwrap();
        assert_eq!(log.told().await, [("key.opened".into(), "one".into())]);
        call.end(Outcome::Ok, None);
        audit.record_use(opened("two")).unwrap();
        assert!(log.told().await.contains(&("key.opened".into(), "two".into())));
        log.soon_has(3).await;
        assert!(!log.state_dir.exists());
        log.refuse_rows().await;
        let refused = audit.begin_use(opened("three")).await.map(drop);
        assert!(matches!(refused, Err(Error::AuditUnavailable(_))), "{refused:?}");
        let refused = audit.record_use(opened("four"));
        assert!(matches!(refused, Err(Error::AuditUnavailable(_))), "{refused:?}");
        assert!(audit.close().await);
        assert_eq!(log.told().await.len(), 3);
        log.assert_sound().await;
    }

    pub(super) async fn without_a_state_directory_it_is_strict(log: Log) {
        fs::write(&log.state_dir, "a file").unwrap();
        let audit = log.open().await;
        assert_eq!(audit.durability(), Durability::Strict);
        audit.record_use(opened("one")).unwrap();
        assert_eq!(log.told().await, [("key.opened".into(), "one".into())]);
        let spool = AuditSettings { durability: Some(Durability::Spool), ..AuditSettings::default() };
        let refused = log.open_with(&spool).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("KEYFOLD_AUDIT_DURABILITY"), "{refused}");
    }

    pub(super) async fn a_spool_that_is_gone_is_made_anew(log: Log) {
        let audit = log.open().await;
        drop(audit.begin_use(opened("one")).await.unwrap());
        // Gone before anything was shipped, or after it.
        fs::remove_dir_all(log.state_dir.join("spool")).unwrap();
        drop(audit.begin_use(opened("two")).await.unwrap());
        log.soon_has(4).await;
        drop(audit.begin_use(opened("three")).await.unwrap());
        assert_eq!(log.spools().len(), 1);
        audit.close().await;
        assert_eq!(log.told().await.len(), 6);
        log.assert_sound().await;
    }

    pub(super) async fn a_commit_with_an_unknown_end_is_neither_lost_nor_doubled(log: Log) {
        let sink = log.state_dir.with_extension("jsonl");
        let settings =
            AuditSettings { sinks: vec![SinkSetting::File(sink.clone())], ..AuditSettings::default() };
        let audit = log.open_with(&settings).await.unwrap();
        audit.shipper.lock().unwrap().as_ref().unwrap().abort();
        let shared = &audit.shared;
        let lines = |range: std::ops::Range<i64>| {
            let mut lines = vec![];
            for n in range {
                write_line(n, log.clock.now(), &opened(n.to_string()), &mut lines);
            }
            lines
        };
        let note = |_| Ok(());
        let mut standing = shipping::Standing::New(0);
        shared.ship_lines(&mut standing, lines(1..3), &note).await.unwrap();
        for is_committed in [true, false] {
            let shipping::Standing::Known(before) = std::mem::take(&mut standing) else { panic!() };
            let n = before.spooled + 1;
            let line = lines(n..n + 1);
            let mut addition = Addition::after(&shared.chain, &before, 1);
            addition.push(&Line::read(line.trim_ascii_end()).unwrap().told());
            let (rows, after) = addition.end(n);
            let transaction = shared.database.begin().await.unwrap();
            append_in(&transaction, rows, &after).await.unwrap();
            if is_committed {
                transaction.commit().await.unwrap();
            } else {
                drop(transaction);
            }
            standing = shipping::Standing::Doubtful { before, after };
            shared.ship_lines(&mut standing, lines(n..n + 2), &note).await.unwrap();
        }
        let notes: Vec<_> = log.told().await.into_iter().map(|(_, note)| note).collect();
        assert_eq!(notes, ["1", "2", "3", "4", "5", "6"]);
        log.assert_sound().await;
        // A sink has each once, with its id.
        let ids = log.rows().await.into_iter().map(|row| (row.id, row.note.unwrap_or_default()));
        audit.close().await;
        let told = fs::read_to_string(&sink).unwrap();
        let told = told.lines().map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            (entry["id"].as_i64().unwrap(), entry["note"].as_str().unwrap().to_owned())
        });
        assert_eq!(told.collect::<Vec<_>>(), ids.collect::<Vec<_>>());
    }

    pub(super) async fn what_no_column_takes_does_not_hold_up_what_comes_after(log: Log) {
        let audit = log.open().await;
        // Of a spool: each text with a NUL, and too long.
        let too_much = |length| format!("\\u0000{}", "\u{e9}".repeat(length));
        let line = format!(
            r#"{{"n":1,"t":-9,"w":"{0}","a":"{0}","o":"{0}","u":"{0}","p":"{0}","r":"{0}","f":"{0}","c":"{0}","b":"{0}","i":"{0}","x":"{1}"}}"#,
            too_much(300),
            too_much(200_000)
        );
        let mut standing = shipping::Standing::New(0);
        audit.shared.ship_lines(&mut standing, format!("{line}\n").into_bytes(), &|_| Ok(())).await.unwrap();
        assert_eq!(audit.figures().torn_lines(), 0);
        // Of events, by the spool and by a commit.
        audit.begin_use(opened("a\0b")).await.unwrap().end(Outcome::Ok, None);
        audit.record(vec![event(Action::KeySaved, "c\0")]).await.unwrap();
        audit.begin_use(opened("last")).await.unwrap().end(Outcome::Ok, None);
        log.soon_has(6).await;
        let rows = log.rows().await;
        let found = |action: &str, note: &str| {
            rows.iter().any(|row| row.action == action && row.note.as_deref() == Some(note))
        };
        assert!(found("key.opened", "a\u{fffd}b") && found("key.ended", "a\u{fffd}b"), "{rows:?}");
        assert!(found("key.saved", "c\u{fffd}") && found("key.ended", "last"), "{rows:?}");
        let cut = &rows[0];
        assert_eq!(cut.user.as_deref(), Some(format!("\u{fffd}{}", "\u{e9}".repeat(254)).as_str()));
        assert_eq!((cut.action.chars().count(), cut.outcome.chars().count()), (40, 20));
        audit.close().await;
        log.assert_sound().await;
    }

    pub(super) async fn ids_of_chains_that_were_removed_are_not_given_again(log: Log) {
        let audit = log.strict().await;
        audit.record(vec![event(Action::KeySaved, "one")]).await.unwrap();
        audit.close().await;
        log.assert_sound().await;
        log.run("DELETE FROM audit_events").await;
        log.run("DELETE FROM audit_writers").await;
        for _ in 0..2 {
            let audit = log.strict().await;
            audit.record(vec![event(Action::KeySaved, "two")]).await.unwrap();
            audit.close().await;
        }
        let writers: Vec<_> = log.rows().await.iter().map(|row| row.writer).collect();
        assert_eq!(writers, [2, 3]);
        let removed = |finding: &Finding| (finding.kind, finding.writer);
        let found: Vec<_> = log.verify().await.findings.iter().map(removed).collect();
        assert_eq!(found, [(FindingKind::WriterRemoved, Some(1))]);
        // A count that is gone, or was put back, is not made good.
        log.run("DELETE FROM audit_writer_count").await;
        let audit = log.strict().await;
        audit.record(vec![event(Action::KeySaved, "three")]).await.unwrap();
        audit.close().await;
        assert_eq!(log.verify().await.findings.len(), 2);
    }

    pub(super) async fn a_log_that_was_put_back_gets_a_new_chain(log: Log) {
        let audit = log.open().await;
        log.run("CREATE TABLE earlier AS SELECT * FROM audit_writer_count").await;
        audit.record(vec![event(Action::KeySaved, "one")]).await.unwrap();
        drop(audit.begin_use(opened("two")).await.unwrap());
        log.soon_has(3).await;
        log.database.execute(&NO_ROWS, vec![]).await.unwrap();
        log.database.execute(&NO_WRITERS, vec![]).await.unwrap();
        log.run(
            "UPDATE audit_writer_count SET (writers, signature) = (SELECT writers, signature FROM earlier)",
        )
        .await;
        let refused = audit.record(vec![event(Action::KeySaved, "three")]).await;
        assert!(matches!(refused, Err(Error::AuditUnavailable(_))), "{refused:?}");
        audit.record(vec![event(Action::KeySaved, "four")]).await.unwrap();
        drop(audit.begin_use(opened("five")).await.unwrap());
        audit.close().await;
        let told = log.told().await;
        assert_eq!(told.len(), 3, "{told:?}");
        log.assert_sound().await;
    }

    pub(super) async fn refusals_that_repeat_are_recorded_once_a_minute(log: Log) {
        let audit = log.open().await;
        let refused = |outcome| {
            let mut event = event(Action::KeyRefused, "");
            event.outcome = outcome;
            event
        };
        for minute in 1..=2 {
            for _ in 0..100 {
                audit.refused(refused(Outcome::NoKey));
                audit.refused(refused(Outcome::Unreadable));
            }
            log.soon_has(2 * minute).await;
            log.clock.advance(SignedDuration::from_mins(1));
        }
        audit.close().await;
        assert_eq!(log.told().await.len(), 4);
    }

    pub(super) async fn equal_keys_have_equal_fingerprints_in_one_database_only(log: Log) {
        let key = |text| ApiKey::parse(text).unwrap();
        let (one, other) = (log.open().await, log.open().await);
        assert_eq!(one.fingerprint(&key("test-key-1")), other.fingerprint(&key("test-key-1")));
        assert_ne!(one.fingerprint(&key("test-key-1")), one.fingerprint(&key("test-key-2")));
        let elsewhere = Log::on(None).await;
        assert_ne!(
            one.fingerprint(&key("test-key-1")),
            elsewhere.open().await.fingerprint(&key("test-key-1"))
        );
    }

    pub(super) async fn a_spool_of_another_database_is_left_alone(log: Log) {
        let elsewhere = Log { state_dir: log.state_dir.clone(), ..Log::on(None).await };
        let dead = elsewhere.open().await;
        dead.shipper.lock().unwrap().as_ref().unwrap().abort();
        drop(dead.begin_use(opened("elsewhere")).await.unwrap());
        drop(dead);
        let audit = log.open().await;
        drop(audit.begin_use(opened("here")).await.unwrap());
        audit.close().await;
        assert_eq!(log.told().await.len(), 2);
        assert_eq!(log.spools().len(), 1);
        elsewhere.open().await.close().await;
        assert_eq!(elsewhere.told().await, [("key.opened".into(), "elsewhere".into())]);
    }
}

async fn soon(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), waiting).await.is_ok(), "not so: {what}");
}

macro_rules! suite {
    ($empty:ident: $($test:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            super::suite::$test($empty().await).await;
        })*
    };
    ($empty:ident) => {
        suite! { $empty:
            a_use_is_in_the_log_with_all_that_is_known_of_it,
            a_change_and_its_event_are_both_there_or_neither,
            a_thousand_uses_at_once_are_all_there_once,
            uses_of_many_threads_have_few_chains_and_end_where_they_began,
            the_spool_of_a_dead_process_is_taken_by_the_next,
            what_is_in_the_log_already_is_not_taken_from_a_spool_again,
            processes_share_a_state_directory,
            writers_that_begin_at_once_are_numbered_one_after_the_other,
            times_never_go_back_within_a_chain,
            strict_means_in_the_database_before_the_call,
            without_a_state_directory_it_is_strict,
            a_spool_that_is_gone_is_made_anew,
            a_commit_with_an_unknown_end_is_neither_lost_nor_doubled,
            what_no_column_takes_does_not_hold_up_what_comes_after,
            a_log_that_was_put_back_gets_a_new_chain,
            ids_of_chains_that_were_removed_are_not_given_again,
            refusals_that_repeat_are_recorded_once_a_minute,
            equal_keys_have_equal_fingerprints_in_one_database_only,
            a_spool_of_another_database_is_left_alone,
        }
    };
}

mod sqlite {
    use super::*;

    async fn empty() -> Log {
        Log::on(None).await
    }

    suite!(empty);

    #[tokio::test]
    async fn a_full_disk_makes_it_strict_until_there_is_room() {
        let server = PostgresServer::start(&[]);
        let Some(disk) = server.small_disk() else {
            eprintln!("NOT TESTED: a spool on a full disk, because no disk can be mounted here");
            return;
        };
        let log = Log { state_dir: disk.join("state"), ..Log::on(None).await };
        let audit = log.open().await;
        drop(audit.begin_use(opened("0")).await.unwrap());
        let filler = disk.join("filler");
        assert!(fs::write(&filler, vec![0; 64 * 1024 * 1024]).is_err());
        // The file's last page takes a few more.
        let mut used = 1;
        while audit.figures().failures() == 0 {
            audit.begin_use(opened(used.to_string())).await.unwrap().end(Outcome::Ok, None);
            used += 1;
        }
        for number in [used, used + 1] {
            // In the database when this returns.
            let call = audit.begin_use(opened(number.to_string())).await.unwrap();
            assert!(log.told().await.contains(&("key.opened".into(), number.to_string())));
            call.end(Outcome::Ok, None);
        }
        // Nothing takes it.
        log.refuse_rows().await;
        let refused = audit.begin_use(opened("refused")).await.map(drop);
        assert!(matches!(refused, Err(Error::AuditUnavailable(_))), "{refused:?}");
        log.database.execute(&ACCEPT, vec![]).await.unwrap();
        fs::remove_file(&filler).unwrap();
        let failures = audit.figures().failures();
        drop(audit.begin_use(opened((used + 2).to_string())).await.unwrap());
        assert_eq!(audit.figures().failures(), failures);
        audit.close().await;
        let mut told = log.told().await;
        told.sort();
        let both =
            |number: i32| ["key.ended", "key.opened"].map(|action| (action.to_owned(), number.to_string()));
        let mut expected: Vec<_> = (0..used + 3).flat_map(both).collect();
        expected.sort();
        assert_eq!(told, expected);
        log.assert_sound().await;
    }
}

mod postgres {
    use super::*;

    async fn empty() -> Log {
        Log::on(Some(PostgresServer::shared().empty_database().await.parse().unwrap())).await
    }

    suite!(empty);

    #[tokio::test]
    async fn a_database_that_was_away_gets_what_happened_meanwhile_once() {
        let server = PostgresServer::start(&[]);
        let log = Log::on(Some(server.empty_database().await.parse().unwrap())).await;
        let audit = log.open().await;
        drop(audit.begin_use(opened("before")).await.unwrap());
        log.soon_has(2).await;
        server.crash();
        for number in 0..700 {
            audit.begin_use(opened(number.to_string())).await.unwrap().end(Outcome::Ok, None);
        }
        let refused = audit.record(vec![event(Action::KeySaved, "away")]).await;
        assert!(matches!(refused, Err(Error::DatabaseUnavailable(_))), "{refused:?}");
        server.start_again();
        audit.close().await;
        let log = Log { database: connect(&log.setting).await, ..log };
        // What close() could not wait for is brought by the next start.
        let next = log.open().await;
        log.soon_has(1402).await;
        next.close().await;
        let mut told = log.told().await;
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 1402);
        log.assert_sound().await;
    }

    #[tokio::test]
    async fn each_month_has_a_partition_and_other_times_lose_nothing() {
        const PARTITIONS: Statement =
            statement("SELECT DISTINCT CAST(tableoid::regclass AS TEXT) FROM audit_events ORDER BY 1", &[]);
        let log = empty().await;
        let audit = log.open().await;
        drop(audit.begin_use(opened("one")).await.unwrap());
        log.soon_has(2).await;
        log.clock.advance(SignedDuration::from_hours(24 * 365));
        audit.record(vec![event(Action::KeySaved, "two")]).await.unwrap();
        let rows = log.database.query(&PARTITIONS, vec![]).await.unwrap();
        let names: Vec<_> = rows.iter().map(|row| row.text(0).unwrap()).collect();
        assert_eq!(names, ["audit_events_2026_01", "audit_events_other"]);
        // Done again it changes nothing, and a month that is begun elsewhere is no error.
        for _ in 0..2 {
            storage::audit::make_partitions(&log.database, log.clock.now()).await.unwrap();
        }
        audit.close().await;
        log.assert_sound().await;
    }
}

#[test]
fn a_row_is_what_its_line_says() {
    let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    let mut event = opened("a note\nof two lines");
    event.call_id = Some(CallId([9; 16]));
    event.duration = Some(Duration::from_millis(1234));
    event.provider_status = Some(503);
    event.requester.actor = Actor::Service("name".into());
    let mut line = vec![];
    write_line(3, at, &event, &mut line);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let read = Line::read(line.trim_ascii_end()).unwrap();
    assert_eq!((read.n, read.told()), (3, Line::of(&event, at).told()));
    for torn in 1..line.len() - 1 {
        assert!(Line::read(&line[..torn]).is_none(), "{torn}");
    }
}

#[test]
fn a_line_that_is_read_the_fast_way_is_read_as_json_says() {
    let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    let mut least = Event::new(Action::Started, Outcome::Ok, &Requester::new(Actor::Keyfold));
    let mut most = opened("a note, {} of \u{e9}");
    most.user = Some(UserId::parse("user_1").unwrap());
    most.provider = Some(crate::provider::ProviderId::parse("gemini").unwrap());
    most.requester.request_id = Some("request-1".into());
    most.call_id = Some(CallId([9; 16]));
    (most.duration, most.provider_status) = (Some(Duration::from_millis(1234)), Some(503));
    least.note = Some("x".into());
    let mut line = vec![];
    write_line(1, at, &Event { note: Some("x".repeat(70_000)), ..most.clone() }, &mut line);
    let read = [Line::read_plain, Line::read_any].map(|read| read(line.trim_ascii_end()).unwrap());
    assert!(read.iter().all(|line| line.told().note.is_some_and(|note| note.len() == 64 * 1024)));
    let (mut compared, mut given_up) = (0, 0);
    for event in [&least, &most] {
        let mut line = vec![];
        write_line(12, at, event, &mut line);
        let line = line.trim_ascii_end();
        assert!(Line::read_plain(line).is_some(), "{line:?}");
        // Every byte replaced, something before it, and without it.
        for place in 0..line.len() {
            for byte in *b"\"\\{}:,0-19az \0\xff" {
                let mut one = line.to_vec();
                one[place] = byte;
                let mut more = line.to_vec();
                more.insert(place, byte);
                let mut less = line.to_vec();
                less.remove(place);
                for edited in [one, more, less] {
                    let (plain, any) = (Line::read_plain(&edited), Line::read_any(&edited));
                    if let Some(plain) = plain {
                        let any = any.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&edited)));
                        assert_eq!((plain.n, plain.told()), (any.n, any.told()));
                        compared += 1;
                    } else {
                        given_up += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 1000 && given_up > 1000, "{compared} {given_up}");
}

#[test]
fn a_line_is_json_whatever_stands_in_it() {
    let every_character: String = (1..0x300).filter_map(char::from_u32).collect();
    for note in ["", "plain", "\"", "\\", "\u{1f}\n\t", "\u{1f511} \u{2028}", &every_character] {
        for n in [0, 7, 10, -1, i64::MAX, i64::MIN] {
            let mut event = opened(note);
            event.key_version = Some(n);
            event.requester.actor = Actor::Impersonator(UserId::parse("\"\\ \u{e9}").unwrap());
            event.requester.address = Some("192.0.2.1".parse().unwrap());
            let mut line = vec![];
            write_line(n, Timestamp::UNIX_EPOCH, &event, &mut line);
            let read = Line::read(line.trim_ascii_end()).unwrap();
            assert_eq!((read.n, read.told()), (n, Line::of(&event, Timestamp::UNIX_EPOCH).told()));
        }
    }
}

fn write_line(n: i64, at: Timestamp, event: &Event, out: &mut Vec<u8>) {
    Moment::of(event, at).write_line(n, &about(event), out);
}

/// The row of an event, without its place.
fn row_of(event: &Event, at: Timestamp) -> AuditRow {
    let mut rows = storage::audit::NewRows::after(1, 0, 1);
    rows.push(&Line::of(event, at).told(), "", "");
    rows.with_ids(&[0]).unwrap().remove(0)
}

#[test]
fn every_field_is_in_the_content_hash_and_the_hash_has_its_place() {
    let chain = Chain::new(&[7; 32]);
    let at = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
    let mut row = row_of(&opened("note"), at);
    (row.provider, row.call_id) = (Some("gemini".into()), Some("c".into()));
    (row.provider_status, row.duration_ms) = (Some(1), Some(2));
    let fresh = || row.clone();
    let mut hashes = vec![chain.content_hash(&row)];
    let edits: [fn(&mut AuditRow); 18] = [
        |row| row.writer += 1,
        |row| row.seq += 1,
        |row| row.at += SignedDuration::from_micros(1),
        |row| row.user = None,
        |row| row.actor.push('x'),
        |row| row.action.push('x'),
        |row| row.provider = Some(String::new()),
        |row| row.outcome.clear(),
        |row| row.request_id = None,
        |row| row.key_version = Some(8),
        |row| row.fingerprint = None,
        |row| row.call_id = None,
        |row| row.purpose = None,
        |row| row.provider_status = None,
        |row| row.duration_ms = Some(3),
        |row| row.address = None,
        |row| row.note = None,
        // The same bytes, in two fields that stand side by side.
        |row| (row.address, row.note) = (row.note.clone(), row.address.clone()),
    ];
    for edit in edits {
        let mut row = fresh();
        edit(&mut row);
        hashes.push(chain.content_hash(&row));
    }
    let place = |writer, seq, previous: &str| {
        let row = AuditRow { writer, seq, content_hash: "content".into(), ..fresh() };
        chain.hash(&row, previous)
    };
    hashes.extend([place(1, 1, "a"), place(2, 1, "a"), place(1, 2, "a"), place(1, 1, "b")]);
    hashes.push(chain.erased(&row));
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
    assert_ne!(Chain::new(&[8; 32]).content_hash(&row), chain.content_hash(&row));
}

#[test]
fn lines_of_several_callers_are_written_at_once_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("spool");
    let spool = Spool::new(place.clone(), "tag".into(), Arc::new(SystemRandom)).unwrap();
    let part = &spool.parts()[0];
    let moment = Moment::of(&opened("a note"), Timestamp::UNIX_EPOCH);
    let about = |name: &str| format!(r#","w":"{name}""#).into_bytes();
    let written = || {
        let Some(file) = part.first_file() else { return vec![] };
        let lines = file.read(0, usize::MAX).unwrap();
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let actors = lines.map(|line| Line::read(line).unwrap().told().actor.to_owned());
        actors.collect::<Vec<_>>()
    };

    // Where the spool was, nothing can be made.
    fs::remove_dir(&place).unwrap();
    fs::write(&place, "").unwrap();
    let (one, two) = (part.queue(&moment, &about("one")), part.queue(&moment, &about("two")));
    assert!(part.write_later(&moment, &about("three")));
    assert!(part.settle(&one).is_err());
    assert!(part.settle(&two).is_err());
    fs::remove_file(&place).unwrap();
    assert!(part.settle(&two).is_err(), "it stays so");

    let (four, five) = (part.queue(&moment, &about("four")), part.queue(&moment, &about("five")));
    assert!(written().is_empty());
    part.settle(&five).unwrap();
    assert_eq!(written(), ["three", "four", "five"]);
    part.settle(&four).unwrap();
    assert_eq!(written().len(), 3);
    // Whoever waited and is gone is written all the same.
    drop(part.queue(&moment, &about("six")));
    part.flush().unwrap();
    assert_eq!(written()[3..], ["six"]);
}
