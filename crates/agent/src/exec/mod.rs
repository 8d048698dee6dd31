//! Executables as agents: any program that reads its payload from stdin and writes its reply to
//! stdout is a handler.

mod child;
mod environment;
mod options;
mod progress;

pub use options::{Exec, ExecOptions};
