-- Tables that another program made (see `adopt.sql`) may have rows that no longer count: an older session of a user, an
-- older key for a provider. They stay where they are, under a name that nobody can have because it begins with a
-- control character. This is the name that they had.
ALTER TABLE onboarding_sessions ADD COLUMN duplicate_of VARCHAR(255);
ALTER TABLE api_keys ADD COLUMN duplicate_of VARCHAR(255);
CREATE INDEX onboarding_sessions_duplicate_of ON onboarding_sessions (duplicate_of) WHERE duplicate_of IS NOT NULL;
