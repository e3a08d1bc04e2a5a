//! Schema versions: each is a file, applied once, in order, in one transaction.

use super::StorageError;

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "keys", sqlite: include_str!("../../migrations/sqlite/0001_keys.sql") }];

/// Tables that were there before the first migration belong to another program.
const FIRST_TABLES: [&str; 2] = ["onboarding_sessions", "api_keys"];

pub(super) fn migrate_sqlite(connection: &mut rusqlite::Connection) -> Result<(), StorageError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
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
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    if found > known {
        return Err(StorageError::NewerSchema { found, known });
    }
    if found == 0 {
        for table in FIRST_TABLES {
            let there: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)",
                [table],
                |row| row.get(0),
            )?;
            if there {
                return Err(StorageError::ForeignTable(table.into()));
            }
        }
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        transaction.execute_batch(migration.sqlite)?;
        transaction.execute(
            "INSERT INTO keyfold_schema (version, name) VALUES (?1, ?2)",
            (migration.version, migration.name),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
pub(super) fn versions() -> impl Iterator<Item = i64> {
    MIGRATIONS.iter().map(|migration| migration.version)
}
