//! The audit log: what was done with keys, by whom, and what came of it.
//!
//! Management events are committed with what they tell of; the use of a key is recorded before the provider is
//! called. What cannot be recorded is not done.
//!
//! A use is a line in the spool (`spool.rs`) first, which costs a microsecond, and goes to the database in batches
//! (`shipping.rs`). Where there is no spool, or it cannot be written, each use is committed by itself ("strict"). Rows
//! of one writer are a chain (`chain.rs`): each process has a few, one for each part of its spool and one for each commit
//! of management events that is under way at once (`writers.rs`).

mod blocking;
mod chain;
mod event;
mod export;
mod record;
mod refusals;
mod retention;
mod shipping;
mod sinks;
mod spool;
#[cfg(test)]
mod tests;
mod verify;
mod writers;

pub use event::{Action, CallId, Event, Fingerprint, Outcome, Purpose};
pub use export::{
    ActionFilter, AuditLog, CSV_HEADING, Entry, EntryFilter, EntryPage, Follower, Heads, Place, Selection,
};
pub use verify::{Finding, FindingKind, Report, Warning};

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::{Clock, Random, random_bytes};
use crate::envelope::MasterKeyRing;
use crate::error::Error;
use crate::figures::AuditFigures;
use crate::limit::Class;
use crate::requester::Requester;
use crate::root_keys::{self, RootKey};
use crate::secret::ApiKey;
use crate::settings::{AuditSettings, DatabaseSetting, Durability};
use crate::state_dir::StateDir;
use crate::storage::audit::{AuditRow, append_in};
use crate::storage::{Database, StorageError, Transaction};
use crate::turns;
use crate::user::UserId;
use blocking::Blocking;
use chain::{Addition, Chain};
use record::{Line, Moment, about};
use refusals::Refusals;
use shipping::Shipper;
use sinks::Sinks;
use spool::Spool;
use writers::{Lanes, begin_count, new_writer};

/// The names of this module's values in `root_secrets`.
pub(crate) const ROOT_SECRETS: [&str; 2] = ["audit_key", "fingerprint_key"];
/// The spool's folder in the state directory.
const SPOOL_FOLDER: &str = "spool";
/// Ends of uses that wait in memory for the database, where there is no spool.
const MOST_LATE: usize = 100_000;
/// How many of them are committed together.
const LATE_AT_ONCE: usize = 1000;
/// How long the end waits for the last shipping, which has a shorter limit of its own.
const LAST_WAIT: Duration = Duration::from_secs(8);

/// Records what is done with keys. One per process.
pub(crate) struct Audit {
    shared: Arc<Shared>,
    /// Ends the shipper when dropped.
    stop: watch::Sender<bool>,
    shipper: Mutex<Option<JoinHandle<()>>>,
}

/// What recording, shipping and the ends of uses share.
struct Shared {
    database: Database,
    clock: Arc<dyn Clock>,
    chain: Chain,
    fingerprint_key: hmac::Key,
    lanes: Lanes,
    blocking: Blocking,
    spool: Option<Spool>,
    spool_is_failing: AtomicBool,
    /// Lines of what nobody waits for and no spool takes.
    late: Mutex<VecDeque<Vec<u8>>>,
    refusals: Refusals,
    sinks: Sinks,
    /// There is something to ship.
    wake: Notify,
    /// The shipper was told so, and has not looked since.
    is_awake: AtomicBool,
    figures: AuditFigures,
    /// Random, and different in each process: the beginning of its call ids.
    calls_of: [u8; 8],
    calls: AtomicU64,
}

/// What an [`Audit`] is made of.
pub(crate) struct AuditParts<'a> {
    pub(crate) database: &'a Database,
    pub(crate) ring: &'a MasterKeyRing,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) random: &'a Arc<dyn Random>,
    /// The database once more, for a connection of its own.
    pub(crate) setting: &'a DatabaseSetting,
    pub(crate) settings: &'a AuditSettings,
    pub(crate) state_dir: &'a Path,
}

impl Audit {
    /// Reads or makes the keys of the log, and begins to ship what is spooled.
    pub(crate) async fn open(parts: AuditParts<'_>) -> Result<Self, Error> {
        let AuditParts { database, ring, clock, random, setting, settings, state_dir } = parts;
        let [audit_key, fingerprint_key] = ROOT_SECRETS;
        let chain = Chain::new(&*log_key(database, ring, &**random, audit_key).await?);
        let fingerprint_key = log_key(database, ring, &**random, fingerprint_key).await?;
        let spool = match settings.durability {
            Some(Durability::Strict) => None,
            wanted => {
                let place = state_dir.join(SPOOL_FOLDER);
                let made = StateDir::prepare(state_dir).map_err(|error| error.to_string()).and_then(|_| {
                    Spool::new(place, chain.database_tag(), Arc::clone(random))
                        .map_err(|error| format!("{}: {error}", state_dir.display()))
                });
                match (made, wanted) {
                    (Ok(spool), _) => Some(spool),
                    (Err(why), Some(Durability::Spool)) => {
                        return Err(Error::StateDirectory(format!(
                            "KEYFOLD_AUDIT_DURABILITY is `spool`, and the state directory cannot be used: {why} Make it writable, or leave the setting out: then each use of a key is committed to the database."
                        )));
                    }
                    (Err(why), _) => {
                        tracing::warn!(
                            why,
                            "the state directory cannot be written, so each use of a key is committed to the database before it (strict); set KEYFOLD_AUDIT_DURABILITY=strict if that is what you want"
                        );
                        None
                    }
                }
            }
        };
        let shared = Arc::new(Shared {
            database: database.clone(),
            clock: Arc::clone(clock),
            chain,
            fingerprint_key: hmac::Key::new(hmac::HMAC_SHA256, fingerprint_key.as_slice()),
            lanes: Lanes::default(),
            blocking: Blocking::new(setting.clone()),
            spool,
            spool_is_failing: AtomicBool::new(false),
            late: Mutex::default(),
            refusals: Refusals::default(),
            sinks: Sinks::open(&settings.sinks),
            wake: Notify::new(),
            is_awake: AtomicBool::new(false),
            figures: AuditFigures::default(),
            calls_of: random_bytes(&**random)?,
            calls: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let shipper = tokio::spawn(Shipper::new(Arc::clone(&shared)).run(stopped));
        Ok(Self { shared, stop, shipper: Mutex::new(Some(shipper)) })
    }

    /// Commits `transaction` together with `events`: both are there afterwards, or neither.
    pub(crate) async fn commit(&self, transaction: Transaction, events: Vec<Event>) -> Result<(), Error> {
        self.shared.commit(transaction, &events).await
    }

    /// Commits these events by themselves, before it returns.
    pub(crate) async fn record(&self, events: Vec<Event>) -> Result<(), Error> {
        self.shared.record(events).await
    }

    /// Records that a key is about to be used ([`Action::KeyOpened`]; the log gives it its call id). The provider is
    /// called afterwards only.
    ///
    /// # Errors
    /// [`Error::AuditUnavailable`] if it can be recorded nowhere.
    pub(crate) async fn begin_use(&self, mut opened: Event) -> Result<UseRecord, Error> {
        let shared = &self.shared;
        opened.call_id = Some(shared.next_call_id());
        let (begun, about) = (shared.clock.now(), about(&opened));
        let record = |part, about| UseRecord { shared: Arc::clone(shared), part, about, begun };
        let Some(spool) = &shared.spool else {
            shared.record(vec![opened]).await.map_err(unavailable)?;
            return Ok(record(0, about));
        };
        let number = spool.part_of_this_thread();
        let part = spool.part(number);
        let queued = part.queue(&Moment::of(&opened, begun), &about);
        // From here on it has an end, even if this is dropped.
        let record = record(number, about);
        if turns::count(begun) {
            turns::after_the_others().await;
        }
        if shared.note_spooled(part.settle(&queued)) {
            return Ok(record);
        }
        let about = record.forget();
        shared.record(vec![opened]).await.map_err(unavailable)?;
        Ok(UseRecord { shared: Arc::clone(shared), part: number, about, begun })
    }

    /// Records what a provider said of a key, before that goes to anybody.
    pub(crate) async fn record_check(&self, event: Event) -> Result<(), Error> {
        if self.shared.spool_event(&event) {
            return Ok(());
        }
        self.shared.record(vec![event]).await.map_err(unavailable)
    }

    /// Records what could not be done, without keeping anybody waiting.
    #[expect(clippy::needless_pass_by_value, reason = "it is over with the event, as in all the others")]
    pub(crate) fn note(&self, event: Event) {
        self.shared.record_event_later(&event, self.shared.clock.now());
    }

    /// Records an event before it returns, in the spool if there is one; for callers that cannot wait otherwise.
    ///
    /// # Errors
    /// [`Error::AuditUnavailable`] if it can be recorded nowhere.
    pub(crate) fn record_use(&self, event: Event) -> Result<(), Error> {
        if self.shared.spool_event(&event) {
            return Ok(());
        }
        self.shared.blocking.record(&self.shared, event).map_err(unavailable)
    }

    /// Records soon that a verified user's request was refused; the same refusal once a minute at most.
    #[expect(clippy::needless_pass_by_value, reason = "it is over with the event, as in all the others")]
    pub(crate) fn refused(&self, event: Event) {
        let now = self.shared.clock.now();
        if self.shared.refusals.is_new(&event, now) {
            self.shared.record_event_later(&event, now);
        }
    }

    /// The same of a request that a limit refused.
    pub(crate) fn refused_by_limit(&self, user: &UserId, requester: &Requester, class: Class) {
        let event = Event::new(Action::KeyRefused, Outcome::RateLimited, requester);
        self.refused(event.of_user(user).with_note(class.as_str()));
    }

    /// Recognises equal keys.
    #[expect(clippy::disallowed_methods, reason = "hashed under a key that only this database has")]
    pub(crate) fn fingerprint(&self, key: &ApiKey) -> Fingerprint {
        let mut hash = [0; 32];
        // In place: `sign` moves the state that it hashes in, and leaves a copy of the key on the stack. It fails for a
        // buffer that is too small only.
        let _ = hmac::sign_to_buffer(&self.shared.fingerprint_key, key.expose().as_bytes(), &mut hash);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        Fingerprint(fingerprint)
    }

    /// What hashes, signs and verifies rows.
    pub(crate) fn chain(&self) -> &Chain {
        &self.shared.chain
    }

    /// Where events go besides the database.
    pub(crate) fn sinks(&self) -> &Sinks {
        &self.shared.sinks
    }

    /// What was recorded so far.
    pub(crate) fn figures(&self) -> &AuditFigures {
        &self.shared.figures
    }

    /// Bytes in this process's spool. What is in the database already goes with the next whole file.
    pub(crate) fn spool_bytes(&self) -> u64 {
        self.shared.spool.as_ref().map_or(0, Spool::bytes)
    }

    /// How uses are recorded.
    pub(crate) fn durability(&self) -> Durability {
        if self.shared.spool.is_some() { Durability::Spool } else { Durability::Strict }
    }

    /// Brings what is spooled into the database, as long as that does not take too long, and ends. False if a use of a
    /// key is under way, which keeps the database open.
    pub(crate) async fn close(self) -> bool {
        let _ = self.stop.send(true);
        let shipper = self.shipper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut shipper) = shipper
            && timeout(LAST_WAIT, &mut shipper).await.is_err()
        {
            shipper.abort();
            let _ = shipper.await;
        }
        self.shared.sinks.close().await;
        Arc::strong_count(&self.shared) == 1
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let shipper = self.shipper.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(shipper) = shipper {
            shipper.abort();
        }
    }
}

impl Shared {
    async fn record(&self, events: Vec<Event>) -> Result<(), Error> {
        self.record_on(&self.database, events).await
    }

    async fn record_on(&self, database: &Database, events: Vec<Event>) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let transaction = database.begin().await.map_err(cannot_record)?;
        self.commit(transaction, &events).await
    }

    async fn commit(&self, transaction: Transaction, events: &[Event]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(transaction.commit().await?);
        }
        let now = self.clock.now();
        self.commit_lines(transaction, events.iter().map(|event| Line::of(event, now)).collect()).await
    }

    async fn commit_lines(&self, transaction: Transaction, lines: Vec<Line<'_>>) -> Result<(), Error> {
        let mut lane = self.lanes.take().await;
        // Whatever happens before the end, this chain's head is not known any more.
        let before = match lane.take() {
            Some(head) => head,
            None => {
                new_writer(&transaction, &self.chain, self.clock.now(), 0).await.map_err(cannot_record)?
            }
        };
        let mut addition = Addition::after(&self.chain, &before, lines.len());
        for line in &lines {
            addition.push(&line.told());
        }
        let (rows, after) = addition.end(0);
        let for_sinks = self.wants_rows().then(|| rows.clone());
        let ids = append_in(&transaction, rows, &after).await.map_err(cannot_record)?;
        transaction.commit().await?;
        *lane = Some(after);
        drop(lane);
        self.figures.count_recorded(lines.len());
        self.figures.count_shipped(lines.len());
        if let Some(Ok(rows)) = for_sinks.map(|rows| rows.with_ids(&ids)) {
            self.tell_sinks(rows);
        }
        Ok(())
    }

    /// Whether the spool has it.
    fn spool_event(&self, event: &Event) -> bool {
        let Some(spool) = &self.spool else { return false };
        self.spool(spool.part_of_this_thread(), &Moment::of(event, self.clock.now()), &about(event))
    }

    fn spool(&self, part: usize, moment: &Moment, about: &[u8]) -> bool {
        self.spool.as_ref().is_some_and(|spool| self.note_spooled(spool.part(part).write(moment, about)))
    }

    /// Counts an event that is in the spool, or is not; tells whether it is.
    fn note_spooled(&self, written: io::Result<()>) -> bool {
        match written {
            Ok(()) => {
                if self.spool_is_failing.load(Ordering::Relaxed) {
                    self.spool_is_failing.store(false, Ordering::Relaxed);
                }
                self.figures.count_recorded(1);
                self.wake_shipper();
                true
            }
            Err(error) => {
                self.figures.count_failure();
                if !self.spool_is_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        %error,
                        "the audit spool cannot be written, so each use of a key is committed to the database; make room in the state directory"
                    );
                }
                false
            }
        }
    }

    fn record_event_later(&self, event: &Event, at: Timestamp) {
        let part = self.spool.as_ref().map_or(0, Spool::part_of_this_thread);
        self.record_later(part, &Moment::of(event, at), &about(event));
    }

    /// Records what nobody waits for.
    fn record_later(&self, part: usize, moment: &Moment, about: &[u8]) {
        if self.spool.as_ref().is_some_and(|spool| spool.part(part).write_later(moment, about)) {
            self.figures.count_recorded(1);
        } else {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            if late.len() >= MOST_LATE {
                self.figures.count_failure();
                return;
            }
            let mut line = vec![];
            moment.write_line(0, about, &mut line);
            late.push_back(line);
        }
        self.wake_shipper();
    }

    /// Commits what no spool took.
    async fn record_late(&self) -> Result<(), Error> {
        loop {
            let late = self.take_late();
            let lines: Vec<_> = late.iter().filter_map(|line| Line::read(line.trim_ascii_end())).collect();
            if lines.is_empty() {
                return Ok(());
            }
            let recorded = match self.database.begin().await {
                Ok(transaction) => self.commit_lines(transaction, lines).await,
                Err(error) => Err(cannot_record(error)),
            };
            if let Err(error) = recorded {
                self.put_back_late(late);
                return Err(error);
            }
        }
    }

    fn take_late(&self) -> Vec<Vec<u8>> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let count = late.len().min(LATE_AT_ONCE);
        late.drain(..count).collect()
    }

    fn put_back_late(&self, lines: Vec<Vec<u8>>) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        lines.into_iter().rev().for_each(|line| late.push_front(line));
    }

    /// Each event says so, and the first one wakes it.
    fn wake_shipper(&self) {
        if !self.is_awake.load(Ordering::Relaxed) && !self.is_awake.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Whether rows go anywhere besides the database.
    fn wants_rows(&self) -> bool {
        !self.sinks.is_empty()
    }

    fn tell_sinks(&self, rows: Vec<AuditRow>) {
        let count = rows.len() as u64;
        let mut lines = Vec::with_capacity(rows.len() * 512);
        for row in rows {
            lines.extend_from_slice(export::Entry::from(row).to_json().as_bytes());
            lines.push(b'\n');
        }
        self.sinks.write_lines(&lines.into(), count);
    }

    fn next_call_id(&self) -> CallId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.calls_of);
        id[8..].copy_from_slice(&self.calls.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        CallId(id)
    }
}

/// A use of a key that has begun. Dropped before it [ended](Self::end), it counts as abandoned.
#[must_use]
pub(crate) struct UseRecord {
    shared: Arc<Shared>,
    /// Of the spool, where it began.
    part: usize,
    /// What both of its lines say; empty once it ended.
    about: Vec<u8>,
    begun: Timestamp,
}

impl UseRecord {
    /// Records the end of the use; waits for nothing.
    pub(crate) fn end(self, outcome: Outcome, provider_status: Option<u16>) {
        let now = self.shared.clock.now();
        self.end_at(now, outcome, provider_status);
    }

    /// The same where it is known what time it is.
    pub(crate) fn end_at(mut self, now: Timestamp, outcome: Outcome, provider_status: Option<u16>) {
        self.note_end(now, outcome, provider_status);
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Timestamp {
        self.begun
    }

    /// It did not begin.
    fn forget(mut self) -> Vec<u8> {
        std::mem::take(&mut self.about)
    }

    fn note_end(&mut self, at: Timestamp, outcome: Outcome, provider_status: Option<u16>) {
        let about = std::mem::take(&mut self.about);
        // A clock that was set back meanwhile gives zero.
        let duration = Some(at.duration_since(self.begun).try_into().unwrap_or_default());
        let ended = Moment { at, action: Action::KeyEnded, outcome, provider_status, duration };
        self.shared.record_later(self.part, &ended, &about);
    }
}

impl Drop for UseRecord {
    fn drop(&mut self) {
        if !self.about.is_empty() {
            self.note_end(self.shared.clock.now(), Outcome::Abandoned, None);
        }
    }
}

/// When it could be recorded nowhere, the cause is for the log.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unavailable(error: Error) -> Error {
    Error::AuditUnavailable(error.cause())
}

fn cannot_record(error: StorageError) -> Error {
    match error {
        StorageError::Unavailable(_) | StorageError::Full | StorageError::ReadOnly(_) => {
            Error::DatabaseUnavailable(error)
        }
        other => Error::AuditUnavailable(other.to_string()),
    }
}

/// A key of the log. With the first one, the count of the chains begins.
async fn log_key(
    database: &Database,
    ring: &MasterKeyRing,
    random: &dyn Random,
    name: &str,
) -> Result<RootKey, Error> {
    if let Some(key) = root_keys::find(database, ring, name).await? {
        return Ok(key);
    }
    let transaction = database.begin().await?;
    let (key, is_new) = root_keys::make(&transaction, ring, random, name).await?;
    if is_new && name == ROOT_SECRETS[0] {
        begin_count(&transaction, &Chain::new(&key)).await?;
    }
    transaction.commit().await?;
    Ok(key)
}
