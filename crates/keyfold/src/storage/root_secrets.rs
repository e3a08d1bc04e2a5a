//! `root_secrets`: values of the whole database, sealed by the master key.

use super::Kind::Text;
use super::{Connection, Statement, StorageError, statement};

/// The name of the row that proves the master key of this id.
pub(crate) fn master_key_check(id: impl std::fmt::Display) -> String {
    format!("{MASTER_KEY_CHECK}{id}")
}

const MASTER_KEY_CHECK: &str = "master_key_check_";

/// The check values of all master keys that ever sealed here.
pub(crate) async fn master_key_checks(connection: &impl Connection) -> Result<Vec<String>, StorageError> {
    let rows = connection.query(&MASTER_KEY_CHECKS, vec![]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

const FIND: Statement = statement("SELECT sealed FROM root_secrets WHERE name = $1", &[Text]);
const MASTER_KEY_CHECKS: Statement = statement(
    "SELECT sealed FROM root_secrets WHERE substr(name, 1, 17) = 'master_key_check_' ORDER BY name",
    &[],
);
const INSERT: Statement = statement(
    "INSERT INTO root_secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    &[Text, Text],
);

/// Any row that is always there would do.
const TAKE_TURN: Statement = statement("UPDATE keyfold_schema SET name = name WHERE version = 1", &[]);

#[cfg(test)]
pub(super) const ALL: [Statement; 4] = [FIND, MASTER_KEY_CHECKS, INSERT, TAKE_TURN];

/// Makes others who want to prove a master key wait until the transaction ends.
pub(crate) async fn take_turn(transaction: &impl Connection) -> Result<(), StorageError> {
    transaction.execute(&TAKE_TURN, vec![]).await.map(drop)
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
