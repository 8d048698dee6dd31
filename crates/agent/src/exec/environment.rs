//! What a child finds in its environment.

use crate::{Cause, Task};

/// The longest value in bytes that is passed on; the system has a bound of its own on the whole.
const LONGEST_VALUE: usize = 16 << 10;

pub(super) const TASK_ID: &str = "TRUNKLINE_TASK_ID";
pub(super) const ROOT_ID: &str = "TRUNKLINE_ROOT_ID";
pub(super) const CONTEXT_ID: &str = "TRUNKLINE_CONTEXT_ID";
/// A name of others, which programs that trace themselves know.
pub(super) const TRACEPARENT: &str = "TRACEPARENT";
pub(super) const LEND: &str = "TRUNKLINE_LEND";
pub(super) const MESSAGES: &str = "TRUNKLINE_MESSAGES";

/// The variables beginning with `TRUNKLINE_` that every child has, besides `TRUNKLINE_HEADER_…`
/// for each header.
pub const VARIABLES: [&str; 15] = [
    TASK_ID,
    "TRUNKLINE_KIND",
    "TRUNKLINE_ATTEMPT",
    "TRUNKLINE_DEADLINE_MS",
    "TRUNKLINE_SOURCE",
    "TRUNKLINE_SKILL",
    "TRUNKLINE_TOPIC",
    "TRUNKLINE_CORRELATION_ID",
    "TRUNKLINE_CAUSATION_ID",
    ROOT_ID,
    CONTEXT_ID,
    "TRUNKLINE_CONTENT_TYPE",
    "TRUNKLINE_BACKLOG",
    MESSAGES,
    LEND,
];

/// The variables that describe a delivery; `messages` is where what its caller said since lies,
/// `lend` how the child says that it waits for an answer. Those that do not apply are there and
/// empty, so that a child never sees those of an agent around it.
pub(super) fn variables(task: &Task, messages: &str, lend: &str) -> Vec<(String, String)> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let envelope = task.envelope();
    let Cause { id, root, context, traceparent } = Cause::of(envelope);
    let values: [String; VARIABLES.len()] = [
        id.to_string(),
        envelope.kind.to_string(),
        task.attempt().to_string(),
        text(task.deadline().map(|at| at.0.to_string())),
        text(task.source().map(ToString::to_string)),
        text(task.skill().map(ToString::to_string)),
        text(task.topic().map(ToString::to_string)),
        text(envelope.correlation_id.map(|id| id.to_string())),
        text(envelope.causation_id.map(|id| id.to_string())),
        root.to_string(),
        text(context.map(|context| context.to_string())),
        clean(&task.payload().content_type),
        task.backlog().to_string(),
        messages.to_owned(),
        lend.to_owned(),
    ];
    let mut variables: Vec<_> = VARIABLES.into_iter().map(str::to_owned).zip(values).collect();
    variables.push((TRACEPARENT.into(), clean(traceparent.as_deref().unwrap_or_default())));
    for (name, value) in task.headers() {
        variables.push((header_variable(name), clean(value)));
    }
    variables
}

/// `X-Request-Id` becomes `TRUNKLINE_HEADER_X_REQUEST_ID`.
fn header_variable(name: &str) -> String {
    let sanitised = name.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    });
    "TRUNKLINE_HEADER_".chars().chain(sanitised).collect()
}

/// A value without the zero bytes that no environment can hold, cut to its bound.
fn clean(value: &str) -> String {
    let mut value = value.replace('\0', "");
    value.truncate(value.floor_char_boundary(LONGEST_VALUE));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_becomes_a_variable_that_any_shell_can_read() {
        assert_eq!(header_variable("x-request.id=ä"), "TRUNKLINE_HEADER_X_REQUEST_ID__");
        assert_eq!(clean("a\0b"), "ab");
        assert_eq!(clean(&"ä".repeat(20_000)).len(), LONGEST_VALUE);
    }
}
