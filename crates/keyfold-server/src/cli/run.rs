//! `keyfold run -- COMMAND`: the command takes this process's place, so signals and exit status are its own,
//! and keys are on no disk.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use keyfold::{Error, Keyfold};
use rustix::process::{Resource, setrlimit};
use zeroize::Zeroizing;

use super::keys::{User, open};
use super::{Failure, Start, log_for_command, small_runtime};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    user: User,
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
    small_runtime()?.block_on(async {
        let keyfold = open(start.environment, &start.dir).await?;
        let prepared = prepare(&keyfold, &arguments.user.user, &mut command).await;
        keyfold.close().await;
        prepared
    })?;
    // The command is not Keyfold: it may dump its core as it could before.
    setrlimit(Resource::Core, start.core_limit)?;
    let error = command.exec();
    Err(Failure::new(format!("cannot run {}: {error}", program.display())))
}

/// Sets the variables of the user's keys and takes those of all other providers away: the command never falls
/// back to somebody else's key.
async fn prepare(keyfold: &Keyfold, user: &str, command: &mut Command) -> Result<(), Failure> {
    let keys = keyfold.user_api_keys(user).await?;
    let mut found = 0;
    for provider in keyfold.registry().iter() {
        let variables = std::iter::once(&provider.variable).chain(&provider.also_exported_as);
        match keys.open(provider) {
            Ok(key) => {
                found += 1;
                for variable in variables {
                    command.env(variable, Zeroizing::new(key.expose().to_owned()).as_str());
                }
            }
            Err(Error::NoApiKey { .. }) => {
                for variable in variables {
                    command.env_remove(variable);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if found == 0 {
        // Standard output belongs to the command.
        writeln!(
            io::stderr(),
            "No API key found; the command runs without any. Save one with `keyfold keys set gemini`."
        )?;
    }
    Ok(())
}
