//! `deleted_users` and `webhook_messages`: who was deleted, which tokens are refused since, and which messages of the
//! token issuer were acted upon.

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::{Connection, Row, Statement, StorageError, Transaction, statement};
use crate::user::UserId;

/// What stands of a user who was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) deleted_at: Timestamp,
    /// Tokens that were issued up to this moment are refused.
    pub(crate) refused_until: Timestamp,
    pub(crate) suspended_at: Option<Timestamp>,
}

/// How many rows a deletion removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) keys: u64,
    pub(crate) versions: u64,
    pub(crate) steps: u64,
    pub(crate) sessions: u64,
}

const FIND: Statement = statement(
    "SELECT deleted_at, refused_until, suspended_at FROM deleted_users WHERE user_id = $1",
    &[Text],
);
/// A user who came back is as the deletion left them.
const TAKE_OVER: Statement = statement(
    "UPDATE onboarding_sessions SET \
     valid_from = (SELECT refused_until FROM deleted_users WHERE user_id = $1), \
     suspended_at = (SELECT suspended_at FROM deleted_users WHERE user_id = $1) WHERE user_id = $1",
    &[Text],
);
/// A second deletion never lets an older token in again, whatever the clocks say.
const BURY: Statement = statement(
    "INSERT INTO deleted_users (user_id, deleted_at, refused_until, suspended_at) \
     SELECT user_id, $2, $3, suspended_at FROM onboarding_sessions WHERE user_id = $1 \
     ON CONFLICT (user_id) DO UPDATE SET deleted_at = excluded.deleted_at, suspended_at = excluded.suspended_at, \
     refused_until = CASE WHEN excluded.refused_until > deleted_users.refused_until \
     THEN excluded.refused_until ELSE deleted_users.refused_until END",
    &[Text, Time, Time],
);
const RESUME: Statement = statement(
    "UPDATE deleted_users SET suspended_at = NULL WHERE user_id = $1 AND suspended_at IS NOT NULL",
    &[Text],
);
const REMOVE_VERSIONS: Statement = statement(
    "DELETE FROM api_key_versions WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text],
);
const REMOVE_KEYS: Statement = statement(
    "DELETE FROM api_keys WHERE session_id IN \
     (SELECT id FROM onboarding_sessions WHERE user_id = $1 OR duplicate_of = $1)",
    &[Text],
);
const REMOVE_STEPS: Statement = statement(
    "DELETE FROM onboarding_steps WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1)",
    &[Text],
);
/// The name is that of `sessions::KEEP_DAMAGED_DATA_KEY`.
const REMOVE_DAMAGED_DATA_KEY: Statement = statement(
    "DELETE FROM root_secrets WHERE name = (SELECT 'damaged_data_key_' || CAST(id AS VARCHAR(20)) \
     FROM onboarding_sessions WHERE user_id = $1)",
    &[Text],
);
const REMOVE_SESSION: Statement = statement("DELETE FROM onboarding_sessions WHERE user_id = $1", &[Text]);
/// What another program's tables refer to stays, as nobody's: no user has an id with a control character.
const MAKE_SESSION_NOBODYS: Statement = statement(
    "UPDATE onboarding_sessions SET user_id = $2 || 'deleted ' || CAST(id AS VARCHAR(20)), data_key = NULL, \
     suspended_at = NULL, valid_from = NULL WHERE user_id = $1",
    &[Text, Text],
);
const REMOVE_DUPLICATES: Statement =
    statement("DELETE FROM onboarding_sessions WHERE duplicate_of = $1", &[Text]);
const MAKE_DUPLICATES_NOBODYS: Statement =
    statement("UPDATE onboarding_sessions SET duplicate_of = NULL WHERE duplicate_of = $1", &[Text]);
/// Whether another program's tables refer to sessions.
const POSTGRES_REFERRERS: Statement = statement(
    "SELECT COUNT(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass('onboarding_sessions') \
     AND conrelid NOT IN (to_regclass('api_keys'), to_regclass('api_key_versions'), to_regclass('onboarding_steps'), \
     to_regclass('usage'))",
    &[],
);
const SQLITE_REFERRERS: Statement = statement(
    "SELECT COUNT(*) FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f \
     WHERE m.type = 'table' AND lower(f.\"table\") = 'onboarding_sessions' \
     AND m.name NOT IN ('api_keys', 'api_key_versions', 'onboarding_steps', 'usage')",
    &[],
);
const REMEMBER_MESSAGE: Statement = statement(
    "INSERT INTO webhook_messages (id, received_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
    &[Text, Time],
);
const KNOWS_MESSAGE: Statement = statement("SELECT 1 FROM webhook_messages WHERE id = $1", &[Text]);
const FORGET_MESSAGES: Statement = statement("DELETE FROM webhook_messages WHERE received_at < $1", &[Time]);
const HOLDERS: Statement = statement(
    "SELECT s.user_id FROM onboarding_sessions s WHERE s.user_id > $2 AND s.duplicate_of IS NULL \
     AND (EXISTS (SELECT 1 FROM api_keys k WHERE k.session_id = s.id AND k.provider = $1) \
     OR EXISTS (SELECT 1 FROM api_key_versions v WHERE v.session_id = s.id AND v.provider = $1)) \
     ORDER BY s.user_id LIMIT $3",
    &[Text, Text, Integer],
);
const IS_HOLDER: Statement = statement(
    "SELECT 1 FROM onboarding_sessions s WHERE s.user_id = $2 \
     AND (EXISTS (SELECT 1 FROM api_keys k WHERE k.session_id = s.id AND k.provider = $1) \
     OR EXISTS (SELECT 1 FROM api_key_versions v WHERE v.session_id = s.id AND v.provider = $1))",
    &[Text, Text],
);
const COUNT_HOLDERS: Statement = statement(
    "SELECT COUNT(*) FROM onboarding_sessions s \
     WHERE EXISTS (SELECT 1 FROM api_keys k WHERE k.session_id = s.id AND k.provider = $1) \
     OR EXISTS (SELECT 1 FROM api_key_versions v WHERE v.session_id = s.id AND v.provider = $1)",
    &[Text],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 18] = [
    FIND,
    TAKE_OVER,
    BURY,
    RESUME,
    REMOVE_VERSIONS,
    REMOVE_KEYS,
    REMOVE_STEPS,
    REMOVE_DAMAGED_DATA_KEY,
    REMOVE_SESSION,
    MAKE_SESSION_NOBODYS,
    REMOVE_DUPLICATES,
    MAKE_DUPLICATES_NOBODYS,
    REMEMBER_MESSAGE,
    KNOWS_MESSAGE,
    FORGET_MESSAGES,
    HOLDERS,
    IS_HOLDER,
    COUNT_HOLDERS,
];

/// What stands of this user, if there was a deletion.
pub(crate) async fn find(
    connection: &impl Connection,
    user: &UserId,
) -> Result<Option<Tombstone>, StorageError> {
    let rows = connection.query(&FIND, vec![user.as_str().into()]).await?;
    rows.first().map(read).transpose()
}

/// Gives the new session of a user who was deleted before what stands of that: from when on tokens count, and a
/// suspension. The caller has the user's turn, and took it in an earlier statement.
pub(crate) async fn take_over(transaction: &impl Connection, user: &UserId) -> Result<(), StorageError> {
    if find(transaction, user).await?.is_some() {
        transaction.execute(&TAKE_OVER, vec![user.as_str().into()]).await?;
    }
    Ok(())
}

/// Refuses tokens of this user that were issued up to `refused_until`. The caller has the user's turn, and the
/// session is still there.
pub(crate) async fn bury(
    transaction: &impl Connection,
    user: &UserId,
    deleted_at: Timestamp,
    refused_until: Timestamp,
) -> Result<(), StorageError> {
    let values = vec![user.as_str().into(), deleted_at.into(), refused_until.into()];
    transaction.execute(&BURY, values).await.map(drop)
}

/// Ends the suspension of a user who was deleted; false if there was none.
pub(crate) async fn resume(connection: &impl Connection, user: &UserId) -> Result<bool, StorageError> {
    Ok(connection.execute(&RESUME, vec![user.as_str().into()]).await? > 0)
}

/// Removes everything of this user, whose turn the caller has.
pub(crate) async fn remove_all(
    transaction: &impl Connection,
    user: &UserId,
) -> Result<Removed, StorageError> {
    let removed = remove_beside_session(transaction, user).await?;
    let remove = async |statement| transaction.execute(statement, vec![user.as_str().into()]).await;
    remove(&REMOVE_DUPLICATES).await?;
    Ok(Removed { sessions: remove(&REMOVE_SESSION).await?, ..removed })
}

/// The same where another program's tables may refer to the session: its row stays, and says of nobody that it was
/// theirs.
pub(crate) async fn remove_all_but_row(
    transaction: &impl Connection,
    user: &UserId,
) -> Result<Removed, StorageError> {
    let removed = remove_beside_session(transaction, user).await?;
    transaction.execute(&MAKE_DUPLICATES_NOBODYS, vec![user.as_str().into()]).await?;
    let sessions =
        transaction.execute(&MAKE_SESSION_NOBODYS, vec![user.as_str().into(), "\u{1}".into()]).await?;
    Ok(Removed { sessions, ..removed })
}

/// Whether another program's tables refer to sessions.
pub(crate) async fn others_refer_to_sessions(transaction: &Transaction) -> Result<bool, StorageError> {
    let statement = match transaction {
        Transaction::Sqlite(_) => &SQLITE_REFERRERS,
        Transaction::Postgres(_) => &POSTGRES_REFERRERS,
    };
    let rows = transaction.query(statement, vec![]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.integer(0)? > 0))
}

async fn remove_beside_session(
    transaction: &impl Connection,
    user: &UserId,
) -> Result<Removed, StorageError> {
    let remove = async |statement| transaction.execute(statement, vec![user.as_str().into()]).await;
    let versions = remove(&REMOVE_VERSIONS).await?;
    let keys = remove(&REMOVE_KEYS).await?;
    let steps = remove(&REMOVE_STEPS).await?;
    remove(&REMOVE_DAMAGED_DATA_KEY).await?;
    super::usage::remove(transaction, user).await?;
    Ok(Removed { keys, versions, steps, sessions: 0 })
}

/// Remembers that a message was acted upon; false if it was before.
pub(crate) async fn remember_message(
    transaction: &impl Connection,
    id: &str,
    now: Timestamp,
) -> Result<bool, StorageError> {
    Ok(transaction.execute(&REMEMBER_MESSAGE, vec![id.into(), now.into()]).await? > 0)
}

/// Whether a message was acted upon.
pub(crate) async fn knows_message(connection: &impl Connection, id: &str) -> Result<bool, StorageError> {
    Ok(!connection.query(&KNOWS_MESSAGE, vec![id.into()]).await?.is_empty())
}

/// Forgets messages that came before `oldest`.
pub(crate) async fn forget_messages(
    connection: &impl Connection,
    oldest: Timestamp,
) -> Result<(), StorageError> {
    connection.execute(&FORGET_MESSAGES, vec![oldest.into()]).await.map(drop)
}

/// The next users after this id who have a key of this provider, in the database's order of ids.
pub(crate) async fn holders(
    connection: &impl Connection,
    provider: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, StorageError> {
    let rows = connection.query(&HOLDERS, vec![provider.into(), after.into(), limit.into()]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Whether this user has a key of this provider, or a version of one.
pub(crate) async fn is_holder(
    connection: &impl Connection,
    provider: &str,
    user: &UserId,
) -> Result<bool, StorageError> {
    Ok(!connection.query(&IS_HOLDER, vec![provider.into(), user.as_str().into()]).await?.is_empty())
}

/// How many users have a key of this provider.
pub(crate) async fn count_holders(connection: &impl Connection, provider: &str) -> Result<i64, StorageError> {
    let rows = connection.query(&COUNT_HOLDERS, vec![provider.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

fn read(row: &Row) -> Result<Tombstone, StorageError> {
    Ok(Tombstone {
        deleted_at: row.time(0)?,
        refused_until: row.time(1)?,
        suspended_at: row.optional(2, Row::time)?,
    })
}
