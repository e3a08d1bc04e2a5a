-- Users who were deleted. Tokens that were issued up to `refused_until` are refused from then on. `suspended_at`: an
-- operator kept the user out, and a deletion does not end that.
CREATE TABLE deleted_users (
    user_id VARCHAR(255) PRIMARY KEY,
    deleted_at TIMESTAMP NOT NULL,
    refused_until TIMESTAMP NOT NULL,
    suspended_at TIMESTAMP
);

-- Of a user who came back: `refused_until` of the deletion, so that a look-up needs no other table.
ALTER TABLE onboarding_sessions ADD COLUMN valid_from TIMESTAMP;

-- Messages of the token issuer that were acted upon, so that none counts twice.
CREATE TABLE webhook_messages (
    id VARCHAR(255) PRIMARY KEY,
    received_at TIMESTAMP NOT NULL
);
CREATE INDEX webhook_messages_received_at ON webhook_messages (received_at);
