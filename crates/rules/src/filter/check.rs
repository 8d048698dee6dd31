//! What a filter may say and what it may cost, found out before it is ever evaluated.

use crate::filter::event::{TEXTS, VARIABLES};
use crate::nearest::nearest;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators,
};
use cel::parser::Expression;
use regex::{Regex, RegexBuilder};

/// The most parts of a filter: names, fields, values, operators and calls. A loop is made of nine
/// or more.
pub(super) const NODES: usize = 1000;

/// The most levels of a filter; evaluation takes stack for each.
pub(super) const DEEPEST: usize = 24;

/// The most patterns of `matches` in a filter.
const PATTERNS: usize = 8;

/// The most bytes of a pattern once it is compiled.
const PATTERN_BYTES: usize = 32 << 10;

/// The most additions in a filter, for each may make a text as long as the payload.
const ADDITIONS: usize = 16;

/// Functions with how many values they take, the one before the dot included.
const FUNCTIONS: &[(&str, usize)] = &[
    ("size", 1),
    ("contains", 2),
    ("startsWith", 2),
    ("endsWith", 2),
    ("matches", 2),
    ("int", 1),
    ("uint", 1),
    ("double", 1),
    ("string", 1),
    ("bytes", 1),
    ("bool", 1),
    ("type", 1),
    ("dyn", 1),
];

/// What the parser makes loops and tests of, with how each is written.
const MACROS: &[(&str, &str)] = &[
    ("has", "has(payload.field)"),
    ("all", "LIST.all(x, CONDITION)"),
    ("exists", "LIST.exists(x, CONDITION)"),
    ("exists_one", "LIST.exists_one(x, CONDITION)"),
];

/// The names of types, which `type` gives.
const TYPES: &[&str] =
    &["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Operators as the parser names them, without `+`.
const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];

/// What was found out about a filter.
pub(super) struct Checked {
    pub(super) patterns: Vec<Pattern>,
    /// How often it looks into the payload.
    pub(super) payload_uses: usize,
    /// How many of its parts are evaluated for each element of something.
    pub(super) loop_parts: usize,
    /// How many parts it has.
    pub(super) parts: usize,
}

/// A pattern of `matches`.
pub(super) struct Pattern {
    pub(super) text: String,
    pub(super) regex: Regex,
}

/// Checks a filter that was parsed.
///
/// # Errors
/// What is wrong with it, where, and what would be right.
pub(super) fn check(expression: &Expression, text: &str) -> Result<Checked, String> {
    let mut walk = Walk {
        text,
        nodes: 0,
        additions: 0,
        locals: Vec::new(),
        place: Place::Plain,
        found: Checked { patterns: Vec::new(), payload_uses: 0, loop_parts: 0, parts: 0 },
    };
    walk.visit(expression, 1)?;
    match gives(&expression.expr) {
        Some(what) => Err(format!("it gives {what}, where true or false is wanted")),
        None => Ok(Checked { parts: walk.nodes, ..walk.found }),
    }
}

/// Where in the filter an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    /// What a loop goes through.
    Range,
    /// What a loop does to each element.
    Body,
}

struct Walk<'t> {
    text: &'t str,
    nodes: usize,
    additions: usize,
    /// The variables of the loop that is being looked at.
    locals: Vec<String>,
    place: Place,
    found: Checked,
}

impl Walk<'_> {
    fn visit(&mut self, expression: &Expression, depth: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(format!("it has more than {NODES} parts"));
        }
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} levels deep"));
        }
        let below = depth + 1;
        match &expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.operand(&select.operand, below),
            Expr::Call(call) => self.call(call, below),
            Expr::Comprehension(comprehension) => self.looped(comprehension, below),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.visit(element, below))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(entry, below)),
            Expr::Struct(made) => {
                let name: String = made.type_name.chars().take(64).collect();
                Err(format!("a filter cannot make a '{name}'{}", self.at(&name)))
            }
            Expr::Unspecified => Err("it cannot be parsed".to_owned()),
        }
    }

    fn entry(&mut self, entry: &IdedEntryExpr, depth: usize) -> Result<(), String> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth)?;
                self.visit(&entry.value, depth)
            }
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
        }
    }

    /// What stands before a dot or brackets: there a loop may name the headers.
    fn operand(&mut self, operand: &Expression, depth: usize) -> Result<(), String> {
        match &operand.expr {
            Expr::Ident(name) if name == "headers" => {
                self.nodes += 1;
                Ok(())
            }
            _ => self.visit(operand, depth),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        // Names that begin so are the parser's own.
        if name.starts_with('@') || self.locals.iter().any(|local| local == name) {
            return Ok(());
        }
        let name = name.strip_prefix('.').unwrap_or(name);
        let whole = matches!(name, "payload" | "headers");
        if whole && self.place == Place::Body {
            return Err(format!(
                "'{name}' stands within a loop{}, where only the loop's variable, the other \
                 variables and single headers may be used",
                self.at(name)
            ));
        }
        self.found.payload_uses += usize::from(name == "payload");
        if VARIABLES.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        let known = VARIABLES.iter().copied().chain(self.locals.iter().map(String::as_str));
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", VARIABLES.join(", ")),
        };
        let shown: String = name.chars().take(64).collect();
        Err(format!("unknown variable '{shown}'{}; {remedy}", self.at(name)))
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<(), String> {
        let name = call.func_name.as_str();
        let count = call.args.len() + usize::from(call.target.is_some());
        if name == operators::ADD {
            self.additions += 1;
            if self.additions > ADDITIONS {
                return Err(format!("it has more than {ADDITIONS} additions"));
            }
        } else if !OPERATORS.contains(&name) {
            self.function(name, count)?;
        }
        if name == "matches" {
            let pattern = call.args.last().map(|pattern| &pattern.expr);
            self.pattern(pattern)?;
        }
        if let Some(target) = &call.target {
            self.visit(target, depth)?;
        }
        let mut args = call.args.iter();
        if name == operators::INDEX
            && let Some(indexed) = args.next()
        {
            self.operand(indexed, depth)?;
        }
        args.try_for_each(|arg| self.visit(arg, depth))
    }

    fn function(&self, name: &str, count: usize) -> Result<(), String> {
        let at = self.at(name);
        if let Some((_, wanted)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
            if count == *wanted {
                return Ok(());
            }
            return Err(format!("'{name}' takes {wanted} values{at}, not {count}"));
        }
        if let Some((_, form)) = MACROS.iter().find(|(known, _)| *known == name) {
            return Err(format!("'{name}' is written {form}{at}"));
        }
        if matches!(name, "map" | "filter") {
            return Err(unneeded(name, &at));
        }
        let names = FUNCTIONS.iter().map(|(name, _)| *name);
        let names = names.chain(MACROS.iter().map(|(name, _)| *name));
        let remedy = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        let shown: String = name.chars().take(64).collect();
        Err(format!("unknown function '{shown}'{at}; {remedy}"))
    }

    fn pattern(&mut self, pattern: Option<&Expr>) -> Result<(), String> {
        let at = self.at("matches");
        if self.place == Place::Body {
            return Err(format!(
                "'matches' stands within a loop{at}; use startsWith, endsWith or contains there"
            ));
        }
        let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern else {
            return Err(format!("the pattern of 'matches'{at} must be a text written out"));
        };
        if self.found.patterns.len() >= PATTERNS {
            return Err(format!("it has more than {PATTERNS} patterns of 'matches'"));
        }
        let pattern = pattern.inner();
        let regex = RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(4 * PATTERN_BYTES)
            .nest_limit(32)
            .build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => format!(
                "the pattern '{pattern}' of 'matches'{at} takes more than {PATTERN_BYTES} bytes \
                 compiled; write fewer or smaller repetitions"
            ),
            error => {
                // The last line says what is wrong, those before it draw where.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                format!("the pattern '{pattern}' of 'matches'{at} is wrong: {reason}")
            }
        })?;
        self.found.patterns.push(Pattern { text: pattern.to_owned(), regex });
        Ok(())
    }

    fn looped(&mut self, looped: &ComprehensionExpr, depth: usize) -> Result<(), String> {
        let at = self.at(&looped.iter_var);
        if self.place != Place::Plain {
            return Err(format!("a loop stands within another{at}; a filter's loops stand apart"));
        }
        if matches!(looped.accu_init.expr, Expr::List(_)) {
            return Err(unneeded("map' or 'filter", &at));
        }
        self.place = Place::Range;
        self.visit(&looped.iter_range, depth)?;
        self.place = Place::Body;
        self.locals.extend([looped.iter_var.clone(), looped.accu_var.clone()]);
        self.locals.extend(looped.iter_var2.clone());
        let before = self.nodes;
        for part in [&looped.accu_init, &looped.loop_cond, &looped.loop_step, &looped.result] {
            self.visit(part, depth)?;
        }
        self.found.loop_parts += self.nodes - before;
        self.locals.clear();
        self.place = Place::Plain;
        Ok(())
    }

    /// Where a word stands first outside texts, in words.
    fn at(&self, word: &str) -> String {
        let found = column(self.text, word);
        found.map_or_else(String::new, |column| format!(" at column {column}"))
    }
}

fn unneeded(name: &str, at: &str) -> String {
    format!("a filter has no '{name}'{at}; ask with exists, all or exists_one")
}

/// What an expression gives if that is certainly neither true nor false.
fn gives(expression: &Expr) -> Option<&'static str> {
    match expression {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(LiteralValue::String(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Null) => Some("null"),
        Expr::Literal(LiteralValue::Bytes(_)) => Some("bytes"),
        Expr::Literal(_) => Some("a number"),
        Expr::Ident(name) if TEXTS.contains(&name.as_str()) => Some("a text"),
        Expr::Ident(name) if name == "size" => Some("a number"),
        Expr::Ident(name) if name == "headers" => Some("a map"),
        Expr::Select(select) if !select.test => match &select.operand.expr {
            Expr::Ident(name) if name == "headers" => Some("a text"),
            _ => None,
        },
        Expr::List(_) => Some("a list"),
        Expr::Map(_) => Some("a map"),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::ADD => Some("a sum"),
            operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE
            | "size"
            | "int"
            | "uint"
            | "double" => Some("a number"),
            "string" => Some("a text"),
            "type" => Some("a type"),
            _ => None,
        },
        _ => None,
    }
}

/// The column, from 1, at which a word stands first outside quotes.
fn column(text: &str, word: &str) -> Option<usize> {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (mut quote, mut escaped, mut before) = (None, false, None);
    for (column, (at, c)) in text.char_indices().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {
                let rest = text[at..].strip_prefix(word).filter(|_| !word.is_empty());
                if rest.is_some_and(|rest| !joins(before) && !joins(rest.chars().next())) {
                    return Some(column + 1);
                }
            }
        }
        before = Some(c);
    }
    None
}
