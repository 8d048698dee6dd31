//! No text names a folder of somebody's machine or leaves work marked as undone.
//!
//! Owns the list of words, each written in two halves so that this file passes its own rule.

use super::finding::Finding;
use super::tree::Tree;

/// Words that no file may hold, with why.
const WORDS: &[(&str, &str)] = &[
    (concat!("/ho", "me/"), "a folder of one machine"),
    (concat!("/ro", "ot/"), "a folder of one machine"),
    (concat!("/wo", "rk/"), "a folder of one machine"),
    (concat!("to", "do!("), "unfinished code"),
    (concat!("unimple", "mented!("), "unfinished code"),
    (concat!("FIX", "ME"), "unfinished work"),
    (concat!("X", "XX"), "unfinished work"),
    (concat!("HA", "CK"), "unfinished work"),
];

/// Files that need such a word: (path, word, reason). An exception that is not needed must go.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Every such word, and every exception that nothing needs.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    check_with(tree, EXCEPTIONS)
}

fn check_with(tree: &Tree, exceptions: &[(&str, &str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = vec![false; exceptions.len()];
    for (file, text) in tree.texts("") {
        for (index, line) in text.lines().enumerate() {
            for (word, why) in WORDS.iter().filter(|(word, _)| stands_in(line, word)) {
                let excepted =
                    exceptions.iter().position(|(path, except, _)| path == &file && except == word);
                if let Some(at) = excepted {
                    needed[at] = true;
                    continue;
                }
                findings.push(Finding::new(
                    file,
                    index + 1,
                    format!("{word:?} is {why}"),
                    "none",
                    "say it without, or finish the work",
                ));
            }
        }
    }
    for ((path, word, reason), _) in exceptions.iter().zip(needed).filter(|(_, needed)| !needed) {
        findings.push(Finding::new(
            file!(),
            tree.line(file!(), |line| line.contains(path)),
            format!("the exception for {word:?} in {path} ({reason}) is not needed"),
            "exceptions only shrink",
            "remove it",
        ));
    }
    findings
}

/// Whether `word` stands in `line` by itself: not as a part of a longer name or path.
fn stands_in(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    let is_path = word.starts_with('/');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let goes_before =
            |c: char| joins(c) || (is_path && matches!(c, '.' | '-' | '~' | '}' | ')'));
        let goes_after = |c: char| joins(c) && word.ends_with(joins);
        !before.is_some_and(goes_before) && !after.is_some_and(goes_after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_in_any_text_file() {
        for (word, _) in WORDS {
            let text = format!("fine\nsee {word} here\n");
            for file in ["docs/a.md", "crates/a/src/b.rs", ".ci/run"] {
                let findings = check(&Tree::from([(file, text.as_str())]));
                assert_eq!(findings.len(), 1, "{word} in {file}");
                assert_eq!((findings[0].file.as_str(), findings[0].line), (file, 2));
            }
        }
    }

    #[test]
    fn a_part_of_a_longer_name_is_another_word() {
        for (word, _) in WORDS {
            assert!(!stands_in(&format!("a{word}"), word), "{word}");
        }
        let marks = WORDS[6].0;
        assert!(!stands_in(&format!("mktemp a.{marks}{marks}"), marks));
        assert!(!stands_in(&format!("https://host{}", WORDS[0].0), WORDS[0].0));
        assert!(stands_in(&format!("file://{}", WORDS[0].0), WORDS[0].0));
        assert!(stands_in(&format!("\"{}user\"", WORDS[0].0), WORDS[0].0));
    }

    #[test]
    fn an_exception_holds_for_its_file_and_only_while_needed() {
        let word = WORDS[5].0;
        let exceptions = [("a.rs", word, "it looks for the word")];
        let text = format!("find({word})");
        let check = |files: [(&str, &str); 2]| check_with(&Tree::from(files), &exceptions).len();
        assert_eq!(check([("a.rs", &text), ("b.rs", "")]), 0);
        assert_eq!(check([("a.rs", &text), ("b.rs", &text)]), 1);
        assert_eq!(check([("a.rs", ""), ("b.rs", "")]), 1);
    }
}
