//! PostgreSQL: each statement is prepared once per connection, and every wait is bounded.

mod address;
mod listener;
mod pool;
mod tls;

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, Kind as PostgresKind, ToSql, Type, to_sql_checked};

pub use address::PostgresAddress;
pub(super) use pool::MOST_CONNECTIONS;
pub use pool::PoolState;
use pool::{Connections, Lease};
pub(crate) use tls::any_certificate;

use super::changes::Changes;
use super::{Kind, Row, Statement, StorageError, Value};

/// For all migrations together: another replica may be at them.
const MIGRATE: Duration = Duration::from_secs(120);
/// The server itself ends what a process began that died or was cut off: `PATIENCE`, in its words, and a little
/// more where only it can tell. Tables that another program made may have times with a zone.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '2700ms'; \
                     SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL TIME ZONE 'UTC'";
/// The same for migrations.
const BEGIN_MIGRATING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '120s'; \
                               SET LOCAL lock_timeout = '120s'; \
                               SET LOCAL idle_in_transaction_session_timeout = '5s'; \
                               SET LOCAL TIME ZONE 'UTC'";

/// A PostgreSQL database. Cheap to clone. Connects when first used, and again whenever it was away.
#[derive(Clone)]
pub(crate) struct Postgres {
    connections: Connections,
    changes: Arc<Changes>,
    /// Whether each connection is known to be a session of its own. Behind a proxy that shares sessions between
    /// transactions the name of a prepared statement may be another client's.
    is_direct: Arc<AtomicBool>,
}

impl Postgres {
    pub(super) fn connect(address: &PostgresAddress) -> Result<Self, StorageError> {
        let tls = tls::connector(address.ssl())?;
        let connections = Connections::new((**address.config()).clone(), tls.clone())?;
        let changes = Arc::new(Changes::new());
        let is_direct = Arc::new(AtomicBool::new(false));
        listener::listen(
            Arc::clone(address.config()),
            tls,
            &changes,
            Arc::clone(&is_direct),
            connections.while_there(),
        );
        Ok(Self { connections, changes, is_direct })
    }

    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(super) fn pool_state(&self) -> PoolState {
        self.connections.state()
    }

    /// A transaction that may take as long as migrations do.
    pub(super) async fn begin_migrating(&self) -> Result<PostgresTransaction, StorageError> {
        let (lease, _) = self.connections.lease(Instant::now()).await?;
        let deadline = Instant::now() + MIGRATE;
        let transaction = PostgresTransaction { lease, deadline, is_direct: self.is_direct() };
        transaction.begin(BEGIN_MIGRATING).await?;
        Ok(transaction)
    }

    /// A statement that failed because its pooled connection had died is tried once more on another one.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        let (begun, is_direct) = (Instant::now(), self.is_direct());
        let (lease, deadline) = self.connections.lease(begun).await?;
        match query(&lease, deadline, is_direct, statement, &values).await {
            Err(_) if lease.died() => {
                drop(lease);
                let (lease, deadline) = self.connections.lease(begun).await?;
                query(&lease, deadline, is_direct, statement, &values).await
            }
            done => done,
        }
    }

    /// Not tried again: it may have been carried out.
    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<u64, StorageError> {
        let (lease, deadline) = self.connections.lease(Instant::now()).await?;
        execute(&lease, deadline, self.is_direct(), statement, &values).await
    }

    pub(super) async fn begin(&self) -> Result<PostgresTransaction, StorageError> {
        let begun = Instant::now();
        match self.begin_from(begun).await? {
            (transaction, Ok(())) => Ok(transaction),
            // Nothing was done yet: a connection that had died is replaced.
            (transaction, Err(_)) if transaction.lease.died() => {
                drop(transaction);
                let (transaction, done) = self.begin_from(begun).await?;
                done.map(|()| transaction)
            }
            (_, Err(error)) => Err(error),
        }
    }

    async fn begin_from(
        &self,
        begun: Instant,
    ) -> Result<(PostgresTransaction, Result<(), StorageError>), StorageError> {
        let (lease, deadline) = self.connections.lease(begun).await?;
        let transaction = PostgresTransaction { lease, deadline, is_direct: self.is_direct() };
        let done = transaction.begin(BEGIN).await;
        Ok((transaction, done))
    }

    pub(super) fn close(self) {
        self.connections.close();
    }

    /// Whether statements may be prepared, and rows copied in.
    pub(super) fn is_direct(&self) -> bool {
        self.is_direct.load(Ordering::Relaxed)
    }
}

/// Rolled back when dropped before [`commit`](Self::commit).
pub(crate) struct PostgresTransaction {
    lease: Lease,
    /// For all of it.
    deadline: Instant,
    is_direct: bool,
}

impl PostgresTransaction {
    pub(super) async fn query(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StorageError> {
        query(&self.lease, self.deadline, self.is_direct, statement, &values).await
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<u64, StorageError> {
        execute(&self.lease, self.deadline, self.is_direct, statement, &values).await
    }

    /// Runs a `COPY … FROM STDIN` with these rows, and says how many there were. Only on a session of its own: it is
    /// prepared.
    pub(super) async fn copy_in(&self, sql: &'static str, rows: Bytes) -> Result<u64, StorageError> {
        let work = self.lease.work(self.deadline, |connection| async move {
            let prepared = connection.prepare_cached(sql).await?;
            let mut sink = pin!(connection.copy_in(&prepared).await?);
            sink.send(rows).await?;
            sink.finish().await
        });
        work.await
    }

    pub(super) async fn commit(self) -> Result<(), StorageError> {
        self.batch("COMMIT").await?;
        self.lease.note_transaction(false);
        Ok(())
    }

    /// Several statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), StorageError> {
        self.lease.work(self.deadline, |connection| connection.batch_execute(sql)).await
    }

    async fn begin(&self, sql: &str) -> Result<(), StorageError> {
        self.lease.note_transaction(true);
        self.batch(sql).await
    }
}

async fn query(
    lease: &Lease,
    deadline: Instant,
    is_direct: bool,
    statement: &Statement,
    values: &[Value],
) -> Result<Vec<Row>, StorageError> {
    let work = lease.work(deadline, |connection| async move {
        if !is_direct {
            return connection.query_typed(statement.sql, &typed(statement, values)).await;
        }
        let prepared = connection.prepare_typed_cached(statement.sql, &types(statement)).await?;
        connection.query(&prepared, &parameters(values)).await
    });
    work.await?.iter().map(read).collect()
}

async fn execute(
    lease: &Lease,
    deadline: Instant,
    is_direct: bool,
    statement: &Statement,
    values: &[Value],
) -> Result<u64, StorageError> {
    let work = lease.work(deadline, |connection| async move {
        if !is_direct {
            return connection.execute_typed(statement.sql, &typed(statement, values)).await;
        }
        let prepared = connection.prepare_typed_cached(statement.sql, &types(statement)).await?;
        connection.execute(&prepared, &parameters(values)).await
    });
    work.await
}

fn typed<'a>(statement: &Statement, values: &'a [Value]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    parameters(values).into_iter().zip(types(statement)).collect()
}

fn types(statement: &Statement) -> Vec<Type> {
    let of = |kind: &Kind| match kind {
        Kind::Integer => Type::INT8,
        Kind::Real => Type::FLOAT8,
        Kind::Text => Type::TEXT,
        Kind::Time => Type::TIMESTAMP,
        Kind::Integers => Type::INT8_ARRAY,
        Kind::Texts => Type::TEXT_ARRAY,
        Kind::Times => Type::TIMESTAMP_ARRAY,
    };
    statement.parameters.iter().map(of).collect()
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql(ty, out),
            Self::Real(value) => value.to_sql(ty, out),
            Self::Text(value) => value.to_sql(ty, out),
            // The columns have no time zone: UTC, as everywhere.
            Self::Time(value) => value.to_zoned(TimeZone::UTC).datetime().to_sql(ty, out),
            Self::Column(column) => {
                let PostgresKind::Array(of) = ty.kind() else { return Err("a column is an array".into()) };
                // One dimension, whose first element has the number 1.
                for header in [1, i32::from(column.has_nothing)] {
                    out.extend_from_slice(&header.to_be_bytes());
                }
                out.extend_from_slice(&of.oid().to_be_bytes());
                for header in [column.count, 1] {
                    out.extend_from_slice(&header.to_be_bytes());
                }
                out.extend_from_slice(&column.bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(ty: &Type) -> bool {
        let of = match ty.kind() {
            PostgresKind::Array(of) => of,
            _ => ty,
        };
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::TIMESTAMP].contains(of)
    }

    to_sql_checked!();
}

fn read(row: &tokio_postgres::Row) -> Result<Row, StorageError> {
    let mut values = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        let unexpected = |error: tokio_postgres::Error| StorageError::Unexpected(error.to_string());
        let value = match *column.type_() {
            Type::INT2 => row.try_get::<_, Option<i16>>(index).map(|v| v.map(|v| i64::from(v).into())),
            Type::INT4 => row.try_get::<_, Option<i32>>(index).map(|v| v.map(|v| i64::from(v).into())),
            Type::INT8 => row.try_get::<_, Option<i64>>(index).map(|v| v.map(Value::from)),
            Type::FLOAT4 => row.try_get::<_, Option<f32>>(index).map(|v| v.map(|v| f64::from(v).into())),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(index).map(|v| v.map(Value::from)),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => {
                row.try_get::<_, Option<String>>(index).map(|v| v.map(Value::from))
            }
            Type::TIMESTAMP => {
                let time = row.try_get::<_, Option<DateTime>>(index).map_err(unexpected)?;
                let time = time.map(|time| time.to_zoned(TimeZone::UTC)).transpose();
                let time = time.map_err(|error| StorageError::Unexpected(error.to_string()))?;
                Ok(time.map(|time| time.timestamp().into()))
            }
            Type::TIMESTAMPTZ => row.try_get::<_, Option<jiff::Timestamp>>(index).map(|v| v.map(Value::from)),
            _ => return Err(StorageError::Unexpected(format!("a column of the type {}", column.type_()))),
        };
        values.push(value.map_err(unexpected)?.unwrap_or(Value::Null));
    }
    Ok(Row(values))
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            // Everything that does not come from the server is about reaching it.
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            return Self::Unavailable(format!("{error}{cause}"));
        };
        let (code, message) = (database.code(), database.message().to_owned());
        // Appendix A of PostgreSQL's manual; a row's content, which `detail` may hold, is left out.
        match *code {
            SqlState::DISK_FULL => return Self::Full,
            SqlState::READ_ONLY_SQL_TRANSACTION => return Self::ReadOnly(message),
            SqlState::LOCK_NOT_AVAILABLE | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                return Self::Unavailable(message);
            }
            _ => {}
        }
        match &code.code()[..2] {
            "23" | "40" => Self::Conflict,
            // Connections, resources, interventions, the system below it; who may connect, to which database.
            "08" | "53" | "57" | "58" | "28" | "3D" => Self::Unavailable(message),
            _ => Self::Refused(format!("{message} ({})", code.code())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_shown() {
        for good in
            ["postgres://u:S3CR3T@h/db", "postgres://u:S3CR/3T@h/db", "postgres://u:S3CR%403T@h:5433/db"]
        {
            let address: PostgresAddress = good.parse().unwrap();
            assert_eq!(address.to_string(), "PostgreSQL db on h", "{good}");
            assert!(!format!("{address:?}").contains("S3"), "{good}");
        }
        for bad in [
            "postgres://u:x@S3CR3T@h/db",
            "postgres://u:x@h/S3CR3T@db",
            "postgres://u:x?S3CR3T@h@i/db",
            "postgres://u@h/db?password=x&S3CR3T=y",
            "postgres://u@h/db?password=S3CR3T&x",
            "postgres://u:S3CR3T",
            "postgres://u@h:S3CR3T/db",
            "postgres://u@h/db?port=S3CR3T",
            "postgres://u@h/db?sslmode=S3CR3T",
        ] {
            let why = bad.parse::<PostgresAddress>().map(|address| address.to_string()).unwrap_err();
            assert!(!format!("{why} {why:?}").contains("S3"), "{bad}: {why}");
        }
        let why = "postgres://u@h/db?pgbouncer=true".parse::<PostgresAddress>().unwrap_err();
        assert!(why.to_string().contains("pgbouncer"), "{why}");
    }
}
