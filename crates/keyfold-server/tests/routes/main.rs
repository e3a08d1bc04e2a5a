//! The HTTP interface in local mode, over a real connection and against the providers' stand-in.
//! The files are named as those in `src`, `src/routes` and `src/middleware`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod audit;
mod config;
mod current_user;
mod every_provider;
mod frontend_env;
mod generate;
mod health;
mod json_body;
mod keys;
mod metrics;
mod middleware;
mod onboarding;
mod openapi;
mod providers;
mod rate_limits;
mod rechecks;
mod research;
mod router;
mod serve;
mod service;
mod usage;
mod users;
mod web;
mod webhooks;
