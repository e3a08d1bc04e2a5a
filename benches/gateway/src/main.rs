//! `make bench-gateway`: Keyfold's gateway beside others, on one machine in one run.
//!
//! Absolute figures depend on the machine and on what else it does; the ratios are what to look at. See
//! `docs/performance.md`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints a report")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot run should stop"
)]

mod compare;
mod http;
mod load;
mod measure;
mod peers;
mod people;
mod processes;
mod profile;
mod report;
mod settings;
mod stage;
mod upstream;

use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use settings::Settings;
use tokio::signal::unix::{SignalKind, signal};

/// One thread: programs that this one starts end with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["upstream", folder] => upstream::run(Path::new(folder)).await.is_ok(),
        ["load", job] => load::run(job).await.is_ok(),
        _ => {
            raise_open_files();
            let mut ended = signal(SignalKind::terminate()).unwrap();
            tokio::select! {
                done = report(&arguments) => done,
                _ = tokio::signal::ctrl_c() => false,
                _ = ended.recv() => false,
            }
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn report(arguments: &[&str]) -> bool {
    match arguments {
        [] => compare::full(Settings::read()).await,
        ["quick"] => compare::throughput(Settings::read(), 1).await,
        ["throughput"] => {
            let settings = Settings::read();
            let rounds = settings.rounds;
            compare::throughput(settings, rounds).await
        }
        ["latency"] => compare::latency(Settings::read()).await,
        ["profile"] => profile::run(Settings::read()).await,
        _ => {
            eprintln!("usage: keyfold-gateway-bench [quick|throughput|latency|profile]");
            false
        }
    }
}

/// As many as this system lets it have; what it starts has as many.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
