//! What went wrong, on its way to becoming an exception of `keyfold.errors`.

use keyfold::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

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
    ///
    /// It is made without running code in Python: while the interpreter ends, that could tear a daemon thread out of
    /// this code.
    pub(crate) fn into_error(self, py: Python<'_>) -> PyErr {
        let (code, text, cause) = self.told();
        if let Some(cause) = cause {
            crate::logging::note_error(&format!("{code}: {cause}"));
            crate::logging::hand_over(py);
        }
        class_of(py, code)
            .and_then(|class| class.call1((code, &text)))
            .map_or_else(|_| PyRuntimeError::new_err(text.clone()), PyErr::from_value)
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

fn class_of<'py>(py: Python<'py>, code: &str) -> PyResult<Bound<'py, PyAny>> {
    static CLASSES: PyOnceLock<(Py<PyDict>, Py<PyAny>)> = PyOnceLock::new();
    let (classes, other) = CLASSES.get_or_try_init(py, || {
        let errors = py.import("keyfold.errors")?;
        let classes = errors.getattr("CLASSES")?.cast_into::<PyDict>()?;
        Ok::<_, PyErr>((classes.unbind(), errors.getattr("KeyfoldError")?.unbind()))
    })?;
    Ok(classes.bind(py).get_item(code)?.unwrap_or_else(|| other.bind(py).clone()))
}
