//! Where a setting's value comes from: process environment, backend `.env`, `keyfold.toml`, in this order.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::catalogue::{Kind, SETTINGS, Setting, base_address_provider};
use super::{Environment, PLATFORMS, Problems, SettingsError};
use crate::dotenv::EnvFile;
use crate::mode::{self, Mode};
use crate::provider::ProviderId;

/// The settings file, in the working directory.
pub(super) const SETTINGS_FILE: &str = "keyfold.toml";

/// What decided the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the process.
    Process,
    /// A line of the backend `.env`.
    EnvFile,
    /// No source sets it.
    Default,
}

/// All sources of settings, and the mode that they decide.
pub struct Sources {
    dir: PathBuf,
    process: Environment,
    /// Local mode only.
    env_file: Option<EnvFile>,
    toml: Vec<(String, Zeroizing<String>)>,
    backend_env_file: PathBuf,
    mode: Mode,
    mode_origin: Origin,
}

impl Sources {
    /// Reads all sources. `dir` is the working directory, to which relative paths refer.
    pub fn load(process: Environment, dir: &Path) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        match Self::read(process, dir, &mut problems) {
            Some(sources) => problems.into_result().map(|()| sources),
            None => Err(SettingsError(problems)),
        }
    }

    /// The same; what is wrong is added to `problems`.
    ///
    /// `None` if some value is unclear, so that it would be wrong to call a setting missing. A name that is no
    /// setting makes none unclear.
    pub fn read(process: Environment, dir: &Path, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        refuse_unreadable(&process, problems);
        let mut is_clear = problems.0.len() == before;
        let toml = read_settings_file(dir, problems);
        is_clear &= toml.is_some();
        let toml = toml.unwrap_or_default();
        let from_toml =
            |name: &str| toml.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let backend_env_file =
            match process.get("KEYFOLD_BACKEND_ENV_FILE").or_else(|| from_toml("KEYFOLD_BACKEND_ENV_FILE")) {
                Some(path) => dir.join(path),
                None if dir.join("backend").is_dir() => dir.join("backend/.env"),
                None => dir.join(".env"),
            };
        let of_process = |name| process.get(name).filter(|value| is_set(value)).map(unquoted);
        let (debug, deploy_env) = (of_process("DEBUG"), of_process("DEPLOY_ENV"));
        let set_by_process = debug.or(deploy_env).is_some();
        let mut env_file = None;
        let decided = if set_by_process {
            mode::decide(debug, deploy_env).map(|mode| (mode, Origin::Process))
        } else {
            env_file = read_env_file(&backend_env_file, problems);
            is_clear &= env_file.is_some();
            let of_file = |name| {
                let value = env_file.as_ref().and_then(|file| file.get(name));
                value.filter(|value| is_set(value)).map(unquoted)
            };
            let (debug, deploy_env) = (of_file("DEBUG"), of_file("DEPLOY_ENV"));
            let origin = if debug.or(deploy_env).is_some() { Origin::EnvFile } else { Origin::Default };
            mode::decide(debug, deploy_env).map(|mode| (mode, origin))
        };
        let (mode, mode_origin) = match decided {
            Ok(decided) => decided,
            Err(unclear) => {
                problems.add(
                    &unclear.variable,
                    format!("is `{}`, which is neither yes nor no", unclear.value),
                    "use one of 1, true, yes, on or 0, false, no, off, or leave it empty",
                );
                return None;
            }
        };
        if mode == Mode::Production {
            env_file = None;
        } else if set_by_process {
            env_file = read_env_file(&backend_env_file, problems);
            is_clear &= env_file.is_some();
        }
        let dir = dir.to_owned();
        is_clear.then_some(Self { dir, process, env_file, toml, backend_env_file, mode, mode_origin })
    }

    /// Local or production; nothing else reads the two variables that decide it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What decided the mode.
    pub fn mode_origin(&self) -> Origin {
        self.mode_origin
    }

    /// The working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The environment of the process.
    pub fn process(&self) -> &Environment {
        &self.process
    }

    /// The backend `.env`, there or not.
    pub fn backend_env_file(&self) -> &Path {
        &self.backend_env_file
    }

    /// A setting's value, if it is set and not empty. Its `…_FILE` form is not looked at.
    pub fn get(&self, name: &str) -> Option<Zeroizing<String>> {
        debug_assert!(
            SETTINGS.iter().any(|setting| setting.name == name.strip_suffix("_FILE").unwrap_or(name))
                || SETTINGS.iter().any(|setting| setting.name == name),
            "{name} is not in the catalogue"
        );
        self.find(name).map(|value| Zeroizing::new(value.to_owned()))
    }

    /// The first source that sets it wins; one where it is empty does not set it.
    fn find(&self, name: &str) -> Option<&str> {
        let from_env_file = || self.env_file.as_ref().and_then(|file| file.get(name));
        let from_toml = || self.toml.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = self.process.get(name).filter(|value| is_set(value));
        value
            .or_else(|| from_env_file().filter(|value| is_set(value)))
            .or_else(|| from_toml().filter(|value| is_set(value)))
            .map(unquoted)
    }

    /// A secret's value, given itself or as `…_FILE`; a file that cannot be read is a problem.
    pub fn get_or_problem(&self, name: &str, problems: &mut Problems) -> Option<Zeroizing<String>> {
        let file_name = format!("{name}_FILE");
        let value = self.get(name);
        let Some(path) = self.get(&file_name) else { return value };
        if value.is_some() {
            problems.add(
                &file_name,
                format!("is set, and so is {name}; which one counts is unclear"),
                "leave one of the two out",
            );
            return None;
        }
        let path = self.dir.join(path.as_str());
        match read_secret_file(&path) {
            Ok(text) if text.is_empty() => {
                problems.add(
                    &file_name,
                    format!("names the file {}, which is empty", path.display()),
                    format!("put the value into the file, or leave {file_name} out"),
                );
                None
            }
            Ok(text) => Some(text),
            Err(error) => {
                problems.add(
                    &file_name,
                    format!("names the file {}, which cannot be read ({error})", path.display()),
                    "correct the path, or make the file readable for Keyfold",
                );
                None
            }
        }
    }

    /// A path, relative ones to the working directory.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(|path| self.dir.join(path.as_str()))
    }

    /// A comma-separated list; `None` if it is not set.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        self.get(name).map(|list| {
            list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
    }

    /// The addresses given as `KEYFOLD_PROVIDER_<ID>_BASE_URL`: provider, variable, address.
    pub(super) fn base_addresses(&self) -> Vec<(ProviderId, String, String)> {
        let mut found: Vec<(ProviderId, String, String)> = vec![];
        let file_names = self.env_file.iter().flat_map(EnvFile::variables).map(|variable| variable.name());
        let names =
            self.process.names().chain(file_names).chain(self.toml.iter().map(|(name, _)| name.as_str()));
        for name in names {
            let Some(id) = base_address_provider(name) else { continue };
            if found.iter().any(|(_, known, _)| known == name) {
                continue;
            }
            if let Some(value) = self.find(name) {
                found.push((id, name.to_owned(), value.to_owned()));
            }
        }
        found
    }

    /// Explains a missing setting where the mode came from a file of which nothing else is used.
    pub(crate) fn because_of_env_file(&self) -> String {
        if self.mode == Mode::Production && self.mode_origin == Origin::EnvFile {
            format!(
                " ({} says production, and nothing else in that file is used in production: set it in the environment of the process)",
                self.backend_env_file.display()
            )
        } else {
            String::new()
        }
    }
}

/// Empty counts as unset.
fn is_set(value: &str) -> bool {
    !unquoted(value).is_empty()
}

/// A file that holds one secret; white space around it does not count.
pub(super) fn read_secret_file(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(std::fs::read_to_string(path)?);
    Ok(Zeroizing::new(unquoted(&text).to_owned()))
}

/// A value as it was meant: without white space around it, and without the quotes that a `.env` file needs and
/// platforms and `docker --env-file` take for a part of the value. No setting begins and ends with a quote.
pub(super) fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let without = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    without('"').or_else(|| without('\'')).map_or(value, str::trim)
}

/// Whether a value still is a reference that the platform should have replaced: `${{Postgres.DATABASE_URL}}`,
/// `${DATABASE_URL}` or `$DATABASE_URL`.
pub(super) fn is_unresolved(value: &str) -> bool {
    value.starts_with('$') || value.contains("${")
}

/// A value that is no text is unclear, and an unclear setting is never taken for an unset one.
fn refuse_unreadable(process: &Environment, problems: &mut Problems) {
    let settings = SETTINGS.iter().map(|setting| setting.name);
    let known: Vec<&str> = settings.chain(PLATFORMS.iter().map(|(marker, _)| *marker)).collect();
    for name in process.unreadable_names() {
        let plain = name.strip_suffix("_FILE").unwrap_or(name);
        if known.contains(&plain) || base_address_provider(name).is_some() {
            problems.add(name, "has a value that is not UTF-8 text", "set it to plain text, or unset it");
        }
    }
}

fn read_env_file(path: &Path, problems: &mut Problems) -> Option<EnvFile> {
    EnvFile::read(path)
        .inspect_err(|error| {
            problems.add(
                "KEYFOLD_BACKEND_ENV_FILE",
                format!("cannot be used: {error}"),
                "correct the file, or name another one",
            );
        })
        .ok()
}

/// `None` if a value in it is unclear.
fn read_settings_file(dir: &Path, problems: &mut Problems) -> Option<Vec<(String, Zeroizing<String>)>> {
    let path = dir.join(SETTINGS_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(vec![]),
        Err(error) => {
            problems.add(
                SETTINGS_FILE,
                format!("cannot be read ({error})"),
                "make it readable, or remove it",
            );
            return None;
        }
    };
    let table: toml::Table = match toml::from_str(&text) {
        Ok(table) => table,
        Err(error) => {
            // The whole message would quote the line, which may hold a secret.
            let line = 1 + error
                .span()
                .map_or(0, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            problems.add(
                SETTINGS_FILE,
                format!("is not TOML: line {line}: {}", error.message()),
                "correct that line",
            );
            return None;
        }
    };
    let (mut values, mut is_clear) = (vec![], true);
    for (key, value) in table {
        match variable_of(&key) {
            Some(name) => {
                if let Some(text) = as_text(&value) {
                    values.push((name, Zeroizing::new(text)));
                    continue;
                }
                is_clear = false;
                problems.add(
                    SETTINGS_FILE,
                    format!("has `{key}` with a value of the wrong kind"),
                    "write a text, a number, true or false, or a list of texts",
                );
            }
            None if key == "debug" || key == "deploy_env" => problems.add(
                SETTINGS_FILE,
                format!("has `{key}`, which decides the mode and may not stand in a file"),
                "set DEBUG or DEPLOY_ENV in the environment or in the backend .env",
            ),
            None => problems.add(
                SETTINGS_FILE,
                format!("has `{key}`, which is no setting"),
                "correct the name (lower case, without KEYFOLD_), or remove the line",
            ),
        }
    }
    is_clear.then_some(values)
}

/// `master_key` is `KEYFOLD_MASTER_KEY`, `port` is `PORT`, `master_key_file` is `KEYFOLD_MASTER_KEY_FILE`.
fn variable_of(key: &str) -> Option<String> {
    if key != key.to_ascii_lowercase() {
        return None;
    }
    let upper = key.to_ascii_uppercase();
    let known = |name: &str| {
        let is = |setting: &&Setting| setting.name == name && setting.kind != Kind::Mode;
        SETTINGS.iter().any(|setting| is(&setting))
            || name.strip_suffix("_FILE").is_some_and(|secret| {
                SETTINGS.iter().any(|setting| setting.name == secret && setting.kind == Kind::Secret)
            })
            || base_address_provider(name).is_some()
    };
    // A prefix that is written out would give a setting a second name, and hide one of two values.
    [format!("KEYFOLD_{upper}"), upper].into_iter().find(|name| known(name) && !key.starts_with("keyfold_"))
}

fn as_text(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        toml::Value::Array(parts) => parts.iter().map(as_text).collect::<Option<Vec<_>>>()?.join(","),
        _ => return None,
    })
}
