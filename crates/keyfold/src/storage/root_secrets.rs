//! `root_secrets`: values of the whole database. Most are sealed by a master key; a name's beginning says otherwise.

use super::Kind::Text;
use super::{Connection, Row, Statement, StorageError, statement};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootSecret {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// What a row is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Proves a master key, and is sealed by it.
    Check,
    /// A user's data key that did not open and was put aside.
    PutAside,
    /// A master key, encrypted by a key service.
    MasterKey,
    /// Names this database; no secret.
    DatabaseId,
    /// Sealed by a master key: all else, also what a later Keyfold puts there.
    Sealed,
}

impl RootSecret {
    pub(crate) fn kind(&self) -> Kind {
        if self.name.starts_with(MASTER_KEY_CHECK) {
            Kind::Check
        } else if self.name.starts_with("damaged_data_key_") {
            Kind::PutAside
        } else if self.name.starts_with(KEY_SERVICE) {
            Kind::MasterKey
        } else if self.name == DATABASE_ID {
            Kind::DatabaseId
        } else {
            Kind::Sealed
        }
    }
}

/// The name of the row that proves the master key of this id.
pub(crate) fn master_key_check(id: impl std::fmt::Display) -> String {
    format!("{MASTER_KEY_CHECK}{id}")
}

const MASTER_KEY_CHECK: &str = "master_key_check_";
/// How the name of a master key begins that AWS KMS encrypted; its key's ARN follows.
pub(crate) const KEY_SERVICE: &str = "awskms:";
/// The name of the row that tells databases apart.
pub(crate) const DATABASE_ID: &str = "database_id";

/// The check values of all master keys that ever sealed here.
pub(crate) async fn master_key_checks(connection: &impl Connection) -> Result<Vec<String>, StorageError> {
    let rows = connection.query(&MASTER_KEY_CHECKS, vec![]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

const FIND: Statement = statement("SELECT sealed FROM root_secrets WHERE name = $1", &[Text]);
const EVERY: Statement = statement("SELECT name, sealed FROM root_secrets ORDER BY name", &[]);
const MASTER_KEY_CHECKS: Statement = statement(
    "SELECT sealed FROM root_secrets WHERE substr(name, 1, 17) = 'master_key_check_' ORDER BY name",
    &[],
);
const INSERT: Statement = statement(
    "INSERT INTO root_secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    &[Text, Text],
);
const REPLACE: Statement =
    statement("UPDATE root_secrets SET sealed = $3 WHERE name = $1 AND sealed = $2", &[Text, Text, Text]);
const REMOVE: Statement =
    statement("DELETE FROM root_secrets WHERE name = $1 AND sealed = $2", &[Text, Text]);

/// Any row that is always there would do.
const TAKE_TURN: Statement = statement("UPDATE keyfold_schema SET name = name WHERE version = 1", &[]);

#[cfg(test)]
pub(super) const ALL: [Statement; 7] = [FIND, EVERY, MASTER_KEY_CHECKS, INSERT, REPLACE, REMOVE, TAKE_TURN];

/// Makes others who want to prove a master key wait until the transaction ends.
pub(crate) async fn take_turn(transaction: &impl Connection) -> Result<(), StorageError> {
    transaction.execute(&TAKE_TURN, vec![]).await.map(drop)
}

/// Every row. There are few, but for what was put aside.
pub(crate) async fn every(connection: &impl Connection) -> Result<Vec<RootSecret>, StorageError> {
    let rows = connection.query(&EVERY, vec![]).await?;
    let read = |row: &Row| Ok(RootSecret { name: row.text(0)?.to_owned(), value: row.text(1)?.to_owned() });
    rows.iter().map(read).collect()
}

/// Replaces a value if it is still what it was.
pub(crate) async fn replace(
    connection: &impl Connection,
    secret: &RootSecret,
    value: &str,
) -> Result<bool, StorageError> {
    let values = vec![secret.name.as_str().into(), secret.value.as_str().into(), value.into()];
    Ok(connection.execute(&REPLACE, values).await? > 0)
}

/// Removes a row if it is still what it was.
pub(crate) async fn remove(connection: &impl Connection, secret: &RootSecret) -> Result<(), StorageError> {
    let values = vec![secret.name.as_str().into(), secret.value.as_str().into()];
    connection.execute(&REMOVE, values).await.map(drop)
}

pub(crate) async fn find(connection: &impl Connection, name: &str) -> Result<Option<String>, StorageError> {
    let rows = connection.query(&FIND, vec![name.into()]).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Stores the value unless another process came first, and returns the one that now stands.
pub(crate) async fn insert_or_find(
    connection: &impl Connection,
    name: &str,
    sealed: &str,
) -> Result<String, StorageError> {
    connection.execute(&INSERT, vec![name.into(), sealed.into()]).await?;
    find(connection, name)
        .await?
        .ok_or_else(|| StorageError::Unexpected(format!("root secret `{name}` vanished")))
}
