//! What a child finds in its environment.

use crate::Task;

/// The longest value in bytes that is passed on; the system has a bound of its own on the whole.
const LONGEST_VALUE: usize = 16 << 10;

/// The variables that describe a delivery. Those that do not apply are there and empty, so that
/// a child never sees those of an agent around it.
pub(super) fn variables(task: &Task) -> Vec<(String, String)> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let mut variables = vec![
        ("TRUNKLINE_TASK_ID".into(), task.id().to_string()),
        ("TRUNKLINE_ATTEMPT".into(), task.attempt().to_string()),
        ("TRUNKLINE_DEADLINE_MS".into(), text(task.deadline().map(|at| at.0.to_string()))),
        ("TRUNKLINE_SOURCE".into(), text(task.source().map(ToString::to_string))),
        ("TRUNKLINE_SKILL".into(), text(task.skill().map(ToString::to_string))),
        ("TRUNKLINE_TOPIC".into(), text(task.topic().map(ToString::to_string))),
        ("TRUNKLINE_CONTEXT_ID".into(), text(task.context().map(ToString::to_string))),
        ("TRUNKLINE_CONTENT_TYPE".into(), clean(&task.payload().content_type)),
    ];
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
