//! `keyfold run -- COMMAND`: the command takes this process's place, so signals and exit status are its own,
//! and keys are on no disk.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use clap::error::ErrorKind;
use keyfold::settings::{Kind, SETTINGS, Sources};
use keyfold::user::UserId;
use keyfold::{Error, Keyfold};
use rustix::process::{Resource, setrlimit};
use zeroize::Zeroizing;

use super::keys::{User, for_the_shell, open_with, set_command, wrong_usage};
use super::{Failure, Start, log_for_command, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    user: User,
    /// Leave this secret setting of Keyfold's in the command's environment; may be given several times
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(start: Start, arguments: &Arguments) -> Result<(), Failure> {
    log_for_command(&start);
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::new("no command to run"));
    };
    let mut command = Command::new(program);
    command.args(rest);
    hold_secrets_back(&arguments.keep, &mut command);
    small_runtime()?.block_on(async {
        let sources = Sources::load(start.environment, &start.dir)?;
        let user = arguments.user.in_mode(sources.mode())?;
        let keyfold = open_with(&sources).await?;
        let prepared = prepare(&keyfold, &user, &mut command).await;
        keyfold.close().await;
        prepared
    })?;
    // The command is not Keyfold: it may dump its core as it could before.
    setrlimit(Resource::Core, start.core_limit)?;
    Err(cannot_run(program, &command.exec()))
}

/// With the exit status that shells and `env` end with, so that whoever reads it knows that the command never ran.
fn cannot_run(program: &OsStr, error: &io::Error) -> Failure {
    const NOT_FOUND: u8 = 127;
    const NOT_EXECUTABLE: u8 = 126;
    let is_path = program.as_bytes().contains(&b'/');
    let (status, why) = match error.kind() {
        io::ErrorKind::NotFound if is_path && Path::new(program).exists() => (
            NOT_EXECUTABLE,
            "the program that its first line names, or one of its libraries, is not there".to_owned(),
        ),
        io::ErrorKind::NotFound if is_path => (NOT_FOUND, "there is no such file".to_owned()),
        io::ErrorKind::NotFound => (NOT_FOUND, "no folder of PATH has a program of this name".to_owned()),
        io::ErrorKind::PermissionDenied => (
            NOT_EXECUTABLE,
            "it may not be executed by this user (`chmod +x` makes a file a program)".to_owned(),
        ),
        _ => (NOT_EXECUTABLE, error.to_string()),
    };
    Failure::with_status(status, format!("cannot run {}: {why}", program.display()))
}

/// What opens or changes every user's keys is not for a command that works for one of them.
fn hold_secrets_back(keep: &[String], command: &mut Command) {
    let secrets = SETTINGS.iter().filter(|setting| setting.kind == Kind::Secret);
    let names: Vec<String> =
        secrets.flat_map(|secret| [secret.name.to_owned(), format!("{}_FILE", secret.name)]).collect();
    for kept in keep {
        if !names.contains(kept) {
            wrong_usage(
                ErrorKind::InvalidValue,
                &format!(
                    "--keep {kept} is none of Keyfold's secret settings; providers' variables cannot be kept, and all others are"
                ),
            );
        }
    }
    for name in names.iter().filter(|name| !keep.contains(name)) {
        command.env_remove(name);
    }
}

/// Sets the variables of the user's keys and takes those of all other providers away: the command never falls
/// back to somebody else's key.
async fn prepare(keyfold: &Keyfold, user: &UserId, command: &mut Command) -> Result<(), Failure> {
    let keys = keyfold.user_api_keys(user.as_str()).await.map_err(|error| match error {
        Error::UserSuspended => Failure::new(format!(
            "{user} is suspended, so the keys of this user are not used. `keyfold users resume {}` ends the suspension.",
            for_the_shell(user.as_str())
        )),
        error => error.into(),
    })?;
    // All are taken away before any is set: two providers may share a name.
    for provider in keyfold.registry().iter() {
        for variable in provider.variables() {
            command.env_remove(variable);
        }
    }
    let mut found = 0;
    for provider in keyfold.registry().iter() {
        match keys.open(provider) {
            Ok(key) => {
                found += 1;
                for variable in provider.variables() {
                    command.env(variable, Zeroizing::new(key.expose().to_owned()).as_str());
                }
            }
            Err(Error::NoApiKey { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if found == 0 {
        // Standard output belongs to the command.
        writeln!(
            io::stderr(),
            "No API key found; the command runs without any. Save one with `{}`.",
            set_command(keyfold, "gemini", user)
        )?;
    }
    Ok(())
}
