//! `service_tokens`: what backend services may do, found by the hashes of their tokens.

use jiff::Timestamp;

use super::Kind::{Integer, Text, Time};
use super::{Connection, Row, Statement, StorageError, statement};

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServiceTokenRow {
    pub(crate) id: i64,
    pub(crate) granted: GrantRow,
    pub(crate) signature: String,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

/// The part of a token's row that never changes, and is signed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GrantRow {
    pub(crate) name: String,
    /// SHA-256 of the token, as hex digits.
    pub(crate) token_hash: String,
    /// Separated by blanks.
    pub(crate) scopes: String,
    /// A JSON array; `None` means all.
    pub(crate) users: Option<String>,
    /// A JSON array; `None` means all.
    pub(crate) providers: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

const INSERT: Statement = statement(
    "INSERT INTO service_tokens (name, token_hash, scopes, users, providers, created_at, expires_at, signature) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id",
    &[Text, Text, Text, Text, Text, Time, Time, Text],
);
const FIND: Statement = statement(
    "SELECT id, name, token_hash, scopes, users, providers, created_at, expires_at, signature, last_used_at, \
     revoked_at FROM service_tokens WHERE token_hash = $1",
    &[Text],
);
/// The one of a name that is not revoked comes first; there is at most one.
const FIND_NAMED: Statement = statement(
    "SELECT id, name, token_hash, scopes, users, providers, created_at, expires_at, signature, last_used_at, \
     revoked_at FROM service_tokens WHERE name = $1 \
     ORDER BY CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, id DESC LIMIT 1",
    &[Text],
);
const FIND_BY_ID: Statement = statement(
    "SELECT id, name, token_hash, scopes, users, providers, created_at, expires_at, signature, last_used_at, \
     revoked_at FROM service_tokens WHERE id = $1",
    &[Integer],
);
const LIST: Statement = statement(
    "SELECT id, name, token_hash, scopes, users, providers, created_at, expires_at, signature, last_used_at, \
     revoked_at FROM service_tokens ORDER BY id",
    &[],
);
const REVOKE: Statement = statement(
    "UPDATE service_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
    &[Integer, Time],
);
const SET_USED: Statement = statement(
    "UPDATE service_tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
    &[Integer, Time],
);

#[cfg(test)]
pub(super) const ALL: [Statement; 7] = [INSERT, FIND, FIND_NAMED, FIND_BY_ID, LIST, REVOKE, SET_USED];

/// Stores a token and returns its id; [`StorageError::Conflict`] if another one of this name stands. Runs in a
/// transaction only.
pub(crate) async fn insert(
    transaction: &super::Transaction,
    granted: &GrantRow,
    signature: &str,
) -> Result<i64, StorageError> {
    let values = vec![
        granted.name.as_str().into(),
        granted.token_hash.as_str().into(),
        granted.scopes.as_str().into(),
        granted.users.clone().into(),
        granted.providers.clone().into(),
        granted.created_at.into(),
        granted.expires_at.into(),
        signature.into(),
    ];
    let rows = transaction.query(&INSERT, values).await?;
    rows.first().ok_or(StorageError::Conflict)?.integer(0)
}

/// The token with this hash.
pub(crate) async fn find(
    connection: &impl Connection,
    token_hash: &str,
) -> Result<Option<ServiceTokenRow>, StorageError> {
    first(&connection.query(&FIND, vec![token_hash.into()]).await?)
}

/// The token of this name that stands; where none does, the one that was revoked last.
pub(crate) async fn find_named(
    connection: &impl Connection,
    name: &str,
) -> Result<Option<ServiceTokenRow>, StorageError> {
    first(&connection.query(&FIND_NAMED, vec![name.into()]).await?)
}

/// The token with this id.
pub(crate) async fn find_by_id(
    connection: &impl Connection,
    id: i64,
) -> Result<Option<ServiceTokenRow>, StorageError> {
    first(&connection.query(&FIND_BY_ID, vec![id.into()]).await?)
}

/// All tokens, revoked ones too, the oldest first.
pub(crate) async fn list(connection: &impl Connection) -> Result<Vec<ServiceTokenRow>, StorageError> {
    connection.query(&LIST, vec![]).await?.iter().map(read).collect()
}

/// Revokes a token; false if it was revoked already.
pub(crate) async fn revoke(
    connection: &impl Connection,
    id: i64,
    now: Timestamp,
) -> Result<bool, StorageError> {
    Ok(connection.execute(&REVOKE, vec![id.into(), now.into()]).await? > 0)
}

/// Notes when a token was last used.
pub(crate) async fn set_used(
    connection: &impl Connection,
    id: i64,
    at: Timestamp,
) -> Result<(), StorageError> {
    connection.execute(&SET_USED, vec![id.into(), at.into()]).await.map(drop)
}

fn first(rows: &[Row]) -> Result<Option<ServiceTokenRow>, StorageError> {
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<ServiceTokenRow, StorageError> {
    let text = |row: &Row, column| row.text(column).map(str::to_owned);
    Ok(ServiceTokenRow {
        id: row.integer(0)?,
        granted: GrantRow {
            name: text(row, 1)?,
            token_hash: text(row, 2)?,
            scopes: text(row, 3)?,
            users: row.optional(4, text)?,
            providers: row.optional(5, text)?,
            created_at: row.time(6)?,
            expires_at: row.optional(7, Row::time)?,
        },
        signature: text(row, 8)?,
        last_used_at: row.optional(9, Row::time)?,
        revoked_at: row.optional(10, Row::time)?,
    })
}
