//! All rules over the real tree, and their report.

use crate::failure::Failure;
use crate::project;

use super::finding::Finding;
use super::metadata::Metadata;
use super::tree::Tree;
use super::{
    doubles, edges, guarantees, layers, licences, links, module_docs, reference, sizes, words,
};

/// Checks the tree and prints every finding.
///
/// # Errors
/// When there is any finding, or the tree or its metadata cannot be read.
pub(crate) fn report() -> Result<(), Failure> {
    let (tree, metadata) = read()?;
    let findings = check(&tree, &metadata);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!(
                "tidy: {} files and {} packages, no findings",
                tree.len(),
                metadata.packages().count()
            );
            Ok(())
        }
        count => Err(Failure::new(format!("tidy: {count} findings"))),
    }
}

/// Reads what the rules judge.
///
/// # Errors
/// When the files cannot be listed or read, or cargo does not describe the workspace.
fn read() -> Result<(Tree, Metadata), Failure> {
    let tree = Tree::read(&project::root())?;
    let metadata = Metadata::parse(&project::host_metadata()?)?;
    Ok((tree, metadata))
}

/// What every rule finds, in the order of files and lines.
fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(edges::check(tree, metadata));
    findings.extend(layers::check(tree, metadata));
    findings.extend(sizes::check(tree));
    findings.extend(module_docs::check(tree));
    findings.extend(licences::check(tree, metadata));
    findings.extend(doubles::check(tree, metadata));
    findings.extend(words::check(tree));
    findings.extend(links::check(tree));
    findings.extend(reference::check(tree));
    findings.extend(guarantees::check(tree));
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_tree_is_tidy() {
        let (tree, metadata) = read().unwrap();
        assert!(tree.text("Cargo.toml").is_some(), "the tree was not read");
        assert!(metadata.packages().count() > 1, "the packages were not read");
        let findings: Vec<String> =
            check(&tree, &metadata).iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    }
}
