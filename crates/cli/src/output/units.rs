//! Spans, sizes and times as people write and read them.

use jiff::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
pub(crate) use trunkline_broker::settings::units::{
    SHOWN, exact_size, exact_span, parse_size, parse_span, shown,
};
use trunkline_broker::settings::units::{SIZES, SPANS};
use trunkline_types::WallTime;

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
}
