-- Another program that uses the two tables beside Keyfold may delete a user's session: what Keyfold has beside it goes
-- along, as `usage` does. The audit log refers to no session and stays. SQLite changes no reference: the tables are made
-- anew. (Renaming one would fail where another program's view does not stand.)
CREATE TABLE keyfold_kept AS SELECT * FROM api_key_versions;
DROP TABLE api_key_versions;
CREATE TABLE api_key_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id) ON DELETE CASCADE,
    provider VARCHAR(50) NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    replaced_at TIMESTAMP NOT NULL,
    UNIQUE (session_id, provider)
);
INSERT INTO api_key_versions (id, session_id, provider, key, version, status, replaced_at)
    SELECT id, session_id, provider, key, version, status, replaced_at FROM keyfold_kept;
DROP TABLE keyfold_kept;

CREATE TABLE keyfold_kept AS SELECT * FROM onboarding_steps;
DROP TABLE onboarding_steps;
CREATE TABLE onboarding_steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id) ON DELETE CASCADE,
    preset VARCHAR(20) NOT NULL,
    step_number INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    data TEXT,
    completed_at TIMESTAMP,
    UNIQUE (session_id, preset, step_number)
);
INSERT INTO onboarding_steps (id, session_id, preset, step_number, status, data, completed_at)
    SELECT id, session_id, preset, step_number, status, data, completed_at FROM keyfold_kept;
DROP TABLE keyfold_kept;
