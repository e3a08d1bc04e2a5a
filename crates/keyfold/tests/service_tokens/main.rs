//! Tokens of backend services, on both databases: made once, limited, ended, revoked; and keys that are released only
//! with a word of it in the audit log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod release;
#[allow(dead_code, reason = "shared with the tests of rechecks")]
mod setup;
mod tokens;
