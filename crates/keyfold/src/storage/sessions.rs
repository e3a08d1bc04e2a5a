//! `onboarding_sessions`: one row per user, with the user's wrapped data key.

use jiff::Timestamp;

use super::Kind::{Integer, Real, Text, Time};
use super::{Connection, Row, Statement, StorageError, statement};
use crate::user::UserId;

/// A user's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) id: i64,
    /// Wrapped; empty if another program made the row.
    pub(crate) data_key: String,
    pub(crate) started_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) completed_at: Option<Timestamp>,
    /// As the row says: of steps that Keyfold knows, what follows from them is said here too.
    pub(crate) current_step: i64,
    /// The same, in hundredths of a percent.
    pub(crate) progress: i64,
    pub(crate) suspended_at: Option<Timestamp>,
    /// Of a user who was deleted once: tokens that were issued up to then are refused.
    pub(crate) valid_from: Option<Timestamp>,
}

const FIND: Statement = statement(
    "SELECT id, COALESCE(data_key, ''), COALESCE(started_at, '1970-01-01 00:00:00'), \
     COALESCE(updated_at, started_at, '1970-01-01 00:00:00'), completed_at, suspended_at, valid_from, \
     COALESCE(current_step, 1), CASE WHEN progress >= 100 THEN 10000 WHEN progress > 0 \
     THEN CAST(ROUND(progress * 100) AS INTEGER) ELSE 0 END FROM onboarding_sessions WHERE user_id = $1",
    &[Text],
);
const TAKE_TURN: Statement =
    statement("UPDATE onboarding_sessions SET updated_at = updated_at WHERE user_id = $1", &[Text]);
const INSERT_AND_TAKE_TURN: Statement = statement(
    "INSERT INTO onboarding_sessions (user_id, current_step, progress, data_key, started_at, updated_at) \
     VALUES ($1, 1, 0.0, $2, $3, $3) \
     ON CONFLICT (user_id) DO UPDATE SET updated_at = onboarding_sessions.updated_at",
    &[Text, Text, Time],
);
const GIVE_DATA_KEY: Statement = statement(
    "UPDATE onboarding_sessions SET data_key = $2 WHERE user_id = $1 AND data_key IS NULL",
    &[Text, Text],
);
const REPLACE_DATA_KEY: Statement = statement(
    "UPDATE onboarding_sessions SET data_key = $3 WHERE user_id = $1 AND data_key = $2",
    &[Text, Text, Text],
);
const KEEP_DAMAGED_DATA_KEY: Statement = statement(
    "INSERT INTO root_secrets (name, sealed) SELECT 'damaged_data_key_' || CAST(id AS VARCHAR(20)), data_key \
     FROM onboarding_sessions WHERE user_id = $1 ON CONFLICT (name) DO NOTHING",
    &[Text],
);
const SET_PROGRESS: Statement = statement(
    "UPDATE onboarding_sessions SET current_step = $2, progress = $3, completed_at = $4, updated_at = $5 \
     WHERE user_id = $1",
    &[Text, Integer, Real, Time, Time],
);
const RESTART: Statement = statement(
    "UPDATE onboarding_sessions SET current_step = 1, progress = 0.0, completed_at = NULL, started_at = $2, \
     updated_at = $2 WHERE user_id = $1",
    &[Text, Time],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 8] = [
    FIND,
    TAKE_TURN,
    INSERT_AND_TAKE_TURN,
    GIVE_DATA_KEY,
    REPLACE_DATA_KEY,
    KEEP_DAMAGED_DATA_KEY,
    SET_PROGRESS,
    RESTART,
];

pub(crate) async fn find(
    connection: &impl Connection,
    user: &UserId,
) -> Result<Option<Session>, StorageError> {
    let rows = connection.query(&FIND, vec![user.as_str().into()]).await?;
    rows.first().map(read).transpose()
}

/// Makes other changes of this user wait until the transaction ends; false if the user was never here.
pub(crate) async fn take_turn(transaction: &impl Connection, user: &UserId) -> Result<bool, StorageError> {
    Ok(transaction.execute(&TAKE_TURN, vec![user.as_str().into()]).await? > 0)
}

/// Makes the row of a user who was never here, and takes the turn; another one may have made it meanwhile.
pub(crate) async fn insert_and_take_turn(
    transaction: &impl Connection,
    user: &UserId,
    data_key: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    let values = vec![user.as_str().into(), data_key.into(), now.into()];
    transaction.execute(&INSERT_AND_TAKE_TURN, values).await.map(drop)
}

/// Gives a session that another program made its data key.
pub(crate) async fn give_data_key(
    transaction: &impl Connection,
    user: &UserId,
    data_key: &str,
) -> Result<(), StorageError> {
    transaction.execute(&GIVE_DATA_KEY, vec![user.as_str().into(), data_key.into()]).await.map(drop)
}

/// Puts another data key in the place of this damaged one.
pub(crate) async fn replace_data_key(
    connection: &impl Connection,
    user: &UserId,
    damaged: &str,
    data_key: &str,
) -> Result<(), StorageError> {
    let values = vec![user.as_str().into(), damaged.into(), data_key.into()];
    connection.execute(&REPLACE_DATA_KEY, values).await.map(drop)
}

/// Puts a data key that does not open aside: whoever finds out why may read its keys again.
pub(crate) async fn keep_damaged_data_key(
    connection: &impl Connection,
    user: &UserId,
) -> Result<(), StorageError> {
    connection.execute(&KEEP_DAMAGED_DATA_KEY, vec![user.as_str().into()]).await.map(drop)
}

pub(crate) async fn set_progress(
    connection: &impl Connection,
    user: &UserId,
    current_step: i64,
    progress: f64,
    completed_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StorageError> {
    let values =
        vec![user.as_str().into(), current_step.into(), progress.into(), completed_at.into(), now.into()];
    connection.execute(&SET_PROGRESS, values).await.map(drop)
}

pub(crate) async fn restart(
    connection: &impl Connection,
    user: &UserId,
    now: Timestamp,
) -> Result<(), StorageError> {
    connection.execute(&RESTART, vec![user.as_str().into(), now.into()]).await.map(drop)
}

fn read(row: &Row) -> Result<Session, StorageError> {
    Ok(Session {
        id: row.integer(0)?,
        data_key: row.text(1)?.to_owned(),
        started_at: row.time(2)?,
        updated_at: row.time(3)?,
        completed_at: row.optional(4, Row::time)?,
        suspended_at: row.optional(5, Row::time)?,
        valid_from: row.optional(6, Row::time)?,
        current_step: row.integer(7)?,
        progress: row.integer(8)?,
    })
}
