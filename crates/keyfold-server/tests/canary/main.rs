//! Recognisable keys go through the whole flow of the real program, at the loudest log level; then everything
//! that the program wrote or said is searched for them, and in production its memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "they are tests")]

mod local;
mod memory;
mod production;
mod program;
mod search;
