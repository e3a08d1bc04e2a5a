//! Bringing what was spooled into the database: in batches, in order, each line once.
//!
//! The head of a chain says up to which line its spool is in the log, and moves in the transaction of the rows. So
//! whoever asks the head knows where to go on, whatever became of a commit, and whichever process was at it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::record::Line;
use super::spool::{Folder, SpoolFile};
use super::writers::{add, chain_rows, find_writer, new_writer};
use super::{Shared, cannot_record};
use crate::error::Error;
use crate::storage::StorageError;
use crate::storage::audit::{AuditRow, Writer, make_partitions};

/// Rows of one transaction.
const BATCH: usize = 512;
/// What is read of a spool at once.
const READ_BYTES: usize = 256 * 1024;
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
    /// It is not known whether `rows`, which lead from one to the other, were committed.
    Doubtful {
        before: Writer,
        after: Writer,
        rows: Vec<AuditRow>,
    },
    /// Its number is known, not its head.
    Unseen(i64),
    /// A batch is being moved.
    #[default]
    Moving,
}

pub(super) struct Shipper {
    shared: Arc<Shared>,
    own: Standing,
    /// What of the oldest file is in the log.
    position: (PathBuf, u64),
    is_failing: bool,
    told_of_foreign: bool,
}

impl Shipper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            own: Standing::New(0),
            position: (PathBuf::new(), 0),
            is_failing: false,
            told_of_foreign: false,
        }
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
                if shipped.is_ok() {
                    pause = PAUSES.0;
                    let _ = timeout_at(dead_at, self.shared.wake.notified()).await;
                    sleep(GATHER).await;
                } else {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
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
            while self.ship().await.is_err() {
                sleep(PAUSES.0).await;
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

    /// Ships all that there is of this process.
    pub(super) async fn ship(&mut self) -> Result<(), Error> {
        let late = self.shared.take_late();
        if !late.is_empty()
            && let Err(error) = self.shared.record(late.clone()).await
        {
            self.shared.put_back_late(late);
            return Err(error);
        }
        let shared = Arc::clone(&self.shared);
        let Some(spool) = &shared.spool else { return Ok(()) };
        if let Err(error) = spool.flush() {
            tracing::debug!(%error, "the ends of some uses are not written into the audit spool yet");
        }
        spool.look_after();
        while let Some(file) = spool.first_file() {
            if self.position.0 != file.path() {
                self.position = (file.path().to_owned(), 0);
            }
            let bytes = file.read(self.position.1, READ_BYTES).map_err(|error| unreadable(&file, &error))?;
            if bytes.is_empty() {
                if spool.is_shipped(&file, self.position.1) {
                    break;
                }
                continue;
            }
            let position = &mut self.position.1;
            let note = |writer| spool.note_writer(writer);
            shared.ship_bytes(&mut self.own, &bytes, &note, |consumed| *position += consumed).await?;
        }
        Ok(())
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

    fn note(&mut self, done: &Result<(), Error>) {
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
            (Ok(()), true) => {
                self.is_failing = false;
                tracing::info!("audit events are brought into the database again");
            }
            (Ok(()), false) => {}
        }
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
                let bytes = file.read(offset, READ_BYTES).map_err(|error| unreadable(file, &error))?;
                if bytes.is_empty() {
                    break;
                }
                self.ship_bytes(&mut standing, &bytes, &note, |consumed| offset += consumed).await?;
            }
        }
        if !files.is_empty() {
            tracing::info!("the audit spool of a process that ended without a stop is in the database");
        }
        folder.remove();
        Ok(())
    }

    /// Ships whole lines, and says after each batch how many bytes of them are in the log.
    pub(super) async fn ship_bytes(
        &self,
        standing: &mut Standing,
        bytes: &[u8],
        note: &(dyn Fn(i64) -> io::Result<()> + Sync),
        mut shipped: impl FnMut(u64),
    ) -> Result<(), Error> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
        while lines.peek().is_some() {
            let (mut batch, mut consumed) = (Vec::with_capacity(BATCH), 0);
            for line in lines.by_ref().take(BATCH) {
                consumed += line.len() as u64;
                match line.strip_suffix(b"\n").and_then(Line::read) {
                    Some(line) => batch.push((line.n, line.into_row())),
                    None => self.figures.count_torn_line(),
                }
            }
            self.ship_batch(standing, batch, note).await?;
            shipped(consumed);
        }
        Ok(())
    }

    async fn ship_batch(
        &self,
        standing: &mut Standing,
        mut batch: Vec<(i64, AuditRow)>,
        note: &(dyn Fn(i64) -> io::Result<()> + Sync),
    ) -> Result<(), Error> {
        let before = self.head(standing, note).await?;
        batch.retain(|(n, _)| *n > before.spooled);
        let Some(spooled) = batch.iter().map(|(n, _)| *n).max() else {
            *standing = Standing::Known(before);
            return Ok(());
        };
        let mut rows: Vec<AuditRow> = batch.into_iter().map(|(_, row)| row).collect();
        let after = chain_rows(&self.chain, &before, &mut rows, spooled);
        let committed = async {
            let transaction = self.database.begin().await?;
            add(&transaction, &before, &mut rows, &after).await?;
            transaction.commit().await
        };
        // A task that is dropped in the middle is one that ends.
        match committed.await {
            Ok(()) => {
                self.are_in_the_log(&rows);
                *standing = Standing::Known(after);
                Ok(())
            }
            Err(error) => {
                *standing = Standing::Doubtful { before, after, rows };
                Err(cannot_record(error))
            }
        }
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
            (Standing::Doubtful { after, rows, .. }, Some(found)) if found.last_hash == after.last_hash => {
                self.are_in_the_log(&rows);
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

fn unreadable(file: &SpoolFile, error: &io::Error) -> Error {
    Error::StateDirectory(format!("The audit spool {} cannot be read: {error}.", file.path().display()))
}
