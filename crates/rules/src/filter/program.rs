//! A filter, compiled.

use crate::filter::check::{Checked, Pattern, check};
use crate::filter::event::Event;
use cel::common::types::CelBool;
use cel::extractors::This;
use cel::parser::{Expression, ParseErrors, PrattParser};
use cel::{Context, Env, ExecutionError, Value};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

/// The most work that a filter may have with one event. The unit is about a tenth of a
/// microsecond, so that the worst that a filter can do takes some tens of milliseconds.
pub(super) const MOST_WORK: usize = 500_000;

/// The most work that all filters together may have with one event, in the same unit: two tenths
/// of a second at worst. Those with the least work come first, so that a few that take long leave
/// the others be.
pub(crate) const EVENT_WORK: usize = 4 * MOST_WORK;

/// What a pattern may cost in that unit.
const PATTERN_WORK: usize = 2000;

/// What a part of a loop's body costs in that unit, for each element.
const LOOP_WORK: usize = 4;

/// How deep expressions may nest while they are parsed, which takes stack.
const PARSE_DEPTH: u16 = 20;

/// The most question marks in a filter, for each may nest a level that the parser does not count.
const QUESTIONS: usize = 64;

/// Longest text that a pattern is held against. Time with a pattern is bounded by its size times
/// that of the text.
const MATCHED_BYTES: usize = 16 << 10;

/// The functions of CEL itself, without those for time and without optional values.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A filter, compiled and within its bounds.
pub(crate) struct Program {
    expression: Expression,
    /// Its functions; what an event has is put before it.
    context: Context<'static, 'static>,
    /// How often it looks into the payload.
    payload_uses: usize,
    /// How many of its parts are evaluated for each element of something.
    loop_parts: usize,
    /// What it takes whatever the event is.
    base: usize,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("expression", &self.expression).finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a filter.
    ///
    /// # Errors
    /// What is wrong with it, where, and what would be right.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let questions = text.bytes().filter(|&byte| byte == b'?').count();
        if questions > QUESTIONS {
            return Err(format!("it has {questions} question marks, the limit is {QUESTIONS}"));
        }
        let expression = parse(text)?;
        let Checked { patterns, payload_uses, loop_parts, parts } = check(&expression, text)?;
        let base = parts + patterns.len() * PATTERN_WORK;
        let mut context = Context::with_env(ENV.clone());
        let patterns: Arc<[Pattern]> = patterns.into();
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            matches(&patterns, &text, &pattern)
        };
        context.add_function("matches", matches).map_err(|error| error.to_string())?;
        Ok(Self { expression, context, payload_uses, loop_parts, base })
    }

    /// Whether it wants an event: whether it can be evaluated on it, within its bound, to `true`.
    pub(crate) fn wants(&self, event: &Event<'_>) -> bool {
        if self.work(event) > MOST_WORK {
            return false;
        }
        let evaluate = || {
            let mut scope = self.context.new_inner_scope();
            scope.set_variable_resolver(event);
            let result = Value::resolve_val(&self.expression, &scope);
            let bool = result.ok()?.downcast_ref::<CelBool>().copied()?;
            Some(bool::from(bool))
        };
        // A panic in the evaluator, whose input is anybody's, must not end the broker: it counts
        // as an error, and leaves nothing behind, for all that it changes is its own.
        catch_unwind(AssertUnwindSafe(evaluate)).is_ok_and(|wanted| wanted == Some(true))
    }

    /// What it takes of the work that there may be with an event: at least something, and nothing
    /// beyond its base if it is over its own bound, because it is not evaluated then.
    pub(crate) fn cost(&self, event: &Event<'_>) -> usize {
        let work = self.work(event);
        self.base + if work > MOST_WORK { 0 } else { work }
    }

    /// The most that it may take to go through an event.
    fn work(&self, event: &Event<'_>) -> usize {
        let values = if self.payload_uses > 0 { event.payload_values() } else { 0 };
        let through = values.saturating_mul(self.payload_uses);
        let looped = (values + event.headers()).saturating_mul(self.loop_parts);
        through.saturating_add(looped.saturating_mul(LOOP_WORK))
    }
}

fn parse(text: &str) -> Result<Expression, String> {
    let parser = PrattParser::new().max_recursion_depth(PARSE_DEPTH);
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse(text)));
    match parsed {
        Ok(Ok(expression)) => Ok(expression),
        Ok(Err(errors)) => Err(first(&errors)),
        Err(_) => Err("it cannot be parsed".to_owned()),
    }
}

/// What the parser found first, in our words for where it is.
fn first(errors: &ParseErrors) -> String {
    if errors.errors.iter().any(|error| error.msg.contains("recursion limit")) {
        return format!("it is nested more than {PARSE_DEPTH} levels deep");
    }
    // Those without a place say only that the parser gave up.
    let placed = errors.errors.iter().find(|error| error.pos.0 > 0);
    let Some(error) = placed.or(errors.errors.first()) else {
        return "it cannot be parsed".to_owned();
    };
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let message: String = message.chars().take(200).collect();
    match error.pos {
        (line @ 2.., column) => format!("{message} at line {line}, column {column}"),
        (1, column) => format!("{message} at column {column}"),
        _ => message,
    }
}

fn matches(patterns: &[Pattern], text: &str, pattern: &str) -> Result<bool, ExecutionError> {
    if text.len() > MATCHED_BYTES {
        return Err(ExecutionError::function_error("matches", "the text is too long"));
    }
    let found = patterns.iter().find(|known| known.text == pattern);
    let found = found.ok_or_else(|| ExecutionError::function_error("matches", "not a pattern"))?;
    Ok(found.regex.is_match(text))
}
