//! Which of an agent's subscriptions want the same topics.

use trunkline_types::TopicPattern;
use trunkline_types::session::Subscription;

/// Refuses subscriptions to one topic of which each wants other events: an agent gets an event once,
/// finds its handler by the topic, and cannot tell whose filter wanted it.
///
/// # Errors
/// Which two they are, and what to do.
pub(crate) fn check(subscriptions: &[Subscription]) -> Result<(), String> {
    for (number, one) in subscriptions.iter().enumerate() {
        let others = subscriptions[..number].iter();
        let mut others = others.filter(|other| other.filter != one.filter);
        if let Some(other) = others.find(|other| overlap(&other.pattern, &one.pattern)) {
            let (first, second) = (&other.pattern, &one.pattern);
            return Err(format!(
                "'{first}' and '{second}' have topics in common and not the same filter: an event \
                 comes once, and its handler is found by the topic alone; subscribe to both with \
                 one filter, and let the handlers look for the rest themselves"
            ));
        }
    }
    Ok(())
}

/// Whether some topic matches both.
fn overlap(one: &TopicPattern, other: &TopicPattern) -> bool {
    let (mut one, mut other) = (one.as_str().split('.'), other.as_str().split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_a_topic_matches_both() {
        for (one, other, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "*.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.*", true),
            ("a.>", "a", false),
            (">", "x.y.z", true),
            ("a.*.c", "a.b.>", true),
            ("a.*.c", "b.>", false),
        ] {
            let [one, other] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(overlap(&one, &other), expected, "{one} {other}");
            assert_eq!(overlap(&other, &one), expected, "{other} {one}");
        }
    }

    #[test]
    fn one_topic_has_one_filter() {
        let wants = |pattern: &str, filter: Option<&str>| Subscription {
            filter: filter.map(|text| text.parse().unwrap()),
            ..Subscription::new(pattern.parse().unwrap())
        };
        for (one, other, allowed) in [
            (wants("a.*", Some("n > 0")), wants("a.*", Some("n <= 0")), false),
            (wants("a.*", Some("n > 0")), wants("a.>", None), false),
            (wants("a.*", Some("n > 0")), wants("a.>", Some("n > 0")), true),
            (wants("a.*", Some("n > 0")), wants("b.*", None), true),
            (wants("a.*", None), wants("a.>", None), true),
        ] {
            let checked = check(&[one.clone(), other.clone()]);
            assert_eq!(checked.is_ok(), allowed, "{one:?} {other:?}: {checked:?}");
        }
        let told = check(&[wants("a.*", Some("n > 0")), wants("a.>", None)]).unwrap_err();
        assert!(told.contains("'a.*' and 'a.>'") && told.contains("one filter"), "{told}");
    }
}
