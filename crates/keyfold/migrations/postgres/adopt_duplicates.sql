-- The other program may go on adding a row for each key that it saves: while plain keys count, the newest one does. Its
-- user need not see Keyfold's tables.
CREATE FUNCTION keyfold_set_aside() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM root_secrets WHERE name = 'plain_keys') THEN
        UPDATE api_keys SET duplicate_of = provider, provider = chr(1) || 'duplicate ' || id
            WHERE session_id = NEW.session_id AND provider = NEW.provider;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keyfold_set_aside BEFORE INSERT ON api_keys FOR EACH ROW
    WHEN (NEW.key NOT LIKE 'kf1.%') EXECUTE FUNCTION keyfold_set_aside();
