//! Spans and sizes as people write and read them.

use std::borrow::Cow;
use std::time::Duration;

/// Units of time with their length in nanoseconds, longest first.
pub const SPANS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size with their length in bytes, longest first.
pub const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a span such as `30s`, `1h30m` or `250ms`.
///
/// # Errors
/// A text that says how a span is written.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let shown = shown(text);
        format!("'{shown}' is no time span; write it like 250ms, 30s, 5m or 1h30m")
    };
    let mut rest = text.trim();
    if rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(format!("'{}' is negative; the range begins at 0s", shown(text)));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_not_digits| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = SPANS.iter().find(|(name, _)| *name == &rest[..end]).ok_or_else(wrong)?;
        let part = number.checked_mul(unit.1).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[end..];
    }
    Ok(Duration::from_nanos(total))
}

/// Reads a size such as `64MiB`, `1kB` or `512`.
///
/// # Errors
/// A text that says how a size is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{}' is no size; write it like 512, 64KiB or 1MiB", shown(text));
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_not_digits| wrong())?;
    let factor = match text[digits..].trim_start() {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A span exactly, in a form that [`parse_span`] reads.
pub fn exact_span(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, length) in SPANS {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            text.extend([count.to_string().as_str(), name]);
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A size exactly, in a form that [`parse_size`] reads.
pub fn exact_size(bytes: u64) -> String {
    let binary = SIZES[..3].iter().find(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length));
    match binary {
        Some((name, length)) => format!("{}{name}", bytes / length),
        None => bytes.to_string(),
    }
}

/// Most characters of a value that a message repeats.
pub const SHOWN: usize = 80;

/// A value as a message repeats it: not more of it than can be read at a glance.
pub fn shown(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(value),
        Some(_) => value.chars().take(SHOWN - 1).chain(['…']).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_alike() {
        for (text, millis) in [("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("0s", 0)] {
            let span = Duration::from_millis(millis);
            assert_eq!(parse_span(text), Ok(span), "{text}");
            assert_eq!(exact_span(span), text);
        }
        for text in ["", "30", "s", "1x", "-1s", "1.5s", "99999999999999d"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_alike() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1KiB", 1024), ("1500", 1500), ("0", 0)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(exact_size(bytes), text);
        }
        assert_eq!(parse_size("2 MB"), Ok(2_000_000));
        for text in ["", "MiB", "1TiBs", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_repeats_the_beginning_of_a_long_value() {
        assert_eq!(shown("short"), "short");
        let long = "ä".repeat(SHOWN + 1);
        assert_eq!(shown(&long), format!("{}…", "ä".repeat(SHOWN - 1)));
        assert_eq!(shown(&long[2..]), &long[2..]);
        for error in [parse_span(&long).unwrap_err(), parse_size(&long).unwrap_err()] {
            assert!(error.contains('…') && error.chars().count() < 200, "{error}");
        }
    }
}
