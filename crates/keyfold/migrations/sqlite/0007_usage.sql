-- What each user's calls came to, per day (UTC, as `2026-11-30`), provider and model; `model` is empty where the
-- provider did not say. `unknown`: calls that went well and whose tokens nobody counted. Goes with the user.
CREATE TABLE usage (
    user_id VARCHAR(255) NOT NULL REFERENCES onboarding_sessions(user_id) ON DELETE CASCADE,
    day VARCHAR(10) NOT NULL,
    provider VARCHAR(50) NOT NULL,
    model VARCHAR(200) NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    PRIMARY KEY (user_id, day, provider, model)
);
