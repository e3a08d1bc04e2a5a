//! `onboarding_sessions`: one row per user, with the user's wrapped data key.

use jiff::Timestamp;

use super::{Connection, Row, Statement, StorageError, statement};
use crate::user::UserId;

/// A user's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) id: i64,
    pub(crate) data_key: String,
    pub(crate) started_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) completed_at: Option<Timestamp>,
}

const FIND: Statement = statement(
    "sessions.find",
    "SELECT id, data_key, started_at, updated_at, completed_at FROM onboarding_sessions WHERE user_id = $1",
);
const INSERT: Statement = statement(
    "sessions.insert",
    "INSERT INTO onboarding_sessions (user_id, data_key, started_at, updated_at) VALUES ($1, $2, $3, $3) \
     ON CONFLICT (user_id) DO NOTHING",
);
const SET_DATA_KEY: Statement =
    statement("sessions.set_data_key", "UPDATE onboarding_sessions SET data_key = $2 WHERE user_id = $1");
const ANY_WRAPPED_BY: Statement = statement(
    "sessions.any_wrapped_by",
    "SELECT 1 FROM onboarding_sessions WHERE substr(data_key, 1, 14) = $1 LIMIT 1",
);
const KEEP_DAMAGED_DATA_KEY: Statement = statement(
    "sessions.keep_damaged_data_key",
    "INSERT INTO root_secrets (name, sealed) SELECT 'damaged_data_key_' || CAST(id AS VARCHAR(20)), data_key \
     FROM onboarding_sessions WHERE user_id = $1 ON CONFLICT (name) DO NOTHING",
);
const SET_PROGRESS: Statement = statement(
    "sessions.set_progress",
    "UPDATE onboarding_sessions SET current_step = $2, progress = $3, completed_at = $4, updated_at = $5 \
     WHERE user_id = $1",
);
const RESTART: Statement = statement(
    "sessions.restart",
    "UPDATE onboarding_sessions SET current_step = 1, progress = 0.0, completed_at = NULL, started_at = $2, \
     updated_at = $2 WHERE user_id = $1",
);

#[cfg(test)]
pub(super) const ALL: [Statement; 7] =
    [FIND, INSERT, SET_DATA_KEY, ANY_WRAPPED_BY, KEEP_DAMAGED_DATA_KEY, SET_PROGRESS, RESTART];

pub(crate) async fn find(
    connection: &impl Connection,
    user: &UserId,
) -> Result<Option<Session>, StorageError> {
    let rows = connection.query(&FIND, vec![user.as_str().into()]).await?;
    rows.first().map(read).transpose()
}

/// Makes the row unless it is there, and returns the one that now stands.
pub(crate) async fn insert_or_find(
    connection: &impl Connection,
    user: &UserId,
    data_key: &str,
    now: Timestamp,
) -> Result<Session, StorageError> {
    connection.execute(&INSERT, vec![user.as_str().into(), data_key.into(), now.into()]).await?;
    find(connection, user)
        .await?
        .ok_or_else(|| StorageError::Unexpected("a session vanished while it was made".into()))
}

/// Puts another data key in the place of a damaged one.
pub(crate) async fn set_data_key(
    connection: &impl Connection,
    user: &UserId,
    data_key: &str,
) -> Result<(), StorageError> {
    connection.execute(&SET_DATA_KEY, vec![user.as_str().into(), data_key.into()]).await.map(drop)
}

/// Whether the sealed form of a data key begins with this, the first 14 characters.
pub(crate) async fn any_wrapped_by(
    connection: &impl Connection,
    sealed_prefix: &str,
) -> Result<bool, StorageError> {
    Ok(!connection.query(&ANY_WRAPPED_BY, vec![sealed_prefix.into()]).await?.is_empty())
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
    })
}
