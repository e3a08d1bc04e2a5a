//! Databases with plain-text keys of another program: taken over, used side by side, encrypted and turned back. Each on
//! PostgreSQL and SQLite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "they are tests, and the keys are test data"
)]

mod encryption;
mod leaving;
mod onboarding;
mod refusals;
mod setup;
mod side_by_side;
mod taking_over;
