//! Runs the package's own tests, which are in Python, with what `cargo test` compiled: so nothing is compiled twice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "it is a test")]

use std::path::Path;
use std::process::{Command, exit};

fn main() {
    // `cargo test -- --list` and filters are for other tests.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let library = std::env::current_exe().unwrap().with_file_name("libkeyfold_python.so");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/test-python.sh");
    let status = Command::new("sh").arg(script).arg(library).status().unwrap();
    if !status.success() {
        eprintln!("the tests of the Python package failed ({status})");
        exit(1);
    }
}
