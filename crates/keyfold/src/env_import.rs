//! A shared `.env` becomes one user's keys. What is not clear is reported, and left as it is.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dotenv::{self, DotenvError, EnvFile};
use crate::error::Error;
use crate::keys::{Comparison, Saved, UserApiKeys};
use crate::provider::key_shape::{Appearance, appearance, is_placeholder, looks_like_a_key};
use crate::provider::{Provider, Registry};
use crate::secret::ApiKey;
use crate::settings::SETTINGS;

/// What a `.env` file has for a user.
pub struct EnvImport {
    /// A key for each of these providers.
    pub candidates: Vec<Candidate>,
    /// Provider's variables whose values cannot be taken, each with the reason.
    pub unusable: Vec<Unusable>,
    /// What looks like a key and is no provider's variable.
    pub unknown: Vec<Unknown>,
    /// Further variables, which look like no key.
    pub others: Vec<String>,
    /// Providers' variables that hold no key: nothing, or a placeholder.
    pub empty: Vec<Place>,
    /// Providers' variables that several lines define, of which the last counts.
    pub repeated: Vec<Repeated>,
}

/// A key of the file, for one provider.
pub struct Candidate {
    /// Whose key it is.
    pub provider: Arc<Provider>,
    /// The variables that hold it.
    pub places: Vec<Place>,
    /// What may be shown of it.
    pub masked: String,
    key: ApiKey,
}

/// Where a variable is defined; of several lines the last, which counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub variable: String,
    /// 1-based.
    pub line: usize,
}

/// A variable that several lines define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// Its name.
    pub variable: String,
    /// 1-based; the last one counts.
    pub lines: Vec<usize>,
    /// Whether all of them give it the same value.
    pub are_same: bool,
}

/// A provider's variables whose values cannot be taken.
#[derive(Debug)]
pub struct Unusable {
    /// Whose key was meant.
    pub provider: Arc<Provider>,
    /// The variables.
    pub places: Vec<Place>,
    /// What is wrong and what would be right.
    pub why: String,
}

/// A variable of no provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name; `None` where the name itself may be a key, pasted on a line of its own.
    pub name: Option<String>,
    /// 1-based.
    pub line: usize,
}

/// What became of a candidate, or would.
#[derive(Debug)]
pub enum Outcome {
    /// It would be checked and saved.
    WouldSave,
    /// It would be checked and take the place of the user's own key.
    WouldReplace {
        /// The last characters of that key, if it opens.
        masked: Option<String>,
    },
    /// The user has that key already.
    Unchanged,
    /// It was saved.
    Saved(Box<Saved>),
}

/// What was taken out of the file.
pub struct Removed {
    /// The variables.
    pub variables: Vec<String>,
    /// Those that stay, because another line gives them another value.
    pub kept: Vec<Place>,
    /// The file as it was, if anything was taken out of it.
    pub backup: Option<PathBuf>,
}

impl EnvImport {
    /// Reads the file, which must be there.
    pub fn read(registry: &Registry, path: &Path) -> Result<Self, Error> {
        if let Err(cause) = std::fs::metadata(path) {
            let path = path.to_owned();
            return Err(DotenvError::Io { path, action: "read", cause }.into());
        }
        Ok(Self::of(registry, &EnvFile::read(path)?))
    }

    fn of(registry: &Registry, file: &EnvFile) -> Self {
        let mut import = Self {
            candidates: vec![],
            unusable: vec![],
            unknown: vec![],
            others: vec![],
            empty: vec![],
            repeated: vec![],
        };
        for provider in registry.iter() {
            import.of_provider(provider, file);
        }
        for variable in file.variables() {
            let (name, value) = (variable.name(), variable.value().unwrap_or_default().trim());
            let is_providers =
                registry.iter().any(|provider| provider.variables().any(|known| known == name));
            if is_providers {
                continue;
            }
            if is_setting(name) {
                import.others.push(name.to_owned());
                continue;
            }
            let is_bare = variable.value().is_none() || looks_like_a_key(registry, name);
            let is_like_one =
                looks_like_a_key(registry, value) || (is_named_like_one(name) && !value.is_empty());
            if is_bare || is_like_one {
                let name = (!is_bare).then(|| name.to_owned());
                import.unknown.push(Unknown { name, line: variable.line() });
            } else {
                import.others.push(name.to_owned());
            }
        }
        import
    }

    fn of_provider(&mut self, provider: &Arc<Provider>, file: &EnvFile) {
        let mut keys: Vec<(ApiKey, Vec<Place>)> = vec![];
        for name in provider.variables() {
            let Some(variable) = file.variable(name) else { continue };
            let value = variable.value().unwrap_or_default().trim();
            let place = Place { variable: name.clone(), line: variable.line() };
            let hidden = self.repetition(provider, file, name);
            if value.is_empty() || is_placeholder(provider, value) {
                match hidden {
                    None => self.empty.push(place),
                    Some(line) => self.unusable.push(Unusable {
                        provider: Arc::clone(provider),
                        places: vec![place],
                        why: format!(
                            "line {line} has a key, and this line, which counts because it is the last, has none; leave one of them in the file"
                        ),
                    }),
                }
                continue;
            }
            match ApiKey::parse(value) {
                Ok(key) => match keys.iter_mut().find(|(known, _)| known.is_same_as(&key)) {
                    Some((_, places)) => places.push(place),
                    None => keys.push((key, vec![place])),
                },
                Err(why) => {
                    let why = if variable.has_reference() {
                        "it refers to another variable; write the key itself".to_owned()
                    } else {
                        why.to_string()
                    };
                    self.unusable.push(Unusable { provider: Arc::clone(provider), places: vec![place], why });
                }
            }
        }
        if keys.len() > 1 {
            self.unusable.push(Unusable {
                provider: Arc::clone(provider),
                places: keys.into_iter().flat_map(|(_, places)| places).collect(),
                why: "they hold different keys, and which one is meant is not guessed; leave one of them in the file"
                    .into(),
            });
        } else if let Some((key, places)) = keys.pop() {
            let masked = key.masked();
            self.candidates.push(Candidate { provider: Arc::clone(provider), places, masked, key });
        }
    }

    /// Notes if several lines define this variable. The last line before the one that counts that has a key.
    fn repetition(&mut self, provider: &Provider, file: &EnvFile, name: &str) -> Option<usize> {
        let lines: Vec<_> = file
            .definitions()
            .filter(|variable| variable.name() == name)
            .map(|variable| (variable.line(), variable.value().unwrap_or_default().trim()))
            .collect();
        let ((_, last), before) = lines.split_last()?;
        if before.is_empty() {
            return None;
        }
        self.repeated.push(Repeated {
            variable: name.to_owned(),
            lines: lines.iter().map(|(line, _)| *line).collect(),
            are_same: before.iter().all(|(_, value)| value == last),
        });
        let is_key = |value: &str| !is_placeholder(provider, value) && ApiKey::parse(value).is_ok();
        before.iter().rev().find(|(_, value)| is_key(value)).map(|(line, _)| *line)
    }
}

impl Candidate {
    /// What would become of it. Nothing is changed, and no provider asked.
    pub fn look(&self, registry: &Registry, keys: &UserApiKeys) -> Result<Outcome, Error> {
        let outcome = match keys.compare(&self.provider, &self.key)? {
            Comparison::Same => return Ok(Outcome::Unchanged),
            Comparison::None => Outcome::WouldSave,
            Comparison::Another(masked) => Outcome::WouldReplace { masked: Some(masked) },
            Comparison::Unreadable => Outcome::WouldReplace { masked: None },
        };
        match appearance(registry, &self.provider, &self.key) {
            Appearance::Wrong(why) => Err(Error::InvalidKeyFormat {
                provider: self.provider.id.clone(),
                name: self.provider.name.clone(),
                why,
            }),
            _ => Ok(outcome),
        }
    }

    /// Asks the provider and saves the key, unless the user has it already.
    pub async fn save(&self, keys: &UserApiKeys) -> Result<Outcome, Error> {
        if matches!(keys.compare(&self.provider, &self.key)?, Comparison::Same) {
            return Ok(Outcome::Unchanged);
        }
        keys.save(&self.provider, self.key.copy()).await.map(Box::new).map(Outcome::Saved)
    }

    /// Whether the user has exactly this key, as it stands where it was saved.
    pub fn is_stored(&self, keys: &UserApiKeys) -> Result<bool, Error> {
        Ok(matches!(keys.compare(&self.provider, &self.key)?, Comparison::Same))
    }
}

/// Takes the lines of these keys out of the file, which is kept as it was beside it (0600). Only lines that still hold
/// exactly these keys go.
pub fn remove_from_file(path: &Path, stored: &[&Candidate]) -> Result<Removed, Error> {
    let mut removed = Removed { variables: vec![], kept: vec![], backup: None };
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    dotenv::update(&path, |file| {
        for candidate in stored {
            for place in &candidate.places {
                if holds_only(file, place, candidate) {
                    removed.variables.push(place.variable.clone());
                } else if file.variable(&place.variable).is_some() {
                    removed.kept.push(place.clone());
                }
            }
        }
        if removed.variables.is_empty() {
            return Ok(());
        }
        let backup = back_up(&path, file.as_bytes()).map_err(|cause| DotenvError::Io {
            path: path.clone(),
            action: "make a copy of",
            cause,
        })?;
        removed.backup = Some(backup);
        removed.variables.iter().try_for_each(|name| file.remove(name).map(drop))
    })?;
    Ok(removed)
}

fn holds_only(file: &EnvFile, place: &Place, candidate: &Candidate) -> bool {
    let mut values = file.definitions().filter(|variable| variable.name() == place.variable).peekable();
    values.peek().is_some()
        && values.all(|variable| {
            let value = variable.value().unwrap_or_default().trim();
            value.is_empty()
                || is_placeholder(&candidate.provider, value)
                || ApiKey::parse(value).is_ok_and(|key| key.is_same_as(&candidate.key))
        })
}

/// A new file beside this one, on the disk before this returns.
fn back_up(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(".before-keyfold");
        if number > 0 {
            name.push(format!(".{number}"));
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                return Ok(name.into());
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Keyfold's own settings are no keys of users.
fn is_setting(name: &str) -> bool {
    name.starts_with("KEYFOLD_")
        || SETTINGS
            .iter()
            .any(|setting| setting.name == name || name.strip_suffix("_FILE") == Some(setting.name))
}

fn is_named_like_one(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "APIKEY", "TOKEN", "SECRET"]
        .iter()
        .any(|end| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &[u8]) -> EnvImport {
        EnvImport::of(&Registry::from_toml(None).unwrap(), &EnvFile::parse(text).unwrap())
    }

    fn found(text: &str) -> Vec<String> {
        let import = import(text.as_bytes());
        let places = |places: &[Place]| {
            let words: Vec<_> =
                places.iter().map(|place| format!("{}@{}", place.variable, place.line)).collect();
            words.join("+")
        };
        let keys = import
            .candidates
            .iter()
            .map(|key| format!("{} {} {}", key.provider.id, places(&key.places), key.masked));
        let unusable = import
            .unusable
            .iter()
            .map(|it| format!("! {} {}: {}", it.provider.id, places(&it.places), it.why));
        let unknown = import.unknown.iter().map(|it| format!("? {:?}@{}", it.name.as_deref(), it.line));
        keys.chain(unusable).chain(unknown).collect()
    }

    #[test]
    fn variables_lead_to_providers_by_each_of_their_names() {
        let text = "\u{feff}export GEMINI_API_KEY='AIzaTestData-0001'\r\nCOHERE_API_KEY = TestDataTestData0002 # mine\r\n\
                    REACT_APP_COPILOTKIT_API_KEY=\"ck_pub_7e57da7a0003\"\r\nPORT=3000\r\n";
        assert_eq!(
            found(text),
            [
                "cohere COHERE_API_KEY@2 ****0002",
                "copilotkit REACT_APP_COPILOTKIT_API_KEY@3 ****0003",
                "gemini GEMINI_API_KEY@1 ****0001"
            ]
        );
        assert_eq!(import(text.as_bytes()).others, ["PORT"]);
    }

    #[test]
    fn two_names_of_a_provider_with_one_key_are_one_and_with_two_are_not_guessed() {
        let same = found("GOOGLE_API_KEY=AIzaTestData-0001\nGEMINI_API_KEY=AIzaTestData-0001\n");
        assert_eq!(same, ["gemini GEMINI_API_KEY@2+GOOGLE_API_KEY@1 ****0001"]);
        let two = found("GOOGLE_API_KEY=AIzaTestData-0001\nGEMINI_API_KEY=AIzaTestData-0002\n");
        assert_eq!(two.len(), 1);
        assert!(
            two[0].starts_with("! gemini GEMINI_API_KEY@2+GOOGLE_API_KEY@1: they hold different keys"),
            "{two:?}"
        );
        // A placeholder is no second key; of one name's lines the last counts, as it does for who reads the file.
        let one = found(
            "GOOGLE_API_KEY=your_key\nGEMINI_API_KEY=AIzaTestData-0001\nGEMINI_API_KEY=AIzaTestData-0002\n",
        );
        assert_eq!(one, ["gemini GEMINI_API_KEY@3 ****0002"]);
    }

    #[test]
    fn a_name_that_stands_twice_is_told_and_a_key_that_another_line_hides_is_not_lost_in_silence() {
        let text = "GEMINI_API_KEY=AIzaTestData-0001\nEXA_API_KEY=exa-TestData-0001\nGEMINI_API_KEY=\n\
                    EXA_API_KEY=exa-TestData-0002\nTAVILY_API_KEY=tvly-TestData-0001\nTAVILY_API_KEY='tvly-TestData-0001'\n\
                    CO_API_KEY=TestDataTestData0002\nCO_API_KEY=your_key\nOPENAI_API_KEY=\nOPENAI_API_KEY=\n";
        assert_eq!(
            found(text),
            [
                "exa EXA_API_KEY@4 ****0002",
                "tavily TAVILY_API_KEY@6 ****0001",
                "! cohere CO_API_KEY@8: line 7 has a key, and this line, which counts because it is the last, has none; \
                 leave one of them in the file",
                "! gemini GEMINI_API_KEY@3: line 1 has a key, and this line, which counts because it is the last, has none; \
                 leave one of them in the file",
            ]
        );
        let import = import(text.as_bytes());
        assert_eq!(import.empty, [Place { variable: "OPENAI_API_KEY".into(), line: 10 }]);
        let mut repeated: Vec<_> = import
            .repeated
            .iter()
            .map(|it| (it.variable.as_str(), it.lines.as_slice(), it.are_same))
            .collect();
        repeated.sort_unstable();
        let expected: [(&str, &[usize], bool); 5] = [
            ("CO_API_KEY", &[7, 8], false),
            ("EXA_API_KEY", &[2, 4], false),
            ("GEMINI_API_KEY", &[1, 3], false),
            ("OPENAI_API_KEY", &[9, 10], true),
            ("TAVILY_API_KEY", &[5, 6], true),
        ];
        assert_eq!(repeated, expected);
    }

    #[test]
    fn what_cannot_be_a_key_is_named_with_its_line() {
        for (value, why) in [
            ("${OTHER}", "refers to another variable"),
            ("\"AIza-first\nAIza-second\"", "line break"),
            ("two words", "white space"),
            ("AIza-ключ", "ASCII"),
        ] {
            let found = found(&format!("A=1\nGEMINI_API_KEY={value}\n"));
            assert_eq!(found.len(), 1, "{value}");
            assert!(
                found[0].starts_with("! gemini GEMINI_API_KEY@2: ") && found[0].contains(why),
                "{found:?}"
            );
            assert!(!found[0].contains("AIza"), "{found:?}");
        }
        assert_eq!(found("GEMINI_API_KEY=\nEXA_API_KEY\nTAVILY_API_KEY=your_tavily_key\n"), [""; 0]);
    }

    #[test]
    fn what_looks_like_a_key_and_is_no_providers_is_reported_by_name_only() {
        let text = "STRIPE_SECRET_KEY=sk_live_TestData0001\nPLAIN=7e57da7aTestData7e57da7aTestData\nDEBUG_LEVEL=3\n\
                    sk-ant-api03-TestData7e57da7aTestData\nSECRET=\nMONKEY=banana\nKEYFOLD_MASTER_KEY=7e57da7aTestData7e57da7a00\n\
                    DATABASE_URL=postgres://u:7e57da7aTestData7e57da7aTest@h/d\n";
        assert_eq!(found(text), ["? Some(\"STRIPE_SECRET_KEY\")@1", "? Some(\"PLAIN\")@2", "? None@4"]);
    }

    #[test]
    fn only_lines_that_still_hold_the_stored_key_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let text = "A=1 # first\nGEMINI_API_KEY=AIzaTestData-0001\nEXA_API_KEY=exa-TestData-0002\nEXA_API_KEY=exa-TestData-0001\n\
                    TAVILY_API_KEY=tvly-TestData-0001\nGOOGLE_API_KEY='AIzaTestData-0001'\nB=2\n";
        std::fs::write(&path, text).unwrap();
        let registry = Registry::from_toml(None).unwrap();
        let import = EnvImport::read(&registry, &path).unwrap();
        // Somebody changed it meanwhile.
        let now = text.replace("tvly-TestData-0001", "tvly-TestData-0009");
        std::fs::write(&path, &now).unwrap();
        let stored: Vec<&Candidate> = import.candidates.iter().collect();
        let removed = remove_from_file(&path, &stored).unwrap();
        assert_eq!(removed.variables, ["GEMINI_API_KEY", "GOOGLE_API_KEY"]);
        let kept: Vec<&str> = removed.kept.iter().map(|place| place.variable.as_str()).collect();
        assert_eq!(kept, ["EXA_API_KEY", "TAVILY_API_KEY"]);
        let left = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            left,
            "A=1 # first\nEXA_API_KEY=exa-TestData-0002\nEXA_API_KEY=exa-TestData-0001\nTAVILY_API_KEY=tvly-TestData-0009\nB=2\n"
        );
        let backup = removed.backup.unwrap();
        assert_eq!(std::fs::read_to_string(&backup).unwrap(), now);
        // Nothing is left to remove, so there is nothing to keep; an older copy is never written over.
        assert!(remove_from_file(&path, &stored).unwrap().backup.is_none());
        std::fs::write(&path, &now).unwrap();
        let second = remove_from_file(&path, &stored).unwrap().backup.unwrap();
        assert!(second != backup && backup.exists());
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let registry = Registry::from_toml(None).unwrap();
        let missing = EnvImport::read(&registry, Path::new("/nowhere/.env")).err().unwrap();
        assert!(missing.cause().contains("/nowhere/.env"), "{}", missing.cause());
    }
}
