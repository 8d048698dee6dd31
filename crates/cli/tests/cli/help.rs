//! The help of every command, as it is printed.

use crate::harness::run;

/// The commands with commands of their own.
const OUTER: [&str; 4] = ["task", "agents", "dead", "config"];

/// The commands whose help is held here; a command that another file tests has its help there.
const PLAIN: [&str; 9] =
    ["serve", "agent", "send", "request", "publish", "subscribe", "stats", "completions", "--help"];

const INNER: [[&str; 2]; 11] = [
    ["task", "list"],
    ["task", "get"],
    ["task", "watch"],
    ["task", "cancel"],
    ["task", "continue"],
    ["agents", "list"],
    ["agents", "get"],
    ["dead", "list"],
    ["dead", "show"],
    ["config", "show"],
    ["config", "check"],
];

#[test]
fn every_command_helps() {
    for command in OUTER.into_iter().chain(PLAIN) {
        let name = format!("help_{}", command.trim_start_matches("--"));
        insta::assert_snapshot!(name, run([command, "--help"]).ok());
    }
    for [outer, inner] in INNER {
        let name = format!("help_{outer}_{inner}");
        insta::assert_snapshot!(name, run([outer, inner, "--help"]).ok());
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(["completions", shell]).ok().contains("trunkline"), "{shell}");
    }
}
