-- Whether rows such as Keyfold's fit into the tables: tries it; the caller undoes it.
INSERT INTO onboarding_sessions (user_id, current_step, progress, data_key, started_at, updated_at)
    VALUES (char(1) || 'trial 1', 1, 0.0, 'kf1.trial', datetime('now'), datetime('now')),
        (char(1) || 'trial' || printf('%.*c', 249, 'u'), 1, 0.0, 'kf1.trial', datetime('now'), datetime('now'));
INSERT INTO api_keys (session_id, provider, key, version, status, created_at, updated_at)
    SELECT s.id, p.column1, 'kf1.' || printf('%.*c', 6000, 'x') || s.id || p.column1, 1, 'unverified', datetime('now'),
        datetime('now')
    FROM onboarding_sessions s, (VALUES ('gemini'), (printf('%.*c', 50, 'p'))) p WHERE s.data_key = 'kf1.trial';
UPDATE api_keys SET key = key || 'y', version = 2, last_used_at = NULL
    WHERE session_id IN (SELECT id FROM onboarding_sessions WHERE data_key = 'kf1.trial');
UPDATE onboarding_sessions SET current_step = 2, progress = 33.3, completed_at = NULL WHERE data_key = 'kf1.trial';
DELETE FROM api_keys WHERE session_id IN (SELECT id FROM onboarding_sessions WHERE data_key = 'kf1.trial');
DELETE FROM onboarding_sessions WHERE data_key = 'kf1.trial';
