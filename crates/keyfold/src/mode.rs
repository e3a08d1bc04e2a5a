//! Local development or production: decided once, at start, from two variables.

/// The two ways to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One developer; keys go to the database and to `.env`, and are read from `.env`.
    Local,
    /// Many users; keys live in PostgreSQL only, each sealed for its user.
    Production,
}

impl Mode {
    /// `local` or `production`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Production => "production",
        }
    }
}

/// A boolean setting that is neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is `{value}`, which is neither yes nor no; use one of 1, true, yes, on or 0, false, no, off, or leave it empty"
)]
pub struct UnclearBoolean {
    /// The variable's name.
    pub variable: String,
    /// Its value as it was given.
    pub value: String,
}

/// Reads a boolean setting: `1 true yes on` / `0 false no off` in any case; empty counts as unset.
pub fn parse_boolean(variable: &str, value: &str) -> Result<Option<bool>, UnclearBoolean> {
    match value.trim().to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "1" | "true" | "yes" | "on" => Ok(Some(true)),
        "0" | "false" | "no" | "off" => Ok(Some(false)),
        _ => Err(UnclearBoolean { variable: variable.to_owned(), value: value.to_owned() }),
    }
}

/// Decides the mode from `DEBUG` and `DEPLOY_ENV`, both from the same source.
pub fn decide(debug: Option<&str>, deploy_env: Option<&str>) -> Result<Mode, UnclearBoolean> {
    let debug = parse_boolean("DEBUG", debug.unwrap_or_default())?.unwrap_or(false);
    let deployed = !matches!(deploy_env.unwrap_or_default().trim(), "" | "local");
    Ok(if deployed && !debug { Mode::Production } else { Mode::Local })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        let yes = ["1", "true", "TRUE", "True", "yes", "YES", "on", "On", " true "];
        let no = ["0", "false", "FALSE", "no", "No", "off", "OFF", "", " "];
        let here = [None, Some(""), Some(" "), Some("local")];
        let deployed =
            [Some("render"), Some("railway"), Some("heroku"), Some("fly"), Some("Local"), Some("x")];
        for debug in yes {
            for place in here.iter().chain(&deployed) {
                assert_eq!(decide(Some(debug), *place), Ok(Mode::Local), "{debug:?} {place:?}");
            }
        }
        for debug in no.iter().map(|value| Some(*value)).chain([None]) {
            for place in here {
                assert_eq!(decide(debug, place), Ok(Mode::Local), "{debug:?} {place:?}");
            }
            for place in deployed {
                assert_eq!(decide(debug, place), Ok(Mode::Production), "{debug:?} {place:?}");
            }
        }
    }

    #[test]
    fn an_unclear_debug_stops_the_start_and_is_named() {
        for value in ["maybe", "2", "tru", "truefalse", "-1", "y"] {
            for place in [None, Some("render")] {
                let unclear = decide(Some(value), place).unwrap_err();
                assert_eq!((unclear.variable.as_str(), unclear.value.as_str()), ("DEBUG", value));
                assert!(unclear.to_string().contains(value));
            }
        }
    }
}
