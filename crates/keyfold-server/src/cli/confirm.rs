//! Asks before something is done that cannot be undone.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use clap::error::ErrorKind;

use super::Failure;
use super::keys::wrong_usage;

/// Goes on if `--yes` was given, or the person at the terminal says so. Where nobody can be asked, `--yes` is needed.
pub(super) fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        wrong_usage(
            ErrorKind::MissingRequiredArgument,
            "this cannot be undone, and nobody is at a terminal to be asked: say --yes",
        );
    }
    write!(io::stderr(), "{question} This cannot be undone. [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if is_yes(&answer) { Ok(()) } else { Err(Failure::new("nothing was done")) }
}

/// Asks at the terminal of this session, wherever standard input comes from; `None` if there is none.
pub(super) fn ask_at_terminal(question: &str) -> Option<bool> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    write!(&terminal, "{question} [y/N] ").ok()?;
    let mut answer = String::new();
    BufReader::new(&terminal).read_line(&mut answer).ok()?;
    Some(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

/// A line on a terminal that says how far it is.
pub(super) struct Progress {
    what: &'static str,
    total: Option<u64>,
    is_watched: bool,
    shown: bool,
}

impl Progress {
    /// `what` follows the number: `users asked about`.
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, total, is_watched: io::stderr().is_terminal(), shown: false }
    }

    pub(super) fn show(&mut self, done: u64) {
        if !self.is_watched {
            return;
        }
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        // A terminal that went away is no reason to stop.
        let _ = write!(io::stderr(), "\r{done}{of} {}", self.what);
        self.shown = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
