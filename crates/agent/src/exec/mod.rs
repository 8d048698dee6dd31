//! Executables as agents: any program that reads its payload from stdin and writes its reply to
//! stdout is a handler. `options` says how one is run and `child` runs it; `environment` is what it
//! is told, `said` what it says, and `around` what a program of ours makes of what it is told.

mod around;
mod child;
mod environment;
mod lender;
mod options;
mod said;
mod workplace;

pub use around::{AroundError, Lent, cause, lend};
pub use environment::VARIABLES;
pub use options::{Exec, ExecOptions};
