-- Names of root secrets may hold the address of a key service's key.
ALTER TABLE root_secrets ALTER COLUMN name TYPE VARCHAR(255);

-- A data key that is wrapped anew stays the same data key, and what replicas remember of it stays right: a rotation of
-- the master key says so, and announces once at its end instead of a million times. All else is announced as before.
DROP TRIGGER keyfold_changes ON onboarding_sessions;
CREATE TRIGGER keyfold_changes AFTER INSERT OR DELETE OR UPDATE OF id, user_id, suspended_at, valid_from
    ON onboarding_sessions FOR EACH ROW EXECUTE FUNCTION keyfold_announce_user();
CREATE TRIGGER keyfold_data_key_changes AFTER UPDATE OF data_key ON onboarding_sessions FOR EACH ROW
    WHEN (current_setting('keyfold.rewrapping', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION keyfold_announce_user();
