//! Reads licence expressions as manifests write them: `A OR B`, `A AND B`, `A/B`, parentheses and
//! `WITH`.
//!
//! Owns the grammar; which licences are acceptable is the caller's matter.

/// Whether an expression can be satisfied with licences that `allows` accepts alone.
///
/// An exception added by `WITH` only gives further permission, so the licence before it decides.
///
/// # Errors
/// When the text is no licence expression: says what was expected where.
pub(crate) fn satisfied(text: &str, allows: impl Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut reader = Reader { words: spaced.split_whitespace().collect(), at: 0, allows: &allows };
    let satisfied = reader.any_of()?;
    match reader.peek() {
        None => Ok(satisfied),
        Some(word) => Err(format!("expected OR, AND or the end before {word:?}")),
    }
}

struct Reader<'text, 'rule> {
    words: Vec<&'text str>,
    at: usize,
    allows: &'rule dyn Fn(&str) -> bool,
}

impl<'text> Reader<'text, '_> {
    fn peek(&self) -> Option<&'text str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        self.at += usize::from(is_next);
        is_next
    }

    // Both sides are always read, or what stands behind them would be taken for something else.
    fn any_of(&mut self) -> Result<bool, String> {
        let mut satisfied = self.all_of()?;
        while self.take("OR") {
            satisfied |= self.all_of()?;
        }
        Ok(satisfied)
    }

    fn all_of(&mut self) -> Result<bool, String> {
        let mut satisfied = self.one()?;
        while self.take("AND") {
            satisfied &= self.one()?;
        }
        Ok(satisfied)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.take("(") {
            let satisfied = self.any_of()?;
            return if self.take(")") { Ok(satisfied) } else { Err("expected )".to_owned()) };
        }
        let licence = self.id()?;
        if self.take("WITH") {
            self.id()?;
        }
        Ok((self.allows)(licence))
    }

    fn id(&mut self) -> Result<&'text str, String> {
        let is_id = |word: &&str| !matches!(*word, "OR" | "AND" | "WITH" | "(" | ")");
        let word = self.peek().filter(is_id).ok_or_else(|| {
            format!("expected a licence before {:?}", self.peek().unwrap_or("the end"))
        })?;
        self.at += 1;
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mit_and_apache(text: &str) -> Result<bool, String> {
        satisfied(text, |id| matches!(id, "MIT" | "Apache-2.0"))
    }

    #[test]
    fn expressions_are_read_by_their_precedence() {
        for (text, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("MIT/GPL-3.0-only", true),
            ("Apache-2.0 / MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-3.0-only AND BSL-1.0 OR MIT", true),
            ("MIT OR GPL-3.0-only AND BSL-1.0", true),
            ("(MIT OR GPL-3.0-only) AND BSL-1.0", false),
            ("(MIT OR GPL-3.0-only) AND (Apache-2.0)", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ] {
            assert_eq!(with_mit_and_apache(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH"] {
            assert!(with_mit_and_apache(text).is_err(), "{text}");
        }
    }
}
