//! The help of every command, as it is printed.

use crate::harness::run;

/// The commands with commands of their own.
const OUTER: [&str; 7] = ["task", "message", "schedule", "agents", "inbox", "dead", "config"];

/// The commands whose help is held here; a command that another file tests has its help there.
const PLAIN: [&str; 10] = [
    "serve",
    "agent",
    "send",
    "request",
    "publish",
    "subscribe",
    "context",
    "stats",
    "completions",
    "--help",
];

const INNER: [[&str; 2]; 27] = [
    ["task", "list"],
    ["task", "get"],
    ["task", "watch"],
    ["task", "cancel"],
    ["task", "continue"],
    ["message", "get"],
    ["message", "cancel"],
    ["schedule", "set"],
    ["schedule", "list"],
    ["schedule", "remove"],
    ["agents", "list"],
    ["agents", "get"],
    ["agents", "set"],
    ["agents", "add"],
    ["agents", "remove"],
    ["agents", "unregister"],
    ["agents", "watch"],
    ["inbox", "get"],
    ["inbox", "set"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "redrive"],
    ["dead", "purge"],
    ["config", "show"],
    ["config", "check"],
    ["bench", "all"],
    ["bench", "serializers"],
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
        let script = run(["completions", shell]).ok();
        for word in ["redrive", "unregister", "serializers", "when-full", "not-before"] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        let json = run(["completions", shell, "--json"]).json();
        assert_eq!(json["shell"], shell);
        assert_eq!(json["script"].as_str().unwrap().trim_end(), script.trim_end());
    }
}
