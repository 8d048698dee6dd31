//! What a layer must not use from outside the workspace: external crates, and parts of the
//! standard library that would make the engine's decisions depend on more than its input.
//!
//! Edges between our own crates are in `edges`; reading paths out of source text is in `paths`.

use super::edges::{manifest, short};
use super::finding::Finding;
use super::metadata::{Kind, Metadata};
use super::paths;
use super::tree::Tree;

/// External crates that must not be reached from a layer, directly or through others.
///
/// Cargo describes the graph with the features of all crates together, so only crates that no
/// feature of a small dependency pulls in can stand here: `serde`, for one, would be a false alarm.
const BANNED_CRATES: &[Ban] = &[
    Ban {
        layer: "types",
        names: &["tokio", "serde_json", "prost", "tonic", "http", "hyper", "axum"],
        why: "types know no runtime, no format and no transport",
    },
    Ban {
        layer: "engine",
        names: &["tokio", "mio", "serde_json", "prost", "tonic", "http", "hyper", "axum", "rustix"],
        why: "the engine is handed time and seed, and touches nothing outside",
    },
    Ban {
        layer: "log",
        names: &["tokio", "serde_json", "prost", "tonic", "http", "hyper", "axum"],
        why: "the log stores bytes and does not know what a record means",
    },
    Ban {
        layer: "broker",
        names: &["prost", "tonic", "http", "hyper", "axum"],
        why: "the broker knows no HTTP and no gRPC: those are edges",
    },
    Ban {
        layer: "agent",
        names: &["prost", "tonic", "http", "hyper", "axum"],
        why: "the agent runtime has only the public connection",
    },
    Ban { layer: "sim", names: &["tokio", "mio"], why: "the same seed gives the same trace" },
    Ban {
        layer: "xtask",
        names: &["tokio", "prost", "tonic", "hyper"],
        why: "tasks start at once: nothing heavy is compiled first",
    },
];

/// Folders whose sources are searched for the paths below.
const DETERMINISTIC: &[&str] = &["crates/engine/src/"];

/// Paths that deterministic code must not use, with everything below them.
const BANNED_PATHS: &[(&str, &str)] = &[
    ("std::time::Instant", "take the time from the command"),
    ("std::time::SystemTime", "take the time from the command"),
    ("std::time::UNIX_EPOCH", "take the time from the command"),
    ("std::thread", "leave threads to the broker"),
    ("std::fs", "leave files to the log"),
    ("std::net", "leave sockets to the edges"),
    ("std::env", "take settings from the configuration"),
    ("std::process", "return an effect"),
    ("std::io::stdin", "take input from the command"),
    ("std::collections::HashMap", "use hashbrown with a fixed seed, or BTreeMap"),
    ("std::collections::HashSet", "use hashbrown with a fixed seed, or BTreeSet"),
    ("std::collections::hash_map", "use hashbrown with a fixed seed, or BTreeMap"),
    ("std::collections::hash_set", "use hashbrown with a fixed seed, or BTreeSet"),
    ("std::hash::RandomState", "use foldhash with a fixed seed"),
    ("std::hash::DefaultHasher", "use foldhash with a fixed seed"),
    ("foldhash::fast::RandomState", "use FixedState"),
    ("foldhash::quality::RandomState", "use FixedState"),
    ("foldhash::HashMap", "use hashbrown with a fixed seed"),
    ("foldhash::HashSet", "use hashbrown with a fixed seed"),
    ("fastrand::Rng::new", "use Rng::with_seed"),
    ("fastrand::Rng::default", "use Rng::with_seed"),
    ("tokio", "leave the runtime to the broker"),
];

/// Crates of which deterministic code may use these names only: the rest of `fastrand` draws from
/// a generator of the thread, seeded by chance.
const ONLY: &[(&str, &[&str], &str)] = &[("fastrand", &["Rng"], "use Rng::with_seed")];

/// External crates that one layer must not reach.
#[derive(Debug)]
struct Ban {
    layer: &'static str,
    names: &'static [&'static str],
    why: &'static str,
}

/// Every banned crate that is reached and every banned path that is used.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in BANNED_CRATES {
        for (package, by) in
            metadata.reach(|member| short(&member.name) == ban.layer, &[Kind::Normal])
        {
            let Some(by) = by else { continue };
            if !ban.names.contains(&package.name.as_str()) {
                continue;
            }
            let file = manifest(ban.layer);
            let line = tree.line(&file, |line| line.starts_with(package.name.as_str()));
            findings.push(Finding::new(
                file,
                line,
                match short(&by.name) {
                    by if by == ban.layer => format!("{by} uses {}", package.name),
                    by => format!("{} reaches {} through {by}", ban.layer, package.name),
                },
                ban.why,
                "move the code that needs it to another layer, or switch the feature off",
            ));
        }
    }
    for (file, text) in tree.texts(".rs") {
        if DETERMINISTIC.iter().any(|folder| file.starts_with(folder)) {
            findings.extend(check_source(file, text));
        }
    }
    findings
}

fn check_source(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for used in paths::used(text) {
        let path = used.segments.join("::");
        let mut found = |limit: String, remedy: &str| {
            findings.push(Finding::new(file, used.line, format!("uses {path}"), limit, remedy));
        };
        for (banned, remedy) in BANNED_PATHS {
            if used.covers(banned) {
                found(format!("no {banned} in deterministic code"), remedy);
            }
        }
        for (root, allowed, remedy) in ONLY {
            let second = used.segments.get(1).map_or("", String::as_str);
            if used.segments[0] == *root && !allowed.contains(&second) {
                found(
                    format!("of {root} only [{}] in deterministic code", allowed.join(", ")),
                    remedy,
                );
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::metadata::sample::graph;
    use super::*;

    fn in_engine(text: &str) -> Vec<Finding> {
        let tree = Tree::from([("crates/engine/src/a.rs", text)]);
        check(&tree, &graph(&[]))
    }

    #[test]
    fn a_banned_crate_is_found_however_far_it_is() {
        let metadata = graph(&[
            ("trunkline-engine 0.1.0", "MIT", &[("harmless 1.0.0", Kind::Normal)]),
            ("harmless 1.0.0", "MIT", &[("tokio 1.0.0", Kind::Normal)]),
            ("tokio 1.0.0", "MIT", &[]),
        ]);
        let findings = check(&Tree::from([]), &metadata);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].what, "engine reaches tokio through harmless");
    }

    #[test]
    fn a_banned_crate_that_is_used_directly_is_found() {
        let metadata = graph(&[
            ("trunkline-types 0.1.0", "MIT", &[("serde_json 1.0.0", Kind::Normal)]),
            ("serde_json 1.0.0", "MIT", &[]),
        ]);
        let path = manifest("types");
        let tree = Tree::from([(path.as_str(), "[dependencies]\nserde_json = \"1\"\n")]);
        let findings = check(&tree, &metadata);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].line, findings[0].what.as_str()), (2, "types uses serde_json"));
    }

    #[test]
    fn a_banned_crate_of_the_tests_alone_is_no_finding() {
        let metadata = graph(&[
            ("trunkline-engine 0.1.0", "MIT", &[("tokio 1.0.0", Kind::Dev)]),
            ("tokio 1.0.0", "MIT", &[]),
        ]);
        assert_eq!(check(&Tree::from([]), &metadata), []);
    }

    #[test]
    fn each_banned_path_is_found_in_the_engine_and_nowhere_else() {
        for (banned, _) in BANNED_PATHS {
            let text = format!("//! Docs.\nuse {banned};\n");
            let findings = in_engine(&text);
            assert!(findings.iter().any(|finding| finding.line == 2), "{banned}: {findings:?}");
            let elsewhere = Tree::from([("crates/broker/src/a.rs", text.as_str())]);
            assert_eq!(check(&elsewhere, &graph(&[])), []);
        }
    }

    #[test]
    fn a_thread_generator_is_found() {
        assert_eq!(in_engine("fn a() -> u64 { fastrand::u64(..) }").len(), 1);
        assert_eq!(in_engine("use fastrand::Rng;\nfn a() { Rng::new(); }")[0].line, 2);
        assert_eq!(in_engine("use fastrand::Rng;\nfn a() { Rng::with_seed(1); }"), []);
    }

    #[test]
    fn what_the_engine_needs_is_allowed() {
        let text = "use std::collections::{BTreeMap, VecDeque};\nuse std::time::Duration;\n\
                    use hashbrown::HashMap;\n// std::thread::spawn\nconst A: &str = \"std::fs\";";
        assert_eq!(in_engine(text), []);
    }
}
