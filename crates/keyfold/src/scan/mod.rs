//! Looks through code for lines that take providers' keys from the environment, which has one for everybody, and
//! through any text for keys. It reads text only: where that stands is the caller's business.

mod literals;
mod notebook;
mod readings;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::provider::{Provider, Registry};

/// A language whose ways of reading the environment are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// Python in a notebook of Jupyter.
    Notebook,
    /// JavaScript and TypeScript, also within components of Vue, Svelte and Astro.
    JavaScript,
    /// Rust.
    Rust,
}

/// What a line does with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It reads the variable.
    Reads,
    /// It sets the variable, for the whole process.
    Sets,
}

/// A line that reads or sets a provider's variable.
#[derive(Debug, Clone)]
pub struct Reading {
    /// 1-based.
    pub line: usize,
    /// The variable's name.
    pub variable: String,
    /// Whose key it holds.
    pub provider: Arc<Provider>,
    /// What is done with it.
    pub way: Way,
}

/// A key that stands in a text. It shows no more of it than [`crate::secret::ApiKey::masked`].
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// 1-based.
    pub line: usize,
    /// The last four characters.
    pub masked: String,
    /// The providers that have such keys; none for a service token of Keyfold's own.
    pub providers: Vec<Arc<Provider>>,
    /// The variable that it is given to, if it is one.
    pub variable: Option<String>,
}

/// Finds what a registry's providers are concerned with.
pub struct Scanner<'a> {
    registry: &'a Registry,
    variables: HashMap<&'a str, &'a Arc<Provider>>,
}

impl Language {
    /// The language of a file, by its name.
    pub fn of(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()? {
            "py" | "pyi" | "pyw" => Self::Python,
            "ipynb" => Self::Notebook,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" | "astro" => {
                Self::JavaScript
            }
            "rs" => Self::Rust,
            _ => return None,
        })
    }

    /// What to write instead of reading the variable.
    pub fn instead(self, provider: &Provider) -> String {
        let id = &provider.id;
        match self {
            Self::Python | Self::Notebook => format!("with user_api_keys(user_id) as keys: keys.get('{id}')"),
            Self::JavaScript => format!(
                "call it through the gateway: base_url = YOUR_KEYFOLD/gateway/{id} with the user's own token as the API key, or `@keyfold/client`"
            ),
            Self::Rust => format!("keyfold.user_api_keys(user_id).await?.get(\"{id}\")?"),
        }
    }
}

impl Way {
    /// `reads` or `sets`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Sets => "sets",
        }
    }
}

impl<'a> Scanner<'a> {
    /// For the variables and keys of these providers.
    pub fn new(registry: &'a Registry) -> Self {
        let mut variables = HashMap::new();
        for provider in registry.iter() {
            for name in provider.variables() {
                variables.entry(name.as_str()).or_insert(provider);
            }
        }
        Self { registry, variables }
    }

    /// The lines that read or set a provider's variable. A comment or a text that names one does neither.
    pub fn readings(&self, language: Language, text: &str) -> Vec<Reading> {
        if language == Language::Notebook {
            return self.readings(Language::Python, &notebook::lines(text, false));
        }
        let tokens = tokens::of(language, text);
        let mut found = readings::find(language, &tokens, &|name| self.variables.contains_key(name));
        found.sort_unstable();
        found.dedup();
        let known = |(line, variable, way): (usize, String, Way)| {
            let provider = Arc::clone(self.variables.get(variable.as_str())?);
            Some(Reading { line, variable, provider, way })
        };
        found.into_iter().filter_map(known).collect()
    }

    /// The keys that stand in the text, in order: what has the form of one provider's keys, and what is given to a
    /// provider's variable. In code of a `language` only quoted texts are given.
    pub fn keys(&self, language: Option<Language>, text: &str) -> Vec<FoundKey> {
        if language == Some(Language::Notebook) {
            return self.keys(Some(Language::Python), &notebook::lines(text, true));
        }
        literals::find(self.registry, &self.variables, language.is_some(), text)
    }
}
