-- The tables of an application such as ALwrity, with what grew in them: narrow columns, columns of its own, no unique
-- constraints, duplicates, rows of nobody. ID stands for the database's own kind of id. All keys are test data.
CREATE TABLE onboarding_sessions (
    id ID,
    user_id VARCHAR(64),
    current_step INTEGER,
    progress FLOAT,
    started_at TIMESTAMP,
    updated_at TIMESTAMP,
    email VARCHAR(120),
    is_active BOOLEAN NOT NULL DEFAULT TRUE
);
CREATE TABLE api_keys (
    id ID,
    session_id INTEGER REFERENCES onboarding_sessions(id),
    provider VARCHAR(20) NOT NULL,
    key VARCHAR(256) NOT NULL,
    description VARCHAR(200),
    is_active BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP,
    updated_at TIMESTAMP
);
CREATE TABLE website_analyses (
    id ID,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id) ON DELETE CASCADE,
    website_url VARCHAR(500) NOT NULL,
    writing_style TEXT,
    status VARCHAR(50) DEFAULT 'completed'
);
CREATE TABLE research_preferences (
    id ID,
    session_id INTEGER NOT NULL REFERENCES onboarding_sessions(id),
    research_depth VARCHAR(50) NOT NULL
);
CREATE TABLE key_notes (
    id ID,
    api_key_id INTEGER REFERENCES api_keys(id),
    note TEXT
);
CREATE INDEX ix_onboarding_sessions_user ON onboarding_sessions (user_id);
CREATE VIEW steps_of_sessions AS SELECT id, current_step FROM onboarding_sessions;

INSERT INTO onboarding_sessions (id, user_id, current_step, progress, started_at, updated_at, email) VALUES
    (1, 'ann', 2, 33.3, '2025-01-01 10:00:00', '2025-01-02 10:00:00', 'ann@example.test'),
    (2, 'bob', 6, 100.0, '2025-01-01 10:00:00', '2025-01-03 10:00:00', NULL),
    (3, 'ann', 4, 66.6, '2025-02-01 10:00:00', '2025-02-02 10:00:00', 'ann@example.test'),
    (4, NULL, 1, 0.0, '2025-01-01 10:00:00', '2025-01-01 10:00:00', NULL),
    (5, '', 1, 0.0, '2025-01-01 10:00:00', '2025-01-01 10:00:00', NULL),
    (6, 'user_ü', NULL, NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00', NULL),
    (7, 'carl', 1, 0.0, NULL, NULL, NULL);
INSERT INTO api_keys (id, session_id, provider, key, description, created_at, updated_at) VALUES
    (1, 1, 'gemini', 'test-data-ann-gemini-oldest', 'first', '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (2, 3, 'gemini', 'test-data-ann-gemini-older', NULL, '2025-02-01 10:00:00', '2025-02-01 10:00:00'),
    (3, 1, 'openai', 'test-data-ann-openai', 'newest, in the older session', '2025-01-01 10:00:00', '2025-03-01 10:00:00'),
    (4, 3, 'openai', 'test-data-ann-openai-older', NULL, '2025-02-01 10:00:00', '2025-02-01 10:00:00'),
    (5, 3, 'gemini', 'test-data-ann-gemini', NULL, '2025-02-01 10:00:00', '2025-02-02 10:00:00'),
    (6, 2, 'gemini', 'test-data-bob-gemini', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00.123456'),
    (7, 2, 'acme', 'test-data-bob-of-no-known-provider', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (8, 2, 'Acme Inc.', 'test-data-bob odd name, "odd" kéy', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (9, 2, 'exa', '', 'not entered', '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (10, 4, 'gemini', 'test-data-of-no-user', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (11, NULL, 'gemini', 'test-data-of-no-session', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (12, 7, 'gemini', 'test-data-carl-gemini', NULL, NULL, NULL),
    (13, 6, 'anthropic', 'test-data-u-anthropic', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (14, 2, 'mistral', 'kf1.dGVzdC1kYXRhLXRoYXQtbG9va3Mtc2VhbGVk', 'not sealed', '2025-01-01 10:00:00', '2025-01-01 10:00:00'),
    (15, 5, 'gemini', 'test-data-of-the-empty-user', NULL, '2025-01-01 10:00:00', '2025-01-01 10:00:00');
INSERT INTO website_analyses (id, session_id, website_url, writing_style) VALUES
    (1, 1, 'https://ann.example.test', 'plain'), (2, 3, 'https://new.ann.example.test', NULL), (3, 2, 'https://bob.example.test', NULL);
INSERT INTO research_preferences (id, session_id, research_depth) VALUES (1, 1, 'deep'), (2, 4, 'shallow');
INSERT INTO key_notes (id, api_key_id, note) VALUES (1, 1, 'of a key that does not count'), (2, 5, 'of one that does');
