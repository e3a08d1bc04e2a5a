//! `root_secrets`: values of the whole database, sealed by the master key.

use super::{Connection, Statement, StorageError, statement};

/// The row that proves the master key.
pub(crate) const MASTER_KEY_CHECK: &str = "master_key_check";

const FIND: Statement = statement("root_secrets.find", "SELECT sealed FROM root_secrets WHERE name = $1");
const INSERT: Statement = statement(
    "root_secrets.insert",
    "INSERT INTO root_secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
);

#[cfg(test)]
pub(super) const ALL: [Statement; 2] = [FIND, INSERT];

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
