//! Work on the runtime that somebody in Python waits for: a thread, or a task of an event loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use keyfold::{OpenedKey, UserApiKeys};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use tokio::task::AbortHandle;

use crate::failure::Failure;
use crate::keys::Keys;
use crate::process::{self, Process, away, is_process};

/// A thread that waits looks this often whether it was interrupted (Ctrl-C).
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(100);

/// What work comes to.
pub(crate) enum Value {
    /// Nothing that anybody needs.
    Nothing,
    /// A user's keys.
    Keys(UserApiKeys),
    /// One key, if there is one.
    Key(Option<OpenedKey>),
    /// All keys of a user.
    All(Vec<(String, OpenedKey)>),
}

type Result<T, E = Failure> = std::result::Result<T, E>;
type Work = Pin<Box<dyn Future<Output = Result<Value>> + Send>>;

/// Work that is under way, or done. What it came to can be taken once.
#[pyclass(frozen, module = "keyfold._keyfold")]
pub(crate) struct Waiting {
    process: u32,
    slot: Option<Arc<Slot>>,
    abort: Option<AbortHandle>,
}

struct Slot {
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inner {
    is_done: bool,
    value: Option<Result<Value>>,
    /// Whom to tell that it is done.
    callback: Option<Py<PyAny>>,
}

/// Gives the slot its value, whatever becomes of the task.
struct Promise(Arc<Slot>);

/// Work that was begun.
pub(crate) enum Begun {
    /// It needed no waiting.
    Done(Result<Value>),
    UnderWay(Waiting),
}

impl Begun {
    /// Waits if need be, without holding the interpreter, and takes what it came to.
    pub(crate) fn wait(self, py: Python<'_>, process: &Process) -> PyResult<Py<PyAny>> {
        match self {
            Self::Done(done) => taken(py, done, process.id()),
            Self::UnderWay(waiting) => waiting.wait(py),
        }
    }

    /// What it came to, or the [`Waiting`].
    pub(crate) fn into_python(self, py: Python<'_>, process: &Process) -> PyResult<Py<PyAny>> {
        match self {
            Self::Done(done) => taken(py, done, process.id()),
            Self::UnderWay(waiting) => Ok(Py::new(py, waiting)?.into_any()),
        }
    }
}

impl Waiting {
    /// Begins the work. What needs no waiting is done when this returns.
    pub(crate) fn begin<E: Into<Failure>>(
        process: &Process,
        work: impl Future<Output = Result<Value, E>> + Send + 'static,
    ) -> Begun {
        let mut work: Work = Box::pin(async move { work.await.map_err(Into::into) });
        let _inside = process.runtime().enter();
        // Nothing is lost: the runtime polls it again, with a waker of its own.
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Begun::Done(done);
        }
        let slot = Arc::new(Slot { inner: Mutex::default(), arrived: Condvar::new() });
        let promise = Promise(Arc::clone(&slot));
        let task = process.runtime().spawn(async move {
            let value = work.await;
            promise.0.put(value);
        });
        Begun::UnderWay(Self { process: process.id(), slot: Some(slot), abort: Some(task.abort_handle()) })
    }

    /// Does on a thread of the runtime what would hold up the caller.
    pub(crate) fn begin_blocking(
        process: &Process,
        work: impl FnOnce() -> Result<Value> + Send + 'static,
    ) -> Self {
        let slot = Arc::new(Slot { inner: Mutex::default(), arrived: Condvar::new() });
        let promise = Promise(Arc::clone(&slot));
        process.runtime().spawn_blocking(move || {
            let value = work();
            promise.0.put(value);
        });
        Self { process: process.id(), slot: Some(slot), abort: None }
    }

    /// Waits without holding the interpreter, and takes what it came to.
    pub(crate) fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let slot = self.slot(py)?;
        while !slot.lock().is_done {
            away(py, || slot.wait_a_while()).map_err(|failure| failure.into_error(py))?;
            if let Err(interrupted) = py.check_signals() {
                self.cancel();
                return Err(interrupted);
            }
        }
        self.take(py)
    }

    fn slot(&self, py: Python<'_>) -> PyResult<&Slot> {
        match &self.slot {
            Some(slot) if is_process(self.process) => Ok(slot),
            _ => Err(Failure::OtherProcess.into_error(py)),
        }
    }
}

#[pymethods]
impl Waiting {
    /// Whether it is done. If not, `callback` is called once when it is, on another thread.
    fn is_done_or_tells(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<bool> {
        let mut inner = self.slot(py)?.lock();
        if !inner.is_done {
            inner.callback = Some(callback);
        }
        Ok(inner.is_done)
    }

    /// What it came to, or the exception.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let value = self.slot(py)?.lock().value.take();
        taken(py, value.unwrap_or(Err(Failure::Broken)), self.process)
    }

    /// Nobody waits any more.
    fn cancel(&self) {
        if let (Some(abort), true) = (&self.abort, is_process(self.process)) {
            abort.abort();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !is_process(self.process) {
            std::mem::forget((self.slot.take(), self.abort.take()));
        }
    }
}

impl Slot {
    fn put(&self, value: Result<Value>) {
        let callback = {
            let mut inner = self.lock();
            if inner.is_done {
                return;
            }
            inner.is_done = true;
            inner.value = Some(value);
            inner.callback.take()
        };
        self.arrived.notify_all();
        let Some(callback) = callback else { return };
        // Whoever holds the interpreter must not hold up the runtime.
        let tell = move || {
            // Its loop may be closed by now: then nobody waits.
            Python::try_attach(|py| drop(callback.call0(py)));
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(tell)),
            Err(_) => tell(),
        }
    }

    fn wait_a_while(&self) {
        let inner = self.lock();
        let _ = self.arrived.wait_timeout_while(inner, LOOK_FOR_SIGNALS, |inner| !inner.is_done);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.put(Err(Failure::Broken));
    }
}

fn taken(py: Python<'_>, done: Result<Value>, process: u32) -> PyResult<Py<PyAny>> {
    crate::logging::hand_over(py);
    match done {
        Ok(value) => value.into_python(py, process),
        Err(Failure::Broken) if process::is_over() => Err(Failure::Over.into_error(py)),
        Err(failure) => Err(failure.into_error(py)),
    }
}

impl Value {
    fn into_python(self, py: Python<'_>, process: u32) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Nothing | Self::Key(None) => py.None(),
            Self::Keys(keys) => Py::new(py, Keys::new(process, keys))?.into_any(),
            Self::Key(Some(key)) => PyString::new(py, key.expose()).into_any().unbind(),
            Self::All(keys) => {
                let all = PyDict::new(py);
                for (provider, key) in keys {
                    all.set_item(provider, key.expose())?;
                }
                all.into_any().unbind()
            }
        })
    }
}
