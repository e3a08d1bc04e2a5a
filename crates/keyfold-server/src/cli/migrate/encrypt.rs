//! `keyfold migrate encrypt`

use crate::cli::{Failure, Start};

pub(super) fn encrypt(_start: Start) -> Result<(), Failure> {
    Err(Failure::new("this is not there yet"))
}
