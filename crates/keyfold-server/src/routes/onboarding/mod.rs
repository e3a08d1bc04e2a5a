//! Onboarding, on the paths and with the fields that existing ALwrity front ends call.

pub(crate) mod keys;
pub(crate) mod providers;
pub(crate) mod session;
pub(crate) mod steps;
