-- Since when an operator keeps this user from using Keyfold.
ALTER TABLE onboarding_sessions ADD COLUMN suspended_at TIMESTAMP;
