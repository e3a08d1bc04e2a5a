//! Schema versions: each is a file, applied once, in order, in one transaction.

use super::Kind::{Integer, Text};
use super::postgres::{Postgres, PostgresTransaction};
use super::{Statement, StorageError, adoption, statement};

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
    let found: i64 =
        transaction
            .query_row("SELECT COALESCE(MAX(version), 0) FROM keyfold_schema", [], |row| row.get(0))?;
    refuse_newer(found)?;
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
    for migration in after(found) {
        if !(is_adopting && ADOPTED.contains(&migration.version)) {
            transaction.execute_batch(migration.sqlite)?;
        }
        transaction.execute(
            "INSERT INTO keyfold_schema (version, name) VALUES (?1, ?2)",
            (migration.version, migration.name),
        )?;
    }
    if is_adopting {
        adoption::finish_sqlite(&mut transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

const LATEST: Statement = statement("SELECT COALESCE(MAX(version), 0) FROM keyfold_schema", &[]);
const IS_THERE: Statement = statement("SELECT COUNT(to_regclass($1))", &[Text]);
const APPLIED: Statement =
    statement("INSERT INTO keyfold_schema (version, name) VALUES ($1, $2)", &[Integer, Text]);

/// Whether there is nothing to do: then a database that takes no changes, or a user who may make no tables, is
/// good enough.
async fn is_up_to_date(transaction: &PostgresTransaction) -> Result<bool, StorageError> {
    if !is_there(transaction, "keyfold_schema").await? {
        return Ok(false);
    }
    let found = latest(transaction).await?;
    refuse_newer(found)?;
    Ok(found == known())
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
    let found = latest(transaction).await?;
    refuse_newer(found)?;
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
    for migration in after(found) {
        if !(is_adopting && ADOPTED.contains(&migration.version)) {
            transaction.batch(migration.postgres).await?;
        }
        transaction.execute(&APPLIED, vec![migration.version.into(), migration.name.into()]).await?;
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

async fn latest(transaction: &PostgresTransaction) -> Result<i64, StorageError> {
    let rows = transaction.query(&LATEST, vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

fn refuse_newer(found: i64) -> Result<(), StorageError> {
    let known = known();
    if found > known { Err(StorageError::NewerSchema { found, known }) } else { Ok(()) }
}

/// The latest version that this program knows.
pub(super) fn known() -> i64 {
    MIGRATIONS.last().map_or(0, |last| last.version)
}

fn after(found: i64) -> impl Iterator<Item = &'static Migration> {
    MIGRATIONS.iter().filter(move |migration| migration.version > found)
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
