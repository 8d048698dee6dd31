//! Wall-clock time as it is stored and carried, and spans as people read them.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the Unix epoch. Times to live and not-before times are kept in it; leases
/// are not, because a wall clock may jump.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub u64);

impl WallTime {
    /// This time plus a span, saturating at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this time; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A span as people write and read it, such as `10d`, `1h30m` or `250ms`: exact, and what is read
/// from a configuration or a command line gives the same span again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span(pub Duration);

/// Units of time with their length in nanoseconds, longest first.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, length) in UNITS {
            let count = rest / length;
            rest %= length;
            if count > 0 {
                write!(f, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_the_units_that_people_use() {
        for (span, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_hours(240), "10d"),
            (Duration::from_mins(90), "1h30m"),
            (Duration::from_millis(1_250), "1s250ms"),
            (Duration::from_nanos(1_001), "1us1ns"),
        ] {
            assert_eq!(Span(span).to_string(), text);
        }
    }
}
