//! `kill -9` at random points of saving and replacing keys: what was acknowledged is there after the next start, and
//! nothing is half done. `KEYFOLD_TEST_KILLS` says how often: by default 200 times, a quarter of it for master keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "they are tests"
)]

#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/harness.rs"]
mod harness;

mod audit;
mod client;
mod local;
mod master_key;
mod migration;
mod production;
mod random;
mod servers;
