//! The gateway from outside, by its bytes, on both ways that lead through it: what crosses, who may call, how answers
//! stream, and what an attacker gets out of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../canary/program.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod program;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod attacks;
mod callers;
mod calls;
mod encrypted;
mod errors;
mod stage;
mod streams;
mod wire;
