//! `keyfold migrate …`

mod decrypt;
mod encrypt;
mod env;

use clap::Subcommand;

use super::{Failure, Start};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Save the keys of a shared `.env` as a user's own
    ///
    /// Each key is checked with its provider first; a refused one is not saved. A key that the user has already is
    /// left as it is, so the command can be stopped and run again. Variables that no provider has, and two variables
    /// of one provider with different keys, are reported and left alone. The file stays as it is without `--remove`.
    Env(env::Arguments),
    /// Encrypt the plain-text keys of a database that Keyfold adopted
    Encrypt,
    /// Turn all keys back to plain text, for leaving Keyfold
    Decrypt(decrypt::Arguments),
}

pub(super) fn migrate(start: Start, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Env(arguments) => env::env(start, &arguments),
        Command::Encrypt => encrypt::encrypt(start),
        Command::Decrypt(arguments) => decrypt::decrypt(start, &arguments),
    }
}
