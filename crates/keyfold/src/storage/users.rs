//! Users as an operator sees them: who is there, how many keys they have, and who is suspended.

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::{Connection, Row, Statement, StorageError, statement};
use crate::user::UserId;

/// A user's row, with the user's keys counted by what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserRow {
    pub(crate) user: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) suspended_at: Option<Timestamp>,
    pub(crate) keys: i64,
    pub(crate) valid: i64,
    pub(crate) limited: i64,
    pub(crate) rejected: i64,
}

/// A page is cut out by the index of the user ids before keys are counted, so its cost does not grow with the
/// number of users.
const PAGE: Statement = statement(
    "SELECT s.user_id, s.started_at, s.completed_at, s.suspended_at, COUNT(k.id), \
     SUM(CASE WHEN k.status = 'valid' THEN 1 ELSE 0 END), \
     SUM(CASE WHEN k.status = 'limited' THEN 1 ELSE 0 END), \
     SUM(CASE WHEN k.status = 'rejected' THEN 1 ELSE 0 END) \
     FROM (SELECT id, user_id, started_at, completed_at, suspended_at FROM onboarding_sessions \
     WHERE user_id > $1 AND duplicate_of IS NULL ORDER BY user_id LIMIT $2) s \
     LEFT JOIN api_keys k ON k.session_id = s.id AND k.duplicate_of IS NULL \
     GROUP BY s.user_id, s.started_at, s.completed_at, s.suspended_at ORDER BY s.user_id",
    &[Text, Integer],
);
const SUSPENDED_AT: Statement =
    statement("SELECT suspended_at FROM onboarding_sessions WHERE user_id = $1", &[Text]);
const SUSPEND: Statement = statement(
    "UPDATE onboarding_sessions SET suspended_at = $2 WHERE user_id = $1 AND suspended_at IS NULL",
    &[Text, Time],
);
const RESUME: Statement = statement(
    "UPDATE onboarding_sessions SET suspended_at = NULL WHERE user_id = $1 AND suspended_at IS NOT NULL",
    &[Text],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 4] = [PAGE, SUSPENDED_AT, SUSPEND, RESUME];

/// The next users after this id, in the database's order of ids; from the beginning if it is empty.
pub(crate) async fn page(
    connection: &impl Connection,
    after: &str,
    limit: i64,
) -> Result<Vec<UserRow>, StorageError> {
    let rows = connection.query(&PAGE, vec![after.into(), limit.into()]).await?;
    rows.iter().map(read).collect()
}

/// Since when this user is suspended; the outer `None` if there is no such user.
pub(crate) async fn suspended_at(
    connection: &impl Connection,
    user: &UserId,
) -> Result<Option<Option<Timestamp>>, StorageError> {
    let rows = connection.query(&SUSPENDED_AT, vec![user.as_str().into()]).await?;
    rows.first().map(|row| row.optional(0, Row::time)).transpose()
}

/// Suspends a user who is there; false if nothing changed.
pub(crate) async fn suspend(
    connection: &impl Connection,
    user: &UserId,
    now: Timestamp,
) -> Result<bool, StorageError> {
    Ok(connection.execute(&SUSPEND, vec![user.as_str().into(), now.into()]).await? > 0)
}

/// Ends a suspension; false if there was none.
pub(crate) async fn resume(connection: &impl Connection, user: &UserId) -> Result<bool, StorageError> {
    Ok(connection.execute(&RESUME, vec![user.as_str().into()]).await? > 0)
}

fn read(row: &Row) -> Result<UserRow, StorageError> {
    Ok(UserRow {
        user: row.text(0)?.to_owned(),
        started_at: row.optional(1, Row::time)?,
        completed_at: row.optional(2, Row::time)?,
        suspended_at: row.optional(3, Row::time)?,
        keys: row.integer(4)?,
        valid: row.integer(5)?,
        limited: row.integer(6)?,
        rejected: row.integer(7)?,
    })
}
