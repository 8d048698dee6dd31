//! The files of the project: those that git tracks or would track, with their text.
//!
//! Owns what counts as a file and as text; build output and whatever git ignores are not seen.
//! Where git does not answer (an unpacked archive), the folder itself is walked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::project;

/// Folders that hold nothing of ours where git is not there to say so.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];

/// The files of the project by their path from the root, parts joined by `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The text of every file that is UTF-8 without a zero byte.
    texts: BTreeMap<String, String>,
    /// Every file, and every folder with a file in it.
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the files under `root`.
    ///
    /// # Errors
    /// When they cannot be listed or one of them cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let names = match git_files() {
            // An archive unpacked inside another checkout gets an answer, but not about itself.
            Some(names) if names.iter().any(|name| name == "Cargo.toml") => names,
            _ => {
                let mut names = Vec::new();
                walk(root, "", &mut names)?;
                names
            }
        };
        let mut tree = Self::default();
        for name in names {
            let path = root.join(&name);
            // A file deleted but not yet committed is still listed; a link is its target's matter.
            if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                continue;
            }
            let bytes = fs::read(&path)
                .map_err(|error| Failure::new(format!("{name} could not be read: {error}")))?;
            tree.add(&name, bytes);
        }
        Ok(tree)
    }

    /// How many text files there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text of the file at `path`, if there is such a text file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Every text file whose name ends in `suffix`, with its text.
    pub(crate) fn texts(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether a file or a folder is at `path`.
    pub(crate) fn holds(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// The first line of the file at `path` that `is_it` accepts, counted from 1; else 1.
    pub(crate) fn line(&self, path: &str, is_it: impl Fn(&str) -> bool) -> usize {
        let found = self.text(path).and_then(|text| text.lines().position(is_it));
        found.map_or(1, |index| index + 1)
    }

    fn add(&mut self, path: &str, bytes: Vec<u8>) {
        let mut upto = path;
        while self.paths.insert(upto.to_owned()) {
            let Some((folder, _)) = upto.rsplit_once('/') else { break };
            upto = folder;
        }
        if bytes.contains(&0) {
            return;
        }
        if let Ok(text) = String::from_utf8(bytes) {
            self.texts.insert(path.to_owned(), text);
        }
    }
}

fn git_files() -> Option<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let listed = project::output_of(&mut git, "git ls-files").ok()?;
    Some(listed.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, below: &str, names: &mut Vec<String>) -> Result<(), Failure> {
    let unreadable = |error| Failure::new(format!("folder {below:?} could not be listed: {error}"));
    for entry in fs::read_dir(root.join(below)).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_file() {
            names.push(path);
        } else if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            walk(root, &path, names)?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add(path, text.as_bytes().to_vec());
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_count_as_held_and_binary_files_have_no_text() {
        let mut tree = Tree::from([("docs/deep/a.md", "text")]);
        tree.add("docs/picture.png", vec![0x89, 0, 1]);
        assert!(tree.holds("docs") && tree.holds("docs/deep") && tree.holds("docs/picture.png"));
        assert!(!tree.holds("doc"));
        assert_eq!(tree.text("docs/picture.png"), None);
        assert_eq!(tree.len(), 1);
    }

    #[test]
    fn a_walk_sees_files_and_skips_build_output() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        fs::create_dir_all(root.join("a/target")).unwrap();
        fs::write(root.join("a/x.rs"), "//! x").unwrap();
        fs::write(root.join("a/target/y.rs"), "//! y").unwrap();
        let mut names = Vec::new();
        let walked = walk(&root, "", &mut names);
        fs::remove_dir_all(&root).unwrap();
        walked.unwrap();
        assert_eq!(names, ["a/x.rs"]);
    }

    #[test]
    fn lines_are_counted_from_one() {
        let tree = Tree::from([("a", "one\ntwo\n")]);
        assert_eq!(tree.line("a", |line| line == "two"), 2);
        assert_eq!(tree.line("a", |line| line == "three"), 1);
    }
}
