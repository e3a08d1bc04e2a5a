//! What is stored, and the only place that knows SQL.
//!
//! Every statement stands once, in the file of its table, with `$n` parameters that both databases understand.
//! A driver only runs statements; it knows none of them. Every function about a user takes the user.

pub(crate) mod keys;
mod migrations;
pub(crate) mod root_secrets;
pub(crate) mod sessions;
mod sqlite;
pub(crate) mod steps;
mod value;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use value::{Row, Value};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Not there, locked for too long, or the connection broke.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// No space left where the database lives.
    #[error("the disk that holds the database is full")]
    Full,
    /// The database's file or folder cannot be written.
    #[error("the database cannot be written: {0}")]
    ReadOnly(String),
    /// Two changes met; this one lost.
    #[error("another change came first")]
    Conflict,
    /// Written by a later version of Keyfold.
    #[error("the database has schema version {found}, and this Keyfold knows versions up to {known}")]
    NewerSchema {
        /// The version that the database has.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// Holds tables of these names that Keyfold did not make.
    #[error("the database already has a table `{0}` that this Keyfold did not make")]
    ForeignTable(String),
    /// A stored value is not of the kind that it must be.
    #[error("the database holds something unexpected: {0}")]
    Unexpected(String),
    /// A statement failed for another reason.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

/// A statement and its name, by which drivers keep it prepared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the PostgreSQL driver keeps prepared statements by name")
    )]
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

pub(crate) const fn statement(name: &'static str, sql: &'static str) -> Statement {
    Statement { name, sql }
}

/// Something that runs statements: the database itself, or one transaction on it.
pub(crate) trait Connection: Sync {
    /// Runs a statement and returns its rows.
    fn query(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StorageError>> + Send;

    /// Runs a statement and returns how many rows it changed.
    fn execute(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, StorageError>> + Send;
}

/// The database that everything is stored in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Database(sqlite::Sqlite);

/// A transaction: what it did is undone unless it is committed.
pub(crate) struct Transaction(sqlite::SqliteTransaction);

impl Database {
    /// Opens (and creates) a SQLite file with mode 0600 and brings its schema up to date.
    ///
    /// `patience` is how long a statement waits for another process's lock.
    pub(crate) async fn open_sqlite(path: PathBuf, patience: Duration) -> Result<Self, StorageError> {
        let database = sqlite::Sqlite::open(path, patience).await?;
        database.migrate().await?;
        Ok(Self(database))
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Transaction, StorageError> {
        self.0.begin().await.map(Transaction)
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StorageError> {
        const PING: Statement = statement("ping", "SELECT 1");
        self.query(&PING, vec![]).await.map(drop)
    }

    /// Waits for what is under way and closes the file.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}

impl Connection for Database {
    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        self.0.query(statement, values).await
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        self.0.execute(statement, values).await
    }
}

impl Connection for Transaction {
    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        self.0.query(statement, values).await
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        self.0.execute(statement, values).await
    }
}

impl Transaction {
    /// Makes everything that was done durable.
    pub(crate) async fn commit(self) -> Result<(), StorageError> {
        self.0.commit().await
    }
}

#[cfg(test)]
mod tests;
