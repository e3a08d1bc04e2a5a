//! Whether the log is as Keyfold wrote it: every row, every chain, every head.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::chain::{Chain, is_same};
use super::event::Action;
use super::export::Heads;
use crate::error::Error;
use crate::storage::audit::{AuditRow, Writer, WriterCount};
use crate::storage::{self, Database, Row, StorageError};

/// A call that was opened so short a time ago may be under way.
const UNDER_WAY: SignedDuration = SignedDuration::from_mins(10);
/// Findings, and warnings, that are listed one by one; further ones are counted.
const MOST_LISTED: usize = 10_000;

/// What a verification came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rows that were looked at.
    pub events: u64,
    /// Chains that there are.
    pub writers: u64,
    /// What is not as Keyfold wrote it.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub unlisted_findings: u64,
    /// Keys that were opened for a call without an end.
    pub warnings: Vec<Warning>,
    /// Warnings beyond those.
    pub unlisted_warnings: u64,
    /// Too many calls begin in one chain and end in another one for all of them to be matched, so there are no
    /// warnings.
    pub calls_not_matched: bool,
}

/// Something that is not as Keyfold wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of edit it looks like.
    pub kind: FindingKind,
    /// The chain.
    pub writer: Option<i64>,
    /// The place in the chain, or the first of several.
    pub seq: Option<i64>,
    /// The row, if it is there.
    pub id: Option<i64>,
    /// Its time, if it is there.
    pub at: Option<Timestamp>,
    /// In words.
    pub what: String,
}

/// What kind of edit a finding looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// A row says something else than it was written with.
    Changed,
    /// Rows are gone from the middle or the beginning of a chain.
    Removed,
    /// Rows are gone from the end of a chain.
    CutOff,
    /// A row that the chain does not have.
    Added,
    /// A row stands at another place than it was written at.
    Moved,
    /// A row is there more than once.
    Duplicated,
    /// A head, or the count of chains, was changed or put back to an earlier one.
    Head,
    /// A whole chain is gone.
    WriterRemoved,
    /// A row cannot be read.
    Unreadable,
}

impl FindingKind {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::CutOff => "cut_off",
            Self::Added => "added",
            Self::Moved => "moved",
            Self::Duplicated => "duplicated",
            Self::Head => "head",
            Self::WriterRemoved => "writer_removed",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.kind.as_str())?;
        let mut place = vec![];
        place.extend(self.writer.map(|writer| format!("writer {writer}")));
        place.extend(self.seq.map(|seq| format!("seq {seq}")));
        place.extend(self.id.map(|id| format!("id {id}")));
        place.extend(self.at.map(|at| at.to_string()));
        if !place.is_empty() {
            write!(formatter, " ({})", place.join(", "))?;
        }
        write!(formatter, ": {}", self.what)
    }
}

/// A key that was opened for a call that has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The row.
    pub id: i64,
    /// When the key was opened.
    pub at: Timestamp,
    /// Whose key.
    pub user_id: Option<String>,
    /// At which provider.
    pub provider: Option<String>,
    /// The call.
    pub call_id: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "no end is recorded of the call {} (id {}, {}, {} key of {}): its process was killed, or it is under way",
            self.call_id,
            self.id,
            self.at,
            self.provider.as_deref().unwrap_or("a"),
            // An id may hold anything.
            self.user_id.as_deref().unwrap_or("nobody").escape_debug(),
        )
    }
}

impl Report {
    /// Whether nothing was found; warnings do not count.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// All of it, as one object.
    pub fn to_json(&self) -> String {
        let findings: Vec<_> = self.findings.iter().map(Finding::as_json).collect();
        let warnings: Vec<_> = self.warnings.iter().map(Warning::as_json).collect();
        json!({
            "ok": self.is_clean(),
            "events": self.events,
            "writers": self.writers,
            "findings": findings,
            "unlisted_findings": self.unlisted_findings,
            "warnings": warnings,
            "unlisted_warnings": self.unlisted_warnings,
            "calls_not_matched": self.calls_not_matched,
        })
        .to_string()
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < MOST_LISTED {
            self.findings.push(finding);
        } else {
            self.unlisted_findings += 1;
        }
    }

    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < MOST_LISTED {
            self.warnings.push(warning);
        } else {
            self.unlisted_warnings += 1;
        }
    }
}

impl Finding {
    fn as_json(&self) -> serde_json::Value {
        json!({
            "kind": self.kind.as_str(),
            "writer": self.writer,
            "seq": self.seq,
            "id": self.id,
            "at": self.at.map(|at| at.to_string()),
            "what": self.what,
        })
    }
}

impl Warning {
    fn as_json(&self) -> serde_json::Value {
        json!({
            "kind": "opened_without_end",
            "id": self.id,
            "at": self.at.to_string(),
            "user_id": self.user_id,
            "provider": self.provider,
            "call_id": self.call_id,
        })
    }
}

/// Reads the whole log, page by page, and checks it. `progress` hears how many rows were looked at.
pub(super) async fn verify(
    database: &Database,
    key: &Chain,
    now: Timestamp,
    exported: Option<&Heads>,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Report, Error> {
    let mut verification = Verification::begin(database, key, exported).await?;
    let mut place = FIRST_PLACE;
    let mut page = read_page(database.clone(), place).await?;
    loop {
        let next = page.next(place);
        // Read while this one is looked at.
        let reading = next.map(|next| tokio::spawn(read_page(database.clone(), next)));
        verification.take(page.rows).await?;
        progress(verification.report.events);
        let (Some(next), Some(reading)) = (next, reading) else { break };
        place = next;
        page =
            reading.await.map_err(|error| Error::Internal(format!("reading the audit log: {error}")))??;
    }
    verification.end(now).await
}

/// Rows that are read at once.
const PAGE: usize = 4000;
/// Before every row.
const FIRST_PLACE: (i64, i64) = (i64::MIN, i64::MIN);
/// Calls of which one half was seen; beyond that they are no longer matched, so that memory stays small.
const MOST_CALLS: usize = 200_000;
/// Hashes that the next row may go on from, when it is not clear which row before it is the right one.
const MOST_CANDIDATES: usize = 32;

/// A row of the table, readable or not.
enum Found {
    Row(Box<AuditRow>),
    Unreadable { writer: i64, seq: i64, id: Option<i64>, why: String },
}

impl Found {
    fn place(&self) -> (i64, i64) {
        match self {
            Self::Row(row) => (row.writer, row.seq),
            Self::Unreadable { writer, seq, .. } => (*writer, *seq),
        }
    }
}

/// Rows that stand together.
struct Page {
    rows: Vec<Found>,
    is_last: bool,
}

impl Page {
    /// Where the next one begins, if there is one. Rows at the same place belong together, so the last ones of a full
    /// page wait for the next.
    fn next(&mut self, begun_at: (i64, i64)) -> Option<(i64, i64)> {
        if self.is_last {
            return None;
        }
        let (writer, seq) = self.rows.last()?.place();
        if (writer, seq) == begun_at || self.rows.first().is_some_and(|first| first.place() == (writer, seq))
        {
            // More rows at one place than a page has: the rest of them is not looked at.
            return Some((writer, seq.saturating_add(1)));
        }
        let held = self.rows.iter().rev().take_while(|row| row.place() == (writer, seq)).count();
        self.rows.truncate(self.rows.len() - held);
        Some((writer, seq))
    }
}

async fn read_page(database: Database, place: (i64, i64)) -> Result<Page, Error> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    match storage::audit::chains(&database, place, limit).await {
        Ok(rows) => {
            let is_last = rows.len() < PAGE;
            Ok(Page { rows: rows.iter().filter_map(Found::read).collect(), is_last })
        }
        Err(StorageError::Unexpected(_)) => read_row_by_row(&database, place, limit).await,
        Err(error) => Err(error.into()),
    }
}

/// One of the rows is such that the database's driver does not give it out.
async fn read_row_by_row(database: &Database, place: (i64, i64), limit: i64) -> Result<Page, Error> {
    let places = storage::audit::places(database, place, limit).await?;
    let is_last = places.len() < PAGE;
    let mut rows = vec![];
    for (id, writer, seq) in places {
        match storage::audit::chains(database, (writer, seq), 1).await {
            Ok(found) => rows.extend(found.iter().filter_map(Found::read)),
            Err(StorageError::Unexpected(why)) => {
                rows.push(Found::Unreadable { writer, seq, id: Some(id), why });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Page { rows, is_last })
}

impl Found {
    fn id(&self) -> Option<i64> {
        match self {
            Self::Row(row) => Some(row.id),
            Self::Unreadable { id, .. } => *id,
        }
    }

    /// `None` for a row that has no place; those are told by themselves.
    fn read(row: &Row) -> Option<Self> {
        let (writer, seq) = (row.integer(8).ok()?, row.integer(9).ok()?);
        Some(match storage::audit::read_row(row) {
            Ok(row) => Self::Row(Box::new(row)),
            Err(error) => Self::Unreadable { writer, seq, id: row.integer(0).ok(), why: error.to_string() },
        })
    }
}

/// What goes on from row to row.
struct Verification<'a> {
    database: &'a Database,
    key: &'a Chain,
    /// As they were at the beginning.
    heads: BTreeMap<i64, Writer>,
    exported: BTreeMap<i64, &'a Writer>,
    chain: Option<Walk>,
    /// Chains below this one were looked at to their ends.
    ended_before: i64,
    calls: Calls,
    report: Report,
}

/// The chain that is being looked at.
struct Walk {
    writer: i64,
    /// `None` if the writer has none. It begins where the chain did when it was last asked.
    head: Option<Writer>,
    is_begun: bool,
    /// The first of the rows before the beginning that are being looked at. Retention removes the oldest ones first,
    /// so those that it has not come to join the beginning without a gap.
    left: Option<Finding>,
    /// The place of the next row.
    next: i64,
    /// What that row may go on from; empty: anything, since what came before is not there.
    candidates: Vec<String>,
    last_id: i64,
}

impl<'a> Verification<'a> {
    async fn begin(
        database: &'a Database,
        key: &'a Chain,
        exported: Option<&'a Heads>,
    ) -> Result<Self, Error> {
        // Writers may be made meanwhile, each with its head.
        let before = storage::audit::writer_count(database).await?;
        let mut this = Self {
            database,
            key,
            heads: storage::audit::writers(database).await?.into_iter().map(|head| (head.id, head)).collect(),
            exported: BTreeMap::new(),
            chain: None,
            ended_before: i64::MIN,
            calls: Calls::default(),
            report: Report::default(),
        };
        this.report.writers = this.heads.len() as u64;
        for id in storage::audit::out_of_place(database, 100).await? {
            let what = "the row was changed: its writer or place is no number".to_owned();
            let (kind, id) = (FindingKind::Unreadable, Some(id));
            this.report.find(Finding { kind, writer: None, seq: None, id, at: None, what });
        }
        this.check_heads();
        this.check_count(before, storage::audit::writer_count(database).await?);
        for head in exported.into_iter().flat_map(|heads| &heads.0) {
            this.check_exported(head);
        }
        Ok(this)
    }

    /// The heads by themselves: signatures, and whether one is missing.
    fn check_heads(&mut self) {
        let mut next = 1;
        for head in self.heads.values() {
            if head.id > next {
                for writer in next..head.id.min(next + 1000) {
                    self.report.find(of_writer(
                        FindingKind::WriterRemoved,
                        writer,
                        "this chain was removed: its head is gone",
                    ));
                }
            }
            next = head.id + 1;
            if !fits_head(self.key, head) {
                self.report.find(of_writer(
                    FindingKind::Head,
                    head.id,
                    "the head of this chain was changed: its signature does not fit",
                ));
            }
        }
    }

    /// The newest writers are missed by how many there were, before and after the heads were read.
    fn check_count(&mut self, before: Option<WriterCount>, after: Option<WriterCount>) {
        let fits = |count: &WriterCount| self.key.fits_count(count);
        let (Some(before), Some(after)) = (before.filter(fits), after.filter(fits)) else {
            self.report.find(of_log(
                FindingKind::Head,
                "the signed count of chains was changed or removed: it does not fit",
            ));
            return;
        };
        let last = self.heads.keys().next_back().copied().unwrap_or(0).max(0);
        if after.writers < last {
            let what = format!(
                "the signed count of chains was put back to an earlier one: it says {}, and there are {last}",
                after.writers
            );
            self.report.find(of_log(FindingKind::Head, what));
        }
        if before.writers > 0 && self.heads.is_empty() {
            let what = format!("the log was emptied: the heads of all {} chains are gone", before.writers);
            self.report.find(of_log(FindingKind::WriterRemoved, what));
            return;
        }
        for writer in (last..before.writers).take(1000).map(|before| before + 1) {
            let newest = if writer == before.writers { ", the newest," } else { "" };
            let what =
                format!("this chain{newest} was removed: the count of chains has it, and its head is gone");
            self.report.find(of_writer(FindingKind::WriterRemoved, writer, what));
        }
    }

    fn has_told_removal_of(&self, writer: i64) -> bool {
        let is_it =
            |known: &Finding| known.kind == FindingKind::WriterRemoved && known.writer == Some(writer);
        self.report.findings.iter().any(is_it)
    }

    /// A head of an earlier export, against the head of now.
    fn check_exported(&mut self, exported: &'a Writer) {
        let writer = exported.id;
        if !fits_head(self.key, exported) {
            self.report.find(of_writer(
                FindingKind::Head,
                writer,
                "the exported head of this chain was changed, or is of another database: its signature does not fit",
            ));
            return;
        }
        let Some(now) = self.heads.get(&writer) else {
            if !self.has_told_removal_of(writer) {
                self.report.find(of_writer(
                    FindingKind::WriterRemoved,
                    writer,
                    "this chain was removed: the exported heads have it",
                ));
            }
            return;
        };
        if now.last_seq < exported.last_seq {
            let what = format!(
                "the rows {}to {} were cut off together with the head: the exported heads have them",
                if now.last_seq + 1 == exported.last_seq {
                    String::new()
                } else {
                    format!("{} ", now.last_seq + 1)
                },
                exported.last_seq
            );
            let what = what.replace("the rows to", "the row");
            let seq = Some(now.last_seq + 1);
            self.report.find(Finding { seq, ..of_writer(FindingKind::CutOff, writer, what) });
        }
        self.exported.insert(writer, exported);
    }

    /// The next rows, in the order of their chains; rows at the same place are in one page.
    async fn take(&mut self, page: Vec<Found>) -> Result<(), Error> {
        let mut rows = page.into_iter().peekable();
        while let Some(first) = rows.next() {
            let place = first.place();
            let mut group = vec![first];
            while let Some(row) = rows.next_if(|row| row.place() == place) {
                group.push(row);
            }
            self.report.events += group.len() as u64;
            self.take_group(place, group).await?;
        }
        Ok(())
    }

    async fn take_group(&mut self, (writer, seq): (i64, i64), group: Vec<Found>) -> Result<(), Error> {
        let mut chain = match self.chain.take() {
            Some(chain) if chain.writer == writer => chain,
            other => {
                if let Some(other) = other {
                    self.end_chain(other).await?;
                }
                self.begin_chain(writer, &group).await?
            }
        };
        if seq < 1 {
            for row in &group {
                let what = "it stands before the first place of its chain: it was added";
                self.report.find(at_row(of_writer(FindingKind::Added, writer, what), row));
            }
        } else {
            self.reach(&mut chain, seq, &group[0]).await?;
            self.check_group(&mut chain, seq, group);
            chain.next = seq.saturating_add(1);
        }
        self.chain = Some(chain);
        Ok(())
    }

    async fn begin_chain(&mut self, writer: i64, group: &[Found]) -> Result<Walk, Error> {
        // Writers without any row come before it.
        self.end_chains_without_rows(Some(writer)).await?;
        self.ended_before = writer.saturating_add(1);
        let head = match self.heads.get(&writer) {
            Some(head) => Some(head.clone()),
            None => self.begun_since(writer).await?,
        };
        if head.is_none() {
            let finding = of_writer(
                FindingKind::WriterRemoved,
                writer,
                "there are rows of this chain, and its head is gone",
            );
            if !self.has_told_removal_of(writer) {
                self.report.find(at_row(finding, &group[0]));
            }
        }
        Ok(Walk::of(writer, head))
    }

    /// The head of a writer that began after the heads were read.
    async fn begun_since(&mut self, writer: i64) -> Result<Option<Writer>, Error> {
        if self.heads.keys().next_back().is_some_and(|last| *last > writer) {
            return Ok(None);
        }
        let head = storage::audit::writer(self.database, writer).await?;
        Ok(head.filter(|head| fits_head(self.key, head)))
    }

    /// Goes on to the row at `seq`: whether those before it are there.
    async fn reach(&mut self, chain: &mut Walk, seq: i64, row: &Found) -> Result<(), Error> {
        let is_begun = std::mem::replace(&mut chain.is_begun, true);
        let Some(mut first) = chain.head.as_ref().map(|head| head.first_seq) else {
            if !is_begun {
                // From wherever it begins.
                chain.begin_at(seq);
            } else if seq > chain.next {
                self.miss(chain, seq);
            }
            return Ok(());
        };
        if chain.left.is_some() && (seq > chain.next || seq == first) {
            self.end_left(chain).await?;
        } else if chain.left.is_some() {
            return Ok(());
        }
        if seq > chain.next {
            // Unless retention removed them meanwhile, somebody else did.
            let now = storage::audit::writer(self.database, chain.writer).await?;
            let begins_later = now.filter(|now| fits_head(self.key, now) && now.first_seq > chain.next);
            if let (Some(now), Some(head)) = (begins_later, &mut chain.head) {
                first = now.first_seq;
                chain.next = first;
                chain.candidates = vec![now.first_previous.clone()];
                (head.first_seq, head.first_previous) = (now.first_seq, now.first_previous);
            }
        }
        if seq < first {
            let what = "before the beginning of the chain, which it does not join: added, or put back after its removal";
            chain.left = Some(at_row(of_writer(FindingKind::Added, chain.writer, what), row));
            chain.begin_at(seq);
        } else if seq > chain.next {
            self.miss(chain, seq);
        }
        Ok(())
    }

    /// Rows are missing before `seq`.
    fn miss(&mut self, chain: &mut Walk, seq: i64) {
        let finding = of_writer(FindingKind::Removed, chain.writer, missing(chain.next, seq - 1, "removed"));
        self.report.find(Finding { seq: Some(chain.next), ..finding });
        chain.begin_at(seq);
    }

    /// The rows before the beginning are over: whether they join it. Goes on at the beginning.
    async fn end_left(&mut self, chain: &mut Walk) -> Result<(), Error> {
        let (Some(left), Some(head)) = (chain.left.take(), &chain.head) else { return Ok(()) };
        let last = chain.next - 1;
        let joins = |hash: &String| is_same(hash, &head.first_previous);
        let is_joined = chain.next == head.first_seq
            && (chain.candidates.is_empty() || chain.candidates.iter().any(joins));
        // Retention may have gone on meanwhile. What it has not come to is there still.
        if !is_joined && self.is_there((chain.writer, last)).await? {
            let rows = match left.seq {
                Some(from) if from < last => format!("the rows {from} to {last} stand "),
                _ => "the row stands ".to_owned(),
            };
            self.report.find(Finding { what: rows + &left.what, ..left });
            chain.last_id = i64::MIN;
        }
        chain.next = head.first_seq;
        chain.candidates = vec![head.first_previous.clone()];
        Ok(())
    }

    async fn is_there(&self, place: (i64, i64)) -> Result<bool, Error> {
        match storage::audit::chains(self.database, place, 1).await {
            Ok(rows) => Ok(rows.iter().filter_map(Found::read).any(|row| row.place() == place)),
            Err(StorageError::Unexpected(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The rows at one place: one of them should be the right one.
    fn check_group(&mut self, chain: &mut Walk, seq: i64, mut group: Vec<Found>) {
        // Of equal ones the first is the right one.
        group.sort_by_key(Found::id);
        let is_alone = group.len() == 1;
        let (mut right, mut candidates, mut last_id) = (None::<String>, vec![], chain.last_id);
        for found in group {
            let row = match found {
                Found::Row(row) => row,
                Found::Unreadable { id, why, .. } => {
                    let what = format!("the row was changed: it cannot be read ({why})");
                    let finding = of_writer(FindingKind::Unreadable, chain.writer, what);
                    self.report.find(Finding { seq: Some(seq), id, ..finding });
                    continue;
                }
            };
            let verdict = match (self.look_at(chain, &row), &right) {
                (None, None) => {
                    right = Some(row.hash.clone());
                    last_id = row.id;
                    None
                }
                (None, Some(_)) => Some((FindingKind::Duplicated, "the row is there twice".to_owned())),
                (Some((kind, what)), _) if is_alone => Some((kind, what.to_owned())),
                (Some((_, what)), _) => {
                    Some((FindingKind::Added, format!("another row stands at the same place; {what}")))
                }
            };
            self.check_against_known_heads(chain, &row);
            let Some((kind, what)) = verdict else {
                self.calls.note(&row);
                continue;
            };
            let (id, at) = (Some(row.id), Some(row.at));
            self.report.find(Finding { kind, writer: Some(row.writer), seq: Some(seq), id, at, what });
            // Whatever of the row was changed, the next one goes on from what its hash was.
            let as_said = AuditRow { content_hash: self.key.content_hash(&row), ..(*row).clone() };
            for previous in &chain.candidates {
                candidates.push(self.key.hash(&row, previous));
                candidates.push(self.key.hash(&as_said, previous));
            }
            if is_alone {
                last_id = row.id;
            }
            candidates.push(row.hash);
        }
        chain.last_id = last_id;
        match right {
            Some(right) => chain.candidates = vec![right],
            // After one that cannot be read, the next one may go on from anything.
            None if candidates.is_empty() => chain.candidates.clear(),
            None => {
                chain.candidates.append(&mut candidates);
                let surplus = chain.candidates.len().saturating_sub(MOST_CANDIDATES);
                chain.candidates.drain(..surplus);
            }
        }
    }

    /// What is wrong with a row: with what it says, or with where it stands.
    fn look_at(&self, chain: &Walk, row: &AuditRow) -> Option<(FindingKind, &'static str)> {
        let goes_on = |row: &AuditRow| {
            let from = |previous: &String| is_same(&self.key.hash(row, previous), &row.hash);
            chain.candidates.is_empty() || chain.candidates.iter().any(from)
        };
        match (says_what_was_written(self.key, row), goes_on(row)) {
            (true, true) if row.id <= chain.last_id => Some((
                FindingKind::Moved,
                "its id is not higher than that of the row before: one of the two was changed",
            )),
            (true, true) => None,
            (false, true) if row.erased.is_some() => Some((
                FindingKind::Changed,
                "it is marked as erased, and the mark, or what is left of the row, is not Keyfold's",
            )),
            // No row before it tells.
            (false, true) if chain.candidates.is_empty() => {
                Some((FindingKind::Changed, "what it says was changed, or it was copied or moved here"))
            }
            (false, true) => Some((FindingKind::Changed, "what it says was changed")),
            (true, false) => Some((
                FindingKind::Moved,
                "it does not go on from the row before: it was written at another place, or its hash was changed",
            )),
            (false, false) => {
                let as_said = AuditRow { content_hash: self.key.content_hash(row), ..row.clone() };
                Some(if goes_on(&as_said) {
                    (FindingKind::Changed, "the hash of what it says was changed")
                } else {
                    (
                        FindingKind::Added,
                        "neither what it says nor its place fits its hashes: it was added, copied or moved here, or changed with them",
                    )
                })
            }
        }
    }

    /// The heads of now and of an earlier export each name one row by its hash.
    fn check_against_known_heads(&mut self, chain: &Walk, row: &AuditRow) {
        let exported = self.exported.get(&chain.writer).copied();
        for (head, whose) in [(chain.head.as_ref(), "the head"), (exported, "the exported head")] {
            let Some(head) = head else { continue };
            if head.last_seq == row.seq && head.last_hash != row.hash {
                self.report.find(Finding {
                    kind: FindingKind::Head,
                    writer: Some(chain.writer),
                    seq: Some(row.seq),
                    id: Some(row.id),
                    at: Some(row.at),
                    what: format!("{whose} of this chain has another hash of this row"),
                });
            }
        }
    }

    /// Whether the rows go as far as the head says, and no further.
    async fn end_chain(&mut self, mut chain: Walk) -> Result<(), Error> {
        self.end_left(&mut chain).await?;
        let Some(head) = &chain.head else { return Ok(()) };
        let last = chain.next - 1;
        if last == head.last_seq {
            return Ok(());
        }
        // It may have gone on, or retention may have removed rows, while this was looked at.
        let now = storage::audit::writer(self.database, chain.writer).await?;
        let now = now.filter(|now| fits_head(self.key, now));
        if last < head.last_seq {
            let first_left = now.map_or(0, |now| now.first_seq);
            if first_left <= head.last_seq {
                let from = chain.next.max(first_left);
                let finding = of_writer(
                    FindingKind::CutOff,
                    chain.writer,
                    missing(from, head.last_seq, "cut off at the end"),
                );
                self.report.find(Finding { seq: Some(from), ..finding });
            }
        } else if now.is_none_or(|now| now.last_seq < last) {
            let finding = of_writer(
                FindingKind::Head,
                chain.writer,
                format!(
                    "the chain goes on to {last}, and its head says that it ends at {}: the head was put back to an earlier one, or rows were added",
                    head.last_seq
                ),
            );
            self.report.find(Finding { seq: Some(head.last_seq + 1), ..finding });
        }
        Ok(())
    }

    /// Chains that should have rows, and have none.
    async fn end_chains_without_rows(&mut self, until: Option<i64>) -> Result<(), Error> {
        let heads = self.heads.range(self.ended_before..).map(|(_, head)| head);
        let without: Vec<Writer> =
            heads.take_while(|head| until.is_none_or(|until| head.id < until)).cloned().collect();
        for head in without {
            self.end_chain(Walk::of(head.id, Some(head))).await?;
        }
        Ok(())
    }

    async fn end(mut self, now: Timestamp) -> Result<Report, Error> {
        if let Some(chain) = self.chain.take() {
            self.end_chain(chain).await?;
        }
        self.end_chains_without_rows(None).await?;
        let latest = now.checked_sub(UNDER_WAY).unwrap_or(now);
        self.report.calls_not_matched = self.calls.has_given_up;
        for warning in self.calls.without_end(latest) {
            self.report.warn(warning);
        }
        Ok(self.report)
    }
}

impl Walk {
    /// Goes on at `seq`, from whatever stands there.
    fn begin_at(&mut self, seq: i64) {
        self.next = seq;
        self.candidates.clear();
    }

    fn of(writer: i64, head: Option<Writer>) -> Self {
        let next = head.as_ref().map_or(1, |head| head.first_seq);
        let candidates = head.as_ref().map(|head| head.first_previous.clone()).into_iter().collect();
        Self { writer, head, is_begun: false, left: None, next, candidates, last_id: i64::MIN }
    }
}

/// Calls whose other half was not seen yet: of those that went well, few at a time.
#[derive(Default)]
struct Calls {
    opened: HashMap<String, Warning>,
    ended: HashSet<String>,
    has_given_up: bool,
}

impl Calls {
    fn note(&mut self, row: &AuditRow) {
        let Some(call_id) = &row.call_id else { return };
        if self.opened.len() + self.ended.len() >= MOST_CALLS {
            *self = Self { has_given_up: true, ..Self::default() };
        }
        if self.has_given_up {
            return;
        }
        if row.action == Action::KeyOpened.as_str() {
            if !self.ended.remove(call_id) {
                let warning = Warning {
                    id: row.id,
                    at: row.at,
                    user_id: row.user.clone(),
                    provider: row.provider.clone(),
                    call_id: call_id.clone(),
                };
                self.opened.insert(call_id.clone(), warning);
            }
        } else if row.action == Action::KeyEnded.as_str() && self.opened.remove(call_id).is_none() {
            self.ended.insert(call_id.clone());
        }
    }

    fn without_end(self, latest: Timestamp) -> Vec<Warning> {
        let mut left: Vec<Warning> = self.opened.into_values().filter(|open| open.at < latest).collect();
        left.sort_by_key(|open| (open.at, open.id));
        left
    }
}

/// Whether the place where a chain begins is the one that was signed.
pub(super) fn begins_as_signed(key: &Chain, head: &Writer) -> bool {
    is_same(&key.first_signature(head), &head.first_signature)
}

/// Both signatures of a head.
fn fits_head(key: &Chain, head: &Writer) -> bool {
    begins_as_signed(key, head) && is_same(&key.last_signature(head), &head.last_signature)
}

/// Whether a row says what it said when it was written, or what was left of it when it was erased.
pub(super) fn says_what_was_written(key: &Chain, row: &AuditRow) -> bool {
    match &row.erased {
        None => is_same(&key.content_hash(row), &row.content_hash),
        Some(erased) => is_same(&key.erased(row), erased),
    }
}

fn of_writer(kind: FindingKind, writer: i64, what: impl Into<String>) -> Finding {
    Finding { kind, writer: Some(writer), seq: None, id: None, at: None, what: what.into() }
}

fn of_log(kind: FindingKind, what: impl Into<String>) -> Finding {
    Finding { kind, writer: None, seq: None, id: None, at: None, what: what.into() }
}

fn at_row(finding: Finding, row: &Found) -> Finding {
    match row {
        Found::Row(row) => Finding { seq: Some(row.seq), id: Some(row.id), at: Some(row.at), ..finding },
        Found::Unreadable { seq, id, .. } => Finding { seq: Some(*seq), id: *id, ..finding },
    }
}

fn missing(from: i64, to: i64, how: &str) -> String {
    if from == to {
        format!("the row {from} was {how}")
    } else {
        format!("the rows {from} to {to} were {how}")
    }
}

#[cfg(test)]
mod tests;
