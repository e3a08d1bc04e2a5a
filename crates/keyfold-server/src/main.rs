//! The program `keyfold`.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyfold_server::cli::main()
}
