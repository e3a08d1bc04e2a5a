//! One file per endpoint or small family of them: what it takes, what it gives, the handler.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod frontend_env;
pub(crate) mod gateway;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod key_view;
pub(crate) mod keys;
pub(crate) mod onboarding;
pub(crate) mod openapi;
pub(crate) mod providers;
pub(crate) mod research;
pub(crate) mod service;
pub(crate) mod usage;
pub(crate) mod webhooks;
