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
    /// A [`Column`] of such values. PostgreSQL only.
    Integers,
    Texts,
    Times,
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
    /// The values of many rows.
    Column(Column),
}

/// The values of many rows in one column, of one kind. They stand in the form in which PostgreSQL takes the elements of an
/// array, or a field of `COPY`, so that nothing is made anew for each: the length (32 bits, big endian; -1 for nothing) and the value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    kind: Kind,
    pub(super) count: i32,
    pub(super) has_nothing: bool,
    pub(super) bytes: Vec<u8>,
}

/// PostgreSQL counts microseconds from the beginning of 2000.
const EPOCH_OF_POSTGRESQL: i64 = 946_684_800_000_000;

impl Column {
    /// A column of values of this kind, which is that of one of them.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, count: 0, has_nothing: false, bytes: vec![] }
    }

    /// So many values like those that are there are likely to come.
    pub(crate) fn expect(&mut self, values: usize) {
        const MOST: usize = 256 * 1024;
        self.bytes.reserve(self.bytes.len().saturating_mul(values).min(MOST));
    }

    pub(crate) fn push_text(&mut self, text: Option<&str>) {
        self.push(text.map(str::as_bytes));
    }

    pub(crate) fn push_integer(&mut self, integer: Option<i64>) {
        self.push(integer.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    pub(crate) fn push_time(&mut self, time: Timestamp) {
        self.push_integer(Some(time.as_microsecond() - EPOCH_OF_POSTGRESQL));
    }

    fn push(&mut self, value: Option<&[u8]>) {
        self.count += 1;
        let value = value.and_then(|value| Some((i32::try_from(value.len()).ok()?, value)));
        if let Some((length, value)) = value {
            self.bytes.extend_from_slice(&length.to_be_bytes());
            self.bytes.extend_from_slice(value);
        } else {
            self.has_nothing = true;
            self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        }
    }

    /// The values one by one, each after its length.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let length = i32::from_be_bytes(*rest.first_chunk::<4>()?);
            let (field, after) = rest.split_at_checked(4 + usize::try_from(length).unwrap_or(0))?;
            rest = after;
            Some(field)
        })
    }

    /// The values one by one.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        self.fields().map_while(|field| {
            let (length, value) = field.split_first_chunk::<4>()?;
            if i32::from_be_bytes(*length) < 0 {
                return Some(Value::Null);
            }
            let integer = || value.try_into().map(i64::from_be_bytes).ok();
            Some(match self.kind {
                Kind::Integer => integer()?.into(),
                Kind::Time => Timestamp::from_microsecond(integer()? + EPOCH_OF_POSTGRESQL).ok()?.into(),
                _ => str::from_utf8(value).ok()?.into(),
            })
        })
    }
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
        Some(Value::Column(_)) => "a column",
    };
    StorageError::Unexpected(format!("column {column} should be {wanted} and is {found}"))
}
