//! The command line. Exit status: 0 done, 1 refused or failed, 2 wrong usage.

mod audit;
mod confirm;
mod doctor;
mod keys;
mod master_key;
mod migrate;
mod promote;
mod ready;
mod reconcile;
mod revoke;
mod run;
mod scan;
mod serve;
mod token;
mod users;

use std::any::Any;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keyfold::settings::Environment;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, setrlimit,
};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::LogConfig;
use crate::logging;
use crate::router;

/// Each user brings their own provider keys, and every call made for a user uses exactly that user's key.
#[derive(Parser)]
#[command(name = "keyfold", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API and the page
    Serve,
    /// Check the installation and say what to do about what is wrong
    Doctor(doctor::Arguments),
    /// Ask the Keyfold that serves on this machine whether it is ready, for health checks
    ///
    /// It asks for `/readyz` at `HOST` and `PORT`. Exit status: 0 ready, 1 not.
    #[command(verbatim_doc_comment)]
    Ready,
    /// List, set, remove, check, roll back or revoke users' keys
    Keys(keys::Arguments),
    /// Run a command with a user's keys in its environment
    ///
    /// The command gets the keys of exactly that user, under their providers' variables. Variables of
    /// providers for which the user has no key are taken out of its environment, so that it cannot fall
    /// back to somebody else's. A key that cannot be read stops it before the command is started.
    ///
    /// The exit status is the command's. It is 127 if there is no such command, 126 if it cannot be executed.
    ///
    /// Keyfold's own secrets are taken out too: `KEYFOLD_MASTER_KEY` and the other secret settings, among
    /// them `DATABASE_URL`, `REDIS_URL` and `CLERK_SECRET_KEY`, which in Keyfold's environment are Keyfold's.
    /// A command that shares one of them gets it with `--keep NAME`. One that has its own gets it behind the
    /// `--`: `keyfold run --user ID -- env DATABASE_URL=… COMMAND`.
    #[command(verbatim_doc_comment)]
    Run(run::Arguments),
    /// Send a developer's local keys to their own account in production
    ///
    /// The keys are those that local mode uses here; they stay. Each is checked over there before it is saved, and
    /// nothing of it is printed. The address is shown and confirmed first, unless `--yes` is given. Keys of yours that
    /// are there already stay unless `--replace` is given. Stopped halfway, it is simply started again. Ends with 1 if
    /// a key was not sent.
    Promote(promote::Arguments),
    /// List, suspend, resume or delete users
    Users(users::Arguments),
    /// Make and look after the master key
    MasterKey(master_key::Arguments),
    /// Bring keys in from elsewhere, or take them out again
    Migrate(migrate::Arguments),
    /// Make, list or revoke tokens for other backend services
    Token(token::Arguments),
    /// Read, check or export the audit log
    Audit(audit::Arguments),
    /// Print the description of the API (`OpenAPI` 3.1)
    Openapi,
}

/// Why a command failed, in the user's words.
pub(crate) struct Failure {
    text: String,
    status: u8,
}

impl<E: Display + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let known = (&error as &dyn Any).downcast_ref::<keyfold::Error>();
        Self::new(known.map_or_else(|| error.to_string(), in_full))
    }
}

/// An error with its cause: who works at the command line is the operator, and has no log to find it in.
pub(crate) fn in_full(error: &keyfold::Error) -> String {
    match (error.to_string(), error.cause()) {
        (text, cause) if cause != text => format!("{text}\nThe cause: {cause}"),
        (text, _) => text,
    }
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 1 }
    }

    /// With another exit status than 1.
    pub(crate) fn with_status(status: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), status }
    }

    /// The same, followed by this.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { text: format!("{}\n{more}", self.text), ..self }
    }
}

/// What a command is started with: the environment and folder of the process, and the limit to give back to a
/// command that is run.
pub(crate) struct Start {
    pub(crate) environment: Environment,
    pub(crate) dir: PathBuf,
    pub(crate) core_limit: Rlimit,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = start().and_then(|start| match arguments.command {
        Command::Serve => serve::serve(&start),
        Command::Doctor(arguments) => doctor::doctor(start, &arguments),
        Command::Ready => ready::ready(start),
        Command::Keys(arguments) => keys::keys(start, arguments),
        Command::Run(arguments) => run::run(start, &arguments),
        Command::Users(arguments) => users::users(start, &arguments),
        Command::MasterKey(arguments) => master_key::master_key(start, &arguments),
        Command::Migrate(arguments) => migrate::migrate(start, arguments),
        Command::Token(arguments) => token::token(start, arguments),
        Command::Promote(arguments) => promote::promote(start, &arguments),
        Command::Audit(arguments) => audit::audit(start, &arguments),
        Command::Openapi => print(&router::description().to_pretty_json()?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, status }) => {
            let _ = writeln!(io::stderr(), "keyfold: {}", text.trim_end());
            ExitCode::from(status)
        }
    }
}

fn start() -> Result<Start, Failure> {
    let core_limit = getrlimit(Resource::Core);
    forbid_core_dumps(core_limit)?;
    logging::log_panics();
    let dir = std::env::current_dir()?;
    Ok(Start { environment: Environment::from_process(), dir, core_limit })
}

/// A core dump, or another process of the same user with a debugger, would show keys.
fn forbid_core_dumps(limit: Rlimit) -> Result<(), Failure> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| Failure::new(format!("core dumps cannot be switched off: {error}")))
}

/// Starts logging for a command that people watch: warnings only, unless `KEYFOLD_LOG` says otherwise.
pub(crate) fn log_for_command(start: &Start) {
    let mut config = LogConfig::quiet();
    if let Some(filter) = start.environment.get("KEYFOLD_LOG") {
        filter.clone_into(&mut config.filter);
    }
    logging::start(&config);
}

/// A runtime for a command that does little at once.
pub(crate) fn small_runtime() -> Result<Runtime, Failure> {
    build_runtime(Builder::new_current_thread())
}

/// Builds a runtime, in a process that a full disk does not end: behind a limit on file sizes (`ulimit -f`) a
/// write raises a signal, whose default is death. Caught, it leaves an error. A command that is run gets the
/// default back.
pub(crate) fn build_runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    let runtime = builder.enable_all().build()?;
    let _context = runtime.enter();
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    Ok(runtime)
}

/// Prints a line; a reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
