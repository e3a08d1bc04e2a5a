-- Who writes to the audit log: one row per chain of rows, with the signed head of the chain. Ids are consecutive from 1,
-- so that a writer that was removed is missed. `first_*`: the oldest row that retention left, and the hash before it.
-- `spooled`: how much of the writer's spool is in the log.
CREATE TABLE audit_writers (
    id INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    first_previous VARCHAR(64) NOT NULL,
    first_signature VARCHAR(64) NOT NULL,
    last_seq INTEGER NOT NULL,
    last_hash VARCHAR(64) NOT NULL,
    last_at TIMESTAMP NOT NULL,
    spooled INTEGER NOT NULL,
    last_signature VARCHAR(64) NOT NULL
);

-- One row, made with the audit key: how many writers there ever were, signed, so that the newest are missed too.
CREATE TABLE audit_writer_count (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    writers INTEGER NOT NULL,
    signature VARCHAR(64) NOT NULL
);

-- What was done with keys: rows are only added. `content_hash` covers what the row tells, `hash` chains it to the row
-- before it of the same writer. `erased`: the row was made anonymous, and this signs what is left of it.
CREATE TABLE audit_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TIMESTAMP NOT NULL,
    user_id VARCHAR(255),
    actor TEXT NOT NULL,
    action VARCHAR(40) NOT NULL,
    provider VARCHAR(50),
    outcome VARCHAR(20) NOT NULL,
    request_id TEXT,
    writer INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    key_version INTEGER,
    fingerprint VARCHAR(32),
    call_id VARCHAR(32),
    purpose VARCHAR(20),
    provider_status INTEGER,
    duration_ms INTEGER,
    address VARCHAR(45),
    note TEXT,
    content_hash VARCHAR(64) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    erased VARCHAR(64)
);
CREATE INDEX audit_events_user ON audit_events (user_id, at, id);
CREATE INDEX audit_events_at ON audit_events (at, id);
CREATE UNIQUE INDEX audit_events_writer ON audit_events (writer, seq);
