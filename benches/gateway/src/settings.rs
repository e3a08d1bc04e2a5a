//! What the environment says about a run.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Settings {
    /// The program `keyfold`.
    pub(crate) keyfold: PathBuf,
    /// Another build of it, to compare with.
    pub(crate) other: Option<PathBuf>,
    /// The program `litellm`.
    pub(crate) litellm: Option<PathBuf>,
    /// The program `gateway` of Portkey.
    pub(crate) portkey: Option<PathBuf>,
    /// Only these peers.
    pub(crate) only: Option<Vec<String>>,
    pub(crate) users: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) streams: usize,
    /// Of the parts that measure throughput alone.
    pub(crate) connections: usize,
}

impl Settings {
    pub(crate) fn read() -> Self {
        let beside = || std::env::current_exe().unwrap().with_file_name("keyfold");
        let only = text("ONLY").map(|names| names.split(',').map(|name| name.trim().to_owned()).collect());
        Self {
            keyfold: program("PROGRAM").unwrap_or_else(beside),
            other: program("OTHER"),
            litellm: program("LITELLM"),
            portkey: program("PORTKEY"),
            only,
            users: number("USERS", 10_000),
            rounds: number("ROUNDS", 5),
            seconds: number("SECONDS", 2.0),
            streams: number("STREAMS", 10_000),
            connections: number("CONNECTIONS", 32),
        }
    }

    pub(crate) fn wants(&self, peer: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == peer))
    }
}

/// Programs are started in another folder than this one.
fn program(name: &str) -> Option<PathBuf> {
    std::path::absolute(variable(name)?).ok()
}

fn number<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    text(name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| {
            eprintln!("KEYFOLD_BENCH_{name}={text} is no number");
            std::process::exit(2)
        })
    })
}

fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

#[expect(clippy::disallowed_methods, reason = "the bench's own settings, which are no settings of Keyfold")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(format!("KEYFOLD_BENCH_{name}")).filter(|value| !value.is_empty())
}
