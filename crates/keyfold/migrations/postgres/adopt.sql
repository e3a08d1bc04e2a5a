-- Gives tables that another program made what version 1 would have made, and 0009. What is too narrow was widened before;
-- that program goes on with them as before. No session is newer for a column that was not there.
ALTER TABLE onboarding_sessions
    ADD COLUMN IF NOT EXISTS current_step INTEGER DEFAULT 1,
    ADD COLUMN IF NOT EXISTS progress FLOAT DEFAULT 0.0,
    ADD COLUMN IF NOT EXISTS started_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS completed_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP,
    ADD COLUMN data_key TEXT,
    ADD COLUMN duplicate_of VARCHAR(255);
ALTER TABLE api_keys
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP,
    ADD COLUMN version INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN status VARCHAR(20) NOT NULL DEFAULT 'unverified',
    ADD COLUMN IF NOT EXISTS last_used_at TIMESTAMP,
    ADD COLUMN IF NOT EXISTS last_verified_at TIMESTAMP,
    ADD COLUMN duplicate_of VARCHAR(255);

CREATE INDEX onboarding_sessions_duplicate_of ON onboarding_sessions (duplicate_of) WHERE duplicate_of IS NOT NULL;

-- Of several sessions of a user the newest one is the user's: that of the latest time that its row has, of any kind.
CREATE TEMPORARY TABLE keyfold_sessions ON COMMIT DROP AS
    SELECT id, first_value(id) OVER newest_first AS counts FROM onboarding_sessions WHERE user_id IS NOT NULL
    WINDOW newest_first AS
        (PARTITION BY user_id ORDER BY GREATEST(updated_at, started_at) DESC NULLS LAST, id DESC);
-- Of several keys of a user for a provider the newest one counts, whichever of the user's sessions it is of.
CREATE TEMPORARY TABLE keyfold_keys ON COMMIT DROP AS
    SELECT k.id, COALESCE(s.counts, k.session_id) AS session_id, row_number() OVER (
        PARTITION BY COALESCE(s.counts, k.session_id), k.provider
        ORDER BY GREATEST(k.updated_at, k.created_at) DESC NULLS LAST, k.id DESC) AS place
    FROM api_keys k LEFT JOIN keyfold_sessions s ON s.id = k.session_id WHERE k.session_id IS NOT NULL;
UPDATE api_keys SET duplicate_of = provider, provider = chr(1) || 'duplicate ' || id
    WHERE id IN (SELECT id FROM keyfold_keys WHERE place > 1);
UPDATE api_keys SET session_id = k.session_id FROM keyfold_keys k
    WHERE k.id = api_keys.id AND k.place = 1 AND k.session_id <> api_keys.session_id;
UPDATE onboarding_sessions SET duplicate_of = user_id, user_id = chr(1) || 'duplicate ' || id
    WHERE id IN (SELECT id FROM keyfold_sessions WHERE id <> counts);
