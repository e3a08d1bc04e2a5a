//! PostgreSQL's faults, each on a server of the test's own: what a caller learns, that nobody waits for long, and
//! that everything goes on afterwards without a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod connections;
mod network;
mod proxy;
mod refusals;
mod replicas;
mod restarts;
mod setup;
mod tls;
