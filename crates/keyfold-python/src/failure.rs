//! What went wrong, on its way to becoming an exception of `keyfold.errors`.

use keyfold::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Everything that can be raised.
pub(crate) enum Failure {
    /// The library says so.
    Keyfold(Error),
    /// No user was given where there are many.
    NoUser,
    /// The user's id is no Unicode text.
    NotText,
    /// The process ends.
    Over,
    /// Work that was begun in the parent of a fork.
    OtherProcess,
    /// A fault of ours.
    Broken,
    /// The runtime has no threads.
    NoThreads(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Keyfold(error)
    }
}

impl Failure {
    /// The exception.
    pub(crate) fn into_error(self, py: Python<'_>) -> PyErr {
        let (code, text, cause) = self.told();
        exception(py, code, &text, cause.as_deref()).map_or_else(|error| error, PyErr::from_value)
    }

    /// Its code, its text for users, and the cause for the log.
    fn told(self) -> (&'static str, String, Option<String>) {
        match self {
            Self::Keyfold(error) => {
                let (text, cause) = (error.to_string(), error.cause());
                let cause = (cause != text).then_some(cause);
                (error.code(), text, cause)
            }
            Self::NoUser => (
                "invalid_request",
                "`user_id` is missing: in production keys are always a user's. Give the id of the user whose identity you checked.".into(),
                None,
            ),
            Self::NotText => ("invalid_request", "`user_id` is not valid Unicode text.".into(), None),
            Self::Over => (
                "shut_down",
                "The Python process is ending, so keys are no longer opened. Use them before the interpreter shuts down.".into(),
                None,
            ),
            Self::OtherProcess => (
                "internal_error",
                "This was begun before the process forked, so it cannot be finished in the child. Begin it anew there.".into(),
                None,
            ),
            Self::Broken => (
                "internal_error",
                "Something went wrong inside Keyfold. The operator finds the cause in the log.".into(),
                Some("a task panicked or was cancelled".into()),
            ),
            Self::NoThreads(why) => (
                "cannot_start",
                "Keyfold cannot start a thread. Check this process's limits.".into(),
                Some(why),
            ),
        }
    }
}

fn exception<'py>(
    py: Python<'py>,
    code: &str,
    text: &str,
    cause: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("keyfold.errors")?.getattr("exception_of")?.unbind()))
        // While the interpreter ends, modules are gone.
        .map_err(|_| PyRuntimeError::new_err(text.to_owned()))?;
    make.bind(py).call1((code, text, cause)).map_err(|_| PyRuntimeError::new_err(text.to_owned()))
}
