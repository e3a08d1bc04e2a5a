//! The program `keyfold` as people and other programs start it: the real binary, in a folder of its own, with
//! an environment that has nothing but what the test gives it, against the providers' stand-in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

mod audit;
mod deletion;
mod doctor;
mod faults;
mod harness;
mod keys;
#[cfg(feature = "kms")]
mod kms;
mod master_key;
mod migrate;
mod migrate_env;
mod production;
mod production_serve;
mod promote;
mod providers_file;
mod redis;
mod run;
mod scan;
mod serve;
mod settings;
mod sign_in;
mod tokens;
mod usage;
mod users;
