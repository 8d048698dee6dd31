//! Each source file opens by saying what it is for.

use super::finding::Finding;
use super::tree::Tree;

/// Every source file of a crate whose first line is no module documentation.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.texts(".rs")
        .filter(|(file, _)| is_source(file))
        .filter(|(_, text)| !text.lines().next().is_some_and(says_something))
        .map(|(file, _)| {
            Finding::new(
                file,
                1,
                "no module documentation",
                "a source file opens with `//!`",
                "say its job, what it owns and what it refuses",
            )
        })
        .collect()
}

fn is_source(file: &str) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    matches!(parts.as_slice(), ["crates", _, "src", ..])
}

fn says_something(line: &str) -> bool {
    line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_say_its_job_is_found() {
        for text in ["", "use a::b;\n", "// A comment.\n", "//!\n", "\n//! Late.\n"] {
            let findings = check(&Tree::from([("crates/a/src/deep/b.rs", text)]));
            assert_eq!(findings.len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_does_and_a_file_elsewhere_pass() {
        let files = [("crates/a/src/b.rs", "//! Its job.\n"), ("crates/a/tests/c.rs", "mod d;\n")];
        assert_eq!(check(&Tree::from(files)), []);
    }
}
