//! `usage`: what each user's calls came to, per day, provider and model. Several processes add to the same rows.

use std::sync::LazyLock;

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::{Connection, Kind, Row, Statement, StorageError, Value, statement, statement_of_rows};
use crate::user::UserId;

/// Rows of one statement.
const SIZES: [usize; 2] = [8, 200];
/// The most rows that are added at once.
pub(crate) const MOST_ADDED: usize = SIZES[1];

/// A user's calls of one day to one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageRow {
    /// Such as `2026-11-30`.
    pub(crate) day: String,
    pub(crate) provider: String,
    /// Empty where the provider did not say.
    pub(crate) model: String,
    pub(crate) figures: UsageFigures,
}

/// What calls came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageFigures {
    /// Calls.
    pub requests: i64,
    /// Those of them that failed.
    pub errors: i64,
    /// Tokens of the questions.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
    /// Calls that went well and whose tokens are not known.
    pub unknown: i64,
}

impl UsageFigures {
    pub(crate) fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.errors = self.errors.saturating_add(more.errors);
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.unknown = self.unknown.saturating_add(more.unknown);
    }
}

/// What is added to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) user: UserId,
    pub(crate) row: UsageRow,
    /// When the first of these calls ended.
    pub(crate) since: Timestamp,
}

const INSERT_BEGIN: &str = "INSERT INTO usage (user_id, day, provider, model, requests, errors, input_tokens, \
     output_tokens, unknown) SELECT column1, column2, column3, column4, column5, column6, column7, column8, column9 \
     FROM (VALUES ";
/// What was counted before a user was deleted, or for one who is not there, is nobody's. A user who goes at this very
/// moment makes the statement fail: the reference to the session sees to that.
const INSERT_END: &str = ") AS added WHERE EXISTS (SELECT 1 FROM onboarding_sessions s WHERE s.user_id = column1) \
     AND NOT EXISTS (SELECT 1 FROM deleted_users d WHERE d.user_id = column1 AND d.deleted_at >= column10) \
     ON CONFLICT (user_id, day, provider, model) DO UPDATE SET requests = usage.requests + excluded.requests, \
     errors = usage.errors + excluded.errors, input_tokens = usage.input_tokens + excluded.input_tokens, \
     output_tokens = usage.output_tokens + excluded.output_tokens, unknown = usage.unknown + excluded.unknown";
const INSERTED: [Kind; 10] = [Text, Text, Text, Text, Integer, Integer, Integer, Integer, Integer, Time];
const OF_USER: Statement = statement(
    "SELECT day, provider, model, requests, errors, input_tokens, output_tokens, unknown FROM usage \
     WHERE user_id = $1 AND day >= $2 ORDER BY day DESC, provider, model",
    &[Text, Text],
);
const REMOVE: Statement = statement("DELETE FROM usage WHERE user_id = $1", &[Text]);

#[cfg(test)]
pub(super) const ALL: [Statement; 2] = [OF_USER, REMOVE];

/// The statements that add, one per size.
pub(super) fn adding() -> &'static [Statement; 2] {
    static STATEMENTS: LazyLock<[Statement; 2]> =
        LazyLock::new(|| SIZES.map(|rows| statement_of_rows(INSERT_BEGIN, &INSERTED, rows, INSERT_END)));
    &STATEMENTS
}

/// Adds to the rows of these users, in one statement: at most [`MOST_ADDED`], no row twice, and in the same order
/// everywhere, so that two processes never wait for each other in a circle.
pub(crate) async fn add(connection: &impl Connection, added: &[Added]) -> Result<(), StorageError> {
    let fitting = SIZES.iter().zip(adding()).find(|(size, _)| added.len() <= **size);
    let Some((size, statement)) = fitting else {
        return Err(StorageError::Unexpected(format!("{} rows of usage at once", added.len())));
    };
    let mut values: Vec<Value> = added.iter().flat_map(values_of).collect();
    // Rows that are left over are nobody's.
    values.resize(size * INSERTED.len(), Value::Null);
    connection.execute(statement, values).await.map(drop)
}

/// What a user's calls came to since that day, the newest first.
pub(crate) async fn of_user(
    connection: &impl Connection,
    user: &UserId,
    since: &str,
) -> Result<Vec<UsageRow>, StorageError> {
    let rows = connection.query(&OF_USER, vec![user.as_str().into(), since.into()]).await?;
    rows.iter().map(read).collect()
}

/// Removes all that was counted for a user.
pub(crate) async fn remove(connection: &impl Connection, user: &UserId) -> Result<(), StorageError> {
    connection.execute(&REMOVE, vec![user.as_str().into()]).await.map(drop)
}

fn values_of(added: &Added) -> [Value; 10] {
    let UsageRow { day, provider, model, figures } = &added.row;
    [
        added.user.as_str().into(),
        day.as_str().into(),
        provider.as_str().into(),
        model.as_str().into(),
        figures.requests.into(),
        figures.errors.into(),
        figures.input_tokens.into(),
        figures.output_tokens.into(),
        figures.unknown.into(),
        added.since.into(),
    ]
}

fn read(row: &Row) -> Result<UsageRow, StorageError> {
    Ok(UsageRow {
        day: row.text(0)?.to_owned(),
        provider: row.text(1)?.to_owned(),
        model: row.text(2)?.to_owned(),
        figures: UsageFigures {
            requests: row.integer(3)?,
            errors: row.integer(4)?,
            input_tokens: row.integer(5)?,
            output_tokens: row.integer(6)?,
            unknown: row.integer(7)?,
        },
    })
}
