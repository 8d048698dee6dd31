//! Spans, sizes and times as people write and read them.

use jiff::Timestamp;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trunkline_types::WallTime;

/// Units of time with their length in nanoseconds, longest first.
const SPANS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size with their length in bytes, longest first.
const SIZES: [(&str, u64); 7] = [
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
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
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
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
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

/// Reads a number from `least` up.
///
/// # Errors
/// The range.
pub(crate) fn parse_from(least: u64, text: &str) -> Result<u64, String> {
    let wrong = || {
        format!("'{}' is out of range; it is a number from {least} to {}", shown(text), u64::MAX)
    };
    let number: u64 = text.trim().parse().map_err(|_no_number| wrong())?;
    if number < least { Err(wrong()) } else { Ok(number) }
}

/// A span exactly, in a form that [`parse_span`] reads.
pub(crate) fn exact_span(span: Duration) -> String {
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
pub(crate) fn exact_size(bytes: u64) -> String {
    let binary = SIZES[..3].iter().find(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length));
    match binary {
        Some((name, length)) => format!("{}{name}", bytes / length),
        None => bytes.to_string(),
    }
}

/// A span rounded for reading: the two largest units.
pub(crate) fn span(span: Duration) -> String {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let Some(first) = SPANS.iter().position(|(_, length)| nanos >= *length) else {
        return "0s".into();
    };
    let (name, length) = SPANS[first];
    let head = format!("{}{name}", nanos / length);
    match SPANS.get(first + 1) {
        // Below a second the second unit is noise.
        Some((next, shorter)) if first < 3 => match nanos % length / shorter {
            0 => head,
            count => format!("{head}{count}{next}"),
        },
        _ => head,
    }
}

/// A size rounded for reading.
pub(crate) fn size(bytes: u64) -> String {
    match SIZES[..3].iter().find(|(_, length)| bytes >= *length) {
        #[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
        Some((name, length)) => format!("{:.1} {name}", bytes as f64 / *length as f64),
        None => format!("{bytes} B"),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with what is counted, in singular or plural.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Most characters of a value that a message repeats.
pub(crate) const SHOWN: usize = 80;

/// A value as a message repeats it: not more of it than can be read at a glance.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(value),
        Some(_) => value.chars().take(SHOWN - 1).chain(['…']).collect::<String>().into(),
    }
}

/// Reads a time such as `2030-01-31T08:00:00Z` or `2030-01-31T09:00+01:00`.
///
/// # Errors
/// A text that says how a time is written.
pub(crate) fn parse_time(text: &str) -> Result<WallTime, String> {
    let wrong =
        || format!("'{}' is no time since 1970; write it like 2030-01-31T08:00:00Z", shown(text));
    let time: Timestamp = text.trim().parse().map_err(|_not_a_time| wrong())?;
    u64::try_from(time.as_millisecond()).map(WallTime).map_err(|_before_1970| wrong())
}

/// Reads a time as [`parse_time`] does, or how long ago it was, such as `2h`.
///
/// # Errors
/// A text that says how either is written.
pub(crate) fn parse_moment(text: &str) -> Result<WallTime, String> {
    if let Ok(span) = parse_span(text) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        return Ok(WallTime(now().0.saturating_sub(millis)));
    }
    parse_time(text).map_err(|_neither| {
        let text = shown(text);
        format!("'{text}' is no time; write it like 2030-01-31T08:00:00Z, or 2h for two hours ago")
    })
}

/// A time in a form that [`parse_time`] reads.
pub(crate) fn exact_time(at: WallTime) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.to_string(),
        // Beyond the year 9999 there is no better way to say it.
        Err(_) => format!("{}ms after 1970", at.0),
    }
}

/// How long ago something was.
pub(crate) fn age(at: WallTime) -> String {
    format!("{} ago", span(now().since(at)))
}

/// This machine's clock.
pub(crate) fn now() -> WallTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
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
    fn times_are_read_and_written_alike() {
        let morning = parse_time("2030-01-31T08:00:00Z").unwrap();
        assert_eq!(exact_time(morning), "2030-01-31T08:00:00Z");
        assert_eq!(parse_time("2030-01-31T09:00:00+01:00"), Ok(morning));
        for text in ["", "tomorrow", "2030-01-31", "1960-01-01T00:00:00Z"] {
            assert!(parse_time(text).unwrap_err().contains("2030-01-31T08:00:00Z"), "{text}");
        }
        let hour_ago = parse_moment("1h").unwrap();
        assert!(now().since(hour_ago) >= Duration::from_hours(1));
        assert_eq!(parse_moment("2030-01-31T08:00:00Z"), Ok(morning));
        assert!(parse_moment("soon").is_err());
    }

    #[test]
    fn figures_are_rounded_for_reading() {
        assert_eq!(span(Duration::from_secs(3_725)), "1h2m");
        assert_eq!(span(Duration::from_micros(1_500)), "1ms");
        assert_eq!(size(1_572_864), "1.5 MiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "failure", "failures"), "1 failure");
        assert_eq!(counted(2_000, "failure", "failures"), "2,000 failures");
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
