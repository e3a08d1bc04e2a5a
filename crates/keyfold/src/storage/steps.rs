//! `onboarding_steps`: the state of each step that is no longer as it was at the beginning.

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::{Connection, Row, Statement, StorageError, statement};
use crate::user::UserId;

/// A step's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepRow {
    pub(crate) step_number: i64,
    pub(crate) status: String,
    /// Sealed.
    pub(crate) data: Option<String>,
    pub(crate) completed_at: Option<Timestamp>,
}

const LOAD: Statement = statement(
    "SELECT st.step_number, st.status, st.data, st.completed_at FROM onboarding_steps st \
     JOIN onboarding_sessions s ON s.id = st.session_id \
     WHERE s.user_id = $1 AND st.preset = $2 ORDER BY st.step_number",
    &[Text, Text],
);
const ANY: Statement = statement(
    "SELECT 1 FROM onboarding_steps \
     WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1) LIMIT 1",
    &[Text],
);
const SET: Statement = statement(
    "INSERT INTO onboarding_steps (session_id, preset, step_number, status, data, completed_at) \
     SELECT id, $2, $3, $4, $5, $6 FROM onboarding_sessions WHERE user_id = $1 \
     ON CONFLICT (session_id, preset, step_number) DO UPDATE \
     SET status = excluded.status, data = excluded.data, completed_at = excluded.completed_at",
    &[Text, Text, Integer, Text, Text, Time],
);
const CLEAR: Statement = statement(
    "DELETE FROM onboarding_steps WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 4] = [LOAD, ANY, SET, CLEAR];

pub(crate) async fn load(
    connection: &impl Connection,
    user: &UserId,
    preset: &str,
) -> Result<Vec<StepRow>, StorageError> {
    let rows = connection.query(&LOAD, vec![user.as_str().into(), preset.into()]).await?;
    rows.iter().map(read).collect()
}

/// Whether there is a step of this user, whatever the preset.
pub(crate) async fn any(connection: &impl Connection, user: &UserId) -> Result<bool, StorageError> {
    Ok(!connection.query(&ANY, vec![user.as_str().into()]).await?.is_empty())
}

pub(crate) async fn set(
    connection: &impl Connection,
    user: &UserId,
    preset: &str,
    step: &StepRow,
) -> Result<(), StorageError> {
    let values = vec![
        user.as_str().into(),
        preset.into(),
        step.step_number.into(),
        step.status.as_str().into(),
        step.data.clone().into(),
        step.completed_at.into(),
    ];
    connection.execute(&SET, values).await.map(drop)
}

pub(crate) async fn clear(connection: &impl Connection, user: &UserId) -> Result<(), StorageError> {
    connection.execute(&CLEAR, vec![user.as_str().into()]).await.map(drop)
}

fn read(row: &Row) -> Result<StepRow, StorageError> {
    Ok(StepRow {
        step_number: row.integer(0)?,
        status: row.text(1)?.to_owned(),
        data: row.optional(2, |row, column| row.text(column).map(str::to_owned))?,
        completed_at: row.optional(3, Row::time)?,
    })
}
