//! Where log lines go: standard error, as text or JSON. Panics are logged without their words.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::LogConfig;

/// The most that libraries may say, whatever the filter asks for: below, they write down what they carry, such as
/// headers and statements.
const OTHERS: LevelFilter = LevelFilter::INFO;

/// Starts logging; a second call changes nothing.
pub fn start(config: &LogConfig) {
    let colours = std::io::stderr().is_terminal();
    // Already started: a test, or a program that has its own.
    let _ = tracing::subscriber::set_global_default(subscriber(config, colours, std::io::stderr));
}

/// Logs where a panic happened, not what it said: its words may hold what should not be written down.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "a part of Keyfold failed unexpectedly; this is a fault of Keyfold's own");
    }));
}

fn subscriber(
    config: &LogConfig,
    colours: bool,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let filter = config.filter.parse::<EnvFilter>().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(writer);
    let lines =
        if config.json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(colours).boxed() };
    let discreet: FilterFn = FilterFn::new(|line| is_ours(line) || *line.level() <= OTHERS);
    Registry::default().with(lines).with(filter).with(discreet)
}

fn is_ours(line: &Metadata<'_>) -> bool {
    let source = line.target().split("::").next();
    matches!(source, Some("keyfold" | "keyfold_server"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_stay_discreet_whatever_the_filter_says() {
        for (filter, json) in
            [("trace", false), ("trace", true), ("h2=trace,hyper=debug,keyfold=trace", false)]
        {
            let written = Written::default();
            let config = LogConfig { filter: filter.into(), json };
            let writer = written.clone();
            let subscriber = subscriber(&config, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::trace!(target: "h2::codec", "of a library, a trace");
                tracing::debug!(target: "hyper", "of a library, for debugging");
                tracing::trace!(target: "keyfolded", "of a library with a similar name");
                tracing::warn!(target: "h2", "of a library, a warning");
                tracing::trace!(target: "keyfold::keys", "our own trace");
            });
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(
                written.contains("our own trace") && written.contains("a warning"),
                "{filter}: {written}"
            );
            for discreet in ["a trace", "for debugging", "similar name"] {
                assert!(!written.replace("our own trace", "").contains(discreet), "{filter}: {written}");
            }
        }
    }

    #[test]
    fn every_line_is_one_json_object_whatever_it_says() {
        let written = Written::default();
        let config = LogConfig { filter: "info".into(), json: true };
        let writer = written.clone();
        let subscriber = subscriber(&config, false, move || writer.clone());
        let hostile = "a\nb\r\n\"c\": {\\ \u{0} \u{2028} \u{1b}[31m";
        let before = std::panic::take_hook();
        log_panics();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(user = hostile, empty = None::<&str>, "{hostile}");
            tracing::warn!(error = %hostile, debug = ?hostile);
            tracing::info_span!("a span", of = hostile).in_scope(|| tracing::info!("inside"));
            let _ = std::panic::catch_unwind(|| panic!("S3CR3T {hostile}"));
        });
        std::panic::set_hook(before);
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert_eq!(lines.len(), 4, "{written}");
        assert_eq!((&lines[0]["message"], &lines[0]["user"]), (&hostile.into(), &hostile.into()));
        assert!(lines[3]["place"].as_str().unwrap().contains("logging.rs"), "{}", lines[3]);
        assert_eq!(lines[3]["level"], "ERROR");
        assert!(!written.contains("S3CR3T"), "{written}");
    }
}
