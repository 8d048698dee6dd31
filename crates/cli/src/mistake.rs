//! What the parser of the command line says, as the rest of the command would say it: long values
//! cut short, and as JSON where that is asked for.

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::output::units::{SHOWN, shown};
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Prints what came instead of a command: help, the version, or a mistake in the arguments.
pub(crate) fn tell(error: &clap::Error, arguments: &[OsString], output: &Output) -> ExitCode {
    // Help is no mistake; clap knows the stream of each.
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || is_help {
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
    }
    if output.is_json() {
        output.error(&described(&brief(&error.render().to_string(), arguments)));
    } else {
        let text = brief(&error.render().ansi().to_string(), arguments);
        // Nobody reading it changes nothing about the mistake.
        let _ = write!(anstream::stderr().lock(), "{text}");
    }
    Exit::Usage.into()
}

/// The first paragraph of what the parser says, and its tip or else where there is help.
fn described(text: &str) -> CliError {
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first.trim_start_matches("error: ").split_whitespace().collect();
    let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    CliError::new(Exit::Usage, words.join(" ")).hint(tip.unwrap_or("try '--help'"))
}

/// The text with every long argument, or part of one, cut short.
fn brief(text: &str, arguments: &[OsString]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let parts = arguments.iter().flat_map(|argument| argument.split(['=', ':', ',']));
    let values = arguments.iter().filter_map(|argument| argument.split_once('='));
    let mut long: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    long.extend(values.map(|(_, value)| value).chain(parts));
    long.retain(|value| value.chars().nth(SHOWN).is_some());
    // A whole before its parts.
    long.sort_by_key(|value| std::cmp::Reverse(value.len()));
    long.iter().fold(text.to_owned(), |text, value| text.replace(value, &shown(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arguments_are_cut_short_and_short_ones_are_not() {
        let long = "x".repeat(500);
        let arguments = [format!("--ttl={long}"), format!("agents:a,{long}"), "short".into()];
        let arguments = arguments.map(OsString::from);
        let text = format!("'{long}' for '--ttl <SPAN>': '{long}' is none, 'short' neither");
        let told = brief(&text, &arguments);
        assert!(told.len() < 250 && told.contains("xx…' is none, 'short' neither"), "{told}");
    }

    #[test]
    fn a_mistake_as_json_has_what_is_wrong_and_what_helps() {
        let error = described("error: no '--x'\n\n  tip: there is '--y'\n\nUsage: trunkline");
        assert_eq!(error.message, "no '--x'");
        assert_eq!(error.hint.as_deref(), Some("there is '--y'"));
        assert_eq!(described("error: no").hint.as_deref(), Some("try '--help'"));
    }
}
