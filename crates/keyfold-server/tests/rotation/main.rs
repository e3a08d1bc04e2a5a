//! Saving over a key is a rotation: checked first, swapped at once, and the old one is kept sealed for a day.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod local;
mod production;
