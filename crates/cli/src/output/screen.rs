//! Writing to stdout and stderr. Owns the choice between text and JSON, and of color.
//!
//! A reader that has gone ends the command quietly: writing gives an error that is no message.

use super::plain;
use crate::error::CliError;
use anstream::ColorChoice;
use comfy_table::Table;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use trunkline_types::Payload;

/// What a command writes to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

/// Bold red, as the command line's own errors are.
const ERROR: &str = "\x1b[1;31m";
/// Bold cyan.
const HINT: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

#[allow(clippy::unused_self, reason = "writing is what an output does, wherever it goes")]
impl Output {
    /// An output; color follows the terminal and `NO_COLOR` unless it is switched off.
    pub(crate) fn new(json: bool, no_color: bool) -> Self {
        if no_color {
            ColorChoice::Never.write_global();
        }
        Self { json }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether there is a person at stderr who can be shown progress.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A line on stdout, there at once.
    pub(crate) fn line(&self, text: impl fmt::Display) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        Ok(stdout.flush()?)
    }

    /// Bytes on stdout exactly as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A JSON value on one line of stdout.
    pub(crate) fn value(&self, value: &Value) -> Result<(), CliError> {
        self.line(value)
    }

    /// A table on stdout.
    pub(crate) fn table(&self, table: &Table) -> Result<(), CliError> {
        self.line(table.trim_fmt())
    }

    /// A line on stderr that is not a result. Nobody reading it is no reason to stop.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        note(text);
    }

    /// An error and its remedy on stderr: two lines, or one of JSON.
    pub(crate) fn error(&self, error: &CliError) {
        if error.message.is_empty() {
            return;
        }
        if self.json {
            let CliError { exit, message, hint } = error;
            self.note(json!({ "error": message, "code": *exit as u8, "hint": hint }));
            return;
        }
        self.note(format_args!("{ERROR}error:{RESET} {}", error.message));
        if let Some(hint) = &error.hint {
            self.note(format_args!("{HINT}hint:{RESET} {hint}"));
        }
    }
}

/// A payload as text on one line, whatever is in it.
pub(crate) fn one_line(payload: &Payload) -> String {
    let mut line = String::new();
    for character in plain(payload).to_text().trim_end_matches('\n').chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push('\t'),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}

/// A line on stderr from where there is no output at hand, such as a call back from a session.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
