-- Tables that another program made: of several sessions of a user the newest one is the user's, that of the latest time
-- that its row has, of any kind. What was missing in them was added before. (`max` of nothing and something is nothing.)
CREATE TEMPORARY TABLE keyfold_sessions AS
    SELECT id, first_value(id) OVER newest_first AS counts FROM onboarding_sessions WHERE user_id IS NOT NULL
    WINDOW newest_first AS
        (PARTITION BY user_id ORDER BY
            max(COALESCE(updated_at, started_at), COALESCE(started_at, updated_at)) DESC NULLS LAST, id DESC);
-- Of several keys of a user for a provider the newest one counts, whichever of the user's sessions it is of.
CREATE TEMPORARY TABLE keyfold_keys AS
    SELECT k.id, COALESCE(s.counts, k.session_id) AS session_id, row_number() OVER (
        PARTITION BY COALESCE(s.counts, k.session_id), k.provider
        ORDER BY max(COALESCE(k.updated_at, k.created_at), COALESCE(k.created_at, k.updated_at)) DESC NULLS LAST,
            k.id DESC) AS place
    FROM api_keys k LEFT JOIN keyfold_sessions s ON s.id = k.session_id WHERE k.session_id IS NOT NULL;
UPDATE api_keys SET duplicate_of = provider, provider = char(1) || 'duplicate ' || id
    WHERE id IN (SELECT id FROM keyfold_keys WHERE place > 1);
UPDATE api_keys SET session_id = (SELECT k.session_id FROM keyfold_keys k WHERE k.id = api_keys.id)
    WHERE id IN (SELECT id FROM keyfold_keys WHERE place = 1);
UPDATE onboarding_sessions SET duplicate_of = user_id, user_id = char(1) || 'duplicate ' || id
    WHERE id IN (SELECT id FROM keyfold_sessions WHERE id <> counts);
DROP TABLE keyfold_keys;
DROP TABLE keyfold_sessions;
CREATE INDEX onboarding_sessions_duplicate_of ON onboarding_sessions (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE UNIQUE INDEX keyfold_one_session_per_user ON onboarding_sessions (user_id);
CREATE UNIQUE INDEX keyfold_one_key_per_provider ON api_keys (session_id, provider);
