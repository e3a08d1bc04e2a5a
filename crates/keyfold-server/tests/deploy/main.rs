//! What the deployment files start: the image's root directory, the unit's command, the platforms' variables, replicas
//! behind nginx, of two versions too; and a restored backup. Their form is checked by `make check-deploy`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "they are tests")]

mod backup;
mod files;
#[allow(dead_code, reason = "the tests of the command line use the rest")]
#[path = "../cli/harness.rs"]
mod harness;
mod image;
mod nginx;
mod platforms;
mod ready;
mod site;
mod unit;
mod upgrade;
