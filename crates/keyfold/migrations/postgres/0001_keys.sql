-- One row per user: how far onboarding got, and the user's data key, wrapped by the master key.
CREATE TABLE onboarding_sessions (
    id SERIAL PRIMARY KEY,
    user_id VARCHAR(255) UNIQUE NOT NULL,
    current_step INTEGER DEFAULT 1,
    progress FLOAT DEFAULT 0.0,
    started_at TIMESTAMP DEFAULT (NOW() AT TIME ZONE 'UTC'),
    completed_at TIMESTAMP,
    updated_at TIMESTAMP DEFAULT (NOW() AT TIME ZONE 'UTC'),
    data_key TEXT NOT NULL
);

-- The current version of each user's key per provider, sealed under the user's data key.
CREATE TABLE api_keys (
    id SERIAL PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    provider VARCHAR(50) NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    status VARCHAR(20) NOT NULL DEFAULT 'unverified',
    created_at TIMESTAMP DEFAULT (NOW() AT TIME ZONE 'UTC'),
    updated_at TIMESTAMP DEFAULT (NOW() AT TIME ZONE 'UTC'),
    last_used_at TIMESTAMP,
    last_verified_at TIMESTAMP,
    UNIQUE (session_id, provider)
);
