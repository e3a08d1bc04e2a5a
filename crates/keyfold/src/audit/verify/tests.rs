//! Every kind of edit to the tables, on both databases: each is found, and named, and nothing else is accused.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::audit::chain::NOTHING_BEFORE;
use crate::audit::export::AuditLog;
use crate::clock::ManualClock;
use crate::storage::audit::NewRows;
use crate::storage::{Connection, Transaction, statement};

/// What is found of an edit: kind, writer and place of each finding.
type Found<'a> = Vec<(&'a str, i64, Option<i64>)>;

const ROWS: i64 = 5;
const WRITERS: i64 = 3;
/// Another hash than any.
const NO_HASH: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

fn start() -> Timestamp {
    "2026-03-30T10:00:00.000001Z".parse().unwrap()
}

fn key() -> Chain {
    Chain::new(&[7; 32])
}

/// A log in a database of its own.
struct Log {
    database: Database,
    log: AuditLog,
}

impl Log {
    fn in_database(database: Database) -> Self {
        let hour_later = start() + SignedDuration::from_hours(1000);
        let clock = Arc::new(ManualClock::at(hour_later));
        Self { log: AuditLog::new(database.clone(), key(), clock), database }
    }

    /// Empties the tables and writes three chains, each of five rows.
    async fn write_anew(&self) {
        self.run("DELETE FROM audit_events").await;
        self.run("DELETE FROM audit_writers").await;
        self.count(WRITERS).await;
        storage::audit::make_partitions(&self.database, start()).await.unwrap();
        for writer in 1..=WRITERS {
            let mut head = Writer {
                id: writer,
                first_seq: 1,
                first_previous: NOTHING_BEFORE.into(),
                first_signature: String::new(),
                last_seq: 0,
                last_hash: NOTHING_BEFORE.into(),
                last_at: start(),
                spooled: 0,
                last_signature: String::new(),
            };
            head.first_signature = key().first_signature(&head);
            head.last_signature = key().last_signature(&head);
            storage::audit::insert_writer(&self.database, &head).await.unwrap();
            self.go_on(writer, ROWS).await;
        }
    }

    /// Signs how many writers there are.
    async fn count(&self, writers: i64) {
        self.run("DELETE FROM audit_writer_count").await;
        let count = WriterCount { writers, signature: key().count_signature(writers) };
        storage::audit::insert_writer_count(&self.database, &count).await.unwrap();
    }

    /// Lets a chain begin at this place, as retention does before it removes the rows before it.
    async fn move_beginning(&self, writer: i64, first_seq: i64) {
        let head = storage::audit::writer(&self.database, writer).await.unwrap().unwrap();
        let rows = storage::audit::chains(&self.database, (writer, first_seq - 1), 1).await.unwrap();
        let first_previous = storage::audit::read_row(&rows[0]).unwrap().hash;
        let mut moved = Writer { first_seq, first_previous, ..head.clone() };
        moved.first_signature = key().first_signature(&moved);
        assert!(storage::audit::move_beginning(&self.database, head.first_seq, &moved).await.unwrap());
    }

    /// Writes more rows, as the recording side does.
    async fn go_on(&self, writer: i64, rows: i64) {
        let mut head = storage::audit::writer(&self.database, writer).await.unwrap().unwrap();
        let transaction = self.database.begin().await.unwrap();
        for _ in 0..rows {
            let before = head.last_seq;
            let mut row = row(writer, before + 1);
            row.content_hash = key().content_hash(&row);
            row.hash = key().hash(&row, &head.last_hash);
            add(&transaction, std::slice::from_ref(&row)).await;
            (head.last_seq, head.last_at) = (row.seq, row.at);
            head.last_hash = row.hash;
            head.last_signature = key().last_signature(&head);
            storage::audit::advance(&transaction, before, &head).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }

    async fn run(&self, sql: &str) {
        let sql: &'static str = Box::leak(sql.to_owned().into_boxed_str());
        let done = self.database.execute(&statement(sql, &[]), vec![]).await;
        assert!(done.is_ok(), "{sql}: {done:?}");
    }

    async fn verify(&self) -> Report {
        self.log.verify(None, |_| ()).await.unwrap()
    }

    async fn verify_against(&self, heads: &Heads) -> Report {
        self.log.verify(Some(heads), |_| ()).await.unwrap()
    }

    /// Writes the log anew, edits it and verifies it.
    async fn edited(&self, edits: &[&str]) -> Report {
        self.write_anew().await;
        for edit in edits {
            self.run(edit).await;
        }
        self.verify().await
    }

    #[track_caller]
    fn is(report: &Report, expected: &Found<'_>, edit: &dyn fmt::Debug) {
        let found: Found<'_> = report
            .findings
            .iter()
            .map(|finding| (finding.kind.as_str(), finding.writer.unwrap_or(0), finding.seq))
            .collect();
        assert_eq!(&found, expected, "{edit:?}: {:#?}", report.findings);
    }

    async fn finds(&self, edits: &[&str], expected: &Found<'_>) {
        let report = self.edited(edits).await;
        Self::is(&report, expected, &edits);
    }
}

/// Puts a copy of a row at another place.
fn copy(id: &str, from: &str, writer: &str, seq: &str, user: &str) -> String {
    let id = if id.is_empty() { [String::new(), String::new()] } else { ["id, ".into(), format!("{id}, ")] };
    format!(
        "INSERT INTO audit_events ({}at, user_id, actor, action, provider, outcome, request_id, writer, seq, \
         key_version, fingerprint, call_id, purpose, provider_status, duration_ms, address, note, content_hash, \
         hash) SELECT {}at, {user}, actor, action, provider, outcome, request_id, {writer}, {seq}, key_version, \
         fingerprint, call_id, purpose, provider_status, duration_ms, address, note, content_hash, hash \
         FROM audit_events WHERE {from}",
        id[0], id[1]
    )
}

/// The `seq`-th row of a writer. Calls take two rows each, so the last one has no end.
fn row(writer: i64, seq: i64) -> AuditRow {
    let is_use = writer == 2;
    let action = match (is_use, seq % 2) {
        (false, _) => "key.saved",
        (true, 1) => "key.opened",
        (true, _) => "key.ended",
    };
    AuditRow {
        id: 0,
        // Writers 2 and 3 go on into the next month.
        at: start() + SignedDuration::from_hours(12 * writer * (seq - 1)) + SignedDuration::from_micros(seq),
        user: Some(if writer == 1 { "user_a" } else { "user_b" }.into()),
        actor: "user".into(),
        action: action.into(),
        provider: Some("gemini".into()),
        outcome: "ok".into(),
        request_id: Some(format!("request-{writer}-{seq}")),
        writer,
        seq,
        key_version: Some(1),
        fingerprint: Some("00112233445566778899aabbccddeeff".into()),
        call_id: is_use.then(|| format!("{:032x}", (seq + 1) / 2)),
        purpose: is_use.then(|| "generate".into()),
        provider_status: is_use.then_some(200),
        duration_ms: is_use.then_some(12),
        address: Some("192.0.2.1".into()),
        note: Some("a note".into()),
        content_hash: String::new(),
        hash: String::new(),
        erased: None,
    }
}

/// Adds rows that stand one after the other, and leaves the head.
async fn add(transaction: &Transaction, rows: &[AuditRow]) {
    let mut new = NewRows::after(rows[0].writer, rows[0].seq - 1, 1);
    for row in rows {
        new.push(&row.told(), &row.content_hash, &row.hash);
    }
    storage::audit::insert(transaction, &new).await.unwrap();
}

mod suite {
    use super::*;

    pub(super) async fn an_untouched_log_is_clean_and_a_call_without_end_is_a_warning(database: Database) {
        let log = Log::in_database(database);
        log.count(0).await;
        assert!(log.verify().await.is_clean(), "an empty one");
        log.write_anew().await;
        let mut told = vec![];
        let report = log.log.verify(None, |count| told.push(count)).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.events, report.writers, told.last()), (15, 3, Some(&15)));
        assert_eq!(report.warnings.len(), 1, "{report:?}");
        let warning = report.warnings[0].to_string();
        assert!(warning.contains("gemini key of user_b"), "{warning}");
        // A young one may be under way.
        let young = Log {
            log: AuditLog::new(
                log.database.clone(),
                key(),
                Arc::new(ManualClock::at(row(2, 5).at + SignedDuration::from_mins(9))),
            ),
            database: log.database.clone(),
        };
        assert!(young.verify().await.warnings.is_empty());
    }

    pub(super) async fn a_change_of_any_column_is_found_and_only_that_row_is_named(database: Database) {
        let log = Log::in_database(database);
        for set in [
            "at = '2026-03-30 11:00:00.000002'",
            // Into another month, and into one without a partition.
            "at = '2026-05-01 00:00:00'",
            "at = '2020-01-01 00:00:00'",
            "user_id = 'user_x'",
            "user_id = NULL",
            "actor = 'operator'",
            "action = 'key.deleted'",
            "provider = 'exa'",
            "provider = NULL",
            "outcome = 'failed'",
            "request_id = 'other'",
            "request_id = NULL",
            "key_version = 2",
            "key_version = NULL",
            "fingerprint = '00112233445566778899aabbccddeef0'",
            "call_id = '000000000000000000000000000000ff'",
            "purpose = 'gateway'",
            "provider_status = 500",
            "duration_ms = 13",
            "address = '192.0.2.2'",
            "address = NULL",
            "note = ''",
            "note = NULL",
            "note = 'a', request_id = 'note'",
            "content_hash = ''",
            &format!("content_hash = '{NO_HASH}'"),
            &format!("erased = '{NO_HASH}'"),
            &format!("user_id = NULL, request_id = NULL, address = NULL, note = NULL, erased = '{NO_HASH}'"),
            "erased = ''",
            "erased = content_hash",
            "erased = hash",
        ] {
            for seq in [1, 3, ROWS] {
                let edit = format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = {seq}");
                log.finds(&[&edit], &vec![("changed", 2, Some(seq))]).await;
            }
        }
        for set in ["hash = ''", &format!("hash = '{NO_HASH}'"), "hash = content_hash"] {
            for seq in [1, 3] {
                let edit = format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = {seq}");
                log.finds(&[&edit], &vec![("moved", 2, Some(seq))]).await;
            }
            // The last row is the one that the head has.
            let edit = format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = 5");
            log.finds(&[&edit], &vec![("head", 2, Some(5)), ("moved", 2, Some(5))]).await;
        }
    }

    pub(super) async fn the_row_that_was_changed_is_named_with_id_and_time(database: Database) {
        let log = Log::in_database(database);
        let edit = "UPDATE audit_events SET user_id = 'user_x' WHERE writer = 3 AND seq = 2";
        let report = log.edited(&[edit]).await;
        let entries = log.log.latest(None, 100).await.unwrap();
        let id = entries.iter().find(|entry| (entry.writer, entry.seq) == (3, 2)).unwrap().id;
        let finding = &report.findings[0];
        assert_eq!((finding.id, finding.at), (Some(id), Some(row(3, 2).at)));
        assert_eq!(
            finding.to_string(),
            format!(
                "changed (writer 3, seq 2, id {id}, 2026-03-31T22:00:00.000003Z): what it says was changed"
            )
        );
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!((&json["ok"], &json["findings"][0]["id"]), (&false.into(), &id.into()));
    }

    pub(super) async fn a_row_at_another_place_is_found(database: Database) {
        let log = Log::in_database(database);
        let row = "WHERE writer = 2 AND seq = 3";
        let gone = ("removed", 2, Some(3));
        for (edit, expected) in [
            // Into a chain that there is not.
            (
                format!("UPDATE audit_events SET writer = 9 {row}"),
                vec![gone, ("writer_removed", 9, Some(3)), ("changed", 9, Some(3))],
            ),
            // Behind the end of another one, and of its own.
            (
                format!("UPDATE audit_events SET writer = 3, seq = 6 {row}"),
                vec![gone, ("added", 3, Some(6)), ("head", 3, Some(6))],
            ),
            (
                format!("UPDATE audit_events SET seq = 6 {row}"),
                vec![gone, ("added", 2, Some(6)), ("head", 2, Some(6))],
            ),
            // An id says in which order rows came.
            (format!("UPDATE audit_events SET id = -3 {row}"), vec![("moved", 2, Some(3))]),
        ] {
            log.finds(&[&edit], &expected).await;
        }
        for seq in [0, -1] {
            let edit = format!("UPDATE audit_events SET seq = {seq} {row}");
            log.finds(&[&edit], &vec![("added", 2, Some(seq)), gone]).await;
        }
        let swap = |one: i64, other: i64| {
            [(one, -9), (other, one), (-9, other)].map(|(from, to)| {
                format!("UPDATE audit_events SET seq = {to} WHERE writer = 2 AND seq = {from}")
            })
        };
        let edits = swap(3, 4);
        let edits: Vec<&str> = edits.iter().map(String::as_str).collect();
        log.finds(&edits, &vec![("added", 2, Some(3)), ("added", 2, Some(4))]).await;
        // All that they say changes places, and the rows stay where they are: their hashes do too.
        let report = log.edited(&swap(2, 4).iter().map(String::as_str).collect::<Vec<_>>()).await;
        let named: Vec<_> = report.findings.iter().map(|finding| finding.seq).collect();
        assert!(named.contains(&Some(2)) && named.contains(&Some(4)), "{report:?}");
    }

    pub(super) async fn rows_that_are_gone_are_found(database: Database) {
        let log = Log::in_database(database);
        for (which, expected) in [
            ("writer = 2 AND seq = 1", vec![("removed", 2, Some(1))]),
            ("writer = 2 AND seq = 3", vec![("removed", 2, Some(3))]),
            ("writer = 2 AND seq IN (2, 4)", vec![("removed", 2, Some(2)), ("removed", 2, Some(4))]),
            ("writer = 2 AND seq < 4", vec![("removed", 2, Some(1))]),
            ("writer = 2 AND seq = 5", vec![("cut_off", 2, Some(5))]),
            ("writer = 2 AND seq > 2", vec![("cut_off", 2, Some(3))]),
            ("writer = 1", vec![("cut_off", 1, Some(1))]),
            ("writer = 3", vec![("cut_off", 3, Some(1))]),
            ("user_id = 'user_b'", vec![("cut_off", 2, Some(1)), ("cut_off", 3, Some(1))]),
            ("1 = 1", vec![("cut_off", 1, Some(1)), ("cut_off", 2, Some(1)), ("cut_off", 3, Some(1))]),
        ] {
            log.finds(&[&format!("DELETE FROM audit_events WHERE {which}")], &expected).await;
        }
        // Closing the gap does not help.
        log.finds(
            &[
                "DELETE FROM audit_events WHERE writer = 2 AND seq = 3",
                "UPDATE audit_events SET seq = 3 WHERE writer = 2 AND seq = 4",
                "UPDATE audit_events SET seq = 4 WHERE writer = 2 AND seq = 5",
            ],
            &vec![("added", 2, Some(3)), ("added", 2, Some(4)), ("cut_off", 2, Some(5))],
        )
        .await;
        let report = log.edited(&["DELETE FROM audit_events WHERE writer = 2 AND seq IN (2, 3)"]).await;
        assert!(report.findings[0].to_string().contains("the rows 2 to 3 were removed"), "{report:?}");
    }

    pub(super) async fn rows_that_were_added_are_found(database: Database) {
        let log = Log::in_database(database);
        let copy = |from: &str, writer: &str, seq: &str, user: &str| copy("", from, writer, seq, user);
        let behind = ("head", 2, Some(6));
        for (edit, expected) in [
            // A made-up one, one of its own chain, one of another chain.
            (copy("writer = 2 AND seq = 5", "2", "6", "'user_x'"), vec![("added", 2, Some(6)), behind]),
            (copy("writer = 2 AND seq = 5", "2", "6", "user_id"), vec![("added", 2, Some(6)), behind]),
            (copy("writer = 1 AND seq = 3", "2", "6", "user_id"), vec![("added", 2, Some(6)), behind]),
            // In a chain that there is not.
            (
                copy("writer = 1 AND seq = 1", "4", "1", "user_id"),
                vec![("writer_removed", 4, Some(1)), ("changed", 4, Some(1))],
            ),
        ] {
            let report = log.edited(&[&edit]).await;
            let found: Found<'_> = report
                .findings
                .iter()
                .map(|finding| (finding.kind.as_str(), finding.writer.unwrap_or(0), finding.seq))
                .collect();
            for each in &expected[..1] {
                assert!(found.contains(each), "{edit}: {:#?}", report.findings);
            }
            assert!(found.iter().all(|each| expected.contains(each)), "{edit}: {:#?}", report.findings);
        }
        // SQLite has one row per place.
        if matches!(log.database, Database::Postgres(_)) {
            log.finds(
                &[&copy("writer = 2 AND seq = 3", "writer", "seq", "user_id")],
                &vec![("duplicated", 2, Some(3))],
            )
            .await;
            log.finds(
                &[&copy("writer = 2 AND seq = 3", "writer", "seq", "'user_x'")],
                &vec![("added", 2, Some(3))],
            )
            .await;
            log.finds(
                &[&copy("writer = 1 AND seq = 3", "2", "seq", "user_id")],
                &vec![("added", 2, Some(3))],
            )
            .await;
        }
    }

    pub(super) async fn heads_that_were_edited_are_found(database: Database) {
        let log = Log::in_database(database);
        for set in [
            "first_seq = 0".to_owned(),
            format!("first_previous = '{NO_HASH}'"),
            format!("first_signature = '{NO_HASH}'"),
            "last_seq = 4".to_owned(),
            "last_seq = 6".to_owned(),
            format!("last_hash = '{NO_HASH}'"),
            "last_at = '2020-01-01 00:00:00'".to_owned(),
            "spooled = 1".to_owned(),
            format!("last_signature = '{NO_HASH}'"),
        ] {
            let report = log.edited(&[&format!("UPDATE audit_writers SET {set} WHERE id = 2")]).await;
            let finding = &report.findings[0];
            assert_eq!((finding.kind, finding.writer), (FindingKind::Head, Some(2)), "{set}: {report:#?}");
        }
        // What retention does, by hand.
        let report = log
            .edited(&[
                "DELETE FROM audit_events WHERE writer = 2 AND seq < 3",
                "UPDATE audit_writers SET first_seq = 3, \
                 first_previous = (SELECT hash FROM audit_events WHERE writer = 2 AND seq = 3) WHERE id = 2",
            ])
            .await;
        assert_eq!(report.findings[0].kind, FindingKind::Head, "{report:#?}");
        // A head of another chain.
        let report = log
            .edited(&[
                "DELETE FROM audit_writers WHERE id = 2",
                "UPDATE audit_writers SET id = 2 WHERE id = 3",
            ])
            .await;
        assert_eq!((report.findings[0].kind, report.findings[0].writer), (FindingKind::Head, Some(2)));
    }

    pub(super) async fn chains_that_are_gone_are_found(database: Database) {
        let log = Log::in_database(database);
        log.finds(&["DELETE FROM audit_writers WHERE id = 2"], &vec![("writer_removed", 2, None)]).await;
        for writer in [1, 2] {
            let rows = format!("DELETE FROM audit_events WHERE writer = {writer}");
            let head = format!("DELETE FROM audit_writers WHERE id = {writer}");
            log.finds(&[&rows, &head], &vec![("writer_removed", writer, None)]).await;
        }
        log.finds(&["DELETE FROM audit_writers WHERE id = 3"], &vec![("writer_removed", 3, None)]).await;
    }

    pub(super) async fn the_newest_chains_are_missed_and_all_of_them(database: Database) {
        let log = Log::in_database(database);
        let from = |writer: i64| {
            [
                format!("DELETE FROM audit_events WHERE writer >= {writer}"),
                format!("DELETE FROM audit_writers WHERE id >= {writer}"),
            ]
        };
        let [rows, heads] = from(3);
        let report = log.edited(&[&rows, &heads]).await;
        Log::is(&report, &vec![("writer_removed", 3, None)], &"the newest");
        assert!(report.findings[0].to_string().contains("this chain, the newest, was removed"), "{report:?}");
        let [rows, heads] = from(2);
        log.finds(&[&rows, &heads], &vec![("writer_removed", 2, None), ("writer_removed", 3, None)]).await;
        let [rows, heads] = from(1);
        let report = log.edited(&[&rows, &heads]).await;
        Log::is(&report, &vec![("writer_removed", 0, None)], &"all");
        assert_eq!(
            report.findings[0].to_string(),
            "writer_removed: the log was emptied: the heads of all 3 chains are gone"
        );
        // The rows alone, without any head.
        let report = log.edited(&[&heads]).await;
        let named: Vec<_> = report.findings.iter().map(|finding| finding.writer).collect();
        assert_eq!(named, [None, Some(1), Some(2), Some(3)], "{report:#?}");

        // The count itself, with and without the rest.
        for edit in [
            "UPDATE audit_writer_count SET writers = 2",
            "UPDATE audit_writer_count SET writers = 4",
            &format!("UPDATE audit_writer_count SET signature = '{NO_HASH}'"),
            "DELETE FROM audit_writer_count",
        ] {
            log.finds(&[edit], &vec![("head", 0, None)]).await;
            log.finds(&[&rows, &heads, edit], &vec![("head", 0, None)]).await;
        }
        // An earlier one of Keyfold's own.
        log.write_anew().await;
        log.count(2).await;
        Log::is(&log.verify().await, &vec![("head", 0, None)], &"put back");
    }

    pub(super) async fn what_stands_before_the_beginning_of_a_chain_is_found(database: Database) {
        let log = Log::in_database(database);
        let sources = ["writer = 1 AND seq = 2", "writer = 2 AND seq = 5", "writer = 3 AND seq = 4"];
        // Nothing stands before the first place.
        for from in sources {
            for (id, seq) in [("-100", -5), ("-100", 0), ("", -5), ("", 0), ("-100", i64::MIN + 1)] {
                let edit = copy(id, from, "2", &seq.to_string(), "user_id");
                log.finds(&[&edit], &vec![("added", 2, Some(seq))]).await;
            }
        }
        // What retention removed is not there: not a copy, and not what was there either if it does not join.
        for first in [2, 4, ROWS + 1] {
            for from in sources {
                for (id, seq) in [("-100", -5), ("-100", 1), ("", 1), ("-100", first - 1), ("", first - 1)] {
                    if from == format!("writer = 2 AND seq = {seq}") {
                        // The row itself, which joins the beginning.
                        continue;
                    }
                    log.write_anew().await;
                    log.run("CREATE TABLE kept AS SELECT * FROM audit_events").await;
                    log.move_beginning(2, first).await;
                    log.run(&format!("DELETE FROM audit_events WHERE writer = 2 AND seq < {first}")).await;
                    Log::is(&log.verify().await, &vec![], &"retention");
                    let edit = copy(id, from, "2", &seq.to_string(), "user_id")
                        .replace("audit_events WHERE", "kept WHERE");
                    log.run(&edit).await;
                    let report = log.verify().await;
                    let it = report.findings.iter().find(|finding| finding.kind == FindingKind::Added);
                    assert!(it.is_some(), "{first} {edit}: {report:#?}");
                    for finding in &report.findings {
                        assert_eq!(
                            (finding.writer, finding.seq),
                            (Some(2), Some(seq)),
                            "{edit}: {report:#?}"
                        );
                    }
                    // With the hash that the beginning has of the row before it.
                    log.run(&format!(
                        "UPDATE audit_events SET hash = (SELECT first_previous FROM audit_writers WHERE id = 2) \
                         WHERE writer = 2 AND seq = {seq}"
                    ))
                    .await;
                    let found = log.verify().await.findings;
                    assert!(
                        found.iter().any(|finding| finding.seq == Some(seq)),
                        "{first} {edit}: {found:#?}"
                    );
                    log.run("DROP TABLE kept").await;
                }
            }
        }
        // What is left when retention is cut off joins the beginning, and nothing else does.
        for removed in ["seq < 1", "seq = 1", "seq < 3", "seq < 4"] {
            log.write_anew().await;
            log.move_beginning(2, 4).await;
            log.run(&format!("DELETE FROM audit_events WHERE writer = 2 AND {removed}")).await;
            Log::is(&log.verify().await, &vec![], &removed);
        }
        for (beginning, removed, firsts) in [
            (4, "seq = 2", &[1][..]),
            (4, "seq = 3", &[1]),
            (4, "seq IN (1, 3)", &[2]),
            (4, "seq IN (2, 3)", &[1]),
            (ROWS + 1, "seq = 5", &[1]),
            (ROWS + 1, "seq IN (2, 4, 5)", &[1, 3]),
            (ROWS + 1, "seq > 1", &[1]),
        ] {
            log.write_anew().await;
            log.move_beginning(2, beginning).await;
            log.run(&format!("DELETE FROM audit_events WHERE writer = 2 AND {removed}")).await;
            let expected = firsts.iter().map(|first| ("added", 2, Some(*first))).collect();
            Log::is(&log.verify().await, &expected, &removed);
        }
        // The beginning itself is still missed.
        log.write_anew().await;
        log.move_beginning(2, 4).await;
        log.run("DELETE FROM audit_events WHERE writer = 2 AND seq = 4").await;
        Log::is(&log.verify().await, &vec![("removed", 2, Some(4))], &"the first that is kept");
    }

    pub(super) async fn what_was_cut_off_with_its_head_is_found_against_exported_heads(database: Database) {
        let log = Log::in_database(database);
        // The last chain, altogether.
        log.write_anew().await;
        let exported = Heads::from_json(&log.log.heads().await.unwrap().to_json()).unwrap();
        assert!(log.verify_against(&exported).await.is_clean());
        log.run("DELETE FROM audit_events WHERE writer = 3").await;
        log.run("DELETE FROM audit_writers WHERE id = 3").await;
        log.count(2).await;
        assert!(log.verify().await.is_clean(), "nothing in the database says that there was more");
        Log::is(&log.verify_against(&exported).await, &vec![("writer_removed", 3, None)], &"the last chain");

        // The last rows, with the head as it was before them.
        log.write_anew().await;
        log.run("CREATE TABLE earlier AS SELECT * FROM audit_writers").await;
        log.go_on(2, 3).await;
        let exported = log.log.heads().await.unwrap();
        log.run("DELETE FROM audit_events WHERE writer = 2 AND seq > 5").await;
        let put_back = "UPDATE audit_writers SET last_seq = 5, \
             last_hash = (SELECT last_hash FROM earlier WHERE id = 2), \
             last_at = (SELECT last_at FROM earlier WHERE id = 2), \
             last_signature = (SELECT last_signature FROM earlier WHERE id = 2) WHERE id = 2";
        log.run(put_back).await;
        assert!(log.verify().await.is_clean(), "an earlier state of all of it");
        let report = log.verify_against(&exported).await;
        Log::is(&report, &vec![("cut_off", 2, Some(6))], &"rows and head");
        assert!(report.findings[0].what.contains("the rows 6 to 8 were cut off together"), "{report:?}");

        // The head alone.
        log.write_anew().await;
        log.go_on(2, 3).await;
        log.run(put_back).await;
        log.run("DROP TABLE earlier").await;
        let report = log.verify().await;
        assert_eq!(
            (report.findings[0].kind, report.findings[0].seq),
            (FindingKind::Head, Some(6)),
            "{report:?}"
        );

        // What goes on after an export is no finding, and a forged export is.
        log.write_anew().await;
        let exported = log.log.heads().await.unwrap();
        log.go_on(2, 2).await;
        assert!(log.verify_against(&exported).await.is_clean());
        let forged = exported.to_json().replacen("\"last_seq\":5", "\"last_seq\":4", 1);
        let report = log.verify_against(&Heads::from_json(&forged).unwrap()).await;
        assert!(report.findings[0].what.contains("exported head"), "{report:?}");
    }

    pub(super) async fn another_audit_key_fits_nothing(database: Database) {
        let log = Log::in_database(database);
        log.write_anew().await;
        let clock = Arc::new(ManualClock::at(start()));
        let other = AuditLog::new(log.database.clone(), Chain::new(&[8; 32]), clock);
        let report = other.verify(None, |_| ()).await.unwrap();
        assert_eq!(report.findings.len(), 19, "a count, three heads and fifteen rows: {report:#?}");
    }

    pub(super) async fn a_log_of_many_pages_is_read_to_its_end(database: Database) {
        let log = Log::in_database(database);
        log.write_anew().await;
        let mut head = storage::audit::writer(&log.database, 2).await.unwrap().unwrap();
        let before = head.last_seq;
        let mut rows = vec![];
        for seq in ROWS + 1..=9500 {
            let mut row = AuditRow { at: start() + SignedDuration::from_hours(200), ..row(2, seq) };
            row.content_hash = key().content_hash(&row);
            row.hash = key().hash(&row, &head.last_hash);
            head.last_hash.clone_from(&row.hash);
            rows.push(row);
        }
        let transaction = log.database.begin().await.unwrap();
        add(&transaction, &rows).await;
        transaction.commit().await.unwrap();
        (head.last_seq, head.last_at) = (9500, rows[0].at);
        head.last_signature = key().last_signature(&head);
        storage::audit::advance(&log.database, before, &head).await.unwrap();
        let report = log.verify().await;
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!((report.events, report.warnings.len()), (9510, 0));
        log.run(
            "UPDATE audit_events SET outcome = 'failed' WHERE writer = 2 AND seq IN (3995, 3996, 8000, 9500)",
        )
        .await;
        log.run("DELETE FROM audit_events WHERE writer = 2 AND seq BETWEEN 4000 AND 4002").await;
        let report = log.verify().await;
        let found: Vec<_> = report.findings.iter().filter_map(|finding| finding.seq).collect();
        assert_eq!(found, [3995, 3996, 4000, 8000, 9500]);
    }
}

/// Runs these tests on a database that `$empty` makes and keeps until the test is over.
macro_rules! on {
    ($empty:ident: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let (database, _kept) = $empty().await;
                super::suite::$test(database).await;
            }
        )*
    };
}

macro_rules! suite {
    ($empty:ident) => {
        on! { $empty:
            an_untouched_log_is_clean_and_a_call_without_end_is_a_warning
            a_change_of_any_column_is_found_and_only_that_row_is_named
            the_row_that_was_changed_is_named_with_id_and_time
            a_row_at_another_place_is_found
            rows_that_are_gone_are_found
            rows_that_were_added_are_found
            heads_that_were_edited_are_found
            chains_that_are_gone_are_found
            the_newest_chains_are_missed_and_all_of_them
            what_stands_before_the_beginning_of_a_chain_is_found
            what_was_cut_off_with_its_head_is_found_against_exported_heads
            another_audit_key_fits_nothing
            a_log_of_many_pages_is_read_to_its_end
        }
    };
}

mod postgres {
    use super::*;
    use keyfold_test_servers::PostgresServer;

    async fn empty() -> (Database, ()) {
        let address = PostgresServer::shared().empty_database().await.parse().unwrap();
        (Database::open_postgres(&address).await.unwrap(), ())
    }

    suite!(empty);
}

mod sqlite {
    use super::*;

    async fn empty() -> (Database, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfold.db");
        (Database::open_sqlite(path, Duration::from_secs(3)).await.unwrap(), folder)
    }

    suite!(empty);

    /// SQLite's columns take anything.
    #[tokio::test]
    async fn values_of_the_wrong_kind_are_found() {
        let (database, _folder) = empty().await;
        let log = Log::in_database(database);
        for set in ["at = 'yesterday'", "at = 7", "user_id = x'00ff'", "key_version = 'one'", "hash = x'00'"]
        {
            let edit = format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = 3");
            log.finds(&[&edit], &vec![("unreadable", 2, Some(3))]).await;
        }
        for set in ["seq = 'three'", "seq = 2.5", "writer = 'two'", "writer = x'02'"] {
            let edit = format!("UPDATE audit_events SET {set} WHERE writer = 2 AND seq = 3");
            log.finds(&[&edit], &vec![("unreadable", 0, None), ("removed", 2, Some(3))]).await;
        }
    }
}
