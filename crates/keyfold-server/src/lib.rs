//! Keyfold's server and command line. The flow itself is the `keyfold` library; here are HTTP, the settings of
//! the listener, and the commands.

pub mod app;
mod caller;
pub mod cli;
pub mod config;
mod current_service;
mod current_user;
mod error_shape;
mod gateway_caller;
mod json_body;
pub mod lane;
pub mod logging;
pub mod metrics;
mod middleware;
pub mod problem;
mod rate_limit;
pub mod router;
mod routes;
pub mod serve;
mod web;
