-- One row per user: how far onboarding got, and the user's data key, wrapped by the master key.
CREATE TABLE onboarding_sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id VARCHAR(255) UNIQUE NOT NULL,
    current_step INTEGER DEFAULT 1,
    progress FLOAT DEFAULT 0.0,
    started_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    completed_at TIMESTAMP,
    updated_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    data_key TEXT NOT NULL
);

-- The current version of each user's key per provider, sealed under the user's data key.
CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    provider VARCHAR(50) NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    status VARCHAR(20) NOT NULL DEFAULT 'unverified',
    created_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at TIMESTAMP DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    last_used_at TIMESTAMP,
    last_verified_at TIMESTAMP,
    UNIQUE (session_id, provider)
);

-- The version before the current one, kept for a while so that a replacement can be rolled back.
CREATE TABLE api_key_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    provider VARCHAR(50) NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    status VARCHAR(20) NOT NULL,
    replaced_at TIMESTAMP NOT NULL,
    UNIQUE (session_id, provider)
);

-- The state of each step of onboarding; `data` is sealed under the user's data key.
CREATE TABLE onboarding_steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
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
