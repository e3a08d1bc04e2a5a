-- Another program that uses the two tables beside Keyfold may delete a user's session: what Keyfold has beside it goes
-- along, as `usage` does. The audit log refers to no session and stays.
ALTER TABLE api_key_versions DROP CONSTRAINT api_key_versions_session_id_fkey;
ALTER TABLE api_key_versions ADD CONSTRAINT api_key_versions_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES onboarding_sessions(id) ON DELETE CASCADE;
ALTER TABLE onboarding_steps DROP CONSTRAINT onboarding_steps_session_id_fkey;
ALTER TABLE onboarding_steps ADD CONSTRAINT onboarding_steps_session_id_fkey
    FOREIGN KEY (session_id) REFERENCES onboarding_sessions(id) ON DELETE CASCADE;
