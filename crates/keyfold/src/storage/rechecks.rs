//! When stored keys are checked again: columns of `api_keys`. A time in `next_check_at` is a plan; whoever moves it on
//! has taken the check over.

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::keys::KeyVersion;
use super::{Connection, Row, Statement, StorageError, Transaction, statement};
use crate::user::UserId;

/// A check that was taken over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DueCheck {
    pub(crate) id: i64,
    pub(crate) user: String,
    pub(crate) provider: String,
    pub(crate) status: String,
    /// How often in a row nothing could be said.
    pub(crate) failed: i64,
    /// Until when nobody else takes it over; proves who did.
    pub(crate) taken_until: Timestamp,
}

const UNPLANNED_UNVERIFIED: Statement = statement(
    "SELECT id FROM api_keys WHERE provider = $1 AND next_check_at IS NULL AND status = 'unverified' LIMIT $2",
    &[Text, Integer],
);
const UNPLANNED_OTHERS: Statement = statement(
    "SELECT id FROM api_keys WHERE provider = $1 AND next_check_at IS NULL AND status <> 'unverified' LIMIT $2",
    &[Text, Integer],
);
const PLAN: Statement = statement(
    "UPDATE api_keys SET next_check_at = $2 WHERE id = $1 AND next_check_at IS NULL",
    &[Integer, Time],
);
const ANY_DUE: Statement =
    statement("SELECT id FROM api_keys WHERE provider = $1 AND next_check_at <= $2 LIMIT 1", &[Text, Time]);
/// The last condition is looked at again by whoever waited for another one's update.
const TAKE_OVER: Statement = statement(
    "UPDATE api_keys SET next_check_at = $3 WHERE id IN (SELECT id FROM api_keys \
     WHERE provider = $1 AND next_check_at <= $2 ORDER BY next_check_at, id LIMIT $4) AND next_check_at <= $2 \
     RETURNING id, COALESCE((SELECT s.user_id FROM onboarding_sessions s WHERE s.id = api_keys.session_id), ''), status, \
     checks_failed",
    &[Text, Time, Time, Integer],
);
const DONE: Statement = statement(
    "UPDATE api_keys SET next_check_at = $3, last_check_at = $4, checks_failed = $5 \
     WHERE id = $1 AND next_check_at = $2",
    &[Integer, Time, Time, Time, Integer],
);
const SOON: Statement = statement(
    "UPDATE api_keys SET next_check_at = $5 WHERE provider = $2 AND version = $3 AND created_at = $4 \
     AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1) \
     AND (next_check_at IS NULL OR next_check_at > $5) AND (last_check_at IS NULL OR last_check_at < $6)",
    &[Text, Text, Integer, Time, Time, Time],
);
const FORGET_DAILY: Statement = statement(
    "UPDATE api_keys SET next_check_at = NULL WHERE id IN (SELECT id FROM api_keys \
     WHERE provider = $1 AND next_check_at IS NOT NULL AND status <> 'unverified' LIMIT $2)",
    &[Text, Integer],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 8] =
    [UNPLANNED_UNVERIFIED, UNPLANNED_OTHERS, PLAN, ANY_DUE, TAKE_OVER, DONE, SOON, FORGET_DAILY];

/// At most `limit` keys of this provider whose next check is not planned: unverified ones, or all others.
pub(crate) async fn unplanned(
    connection: &impl Connection,
    provider: &str,
    unverified: bool,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    let statement = if unverified { &UNPLANNED_UNVERIFIED } else { &UNPLANNED_OTHERS };
    let rows = connection.query(statement, vec![provider.into(), limit.into()]).await?;
    rows.iter().map(|row| row.integer(0)).collect()
}

/// Plans the next check of a key, unless somebody did.
pub(crate) async fn plan(connection: &impl Connection, id: i64, at: Timestamp) -> Result<(), StorageError> {
    connection.execute(&PLAN, vec![id.into(), at.into()]).await.map(drop)
}

/// Whether a check of a key of this provider is due.
pub(crate) async fn any_due(
    connection: &impl Connection,
    provider: &str,
    now: Timestamp,
) -> Result<bool, StorageError> {
    Ok(!connection.query(&ANY_DUE, vec![provider.into(), now.into()]).await?.is_empty())
}

/// Takes over at most `limit` checks that are due, the oldest first; of several who try at once, one gets each.
pub(crate) async fn take_over(
    transaction: &Transaction,
    provider: &str,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DueCheck>, StorageError> {
    let values = vec![provider.into(), now.into(), until.into(), limit.into()];
    let rows = transaction.query(&TAKE_OVER, values).await?;
    let read = |row: &Row| {
        Ok(DueCheck {
            id: row.integer(0)?,
            user: row.text(1)?.to_owned(),
            provider: provider.to_owned(),
            status: row.text(2)?.to_owned(),
            failed: row.integer(3)?,
            taken_until: until,
        })
    };
    rows.iter().map(read).collect()
}

/// Writes down that the check was made and when the next one is; nothing happens if the key was replaced meanwhile.
pub(crate) async fn done(
    connection: &impl Connection,
    check: &DueCheck,
    next: Option<Timestamp>,
    now: Timestamp,
    failed: i64,
) -> Result<(), StorageError> {
    let values = vec![check.id.into(), check.taken_until.into(), next.into(), now.into(), failed.into()];
    connection.execute(&DONE, values).await.map(drop)
}

/// Plans a check for now, unless this version was checked after `not_since`.
pub(crate) async fn soon(
    connection: &impl Connection,
    user: &UserId,
    provider: &str,
    key: KeyVersion,
    now: Timestamp,
    not_since: Timestamp,
) -> Result<(), StorageError> {
    let values = vec![
        user.as_str().into(),
        provider.into(),
        key.version.into(),
        key.created_at.into(),
        now.into(),
        not_since.into(),
    ];
    connection.execute(&SOON, values).await.map(drop)
}

/// Takes back at most `limit` plans for keys of which something is known; how many there were.
pub(crate) async fn forget_daily(
    connection: &impl Connection,
    provider: &str,
    limit: i64,
) -> Result<u64, StorageError> {
    connection.execute(&FORGET_DAILY, vec![provider.into(), limit.into()]).await
}
