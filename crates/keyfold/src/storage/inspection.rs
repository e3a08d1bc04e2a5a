//! What an operator should know of a PostgreSQL server before Keyfold uses it. Looks, and changes nothing.

use jiff::Timestamp;

use super::Kind::Text;
use super::postgres::{MOST_CONNECTIONS, PostgresAddress};
use super::{Connection, Database, Row, Statement, StorageError, adoption, migrations, statement};

/// What a PostgreSQL server says of itself and of what Keyfold has there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresFacts {
    /// Its version in its own words.
    pub version: String,
    /// How the way there is protected.
    pub encryption: Encryption,
    /// Whether it takes no changes: a replica, or set so.
    pub is_read_only: bool,
    /// Whether this user may make tables.
    pub may_create_tables: bool,
    /// What Keyfold has there.
    pub schema: Schema,
    /// Connections that are still free for this user and database, the one that asked not counted.
    pub free_connections: i64,
    /// Connections that one `keyfold serve` opens at most.
    pub wanted_connections: usize,
    /// Its clock.
    pub now: Timestamp,
}

/// How the way to the database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The address insists on TLS.
    Required,
    /// TLS, which the address does not insist on.
    Used,
    /// None, and none is needed: it is on this machine.
    SameMachine,
    /// None.
    None,
}

/// What Keyfold has in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    /// Nothing yet: the first start makes it.
    Empty,
    /// A table of this name that Keyfold did not make.
    Foreign(String),
    /// Both tables with keys, made by another program: the next start takes them over, unless this is in the way.
    PlainText {
        /// In words; empty if nothing is.
        in_the_way: String,
    },
    /// Made by an older Keyfold: the next start brings it up to date.
    Older {
        /// The version that it has.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// As this program knows it.
    Current(i64),
    /// Made by a newer Keyfold, which said that this one works on it.
    Ahead {
        /// The version that it has.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// Made by a newer Keyfold, on whose tables this one does not work.
    Newer {
        /// The version that it has.
        found: i64,
        /// The version of this program.
        known: i64,
    },
}

/// Names of databases are visible to everyone in `pg_stat_activity`, kinds of processes are not.
const SERVER: Statement = statement(
    "SELECT current_setting('server_version'), \
     (SELECT COUNT(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), \
     CASE WHEN pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' THEN 1 ELSE 0 END, \
     CASE WHEN has_schema_privilege(current_schema(), 'CREATE') THEN 1 ELSE 0 END, \
     clock_timestamp(), \
     LEAST( \
     current_setting('max_connections')::BIGINT - current_setting('superuser_reserved_connections')::BIGINT \
     - (SELECT COUNT(*) FROM pg_stat_activity WHERE datname IS NOT NULL), \
     (SELECT datconnlimit - (SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()) \
     FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0), \
     (SELECT rolconnlimit - (SELECT COUNT(*) FROM pg_stat_activity WHERE usename = current_user) \
     FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0))",
    &[],
);
const HAS_TABLE: Statement = statement("SELECT COUNT(to_regclass($1))", &[Text]);

/// Asks the server.
pub(crate) async fn inspect(address: &PostgresAddress) -> Result<PostgresFacts, StorageError> {
    let database = Database::connect_postgres(address)?;
    let looked = look(&database, address).await;
    database.close().await;
    looked
}

async fn look(database: &Database, address: &PostgresAddress) -> Result<PostgresFacts, StorageError> {
    let rows = database.query(&SERVER, vec![]).await?;
    let row = rows.first().ok_or_else(|| StorageError::Unexpected("the server says nothing".into()))?;
    let encryption = match (address.requires_tls(), row.integer(1)? > 0, address.is_on_this_machine()) {
        (true, _, _) => Encryption::Required,
        (false, true, _) => Encryption::Used,
        (false, false, true) => Encryption::SameMachine,
        (false, false, false) => Encryption::None,
    };
    Ok(PostgresFacts {
        version: row.text(0)?.to_owned(),
        encryption,
        is_read_only: row.integer(2)? > 0,
        may_create_tables: row.integer(3)? > 0,
        schema: schema(database).await?,
        free_connections: row.optional(5, Row::integer)?.unwrap_or(0),
        // And the one that listens.
        wanted_connections: MOST_CONNECTIONS + 1,
        now: row.time(4)?,
    })
}

/// What Keyfold has in a PostgreSQL database.
pub(crate) async fn schema(database: &impl Connection) -> Result<Schema, StorageError> {
    let (mut found, mut readable_from) = (0, None);
    if has_table(database, "keyfold_schema").await? {
        (found, readable_from) = migrations::latest(database).await?;
    }
    if found == 0 {
        let mut there = vec![];
        for table in migrations::FIRST_TABLES {
            there.extend(has_table(database, table).await?.then_some(table));
        }
        return Ok(match there.as_slice() {
            [] => Schema::Empty,
            [table] => Schema::Foreign((*table).to_owned()),
            _ => Schema::PlainText { in_the_way: adoption::look_at_postgres(database).await?.join("; ") },
        });
    }
    let known = migrations::known();
    Ok(match found {
        found if found < known => Schema::Older { found, known },
        found if found > known && migrations::works_on(readable_from) => Schema::Ahead { found, known },
        found if found > known => Schema::Newer { found, known },
        found => Schema::Current(found),
    })
}

async fn has_table(database: &impl Connection, name: &str) -> Result<bool, StorageError> {
    let rows = database.query(&HAS_TABLE, vec![name.into()]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.integer(0)? > 0))
}
