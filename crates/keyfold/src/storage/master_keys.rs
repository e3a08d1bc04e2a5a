//! What the master keys wrap: counting it, and wrapping data keys anew, many rows at a time.

use std::sync::LazyLock;

use super::Kind::{Integer, Text};
use super::{Connection, Database, Row, Statement, StorageError, Value, statement, statement_of_rows};

/// Rows of one `UPDATE`: enough that its round trip does not count, few enough that nobody waits for their locks.
pub const BATCH: usize = 500;
/// The ids that one statement looks at, so that none takes longer with more users.
const SPAN: i64 = 50_000;

/// A data key as it is stored, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedRow {
    pub(crate) id: i64,
    pub(crate) user: String,
    pub(crate) data_key: String,
}

/// A data key, wrapped anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrapped {
    pub(crate) id: i64,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Data keys whose stored form begins alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alike {
    /// The first 14 characters.
    pub(crate) prefix: String,
    pub(crate) count: i64,
    /// One of them.
    pub(crate) sample: String,
}

const LAST_ID: Statement = statement("SELECT COALESCE(MAX(id), 0) FROM onboarding_sessions", &[]);
const NOT_WRAPPED_BY: Statement = statement(
    "SELECT id, user_id, data_key FROM onboarding_sessions \
     WHERE id > $1 AND id <= $2 AND substr(data_key, 1, 14) <> $3 ORDER BY id LIMIT $4",
    &[Integer, Integer, Text, Integer],
);
const COUNT: Statement = statement(
    "SELECT substr(data_key, 1, 14), COUNT(*), MIN(data_key) FROM onboarding_sessions \
     WHERE id > $1 AND id <= $2 AND data_key IS NOT NULL GROUP BY substr(data_key, 1, 14)",
    &[Integer, Integer],
);
const OLDEST_AND_NEWEST: Statement = statement(
    "SELECT substr(data_key, 1, 14) FROM (SELECT data_key FROM onboarding_sessions WHERE data_key IS NOT NULL ORDER BY id LIMIT $1) AS oldest \
     UNION SELECT substr(data_key, 1, 14) \
     FROM (SELECT data_key FROM onboarding_sessions WHERE data_key IS NOT NULL ORDER BY id DESC LIMIT $1) AS newest",
    &[Integer],
);
const REPLACE_DAMAGED: Statement = statement(
    "UPDATE onboarding_sessions SET data_key = $3 WHERE id = $1 AND data_key = $2",
    &[Integer, Text, Text],
);
const KEEP_DAMAGED: Statement = statement(
    "INSERT INTO root_secrets (name, sealed) SELECT 'damaged_data_key_' || CAST(id AS VARCHAR(20)), data_key \
     FROM onboarding_sessions WHERE id = $1 AND data_key = $2 ON CONFLICT (name) DO NOTHING",
    &[Integer, Text],
);
/// PostgreSQL only, until the end of the transaction: see `migrations/postgres/0006_master_keys.sql`.
const ANNOUNCE_NO_REWRAPPING: Statement =
    statement("SELECT set_config('keyfold.rewrapping', 'on', true)", &[]);
/// PostgreSQL only: everything may have changed.
const ANNOUNCE_ALL: Statement = statement("SELECT COUNT(pg_notify('keyfold_changes', ''))", &[]);

#[cfg(test)]
pub(super) const ALL: [Statement; 6] =
    [LAST_ID, NOT_WRAPPED_BY, COUNT, OLDEST_AND_NEWEST, REPLACE_DAMAGED, KEEP_DAMAGED];

/// Wraps [`BATCH`] data keys anew, each only if it is still what it was; rows that are left over are null.
pub(super) fn rewrap_statement() -> &'static Statement {
    const BEGIN: &str = "UPDATE onboarding_sessions SET data_key = column3 FROM (VALUES ";
    const END: &str = ") AS rewrapped WHERE onboarding_sessions.id = column1 AND data_key = column2";
    static REWRAP: LazyLock<Statement> =
        LazyLock::new(|| statement_of_rows(BEGIN, &[Integer, Text, Text], BATCH, END));
    &REWRAP
}

/// The text of that statement, for benchmarks.
pub fn rewrap_sql() -> &'static str {
    rewrap_statement().sql
}

/// All ids there are, in spans that one statement can look at: after the first number, up to the second.
pub(crate) async fn spans(connection: &impl Connection) -> Result<Vec<(i64, i64)>, StorageError> {
    let rows = connection.query(&LAST_ID, vec![]).await?;
    let last = rows.first().map_or(Ok(0), |row| row.integer(0))?;
    let mut spans = vec![];
    let mut after = 0;
    while after < last {
        let until = last.min(after + SPAN);
        spans.push((after, until));
        after = until;
    }
    Ok(spans)
}

/// The next [`BATCH`] data keys of a span whose stored form does not begin like this.
pub(crate) async fn not_wrapped_by(
    connection: &impl Connection,
    sealed_prefix: &str,
    (after, until): (i64, i64),
) -> Result<Vec<WrappedRow>, StorageError> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let values = vec![after.into(), until.into(), sealed_prefix.into(), limit.into()];
    let rows = connection.query(&NOT_WRAPPED_BY, values).await?;
    rows.iter().map(read).collect()
}

/// The data keys of a span, by how they begin.
pub(crate) async fn count(
    connection: &impl Connection,
    (after, until): (i64, i64),
) -> Result<Vec<Alike>, StorageError> {
    let rows = connection.query(&COUNT, vec![after.into(), until.into()]).await?;
    let read = |row: &Row| {
        Ok(Alike { prefix: row.text(0)?.to_owned(), count: row.integer(1)?, sample: row.text(2)?.to_owned() })
    };
    rows.iter().map(read).collect()
}

/// How the data keys of the first and the last few users begin: where rotations begin, and where new users come.
pub(crate) async fn prefixes_at_both_ends(
    connection: &impl Connection,
    users: i64,
) -> Result<Vec<String>, StorageError> {
    let rows = connection.query(&OLDEST_AND_NEWEST, vec![users.into()]).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Stores at most [`BATCH`] data keys that were wrapped anew; how many were still what they were.
pub(crate) async fn rewrap(database: &Database, rows: Vec<Rewrapped>) -> Result<u64, StorageError> {
    let mut values = Vec::with_capacity(3 * BATCH);
    for row in rows {
        values.extend([Value::from(row.id), row.before.into(), row.after.into()]);
    }
    values.resize(3 * BATCH, Value::Null);
    let transaction = database.begin().await?;
    if database.changes().is_some() {
        transaction.query(&ANNOUNCE_NO_REWRAPPING, vec![]).await?;
    }
    let changed = transaction.execute(rewrap_statement(), values).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// Makes every replica look again, where there are any.
pub(crate) async fn announce_all(database: &Database) -> Result<(), StorageError> {
    if database.changes().is_some() {
        database.query(&ANNOUNCE_ALL, vec![]).await?;
    }
    Ok(())
}

/// Puts a damaged data key aside and another one in its place; false if one of this user lies there already, or the
/// row has changed meanwhile.
pub(crate) async fn put_aside(
    database: &Database,
    damaged: &WrappedRow,
    data_key: &str,
) -> Result<bool, StorageError> {
    let transaction = database.begin().await?;
    let kept = transaction.execute(&KEEP_DAMAGED, vec![damaged.id.into(), damaged.data_key.as_str().into()]);
    if kept.await? == 0 {
        return Ok(false);
    }
    let values = vec![damaged.id.into(), damaged.data_key.as_str().into(), data_key.into()];
    let replaced = transaction.execute(&REPLACE_DAMAGED, values).await?;
    transaction.commit().await?;
    Ok(replaced > 0)
}

fn read(row: &Row) -> Result<WrappedRow, StorageError> {
    Ok(WrappedRow { id: row.integer(0)?, user: row.text(1)?.to_owned(), data_key: row.text(2)?.to_owned() })
}
