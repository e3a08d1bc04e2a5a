//! Real servers of a test run's own: made when the first test asks for one, gone when the run ends, however it
//! ends.

#![forbid(unsafe_code)]
// A server that cannot do what a test told it to should say so at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kms;
mod postgres;
mod redis;
mod script;

pub use kms::KmsServer;
pub use postgres::PostgresServer;
pub use redis::RedisServer;
pub use script::free_port;
/// A connection of a test's own.
pub use tokio_postgres::Client as SqlClient;
