//! Limits that replicas share: on a real Redis, and with each of its faults.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod faults;
mod setup;
mod shared;
mod tls;
