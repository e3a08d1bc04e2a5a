-- The other program may go on adding a row for each key that it saves: while plain keys count, the newest one does.
CREATE TRIGGER keyfold_set_aside BEFORE INSERT ON api_keys
    WHEN NEW.key NOT LIKE 'kf1.%' AND EXISTS (SELECT 1 FROM root_secrets WHERE name = 'plain_keys')
BEGIN
    UPDATE api_keys SET duplicate_of = provider, provider = char(1) || 'duplicate ' || id
        WHERE session_id = NEW.session_id AND provider = NEW.provider;
END;
