//! `api_keys` and `api_key_versions`: each user's sealed keys, the current and the one before.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::plain_keys::is_plain;
use super::{Connection, Kind, Row, Statement, StorageError, Value, statement, statement_of_rows};
use crate::provider::ProviderId;
use crate::user::UserId;

/// A key as it is stored.
#[derive(Clone, PartialEq)]
pub(crate) struct KeyRow {
    pub(crate) provider: String,
    /// Sealed; in an adopted database perhaps plain text, or nothing.
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) last_verified_at: Option<Timestamp>,
}

/// One saved key among all that there were. Versions begin at 1 again after a key was deleted, so the moment of the
/// first one belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyVersion {
    pub(crate) version: i64,
    pub(crate) created_at: Timestamp,
}

impl fmt::Debug for KeyRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if is_plain(&self.key) { "plain text" } else { &self.key };
        let KeyRow { provider, version, status, .. } = self;
        write!(formatter, "KeyRow({provider}, {key}, version {version}, {status}, {:?})", self.updated_at)
    }
}

impl KeyRow {
    pub(crate) fn identity(&self) -> KeyVersion {
        KeyVersion { version: self.version, created_at: self.created_at }
    }
}

/// The version before the current one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PreviousKeyRow {
    /// Sealed.
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) status: String,
}

/// A user's data key and keys, in one look-up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserKeyRows {
    /// Wrapped; nothing if another program made the row.
    pub(crate) data_key: Option<String>,
    /// Of a database in which plain-text keys count.
    pub(crate) plain_mark: Option<String>,
    pub(crate) suspended_at: Option<Timestamp>,
    /// Of a user who was deleted once: tokens that were issued up to then are refused.
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) keys: Vec<KeyRow>,
}

/// The one statement of a look-up: public for benchmarks. Rows that another program makes may lack a time.
pub const LOOK_UP: &str = "SELECT s.data_key, k.provider, COALESCE(k.key, ''), k.version, k.status, \
     COALESCE(k.created_at, '1970-01-01 00:00:00'), COALESCE(k.updated_at, k.created_at, '1970-01-01 00:00:00'), \
     k.last_used_at, k.last_verified_at, s.suspended_at, s.valid_from, \
     (SELECT r.sealed FROM root_secrets r WHERE r.name = 'plain_keys') \
     FROM onboarding_sessions s LEFT JOIN api_keys k \
     ON k.session_id = s.id WHERE s.user_id = $1 ORDER BY k.provider";
const LOAD: Statement = statement(LOOK_UP, &[Text]);
const INSERT: Statement = statement(
    "INSERT INTO api_keys (session_id, provider, key, version, status, created_at, updated_at, last_verified_at) \
     SELECT id, $2, $3, $4, $5, $6, $6, $7 FROM onboarding_sessions WHERE user_id = $1 \
     ON CONFLICT (session_id, provider) DO NOTHING",
    &[Text, Text, Text, Integer, Text, Time, Time],
);
const REPLACE: Statement = statement(
    "UPDATE api_keys SET key = $3, version = $4, status = $5, updated_at = $6, last_verified_at = $7, \
     last_used_at = NULL, next_check_at = NULL, last_check_at = NULL, checks_failed = 0 WHERE provider = $2 AND version = $8 \
     AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text, Text, Text, Integer, Text, Time, Time, Integer],
);
const KEEP: Statement = statement(
    "INSERT INTO api_key_versions (session_id, provider, key, version, status, replaced_at) \
     SELECT k.session_id, k.provider, k.key, k.version, k.status, $3 FROM api_keys k \
     JOIN onboarding_sessions s ON s.id = k.session_id WHERE s.user_id = $1 AND k.provider = $2 \
     ON CONFLICT (session_id, provider) DO UPDATE SET key = excluded.key, version = excluded.version, \
     status = excluded.status, replaced_at = excluded.replaced_at",
    &[Text, Text, Time],
);
const PREVIOUS: Statement = statement(
    "SELECT v.key, v.version, v.status FROM api_key_versions v JOIN onboarding_sessions s ON s.id = v.session_id \
     WHERE s.user_id = $1 AND v.provider = $2 AND v.replaced_at > $3",
    &[Text, Text, Time],
);
const WITH_PREVIOUS: Statement = statement(
    "SELECT v.provider FROM api_key_versions v JOIN onboarding_sessions s ON s.id = v.session_id \
     WHERE s.user_id = $1 AND v.replaced_at > $2",
    &[Text, Time],
);
const REMOVE_CURRENT: Statement = statement(
    "DELETE FROM api_keys WHERE (provider = $2 OR duplicate_of = $2) \
     AND session_id IN (SELECT id FROM onboarding_sessions WHERE user_id = $1 OR duplicate_of = $1)",
    &[Text, Text],
);
const REMOVE_PREVIOUS: Statement = statement(
    "DELETE FROM api_key_versions WHERE provider = $2 \
     AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text, Text],
);
const WIPE_EXPIRED: Statement = statement("DELETE FROM api_key_versions WHERE replaced_at <= $1", &[Time]);
const WIPE_EXPIRED_OF_USER: Statement = statement(
    "DELETE FROM api_key_versions WHERE replaced_at <= $2 \
     AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text, Time],
);
const SET_STATUS: Statement = statement(
    "UPDATE api_keys SET status = $4, last_verified_at = COALESCE($5, last_verified_at) \
     WHERE provider = $2 AND version = $3 \
     AND COALESCE(created_at, '1970-01-01 00:00:00') = $6 AND session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text, Text, Integer, Text, Time, Time],
);
const SET_USED_BEGIN: &str = "UPDATE api_keys SET last_used_at = used.column4 FROM (VALUES ";
const SET_USED_END: &str = ") AS used JOIN onboarding_sessions s ON s.user_id = used.column1 \
     WHERE api_keys.session_id = s.id AND api_keys.provider = used.column2 AND api_keys.version = used.column3 \
     AND COALESCE(api_keys.created_at, '1970-01-01 00:00:00') = used.column5";
/// Those of one key in [`set_used`].
const USED: [Kind; 5] = [Text, Text, Integer, Time, Time];
/// Keys of one statement.
const USED_SIZES: [usize; 2] = [8, 200];
/// The most keys whose use is noted at once.
pub(crate) const MOST_USED: usize = USED_SIZES[1];

#[cfg(test)]
pub(super) const ALL: [Statement; 11] = [
    LOAD,
    INSERT,
    REPLACE,
    KEEP,
    PREVIOUS,
    WITH_PREVIOUS,
    REMOVE_CURRENT,
    REMOVE_PREVIOUS,
    WIPE_EXPIRED,
    WIPE_EXPIRED_OF_USER,
    SET_STATUS,
];

/// `None` if the user was never here.
pub(crate) async fn load(
    connection: &impl Connection,
    user: &UserId,
) -> Result<Option<UserKeyRows>, StorageError> {
    let rows = connection.query(&LOAD, vec![user.as_str().into()]).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let data_key = first.optional(0, |row, column| row.text(column).map(str::to_owned))?;
    let suspended_at = first.optional(9, Row::time)?;
    let valid_from = first.optional(10, Row::time)?;
    let plain_mark = first.optional(11, |row, column| row.text(column).map(str::to_owned))?;
    let keys = rows.iter().filter(|row| !row.is_null(1)).map(read).collect::<Result<_, _>>()?;
    Ok(Some(UserKeyRows { data_key, plain_mark, suspended_at, valid_from, keys }))
}

/// Stores the first version of a key; [`StorageError::Conflict`] if there is one already.
pub(crate) async fn insert(
    connection: &impl Connection,
    user: &UserId,
    key: &KeyRow,
) -> Result<(), StorageError> {
    one_changed(connection.execute(&INSERT, values_of(user, key)).await?)
}

/// Puts `key` in the place of version `replaced`; [`StorageError::Conflict`] if another version stands there.
pub(crate) async fn replace(
    connection: &impl Connection,
    user: &UserId,
    key: &KeyRow,
    replaced: i64,
) -> Result<(), StorageError> {
    let mut values = values_of(user, key);
    values.push(replaced.into());
    one_changed(connection.execute(&REPLACE, values).await?)
}

/// Copies the current version aside, in the place of the one kept before.
pub(crate) async fn keep_current(
    connection: &impl Connection,
    user: &UserId,
    provider: &str,
    now: Timestamp,
) -> Result<(), StorageError> {
    connection.execute(&KEEP, vec![user.as_str().into(), provider.into(), now.into()]).await.map(drop)
}

/// The version kept aside, if it was replaced after `oldest`.
pub(crate) async fn previous(
    connection: &impl Connection,
    user: &UserId,
    provider: &str,
    oldest: Timestamp,
) -> Result<Option<PreviousKeyRow>, StorageError> {
    let rows =
        connection.query(&PREVIOUS, vec![user.as_str().into(), provider.into(), oldest.into()]).await?;
    rows.first()
        .map(|row| {
            Ok(PreviousKeyRow {
                key: row.text(0)?.to_owned(),
                version: row.integer(1)?,
                status: row.text(2)?.to_owned(),
            })
        })
        .transpose()
}

/// The providers of which a version is kept aside that was replaced after `oldest`.
pub(crate) async fn with_previous(
    connection: &impl Connection,
    user: &UserId,
    oldest: Timestamp,
) -> Result<Vec<String>, StorageError> {
    let rows = connection.query(&WITH_PREVIOUS, vec![user.as_str().into(), oldest.into()]).await?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// Deletes all versions, and older keys that were set aside; whether there was one.
pub(crate) async fn remove(
    connection: &impl Connection,
    user: &UserId,
    provider: &str,
) -> Result<bool, StorageError> {
    let values = || vec![user.as_str().into(), provider.into()];
    connection.execute(&REMOVE_PREVIOUS, values()).await?;
    Ok(connection.execute(&REMOVE_CURRENT, values()).await? > 0)
}

/// Deletes the user's previous versions that were replaced at `oldest` or before.
pub(crate) async fn wipe_expired_of(
    connection: &impl Connection,
    user: &UserId,
    oldest: Timestamp,
) -> Result<(), StorageError> {
    connection.execute(&WIPE_EXPIRED_OF_USER, vec![user.as_str().into(), oldest.into()]).await.map(drop)
}

/// Deletes every user's previous versions that were replaced at `oldest` or before.
pub(crate) async fn wipe_expired(
    connection: &impl Connection,
    oldest: Timestamp,
) -> Result<u64, StorageError> {
    connection.execute(&WIPE_EXPIRED, vec![oldest.into()]).await
}

/// Marks this version; nothing happens if it was replaced meanwhile.
pub(crate) async fn set_status(
    connection: &impl Connection,
    user: &UserId,
    provider: &str,
    key: KeyVersion,
    status: &str,
    verified_at: Option<Timestamp>,
) -> Result<(), StorageError> {
    let mut values = vec![user.as_str().into(), provider.into(), key.version.into(), status.into()];
    values.extend([verified_at.into(), key.created_at.into()]);
    connection.execute(&SET_STATUS, values).await.map(drop)
}

/// When a key was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastUse {
    pub(crate) user: UserId,
    pub(crate) provider: ProviderId,
    pub(crate) key: KeyVersion,
    pub(crate) at: Timestamp,
}

/// Notes when these versions were last used, in one statement: at most [`MOST_USED`]. Nothing happens to one that was
/// replaced meanwhile.
pub(crate) async fn set_used(connection: &impl Connection, uses: &[LastUse]) -> Result<(), StorageError> {
    let fitting = USED_SIZES.iter().zip(setting_used()).find(|(size, _)| uses.len() <= **size);
    let Some((size, statement)) = fitting else {
        return Err(StorageError::Unexpected(format!("{} uses of keys at once", uses.len())));
    };
    let of_one = |LastUse { user, provider, key, at }: &LastUse| -> [Value; USED.len()] {
        let created_at = key.created_at.into();
        [user.as_str().into(), provider.as_str().into(), key.version.into(), (*at).into(), created_at]
    };
    let mut values: Vec<Value> = uses.iter().flat_map(of_one).collect();
    // Rows that are left over are of no key.
    values.resize(size * USED.len(), Value::Null);
    connection.execute(statement, values).await.map(drop)
}

/// The statements that note uses, one per size.
pub(super) fn setting_used() -> &'static [Statement; 2] {
    static STATEMENTS: LazyLock<[Statement; 2]> =
        LazyLock::new(|| USED_SIZES.map(|rows| statement_of_rows(SET_USED_BEGIN, &USED, rows, SET_USED_END)));
    &STATEMENTS
}

/// `$1` to `$7` of what is inserted or put in the place of another version.
fn values_of(user: &UserId, key: &KeyRow) -> Vec<Value> {
    vec![
        user.as_str().into(),
        key.provider.as_str().into(),
        key.key.as_str().into(),
        key.version.into(),
        key.status.as_str().into(),
        key.updated_at.into(),
        key.last_verified_at.into(),
    ]
}

fn one_changed(changed: u64) -> Result<(), StorageError> {
    if changed == 1 { Ok(()) } else { Err(StorageError::Conflict) }
}

fn read(row: &Row) -> Result<KeyRow, StorageError> {
    Ok(KeyRow {
        provider: row.text(1)?.to_owned(),
        key: row.text(2)?.to_owned(),
        version: row.integer(3)?,
        status: row.text(4)?.to_owned(),
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
        last_used_at: row.optional(7, Row::time)?,
        last_verified_at: row.optional(8, Row::time)?,
    })
}
