//! No package is built in two incompatible versions.
//!
//! Two versions are two copies to compile, to audit and to carry, and their types do not fit each
//! other. Judges what is built on the host for users (tests have their own needs); `deny.toml`
//! says the same for other platforms.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::licences::line_in_lock;
use super::metadata::{Kind, Metadata, Package};
use super::tree::Tree;

/// What cannot be avoided: (package, its versions, reason). The versions are exact, so that a
/// further one is found, and an exception that is no longer needed must go.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    ("base64", &["0.22", "0.23"], "tonic 0.14 and pbjson 0.9 stay at 0.22; reqwest has 0.23"),
    (
        "foldhash",
        &["0.1", "0.2"],
        "0.1 belongs to hashbrown 0.15 (see there); only the build script of proto has it",
    ),
    ("getrandom", &["0.2", "0.4"], "ring 0.17, the cryptography of rustls, stays at 0.2"),
    (
        "hashbrown",
        &["0.15", "0.17"],
        "petgraph 0.8, through prost-build 0.14, pins 0.15; only the build script of proto has it",
    ),
    (
        "syn",
        &["2", "3"],
        "prost-derive, tonic-build, tracing-attributes and pin-project stay at 2, while \
         serde_derive, clap_derive, thiserror and tokio-macros are at 3; compile time only",
    ),
    (
        "unicode-width",
        &["0.1", "0.2"],
        "miette 7.6, through protox 0.10, pins 0.1; only the build script of proto has it",
    ),
];

/// Every package in two incompatible versions, and every exception that does not fit any more.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    check_with(tree, metadata, EXCEPTIONS)
}

fn check_with(
    tree: &Tree,
    metadata: &Metadata,
    exceptions: &[(&str, &[&str], &str)],
) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<(&Package, Option<&Package>)>> = BTreeMap::new();
    for (package, by) in metadata.reach(|_| true, &[Kind::Normal, Kind::Build]) {
        versions.entry(&package.name).or_default().push((package, by));
    }
    let lines_of = |name: &str| -> BTreeSet<&str> {
        let found = versions.get(name).into_iter().flatten();
        found.map(|(package, _)| compatible(&package.version)).collect()
    };
    let mut findings = Vec::new();
    for (name, found) in &versions {
        let lines = lines_of(name);
        let excepted = exceptions.iter().find(|(package, ..)| package == name);
        let allowed = excepted.map(|(_, versions, _)| versions.iter().copied().collect());
        if lines.len() < 2 || allowed.as_ref() == Some(&lines) {
            continue;
        }
        let (last, _) = found[found.len() - 1];
        let each: Vec<String> = found
            .iter()
            .map(|(package, by)| {
                format!("{} by {}", package.version, by.map_or("the workspace", |by| &by.name))
            })
            .collect();
        findings.push(Finding::new(
            "Cargo.lock",
            line_in_lock(tree, name, &last.version),
            format!("{name} in {} incompatible versions ({})", lines.len(), each.join("; ")),
            "one",
            "bring the dependents to one version (cargo tree -d), or except it with the reason",
        ));
    }
    for (name, versions, reason) in exceptions {
        let lines = lines_of(name);
        if lines.len() < 2 || !versions.iter().all(|version| lines.contains(version)) {
            let built: Vec<&str> = lines.into_iter().collect();
            findings.push(Finding::new(
                file!(),
                tree.line(file!(), |line| line.contains(&format!("\"{name}\","))),
                format!(
                    "the exception for {name} [{}] ({reason}) is built as [{}]",
                    versions.join(", "),
                    built.join(", "),
                ),
                "exceptions only shrink",
                "remove it, or write what is built",
            ));
        }
    }
    findings
}

/// The part of a version that decides whether two of them fit each other.
fn compatible(version: &str) -> &str {
    let numbers = version.split(['-', '+']).next().unwrap_or(version);
    let mut dots = numbers.match_indices('.').map(|(at, _)| at);
    let (major, minor) = (dots.next(), dots.next());
    match (major, minor) {
        (_, Some(_)) if numbers.starts_with("0.0.") => numbers,
        (_, Some(minor)) if numbers.starts_with("0.") => &numbers[..minor],
        (Some(major), _) => &numbers[..major],
        (None, _) => numbers,
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::sample::graph;
    use super::*;

    fn with_two(first: &str, second: &str, kind: Kind) -> Metadata {
        graph(&[
            ("trunkline-a 0.1.0", "MIT", &[(first, Kind::Normal), (second, kind)]),
            (first, "MIT", &[]),
            (second, "MIT", &[]),
        ])
    }

    fn findings(metadata: &Metadata, exceptions: &[(&str, &[&str], &str)]) -> Vec<Finding> {
        check_with(&Tree::from([]), metadata, exceptions)
    }

    #[test]
    fn two_majors_are_found_and_two_minors_are_not() {
        let built = |first, second| findings(&with_two(first, second, Kind::Build), &[]).len();
        assert_eq!(built("b 1.0.0", "b 2.0.0"), 1);
        assert_eq!(built("b 1.0.0", "b 1.1.0"), 0);
        assert_eq!(built("b 0.1.0", "b 0.2.0"), 1);
        assert_eq!(built("b 0.1.0", "b 0.1.9"), 0);
        assert_eq!(built("b 0.0.1", "b 0.0.2"), 1);
        assert_eq!(built("b 1.0.0", "c 2.0.0"), 0);
    }

    #[test]
    fn what_only_tests_use_does_not_count() {
        assert_eq!(findings(&with_two("b 1.0.0", "b 2.0.0", Kind::Dev), &[]), []);
    }

    #[test]
    fn an_exception_fits_exactly_or_is_found() {
        let doubled = with_two("b 1.0.0", "b 2.0.0", Kind::Normal);
        assert_eq!(findings(&doubled, &[("b", &["1", "2"], "why")]), []);
        assert_eq!(findings(&doubled, &[("b", &["2", "3"], "why")]).len(), 2);
        let single = with_two("b 1.0.0", "c 1.0.0", Kind::Normal);
        let stale = findings(&single, &[("b", &["1", "2"], "why")]);
        assert_eq!(stale.len(), 1);
        assert!(stale[0].what.contains("is built as [1]"), "{}", stale[0].what);
    }

    #[test]
    fn the_deciding_part_of_a_version() {
        for (version, expected) in [
            ("1.2.3", "1"),
            ("0.2.3", "0.2"),
            ("0.0.3", "0.0.3"),
            ("2.0.0-rc.1", "2"),
            ("0.9.1+x.y", "0.9"),
        ] {
            assert_eq!(compatible(version), expected);
        }
    }

    #[test]
    fn deny_toml_says_the_same() {
        let tree = Tree::read(&crate::project::root()).unwrap();
        let deny = tree.text("deny.toml").unwrap();
        let skipped: Vec<&str> =
            deny.split("{ crate = \"").skip(1).filter_map(|rest| rest.split('@').next()).collect();
        let excepted: Vec<&str> = EXCEPTIONS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(skipped, excepted);
    }
}
