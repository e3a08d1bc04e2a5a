//! A user's keys, as Python holds them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyfold::mode::Mode;
use keyfold::user::LOCAL_USER;
use keyfold::{Error, Keyfold, OpenedKey, UserApiKeys};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::failure::Failure;
use crate::process::{self, Process, away, is_process};
use crate::waiting::{Begun, Value, Waiting};

/// A user's id as Python gave it; `None` if it is no Unicode text (lone surrogates).
pub(crate) struct UserText(Option<String>);

impl<'py> FromPyObject<'_, 'py> for UserText {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Ok(text) = object.cast::<PyString>() else {
            return Err(PyTypeError::new_err("user_id must be a str or None"));
        };
        Ok(Self(text.to_cow().ok().map(std::borrow::Cow::into_owned)))
    }
}

/// A provider's name as Python gave it. What is no Unicode text (lone surrogates) is some name that no provider has.
pub(crate) struct ProviderText(String);

impl<'py> FromPyObject<'_, 'py> for ProviderText {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let Ok(text) = object.cast::<PyString>() else {
            return Err(PyTypeError::new_err("provider must be a str"));
        };
        Ok(Self(text.to_string_lossy().into_owned()))
    }
}

/// Looks the user up.
pub(crate) fn begin(py: Python<'_>, user: Option<UserText>) -> PyResult<(Begun, Arc<Process>)> {
    let user = match user {
        None => None,
        Some(UserText(Some(text))) => Some(text),
        Some(UserText(None)) => return Err(Failure::NotText.into_error(py)),
    };
    let process = process::current().map_err(|failure| failure.into_error(py))?;
    let (surroundings, opened) = (process.surroundings(), Arc::clone(&process));
    let looking = async move {
        let keyfold = opened.keyfold(surroundings).await?;
        keys_of(keyfold, user.as_deref()).await.map(Value::Keys)
    };
    Ok((Waiting::begin(&process, looking), process))
}

async fn keys_of(keyfold: &Keyfold, user: Option<&str>) -> Result<UserApiKeys, Failure> {
    let user = match (user, keyfold.mode()) {
        (Some(user), _) => user,
        (None, Mode::Local) => LOCAL_USER,
        (None, Mode::Production) => return Err(Failure::NoUser),
    };
    Ok(keyfold.user_api_keys(user).await?)
}

/// A user's keys until they are ended. Each is opened when it is asked for, and that is recorded.
#[pyclass(frozen, module = "keyfold._keyfold")]
pub(crate) struct Keys {
    inner: Mutex<Inner>,
}

/// Only looked at while attached to the interpreter, and never while waiting: so it is free when a process forks.
struct Inner {
    process: u32,
    keys: Option<Arc<UserApiKeys>>,
}

impl Keys {
    pub(crate) fn new(process: u32, keys: UserApiKeys) -> Self {
        Self { inner: Mutex::new(Inner { process, keys: Some(Arc::new(keys)) }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, if they are not ended. In a forked child they are looked up anew: what the parent opened goes on
    /// there.
    fn keys(&self, py: Python<'_>) -> PyResult<Option<Arc<UserApiKeys>>> {
        let user = {
            let inner = self.lock();
            match &inner.keys {
                None => return Ok(None),
                Some(keys) if is_process(inner.process) => return Ok(Some(Arc::clone(keys))),
                Some(keys) => keys.user().as_str().to_owned(),
            }
        };
        let (begun, process) = begin(py, Some(UserText(Some(user))))?;
        let anew = begun.wait(py, &process)?;
        let anew = anew.bind(py).cast::<Self>()?.get().lock().keys.take();
        let mut inner = self.lock();
        inner.process = std::process::id();
        std::mem::forget(std::mem::replace(&mut inner.keys, anew.clone()));
        Ok(anew)
    }
}

#[pymethods]
impl Keys {
    /// The key, or `None` if there is none.
    fn find(&self, py: Python<'_>, provider: ProviderText) -> PyResult<Option<Py<PyString>>> {
        let Some(keys) = self.keys(py)? else { return Ok(None) };
        let found = away(py, || find(&keys, &provider.0));
        given(py, found)
    }

    /// The same without waiting.
    fn begin_find(&self, py: Python<'_>, provider: ProviderText) -> PyResult<Waiting> {
        let process = process::current().map_err(|failure| failure.into_error(py))?;
        let keys = self.keys(py)?;
        Ok(Waiting::begin_blocking(&process, move || match keys {
            Some(keys) => Ok(Value::Key(find(&keys, &provider.0)?)),
            None => Ok(Value::Key(None)),
        }))
    }

    /// The key; what is missing is an exception that says what to do.
    fn require(&self, py: Python<'_>, provider: ProviderText) -> PyResult<Option<Py<PyString>>> {
        let Some(keys) = self.keys(py)? else { return Ok(None) };
        let found = away(py, || keys.get(&provider.0).map(Some));
        given(py, found)
    }

    /// Whether there is a key. Opens none.
    fn holds(&self, py: Python<'_>, provider: ProviderText) -> PyResult<bool> {
        let Some(keys) = self.keys(py)? else { return Ok(false) };
        told(py, away(py, || holds(&keys, &provider.0)))
    }

    /// The providers that there are keys for. Opens none.
    fn providers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let Some(keys) = self.keys(py)? else { return Ok(vec![]) };
        told(py, away(py, || providers(&keys)))
    }

    /// All keys.
    fn begin_all(&self, py: Python<'_>) -> PyResult<Waiting> {
        let process = process::current().map_err(|failure| failure.into_error(py))?;
        let keys = self.keys(py)?;
        Ok(Waiting::begin_blocking(&process, move || match keys {
            Some(keys) => Ok(Value::All(all(&keys)?)),
            None => Ok(Value::All(vec![])),
        }))
    }

    /// All keys, waiting.
    fn all(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.begin_all(py)?.wait(py)
    }

    /// Whether they are not ended.
    #[getter]
    fn is_open(&self) -> bool {
        self.lock().keys.is_some()
    }

    /// Ends them: from now on there are none.
    fn end(&self) {
        let mut inner = self.lock();
        let Some(keys) = inner.keys.take() else { return };
        let process = inner.process;
        drop(inner);
        if !is_process(process) {
            std::mem::forget(keys);
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.end();
    }
}

fn find(keys: &UserApiKeys, provider: &str) -> Result<Option<OpenedKey>, Error> {
    match keys.get(provider) {
        Ok(key) => Ok(Some(key)),
        Err(Error::NoApiKey { .. } | Error::UnknownProvider { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn holds(keys: &UserApiKeys, provider: &str) -> Result<bool, Error> {
    match keys.holds(provider) {
        Err(Error::UnknownProvider { .. }) => Ok(false),
        held => held,
    }
}

/// Those that this Keyfold knows; a database may have rows of others.
fn providers(keys: &UserApiKeys) -> Result<Vec<String>, Error> {
    let mut providers = vec![];
    for record in keys.list()? {
        if holds(keys, record.provider.as_str())? {
            providers.push(record.provider.to_string());
        }
    }
    Ok(providers)
}

fn all(keys: &UserApiKeys) -> Result<Vec<(String, OpenedKey)>, Error> {
    let mut all = vec![];
    for provider in providers(keys)? {
        if let Some(key) = find(keys, &provider)? {
            all.push((provider, key));
        }
    }
    Ok(all)
}

fn given(
    py: Python<'_>,
    found: Result<Result<Option<OpenedKey>, Error>, Failure>,
) -> PyResult<Option<Py<PyString>>> {
    let key = told(py, found)?;
    Ok(key.map(|key| PyString::new(py, key.expose()).unbind()))
}

fn told<T>(py: Python<'_>, done: Result<Result<T, Error>, Failure>) -> PyResult<T> {
    done.and_then(|done| done.map_err(Failure::from)).map_err(|failure| failure.into_error(py))
}
