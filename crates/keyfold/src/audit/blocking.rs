//! Committing a use to the database for a caller that cannot wait asynchronously.
//!
//! Such a caller holds up its runtime, and with it the connections that run there. So this has a thread, a runtime and
//! a connection of its own, made when first needed.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::event::Event;
use super::{Shared, cannot_record};
use crate::error::Error;
use crate::settings::DatabaseSetting;
use crate::storage::{Database, StorageError};

/// How long a caller waits for its answer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a statement waits for another process that uses the same SQLite file.
const SQLITE_PATIENCE: Duration = Duration::from_secs(1);
/// The connection is given up after this time without work.
const IDLE: Duration = Duration::from_secs(30);

/// The thread, once it was needed.
pub(super) struct Blocking {
    database: DatabaseSetting,
    jobs: Mutex<Option<UnboundedSender<Job>>>,
}

struct Job {
    /// Holds what the thread needs, so that the thread itself holds nothing while it is idle.
    shared: Arc<Shared>,
    event: Event,
    answer: SyncSender<Result<(), Error>>,
}

impl Blocking {
    pub(super) fn new(database: DatabaseSetting) -> Self {
        Self { database, jobs: Mutex::default() }
    }

    /// Commits the event before it returns.
    pub(super) fn record(&self, shared: &Arc<Shared>, event: Event) -> Result<(), Error> {
        let (answer, answered) = sync_channel(1);
        let job = Job { shared: Arc::clone(shared), event, answer };
        self.send(job)?;
        answered
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err(Error::AuditUnavailable("the database did not answer in time".into())))
    }

    fn send(&self, job: Job) -> Result<(), Error> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let unsent = match &*jobs {
            Some(jobs) => match jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.0,
            },
            None => job,
        };
        let (sender, inbox) = unbounded_channel();
        let database = self.database.clone();
        thread::Builder::new()
            .name("keyfold-audit".into())
            .spawn(move || work(&database, inbox))
            .map_err(|error| Error::AuditUnavailable(format!("no thread could be started: {error}")))?;
        let _ = sender.send(unsent);
        *jobs = Some(sender);
        Ok(())
    }
}

fn work(setting: &DatabaseSetting, mut inbox: UnboundedReceiver<Job>) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut database: Option<Database> = None;
        loop {
            let job = if database.is_none() {
                inbox.recv().await
            } else if let Ok(job) = timeout(IDLE, inbox.recv()).await {
                job
            } else {
                if let Some(database) = database.take() {
                    database.close().await;
                }
                continue;
            };
            let Some(Job { shared, event, answer }) = job else { break };
            let recorded = match open(&mut database, setting).await {
                Ok(database) => shared.record_on(database, vec![event]).await,
                Err(error) => Err(cannot_record(error)),
            };
            // Whoever has the answer may close the database.
            drop(shared);
            let _ = answer.send(recorded);
        }
        if let Some(database) = database.take() {
            database.close().await;
        }
    });
}

async fn open<'a>(
    database: &'a mut Option<Database>,
    setting: &DatabaseSetting,
) -> Result<&'a Database, StorageError> {
    if database.is_none() {
        *database = Some(match setting {
            DatabaseSetting::Sqlite(path) => Database::open_sqlite(path.clone(), SQLITE_PATIENCE).await?,
            DatabaseSetting::Postgres(address) => Database::connect_postgres(address)?,
        });
    }
    database.as_ref().ok_or_else(|| StorageError::Unavailable("it was closed".into()))
}
