//! The process environment as a value: read once, and given to whoever needs it.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Environment variables. Empty ones count as unset; values are wiped on drop and never shown.
#[derive(Default, Clone)]
pub struct Environment {
    values: BTreeMap<String, Zeroizing<String>>,
    /// Names whose values are not UTF-8.
    unreadable: Vec<String>,
}

impl Environment {
    /// The environment that this process was started with.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
    pub fn from_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.values.insert(name, Zeroizing::new(value))),
                Err(_) => environment.unreadable.push(name),
            }
        }
        environment
    }

    /// The value, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The names of all variables that are set and not empty.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The names of variables whose values are not UTF-8.
    pub fn unreadable_names(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let values =
            pairs.into_iter().map(|(name, value)| (name.into(), Zeroizing::new(value.into()))).collect();
        Self { values, unreadable: vec![] }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment({} variables)", self.values.len())
    }
}
