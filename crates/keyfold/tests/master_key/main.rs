//! Rotation of the master key: nothing is lost, whoever is at work meanwhile, and however often it is interrupted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "they are tests")]

mod local;
mod refusals;
mod replicas;
mod rotation;
mod setup;
