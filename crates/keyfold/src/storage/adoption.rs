//! Taking over tables with plain-text keys that another program made, so that it can go on using them.
//!
//! First a look, which lists all that is in the way at once; then the changes, in the transaction of the migrations.
//! What can be told only by trying is tried at its end. Whatever fails leaves the tables as they were.

use super::Kind::Text;
use super::postgres::PostgresTransaction;
use super::{Row, Statement, StorageError, statement};

/// What a table has in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundColumn {
    name: String,
    /// The type in the database's words.
    declared: String,
    kind: FoundKind,
    /// Has to have a value, which nobody gives but who inserts.
    must_be_given: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FoundKind {
    Integer {
        is_large: bool,
    },
    /// At most so many characters; padded with spaces or not.
    Text {
        limit: Option<i64>,
        is_padded: bool,
    },
    Number,
    Time,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Integer,
    Text,
    Number,
    Time,
}

/// What Keyfold needs of a table.
struct Needs {
    table: &'static str,
    /// What must be there.
    required: &'static [(&'static str, Wanted)],
    /// What is added where it is missing.
    optional: &'static [(&'static str, Wanted)],
    /// What Keyfold adds, under names that nobody else may use.
    own: &'static [&'static str],
    /// What Keyfold always gives when it inserts.
    given: &'static [&'static str],
}

const SESSIONS: Needs = Needs {
    table: "onboarding_sessions",
    required: &[("id", Wanted::Integer), ("user_id", Wanted::Text)],
    optional: &[
        ("current_step", Wanted::Integer),
        ("progress", Wanted::Number),
        ("started_at", Wanted::Time),
        ("completed_at", Wanted::Time),
        ("updated_at", Wanted::Time),
    ],
    own: &["data_key", "duplicate_of", "suspended_at", "valid_from"],
    given: &["user_id", "current_step", "progress", "started_at", "updated_at"],
};
const KEYS: Needs = Needs {
    table: "api_keys",
    required: &[
        ("id", Wanted::Integer),
        ("session_id", Wanted::Integer),
        ("provider", Wanted::Text),
        ("key", Wanted::Text),
    ],
    optional: &[
        ("created_at", Wanted::Time),
        ("updated_at", Wanted::Time),
        ("last_used_at", Wanted::Time),
        ("last_verified_at", Wanted::Time),
    ],
    own: &["version", "status", "duplicate_of", "next_check_at", "last_check_at", "checks_failed"],
    given: &["session_id", "provider", "key", "created_at", "updated_at"],
};

/// Tables of Keyfold's own beside those two.
const OTHER_TABLES: [&str; 10] = [
    "api_key_versions",
    "onboarding_steps",
    "root_secrets",
    "audit_events",
    "audit_writers",
    "audit_writer_count",
    "service_tokens",
    "deleted_users",
    "webhook_messages",
    "usage",
];

const WIDEST_USER_ID: i64 = 255;
const WIDEST_PROVIDER: i64 = 50;

/// What is in the way, in words.
fn obstacles(needs: &Needs, columns: &[FoundColumn]) -> Vec<String> {
    let table = needs.table;
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    let mut found = vec![];
    for (name, wanted) in needs.required {
        match find(name) {
            None => found.push(format!("{table} has no column {name}")),
            Some(column) => found.extend(wrong_kind(table, column, *wanted)),
        }
    }
    for (name, wanted) in needs.optional {
        found.extend(find(name).and_then(|column| wrong_kind(table, column, *wanted)));
    }
    for name in needs.own {
        if find(name).is_some() {
            found.push(format!(
                "{table} has a column {name}, and Keyfold adds one of this name: give yours another"
            ));
        }
    }
    for column in columns {
        if column.must_be_given && column.name != "id" && !needs.given.contains(&column.name.as_str()) {
            found.push(format!(
                "{table}.{} must have a value and has no default, so Keyfold could add no row: give it a default, or let it be empty",
                column.name
            ));
        }
    }
    found
}

fn wrong_kind(table: &str, column: &FoundColumn, wanted: Wanted) -> Option<String> {
    let FoundColumn { name, declared, kind, .. } = column;
    let fits = match wanted {
        Wanted::Integer => matches!(kind, FoundKind::Integer { .. }),
        Wanted::Text => matches!(kind, FoundKind::Text { .. }),
        Wanted::Number => matches!(kind, FoundKind::Integer { .. } | FoundKind::Number),
        Wanted::Time => matches!(kind, FoundKind::Time),
    };
    let should_be = match wanted {
        _ if fits => return None,
        Wanted::Text if name == "user_id" => {
            "a text: Keyfold's users are known by the `sub` of their tokens. Make it VARCHAR(255) with those ids, in every table that refers to it"
        }
        Wanted::Integer => "an integer",
        Wanted::Text => "a text",
        Wanted::Number => "a number",
        Wanted::Time => "a timestamp",
    };
    let declared = if declared.is_empty() { "of no type" } else { declared };
    Some(format!("{table}.{name} is {declared} and must be {should_be}"))
}

fn refuse(obstacles: &[String]) -> Result<(), StorageError> {
    if obstacles.is_empty() { Ok(()) } else { Err(StorageError::NotAdoptable(obstacles.join("; "))) }
}

fn taken_name(table: &str) -> String {
    format!("there is a table {table}, and Keyfold makes one of this name: give yours another")
}

const COLUMNS: Statement = statement(
    "SELECT a.attname, t.typname, a.atttypmod::BIGINT, CASE WHEN a.attnotnull AND NOT a.atthasdef \
     AND a.attidentity = '' THEN 1 ELSE 0 END, \
     (SELECT COUNT(*) FROM pg_collation c WHERE c.oid = a.attcollation \
     AND to_jsonb(c) ->> 'collisdeterministic' = 'false') \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    &[Text],
);
const IS_PLAIN_TABLE: Statement = statement(
    "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'r' AND NOT relrowsecurity",
    &[Text],
);
/// Whether the table has a unique index of exactly these columns, which stand in the order of their names.
const IS_UNIQUE: Statement = statement(
    "SELECT COUNT(*) FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate \
     AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND (SELECT string_agg(a.attname::TEXT, ',' ORDER BY a.attname) \
     FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) = $2",
    &[Text, Text],
);
/// Who owns the table, and whether this user may change it as its owner.
const OWNER: Statement = statement(
    "SELECT quote_ident(pg_get_userbyid(relowner)::TEXT), quote_ident(current_user::TEXT), \
     CASE WHEN pg_has_role(relowner, 'USAGE') THEN 1 ELSE 0 END FROM pg_class WHERE oid = to_regclass($1)",
    &[Text],
);
const MAY_MAKE_TEMPORARY_TABLES: Statement = statement(
    "SELECT CASE WHEN has_database_privilege(current_database(), 'TEMPORARY') THEN 1 ELSE 0 END",
    &[],
);
/// What is made from a column of the table and keeps its type from being changed, in PostgreSQL's words: views and other
/// rules, triggers of that column, policies, functions, publications, generated columns.
const MADE_FROM: Statement = statement(
    "SELECT a.attname::TEXT, pg_describe_object(d.classid, d.objid, d.objsubid) \
     FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
     WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass($1) \
     AND (d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass, \
     'pg_publication_rel'::regclass) OR d.classid = 'pg_attrdef'::regclass AND EXISTS \
     (SELECT 1 FROM pg_attrdef f WHERE f.oid = d.objid AND f.adrelid = d.refobjid AND f.adnum <> a.attnum)) \
     GROUP BY 1, 2 ORDER BY 1, 2",
    &[Text],
);
const HAS_RELATION: Statement = statement("SELECT COUNT(to_regclass($1))", &[Text]);

/// What keeps a PostgreSQL database with the two tables from being adopted.
pub(super) async fn look_at_postgres(
    connection: &impl super::Connection,
) -> Result<Vec<String>, StorageError> {
    let (mut found, mut has_large_ids) = (vec![], false);
    for needs in [&SESSIONS, &KEYS] {
        let table = needs.table;
        found.extend(anothers_table(connection, table).await?);
        if number(&connection.query(&IS_PLAIN_TABLE, vec![table.into()]).await?)? == 0 {
            found.push(format!("{table} is a view, partitioned, or has row security"));
        }
        let rows = connection.query(&COLUMNS, vec![table.into()]).await?;
        let columns = rows.iter().map(postgres_column).collect::<Result<Vec<_>, _>>()?;
        found.extend(obstacles(needs, &columns));
        for (row, column) in rows.iter().zip(&columns) {
            if ["user_id", "provider"].contains(&column.name.as_str()) && row.integer(4)? > 0 {
                found.push(format!(
                    "{table}.{} has a collation by which different texts are equal: one user could be taken for another",
                    column.name
                ));
            }
        }
        let has_id = columns.iter().any(|column| column.name == "id");
        if has_id && number(&connection.query(&IS_UNIQUE, vec![table.into(), "id".into()]).await?)? == 0 {
            found.push(format!("{table}.id is not its primary key"));
        }
        if columns.iter().any(|column| column.name == "id" && column.must_be_given) {
            found.push(format!("{table}.id has no default (a sequence), so Keyfold could add no row"));
        }
        has_large_ids |= has_large_id(&columns);
        let made_from = connection.query(&MADE_FROM, vec![table.into()]).await?;
        for column in columns.iter().filter(|column| widened(column, has_large_ids).is_some()) {
            for row in made_from.iter().filter(|row| row.text(0).is_ok_and(|name| name == column.name)) {
                found.push(format!(
                    "{table}.{} has to be widened, which PostgreSQL refuses while something else is made from it ({}): drop that, start Keyfold, and make it again",
                    column.name,
                    row.text(1)?
                ));
            }
        }
    }
    if number(&connection.query(&MAY_MAKE_TEMPORARY_TABLES, vec![]).await?)? == 0 {
        found.push("the user in DATABASE_URL may make no temporary tables, which taking over needs: grant it TEMPORARY on the database".into());
    }
    for table in OTHER_TABLES {
        if number(&connection.query(&HAS_RELATION, vec![table.into()]).await?)? > 0 {
            found.push(taken_name(table));
        }
    }
    Ok(found)
}

/// What there is to say if this user may not change the table.
async fn anothers_table(
    connection: &impl super::Connection,
    table: &str,
) -> Result<Option<String>, StorageError> {
    let rows = connection.query(&OWNER, vec![table.into()]).await?;
    let Some(row) = rows.first().filter(|row| row.integer(2).is_ok_and(|may| may == 0)) else {
        return Ok(None);
    };
    let (owner, user) = (row.text(0)?, row.text(1)?);
    Ok(Some(format!(
        "{table} belongs to {owner}, and only its owner may change it: give DATABASE_URL that user, or let the one in it, {user}, act as the owner (`GRANT {owner} TO {user}`)"
    )))
}

fn has_large_id(columns: &[FoundColumn]) -> bool {
    columns.iter().any(|column| column.name == "id" && column.kind == FoundKind::Integer { is_large: true })
}

fn number(rows: &[Row]) -> Result<i64, StorageError> {
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

fn postgres_column(row: &Row) -> Result<FoundColumn, StorageError> {
    /// PostgreSQL counts the length of the length in.
    const HEADER: i64 = 4;
    let declared = row.text(1)?;
    let modifier = row.integer(2)?;
    let limit = (modifier > HEADER).then_some(modifier - HEADER);
    let kind = match declared {
        "int2" | "int4" => FoundKind::Integer { is_large: false },
        "int8" => FoundKind::Integer { is_large: true },
        "varchar" | "text" => FoundKind::Text { limit, is_padded: false },
        "bpchar" => FoundKind::Text { limit: limit.or(Some(1)), is_padded: true },
        "float4" | "float8" | "numeric" => FoundKind::Number,
        "timestamp" | "timestamptz" => FoundKind::Time,
        _ => FoundKind::Other,
    };
    Ok(FoundColumn {
        name: row.text(0)?.to_owned(),
        declared: declared.to_owned(),
        kind,
        must_be_given: row.integer(3)? > 0,
    })
}

/// The first part: before the migrations after version 1.
pub(super) async fn adopt_postgres(transaction: &PostgresTransaction) -> Result<(), StorageError> {
    refuse(&look_at_postgres(transaction).await?)?;
    transaction
        .batch(
            "SET CONSTRAINTS ALL IMMEDIATE; \
             LOCK TABLE onboarding_sessions, api_keys IN ACCESS EXCLUSIVE MODE",
        )
        .await?;
    let mut has_large_ids = false;
    for needs in [&SESSIONS, &KEYS] {
        let rows = transaction.query(&COLUMNS, vec![needs.table.into()]).await?;
        let columns = rows.iter().map(postgres_column).collect::<Result<Vec<_>, _>>()?;
        has_large_ids |= has_large_id(&columns);
        for column in &columns {
            if let Some(widened) = widened(column, has_large_ids) {
                let (table, name) = (needs.table, &column.name);
                transaction.batch(&format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {widened}")).await?;
            }
        }
    }
    let unique_keys = vec!["api_keys".into(), "provider,session_id".into()];
    let has_unique_keys = number(&transaction.query(&IS_UNIQUE, unique_keys).await?)? > 0;
    let unique_users = vec!["onboarding_sessions".into(), "user_id".into()];
    let has_unique_users = number(&transaction.query(&IS_UNIQUE, unique_users).await?)? > 0;
    transaction.batch(include_str!("../../migrations/postgres/adopt.sql")).await?;
    if !has_unique_users {
        transaction
            .batch("CREATE UNIQUE INDEX keyfold_one_session_per_user ON onboarding_sessions (user_id)")
            .await?;
    }
    transaction.batch(include_str!("../../migrations/postgres/0001_beside_keys.sql")).await?;
    if has_large_ids {
        transaction
            .batch(
                "ALTER TABLE api_key_versions ALTER COLUMN session_id TYPE BIGINT; \
                 ALTER TABLE onboarding_steps ALTER COLUMN session_id TYPE BIGINT",
            )
            .await?;
    }
    if !has_unique_keys {
        transaction
            .batch("CREATE UNIQUE INDEX keyfold_one_key_per_provider ON api_keys (session_id, provider)")
            .await?;
        transaction.batch(include_str!("../../migrations/postgres/adopt_duplicates.sql")).await?;
    }
    Ok(())
}

/// What a column becomes so that all fits in; nothing where it does.
fn widened(column: &FoundColumn, has_large_ids: bool) -> Option<String> {
    match (column.name.as_str(), column.kind) {
        ("user_id", FoundKind::Text { limit: Some(limit), is_padded })
            if limit < WIDEST_USER_ID || is_padded =>
        {
            Some(format!("VARCHAR({}) USING rtrim(user_id, ' ')", limit.max(WIDEST_USER_ID)))
        }
        ("provider", FoundKind::Text { limit: Some(limit), is_padded })
            if limit < WIDEST_PROVIDER || is_padded =>
        {
            Some(format!("VARCHAR({}) USING rtrim(provider, ' ')", limit.max(WIDEST_PROVIDER)))
        }
        ("key", FoundKind::Text { limit: Some(_), is_padded: true }) => {
            Some("TEXT USING rtrim(key, ' ')".into())
        }
        ("key", FoundKind::Text { limit: Some(_), .. }) => Some("TEXT".into()),
        ("session_id", FoundKind::Integer { is_large: false }) if has_large_ids => Some("BIGINT".into()),
        _ => None,
    }
}

/// The last part: marks the database, and tries whether Keyfold's rows fit in.
pub(super) async fn finish_postgres(transaction: &PostgresTransaction) -> Result<(), StorageError> {
    transaction.execute(&MARK, vec![]).await?;
    let tried = transaction.batch(include_str!("../../migrations/postgres/adopt_trial.sql")).await;
    tried.map_err(|error| match error {
        StorageError::Refused(message) => no_fit(&message),
        other => other,
    })
}

fn no_fit(message: &str) -> StorageError {
    StorageError::NotAdoptable(format!("rows of Keyfold's own do not fit into its tables ({message})"))
}

/// A start takes it over, see `plain_keys.rs`.
const MARK: Statement =
    statement("INSERT INTO root_secrets (name, sealed) VALUES ('plain_keys', 'pending')", &[]);

/// The first part: before the migrations after version 1.
pub(super) fn adopt_sqlite(transaction: &rusqlite::Transaction<'_>) -> Result<(), StorageError> {
    refuse(&look_at_sqlite(transaction)?)?;
    for (needs, added) in [(&SESSIONS, &SQLITE_SESSIONS[..]), (&KEYS, &SQLITE_KEYS[..])] {
        let columns = sqlite_columns(transaction, needs.table)?;
        for (name, declared) in added {
            if !columns.iter().any(|column| column.name == *name) {
                let sql = format!("ALTER TABLE {} ADD COLUMN {name} {declared}", needs.table);
                transaction.execute_batch(&sql)?;
            }
        }
    }
    let had_unique_keys = has_unique_keys(transaction)?;
    transaction.execute_batch(include_str!("../../migrations/sqlite/adopt.sql"))?;
    transaction.execute_batch(include_str!("../../migrations/sqlite/0001_beside_keys.sql"))?;
    for index in ["keyfold_one_session_per_user", "keyfold_one_key_per_provider"] {
        let sql = format!(
            "SELECT COUNT(*) FROM pragma_index_xinfo('{index}') WHERE \"key\" = 1 AND upper(coll) <> 'BINARY'"
        );
        if transaction.query_row(&sql, [], |row| row.get::<_, i64>(0))? > 0 {
            return Err(StorageError::NotAdoptable(
                "user_id or provider has a collation by which different texts are equal: one user could be taken for another".into(),
            ));
        }
    }
    if !had_unique_keys {
        transaction.execute_batch(include_str!("../../migrations/sqlite/adopt_duplicates.sql"))?;
    }
    Ok(())
}

/// A column that is added to a table with rows can only have a constant as its default.
const SQLITE_SESSIONS: [(&str, &str); 7] = [
    ("current_step", "INTEGER DEFAULT 1"),
    ("progress", "FLOAT DEFAULT 0.0"),
    ("started_at", "TIMESTAMP"),
    ("completed_at", "TIMESTAMP"),
    ("updated_at", "TIMESTAMP"),
    ("data_key", "TEXT"),
    ("duplicate_of", "VARCHAR(255)"),
];
const SQLITE_KEYS: [(&str, &str); 7] = [
    ("created_at", "TIMESTAMP"),
    ("updated_at", "TIMESTAMP"),
    ("version", "INTEGER NOT NULL DEFAULT 1"),
    ("status", "VARCHAR(20) NOT NULL DEFAULT 'unverified'"),
    ("last_used_at", "TIMESTAMP"),
    ("last_verified_at", "TIMESTAMP"),
    ("duplicate_of", "VARCHAR(255)"),
];

fn look_at_sqlite(transaction: &rusqlite::Transaction<'_>) -> Result<Vec<String>, StorageError> {
    let count = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut found = vec![];
    for needs in [&SESSIONS, &KEYS] {
        let table = needs.table;
        let columns = sqlite_columns(transaction, table)?;
        found.extend(obstacles(needs, &columns));
        let is_row_id = format!(
            "SELECT COUNT(*) FROM pragma_table_info('{table}') WHERE pk = 1 AND lower(name) = 'id' \
             AND upper(type) = 'INTEGER' AND (SELECT COUNT(*) FROM pragma_table_info('{table}') WHERE pk > 0) = 1"
        );
        if count(&is_row_id)? == 0 {
            found.push(format!("{table}.id is not INTEGER PRIMARY KEY, so SQLite gives new rows no id"));
        }
        for name in ["user_id", "provider", "key"] {
            let is_there = columns.iter().any(|column| column.name == name);
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE typeof({name}) NOT IN ('text', 'null')");
            if is_there && count(&sql)? > 0 {
                found.push(format!("{table}.{name} has values that are no texts"));
            }
        }
    }
    for table in OTHER_TABLES {
        if count(&format!("SELECT COUNT(*) FROM sqlite_master WHERE lower(name) = '{table}'"))? > 0 {
            found.push(taken_name(table));
        }
    }
    Ok(found)
}

/// What SQLite takes a declared type for, and what is usual there.
fn sqlite_kind(declared: &str) -> FoundKind {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["INT"]) {
        FoundKind::Integer { is_large: false }
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        FoundKind::Text { limit: None, is_padded: false }
    } else if has(&["TIME", "DATE"]) {
        FoundKind::Time
    } else if has(&["REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]) {
        FoundKind::Number
    } else {
        FoundKind::Other
    }
}

fn sqlite_columns(
    transaction: &rusqlite::Transaction<'_>,
    table: &str,
) -> Result<Vec<FoundColumn>, StorageError> {
    let sql = format!(
        "SELECT lower(name), type, \"notnull\" = 1 AND dflt_value IS NULL AND pk = 0 FROM pragma_table_info('{table}')"
    );
    let mut prepared = transaction.prepare(&sql)?;
    let columns = prepared.query_map([], |row| {
        let declared: String = row.get(1)?;
        let kind = sqlite_kind(&declared);
        Ok(FoundColumn { name: row.get(0)?, declared, kind, must_be_given: row.get(2)? })
    })?;
    Ok(columns.collect::<Result<_, _>>()?)
}

fn has_unique_keys(transaction: &rusqlite::Transaction<'_>) -> Result<bool, StorageError> {
    let sql = "SELECT COUNT(*) FROM pragma_index_list('api_keys') l WHERE l.\"unique\" = 1 AND l.partial = 0 AND \
               (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY name)) \
               = 'provider,session_id'";
    Ok(transaction.query_row(sql, [], |row| row.get::<_, i64>(0))? > 0)
}

/// The last part: marks the database, and tries whether Keyfold's rows fit in.
pub(super) fn finish_sqlite(transaction: &mut rusqlite::Transaction<'_>) -> Result<(), StorageError> {
    transaction.execute_batch(MARK.sql)?;
    // Undone when dropped.
    let trial = transaction.savepoint()?;
    let tried = trial.execute_batch(include_str!("../../migrations/sqlite/adopt_trial.sql"));
    tried.map_err(|error| no_fit(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, declared: &str, must_be_given: bool) -> FoundColumn {
        FoundColumn {
            name: name.into(),
            declared: declared.into(),
            kind: sqlite_kind(declared),
            must_be_given,
        }
    }

    #[test]
    fn all_that_is_in_the_way_is_told_at_once() {
        let columns = [
            column("id", "INTEGER", false),
            column("session_id", "INTEGER", true),
            column("provider", "VARCHAR(20)", true),
            column("status", "VARCHAR(10)", false),
            column("created_at", "TEXT", false),
            column("email", "VARCHAR(100)", true),
            column("description", "TEXT", false),
        ];
        let found = obstacles(&KEYS, &columns);
        assert_eq!(found.len(), 4, "{found:?}");
        for (what, words) in
            found.iter().zip(["no column key", "created_at is TEXT", "status", "api_keys.email"])
        {
            assert!(what.contains(words), "{what} {words}");
        }
    }

    #[test]
    fn a_number_is_no_user() {
        let columns = [column("id", "INTEGER", false), column("user_id", "INTEGER", true)];
        let found = obstacles(&SESSIONS, &columns);
        assert!(found.len() == 1 && found[0].contains("`sub`"), "{found:?}");
    }
}
