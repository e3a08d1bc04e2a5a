-- Who writes to the audit log: one row per chain of rows, with the signed head of the chain. Ids are consecutive from 1,
-- so that a writer that was removed is missed. `first_*`: the oldest row that retention left, and the hash before it.
-- `spooled`: how much of the writer's spool is in the log.
CREATE TABLE audit_writers (
    id BIGINT PRIMARY KEY,
    first_seq BIGINT NOT NULL,
    first_previous VARCHAR(64) NOT NULL,
    first_signature VARCHAR(64) NOT NULL,
    last_seq BIGINT NOT NULL,
    last_hash VARCHAR(64) NOT NULL,
    last_at TIMESTAMP NOT NULL,
    spooled BIGINT NOT NULL,
    last_signature VARCHAR(64) NOT NULL
);

-- One row, made with the audit key: how many writers there ever were, signed, so that the newest are missed too.
CREATE TABLE audit_writer_count (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    writers BIGINT NOT NULL,
    signature VARCHAR(64) NOT NULL
);

-- What was done with keys: rows are only added. `content_hash` covers what the row tells, `hash` chains it to the row
-- before it of the same writer. `erased`: the row was made anonymous, and this signs what is left of it.
CREATE TABLE audit_events (
    id BIGSERIAL,
    at TIMESTAMP NOT NULL,
    user_id VARCHAR(255),
    actor TEXT NOT NULL,
    action VARCHAR(40) NOT NULL,
    provider VARCHAR(50),
    outcome VARCHAR(20) NOT NULL,
    request_id TEXT,
    writer BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    key_version BIGINT,
    fingerprint VARCHAR(32),
    call_id VARCHAR(32),
    purpose VARCHAR(20),
    provider_status BIGINT,
    duration_ms BIGINT,
    address VARCHAR(45),
    note TEXT,
    content_hash VARCHAR(64) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    erased VARCHAR(64),
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX audit_events_user ON audit_events (user_id, at, id);
CREATE INDEX audit_events_writer ON audit_events (writer, seq);

-- Takes what no month's partition takes, so that nothing is ever lost.
CREATE TABLE audit_events_other PARTITION OF audit_events DEFAULT;

-- Makes the partitions of this month and the two after it, as far as they are not there; says how many it made. A month
-- of which rows stand in `audit_events_other` already stays there.
CREATE FUNCTION keyfold_audit_partitions(now_at TIMESTAMP) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    month TIMESTAMP;
    made BIGINT := 0;
BEGIN
    FOR ahead IN 0..2 LOOP
        month := date_trunc('month', now_at) + make_interval(months => ahead);
        IF to_regclass('audit_events_' || to_char(month, 'YYYY_MM')) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
                    'audit_events_' || to_char(month, 'YYYY_MM'), month, month + interval '1 month');
                made := made + 1;
            EXCEPTION WHEN check_violation OR duplicate_table THEN NULL;
            END;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Drops the partitions of months that were over at `before_at`, up to one with a row behind the beginning of its chain;
-- says how many. Gives up soon where others use the table. The oldest rows go first, so that those left of a chain always
-- join its beginning: while there are any in `audit_events_other`, nothing is dropped.
CREATE FUNCTION keyfold_audit_drop_partitions(before_at TIMESTAMP) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    month TEXT;
    is_needed BOOLEAN;
    dropped BIGINT := 0;
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    IF EXISTS (SELECT 1 FROM audit_events_other e JOIN audit_writers w ON w.id = e.writer
        WHERE e.at < before_at AND e.seq < w.first_seq) THEN
        RETURN 0;
    END IF;
    FOR month IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit_events'::regclass AND c.relname ~ '^audit_events_[0-9]{4}_[0-9]{2}$'
        AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= before_at ORDER BY c.relname
    LOOP
        LOCK TABLE ONLY audit_events IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', month);
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM audit_writers w WHERE EXISTS '
            '(SELECT 1 FROM %I e WHERE e.writer = w.id AND e.seq >= w.first_seq))', month) INTO is_needed;
        EXIT WHEN is_needed;
        EXECUTE format('DROP TABLE %I', month);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
