-- Whether rows such as Keyfold's fit into the tables: tries it, and undoes it. The message of what is in the way has no
-- content of a row.
DO $$
DECLARE
    one BIGINT;
    two BIGINT;
    moment TIMESTAMP := NOW() AT TIME ZONE 'UTC';
BEGIN
    BEGIN
        INSERT INTO onboarding_sessions (user_id, current_step, progress, data_key, started_at, updated_at)
            VALUES (chr(1) || 'trial 1', 1, 0.0, 'kf1.trial', moment, moment) RETURNING id INTO one;
        INSERT INTO onboarding_sessions (user_id, current_step, progress, data_key, started_at, updated_at)
            VALUES (chr(1) || 'trial' || repeat('u', 249), 1, 0.0, 'kf1.trial', moment, moment) RETURNING id INTO two;
        INSERT INTO api_keys (session_id, provider, key, version, status, created_at, updated_at)
            SELECT s, p, 'kf1.' || repeat('x', 6000) || s || p, 1, 'unverified', moment, moment
            FROM unnest(ARRAY[one, two]) AS s, unnest(ARRAY['gemini', repeat('p', 50)]) AS p;
        UPDATE api_keys SET key = key || 'y', version = 2, last_used_at = NULL, updated_at = moment
            WHERE session_id IN (one, two);
        UPDATE onboarding_sessions SET current_step = 2, progress = 33.3, completed_at = NULL WHERE id IN (one, two);
        DELETE FROM api_keys WHERE session_id IN (one, two);
        DELETE FROM onboarding_sessions WHERE id IN (one, two);
        RAISE EXCEPTION USING ERRCODE = 'KF000', MESSAGE = 'undo';
    EXCEPTION
        WHEN SQLSTATE 'KF000' THEN NULL;
        WHEN OTHERS THEN RAISE EXCEPTION USING ERRCODE = 'KF001', MESSAGE = SQLERRM;
    END;
END $$;
