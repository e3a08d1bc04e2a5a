-- Whatever changes what a service token may do is announced, as changes of users' keys are, so that no replica goes on
-- with what it remembers. No user can have this id.
CREATE FUNCTION keyfold_announce_service_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('keyfold_changes', E'\x01service_tokens');
    RETURN NULL;
END $$;
CREATE TRIGGER keyfold_changes AFTER DELETE OR TRUNCATE OR UPDATE OF id, name, token_hash, scopes, users, providers,
    signature, created_at, expires_at, revoked_at
    ON service_tokens FOR EACH STATEMENT EXECUTE FUNCTION keyfold_announce_service_tokens();
