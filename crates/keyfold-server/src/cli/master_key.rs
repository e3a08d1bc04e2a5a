//! `keyfold master-key …`

use clap::Subcommand;
use keyfold::clock::SystemRandom;
use keyfold::envelope::MasterKey;

use super::{Failure, print};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a new master key: 32 random bytes as base64, for `KEYFOLD_MASTER_KEY`
    Generate,
}

pub(super) fn master_key(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Generate => print(&MasterKey::generate(&SystemRandom)?),
    }
}
