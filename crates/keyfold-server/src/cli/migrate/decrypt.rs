//! `keyfold migrate decrypt`

use crate::cli::{Failure, Start};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Say that all keys are to lie in the database as plain text
    #[arg(long)]
    yes_i_mean_it: bool,
}

pub(super) fn decrypt(_start: Start, _arguments: &Arguments) -> Result<(), Failure> {
    Err(Failure::new("this is not there yet"))
}
