//! The compiled part of the Python package `keyfold`: the library, entered from Python's threads and loops.
//!
//! Contexts, exceptions and everything else that people read stand in `python/keyfold`. Here stands what waits: one
//! runtime per process (`process.rs`), work that is under way (`waiting.rs`), and a user's keys (`keys.rs`).

mod failure;
mod keys;
mod logging;
mod process;
mod waiting;

use pyo3::prelude::*;

/// The module `keyfold._keyfold`.
#[pymodule]
mod _keyfold {
    use keyfold::settings::{Kind, SETTINGS};
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    #[pymodule_export]
    use crate::keys::Keys;
    #[pymodule_export]
    use crate::waiting::Waiting;

    use crate::process;

    #[pymodule_init]
    fn init() {
        crate::logging::install();
    }

    /// The keys of a user. Waits; the interpreter runs on meanwhile.
    #[pyfunction]
    fn keys_of(py: Python<'_>, user: Option<crate::keys::UserText>) -> PyResult<Py<PyAny>> {
        let (begun, process) = crate::keys::begin(py, user)?;
        begun.wait(py, &process)
    }

    /// The same without waiting: the keys if they are remembered, else what to wait for.
    #[pyfunction]
    fn begin_keys_of(py: Python<'_>, user: Option<crate::keys::UserText>) -> PyResult<Py<PyAny>> {
        let (begun, process) = crate::keys::begin(py, user)?;
        begun.into_python(py, &process)
    }

    /// `local` or `production`.
    #[pyfunction]
    fn mode(py: Python<'_>) -> PyResult<&'static str> {
        Ok(process::open(py)?.mode().as_str())
    }

    /// Which provider's key each environment variable stands for.
    #[pyfunction]
    fn variables(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let keyfold = process::open(py)?;
        let variables = PyDict::new(py);
        for provider in keyfold.registry().iter() {
            let names = std::iter::once(&provider.variable).chain(&provider.also_exported_as);
            for name in names {
                variables.set_item(name, provider.id.as_str())?;
            }
        }
        Ok(variables)
    }

    /// Keyfold's own secrets among the environment's variables.
    #[pyfunction]
    fn secret_settings() -> Vec<String> {
        let secrets = SETTINGS.iter().filter(|setting| setting.kind == Kind::Secret);
        secrets.flat_map(|secret| [secret.name.to_owned(), format!("{}_FILE", secret.name)]).collect()
    }

    /// Before a fork: SQLite's file is closed, because SQLite remembers locks that a child does not have.
    #[pyfunction]
    fn before_fork(py: Python<'_>) {
        process::before_fork(py);
    }

    /// After a fork, in the parent.
    #[pyfunction]
    fn has_forked() {
        process::has_forked();
    }

    /// In the child of a fork: nothing of the parent is used again.
    #[pyfunction]
    fn forked() {
        process::forked();
    }

    /// At the end of the process: what is noted is written down, and every thread ends.
    #[pyfunction]
    fn shut_down(py: Python<'_>) {
        crate::logging::hand_over(py);
        process::shut_down(py);
    }
}
