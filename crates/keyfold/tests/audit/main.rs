//! What stands in the audit log after something was done with keys, and that nothing is done that cannot be recorded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod kills;
mod refusals;
mod setup;
mod story;
