//! Every dependency comes under a licence that ours is compatible with.
//!
//! Judges the packages of the host's graph, tests included; `deny.toml` says the same for other
//! platforms. Reading the expressions is in `spdx`.

use super::finding::Finding;
use super::metadata::Metadata;
use super::spdx;
use super::tree::Tree;

/// Licences that may be used together with Apache-2.0 without asking anybody. Those and no more
/// that something here needs: another one is a decision.
const ALLOWED: &[&str] = &["Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Zlib"];

/// Every package without an acceptable licence.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.packages() {
        let wrong = match package.licence.as_deref() {
            None => "no licence in its manifest".to_owned(),
            Some(text) => match spdx::satisfied(text, |id| ALLOWED.contains(&id)) {
                Ok(true) => continue,
                Ok(false) => format!("licence {text}"),
                Err(error) => format!("licence {text:?} cannot be read: {error}"),
            },
        };
        findings.push(Finding::new(
            "Cargo.lock",
            line_in_lock(tree, &package.name, &package.version),
            format!("{} {}: {wrong}", package.name, package.version),
            format!("[{}]", ALLOWED.join(", ")),
            "choose another crate, or decide on the licence",
        ));
    }
    findings
}

/// Where the lock file names this version of the package.
pub(super) fn line_in_lock(tree: &Tree, name: &str, version: &str) -> usize {
    let wanted = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
    let text = tree.text("Cargo.lock").unwrap_or_default();
    // The name stands one line below the heading that was found.
    text.find(&wanted).map_or(1, |at| text[..at].lines().count() + 2)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::sample::graph;
    use super::*;

    #[test]
    fn a_package_under_another_licence_is_found_in_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        let metadata = graph(&[("a 1.0.0", "MIT", &[]), ("b 2.0.0", "AGPL-3.0-only", &[])]);
        let findings = check(&Tree::from([("Cargo.lock", lock)]), &metadata);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(
            (findings[0].line, findings[0].what.as_str()),
            (8, "b 2.0.0: licence AGPL-3.0-only")
        );
    }

    #[test]
    fn a_licence_that_cannot_be_read_is_found() {
        let findings = check(&Tree::from([]), &graph(&[("a 1.0.0", "see file", &[])]));
        assert!(findings[0].what.contains("cannot be read"), "{}", findings[0].what);
    }

    #[test]
    fn deny_toml_says_the_same() {
        let tree = Tree::read(&crate::project::root()).unwrap();
        let deny = tree.text("deny.toml").unwrap();
        let list = deny.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
        let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, ALLOWED);
    }
}
