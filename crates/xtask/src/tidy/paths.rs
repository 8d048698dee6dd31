//! Reads the paths that Rust source uses: `use` trees written out, and names traced back to the
//! import they came from.
//!
//! Owns just enough of the grammar to see a path whatever way it is written; comments and literals
//! are skipped. It does not expand macros, and takes an import to hold for the whole file.

use std::collections::BTreeMap;

/// A path as it is used at one place, from its crate down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The parts of the path; `*` at the end where everything is imported.
    pub(crate) segments: Vec<String>,
    /// The name by which an import makes it known, for imports only.
    import: Option<String>,
}

impl Used {
    /// Whether this use brings in `path` or something below it.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        let own: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        match own.split_last() {
            Some((&"*", module)) => wanted.starts_with(module) || module.starts_with(&wanted),
            _ => own.starts_with(&wanted),
        }
    }
}

/// Every path of two or more parts in `source`, and every import, in the order of the text.
pub(crate) fn used(source: &str) -> Vec<Used> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match tokens[at].kind {
            Kind::Name(_) if !follows_a_path(&tokens, at) => path(&tokens, at, &mut found),
            _ => at + 1,
        };
    }
    let imports: BTreeMap<String, Vec<String>> = found
        .iter()
        .filter_map(|used| Some((used.import.clone()?, used.segments.clone())))
        .collect();
    for used in found.iter_mut().filter(|used| used.import.is_none()) {
        if let Some(full) = imports.get(&used.segments[0]) {
            used.segments.splice(..1, full.iter().cloned());
        }
    }
    found
}

#[derive(Debug)]
struct Token<'src> {
    line: usize,
    kind: Kind<'src>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind<'src> {
    Name(&'src str),
    /// `::`
    Sep,
    Open,
    Close,
    Comma,
    Star,
    Other,
}

fn kind<'tok, 'src>(tokens: &'tok [Token<'src>], at: usize) -> &'tok Kind<'src> {
    tokens.get(at).map_or(&Kind::Other, |token| &token.kind)
}

/// Whether the name at `at` continues a path, as in `a::<B>::c`; a leading `::` begins one.
fn follows_a_path(tokens: &[Token<'_>], at: usize) -> bool {
    at >= 2
        && *kind(tokens, at - 1) == Kind::Sep
        && !matches!(kind(tokens, at - 2), Kind::Name("use" | "in" | "return"))
        && matches!(kind(tokens, at - 2), Kind::Name(_) | Kind::Other)
}

/// Reads the path that begins at `at`, and returns where to go on.
fn path(tokens: &[Token<'_>], at: usize, found: &mut Vec<Used>) -> usize {
    let before = if at > 0 && *kind(tokens, at - 1) == Kind::Sep {
        at.wrapping_sub(2)
    } else {
        at.wrapping_sub(1)
    };
    let in_use = *kind(tokens, before) == Kind::Name("use");
    let first = found.len();
    let next = branch(tokens, at, &[], in_use, found);
    // A lone name is no path, except as an import.
    if !in_use && found.len() == first + 1 && found[first].segments.len() < 2 {
        found.pop();
    }
    next
}

/// Reads one branch of a `use` tree, or a path, with what stands before it.
fn branch(
    tokens: &[Token<'_>],
    mut at: usize,
    before: &[String],
    in_use: bool,
    found: &mut Vec<Used>,
) -> usize {
    let mut segments = before.to_vec();
    let line = tokens[at].line;
    loop {
        match kind(tokens, at) {
            Kind::Name(name) if *name == "self" && in_use && !segments.is_empty() => {}
            Kind::Name(name) => segments.push((*name).to_owned()),
            Kind::Star => segments.push("*".to_owned()),
            Kind::Open => return group(tokens, at + 1, &segments, found),
            _ => return at,
        }
        at += 1;
        let goes_on = *kind(tokens, at) == Kind::Sep
            && match kind(tokens, at + 1) {
                Kind::Name(_) => true,
                Kind::Star | Kind::Open => in_use,
                _ => false,
            };
        if !goes_on {
            break;
        }
        at += 1;
    }
    let mut import = segments.last().filter(|_| in_use).cloned();
    if in_use && *kind(tokens, at) == Kind::Name("as") {
        if let Kind::Name(name) = kind(tokens, at + 1) {
            import = Some((*name).to_owned());
        }
        at += 2;
    }
    found.push(Used { line, segments, import });
    at
}

/// Reads the branches between braces, and returns where to go on behind them.
fn group(tokens: &[Token<'_>], mut at: usize, before: &[String], found: &mut Vec<Used>) -> usize {
    while at < tokens.len() {
        at = match kind(tokens, at) {
            Kind::Close => return at + 1,
            Kind::Name(_) | Kind::Star => branch(tokens, at, before, true, found),
            _ => at + 1,
        };
    }
    at
}

/// Splits source into the tokens that matter to paths.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, kind) = token(rest, first);
        if let Some(kind) = kind {
            tokens.push(Token { line, kind });
        }
        let (taken, after) = rest.split_at(length);
        line += taken.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length in bytes of the token at the start of `rest`, and its kind unless it says nothing.
fn token(rest: &str, first: char) -> (usize, Option<Kind<'_>>) {
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = literal(rest) {
        return (length, Some(Kind::Other));
    }
    if rest.starts_with("::") {
        return (2, Some(Kind::Sep));
    }
    if first.is_alphanumeric() || first == '_' {
        let name = rest.strip_prefix("r#").unwrap_or(rest);
        let skipped = rest.len() - name.len();
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        return (skipped + end, Some(Kind::Name(&name[..end])));
    }
    let kind = match first {
        '{' => Kind::Open,
        '}' => Kind::Close,
        ',' => Kind::Comma,
        '*' => Kind::Star,
        _ => Kind::Other,
    };
    (first.len_utf8(), Some(kind))
}

/// The length of a comment that may hold further comments.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of the string or character at the start of `rest`, or of a lifetime's quote.
fn literal(rest: &str) -> Option<usize> {
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut chars = inner.char_indices();
        let (_, first) = chars.next()?;
        if first == '\\' {
            // The escaped character may itself be a quote.
            let from = 1 + first.len_utf8() + chars.next()?.1.len_utf8();
            return Some(rest[from..].find('\'').map_or(rest.len(), |end| from + end + 1));
        }
        let is_char = chars.next().is_some_and(|(_, second)| second == '\'');
        return Some(if is_char { 2 + first.len_utf8() } else { 1 });
    }
    let marks = rest.find(['"', '#']).filter(|&end| end <= 2)?;
    if !matches!(&rest[..marks], "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    let raw = rest[..marks].ends_with('r');
    let body = rest[marks..].trim_start_matches(|c| raw && c == '#');
    let hashes = rest.len() - marks - body.len();
    let inner = body.strip_prefix('"')?;
    let start = rest.len() - inner.len();
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(inner.find(&close).map_or(rest.len(), |end| start + end + close.len()));
    }
    let mut escaped = false;
    for (index, c) in inner.char_indices() {
        match c {
            '"' if !escaped => return Some(start + index + 1),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(source: &str) -> Vec<(usize, String)> {
        used(source).into_iter().map(|used| (used.line, used.segments.join("::"))).collect()
    }

    fn only(source: &str) -> String {
        let found = all(source);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].1.clone()
    }

    #[test]
    fn use_trees_are_written_out() {
        let found = all("use std::{\n  thread,\n  time::{self, Instant as Now},\n  fs::*,\n};");
        let expected =
            [(2, "std::thread"), (3, "std::time"), (3, "std::time::Instant"), (4, "std::fs::*")];
        assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn a_name_is_traced_to_its_import() {
        let found = all("use std::time as clock;\nfn a() { clock::Instant::now(); }");
        assert_eq!(found[1], (2, "std::time::Instant::now".to_owned()));
    }

    #[test]
    fn paths_within_code_are_seen() {
        assert_eq!(only("fn a() { ::std::fs::read(b) }"), "std::fs::read");
        assert_eq!(only("let a = std::mem::size_of::<u8>();"), "std::mem::size_of");
        assert_eq!(only("match a { A::B { c } => c }"), "A::B");
        assert_eq!(only("let a = b * c::D::E;"), "c::D::E");
    }

    #[test]
    fn comments_and_literals_are_skipped() {
        for source in [
            "// a::b",
            "/* a::b /* c::d */ e::f */",
            "\"a::b \\\" c::d\"",
            "r#\"a::b \" c::d\"#",
            "b\"a::b\"",
            "('\"', '\\'', '\\\\', '\\u{1F600}')",
        ] {
            assert_eq!(all(source), [], "{source}");
        }
        assert_eq!(only("fn a<'a>(b: &'a str) -> c::D { '\"'; }"), "c::D");
        assert_eq!(only("let a = \"\\\\\"; b::c();"), "b::c");
        assert_eq!(only("#[derive(A)] struct B; b::c();"), "b::c");
    }

    #[test]
    fn a_glob_covers_what_lies_below_it() {
        let covers = |source: &str, path| used(source)[0].covers(path);
        assert!(covers("use std::time::*;", "std::time::Instant"));
        assert!(covers("use std::fs::*;", "std::fs"));
        assert!(covers("use std::fs::File;", "std::fs"));
        assert!(!covers("use std::time;", "std::time::Instant"));
        assert!(!covers("use std::fmt::*;", "std::fs"));
    }
}
