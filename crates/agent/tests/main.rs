//! The agent runtime as a whole: against a scripted broker (`common`), and against a real one in
//! this process, where `options_peer` speaks for sessions that the runtime would hide.
//!
//! One program for all of them, because linking takes longer than most of what they test. The
//! examples are a program of their own.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
mod options_peer;

mod balance;
mod batches;
mod blocking;
mod content;
mod directory;
mod end_to_end;
#[cfg(unix)]
mod exec;
mod failing;
mod health;
mod helpers;
mod messages;
mod nested;
mod options_broker;
mod options_card;
mod options_content;
mod options_hints;
mod options_limits;
mod options_memory;
mod options_words;
mod pool;
mod pressure;
mod session;
mod whole;
mod workers;

#[test]
fn every_file_beside_this_one_is_a_part_of_a_program() {
    let manifest = include_str!("../Cargo.toml");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = format!("mod {};\n", name.trim_end_matches(".rs"));
        let program = format!("path = \"tests/{name}\"");
        let is_run = include_str!("main.rs").contains(&module) || manifest.contains(&program);
        assert!(is_run, "nothing runs the tests in {name}");
    }
}
