//! Every relative link in the documentation leads to a file of the project.
//!
//! Owns just enough of Markdown to see links and definitions outside code; links to other sites
//! are not followed.

use super::finding::Finding;
use super::tree::Tree;

/// Every link to a file that is not there.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts(".md") {
        for (line, target) in links(text) {
            let leads_nowhere = match resolve(file, &target) {
                Target::Elsewhere => false,
                Target::Here(path) => !tree.holds(&path),
                Target::Outside => true,
            };
            if leads_nowhere {
                findings.push(Finding::new(
                    file,
                    line,
                    format!("link to {target}"),
                    "a file or folder of the project",
                    "correct or remove the link",
                ));
            }
        }
    }
    findings
}

/// Where a link leads.
enum Target {
    /// To another site, or within its own file.
    Elsewhere,
    /// To this path from the root.
    Here(String),
    /// To a file outside the project, which other readers do not have.
    Outside,
}

fn resolve(file: &str, target: &str) -> Target {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let has_scheme = path.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if path.is_empty() || has_scheme || path.starts_with("//") {
        return Target::Elsewhere;
    }
    let path = path.replace("%20", " ");
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Target::Outside;
                }
            }
            part => parts.push(part),
        }
    }
    Target::Here(parts.join("/"))
}

/// The targets of links and of link definitions, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => {
                links.extend(targets(&without_code(line)).map(|target| (index + 1, target)));
            }
            (Some(_), _) => {}
        }
    }
    links
}

/// The line with what stands between backticks left out.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(open) = rest.find('`') {
        let ticks = rest[open..].chars().take_while(|&c| c == '`').count();
        let after = &rest[open + ticks..];
        kept.push_str(&rest[..open]);
        match after.find(&"`".repeat(ticks)) {
            Some(close) => rest = &after[close + ticks..],
            None => rest = after,
        }
    }
    kept + rest
}

/// The targets in one line: `[text](target)`, `[text](<target> "title")` and `[name]: target`.
fn targets(line: &str) -> impl Iterator<Item = String> {
    let inline = line.match_indices("](").filter_map(|(at, opening)| {
        let inside = &line[at + opening.len()..];
        match inside.strip_prefix('<') {
            Some(bracketed) => bracketed.split('>').next(),
            None => inside.split([')', ' ']).next(),
        }
    });
    let start = line.trim_start();
    let defined = start
        .split_once("]: ")
        .filter(|(name, _)| name.starts_with('[') && !name.contains(']'))
        .and_then(|(_, target)| target.split_whitespace().next())
        .map(|target| target.trim_matches(['<', '>']));
    let found: Vec<String> = inline.chain(defined).map(str::to_owned).collect();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        let files = [("docs/a.md", text), ("docs/sub/b.md", ""), ("README.md", ""), ("c d.md", "")];
        check(&Tree::from(files)).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_link_to_a_missing_file_is_found_on_its_line() {
        for text in [
            "one\nsee [b](b.md)",
            "one\n![b](sub/c.png)",
            "one\n[b]: gone.md",
            "one\n[b](<c e.md> \"title\")",
            "one\n[b](../../README.md)",
            "one\n[ok](../README.md) and [b](../READ.md)",
            "one\n`code` [b](b.md)",
        ] {
            assert_eq!(found(text), [2], "{text}");
        }
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for text in [
            "[b](sub/b.md) [c](../README.md#part) [d](/README.md) [e](sub/) [f](./sub)",
            "[b](https://example.com/x.md) [c](mailto:a@example.com) [d](#part)",
            "[b](../c%20d.md) [c](<../c d.md>)",
            "[b]: sub/b.md \"title\"",
        ] {
            assert_eq!(found(text), [0; 0], "{text}");
        }
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(found("```text\n[b](b.md)\n```\n`[b](b.md)` ``a ` [b](b.md)``"), [0; 0]);
        assert_eq!(found("```text\n```\n[b](b.md)"), [3]);
    }
}
