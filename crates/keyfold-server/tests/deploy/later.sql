-- What a later release may do to the tables: it adds to those that are in use, and takes nothing away.
ALTER TABLE onboarding_sessions ADD COLUMN later TEXT;
ALTER TABLE api_keys ADD COLUMN later INTEGER NOT NULL DEFAULT 0;
CREATE TABLE later (session_id INTEGER NOT NULL REFERENCES onboarding_sessions (id) ON DELETE CASCADE);
CREATE INDEX api_keys_later ON api_keys (later);
DROP TRIGGER keyfold_changes ON api_keys;
CREATE TRIGGER keyfold_changes
    AFTER INSERT OR DELETE OR UPDATE OF session_id, provider, key, version, status, later
    ON api_keys FOR EACH ROW EXECUTE FUNCTION keyfold_announce_key();
