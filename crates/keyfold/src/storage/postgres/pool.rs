//! The pool of connections to PostgreSQL: few, made when needed, and never used again in a doubtful state.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::Client;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::storage::StorageError;

/// Of one process, besides the listener's. Small plans allow 20 in all: two replicas, and while they are replaced
/// two more, stay within them.
pub(in crate::storage) const MOST_CONNECTIONS: usize = 4;
/// How long the server may take: a caller learns within three seconds that it is away.
pub(super) const PATIENCE: Duration = Duration::from_millis(2700);
/// The longest wait for a connection behind others, however busy the server is.
const LONGEST_QUEUE: Duration = Duration::from_secs(20);
/// A server that answered somebody within this time is there.
const RECENT: Duration = Duration::from_millis(250);
/// An unused connection is closed after this, so that other replicas can have it.
const IDLE: Duration = Duration::from_secs(120);
const SWEEP: Duration = Duration::from_secs(30);
/// A connection that was quiet for longer may be half open: it must answer before it is used.
const QUIET: Duration = Duration::from_secs(1);
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);
/// Between attempts while the server has no free connection, or is just starting.
const PAUSE: Duration = Duration::from_millis(50);
/// For a connection that was given up to become free again, and for a request to cancel.
const SETTLE: Duration = Duration::from_secs(3);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    tls: MakeRustlsConnect,
    doubt: Arc<Doubt>,
    progress: Arc<Progress>,
}

/// How a pool of connections stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that are open.
    pub open: usize,
    /// Of those, the ones that nobody uses at the moment.
    pub idle: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// The most that may be open.
    pub most: usize,
}

/// When the server last answered anything. While it does, whoever waits behind others goes on waiting: it is busy,
/// not away.
struct Progress(Mutex<Instant>);

impl Progress {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when to wait for a server that was first needed at `begun`.
    fn patience_ends(&self, begun: Instant) -> Instant {
        begun.max(self.last()) + PATIENCE
    }

    fn is_recent(&self) -> bool {
        self.last().elapsed() < RECENT
    }
}

/// Connections that were last used before this moment are not used again.
#[derive(Default)]
struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    fn cast(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_about(&self, last_used: std::time::Instant) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| last_used < since.into_std())
    }
}

impl Connections {
    /// A pool that connects when it is first asked for a connection.
    pub(super) fn new(config: tokio_postgres::Config, tls: MakeRustlsConnect) -> Result<Self, StorageError> {
        let doubt = Arc::new(Doubt::default());
        let manager = Manager::from_connect(
            config,
            OnOneRuntime { runtime: Handle::current(), tls: tls.clone() },
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(MOST_CONNECTIONS)
            // The last one used is used next, so that the others can be closed.
            .queue_mode(QueueMode::Lifo)
            .pre_recycle(sign_of_life(Arc::clone(&doubt)))
            .build()
            .map_err(|error| StorageError::Refused(error.to_string()))?;
        close_idle(&pool);
        Ok(Self { pool, tls, doubt, progress: Arc::new(Progress(Mutex::new(Instant::now()))) })
    }

    /// A connection for one caller who began to need it at `begun`, and the moment by which the work must be done.
    pub(super) async fn lease(&self, begun: Instant) -> Result<(Lease, Instant), StorageError> {
        let getting = async {
            loop {
                match self.pool.get().await {
                    Ok(connection) => return Ok(connection),
                    Err(PoolError::Backend(error)) if is_soon_over(&error) => sleep(PAUSE).await,
                    Err(PoolError::Backend(error)) => return Err(error.into()),
                    Err(error) => return Err(StorageError::Unavailable(error.to_string())),
                }
                if self.ends(begun).saturating_duration_since(Instant::now()) < PAUSE {
                    return Err(StorageError::Unavailable(
                        "it takes no more connections at the moment".into(),
                    ));
                }
            }
        };
        let mut getting = std::pin::pin!(getting);
        let connection = loop {
            match timeout_at(self.ends(begun), &mut getting).await {
                Ok(connection) => break connection?,
                Err(_) if self.ends(begun) <= Instant::now() => return Err(too_late()),
                // Others were served meanwhile.
                Err(_) => {}
            }
        };
        // A server that answers others has all the time for this one; one that does not was given its time.
        let begun = if self.progress.is_recent() { Instant::now() } else { begun };
        let deadline = self.progress.patience_ends(begun);
        let lease = Lease {
            connection: Some(connection),
            tls: self.tls.clone(),
            doubt: Arc::clone(&self.doubt),
            progress: Arc::clone(&self.progress),
            awaits_answer: AtomicBool::new(false),
            in_transaction: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        };
        Ok((lease, deadline))
    }

    fn ends(&self, begun: Instant) -> Instant {
        self.progress.patience_ends(begun).min(begun + LONGEST_QUEUE)
    }

    /// For whoever may use the pool while it is there, and does not keep it.
    pub(super) fn while_there(&self) -> impl Fn() -> Option<Self> + Send + Sync + 'static {
        let (pool, tls) = (self.pool.weak(), self.tls.clone());
        let (doubt, progress) = (Arc::clone(&self.doubt), Arc::clone(&self.progress));
        move || {
            let pool = pool.upgrade()?;
            Some(Self { pool, tls: tls.clone(), doubt: Arc::clone(&doubt), progress: Arc::clone(&progress) })
        }
    }

    pub(super) fn state(&self) -> PoolState {
        let state = self.pool.status();
        PoolState { open: state.size, idle: state.available, waiting: state.waiting, most: state.max_size }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// Connections live on the runtime on which the pool was made, whichever thread is the first to need one: it may end before
/// the others.
struct OnOneRuntime {
    runtime: Handle,
    tls: MakeRustlsConnect,
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>>;

impl Connect for OnOneRuntime {
    fn connect(&self, config: &tokio_postgres::Config) -> Connecting<'_> {
        let (config, tls) = (config.clone(), self.tls.clone());
        let connecting = self.runtime.spawn(async move {
            let (client, connection) = config.connect(tls).await?;
            let driving = async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the database ended");
                }
            };
            Ok((client, tokio::spawn(driving)))
        });
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
                // The runtime ends, and whoever waits for it here.
                Err(_) => pending().await,
            }
        })
    }
}

fn sign_of_life(doubt: Arc<Doubt>) -> Hook {
    Hook::async_fn(move |connection, metrics| {
        let doubt = Arc::clone(&doubt);
        Box::pin(async move {
            if doubt.is_about(metrics.recycled.unwrap_or(metrics.created)) {
                return Err(HookError::message("in doubt"));
            }
            if metrics.last_used() < QUIET || connection.is_closed() {
                return Ok(());
            }
            match timeout(SIGN_OF_LIFE, connection.simple_query("")).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(HookError::Backend(error)),
                Err(_) => {
                    // What holds one up holds up all: asking each of them would take too long.
                    doubt.cast();
                    Err(HookError::message("no sign of life"))
                }
            }
        })
    })
}

fn close_idle(pool: &Pool) {
    let pool = pool.weak();
    tokio::spawn(async move {
        loop {
            sleep(SWEEP).await;
            let Some(pool) = pool.upgrade() else { return };
            pool.retain(|_, metrics| metrics.last_used() < IDLE);
        }
    });
}

/// One caller's connection. It goes back to the pool only when nothing is under way on it any more.
pub(super) struct Lease {
    /// Taken when dropped.
    connection: Option<Object>,
    tls: MakeRustlsConnect,
    doubt: Arc<Doubt>,
    progress: Arc<Progress>,
    awaits_answer: AtomicBool,
    in_transaction: AtomicBool,
    is_broken: AtomicBool,
}

impl Lease {
    /// Does `work` on the connection; it must end by `deadline`.
    pub(super) async fn work<'a, T, F>(
        &'a self,
        deadline: Instant,
        work: impl FnOnce(&'a Object) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let connection =
            self.connection.as_ref().ok_or_else(|| StorageError::Refused("the connection is gone".into()))?;
        // Whoever drops this halfway leaves the mark.
        self.awaits_answer.store(true, Ordering::Relaxed);
        let Ok(done) = timeout_at(deadline, work(connection)).await else {
            self.is_broken.store(true, Ordering::Relaxed);
            return Err(too_late());
        };
        self.awaits_answer.store(false, Ordering::Relaxed);
        if done.is_ok() {
            self.progress.note();
        }
        done.map_err(|error| {
            if connection.is_closed() || ends_connection(&error) {
                self.is_broken.store(true, Ordering::Relaxed);
            } else {
                self.progress.note();
            }
            let error = StorageError::from(error);
            if matches!(error, StorageError::ReadOnly(_)) {
                // Connections keep what the server was set to when they began.
                self.is_broken.store(true, Ordering::Relaxed);
                self.doubt.cast();
            }
            error
        })
    }

    pub(super) fn note_transaction(&self, is_open: bool) {
        self.in_transaction.store(is_open, Ordering::Relaxed);
    }

    /// Whether the connection broke under the last statement, before that was answered or given up.
    pub(super) fn died(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed) && !self.awaits_answer.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let awaits_answer = *self.awaits_answer.get_mut();
        let in_transaction = *self.in_transaction.get_mut();
        let is_broken = *self.is_broken.get_mut();
        if !awaits_answer && !in_transaction && !is_broken {
            // Back to the pool.
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(connection));
            return;
        };
        let tls = self.tls.clone();
        runtime.spawn(async move {
            if !is_broken {
                // What was given up ends first; then the connection can be used by others.
                let end = if in_transaction { "ROLLBACK" } else { "" };
                if let Ok(Ok(())) = timeout(SETTLE, connection.batch_execute(end)).await {
                    return;
                }
            }
            let connection = Object::take(connection);
            if awaits_answer || !is_broken {
                // The server does not look whether somebody still waits for what it does.
                let _ = timeout(SETTLE, connection.cancel_token().cancel_query(tls)).await;
            }
        });
    }
}

/// The server has no free connection, or is just starting: not for long, perhaps.
fn is_soon_over(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::TOO_MANY_CONNECTIONS, SqlState::CANNOT_CONNECT_NOW].contains(code))
}

fn ends_connection(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
    error.as_db_error().is_none() || matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

pub(super) fn too_late() -> StorageError {
    StorageError::Unavailable("it did not answer in time".into())
}
