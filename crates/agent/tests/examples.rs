//! Every example in Rust runs to its end, is short, shows something, and is told of.
//!
//! They are modules of this program, because linking each as a program of its own takes longer than
//! all of them run; that each also builds by itself is what the check of all targets sees.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Declares each example as a module and a test that runs it.
macro_rules! examples {
    ($($name:ident,)+) => {
        #[path = "../../../examples"]
        mod examples {
            $(pub(crate) mod $name;)+
        }

        /// The examples that are run.
        const RUN: &[&str] = &[$(stringify!($name)),+];

        mod ends_well {
            $(
                #[test]
                fn $name() {
                    super::examples::$name::main().unwrap();
                }
            )+
        }
    };
}

examples! {
    batches,
    bindings,
    blocking,
    circuit_breaker,
    compression,
    content_types,
    dead_letters,
    delays,
    destinations,
    directory,
    filters,
    full_inboxes,
    groups,
    health_check,
    idempotency_keys,
    in_process,
    kinds,
    long_task,
    max_run,
    message_status,
    missed_events,
    nested_requests,
    offline_agents,
    ordering_keys,
    pressure,
    priorities,
    protobuf,
    publish_subscribe,
    remote_client,
    request_reply,
    routing,
    scatter_gather,
    schedules,
    taken_identity,
    time_to_live,
    trace_context,
    weights,
    worker_pool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn every_example_is_run_shows_something_has_less_than_40_lines_and_is_in_the_list() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut there = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines < 40, "{name}.rs has {lines} lines");
        assert!(text.contains("println!("), "{name}.rs shows nothing");
        let path = format!("path = \"../../examples/{name}.rs\"");
        assert!(
            include_str!("../Cargo.toml").contains(&path),
            "{name}.rs is no example of cargo's"
        );
        assert!(list.contains(&format!("({name}.rs)")), "{name}.rs is not in the list");
        there.push(name);
    }
    there.sort_unstable();
    assert_eq!(there, RUN, "each is a module of this test");
}
