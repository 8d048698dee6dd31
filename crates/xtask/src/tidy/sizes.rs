//! No file grows past what can be read in one sitting.
//!
//! Owns the limit and the list of files above it; how a file is divided is its author's matter.

use super::finding::Finding;
use super::tree::Tree;

/// The most lines a source file may have, its tests not counted.
const LIMIT: usize = 800;

/// Files above the limit: (path, lines, reason). The number is the most that the file may have, so
/// that it may only shrink; an exception that is no longer needed must go.
const EXCEPTIONS: &[(&str, usize, &str)] = &[];

/// Every file over its limit, and every exception that allows more than is there.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    check_with(tree, EXCEPTIONS)
}

fn check_with(tree: &Tree, exceptions: &[(&str, usize, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts(".rs") {
        let exception = exceptions.iter().find(|(path, ..)| *path == file);
        let limit = exception.map_or(LIMIT, |(_, lines, _)| *lines);
        let lines = lines_without_tests(text);
        if lines > limit {
            findings.push(Finding::new(
                file,
                limit + 1,
                format!("{lines} lines without tests"),
                limit.to_string(),
                "divide it by concept",
            ));
        }
    }
    for (path, allowed, reason) in exceptions {
        let lines = tree.text(path).map_or(0, lines_without_tests);
        if lines <= LIMIT || lines < *allowed {
            findings.push(Finding::new(
                file!(),
                tree.line(file!(), |line| line.contains(path)),
                format!(
                    "the exception for {path} ({reason}) allows {allowed} lines, it has {lines}"
                ),
                "exceptions only shrink",
                if lines <= LIMIT { "remove it".to_owned() } else { format!("write {lines}") },
            ));
        }
    }
    findings
}

/// The lines before the module of tests that ends the file, if one does.
///
/// That nothing but tests follows where such a module begins is clippy's matter
/// (`items_after_test_module`).
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |at: usize| {
        let mut below = lines[at + 1..].iter().skip_while(|line| line.starts_with("#["));
        lines[at] == "#[cfg(test)]"
            && below.next().is_some_and(|line| line.starts_with("mod tests {"))
    };
    (0..lines.len()).find(|&at| opens(at)).unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: &str = "#[cfg(test)]\n#[allow(a)]\nmod tests {\n    fn a() {}\n}\n";

    #[test]
    fn a_file_over_the_limit_is_found() {
        let long = "fn a() {}\n".repeat(LIMIT + 1);
        let findings = check(&Tree::from([("crates/a/src/b.rs", long.as_str())]));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "801 lines without tests");
        assert_eq!(findings[0].line, 801);
    }

    #[test]
    fn the_tests_at_the_end_do_not_count() {
        let long = "fn a() {}\n".repeat(LIMIT) + TESTS;
        assert_eq!(check(&Tree::from([("crates/a/src/b.rs", long.as_str())])), []);
    }

    #[test]
    fn code_marked_for_tests_but_no_module_counts() {
        let marked = "#[cfg(test)]\nfn a() {}\n".repeat(LIMIT / 2) + "fn b() {}\n";
        assert_eq!(check(&Tree::from([("crates/a/src/b.rs", marked.as_str())])).len(), 1);
    }

    #[test]
    fn an_exception_holds_only_as_long_as_it_is_needed() {
        let check = |lines: usize| {
            let text = "fn a() {}\n".repeat(lines);
            check_with(&Tree::from([("a.rs", text.as_str())]), &[("a.rs", 900, "for now")])
        };
        assert_eq!(check(900), []);
        assert_eq!(check(901).len(), 1);
        assert_eq!(check(899)[0].remedy, "write 899");
        assert_eq!(check(800)[0].remedy, "remove it");
    }
}
