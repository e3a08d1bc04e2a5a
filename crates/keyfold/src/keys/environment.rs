//! Local mode's keys: in the process environment, in the backend `.env`, and for browsers in the frontend one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal::{Journal, Note};
use super::{Keys, ReadFrom};
use crate::dotenv::{self, DotenvError, EnvFile, Snapshot};
use crate::error::Error;
use crate::provider::{Provider, Registry, key_shape};
use crate::secret::ApiKey;
use crate::settings::Environment;

/// The places that local mode reads keys from and writes them to.
pub(crate) struct EnvFiles {
    process: Environment,
    backend: PathBuf,
    frontend: Option<PathBuf>,
    journal: Journal,
}

/// Where a key of the environment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Process,
    File,
}

/// What a look for a key found.
pub(super) enum Found {
    Nothing,
    Key {
        key: ApiKey,
        place: Place,
    },
    /// Something stands there that cannot be a key.
    Unusable {
        place: Place,
        why: String,
    },
}

/// What a change of the files needs to be undone, and the note that it is under way.
pub(super) struct Undo {
    before: Vec<(PathBuf, Snapshot)>,
    _note: Option<Note>,
}

impl EnvFiles {
    /// What is under way is noted in `state_dir`.
    pub(crate) fn new(
        process: Environment,
        backend: PathBuf,
        frontend: Option<PathBuf>,
        state_dir: PathBuf,
    ) -> Self {
        Self { process, backend, frontend, journal: Journal::in_folder(state_dir) }
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn backend(&self) -> &Path {
        &self.backend
    }

    pub(crate) fn frontend(&self) -> Option<&Path> {
        self.frontend.as_deref()
    }

    /// Looks for a provider's key, in the process first, then in the file as it is now on disk.
    pub(super) fn find(&self, provider: &Provider) -> Result<Found, DotenvError> {
        if let Some(value) = self.process.get(&provider.variable).map(str::trim)
            && is_meant(provider, value)
        {
            return Ok(match ApiKey::parse(value) {
                Ok(key) => Found::Key { key, place: Place::Process },
                Err(why) => Found::Unusable {
                    place: Place::Process,
                    why: format!("the variable {} of the process is no key: {why}", provider.variable),
                },
            });
        }
        Ok(self.find_in_file(provider, &EnvFile::read(&self.backend)?))
    }

    pub(super) fn find_in_file(&self, provider: &Provider, file: &EnvFile) -> Found {
        let Some(variable) = file.variable(&provider.variable) else { return Found::Nothing };
        let value = variable.value().unwrap_or_default().trim();
        if !is_meant(provider, value) {
            return Found::Nothing;
        }
        match ApiKey::parse(value) {
            Ok(key) => Found::Key { key, place: Place::File },
            Err(why) => Found::Unusable {
                place: Place::File,
                why: format!(
                    "{} in {}, line {}: {why}",
                    provider.variable,
                    self.backend.display(),
                    variable.line()
                ),
            },
        }
    }

    /// Whether `text` repeats a key that stands in the process environment or in the file.
    pub(super) fn repeat(&self, registry: &Registry, text: &str) -> bool {
        let file = EnvFile::read(&self.backend).ok();
        registry.iter().any(|provider| {
            let in_process = self.process.get(&provider.variable);
            let in_file = file.as_ref().and_then(|file| file.get(&provider.variable));
            let mut keys =
                [in_process, in_file].into_iter().flatten().filter_map(|value| ApiKey::parse(value).ok());
            keys.any(|key| key.stands_in(text))
        })
    }

    /// Whether a variable of the process hides what the file says.
    pub(super) fn process_overrides(&self, provider: &Provider) -> bool {
        self.process.get(&provider.variable).is_some_and(|value| is_meant(provider, value.trim()))
    }

    /// The variable of the process that is used instead of what the file has for this provider.
    pub(super) fn overridden_by(&self, provider: &Provider, file: &EnvFile) -> Option<String> {
        let is_in_file = !matches!(self.find_in_file(provider, file), Found::Nothing);
        (is_in_file && self.process_overrides(provider)).then(|| provider.variable.clone())
    }

    /// The files that a key of this provider is written to.
    pub(super) fn of(&self, provider: &Provider) -> Vec<PathBuf> {
        self.places(provider).into_iter().map(|(path, _)| path.to_owned()).collect()
    }

    /// The same with the variable in each.
    fn places<'a>(&'a self, provider: &'a Provider) -> Vec<(&'a Path, &'a str)> {
        let mut places = vec![(self.backend.as_path(), provider.variable.as_str())];
        if let (Some(frontend), Some(variable)) = (&self.frontend, &provider.frontend_variable) {
            places.push((frontend, variable));
        }
        places
    }

    /// Writes the key to the backend file, and to the frontend file if browsers need it.
    #[expect(clippy::disallowed_methods, reason = "local mode keeps keys in .env, as the developer asked")]
    pub(super) fn write(
        &self,
        provider: &Provider,
        key: &ApiKey,
        note: Option<Note>,
    ) -> Result<Undo, DotenvError> {
        self.change(provider, note, |file, variable| file.set(variable, key.expose()))
    }

    /// Removes the key from both files.
    pub(super) fn remove(&self, provider: &Provider, note: Option<Note>) -> Result<Undo, DotenvError> {
        self.change(provider, note, |file, variable| file.remove(variable).map(drop))
    }

    /// Clears away what a killed process left beside the files.
    pub(super) fn sweep(&self) {
        for path in [Some(&self.backend), self.frontend.as_ref()].into_iter().flatten() {
            if let Err(error) = dotenv::update(path, |_| Ok::<_, DotenvError>(())) {
                tracing::debug!(%error, "what a killed process may have left stays");
            }
        }
    }

    fn change(
        &self,
        provider: &Provider,
        note: Option<Note>,
        change: impl Fn(&mut EnvFile, &str) -> Result<(), DotenvError>,
    ) -> Result<Undo, DotenvError> {
        let mut undo = Undo { before: vec![], _note: note };
        for (path, variable) in self.places(provider) {
            let changed = dotenv::update(path, |file| {
                let before = file.snapshot(variable);
                change(file, variable)?;
                Ok::<_, DotenvError>(before)
            });
            match changed {
                Ok(before) => undo.before.push((path.to_owned(), before)),
                Err(error) => {
                    undo.apply();
                    return Err(error);
                }
            }
        }
        Ok(undo)
    }
}

impl Undo {
    /// Puts the files back as they were, as far as possible.
    pub(super) fn apply(self) {
        for (path, before) in self.before.into_iter().rev() {
            if let Err(error) = dotenv::update(&path, |file| file.restore(&before)) {
                tracing::error!(%error, "a .env file could not be put back as it was");
            }
        }
    }
}

/// Writes one of the registry's frontend variables to the frontend `.env`.
pub(crate) async fn set_frontend_variable(keys: &Arc<Keys>, name: &str, value: &str) -> Result<(), Error> {
    let ReadFrom::Environment(files) = &keys.read_from else {
        return Err(Error::NotFound("There is no frontend .env in production.".into()));
    };
    let known: Vec<&str> =
        keys.registry.iter().filter_map(|provider| provider.frontend_variable.as_deref()).collect();
    if !known.contains(&name) {
        return Err(Error::InvalidRequest {
            field: "key".into(),
            why: format!("must be a variable that front ends need: {}", known.join(", ")),
        });
    }
    let Some(path) = files.frontend.clone() else {
        return Err(Error::NotFound(
            "There is no frontend folder here. Set KEYFOLD_FRONTEND_ENV_FILE to the .env of your front end."
                .into(),
        ));
    };
    let value = ApiKey::parse(value).map_err(|why| Error::InvalidRequest {
        field: "value".into(),
        why: format!("cannot be used: {why}"),
    })?;
    let name = name.to_owned();
    let written = tokio::task::spawn_blocking(move || write_variable(&path, &name, &value));
    Ok(written.await??)
}

#[expect(clippy::disallowed_methods, reason = "a key that is public by design, for the front end's .env")]
fn write_variable(path: &Path, name: &str, value: &ApiKey) -> Result<(), DotenvError> {
    dotenv::update(path, |file| file.set(name, value.expose()))
}

/// Neither empty nor a placeholder, such as a copied `.env.example` holds.
fn is_meant(provider: &Provider, value: &str) -> bool {
    !value.is_empty() && !key_shape::is_placeholder(provider, value)
}
