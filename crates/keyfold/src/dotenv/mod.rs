//! Reading and editing `.env` files.
//!
//! A file is read as python-dotenv reads it, and edited in place: every line that does not define the
//! variable in question keeps its bytes. What is written here, python-dotenv, Node's dotenv, Vite,
//! Docker Compose, `dotenvy` and the shell read back alike. Where they cannot:
//!
//! - To the shell, the CR of a CRLF line ending belongs to the value, in every line of such a file.
//! - Vite on Node 20 overlooks a variable behind an indented comment, a line of whitespace or a bare
//!   name. New lines are put where that does not happen; lines that are there stay where they are.
//!
//! All functions that take a path block: they wait for locks and for the disk.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use zeroize::Zeroizing;

mod edit;
mod error;
mod file;
mod parse;
#[cfg(test)]
mod tests;

pub use edit::Snapshot;
pub use error::{DotenvError, Problem};
pub use file::update;

use parse::Statement;

/// The largest file that is read or written, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The content of a `.env` file. Its text and values are wiped from memory when dropped.
pub struct EnvFile {
    text: Zeroizing<String>,
    statements: Vec<Statement>,
}

/// One variable of an [`EnvFile`], as its last definition says.
#[derive(Clone, Copy)]
pub struct Variable<'a> {
    text: &'a str,
    statement: &'a Statement,
    name: &'a Range<usize>,
    value: Option<&'a str>,
}

impl EnvFile {
    /// Reads the file at `path`, following symbolic links. A missing file is an empty one; one that
    /// python-dotenv would have to skip lines of is an error.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DotenvError> {
        file::read(path.as_ref())
    }

    /// Parses the content of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, DotenvError> {
        Self::from_bytes(Zeroizing::new(bytes.to_vec()))
    }

    /// The value of `name`. `None` when it is not defined, and also when its last definition is
    /// the bare name without a `=`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variable(name)?.value()
    }

    /// The variable `name`: where several lines define it, the last one.
    pub fn variable(&self, name: &str) -> Option<Variable<'_>> {
        let mut variables = self.definitions().rev();
        variables.find(|variable| variable.name() == name)
    }

    /// All variables, each once, in the order of their last definitions.
    pub fn variables(&self) -> impl Iterator<Item = Variable<'_>> {
        let mut seen = HashSet::new();
        let mut last: Vec<_> =
            self.definitions().rev().filter(|variable| seen.insert(variable.name())).collect();
        last.reverse();
        last.into_iter()
    }

    /// The whole text, byte for byte as it is on disk or would be written there.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// All definitions in the order of the file: of a variable, the last one counts.
    pub fn definitions(&self) -> impl DoubleEndedIterator<Item = Variable<'_>> {
        self.statements.iter().filter_map(|statement| {
            let binding = statement.binding.as_ref()?;
            Some(Variable {
                text: &self.text,
                statement,
                name: &binding.name,
                value: binding.value.as_ref().map(|value| value.as_str()),
            })
        })
    }

    fn from_bytes(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, DotenvError> {
        if bytes.len() > MAX_BYTES {
            return Err(DotenvError::TooLarge { path: None });
        }
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Self::from_text(Zeroizing::new(text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = Zeroizing::new(error.into_bytes());
                // Up to there it is UTF-8, so nothing is lost.
                let text = Zeroizing::new(String::from_utf8_lossy(&bytes[..valid]).into_owned());
                Err(DotenvError::Syntax {
                    path: None,
                    line: 1 + parse::count_line_ends(&text),
                    problem: Problem::NotUtf8,
                })
            }
        }
    }

    fn from_text(text: Zeroizing<String>) -> Result<Self, DotenvError> {
        let statements = parse::parse(&text)?;
        Ok(Self { text, statements })
    }
}

/// Shows neither names nor values: a key pasted on a line of its own reads as a name.
impl fmt::Debug for EnvFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EnvFile").finish_non_exhaustive()
    }
}

impl<'a> Variable<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.text[self.name.clone()]
    }

    /// `None` for a bare name without a `=`.
    pub fn value(&self) -> Option<&'a str> {
        self.value
    }

    /// The 1-based number of the line where the definition starts.
    pub fn line(&self) -> usize {
        self.statement.line
    }

    /// Whether some readers would put other variables' values into this one (`${OTHER}`, `$OTHER`).
    /// Here such a value is literal text.
    pub fn has_reference(&self) -> bool {
        let value = self.value.unwrap_or_default();
        value
            .split('$')
            .skip(1)
            .any(|after| after.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()))
    }
}
