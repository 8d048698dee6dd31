//! Every option in the reference names the test that observes its effect, and that test exists.
//!
//! Owns the shape of the reference's tables: the last column is headed `Test` and holds links of
//! the form ``[`name_of_the_test`](../path/of/file.rs)``.

use super::finding::Finding;
use super::tree::Tree;

/// The page whose tables are judged.
const PAGE: &str = "docs/reference.md";

/// Every option without a test, and every test that is not there.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut judged = false;
    for (index, line) in page.lines().enumerate() {
        let Some(cells) = cells(line) else {
            judged = false;
            continue;
        };
        let (first, last) = (cells[0], cells[cells.len() - 1]);
        if last == "Test" {
            judged = true;
            continue;
        }
        if !judged || last.contains("---") {
            continue;
        }
        let tests: Vec<_> = tests(last).collect();
        if tests.is_empty() {
            findings.push(finding(index, format!("{first} names no test"), "link its test"));
        }
        for (name, path) in tests {
            if !is_there(tree, name, path) {
                let what = format!("{first} names the test {name}, which is not in {path}");
                findings.push(finding(index, what, "name a test that observes the option"));
            }
        }
    }
    findings
}

/// Whether a test stands in the file that a page of `docs` links.
pub(super) fn is_there(tree: &Tree, name: &str, path: &str) -> bool {
    path.strip_prefix("../")
        .and_then(|path| tree.text(path))
        .is_some_and(|text| text.contains(&format!("fn {name}(")))
}

fn finding(index: usize, what: String, remedy: &str) -> Finding {
    Finding::new(PAGE, index + 1, what, "one test or more for each option", remedy)
}

/// The cells of a table's row; a bar within code is escaped and splits nothing.
pub(super) fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = Vec::new();
    let mut start = 0;
    for (at, _) in inside.match_indices('|') {
        if !inside[..at].ends_with('\\') {
            cells.push(inside[start..at].trim());
            start = at + 1;
        }
    }
    cells.push(inside[start..].trim());
    Some(cells)
}

/// The tests that a cell links: their names and files.
pub(super) fn tests(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    cell.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (path, _) = rest.split_once(')')?;
        Some((name, path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> usize {
        let page =
            format!("| Option | Test |\n|---|---|\n{row}\n\n| Word | Meaning |\n| a | b |\n");
        let tree = Tree::from([
            (PAGE, page.as_str()),
            ("crates/x/tests/a.rs", "fn it_acts() {}\nfn it_acts_too() {}"),
        ]);
        check(&tree).len()
    }

    #[test]
    fn a_row_needs_tests_that_are_there() {
        assert_eq!(found("| ttl | [`it_acts`](../crates/x/tests/a.rs) |"), 0);
        assert_eq!(
            found(
                "| ttl | [`it_acts`](../crates/x/tests/a.rs) [`it_acts_too`](../crates/x/tests/a.rs) |"
            ),
            0
        );
        assert_eq!(found("| `a \\| b` | [`it_acts`](../crates/x/tests/a.rs) |"), 0);
        assert_eq!(found("| ttl | |"), 1);
        assert_eq!(found("| ttl | by hand |"), 1);
        assert_eq!(found("| ttl | [`it`](../crates/x/tests/a.rs) |"), 1);
        assert_eq!(found("| ttl | [`it_acts`](../crates/x/tests/b.rs) |"), 1);
    }
}
