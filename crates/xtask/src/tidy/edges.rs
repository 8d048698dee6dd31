//! Which crate may depend on which: the architecture as a table.
//!
//! Owns the edges between crates of the workspace; what they use from outside is in `layers`.

use super::finding::Finding;
use super::metadata::{Kind, Metadata, Package};
use super::tree::Tree;

/// One row for every crate. An edge that is not here is a decision about the architecture: make it
/// there first.
const TABLE: &[Row] = &[
    Row { name: "types", may_use: &[], tests_may_add: &[], must_not_know: "everything else" },
    Row {
        name: "engine",
        may_use: &["types"],
        tests_may_add: &[],
        must_not_know: "clocks, tokio, disk, sockets, JSON, protobuf",
    },
    Row { name: "log", may_use: &[], tests_may_add: &[], must_not_know: "what a record means" },
    Row {
        name: "content",
        may_use: &["types"],
        tests_may_add: &[],
        must_not_know: "who sends a payload, and who reads it",
    },
    Row {
        name: "rules",
        may_use: &["types", "engine", "content"],
        tests_may_add: &[],
        must_not_know: "clocks, tokio, disk, sockets",
    },
    Row {
        name: "broker",
        may_use: &["types", "engine", "log", "rules"],
        tests_may_add: &[],
        must_not_know: "HTTP, gRPC, A2A",
    },
    Row {
        name: "agent",
        may_use: &["types", "content"],
        tests_may_add: &["broker", "client", "server"],
        must_not_know: "the engine's inside, nor which connection it has",
    },
    Row { name: "proto", may_use: &["types"], tests_may_add: &[], must_not_know: "behaviour" },
    Row {
        name: "client",
        may_use: &["types", "proto"],
        tests_may_add: &["server", "broker", "agent"],
        must_not_know: "the server's inside",
    },
    Row {
        name: "a2a",
        may_use: &["types", "content"],
        tests_may_add: &[],
        must_not_know: "the engine, sockets, and how its requests reach the broker",
    },
    Row {
        name: "server",
        may_use: &["types", "proto", "broker", "a2a", "agent"],
        tests_may_add: &["client"],
        must_not_know: "the log",
    },
    Row {
        name: "bench",
        may_use: &["types", "content", "agent", "broker", "client"],
        tests_may_add: &["server"],
        must_not_know: "anything but the public interface",
    },
    Row {
        name: "sim",
        may_use: &["types", "engine", "log", "rules"],
        tests_may_add: &[],
        must_not_know: "tokio, and whatever runs on it",
    },
    Row {
        name: "cli",
        may_use: &["types", "content", "broker", "agent", "server", "client", "bench", "log"],
        tests_may_add: &[],
        must_not_know: "the engine's inside",
    },
    Row {
        name: "xtask",
        may_use: &[],
        tests_may_add: &[],
        must_not_know: "any crate that it builds and judges",
    },
];

/// What one crate may depend on within the workspace; names without the common prefix.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Edges for its code and its build script.
    may_use: &'static [&'static str],
    /// Edges that its tests may have besides.
    tests_may_add: &'static [&'static str],
    /// What this keeps it from knowing.
    must_not_know: &'static str,
}

/// Every edge that has no place in the table, and every crate or row without its counterpart.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        match TABLE.iter().find(|row| row.name == short(&package.name)) {
            Some(row) => check_crate(tree, metadata, package, row, &mut findings),
            None => findings.push(Finding::new(
                manifest(short(&package.name)),
                1,
                format!("crate {} has no row in the table of edges", package.name),
                "every crate has one",
                "add a row with what it must not know",
            )),
        }
    }
    for row in TABLE {
        if !metadata.members().any(|package| short(&package.name) == row.name) {
            findings.push(Finding::new(
                file!(),
                tree.line(file!(), |line| line.contains(&format!("name: \"{}\"", row.name))),
                format!("the row {} names no crate of the workspace", row.name),
                "every row has its crate",
                "remove the row",
            ));
        }
    }
    findings
}

fn check_crate(
    tree: &Tree,
    metadata: &Metadata,
    package: &Package,
    row: &Row,
    findings: &mut Vec<Finding>,
) {
    for (name, kind) in &package.declared {
        if !metadata.is_member(name) {
            continue;
        }
        let to = short(name);
        let in_tests = *kind == Kind::Dev && row.tests_may_add.contains(&to);
        if row.may_use.contains(&to) || in_tests {
            continue;
        }
        let (verb, allowed) = match kind {
            Kind::Dev => ("tests with", [row.may_use, row.tests_may_add].concat()),
            Kind::Normal | Kind::Build => ("depends on", row.may_use.to_vec()),
        };
        let file = manifest(row.name);
        let line = tree.line(&file, |line| line.starts_with(name.as_str()));
        findings.push(Finding::new(
            file,
            line,
            format!("{} {verb} {to}", row.name),
            format!("only [{}]: it must not know {}", allowed.join(", "), row.must_not_know),
            "move what is needed to a crate that both may use",
        ));
    }
}

/// The name of a crate within the workspace, which is also its folder's.
pub(super) fn short(package: &str) -> &str {
    package.strip_prefix("trunkline-").unwrap_or(package)
}

/// The manifest of the crate with this short name.
pub(super) fn manifest(short: &str) -> String {
    format!("crates/{short}/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::super::metadata::sample::graph;
    use super::*;

    /// The findings about one crate of a graph, without those about rows whose crates the graph
    /// leaves out.
    fn findings_on(name: &str, metadata: &Metadata) -> Vec<Finding> {
        let text = "[dependencies]\ntrunkline-log.workspace = true\n";
        let path = manifest(name);
        let tree = Tree::from([(path.as_str(), text)]);
        check(&tree, metadata).into_iter().filter(|finding| finding.file == path).collect()
    }

    #[test]
    fn an_edge_outside_the_table_is_found_on_its_line() {
        let metadata = graph(&[
            ("trunkline-engine 0.1.0", "MIT", &[("trunkline-log 0.1.0", Kind::Normal)]),
            ("trunkline-log 0.1.0", "MIT", &[]),
        ]);
        let findings = findings_on("engine", &metadata);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].line, 2);
        assert_eq!(findings[0].what, "engine depends on log");
        assert!(findings[0].limit.starts_with("only [types]"), "{}", findings[0].limit);
    }

    #[test]
    fn an_edge_for_tests_is_no_edge_for_code() {
        let packages = |kind| {
            graph(&[
                ("trunkline-agent 0.1.0", "MIT", &[("trunkline-broker 0.1.0", kind)]),
                ("trunkline-broker 0.1.0", "MIT", &[]),
            ])
        };
        assert_eq!(findings_on("agent", &packages(Kind::Dev)), []);
        assert_eq!(findings_on("agent", &packages(Kind::Normal)).len(), 1);
        assert_eq!(findings_on("agent", &packages(Kind::Build)).len(), 1);
    }

    #[test]
    fn an_edge_for_tests_outside_the_table_is_found() {
        let metadata = graph(&[
            ("trunkline-log 0.1.0", "MIT", &[("trunkline-types 0.1.0", Kind::Dev)]),
            ("trunkline-types 0.1.0", "MIT", &[]),
        ]);
        assert_eq!(findings_on("log", &metadata)[0].what, "log tests with types");
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let metadata = graph(&[("trunkline-novel 0.1.0", "MIT", &[])]);
        assert_eq!(findings_on("novel", &metadata).len(), 1);
        let rows = check(&Tree::from([]), &metadata);
        assert_eq!(rows.iter().filter(|finding| finding.file == file!()).count(), TABLE.len());
    }

    #[test]
    fn no_row_allows_a_name_that_is_not_a_row() {
        for row in TABLE {
            for name in row.may_use.iter().chain(row.tests_may_add) {
                assert!(TABLE.iter().any(|other| other.name == *name), "{} → {name}", row.name);
            }
        }
    }
}
