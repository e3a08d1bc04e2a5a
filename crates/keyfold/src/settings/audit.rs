//! The settings of the audit log: where it goes besides the database, how safely, and how long it is kept.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::{Problems, Sources};

/// The settings of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditSettings {
    /// Where every event goes besides the database.
    pub sinks: Vec<SinkSetting>,
    /// `None`: the spool, and the database where the state directory cannot be written.
    pub durability: Option<Durability>,
    /// How long rows are kept; `None`: for ever. At least a day.
    pub retention: Option<SignedDuration>,
    /// How long after a user's deletion the rows about that user keep saying who it was; `None`: for ever.
    pub deleted_users: Option<SignedDuration>,
}

/// Where events go besides the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SinkSetting {
    /// A file that is added to.
    File(PathBuf),
    /// The process's standard output.
    Stdout,
}

/// Where the use of a key is recorded before the provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the state directory.
    Spool,
    /// In the database.
    Strict,
}

impl Durability {
    /// The word of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Strict => "strict",
        }
    }
}

/// A century: more is a slip.
const MOST_DAYS: i64 = 36_525;

impl AuditSettings {
    /// What is wrong is added to `problems`.
    pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Self {
        Self {
            sinks: read_sinks(sources, problems),
            durability: read_durability(sources, problems),
            retention: read_age(sources, "KEYFOLD_AUDIT_RETENTION", problems),
            deleted_users: read_age(sources, "KEYFOLD_AUDIT_DELETED_USERS", problems),
        }
    }
}

fn read_sinks(sources: &Sources, problems: &mut Problems) -> Vec<SinkSetting> {
    const NAME: &str = "KEYFOLD_AUDIT";
    const REMEDY: &str = "use database, file:PATH and stdout, separated by commas";
    let mut sinks: Vec<SinkSetting> = vec![];
    for part in sources.list(NAME).unwrap_or_default() {
        let sink = match part.strip_prefix("file:").map(str::trim) {
            None if part == "database" => continue,
            None if part == "stdout" => SinkSetting::Stdout,
            Some("") => {
                problems.add(NAME, "has a `file:` without a path", REMEDY);
                continue;
            }
            Some(path) if path.ends_with('/') || sources.dir().join(path).is_dir() => {
                problems.add(
                    NAME,
                    format!("names {path} as a file, and that is a folder"),
                    "name a file in it, such as file:/var/log/keyfold/audit.jsonl",
                );
                continue;
            }
            Some(path) => SinkSetting::File(sources.dir().join(path)),
            None if ["off", "none", "false", "no", "0"].contains(&part.as_str()) => {
                problems.add(
                    NAME,
                    format!("is `{part}`, and the database always has the audit log"),
                    "leave it out, or name what else it should go to: file:PATH, stdout",
                );
                continue;
            }
            None => {
                problems.add(NAME, format!("has `{part}`, which is no place for the audit log"), REMEDY);
                continue;
            }
        };
        if sinks.contains(&sink) {
            problems.add(NAME, format!("has `{part}` twice"), "name each place once");
        } else {
            sinks.push(sink);
        }
    }
    sinks
}

fn read_durability(sources: &Sources, problems: &mut Problems) -> Option<Durability> {
    const NAME: &str = "KEYFOLD_AUDIT_DURABILITY";
    match sources.get(NAME)?.as_str() {
        "spool" => Some(Durability::Spool),
        "strict" => Some(Durability::Strict),
        other => {
            problems.add(
                NAME,
                format!("is `{other}`, which is neither spool nor strict"),
                "use one of the two, or leave it out",
            );
            None
        }
    }
}

/// A time after which something is removed; `keep`, like nothing at all, means never.
fn read_age(sources: &Sources, name: &str, problems: &mut Problems) -> Option<SignedDuration> {
    let text = sources.get(name)?;
    if text.as_str() == "keep" {
        return None;
    }
    let (number, days) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 7),
        _ => ("", 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let days = is_number.then(|| number.parse::<i64>().ok()?.checked_mul(days)).flatten();
    match days {
        Some(days @ 1..=MOST_DAYS) => return Some(SignedDuration::from_hours(days * 24)),
        Some(0) => problems.add(
            name,
            format!("is `{}`, and what was just recorded must stay for at least a day", text.as_str()),
            "use a time of days or weeks such as 400d or 52w, or `keep`",
        ),
        _ => problems.add(
            name,
            format!("is `{}`, which is no time of up to a hundred years", text.as_str()),
            "use a time of days or weeks such as 400d or 52w, or `keep`",
        ),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> (AuditSettings, String) {
        let environment = variables.iter().copied().collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let sources = Sources::load(environment, folder.path()).unwrap();
        let mut problems = Problems::default();
        let mut settings = AuditSettings::read(&sources, &mut problems);
        for sink in &mut settings.sinks {
            if let SinkSetting::File(path) = sink
                && let Ok(inside) = path.strip_prefix(folder.path())
            {
                *path = inside.to_owned();
            }
        }
        let said: Vec<String> =
            problems.0.iter().map(|problem| format!("{} {}", problem.variable, problem.what)).collect();
        (settings, said.join("\n"))
    }

    fn file(path: &str) -> SinkSetting {
        SinkSetting::File(Path::new(path).to_owned())
    }

    #[test]
    fn the_database_alone_is_what_there_is_without_settings() {
        assert_eq!(read(&[]), (AuditSettings::default(), String::new()));
        assert_eq!(read(&[("KEYFOLD_AUDIT", "database")]), (AuditSettings::default(), String::new()));
    }

    #[test]
    fn further_places_are_a_list() {
        for (text, expected) in [
            ("database,file:audit.jsonl", vec![file("audit.jsonl")]),
            ("database, stdout , file:/var/log/audit", vec![SinkSetting::Stdout, file("/var/log/audit")]),
            ("file:a,file:logs/a", vec![file("a"), file("logs/a")]),
        ] {
            let (settings, problems) = read(&[("KEYFOLD_AUDIT", text)]);
            assert_eq!((settings.sinks, problems), (expected, String::new()), "{text}");
        }
        for (text, complaint) in [
            ("off", "the database always has"),
            ("syslog", "`syslog`, which is no place"),
            ("file:", "without a path"),
            ("file:logs", "is a folder"),
            ("file:logs/", "is a folder"),
            ("stdout,stdout", "twice"),
            ("file:a,database,file:a", "twice"),
        ] {
            let (_, problems) = read(&[("KEYFOLD_AUDIT", text)]);
            assert!(problems.contains(complaint) && problems.starts_with("KEYFOLD_AUDIT "), "{problems}");
        }
    }

    #[test]
    fn durability_is_one_of_two_words() {
        let durability = |text| read(&[("KEYFOLD_AUDIT_DURABILITY", text)]);
        assert_eq!(durability("spool").0.durability, Some(Durability::Spool));
        assert_eq!(durability("strict").0.durability, Some(Durability::Strict));
        assert!(durability("fast").1.contains("neither spool nor strict"));
    }

    #[test]
    fn times_are_days_or_weeks_and_at_least_a_day() {
        for name in ["KEYFOLD_AUDIT_RETENTION", "KEYFOLD_AUDIT_DELETED_USERS"] {
            let age = |text| {
                let (settings, problems) = read(&[(name, text)]);
                let ages = [settings.retention, settings.deleted_users].into_iter().flatten();
                (ages.map(|age| age.as_hours()).collect::<Vec<_>>(), problems)
            };
            for (text, hours) in [("1d", 24), ("400d", 9600), ("52w", 8736)] {
                assert_eq!(age(text), (vec![hours], String::new()), "{name} {text}");
            }
            assert_eq!(age("keep"), (vec![], String::new()));
            for text in ["0d", "0w"] {
                assert!(age(text).1.contains("at least a day"), "{name} {text}");
            }
            for text in
                ["400", "d", "-3d", "+3d", "1.5d", "3 d", "3h", "99999999999999999999w", "90000d", "never"]
            {
                assert!(age(text).1.contains("is no time"), "{name} {text}");
            }
        }
    }
}
