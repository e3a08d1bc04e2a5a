//! What is stored, and the only place that knows SQL.
//!
//! Every statement stands once, in the file of its table, with `$n` parameters that both databases understand.
//! A driver only runs statements; it knows none of them. Every function about a user takes the user.

mod adoption;
pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod deletions;
pub(crate) mod inspection;
pub(crate) mod keys;
pub(crate) mod master_keys;
mod migrations;
pub(crate) mod plain_keys;
mod postgres;
pub(crate) mod rechecks;
pub(crate) mod root_secrets;
pub(crate) mod service_tokens;
pub(crate) mod sessions;
mod sqlite;
pub(crate) mod steps;
pub(crate) mod usage;
pub(crate) mod users;
mod value;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use postgres::any_certificate;
pub use postgres::{PoolState, PostgresAddress};
pub use sqlite::Rest;
pub(crate) use value::{Column, Kind, Row, Value};

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
    /// Holds tables with keys that another program made, and that Keyfold cannot take over; says why.
    #[error("the tables that another program made there cannot be taken over as they are: {0}")]
    NotAdoptable(String),
    /// A stored value is not of the kind that it must be.
    #[error("the database holds something unexpected: {0}")]
    Unexpected(String),
    /// A statement failed for another reason.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

#[cfg(debug_assertions)]
pub(crate) use migrations::later::know as know_later_migration;

/// A statement with the kinds of its parameters, which PostgreSQL cannot always tell by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) parameters: &'static [Kind],
}

pub(crate) const fn statement(sql: &'static str, parameters: &'static [Kind]) -> Statement {
    Statement { sql, parameters }
}

/// A statement about so many rows of values, which stand between `begin` and `end`: `(…), (…)`. It is never freed, so each
/// is made once per process.
fn statement_of_rows(begin: &str, row: &[Kind], rows: usize, end: &str) -> Statement {
    let mut sql = String::from(begin);
    for number in 0..rows {
        sql.push_str(if number == 0 { "(" } else { ", (" });
        for column in 1..=row.len() {
            let comma = if column == 1 { "" } else { ", " };
            // Writing into a string cannot fail.
            let _ = write!(sql, "{comma}${}", number * row.len() + column);
        }
        sql.push(')');
    }
    sql.push_str(end);
    statement(sql.leak(), row.repeat(rows).leak())
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
pub(crate) enum Database {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// A transaction: what it did is undone unless it is committed.
pub(crate) enum Transaction {
    Sqlite(sqlite::SqliteTransaction),
    Postgres(Box<postgres::PostgresTransaction>),
}

impl Database {
    /// Opens (and creates) a SQLite file with mode 0600 and brings its schema up to date.
    ///
    /// `patience` is how long a statement waits for another process's lock.
    pub(crate) async fn open_sqlite(path: PathBuf, patience: Duration) -> Result<Self, StorageError> {
        let database = sqlite::Sqlite::open(path, patience).await?;
        database.migrate().await?;
        Ok(Self::Sqlite(database))
    }

    /// Connects to PostgreSQL and brings its schema up to date; several may do so at once.
    pub(crate) async fn open_postgres(address: &PostgresAddress) -> Result<Self, StorageError> {
        let database = postgres::Postgres::connect(address)?;
        migrations::migrate_postgres(&database).await?;
        Ok(Self::Postgres(database))
    }

    /// Connects to PostgreSQL when first used, and leaves its schema as it is: for a look, not for work.
    pub(crate) fn connect_postgres(address: &PostgresAddress) -> Result<Self, StorageError> {
        postgres::Postgres::connect(address).map(Self::Postgres)
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Transaction, StorageError> {
        match self {
            Self::Sqlite(database) => database.begin().await.map(Transaction::Sqlite),
            Self::Postgres(database) => database.begin().await.map(Box::new).map(Transaction::Postgres),
        }
    }

    /// What tells whether rows that were read still stand; `None` where others' changes are not heard.
    pub(crate) fn changes(&self) -> Option<&changes::Changes> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(database) => Some(database.changes()),
        }
    }

    /// How the pool of connections stands, if there is one.
    pub(crate) fn pool_state(&self) -> Option<PoolState> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(database) => Some(database.pool_state()),
        }
    }

    /// Closes SQLite's file until what is returned is dropped; `None` for PostgreSQL.
    pub(crate) async fn rest(&self) -> Result<Option<Rest>, StorageError> {
        match self {
            Self::Sqlite(database) => database.rest().await.map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// Waits for what is under way and closes the file.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close(),
        }
    }
}

impl Connection for Database {
    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        match self {
            Self::Sqlite(connection) => connection.query(statement, values).await,
            Self::Postgres(connection) => connection.query(statement, values).await,
        }
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        match self {
            Self::Sqlite(connection) => connection.execute(statement, values).await,
            Self::Postgres(connection) => connection.execute(statement, values).await,
        }
    }
}

impl Connection for Transaction {
    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        match self {
            Self::Sqlite(connection) => connection.query(statement, values).await,
            Self::Postgres(connection) => connection.query(statement, values).await,
        }
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        match self {
            Self::Sqlite(connection) => connection.execute(statement, values).await,
            Self::Postgres(connection) => connection.execute(statement, values).await,
        }
    }
}

impl Connection for postgres::PostgresTransaction {
    async fn query(&self, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>, StorageError> {
        Self::query(self, statement, values).await
    }

    async fn execute(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, StorageError> {
        Self::execute(self, statement, values).await
    }
}

impl Transaction {
    /// Makes everything that was done durable.
    pub(crate) async fn commit(self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

#[cfg(test)]
mod tests;
