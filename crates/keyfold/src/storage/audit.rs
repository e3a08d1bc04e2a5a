//! `audit_events` and `audit_writers`: rows are only added, and the head of the writer's chain moves with them.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;

use super::Kind::{Integer, Integers, Text, Texts, Time, Times};
use super::{
    Column, Connection, Database, Kind, Row, Statement, StorageError, Transaction, Value, statement,
    statement_of_rows,
};
use crate::user::UserId;

/// A row of the log. Hashes and signatures are 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// Given by the database: 0 before that. Ascends with `seq` within a writer.
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) user: Option<String>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) provider: Option<String>,
    pub(crate) outcome: String,
    pub(crate) request_id: Option<String>,
    pub(crate) writer: i64,
    /// Consecutive from 1 within a writer.
    pub(crate) seq: i64,
    pub(crate) key_version: Option<i64>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) call_id: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) provider_status: Option<i64>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) address: Option<String>,
    pub(crate) note: Option<String>,
    /// Over all of the above but `id`, as it was when the row was made.
    pub(crate) content_hash: String,
    /// Over writer, seq, the hash of the row before, and `content_hash`.
    pub(crate) hash: String,
    /// Set when the row was made anonymous; signs what is left of it.
    pub(crate) erased: Option<String>,
}

/// What a row tells, borrowed from wherever it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    pub(crate) at: Timestamp,
    pub(crate) user: Option<&'a str>,
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) provider: Option<&'a str>,
    pub(crate) outcome: &'a str,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) key_version: Option<i64>,
    pub(crate) fingerprint: Option<&'a str>,
    pub(crate) call_id: Option<&'a str>,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) provider_status: Option<i64>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) address: Option<&'a str>,
    pub(crate) note: Option<&'a str>,
}

impl AuditRow {
    pub(crate) fn told(&self) -> Told<'_> {
        Told {
            at: self.at,
            user: self.user.as_deref(),
            actor: &self.actor,
            action: &self.action,
            provider: self.provider.as_deref(),
            outcome: &self.outcome,
            request_id: self.request_id.as_deref(),
            key_version: self.key_version,
            fingerprint: self.fingerprint.as_deref(),
            call_id: self.call_id.as_deref(),
            purpose: self.purpose.as_deref(),
            provider_status: self.provider_status,
            duration_ms: self.duration_ms,
            address: self.address.as_deref(),
            note: self.note.as_deref(),
        }
    }
}

/// Rows on their way into the log, one after the other in one chain. Column by column, so that a row costs no memory of
/// its own.
#[derive(Debug, Clone)]
pub(crate) struct NewRows {
    writer: i64,
    first_seq: i64,
    count: usize,
    /// As many are expected, so that memory is asked for once.
    expected: usize,
    /// Those of [`INSERTED`], without the place in the chain.
    columns: [Column; INSERTED.len() - (PLACE.end - PLACE.start)],
}

impl NewRows {
    /// Rows of this writer that will stand after `last_seq`: about so many.
    pub(crate) fn after(writer: i64, last_seq: i64, expected: usize) -> Self {
        let columns = std::array::from_fn(|column| {
            Column::new(INSERTED[if column < PLACE.start { column } else { column + PLACE.len() }])
        });
        Self { writer, first_seq: last_seq + 1, count: 0, expected, columns }
    }

    pub(crate) fn push(&mut self, told: &Told<'_>, content_hash: &str, hash: &str) {
        let [
            at,
            user,
            actor,
            action,
            provider,
            outcome,
            request_id,
            key_version,
            fingerprint,
            call_id,
            purpose,
            provider_status,
            duration_ms,
            address,
            note,
            content_hashes,
            hashes,
        ] = &mut self.columns;
        at.push_time(told.at);
        user.push_text(told.user);
        actor.push_text(Some(told.actor));
        action.push_text(Some(told.action));
        provider.push_text(told.provider);
        outcome.push_text(Some(told.outcome));
        request_id.push_text(told.request_id);
        key_version.push_integer(told.key_version);
        fingerprint.push_text(told.fingerprint);
        call_id.push_text(told.call_id);
        purpose.push_text(told.purpose);
        provider_status.push_integer(told.provider_status);
        duration_ms.push_integer(told.duration_ms);
        address.push_text(told.address);
        note.push_text(told.note);
        content_hashes.push_text(Some(content_hash));
        hashes.push_text(Some(hash));
        self.count += 1;
        if self.count == 1 {
            self.columns.iter_mut().for_each(|column| column.expect(self.expected));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The rows as they stand in the log, with the ids that they got there.
    pub(crate) fn with_ids(&self, ids: &[i64]) -> Result<Vec<AuditRow>, StorageError> {
        let row = |(values, id): (Vec<Value>, &i64)| {
            let erased = Value::Null;
            read_row(&Row([Value::from(*id)].into_iter().chain(values).chain([erased]).collect()))
        };
        self.rows().zip(ids).map(row).collect()
    }

    /// All of it as [`COPY`] takes it (PostgreSQL's manual, `COPY`, "Binary Format").
    fn copied(&self) -> Bytes {
        const BEGINNING: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
        const END: [u8; 2] = (-1_i16).to_be_bytes();
        const FIELDS: [u8; 2] = [0, INSERTED.len().to_le_bytes()[0]];
        const INTEGER_BYTES: [u8; 4] = 8_i32.to_be_bytes();
        const { assert!(INSERTED.len() < 256) };

        let bytes: usize = self.columns.iter().map(|column| column.bytes.len()).sum();
        let mut out = Vec::with_capacity(bytes + self.count * 26 + BEGINNING.len() + END.len());
        let mut columns = self.columns.each_ref().map(Column::fields);
        out.extend_from_slice(BEGINNING);
        for seq in (self.first_seq..).take(self.count) {
            out.extend_from_slice(&FIELDS);
            let (before, after) = columns.split_at_mut(PLACE.start);
            before.iter_mut().filter_map(Iterator::next).for_each(|field| out.extend_from_slice(field));
            for integer in [self.writer, seq] {
                out.extend_from_slice(&INTEGER_BYTES);
                out.extend_from_slice(&integer.to_be_bytes());
            }
            after.iter_mut().filter_map(Iterator::next).for_each(|field| out.extend_from_slice(field));
        }
        out.extend_from_slice(&END);
        out.into()
    }

    /// The values of each row, as [`INSERT_BEGIN`] names them.
    fn rows(&self) -> impl Iterator<Item = Vec<Value>> {
        let mut columns: Vec<_> = self.columns.iter().map(Column::values).collect();
        (self.first_seq..).take(self.count).map(move |seq| {
            let mut values: Vec<Value> = columns.iter_mut().filter_map(Iterator::next).collect();
            values.splice(PLACE.start..PLACE.start, [self.writer.into(), seq.into()]);
            values
        })
    }
}

/// A writer: the signed head of its chain, and the signed place where the chain now begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) id: i64,
    /// The oldest row that is kept; 1 until retention moved it.
    pub(crate) first_seq: i64,
    /// The hash of the row before that; 64 zeros until retention moved it.
    pub(crate) first_previous: String,
    pub(crate) first_signature: String,
    /// The newest row; `first_seq - 1` if there is none.
    pub(crate) last_seq: i64,
    /// Its hash; `first_previous` if there is none.
    pub(crate) last_hash: String,
    /// Its time; the time the writer was made if there is none.
    pub(crate) last_at: Timestamp,
    /// The number of the last line of the writer's spool that is in the log; 0 for one without a spool.
    pub(crate) spooled: i64,
    pub(crate) last_signature: String,
}

/// How many writers there ever were, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriterCount {
    pub(crate) writers: i64,
    pub(crate) signature: String,
}

/// The columns of [`AuditRow`], in the order that [`read_row`] expects.
macro_rules! columns {
    () => {
        "id, at, user_id, actor, action, provider, outcome, request_id, writer, seq, key_version, fingerprint, \
         call_id, purpose, provider_status, duration_ms, address, note, content_hash, hash, erased"
    };
}
#[cfg(test)]
pub(crate) use columns;

/// Those that are given; the rest is given by the database, or comes later.
macro_rules! added_columns {
    () => {
        "at, user_id, actor, action, provider, outcome, request_id, writer, seq, key_version, fingerprint, call_id, \
         purpose, provider_status, duration_ms, address, note, content_hash, hash"
    };
}

/// Rows of one `INSERT`; what is left of a batch goes in by the smaller ones.
const SIZES: [usize; 3] = [128, 16, 1];
/// What these hold.
const INSERTED: [Kind; 19] = [
    Time, Text, Text, Text, Text, Text, Text, Integer, Integer, Integer, Text, Text, Text, Integer, Integer,
    Text, Text, Text, Text,
];
/// Writer and seq among them.
const PLACE: Range<usize> = 7..9;
const INSERT_BEGIN: &str = concat!("INSERT INTO audit_events (", added_columns!(), ") VALUES ");
const INSERT_END: &str = " RETURNING id";

/// Moves the head of a chain if it is still where it was, and only then adds rows: `unnest` gives them in the order of the
/// columns, so their ids ascend.
macro_rules! append {
    ($end:literal) => {
        concat!(
            "WITH moved AS (UPDATE audit_writers SET last_seq = $3, last_hash = $4, last_at = $5, spooled = $6, \
             last_signature = $7 WHERE id = $1 AND last_seq = $2 RETURNING id) INSERT INTO audit_events (",
            added_columns!(),
            ") SELECT added.at, user_id, actor, action, provider, outcome, request_id, moved.id, $2 + place, \
             key_version, fingerprint, call_id, purpose, provider_status, duration_ms, address, note, content_hash, \
             hash FROM moved, unnest($8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
             $24) WITH ORDINALITY AS added (at, user_id, actor, action, provider, outcome, request_id, key_version, \
             fingerprint, call_id, purpose, provider_status, duration_ms, address, note, content_hash, hash, place)",
            $end
        )
    };
}
const APPENDED: &[Kind] = &[
    Integer, Integer, Integer, Text, Time, Integer, Text, Times, Texts, Texts, Texts, Texts, Texts, Texts,
    Integers, Texts, Texts, Texts, Integers, Integers, Texts, Texts, Texts, Texts,
];
/// PostgreSQL only.
const APPEND: Statement = statement(append!(""), APPENDED);
/// PostgreSQL only.
const APPEND_TELLING_IDS: Statement = statement(append!(" RETURNING id"), APPENDED);
/// PostgreSQL only. Costs it half of what [`APPEND`] costs for each row, and two more round trips.
const COPY: &str = concat!("COPY audit_events (", added_columns!(), ") FROM STDIN (FORMAT binary)");
/// So many rows are worth them.
const WORTH_COPYING: usize = 32;

const LAST_WRITER: Statement = statement("SELECT COALESCE(MAX(id), 0) FROM audit_writers", &[]);
const WRITER_COUNT: Statement =
    statement("SELECT writers, signature FROM audit_writer_count WHERE id = 1", &[]);
const INSERT_WRITER_COUNT: Statement = statement(
    "INSERT INTO audit_writer_count (id, writers, signature) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
    &[Integer, Text],
);
const UPDATE_WRITER_COUNT: Statement =
    statement("UPDATE audit_writer_count SET writers = $1, signature = $2 WHERE id = 1", &[Integer, Text]);
const INSERT_WRITER: Statement = statement(
    "INSERT INTO audit_writers (id, first_seq, first_previous, first_signature, last_seq, last_hash, last_at, \
     spooled, last_signature) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    &[Integer, Integer, Text, Text, Integer, Text, Time, Integer, Text],
);
const WRITER: Statement = statement(
    "SELECT id, first_seq, first_previous, first_signature, last_seq, last_hash, last_at, spooled, last_signature \
     FROM audit_writers WHERE id = $1",
    &[Integer],
);
const ADVANCE: Statement = statement(
    "UPDATE audit_writers SET last_seq = $3, last_hash = $4, last_at = $5, spooled = $6, last_signature = $7 \
     WHERE id = $1 AND last_seq = $2",
    &[Integer, Integer, Integer, Text, Time, Integer, Text],
);
/// PostgreSQL only.
const MAKE_PARTITIONS: Statement = statement("SELECT keyfold_audit_partitions($1)", &[Time]);

#[cfg(test)]
pub(super) const ALL: [Statement; 7] =
    [LAST_WRITER, WRITER_COUNT, INSERT_WRITER_COUNT, UPDATE_WRITER_COUNT, INSERT_WRITER, WRITER, ADVANCE];

/// Adds rows to a chain and moves its head: both, or neither.
///
/// # Errors
/// [`StorageError::Conflict`] if the head is no longer where the rows go on from.
pub(crate) async fn append(database: &Database, rows: NewRows, head: &Writer) -> Result<(), StorageError> {
    match database {
        Database::Sqlite(_) => {
            let transaction = database.begin().await?;
            append_in(&transaction, rows, head).await?;
            transaction.commit().await
        }
        Database::Postgres(postgres) if rows.len() >= WORTH_COPYING && postgres.is_direct() => {
            let transaction = postgres.begin().await?;
            advance(&transaction, rows.first_seq - 1, head).await?;
            let added = transaction.copy_in(COPY, rows.copied()).await?;
            all_were_added(usize::try_from(added).unwrap_or(usize::MAX), rows.len())?;
            transaction.commit().await
        }
        Database::Postgres(_) => {
            let count = rows.len();
            let added = database.execute(&APPEND, appended_values(rows, head)).await?;
            all_were_added(usize::try_from(added).unwrap_or(usize::MAX), count)
        }
    }
}

/// The same in a transaction; says the ids of the rows, in their order.
pub(crate) async fn append_in(
    transaction: &Transaction,
    rows: NewRows,
    head: &Writer,
) -> Result<Vec<i64>, StorageError> {
    match transaction {
        Transaction::Sqlite(_) => {
            let ids = insert(transaction, &rows).await?;
            advance(transaction, rows.first_seq - 1, head).await?;
            Ok(ids)
        }
        Transaction::Postgres(_) => {
            let count = rows.len();
            let added = transaction.query(&APPEND_TELLING_IDS, appended_values(rows, head)).await?;
            all_were_added(added.len(), count)?;
            ids_of(&added)
        }
    }
}

fn appended_values(rows: NewRows, head: &Writer) -> Vec<Value> {
    let mut values = head_values(rows.first_seq - 1, head);
    values.extend(rows.columns.into_iter().map(Value::Column));
    values
}

/// Without the head nothing is added.
fn all_were_added(added: usize, count: usize) -> Result<(), StorageError> {
    match added {
        _ if added == count => Ok(()),
        0 => Err(StorageError::Conflict),
        _ => Err(StorageError::Unexpected(format!("{added} audit rows were added, not {count}"))),
    }
}

/// They are given in the order of the rows, and may be told in any.
fn ids_of(added: &[Row]) -> Result<Vec<i64>, StorageError> {
    let mut ids = added.iter().map(|row| row.integer(0)).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    Ok(ids)
}

/// Adds these rows, in this order, and says their ids.
pub(crate) async fn insert(connection: &impl Connection, rows: &NewRows) -> Result<Vec<i64>, StorageError> {
    static STATEMENTS: LazyLock<[Statement; 3]> =
        LazyLock::new(|| SIZES.map(|rows| statement_of_rows(INSERT_BEGIN, &INSERTED, rows, INSERT_END)));
    let (mut values, mut left, mut ids) = (rows.rows(), rows.len(), Vec::with_capacity(rows.len()));
    for (size, statement) in SIZES.iter().zip(STATEMENTS.iter()) {
        while left >= *size {
            let now = values.by_ref().take(*size).flatten().collect();
            let added = connection.query(statement, now).await?;
            all_were_added(added.len(), *size)?;
            ids.append(&mut ids_of(&added)?);
            left -= size;
        }
    }
    Ok(ids)
}

/// The highest id of a writer that is there; 0 without any.
pub(crate) async fn last_writer(connection: &impl Connection) -> Result<i64, StorageError> {
    let rows = connection.query(&LAST_WRITER, vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

/// The count of writers. One that is no number is -1, with its signature, which then does not fit.
pub(crate) async fn writer_count(connection: &impl Connection) -> Result<Option<WriterCount>, StorageError> {
    let rows = connection.query(&WRITER_COUNT, vec![]).await?;
    Ok(rows.first().map(|row| WriterCount {
        writers: row.integer(0).unwrap_or(-1),
        signature: row.text(1).unwrap_or_default().to_owned(),
    }))
}

/// Leaves the one that stands, if there is one.
pub(crate) async fn insert_writer_count(
    connection: &impl Connection,
    count: &WriterCount,
) -> Result<(), StorageError> {
    let values = vec![count.writers.into(), count.signature.as_str().into()];
    connection.execute(&INSERT_WRITER_COUNT, values).await.map(drop)
}

/// The caller holds the turn for it (`root_secrets::take_turn`).
pub(crate) async fn update_writer_count(
    connection: &impl Connection,
    count: &WriterCount,
) -> Result<(), StorageError> {
    let values = vec![count.writers.into(), count.signature.as_str().into()];
    connection.execute(&UPDATE_WRITER_COUNT, values).await.map(drop)
}

pub(crate) async fn insert_writer(connection: &impl Connection, writer: &Writer) -> Result<(), StorageError> {
    let values = vec![
        writer.id.into(),
        writer.first_seq.into(),
        writer.first_previous.as_str().into(),
        writer.first_signature.as_str().into(),
        writer.last_seq.into(),
        writer.last_hash.as_str().into(),
        writer.last_at.into(),
        writer.spooled.into(),
        writer.last_signature.as_str().into(),
    ];
    connection.execute(&INSERT_WRITER, values).await.map(drop)
}

pub(crate) async fn writer(connection: &impl Connection, id: i64) -> Result<Option<Writer>, StorageError> {
    let rows = connection.query(&WRITER, vec![id.into()]).await?;
    rows.first().map(read_writer).transpose()
}

/// Moves the head of a chain, if it is still where it was.
///
/// # Errors
/// [`StorageError::Conflict`] if it is not.
pub(crate) async fn advance(
    connection: &impl Connection,
    before_seq: i64,
    head: &Writer,
) -> Result<(), StorageError> {
    let moved = connection.execute(&ADVANCE, head_values(before_seq, head)).await?;
    if moved == 1 { Ok(()) } else { Err(StorageError::Conflict) }
}

fn head_values(before_seq: i64, head: &Writer) -> Vec<Value> {
    vec![
        head.id.into(),
        before_seq.into(),
        head.last_seq.into(),
        head.last_hash.as_str().into(),
        head.last_at.into(),
        head.spooled.into(),
        head.last_signature.as_str().into(),
    ]
}

/// Makes partitions ahead, where there are any.
pub(crate) async fn make_partitions(database: &Database, now: Timestamp) -> Result<(), StorageError> {
    match database {
        Database::Sqlite(_) => Ok(()),
        Database::Postgres(_) => database.query(&MAKE_PARTITIONS, vec![now.into()]).await.map(drop),
    }
}

pub(crate) fn read_writer(row: &Row) -> Result<Writer, StorageError> {
    Ok(Writer {
        id: row.integer(0)?,
        first_seq: row.integer(1)?,
        first_previous: row.text(2)?.to_owned(),
        first_signature: row.text(3)?.to_owned(),
        last_seq: row.integer(4)?,
        last_hash: row.text(5)?.to_owned(),
        last_at: row.time(6)?,
        spooled: row.integer(7)?,
        last_signature: row.text(8)?.to_owned(),
    })
}

/// Reads a row of `SELECT` [`columns!`].
pub(crate) fn read_row(row: &Row) -> Result<AuditRow, StorageError> {
    let text = |column| row.text(column).map(str::to_owned);
    let optional = |column| row.optional(column, |row, column| row.text(column).map(str::to_owned));
    Ok(AuditRow {
        id: row.integer(0)?,
        at: row.time(1)?,
        user: optional(2)?,
        actor: text(3)?,
        action: text(4)?,
        provider: optional(5)?,
        outcome: text(6)?,
        request_id: optional(7)?,
        writer: row.integer(8)?,
        seq: row.integer(9)?,
        key_version: row.optional(10, Row::integer)?,
        fingerprint: optional(11)?,
        call_id: optional(12)?,
        purpose: optional(13)?,
        provider_status: row.optional(14, Row::integer)?,
        duration_ms: row.optional(15, Row::integer)?,
        address: optional(16)?,
        note: optional(17)?,
        content_hash: text(18)?,
        hash: text(19)?,
        erased: optional(20)?,
    })
}

// What the readers of the log ask for stands below.

const WRITERS: Statement = statement(
    "SELECT id, first_seq, first_previous, first_signature, last_seq, last_hash, last_at, spooled, last_signature \
     FROM audit_writers WHERE id > $1 ORDER BY id LIMIT $2",
    &[Integer, Integer],
);
const CHAINS: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE (writer, seq) >= ($1, $2) ORDER BY writer, seq LIMIT $3"
    ),
    &[Integer, Integer, Integer],
);
/// SQLite only, where a column may hold anything.
const OUT_OF_PLACE: Statement = statement(
    "SELECT id FROM audit_events WHERE typeof(writer) <> 'integer' OR typeof(seq) <> 'integer' LIMIT $1",
    &[Integer],
);
/// SQLite only, likewise.
const PLACES: Statement = statement(
    "SELECT id, writer, seq FROM audit_events WHERE (writer, seq) >= ($1, $2) AND typeof(writer) = 'integer' \
     AND typeof(seq) = 'integer' ORDER BY writer, seq LIMIT $3",
    &[Integer, Integer, Integer],
);
const AFTER: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE at >= $1 AND (at, id) > ($1, $2) AND at < $3 ORDER BY at, id LIMIT $4"
    ),
    &[Time, Integer, Time, Integer],
);
const AFTER_OF_USER: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE user_id = $1 AND at >= $2 AND (at, id) > ($2, $3) AND at < $4 \
         ORDER BY at, id LIMIT $5"
    ),
    &[Text, Time, Integer, Time, Integer],
);
const BEFORE: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE at <= $1 AND (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3"
    ),
    &[Time, Integer, Integer],
);
const BEFORE_OF_USER: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE user_id = $1 AND at <= $2 AND (at, id) < ($2, $3) \
         ORDER BY at DESC, id DESC LIMIT $4"
    ),
    &[Text, Time, Integer, Integer],
);
pub(super) const OF_USER_SELECTED: Statement = statement(
    concat!(
        "SELECT ",
        columns!(),
        " FROM audit_events WHERE user_id = $1 AND at <= $2 AND (at, id) < ($2, $3) \
         AND ($4 IS NULL OR provider = $4) AND ($5 IS NULL OR action = $5) \
         AND ($6 IS NULL OR substr(action, 1, length($6)) = $6) AND ($7 IS NULL OR outcome = $7) \
         ORDER BY at DESC, id DESC LIMIT $8"
    ),
    &[Text, Time, Integer, Text, Text, Text, Text, Integer],
);
const ENDS: Statement = statement(
    "SELECT id, last_seq FROM audit_writers WHERE id > $1 ORDER BY id LIMIT $2",
    &[Integer, Integer],
);
const FIRST_AT: Statement =
    statement("SELECT at FROM audit_events WHERE at < $1 ORDER BY at LIMIT 1", &[Time]);
const NTH_AT: Statement = statement(
    "SELECT at FROM audit_events WHERE at >= $1 AND at < $2 ORDER BY at LIMIT 1 OFFSET $3",
    &[Time, Time, Integer],
);
const LAST_OF_WRITERS: Statement = statement(
    "SELECT writer, MAX(seq) FROM audit_events WHERE at >= $1 AND at < $2 GROUP BY writer ORDER BY writer",
    &[Time, Time],
);
const MOVE_BEGINNING: Statement = statement(
    "UPDATE audit_writers SET first_seq = $3, first_previous = $4, first_signature = $5 \
     WHERE id = $1 AND first_seq = $2",
    &[Integer, Integer, Integer, Text, Text],
);
const REMOVE_PRUNED: Statement = statement(
    "DELETE FROM audit_events WHERE at < $1 AND id IN (SELECT e.id FROM audit_events e \
     JOIN audit_writers w ON w.id = e.writer WHERE e.at < $1 AND e.seq < w.first_seq ORDER BY e.at, e.id LIMIT $2)",
    &[Time, Integer],
);
/// PostgreSQL only.
const DROP_PARTITIONS: Statement = statement("SELECT keyfold_audit_drop_partitions($1)", &[Time]);
const DELETED_USERS: Statement = statement(
    "SELECT user_id, deleted_at FROM deleted_users WHERE deleted_at < $1 AND (deleted_at, user_id) > ($2, $3) \
     ORDER BY deleted_at, user_id LIMIT $4",
    &[Time, Time, Text, Integer],
);
const ERASE: Statement = statement(
    "UPDATE audit_events SET user_id = NULL, actor = $4, request_id = NULL, fingerprint = NULL, address = NULL, \
     note = NULL, erased = $5 WHERE writer = $1 AND seq = $2 AND at = $3 AND erased IS NULL",
    &[Integer, Integer, Time, Text, Text],
);

#[cfg(test)]
pub(super) const READING: [Statement; 15] = [
    WRITERS,
    CHAINS,
    AFTER,
    AFTER_OF_USER,
    BEFORE,
    BEFORE_OF_USER,
    OF_USER_SELECTED,
    ENDS,
    FIRST_AT,
    NTH_AT,
    LAST_OF_WRITERS,
    MOVE_BEGINNING,
    REMOVE_PRUNED,
    DELETED_USERS,
    ERASE,
];

/// Writers that are read at once.
const WRITERS_PAGE: i64 = 1000;

/// All writers, in the order of their ids.
pub(crate) async fn writers(connection: &impl Connection) -> Result<Vec<Writer>, StorageError> {
    let mut found: Vec<Writer> = vec![];
    loop {
        let after = found.last().map_or(i64::MIN, |writer| writer.id);
        let rows = connection.query(&WRITERS, vec![after.into(), WRITERS_PAGE.into()]).await?;
        let is_last = rows.len() < usize::try_from(WRITERS_PAGE).unwrap_or(usize::MAX);
        for row in &rows {
            found.push(read_writer(row)?);
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// How far each chain goes: writer and last `seq`.
pub(crate) async fn ends(connection: &impl Connection) -> Result<Vec<(i64, i64)>, StorageError> {
    let mut found: Vec<(i64, i64)> = vec![];
    loop {
        let after = found.last().map_or(i64::MIN, |(writer, _)| *writer);
        let rows = connection.query(&ENDS, vec![after.into(), WRITERS_PAGE.into()]).await?;
        let is_last = rows.len() < usize::try_from(WRITERS_PAGE).unwrap_or(usize::MAX);
        for row in &rows {
            found.push((row.integer(0)?, row.integer(1)?));
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// The rows from this place on, in the order of writers and their chains; as they are, readable or not.
pub(crate) async fn chains(
    connection: &impl Connection,
    (writer, seq): (i64, i64),
    limit: i64,
) -> Result<Vec<Row>, StorageError> {
    connection.query(&CHAINS, vec![writer.into(), seq.into(), limit.into()]).await
}

/// Ids of rows whose writer or `seq` is no number, so that no chain has them.
pub(crate) async fn out_of_place(database: &Database, limit: i64) -> Result<Vec<i64>, StorageError> {
    match database {
        Database::Postgres(_) => Ok(vec![]),
        Database::Sqlite(_) => {
            let rows = database.query(&OUT_OF_PLACE, vec![limit.into()]).await?;
            rows.iter().map(|row| row.integer(0)).collect()
        }
    }
}

/// Id, writer and `seq` of the rows that [`chains`] reads, where one of them cannot be read at all: a column of SQLite
/// may hold anything.
pub(crate) async fn places(
    connection: &impl Connection,
    (writer, seq): (i64, i64),
    limit: i64,
) -> Result<Vec<(i64, i64, i64)>, StorageError> {
    let rows = connection.query(&PLACES, vec![writer.into(), seq.into(), limit.into()]).await?;
    rows.iter().map(|row| Ok((row.integer(0)?, row.integer(1)?, row.integer(2)?))).collect()
}

/// A place in the order of times.
pub(crate) type TimeAndId = (Timestamp, i64);

/// The rows after this place and before this time, the oldest first.
pub(crate) async fn after(
    connection: &impl Connection,
    user: Option<&str>,
    (at, id): TimeAndId,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<AuditRow>, StorageError> {
    let place = [at.into(), id.into(), until.into(), limit.into()];
    of_whom(connection, user, (&AFTER, &AFTER_OF_USER), place).await
}

/// The rows before this place, the newest first.
pub(crate) async fn before(
    connection: &impl Connection,
    user: Option<&str>,
    (at, id): TimeAndId,
    limit: i64,
) -> Result<Vec<AuditRow>, StorageError> {
    of_whom(connection, user, (&BEFORE, &BEFORE_OF_USER), [at.into(), id.into(), limit.into()]).await
}

/// Which of a user's rows are wanted; all of them without anything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) provider: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    /// What the action begins with.
    pub(crate) group: Option<&'a str>,
    pub(crate) outcome: Option<&'a str>,
}

/// The user's rows of these before this place, the newest first.
pub(crate) async fn of_user(
    connection: &impl Connection,
    user: &UserId,
    wanted: Wanted<'_>,
    (at, id): TimeAndId,
    limit: i64,
) -> Result<Vec<AuditRow>, StorageError> {
    let values = vec![
        user.as_str().into(),
        at.into(),
        id.into(),
        wanted.provider.into(),
        wanted.action.into(),
        wanted.group.into(),
        wanted.outcome.into(),
        limit.into(),
    ];
    let rows = connection.query(&OF_USER_SELECTED, values).await?;
    rows.iter().map(read_row).collect()
}

async fn of_whom(
    connection: &impl Connection,
    user: Option<&str>,
    (of_all, of_user): (&Statement, &Statement),
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<AuditRow>, StorageError> {
    let rows = match user {
        None => connection.query(of_all, values.into_iter().collect()).await?,
        Some(user) => connection.query(of_user, [user.into()].into_iter().chain(values).collect()).await?,
    };
    rows.iter().map(read_row).collect()
}

/// The time of the oldest row before this time.
pub(crate) async fn first_at(
    connection: &impl Connection,
    before: Timestamp,
) -> Result<Option<Timestamp>, StorageError> {
    let rows = connection.query(&FIRST_AT, vec![before.into()]).await?;
    rows.first().map(|row| row.time(0)).transpose()
}

/// The time of the `n`-th row (from 0) of this time.
pub(crate) async fn nth_at(
    connection: &impl Connection,
    from: Timestamp,
    until: Timestamp,
    n: i64,
) -> Result<Option<Timestamp>, StorageError> {
    let rows = connection.query(&NTH_AT, vec![from.into(), until.into(), n.into()]).await?;
    rows.first().map(|row| row.time(0)).transpose()
}

/// Each writer's last `seq` of this time.
pub(crate) async fn last_of_writers(
    connection: &impl Connection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<(i64, i64)>, StorageError> {
    let rows = connection.query(&LAST_OF_WRITERS, vec![from.into(), until.into()]).await?;
    rows.iter().map(|row| Ok((row.integer(0)?, row.integer(1)?))).collect()
}

/// Moves the beginning of a chain, if it is still where it was; false if not.
pub(crate) async fn move_beginning(
    connection: &impl Connection,
    before_seq: i64,
    writer: &Writer,
) -> Result<bool, StorageError> {
    let values = vec![
        writer.id.into(),
        before_seq.into(),
        writer.first_seq.into(),
        writer.first_previous.as_str().into(),
        writer.first_signature.as_str().into(),
    ];
    Ok(connection.execute(&MOVE_BEGINNING, values).await? == 1)
}

/// Removes rows of before this time that stand before the beginnings of their chains, at most so many; the oldest first, so
/// that those left of a chain join its beginning.
pub(crate) async fn remove_pruned(
    connection: &impl Connection,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StorageError> {
    connection.execute(&REMOVE_PRUNED, vec![before.into(), limit.into()]).await
}

/// Drops the partitions of months that were over before this time and have only rows from before the beginnings of
/// their chains; says how many.
pub(crate) async fn drop_partitions(database: &Database, before: Timestamp) -> Result<i64, StorageError> {
    match database {
        Database::Sqlite(_) => Ok(0),
        Database::Postgres(_) => {
            let rows = database.query(&DROP_PARTITIONS, vec![before.into()]).await?;
            rows.first().map_or(Ok(0), |row| row.integer(0))
        }
    }
}

/// Users who were deleted before this time, and when, in the order of that; after the one given.
pub(crate) async fn deleted_users(
    connection: &impl Connection,
    before: Timestamp,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<(String, Timestamp)>, StorageError> {
    let values = vec![before.into(), after.0.into(), after.1.into(), limit.into()];
    let rows = connection.query(&DELETED_USERS, values).await?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.time(1)?))).collect()
}

/// Makes a row anonymous; `erased` has what is left of it.
pub(crate) async fn erase(connection: &impl Connection, erased: &AuditRow) -> Result<bool, StorageError> {
    let values = vec![
        erased.writer.into(),
        erased.seq.into(),
        erased.at.into(),
        erased.actor.as_str().into(),
        erased.erased.as_deref().into(),
    ];
    Ok(connection.execute(&ERASE, values).await? == 1)
}
