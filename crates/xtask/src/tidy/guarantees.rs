//! Every cell of the guarantees names the test that proves it, and that test exists.
//!
//! Owns the shape of the page's tables: those whose first column is headed `Operation`. Each
//! further cell links a test as in the reference, or names a promise and a fault under which the
//! torture judges it, or says honestly that there is none; `–` stands where there is nothing to
//! promise. Which pairs the torture judges is read from its page, which a test of its own keeps true.

use super::finding::Finding;
use super::reference::{cells, is_there, tests};
use super::tree::Tree;

/// The page whose tables are judged.
const PAGE: &str = "docs/guarantees.md";
/// The page that says which promise the torture judges under which fault.
const TORTURE: &str = "docs/torture.md";
/// What a cell says, instead of linking a test.
const NO_TEST: &str = "no test";
/// A cell with nothing to promise.
const NOTHING: &str = "–";

/// Every cell without a test, and every test that is not there.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else { return Vec::new() };
    let pairs = tree.text(TORTURE).map(pairs).unwrap_or_default();
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
            for named in tortures(cell) {
                if !pairs.iter().any(|pair| pair == named) {
                    let what = format!("the torture does not judge '{named}'");
                    let remedy = "name a promise and a fault as its page does: promise × fault";
                    findings.push(finding(index, what, remedy));
                }
            }
            let instead = tortures(cell).next().is_some() || cell.contains(NO_TEST);
            if !instead && *cell != NOTHING && tests(cell).next().is_none() {
                let what = format!("{}: '{cell}' names no test", cells[0]);
                findings.push(finding(index, what, "link its test, or say that there is no test"));
            }
        }
    }
    findings
}

/// What links to the torture's page say that it judges: `promise × fault`.
fn tortures(cell: &str) -> impl Iterator<Item = &str> {
    cell.match_indices("](torture.md").map(|(end, _)| {
        let said = cell[..end].rsplit('[').next().unwrap_or_default();
        said.strip_prefix("torture: ").unwrap_or(said)
    })
}

/// Every `promise × fault` that the torture judges, by the tables of its page.
fn pairs(page: &str) -> Vec<String> {
    let rows = |header: [&'static str; 2]| {
        let lines =
            page.lines().skip_while(move |line| cells(line).is_none_or(|cells| cells != header));
        lines.skip(2).map_while(cells).filter(|cells| cells.len() == 2)
    };
    let faults: Vec<&str> =
        rows(["fault", "what is done"]).map(|cells| cells[0].trim_matches('`')).collect();
    let mut pairs = Vec::new();
    for row in rows(["promise", "judged under"]) {
        let but = row[1].strip_prefix("all but ");
        let named: Vec<&str> = but.unwrap_or(row[1]).split(", ").collect();
        for fault in &faults {
            if named.iter().any(|name| name.trim_matches('`') == *fault) != but.is_some() {
                pairs.push(format!("{} × {fault}", row[0]));
            }
        }
    }
    pairs
}

fn finding(index: usize, what: String, remedy: &str) -> Finding {
    Finding::new(PAGE, index + 1, what, "a test for each cell", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> usize {
        let page = format!("| Operation | synced |\n|---|---|\n{row}\n\n| Word | b |\n| a | c |\n");
        let torture = "| fault | what is done |\n|---|---|\n| `kill` | a |\n| `cut` | b |\n\n\
                       | promise | judged under |\n|---|---|\n| it ends | all but `kill` |\n\
                       | it is told | `kill`, `cut` |\n\nmore\n";
        let tree = Tree::from([
            (PAGE, page.as_str()),
            (TORTURE, torture),
            ("crates/x/tests/a.rs", "fn it_stays() {}\n"),
        ]);
        check(&tree).len()
    }

    #[test]
    fn a_cell_needs_a_test_that_is_there_or_says_that_there_is_none() {
        assert_eq!(found("| accept | kept [`it_stays`](../crates/x/tests/a.rs) |"), 0);
        assert_eq!(found("| accept | kept (no test) |"), 0);
        assert_eq!(found("| accept | – |"), 0);
        assert_eq!(found("| accept | kept |"), 1);
        assert_eq!(found("| accept | |"), 1);
        assert_eq!(found("| accept | kept [`it`](../crates/x/tests/a.rs) |"), 1);
        assert_eq!(found("| accept | kept [`it_stays`](../crates/x/tests/b.rs) |"), 1);
    }

    #[test]
    fn a_link_to_the_torture_names_what_it_judges() {
        let cell = |said| found(&format!("| accept | kept [{said}](torture.md#the-promises) |"));
        assert_eq!(cell("torture: it ends × cut"), 0);
        assert_eq!(cell("torture: it is told × kill"), 0);
        assert_eq!(cell("torture: it ends × kill"), 1);
        assert_eq!(cell("torture: it stays × cut"), 1);
        assert_eq!(cell("torture"), 1);
        let two = "torture: it ends × cut](torture.md) [torture: it ends × kill";
        assert_eq!(cell(two), 1);
    }

    #[test]
    fn a_link_outside_of_the_tables_is_checked_too() {
        assert_eq!(found("\nSee [`it_is_gone`](../crates/x/tests/a.rs)."), 1);
    }
}
