//! What goes into a statement and what comes out of it, for either database.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::StorageError;

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Real,
    Text,
    Time,
}

/// A parameter or a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// UTC, microseconds.
    Time(Timestamp),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Time(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of a result; columns by position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row(pub(super) Vec<Value>);

impl Row {
    pub(crate) fn integer(&self, column: usize) -> Result<i64, StorageError> {
        match self.0.get(column) {
            Some(Value::Integer(value)) => Ok(*value),
            other => Err(unexpected("an integer", column, other)),
        }
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, StorageError> {
        match self.0.get(column) {
            Some(Value::Text(value)) => Ok(value),
            other => Err(unexpected("a text", column, other)),
        }
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp, StorageError> {
        match self.0.get(column) {
            Some(Value::Time(value)) => Ok(*value),
            Some(Value::Text(value)) => {
                parse_time(value).ok_or_else(|| unexpected("a time", column, self.0.get(column)))
            }
            other => Err(unexpected("a time", column, other)),
        }
    }

    pub(crate) fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Value::Null))
    }

    pub(crate) fn optional<T>(
        &self,
        column: usize,
        read: impl FnOnce(&Self, usize) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        if self.is_null(column) { Ok(None) } else { read(self, column).map(Some) }
    }
}

/// SQLite has no type for a time: it is kept as text in this form, UTC, which sorts by time.
pub(super) fn time_as_text(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).datetime().strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.replacen(' ', "T", 1).parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Says the kind of what was found, never its content.
fn unexpected(wanted: &str, column: usize, found: Option<&Value>) -> StorageError {
    let found = match found {
        None => "no such column",
        Some(Value::Null) => "nothing",
        Some(Value::Integer(_)) => "an integer",
        Some(Value::Real(_)) => "a number",
        Some(Value::Text(_)) => "a text",
        Some(Value::Time(_)) => "a time",
    };
    StorageError::Unexpected(format!("column {column} should be {wanted} and is {found}"))
}
