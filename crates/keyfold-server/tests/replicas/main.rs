//! Three processes on one PostgreSQL: what one of them is told to forget, the others use for a second at most,
//! whatever happens to the connections on which they hear of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "they are tests")]

#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/harness.rs"]
mod harness;
#[allow(dead_code, reason = "the tests of the library use the rest")]
#[path = "../../../keyfold/tests/postgres/proxy.rs"]
mod proxy;

mod calls;
mod freshness;
mod stage;
