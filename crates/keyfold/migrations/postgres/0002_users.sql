-- Since when an operator keeps this user from using Keyfold.
ALTER TABLE onboarding_sessions ADD COLUMN suspended_at TIMESTAMP;

-- Whatever changes what a user's keys are is announced with the user's id, so that no replica goes on with what it
-- remembers: by triggers, so that an operator's own statements count too. An empty payload means every user.
CREATE FUNCTION keyfold_announce_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('keyfold_changes', (SELECT user_id FROM onboarding_sessions WHERE id = OLD.session_id));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('keyfold_changes', (SELECT user_id FROM onboarding_sessions WHERE id = NEW.session_id));
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION keyfold_announce_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('keyfold_changes', OLD.user_id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('keyfold_changes', NEW.user_id);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION keyfold_announce_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('keyfold_changes', '');
    RETURN NULL;
END $$;

CREATE TRIGGER keyfold_changes AFTER INSERT OR DELETE OR UPDATE OF session_id, provider, key, version, status
    ON api_keys FOR EACH ROW EXECUTE FUNCTION keyfold_announce_key();
CREATE TRIGGER keyfold_changes AFTER INSERT OR DELETE OR UPDATE OF id, user_id, data_key, suspended_at
    ON onboarding_sessions FOR EACH ROW EXECUTE FUNCTION keyfold_announce_user();
CREATE TRIGGER keyfold_cleared AFTER TRUNCATE ON api_keys EXECUTE FUNCTION keyfold_announce_all();
CREATE TRIGGER keyfold_cleared AFTER TRUNCATE ON onboarding_sessions EXECUTE FUNCTION keyfold_announce_all();
