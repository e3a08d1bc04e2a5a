//! No way leads from one user's request to another user's key: many users at once, on shared connections, with
//! clients that leave and providers that fail, each call to a provider compared with the key that its user had.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;
#[path = "../gateway/wire.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod wire;

mod freshness;
mod gateway;
mod globals;
mod ledger;
mod load;
mod replicas;
