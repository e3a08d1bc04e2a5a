//! Keys in plain text: they count while the mark of an adopted database stands. Its row is sealed by a master key, so
//! that whoever can only write to the database cannot put it there.
//!
//! Plain is what does not begin as a sealed value does; nothing at all, too.

use super::Kind::{Integer, Text};
use super::{Connection, Database, Row, Statement, StorageError, Transaction, statement};
use crate::user::UserId;

/// The name of the mark in `root_secrets`.
pub(crate) const MARK: &str = "plain_keys";
/// Its value until the first start takes it over.
const PENDING: &str = "pending";

/// A key whose row is locked until the transaction ends.
pub(crate) struct LockedKey {
    pub(crate) id: i64,
    pub(crate) provider: String,
    /// Sealed, or plain text.
    pub(crate) key: String,
    pub(crate) version: i64,
}

/// Where a key lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    pub(crate) id: i64,
    /// Empty if there is none.
    pub(crate) user: String,
    pub(crate) provider: String,
}

/// A key that does not count, because a newer one of the same user and provider does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The id of its row in `api_keys`.
    pub id: i64,
    /// Whose it was.
    pub user: String,
    /// Of which provider.
    pub provider: String,
}

const NEXT_PLAIN: Statement = statement(
    "SELECT k.id, COALESCE(s.user_id, ''), COALESCE(k.provider, '') FROM api_keys k \
     LEFT JOIN onboarding_sessions s ON s.id = k.session_id \
     WHERE k.id > $1 AND substr(COALESCE(k.key, ''), 1, 4) <> 'kf1.' ORDER BY k.id LIMIT $2",
    &[Integer, Integer],
);
const NEXT_SEALED: Statement = statement(
    "SELECT k.id, COALESCE(s.user_id, ''), COALESCE(k.provider, '') FROM api_keys k \
     LEFT JOIN onboarding_sessions s ON s.id = k.session_id \
     WHERE k.id > $1 AND substr(k.key, 1, 4) = 'kf1.' ORDER BY k.id LIMIT $2",
    &[Integer, Integer],
);
const COUNT_PLAIN: Statement = statement(
    "SELECT (SELECT COUNT(*) FROM api_keys WHERE substr(COALESCE(key, ''), 1, 4) <> 'kf1.') \
     + (SELECT COUNT(*) FROM api_key_versions WHERE substr(COALESCE(key, ''), 1, 4) <> 'kf1.')",
    &[],
);
const COUNT_SEALED: Statement =
    statement("SELECT COUNT(*) FROM api_keys WHERE substr(key, 1, 4) = 'kf1.'", &[]);
/// Locks without a change that anybody hears of.
const LOCK_OF_USER: Statement = statement(
    "UPDATE api_keys SET checks_failed = checks_failed \
     WHERE session_id = (SELECT id FROM onboarding_sessions WHERE user_id = $1) \
     RETURNING id, COALESCE(provider, ''), COALESCE(key, ''), version",
    &[Text],
);
const LOCK_ONE: Statement = statement(
    "UPDATE api_keys SET checks_failed = checks_failed WHERE id = $1 \
     RETURNING id, COALESCE(provider, ''), COALESCE(key, ''), version",
    &[Integer],
);
const SET_KEY: Statement = statement("UPDATE api_keys SET key = $2 WHERE id = $1", &[Integer, Text]);
const READ_ONE: Statement = statement(
    "SELECT id, COALESCE(provider, ''), COALESCE(key, ''), version FROM api_keys WHERE id = $1",
    &[Integer],
);
const SET_ASIDE: Statement = statement(
    "SELECT k.id, COALESCE(s.duplicate_of, s.user_id, ''), COALESCE(k.duplicate_of, k.provider, '') FROM api_keys k \
     LEFT JOIN onboarding_sessions s ON s.id = k.session_id \
     WHERE k.duplicate_of IS NOT NULL OR s.duplicate_of IS NOT NULL ORDER BY k.id LIMIT $1",
    &[Integer],
);
const COUNT_SET_ASIDE: Statement = statement(
    "SELECT COUNT(*) FROM api_keys k LEFT JOIN onboarding_sessions s ON s.id = k.session_id \
     WHERE k.duplicate_of IS NOT NULL OR s.duplicate_of IS NOT NULL",
    &[],
);
const IS_SEALING: Statement = statement(
    "SELECT 1 FROM onboarding_sessions WHERE data_key IS NOT NULL \
     UNION ALL SELECT 1 FROM root_secrets WHERE name NOT IN ('plain_keys', 'database_id') \
     AND substr(name, 1, 7) <> 'awskms:' LIMIT 1",
    &[],
);
const REPLACE_PENDING: Statement = statement(
    "UPDATE root_secrets SET sealed = $1 WHERE name = 'plain_keys' AND sealed = 'pending'",
    &[Text],
);
const PUT_MARK: Statement = statement(
    "INSERT INTO root_secrets (name, sealed) VALUES ('plain_keys', $1) \
     ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
    &[Text],
);
const CLEAR_MARK: Statement = statement("DELETE FROM root_secrets WHERE name = 'plain_keys'", &[]);
/// PostgreSQL only: whoever else waits for a lock is not the one to be refused.
const GIVE_WAY: Statement = statement("SELECT set_config('lock_timeout', '500ms', true)", &[]);
/// PostgreSQL only: nobody writes a key until the transaction ends.
const KEEP_STILL: Statement = statement("LOCK TABLE api_keys IN SHARE MODE", &[]);

#[cfg(test)]
pub(super) const ALL: [Statement; 14] = [
    NEXT_PLAIN,
    NEXT_SEALED,
    COUNT_PLAIN,
    COUNT_SEALED,
    LOCK_OF_USER,
    LOCK_ONE,
    SET_KEY,
    READ_ONE,
    SET_ASIDE,
    COUNT_SET_ASIDE,
    IS_SEALING,
    REPLACE_PENDING,
    PUT_MARK,
    CLEAR_MARK,
];

/// Whether this stored text is a key in plain text.
pub(crate) fn is_plain(stored: &str) -> bool {
    !stored.starts_with("kf1.")
}

/// Whether an adoption left the mark for the first start, and nothing of the database was ever sealed: the only state
/// in which an unsealed mark counts.
pub(crate) async fn is_pending(transaction: &Transaction) -> Result<bool, StorageError> {
    Ok(super::root_secrets::find(transaction, MARK).await?.as_deref() == Some(PENDING)
        && transaction.query(&IS_SEALING, vec![]).await?.is_empty())
}

/// Puts the sealed mark in the place of the one that an adoption left.
pub(crate) async fn seal_mark(transaction: &Transaction, sealed: &str) -> Result<(), StorageError> {
    transaction.execute(&REPLACE_PENDING, vec![sealed.into()]).await.map(drop)
}

pub(crate) async fn put_mark(transaction: &Transaction, sealed: &str) -> Result<(), StorageError> {
    transaction.execute(&PUT_MARK, vec![sealed.into()]).await.map(drop)
}

pub(crate) async fn clear_mark(transaction: &Transaction) -> Result<(), StorageError> {
    transaction.execute(&CLEAR_MARK, vec![]).await.map(drop)
}

/// How many keys are plain text, with those kept to roll back to.
pub(crate) async fn count_plain(connection: &impl Connection) -> Result<u64, StorageError> {
    count(connection, &COUNT_PLAIN).await
}

pub(crate) async fn count_sealed(connection: &impl Connection) -> Result<u64, StorageError> {
    count(connection, &COUNT_SEALED).await
}

pub(crate) async fn count_set_aside(connection: &impl Connection) -> Result<u64, StorageError> {
    count(connection, &COUNT_SET_ASIDE).await
}

/// The next keys in plain text after the row of this id.
pub(crate) async fn next_plain(
    connection: &impl Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<KeyPlace>, StorageError> {
    let rows = connection.query(&NEXT_PLAIN, vec![after.into(), limit.into()]).await?;
    rows.iter().map(place).collect()
}

/// The next sealed keys after the row of this id.
pub(crate) async fn next_sealed(
    connection: &impl Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<KeyPlace>, StorageError> {
    let rows = connection.query(&NEXT_SEALED, vec![after.into(), limit.into()]).await?;
    rows.iter().map(place).collect()
}

/// The first keys that were set aside.
pub(crate) async fn set_aside(
    connection: &impl Connection,
    limit: i64,
) -> Result<Vec<SetAside>, StorageError> {
    let rows = connection.query(&SET_ASIDE, vec![limit.into()]).await?;
    let read = |row: &Row| {
        let KeyPlace { id, user, provider } = place(row)?;
        Ok(SetAside { id, user, provider })
    };
    rows.iter().map(read).collect()
}

/// The user's keys, which nobody else changes until the transaction ends.
pub(crate) async fn lock_of(
    transaction: &Transaction,
    user: &UserId,
) -> Result<Vec<LockedKey>, StorageError> {
    let rows = transaction.query(&LOCK_OF_USER, vec![user.as_str().into()]).await?;
    rows.iter().map(locked).collect()
}

/// The key in this row, which nobody else changes until the transaction ends.
pub(crate) async fn lock_one(transaction: &Transaction, id: i64) -> Result<Option<LockedKey>, StorageError> {
    let rows = transaction.query(&LOCK_ONE, vec![id.into()]).await?;
    rows.first().map(locked).transpose()
}

pub(crate) async fn read_one(
    connection: &impl Connection,
    id: i64,
) -> Result<Option<LockedKey>, StorageError> {
    let rows = connection.query(&READ_ONE, vec![id.into()]).await?;
    rows.first().map(locked).transpose()
}

/// Puts another form of the same key into a row that is locked.
pub(crate) async fn set_key(transaction: &Transaction, id: i64, key: &str) -> Result<(), StorageError> {
    let changed = transaction.execute(&SET_KEY, vec![id.into(), key.into()]).await?;
    if changed == 1 { Ok(()) } else { Err(StorageError::Conflict) }
}

/// Makes the transaction the one that gives up where it and another wait for each other.
pub(crate) async fn give_way(database: &Database, transaction: &Transaction) -> Result<(), StorageError> {
    if database.changes().is_some() {
        transaction.query(&GIVE_WAY, vec![]).await?;
    }
    Ok(())
}

/// Nobody writes a key until the transaction ends, which nobody did who is not over.
pub(crate) async fn keep_still(database: &Database, transaction: &Transaction) -> Result<(), StorageError> {
    // With SQLite a transaction is the only one that writes.
    if database.changes().is_some() {
        transaction.execute(&KEEP_STILL, vec![]).await?;
    }
    Ok(())
}

async fn count(connection: &impl Connection, statement: &Statement) -> Result<u64, StorageError> {
    let rows = connection.query(statement, vec![]).await?;
    let count = rows.first().map_or(Ok(0), |row| row.integer(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn place(row: &Row) -> Result<KeyPlace, StorageError> {
    Ok(KeyPlace { id: row.integer(0)?, user: row.text(1)?.to_owned(), provider: row.text(2)?.to_owned() })
}

fn locked(row: &Row) -> Result<LockedKey, StorageError> {
    Ok(LockedKey {
        id: row.integer(0)?,
        provider: row.text(1)?.to_owned(),
        key: row.text(2)?.to_owned(),
        version: row.integer(3)?,
    })
}
