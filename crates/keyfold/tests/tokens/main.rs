//! Which tokens name a user and which do not, and how the issuer's keys are fetched. Against an issuer on this
//! machine, with a clock that stands still.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it is a test")]

mod claims;
mod forms;
mod keys;
mod refusals;
mod remembered;
mod settings;
mod setup;
