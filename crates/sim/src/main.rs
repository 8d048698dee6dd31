//! The simulator's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    trunkline_sim::run()
}
