//! Bringing what was spooled into the database: in batches, in order, each line once.
//!
//! The head of a chain says up to which line its spool is in the log, and moves in the transaction of the rows. So
//! whoever asks the head knows where to go on, whatever became of a commit, and whichever process was at it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use super::chain::{Addition, Chain};
use super::record::Line;
use super::spool::{Folder, Part, SpoolFile};
use super::writers::{find_writer, new_writer};
use super::{Shared, cannot_record};
use crate::error::Error;
use crate::storage::StorageError;
use crate::storage::audit::{self as log, NewRows, Writer, make_partitions};

/// What is read of a spool, and committed, at once: some 1500 rows.
const BATCH: usize = 512 * 1024;
/// The same while the database takes nothing: perhaps it cannot take so much in its time.
const SMALL_BATCH: usize = 32 * 1024;
/// Bytes of lines that are hashed without asking for another thread.
const FEW: usize = 16 * 1024;
/// Bytes of a line, about.
const TYPICAL_LINE: usize = 256;
/// Events of this time go together.
const GATHER: Duration = Duration::from_millis(50);
/// How often spools of dead processes are looked for.
const LOOK_FOR_DEAD: Duration = Duration::from_secs(30);
/// How often partitions are made ahead.
const MAKE_PARTITIONS: Duration = Duration::from_secs(12 * 3600);
/// Between attempts while the database is away: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long the end of the process waits for what is not in the database yet.
const LAST_SHIPPING: Duration = Duration::from_secs(5);

/// Where a chain stands.
#[derive(Default)]
pub(super) enum Standing {
    /// It is not made yet. `0`, or the last line that another chain took.
    New(i64),
    Known(Writer),
    /// It is not known whether the rows that lead from one to the other were committed.
    Doubtful {
        before: Writer,
        after: Writer,
    },
    /// Its number is known, not its head.
    Unseen(i64),
    /// A batch is being moved.
    #[default]
    Moving,
}

pub(super) struct Shipper {
    shared: Arc<Shared>,
    /// Of each part of this process's spool.
    shipments: Vec<Shipment>,
    is_failing: bool,
    told_of_foreign: bool,
}

/// How far a part of the spool is in the log.
struct Shipment {
    chain: Standing,
    /// What of the oldest file is there.
    position: (PathBuf, u64),
}

impl Shipper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let begin = || Shipment { chain: Standing::New(0), position: (PathBuf::new(), 0) };
        let parts = shared.spool.as_ref().map_or(0, |spool| spool.parts().len());
        let shipments = std::iter::repeat_with(begin).take(parts).collect();
        Self { shared, shipments, is_failing: false, told_of_foreign: false }
    }

    /// Ships until `stop` says so or is dropped; then what is left, as long as that does not take too long.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (mut pause, mut dead_at, mut partitions_at) = (PAUSES.0, Instant::now(), Instant::now());
        loop {
            if Instant::now() >= partitions_at {
                let now = self.shared.clock.now();
                if let Err(error) = make_partitions(&self.shared.database, now).await {
                    tracing::debug!(%error, "partitions of the audit log were not made");
                }
                partitions_at = Instant::now() + MAKE_PARTITIONS;
            }
            if Instant::now() >= dead_at {
                let replayed = self.replay_dead().await;
                self.note(&replayed);
                dead_at = Instant::now() + LOOK_FOR_DEAD;
            }
            let shipped = self.ship().await;
            self.note(&shipped);
            let wait = async {
                match shipped {
                    // So much waits that there is no need to gather more.
                    Ok(bytes) if bytes > BATCH / 2 => {}
                    Ok(bytes) => {
                        pause = PAUSES.0;
                        if bytes == 0 {
                            let _ = timeout_at(dead_at, self.shared.wake.notified()).await;
                        }
                        sleep(GATHER).await;
                    }
                    Err(_) => {
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSES.1);
                    }
                }
            };
            tokio::select! {
                () = wait => {}
                // An error: whoever could have asked is gone.
                asked = stop.wait_for(|stop| *stop) => {
                    if asked.is_ok() {
                        break;
                    }
                    return;
                }
            }
        }
        let last = async {
            loop {
                match self.ship().await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(_) => sleep(PAUSES.0).await,
                }
            }
        };
        let last = timeout_at(Instant::now() + LAST_SHIPPING, last).await;
        match (last, &self.shared.spool) {
            (Ok(()), Some(spool)) => spool.remove(),
            (Ok(()), None) => {}
            (Err(_), _) => tracing::warn!(
                "not all audit events are in the database yet; the next start brings those of the spool there"
            ),
        }
    }

    /// Ships what this process has, of each part of its spool a batch at most; says how many bytes the largest one had.
    async fn ship(&mut self) -> Result<usize, Error> {
        // Whatever is recorded from here on wakes it anew.
        self.shared.is_awake.store(false, Ordering::Relaxed);
        self.shared.record_late().await?;
        let shared = Arc::clone(&self.shared);
        let Some(spool) = &shared.spool else { return Ok(0) };
        let most = if self.is_failing { SMALL_BATCH } else { BATCH };
        let (mut largest, mut unreadable) = (0, Ok(()));
        for (part, shipment) in spool.parts().iter().zip(&mut self.shipments) {
            match shipment.ship(&shared, part, most).await {
                Ok(bytes) => largest = largest.max(bytes),
                // The other parts can be shipped all the same.
                Err(error @ Error::StateDirectory(_)) => unreadable = Err(error),
                Err(error) => return Err(error),
            }
        }
        unreadable.map(|()| largest)
    }

    async fn replay_dead(&mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let Some(spool) = &shared.spool else { return Ok(()) };
        let (dead, foreign) = spool.dead();
        if foreign > 0 && !self.told_of_foreign {
            self.told_of_foreign = true;
            tracing::warn!(
                spools = foreign,
                "the state directory has audit spools of another database; a Keyfold that uses that database takes them"
            );
        }
        for folder in dead {
            shared.replay(folder).await?;
        }
        Ok(())
    }

    fn note<T>(&mut self, done: &Result<T, Error>) {
        match (done, self.is_failing) {
            (Err(error), false) => {
                self.is_failing = true;
                self.shared.figures.count_failure();
                tracing::warn!(
                    cause = error.cause(),
                    "audit events cannot be brought into the database; they stay in the spool, and it is tried again"
                );
            }
            (Err(_), true) => self.shared.figures.count_failure(),
            (Ok(_), true) => {
                self.is_failing = false;
                tracing::info!("audit events are brought into the database again");
            }
            (Ok(_), false) => {}
        }
    }
}

impl Shipment {
    /// Ships the next lines of a part, up to so many bytes; says how many.
    async fn ship(&mut self, shared: &Shared, part: &Part, most: usize) -> Result<usize, Error> {
        if let Err(error) = part.flush() {
            tracing::debug!(%error, "the ends of some uses are not written into the audit spool yet");
        }
        part.look_after();
        while let Some(file) = part.first_file() {
            if self.position.0 != file.path() {
                self.position = (file.path().to_owned(), 0);
            }
            let lines = file.read(self.position.1, most).map_err(|error| unreadable(&file, &error))?;
            if lines.is_empty() {
                if part.is_shipped(&file, self.position.1) {
                    break;
                }
                continue;
            }
            let bytes = lines.len();
            shared.ship_lines(&mut self.chain, lines, &|writer| part.note_writer(writer)).await?;
            self.position.1 += bytes as u64;
            return Ok(bytes);
        }
        Ok(0)
    }
}

impl Shared {
    /// Brings the spool of a dead process into the log, and removes it.
    async fn replay(&self, folder: Folder) -> Result<(), Error> {
        let mut standing = folder.writer().map_or(Standing::New(0), Standing::Unseen);
        let files = folder.files().map_err(|error| Error::StateDirectory(format!("{error}.")))?;
        let note = |writer| folder.note_writer(writer);
        for file in &files {
            let mut offset = 0;
            loop {
                let bytes = file.read(offset, BATCH).map_err(|error| unreadable(file, &error))?;
                if bytes.is_empty() {
                    break;
                }
                offset += bytes.len() as u64;
                self.ship_lines(&mut standing, bytes, &note).await?;
            }
        }
        if !files.is_empty() {
            tracing::info!("the audit spool of a process that ended without a stop is in the database");
        }
        folder.remove();
        Ok(())
    }

    /// Ships whole lines, in one transaction.
    pub(super) async fn ship_lines(
        &self,
        standing: &mut Standing,
        lines: Vec<u8>,
        note: &(dyn Fn(i64) -> io::Result<()> + Sync),
    ) -> Result<(), Error> {
        let before = self.head(standing, note).await?;
        let Batch { rows, head: after, torn } = match self.batch_after(&before, lines).await {
            Ok(batch) => batch,
            Err(error) => {
                *standing = Standing::Known(before);
                return Err(error);
            }
        };
        let count = rows.len();
        if count == 0 {
            self.figures.count_torn_lines(torn);
            *standing = Standing::Known(before);
            return Ok(());
        }
        // A task that is dropped in the middle is one that ends.
        match self.add(rows, &after).await {
            Ok(()) => {
                self.figures.count_torn_lines(torn);
                self.figures.count_shipped(count);
                *standing = Standing::Known(after);
                Ok(())
            }
            Err(error) => {
                *standing = Standing::Doubtful { before, after };
                Err(cannot_record(error))
            }
        }
    }

    /// Many lines would keep a thread of the runtime from its requests: they go to one that may block.
    async fn batch_after(&self, before: &Writer, lines: Vec<u8>) -> Result<Batch, Error> {
        if lines.len() < FEW {
            return Ok(Batch::of(&lines, &self.chain, before));
        }
        let (chain, before) = (self.chain.clone(), before.clone());
        let making = spawn_blocking(move || Batch::of(&lines, &chain, &before));
        making.await.map_err(|error| Error::Internal(format!("hashing events: {error}")))
    }

    async fn add(&self, rows: NewRows, head: &Writer) -> Result<(), StorageError> {
        if !self.wants_rows() {
            return log::append(&self.database, rows, head).await;
        }
        let transaction = self.database.begin().await?;
        let ids = log::append_in(&transaction, rows.clone(), head).await?;
        transaction.commit().await?;
        self.tell_sinks(rows.with_ids(&ids)?);
        Ok(())
    }

    /// Rows of which it is known only now that they were committed.
    async fn were_added(&self, before: &Writer, after: &Writer) -> Result<(), StorageError> {
        let added = after.last_seq - before.last_seq;
        if self.wants_rows() {
            let found = log::chains(&self.database, (after.id, before.last_seq + 1), added).await?;
            self.tell_sinks(found.iter().map(log::read_row).collect::<Result<_, _>>()?);
        }
        self.figures.count_shipped(usize::try_from(added).unwrap_or_default());
        Ok(())
    }

    /// The head of the chain, which is made if need be.
    async fn head(
        &self,
        standing: &mut Standing,
        note: &(dyn Fn(i64) -> io::Result<()> + Sync),
    ) -> Result<Writer, Error> {
        let taken = std::mem::take(standing);
        let found = match &taken {
            Standing::Known(_) | Standing::New(_) | Standing::Moving => Ok(None),
            Standing::Doubtful { before, .. } => find_writer(&self.database, &self.chain, before.id).await,
            Standing::Unseen(id) => find_writer(&self.database, &self.chain, *id).await,
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                *standing = taken;
                return Err(cannot_record(error));
            }
        };
        let spooled = match (taken, found) {
            (Standing::Known(writer), _) | (Standing::Unseen(_), Some(writer)) => return Ok(writer),
            (Standing::Doubtful { before, .. }, Some(found)) if found.last_hash == before.last_hash => {
                return Ok(found);
            }
            (Standing::Doubtful { before, after }, Some(found)) if found.last_hash == after.last_hash => {
                if let Err(error) = self.were_added(&before, &after).await {
                    *standing = Standing::Doubtful { before, after };
                    return Err(cannot_record(error));
                }
                return Ok(found);
            }
            (Standing::New(spooled), _) => spooled,
            (Standing::Doubtful { before, .. }, _) => {
                tracing::error!(
                    writer = before.id,
                    "the audit log's head of this process is not where it was left; was the database restored, or changed by hand? See `keyfold audit verify`"
                );
                before.spooled
            }
            // Rather twice than never.
            (Standing::Unseen(_) | Standing::Moving, _) => 0,
        };
        *standing = Standing::New(spooled);
        let made = self.make_writer(spooled).await.map_err(cannot_record)?;
        note(made.id).map_err(|error| {
            Error::StateDirectory(format!("The audit spool cannot be written: {error}. Make room there."))
        })?;
        *standing = Standing::Known(made.clone());
        Ok(made)
    }

    async fn make_writer(&self, spooled: i64) -> Result<Writer, StorageError> {
        let transaction = self.database.begin().await?;
        // What is spooled is older than the chain that it goes to, and keeps its times.
        let made = new_writer(&transaction, &self.chain, Timestamp::UNIX_EPOCH, spooled).await?;
        transaction.commit().await?;
        Ok(made)
    }
}

/// Lines that became rows.
struct Batch {
    rows: NewRows,
    /// Of the chain with them.
    head: Writer,
    /// Lines that were not written whole.
    torn: u64,
}

impl Batch {
    /// Of the lines that are not in the log yet.
    fn of(lines: &[u8], chain: &Chain, before: &Writer) -> Self {
        let expected = lines.len() / TYPICAL_LINE + 1;
        let (mut addition, mut spooled, mut torn) =
            (Addition::after(chain, before, expected), before.spooled, 0);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n").and_then(Line::read) {
                Some(line) if line.n > before.spooled => {
                    spooled = spooled.max(line.n);
                    addition.push(&line.told());
                }
                Some(_) => {}
                None => torn += 1,
            }
        }
        let (rows, head) = addition.end(spooled);
        Self { rows, head, torn }
    }
}

fn unreadable(file: &SpoolFile, error: &io::Error) -> Error {
    Error::StateDirectory(format!("The audit spool {} cannot be read: {error}.", file.path().display()))
}
