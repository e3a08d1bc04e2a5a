//! SQLite: one connection on a thread of its own, used by one caller at a time.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, params_from_iter};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::timeout;

use super::value::time_as_text;
use super::{Row, Statement, StorageError, Value, migrations};

/// The pause before a start that met another one tries again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// How long a writer waits for the one before it, of this process; with the patience for other processes a
/// caller learns within three seconds that the database is busy.
const TURN: Duration = Duration::from_millis(1500);

enum Job {
    Work(Box<dyn FnOnce(&mut rusqlite::Connection) + Send>),
    /// Close the file, say so, and open it again when the other end is gone.
    Rest {
        resting: oneshot::Sender<()>,
        go_on: mpsc::Receiver<()>,
    },
}

/// While this is there, the file is closed, and statements wait.
pub struct Rest {
    _go_on: [mpsc::Sender<()>; 2],
    _turn: OwnedMutexGuard<()>,
}

/// A SQLite database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sqlite {
    worker: Arc<Worker>,
    /// Reads outside of transactions: a writer, here or in another process, never keeps them waiting.
    reader: Arc<Worker>,
    /// Held by whoever may send jobs, so that nobody's statement lands in another's transaction.
    turn: Arc<Mutex<()>>,
}

struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Sqlite {
    pub(super) async fn open(path: PathBuf, patience: Duration) -> Result<Self, StorageError> {
        // One after the other: the first makes the file what the second expects.
        let worker = Worker::start(path.clone(), patience, "").await?;
        let reader = Worker::start(path, patience, "PRAGMA query_only = ON").await?;
        Ok(Self { worker: Arc::new(worker), reader: Arc::new(reader), turn: Arc::default() })
    }

    pub(super) async fn migrate(&self) -> Result<(), StorageError> {
        let _turn = self.turn.lock().await;
        self.worker.run(migrations::migrate_sqlite).await
    }

    pub(super) async fn query(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        self.reader.query(statement, values).await
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<u64, StorageError> {
        let _turn = timeout(TURN, self.turn.lock()).await.map_err(|_| busy())?;
        self.worker.execute(statement, values).await
    }

    pub(super) async fn begin(&self) -> Result<SqliteTransaction, StorageError> {
        let turn = timeout(TURN, Arc::clone(&self.turn).lock_owned()).await.map_err(|_| busy())?;
        let transaction = SqliteTransaction { worker: Arc::clone(&self.worker), open: true, _turn: turn };
        // IMMEDIATE takes the write lock now: a later upgrade could fail with work half done.
        self.worker.batch("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    pub(super) async fn rest(&self) -> Result<Rest, StorageError> {
        let turn = timeout(TURN, Arc::clone(&self.turn).lock_owned()).await.map_err(|_| busy())?;
        // In the order of `close`.
        let go_on = [self.reader.rest().await?, self.worker.rest().await?];
        Ok(Rest { _go_on: go_on, _turn: turn })
    }

    pub(super) async fn close(self) {
        // The writer last: the last connection puts the write-ahead log into the file, which a reader may not.
        let Self { worker, reader, turn: _ } = self;
        for worker in [reader, worker] {
            let thread = worker.thread.lock().ok().and_then(|mut thread| thread.take());
            drop(worker);
            if let Some(thread) = thread {
                // Ends when the last clone is gone; joining blocks, so it is done off the runtime.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        }
    }
}

impl Worker {
    /// `pragma` is what this connection is besides.
    async fn start(path: PathBuf, patience: Duration, pragma: &'static str) -> Result<Self, StorageError> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, opened) = oneshot::channel::<Result<(), StorageError>>();
        let thread = thread::Builder::new()
            .name("keyfold-sqlite".into())
            .spawn(move || {
                let open = || -> Result<_, StorageError> {
                    let connection = open_connection(&path, patience)?;
                    connection.execute_batch(pragma)?;
                    Ok(connection)
                };
                let mut connection = match open() {
                    Ok(connection) => connection,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                while let Ok(job) = inbox.recv() {
                    match job {
                        Job::Work(work) => work(&mut connection),
                        Job::Rest { resting, go_on } => {
                            drop(connection);
                            let _ = resting.send(());
                            let _ = go_on.recv();
                            // Whoever waits hears that the database is gone.
                            let Ok(again) = open() else { return };
                            connection = again;
                        }
                    }
                }
            })
            .map_err(unavailable)?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { jobs, thread: std::sync::Mutex::new(Some(thread)) })
    }
}

/// Undone when dropped before [`commit`](Self::commit).
pub(crate) struct SqliteTransaction {
    worker: Arc<Worker>,
    open: bool,
    _turn: OwnedMutexGuard<()>,
}

impl SqliteTransaction {
    pub(super) async fn query(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        self.worker.query(statement, values).await
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<u64, StorageError> {
        self.worker.execute(statement, values).await
    }

    pub(super) async fn commit(mut self) -> Result<(), StorageError> {
        self.worker.batch("COMMIT").await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if self.open {
            // Sent before the turn is released, so it runs before anybody else's statement.
            let _ = self.worker.jobs.send(Job::Work(Box::new(|connection| {
                if !connection.is_autocommit() {
                    let _ = connection.execute_batch("ROLLBACK");
                }
            })));
        }
    }
}

impl Worker {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job::Work(Box::new(move |connection| {
                let _ = reply.send(work(connection));
            })))
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Once the file is closed, what opens it again when dropped.
    async fn rest(&self) -> Result<mpsc::Sender<()>, StorageError> {
        let (resting, rests) = oneshot::channel();
        let (wake, go_on) = mpsc::channel();
        self.jobs.send(Job::Rest { resting, go_on }).map_err(|_| gone())?;
        rests.await.map_err(|_| gone())?;
        Ok(wake)
    }

    async fn batch(&self, sql: &'static str) -> Result<(), StorageError> {
        self.run(move |connection| connection.execute_batch(sql).map_err(StorageError::from)).await
    }

    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        let sql = statement.sql;
        self.run(move |connection| {
            let mut prepared = connection.prepare_cached(&numbered(sql))?;
            let columns = prepared.column_count();
            let mut found = prepared.query(params_from_iter(values))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let mut values = Vec::with_capacity(columns);
                for column in 0..columns {
                    values.push(read(row.get_ref(column)?)?);
                }
                rows.push(Row(values));
            }
            Ok(rows)
        })
        .await
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        let sql = statement.sql;
        self.run(move |connection| {
            let changed = connection.prepare_cached(&numbered(sql))?.execute(params_from_iter(values))?;
            Ok(changed as u64)
        })
        .await
    }
}

fn open_connection(path: &Path, patience: Duration) -> Result<rusqlite::Connection, StorageError> {
    // SQLite would create the file with the process's umask; its journal files take the file's mode.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| {
        let what = format!("{}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::StorageFull => StorageError::Full,
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                StorageError::ReadOnly(what)
            }
            _ => StorageError::Unavailable(what),
        }
    })?;
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(patience)?;
    configure(&connection, patience)?;
    Ok(connection)
}

/// SQLite's own patience does not cover the change to WAL, over which several first starts meet.
fn configure(connection: &rusqlite::Connection, patience: Duration) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        // FULL: a committed change survives a power cut. secure_delete: removed rows are overwritten.
        let configured = connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;",
        );
        match configured {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < patience =>
            {
                thread::sleep(BUSY_PAUSE);
            }
            done => return done,
        }
    }
}

/// SQLite gives `$1` a name of its own choosing; `?1` is its numbered form.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn read(value: ValueRef<'_>) -> Result<Value, StorageError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => Value::Text(
            String::from_utf8(bytes.to_vec())
                .map_err(|_| StorageError::Unexpected("a text that is not UTF-8".into()))?,
        ),
        ValueRef::Blob(_) => return Err(StorageError::Unexpected("a blob".into())),
    })
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => rusqlite::types::Null.into(),
            Self::Integer(value) => (*value).into(),
            Self::Real(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Time(value) => time_as_text(*value).into(),
            Self::Column(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("a column is no parameter".into()));
            }
        })
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly(error.to_string()),
            Some(ErrorCode::ConstraintViolation) => Self::Conflict,
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

fn busy() -> StorageError {
    StorageError::Unavailable("other changes take too long".into())
}

fn gone() -> StorageError {
    StorageError::Unavailable("the database was closed".into())
}

fn unavailable(error: impl Display) -> StorageError {
    StorageError::Unavailable(error.to_string())
}
