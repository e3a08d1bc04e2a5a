//! Where log lines go: standard error, as text or JSON. Panics are logged without their words.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogConfig;

/// Starts logging; a second call changes nothing.
pub fn start(config: &LogConfig) {
    let filter = config.filter.parse::<EnvFilter>().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Already started: a test, or a program that has its own.
    let _ = if config.json {
        tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
    } else {
        let colours = std::io::stderr().is_terminal();
        tracing::subscriber::set_global_default(builder.with_ansi(colours).finish())
    };
}

/// Logs where a panic happened, not what it said: its words may hold what should not be written down.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "a part of Keyfold failed unexpectedly; this is a fault of Keyfold's own");
    }));
}
