//! Schema versions: each is a file, applied once, in order, in one transaction.

use rusqlite::OptionalExtension as _;

use super::Kind::{Integer, Text};
use super::postgres::{Postgres, PostgresTransaction};
use super::{Connection, Row, Statement, StorageError, adoption, statement};

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "keys",
        sqlite: concat!(
            include_str!("../../migrations/sqlite/0001_keys.sql"),
            include_str!("../../migrations/sqlite/0001_beside_keys.sql")
        ),
        postgres: concat!(
            include_str!("../../migrations/postgres/0001_keys.sql"),
            include_str!("../../migrations/postgres/0001_beside_keys.sql")
        ),
    },
    Migration {
        version: 2,
        name: "users",
        sqlite: include_str!("../../migrations/sqlite/0002_users.sql"),
        postgres: include_str!("../../migrations/postgres/0002_users.sql"),
    },
    Migration {
        version: 3,
        name: "audit",
        sqlite: include_str!("../../migrations/sqlite/0003_audit.sql"),
        postgres: include_str!("../../migrations/postgres/0003_audit.sql"),
    },
    Migration {
        version: 4,
        name: "service_tokens",
        sqlite: include_str!("../../migrations/sqlite/0004_service_tokens.sql"),
        postgres: include_str!("../../migrations/postgres/0004_service_tokens.sql"),
    },
    Migration {
        version: 5,
        name: "deletion",
        sqlite: include_str!("../../migrations/sqlite/0005_deletion.sql"),
        postgres: include_str!("../../migrations/postgres/0005_deletion.sql"),
    },
    Migration {
        version: 6,
        name: "master_keys",
        sqlite: include_str!("../../migrations/sqlite/0006_master_keys.sql"),
        postgres: include_str!("../../migrations/postgres/0006_master_keys.sql"),
    },
    Migration {
        version: 7,
        name: "usage",
        sqlite: include_str!("../../migrations/sqlite/0007_usage.sql"),
        postgres: include_str!("../../migrations/postgres/0007_usage.sql"),
    },
    Migration {
        version: 8,
        name: "service_token_changes",
        sqlite: include_str!("../../migrations/sqlite/0008_service_token_changes.sql"),
        postgres: include_str!("../../migrations/postgres/0008_service_token_changes.sql"),
    },
    Migration {
        version: 9,
        name: "adoption",
        sqlite: include_str!("../../migrations/sqlite/0009_adoption.sql"),
        postgres: include_str!("../../migrations/postgres/0009_adoption.sql"),
    },
    Migration {
        version: 10,
        name: "other_programs",
        sqlite: include_str!("../../migrations/sqlite/0010_other_programs.sql"),
        postgres: include_str!("../../migrations/postgres/0010_other_programs.sql"),
    },
];

/// The oldest version whose program still works on the tables as they are after the last migration here. Raise it to a
/// migration's own version if that takes away what older programs read, or if they would do wrong without knowing it.
const READABLE_FROM: i64 = 9;

/// What an adoption does by itself.
const ADOPTED: [i64; 2] = [1, 9];

/// Names the lock under which one replica at a time migrates PostgreSQL: "keyfold" in ASCII.
const MIGRATION_LOCK: i64 = 0x006b_6579_666f_6c64;

/// Tables that were there before the first migration belong to another program. Both together may be adopted.
pub(super) const FIRST_TABLES: [&str; 2] = ["onboarding_sessions", "api_keys"];

pub(super) fn migrate_sqlite(connection: &mut rusqlite::Connection) -> Result<(), StorageError> {
    let mut transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS keyfold_schema (
            version INTEGER PRIMARY KEY,
            name VARCHAR(50) NOT NULL,
            applied_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
        )",
    )?;
    let column =
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('keyfold_schema') WHERE name = 'readable_from')";
    let says_from: bool = transaction.query_row(column, [], |row| row.get(0))?;
    let latest = if says_from { LATEST } else { LATEST_UNSAID };
    let (found, readable_from) = transaction
        .query_row(latest.sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or((0, None));
    if is_newer(found, readable_from)? {
        return Ok(());
    }
    let mut there = vec![];
    if found == 0 {
        for table in FIRST_TABLES {
            let is_there: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = ?1)",
                [table],
                |row| row.get(0),
            )?;
            there.extend(is_there.then_some(table));
        }
    }
    let is_adopting = is_to_be_adopted(&there)?;
    if is_adopting {
        adoption::adopt_sqlite(&transaction)?;
    }
    if !says_from && found < known() {
        transaction.execute_batch("ALTER TABLE keyfold_schema ADD COLUMN readable_from INTEGER")?;
    }
    for migration in after(found) {
        if !(is_adopting && ADOPTED.contains(&migration.version)) {
            transaction.execute_batch(migration.sqlite)?;
        }
        transaction.execute(APPLIED.sql, (migration.version, migration.name, readable_from_of(migration)))?;
    }
    if is_adopting {
        adoption::finish_sqlite(&mut transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

const LATEST: Statement =
    statement("SELECT version, readable_from FROM keyfold_schema ORDER BY version DESC LIMIT 1", &[]);
/// Where no migration that says so was applied yet.
const LATEST_UNSAID: Statement =
    statement("SELECT version, CAST(NULL AS INTEGER) FROM keyfold_schema ORDER BY version DESC LIMIT 1", &[]);
const SAYS_FROM: Statement = statement(
    "SELECT COUNT(*) FROM pg_attribute \
     WHERE attrelid = to_regclass('keyfold_schema') AND attname = 'readable_from' AND NOT attisdropped",
    &[],
);
const IS_THERE: Statement = statement("SELECT COUNT(to_regclass($1))", &[Text]);
const APPLIED: Statement = statement(
    "INSERT INTO keyfold_schema (version, name, readable_from) VALUES ($1, $2, $3)",
    &[Integer, Text, Integer],
);

/// Whether there is nothing to do: then a database that takes no changes, or a user who may make no tables, is
/// good enough.
async fn is_up_to_date(transaction: &PostgresTransaction) -> Result<bool, StorageError> {
    if !is_there(transaction, "keyfold_schema").await? {
        return Ok(false);
    }
    let (found, readable_from) = latest(transaction).await?;
    Ok(is_newer(found, readable_from)? || found == known())
}

/// Several replicas may do so at once.
pub(super) async fn migrate_postgres(database: &Postgres) -> Result<(), StorageError> {
    let transaction = database.begin_migrating().await?;
    if !is_up_to_date(&transaction).await? {
        // Replicas that start at once wait here for each other.
        transaction.batch(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
        bring_up_to_date(&transaction).await?;
    }
    transaction.commit().await
}

/// The caller holds the lock under which one replica at a time migrates.
async fn bring_up_to_date(transaction: &PostgresTransaction) -> Result<(), StorageError> {
    transaction
        .batch(
            "CREATE TABLE IF NOT EXISTS keyfold_schema (
                version INTEGER PRIMARY KEY,
                name VARCHAR(50) NOT NULL,
                applied_at TIMESTAMP DEFAULT (NOW() AT TIME ZONE 'UTC')
            )",
        )
        .await?;
    let (found, readable_from) = latest(transaction).await?;
    if is_newer(found, readable_from)? {
        return Ok(());
    }
    let mut there = vec![];
    if found == 0 {
        for table in FIRST_TABLES {
            there.extend(is_there(transaction, table).await?.then_some(table));
        }
    }
    let is_adopting = is_to_be_adopted(&there)?;
    if is_adopting {
        adoption::adopt_postgres(transaction).await?;
    }
    if found < known() {
        transaction
            .batch("ALTER TABLE keyfold_schema ADD COLUMN IF NOT EXISTS readable_from INTEGER")
            .await?;
    }
    for migration in after(found) {
        if !(is_adopting && ADOPTED.contains(&migration.version)) {
            transaction.batch(migration.postgres).await?;
        }
        let values = [migration.version.into(), migration.name.into(), readable_from_of(migration).into()];
        transaction.execute(&APPLIED, values.into()).await?;
    }
    if is_adopting {
        adoption::finish_postgres(transaction).await?;
    }
    Ok(())
}

/// Of an unmarked database, by those of the first tables that are there. One alone is another program's.
fn is_to_be_adopted(there: &[&str]) -> Result<bool, StorageError> {
    match there {
        [] => Ok(false),
        [table] => Err(StorageError::ForeignTable((*table).to_owned())),
        _ => Ok(true),
    }
}

async fn is_there(transaction: &PostgresTransaction, table: &str) -> Result<bool, StorageError> {
    let rows = transaction.query(&IS_THERE, vec![table.into()]).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.integer(0)? > 0))
}

/// The version that a database has, and the oldest one whose program works on it, if it says so.
pub(super) async fn latest(database: &impl Connection) -> Result<(i64, Option<i64>), StorageError> {
    let says_from = database.query(&SAYS_FROM, vec![]).await?;
    let says_from = says_from.first().map_or(Ok(0), |row| row.integer(0))? > 0;
    let rows = database.query(if says_from { &LATEST } else { &LATEST_UNSAID }, vec![]).await?;
    rows.first().map_or(Ok((0, None)), |row| Ok((row.integer(0)?, row.optional(1, Row::integer)?)))
}

/// Whether a newer Keyfold made the tables what they are. They are left so, and if that one did not say that this one
/// works on them, they are refused: while replicas are replaced, an older one that has to start again still can.
fn is_newer(found: i64, readable_from: Option<i64>) -> Result<bool, StorageError> {
    let known = known();
    if found > known && !works_on(readable_from) {
        return Err(StorageError::NewerSchema { found, known });
    }
    Ok(found > known)
}

/// Whether this program works on tables that are readable from that version on. If nothing is said, it does not.
pub(super) fn works_on(readable_from: Option<i64>) -> bool {
    readable_from.is_some_and(|from| from <= known())
}

/// The latest version that this program knows.
pub(super) fn known() -> i64 {
    all().last().map_or(0, |last| last.version)
}

fn after(found: i64) -> impl Iterator<Item = &'static Migration> {
    all().filter(move |migration| migration.version > found)
}

fn all() -> impl Iterator<Item = &'static Migration> {
    MIGRATIONS.iter().chain(later::migration())
}

fn readable_from_of(migration: &Migration) -> i64 {
    later::readable_from(migration).unwrap_or(READABLE_FROM)
}

/// In debug builds a program can be told of a migration that a later release may have. So two programs of one build
/// know different versions, and tests see what they do to each other.
#[cfg(debug_assertions)]
pub(super) mod later {
    use std::sync::OnceLock;

    use super::{MIGRATIONS, Migration};
    use crate::storage::StorageError;

    static LATER: OnceLock<(Migration, i64)> = OnceLock::new();

    /// `FROM:FILE`: from which version on the tables are readable then, and the statements.
    pub(crate) fn know(told: &str) -> Result<(), StorageError> {
        let wrong = || StorageError::Unexpected(format!("the later migration {told}"));
        let (from, file) = told.split_once(':').ok_or_else(wrong)?;
        let from = from.parse().map_err(|_| wrong())?;
        let sql: &'static str = std::fs::read_to_string(file).map_err(|_| wrong())?.leak();
        let version = MIGRATIONS.last().map_or(0, |last| last.version) + 1;
        let _ = LATER.set((Migration { version, name: "later", sqlite: sql, postgres: sql }, from));
        Ok(())
    }

    pub(super) fn migration() -> Option<&'static Migration> {
        LATER.get().map(|(migration, _)| migration)
    }

    pub(super) fn readable_from(migration: &Migration) -> Option<i64> {
        LATER.get().filter(|(later, _)| later.version == migration.version).map(|(_, from)| *from)
    }
}

#[cfg(not(debug_assertions))]
mod later {
    use super::Migration;

    pub(super) fn migration() -> Option<&'static Migration> {
        None
    }

    pub(super) fn readable_from(_: &Migration) -> Option<i64> {
        None
    }
}

#[cfg(test)]
pub(super) fn texts() -> impl Iterator<Item = (i64, &'static str)> {
    let both = |migration: &'static Migration| {
        [migration.sqlite, migration.postgres].map(|sql| (migration.version, sql))
    };
    MIGRATIONS.iter().flat_map(both)
}

#[cfg(test)]
pub(super) fn versions() -> impl Iterator<Item = i64> {
    MIGRATIONS.iter().map(|migration| migration.version)
}
