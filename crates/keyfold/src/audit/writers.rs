//! Adding rows to a chain, in a transaction, and the few chains that management events of a process go to.

use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

use super::chain::{Chain, NOTHING_BEFORE, is_same};
use crate::storage::audit::{Writer, WriterCount};
use crate::storage::{self, Connection, StorageError, Transaction};

/// Commits of management events that may be under way at once.
const LANES: usize = 4;

/// A chain whose head is known here; `None` before the first row, and when what came of a commit is not known.
type Head = Option<Writer>;

/// The chains of this process's management events.
#[derive(Default)]
pub(super) struct Lanes([Mutex<Head>; LANES]);

impl Lanes {
    /// One of them, for one commit. The first is preferred, so that there are few.
    pub(super) async fn take(&self) -> MutexGuard<'_, Head> {
        if let Some(free) = self.0.iter().find_map(|lane| lane.try_lock().ok()) {
            return free;
        }
        let mut waiting = self.0.iter().map(|lane| Box::pin(lane.lock())).collect::<Vec<_>>();
        std::future::poll_fn(|context| {
            let free = waiting.iter_mut().find_map(|lane| match lane.as_mut().poll(context) {
                std::task::Poll::Ready(lane) => Some(lane),
                std::task::Poll::Pending => None,
            });
            free.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

/// Makes a new chain, of which `spooled` lines are in the log by another one. It is there once the transaction is
/// committed.
pub(super) async fn new_writer(
    transaction: &Transaction,
    chain: &Chain,
    now: Timestamp,
    spooled: i64,
) -> Result<Writer, StorageError> {
    // Whoever makes one waits for whoever makes one: ids are consecutive.
    storage::root_secrets::take_turn(transaction).await?;
    let mut writer = Writer {
        id: next_id(transaction, chain).await?,
        first_seq: 1,
        first_previous: NOTHING_BEFORE.to_owned(),
        first_signature: String::new(),
        last_seq: 0,
        last_hash: NOTHING_BEFORE.to_owned(),
        last_at: now,
        spooled,
        last_signature: String::new(),
    };
    writer.first_signature = chain.first_signature(&writer);
    writer.last_signature = chain.last_signature(&writer);
    storage::audit::insert_writer(transaction, &writer).await?;
    Ok(writer)
}

/// The id of the next writer, which is counted. The id of one that was removed is not given again.
async fn next_id(transaction: &Transaction, chain: &Chain) -> Result<i64, StorageError> {
    let last = storage::audit::last_writer(transaction).await?;
    let count = storage::audit::writer_count(transaction).await?;
    match count.filter(|count| chain.fits_count(count) && count.writers >= last) {
        Some(WriterCount { writers, .. }) => {
            storage::audit::update_writer_count(transaction, &count_of(chain, writers + 1)).await?;
            Ok(writers + 1)
        }
        // It was removed, changed or put back: left as it is, for the verification to tell.
        None => Ok(last + 1),
    }
}

/// Begins to count writers, in the transaction in which the audit key is made.
pub(super) async fn begin_count(transaction: &Transaction, chain: &Chain) -> Result<(), StorageError> {
    storage::audit::insert_writer_count(transaction, &count_of(chain, 0)).await
}

pub(super) fn count_of(chain: &Chain, writers: i64) -> WriterCount {
    WriterCount { writers, signature: chain.count_signature(writers) }
}

/// The head of this chain as it stands in the database; `None` if it is not there, or was not signed by Keyfold.
pub(super) async fn find_writer(
    connection: &impl Connection,
    chain: &Chain,
    id: i64,
) -> Result<Option<Writer>, StorageError> {
    let writer = storage::audit::writer(connection, id).await?;
    Ok(writer.filter(|writer| is_same(&chain.last_signature(writer), &writer.last_signature)))
}
