-- Tokens of backend services: only their hashes. Who writes here cannot make a token or widen one: each row is
-- signed with a key of the whole database, which the master key seals (`root_secrets`).
CREATE TABLE service_tokens (
    id SERIAL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    -- JSON arrays; NULL means all.
    users TEXT,
    providers TEXT,
    signature VARCHAR(64) NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP,
    last_used_at TIMESTAMP,
    revoked_at TIMESTAMP
);
-- A name can be given again after its token was revoked.
CREATE UNIQUE INDEX service_tokens_name ON service_tokens (name) WHERE revoked_at IS NULL;

-- When a key's provider is asked about it again (NULL: not planned yet), when it was last, and how often in a row
-- nothing could be said.
ALTER TABLE api_keys ADD COLUMN next_check_at TIMESTAMP;
ALTER TABLE api_keys ADD COLUMN last_check_at TIMESTAMP;
ALTER TABLE api_keys ADD COLUMN checks_failed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX api_keys_next_check ON api_keys (provider, next_check_at);
