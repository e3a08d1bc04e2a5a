//! `keyfold migrate …`

mod decrypt;
mod encrypt;

use clap::Subcommand;

use super::{Failure, Start};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Encrypt the plain-text keys of a database that Keyfold adopted
    Encrypt,
    /// Turn all keys back to plain text, for leaving Keyfold
    Decrypt(decrypt::Arguments),
}

pub(super) fn migrate(start: Start, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Encrypt => encrypt::encrypt(start),
        Command::Decrypt(arguments) => decrypt::decrypt(start, &arguments),
    }
}
