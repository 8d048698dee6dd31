//! Every cell of the guarantees names the test that proves it, and that test exists.
//!
//! Owns the shape of the page's tables: those whose first column is headed `Operation`. Each
//! further cell links a test as in the reference, or leads to the torture, or says honestly that
//! there is none; `–` stands where there is nothing to promise.

use super::finding::Finding;
use super::reference::{cells, is_there, tests};
use super::tree::Tree;

/// The page whose tables are judged.
const PAGE: &str = "docs/guarantees.md";
/// What a cell says, instead of linking a test.
const INSTEAD: [&str; 2] = ["(torture.md", "no test"];
/// A cell with nothing to promise.
const NOTHING: &str = "–";

/// Every cell without a test, and every test that is not there.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut judged = false;
    for (index, line) in page.lines().enumerate() {
        for (name, path) in tests(line) {
            if !is_there(tree, name, path) {
                let what = format!("the test {name} is not in {path}");
                findings.push(finding(index, what, "name a test that proves the cell"));
            }
        }
        let Some(cells) = cells(line) else {
            judged = false;
            continue;
        };
        if cells[0] == "Operation" {
            judged = true;
            continue;
        }
        if !judged || cells[0].starts_with("---") {
            continue;
        }
        for cell in &cells[1..] {
            let instead = INSTEAD.iter().any(|words| cell.contains(words)) || *cell == NOTHING;
            if !instead && tests(cell).next().is_none() {
                let what = format!("{}: '{cell}' names no test", cells[0]);
                findings.push(finding(index, what, "link its test, or say that there is no test"));
            }
        }
    }
    findings
}

fn finding(index: usize, what: String, remedy: &str) -> Finding {
    Finding::new(PAGE, index + 1, what, "a test for each cell", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> usize {
        let page = format!("| Operation | synced |\n|---|---|\n{row}\n\n| Word | b |\n| a | c |\n");
        let tree =
            Tree::from([(PAGE, page.as_str()), ("crates/x/tests/a.rs", "fn it_stays() {}\n")]);
        check(&tree).len()
    }

    #[test]
    fn a_cell_needs_a_test_that_is_there_or_says_that_there_is_none() {
        assert_eq!(found("| accept | kept [`it_stays`](../crates/x/tests/a.rs) |"), 0);
        assert_eq!(found("| accept | kept [torture](torture.md#the-promises) |"), 0);
        assert_eq!(found("| accept | kept (no test) |"), 0);
        assert_eq!(found("| accept | – |"), 0);
        assert_eq!(found("| accept | kept |"), 1);
        assert_eq!(found("| accept | |"), 1);
        assert_eq!(found("| accept | kept [`it`](../crates/x/tests/a.rs) |"), 1);
        assert_eq!(found("| accept | kept [`it_stays`](../crates/x/tests/b.rs) |"), 1);
    }

    #[test]
    fn a_link_outside_of_the_tables_is_checked_too() {
        assert_eq!(found("\nSee [`it_is_gone`](../crates/x/tests/a.rs)."), 1);
    }
}
