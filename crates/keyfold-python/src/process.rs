//! What a process has one of: the runtime and the Keyfold. Made at first use; a fork's child makes its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyfold::{Environment, Error, Keyfold, Rest};
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::waiting::{Value, Waiting};

/// They do little: most look-ups are answered from memory, on the caller's own thread.
const WORKERS: usize = 2;
/// Of threads that read files or commit for an event loop.
const MOST_BLOCKING: usize = 64;
/// How long the end of the process waits for what is still to be written down.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// How long threads may take to end after that.
const LAST_THREADS: Duration = Duration::from_secs(2);

/// Only looked at while attached to the interpreter, and never while waiting: so it is free when a process forks.
static STATE: Mutex<State> = Mutex::new(State::Unused);

/// Threads that are in here and away from the interpreter, or call Python from here.
static AWAY: AtomicUsize = AtomicUsize::new(0);
/// Whoever is still away stays there.
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// SQLite, while this process forks.
static RESTING: Mutex<Option<Rest>> = Mutex::new(None);

enum State {
    Unused,
    Running { process: Arc<Process>, runtime: Runtime },
    Over,
}

/// The Keyfold of this process, once it was needed.
pub(crate) struct Process {
    id: u32,
    runtime: Handle,
    keyfold: OnceCell<Keyfold>,
}

/// What a Keyfold is opened with, read while no other thread of Python changes it.
pub(crate) struct Surroundings {
    environment: Environment,
    folder: Result<PathBuf, String>,
}

/// This process's. A forked child that nobody told of the fork finds out here.
pub(crate) fn current() -> Result<Arc<Process>, Failure> {
    let mut state = state();
    match &*state {
        State::Running { process, .. } if process.id == std::process::id() => return Ok(Arc::clone(process)),
        State::Over => return Err(Failure::Over),
        State::Running { .. } | State::Unused => {}
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MOST_BLOCKING)
        .thread_name("keyfold")
        .enable_all()
        .build()
        .map_err(|error| Failure::NoThreads(error.to_string()))?;
    let process = Process::new(runtime.handle().clone());
    let before = std::mem::replace(&mut *state, State::Running { process: Arc::clone(&process), runtime });
    // Of a parent: its connections, files and threads are not this process's to close.
    std::mem::forget(before);
    Ok(process)
}

/// The Keyfold of this process, opened if it was not yet.
pub(crate) fn open(py: Python<'_>) -> PyResult<Keyfold> {
    let process = current().map_err(|failure| failure.into_error(py))?;
    if let Some(keyfold) = process.keyfold.get() {
        return Ok(keyfold.clone());
    }
    let surroundings = Surroundings::now();
    let opening = {
        let process = Arc::clone(&process);
        async move { process.keyfold(surroundings).await.map(|_| Value::Nothing) }
    };
    Waiting::begin(&process, opening).wait(py, &process)?;
    process.keyfold.get().cloned().ok_or_else(|| Failure::Over.into_error(py))
}

/// SQLite's file is closed while the process forks.
pub(crate) fn before_fork(py: Python<'_>) {
    let Some((keyfold, runtime)) = ({
        match &*state() {
            State::Running { process, .. } if process.id == std::process::id() => {
                process.keyfold.get().cloned().map(|keyfold| (keyfold, process.runtime.clone()))
            }
            _ => None,
        }
    }) else {
        return;
    };
    // If it cannot be closed in time, a child that opens it may find it locked.
    let rest = away(py, || runtime.block_on(keyfold.rest()));
    *lock(&RESTING) = rest.ok().and_then(Result::ok).flatten();
}

/// The parent goes on.
pub(crate) fn has_forked() {
    drop(lock(&RESTING).take());
}

/// Nothing of the parent is used again, or closed: it goes on there.
pub(crate) fn forked() {
    std::mem::forget(lock(&RESTING).take());
    // The other threads are in the parent; this one is here.
    AWAY.store(0, Ordering::SeqCst);
    let mut state = state();
    if let State::Running { .. } = &*state {
        std::mem::forget(std::mem::replace(&mut *state, State::Unused));
    }
}

/// Writes down what is noted and ends every thread. Afterwards there are no keys any more.
pub(crate) fn shut_down(py: Python<'_>) {
    let before = std::mem::replace(&mut *state(), State::Over);
    match before {
        State::Running { process, runtime } if process.id == std::process::id() => py.detach(|| {
            close(process);
            runtime.shutdown_timeout(LAST_THREADS);
            let since = Instant::now();
            while AWAY.load(Ordering::SeqCst) > 0 && since.elapsed() < LAST_THREADS {
                std::thread::sleep(Duration::from_millis(1));
            }
            HAS_ENDED.store(true, Ordering::SeqCst);
        }),
        other => std::mem::forget(other),
    }
}

/// Works while others have the interpreter.
///
/// A daemon thread that comes back to an interpreter that is gone would be torn out of this code, which ends the process
/// with a crash. So the end of the process waits for those who are away, and who comes too late stays.
pub(crate) fn away<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    let _awaited = Awaited::begin()?;
    Ok(py.detach(|| {
        let done = work();
        while HAS_ENDED.load(Ordering::SeqCst) {
            std::thread::park();
        }
        done
    }))
}

/// Whether the process ends, and with it what was under way.
pub(crate) fn is_over() -> bool {
    matches!(*state(), State::Over)
}

/// Whether this is the process `id`; a look that costs little.
pub(crate) fn is_process(id: u32) -> bool {
    std::process::id() == id
}

fn close(process: Arc<Process>) {
    let runtime = process.runtime.clone();
    let Some(process) = Arc::into_inner(process) else { return };
    let Some(keyfold) = process.keyfold.into_inner() else { return };
    // What does not get done in time stays in the audit spool, for the next start.
    let _ = runtime.block_on(async { timeout(LAST_WAIT, keyfold.close()).await });
}

fn state() -> MutexGuard<'static, State> {
    lock(&STATE)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of the process waits until this is dropped.
pub(crate) struct Awaited(());

impl Awaited {
    /// While attached to the interpreter; refused once the process ends.
    pub(crate) fn begin() -> Result<Self, Failure> {
        if is_over() {
            return Err(Failure::Over);
        }
        AWAY.fetch_add(1, Ordering::SeqCst);
        Ok(Self(()))
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAY.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Process {
    fn new(runtime: Handle) -> Arc<Self> {
        Arc::new(Self { id: std::process::id(), runtime, keyfold: OnceCell::new() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What it would be opened with now; `None` if it is open.
    pub(crate) fn surroundings(&self) -> Option<Surroundings> {
        (!self.keyfold.initialized()).then(Surroundings::now)
    }

    /// The Keyfold. If it cannot be opened, the next one who asks tries again.
    pub(crate) async fn keyfold(
        &self,
        surroundings: impl Into<Option<Surroundings>>,
    ) -> Result<&Keyfold, Error> {
        let surroundings = surroundings.into();
        self.keyfold
            .get_or_try_init(|| async move {
                let Some(Surroundings { environment, folder }) = surroundings else {
                    return Err(Error::Internal("it was closed meanwhile".into()));
                };
                let folder = folder.map_err(|why| {
                    Error::CannotStart(format!("The working directory cannot be read: {why}."))
                })?;
                Box::pin(Keyfold::open_with(environment, &folder)).await
            })
            .await
    }
}

impl Surroundings {
    fn now() -> Self {
        Self {
            environment: Environment::from_process(),
            folder: std::env::current_dir().map_err(|error| error.to_string()),
        }
    }
}
