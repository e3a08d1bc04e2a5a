-- The version before the current one, kept for a while so that a replacement can be rolled back.
CREATE TABLE api_key_versions (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    provider VARCHAR(50) NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    replaced_at TIMESTAMP NOT NULL,
    UNIQUE (session_id, provider)
);
CREATE INDEX api_key_versions_replaced_at ON api_key_versions (replaced_at);

-- The state of each step of onboarding; `data` is sealed under the user's data key.
CREATE TABLE onboarding_steps (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    preset VARCHAR(20) NOT NULL,
    step_number INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    data TEXT,
    completed_at TIMESTAMP,
    UNIQUE (session_id, preset, step_number)
);

-- Values of the whole database, sealed by the master key; `master_key_check` proves that it is the right one.
CREATE TABLE root_secrets (
    name VARCHAR(50) PRIMARY KEY,
    sealed TEXT NOT NULL
);
