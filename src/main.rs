//! The program `tranche`; `tranche --help` says what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    tranche::cli::main()
}
