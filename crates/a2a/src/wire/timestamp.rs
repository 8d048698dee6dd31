//! A time on the wire: seconds and nanoseconds in protobuf, RFC 3339 with `Z` in JSON.

use bytes::{Buf, BufMut};
use jiff::fmt::temporal::DateTimeParser;
use jiff::{Timestamp as Instant, ToSpan};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use trunkline_types::WallTime;

/// The last second that has a text in every offset; a later one is told as this.
const LATEST: i64 = 253_402_207_199;

/// Takes any offset; what has none is no point in time.
static PARSER: DateTimeParser = DateTimeParser::new();

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timestamp(prost_types::Timestamp);

impl Timestamp {
    /// The time in milliseconds since the Unix epoch, rounded up to a whole one, so that what is
    /// compared with it was not before it. A time before the epoch counts as the epoch.
    pub fn wall_time(self) -> WallTime {
        let seconds = u64::try_from(self.0.seconds).unwrap_or(0);
        let nanos = if self.0.seconds < 0 { 0 } else { self.0.nanos };
        let millis = u64::try_from(nanos).unwrap_or(0).div_ceil(1_000_000);
        WallTime(seconds.saturating_mul(1000).saturating_add(millis))
    }
}

impl From<WallTime> for Timestamp {
    fn from(WallTime(millis): WallTime) -> Self {
        let seconds = i64::try_from(millis / 1000).map_or(LATEST, |seconds| seconds.min(LATEST));
        let nanos = i32::try_from(millis % 1000 * 1_000_000).unwrap_or(0);
        Self(prost_types::Timestamp { seconds, nanos })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = Instant::new(self.0.seconds, self.0.nanos).map_err(ser::Error::custom)?;
        // Always milliseconds: some clients read no other form.
        serializer.collect_str(&format_args!("{at:.3}"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = PARSER.parse_timestamp(&text).map_err(|_not_a_time| {
            let start: String = text.chars().take(64).collect();
            de::Error::custom(format!(
                "'{start}' is no time; it is written like 2026-01-31T12:00:00.000Z"
            ))
        })?;
        let floor = at.as_nanosecond().rem_euclid(1_000_000_000);
        let nanos = i32::try_from(floor).map_err(de::Error::custom)?;
        let whole = at.checked_sub(i64::from(nanos).nanoseconds()).map_err(de::Error::custom)?;
        Ok(Self(prost_types::Timestamp { seconds: whole.as_second(), nanos }))
    }
}

impl prost::Message for Timestamp {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.0.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.0.merge_field(tag, wire_type, buf, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Timestamp, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn a_time_is_written_with_milliseconds_and_z() {
        let at = Timestamp::from(WallTime(1_761_647_400_000));
        assert_eq!(serde_json::to_value(at).unwrap(), "2025-10-28T10:30:00.000Z");
        let at = Timestamp::from(WallTime(1_761_647_400_042));
        assert_eq!(serde_json::to_value(at).unwrap(), "2025-10-28T10:30:00.042Z");
        let insane = Timestamp::from(WallTime(u64::MAX));
        assert!(serde_json::to_value(insane).unwrap().as_str().unwrap().starts_with("9999-12-30"));
    }

    #[test]
    fn a_time_with_another_offset_or_precision_is_read() {
        for text in ["2025-10-28T10:30:00Z", "2025-10-28T12:30:00+02:00", "2025-10-28T10:30:00.0Z"]
        {
            assert_eq!(read(text).unwrap().wall_time(), WallTime(1_761_647_400_000), "{text}");
        }
        let fine = read("2025-10-28T10:30:00.000000001Z").unwrap();
        assert_eq!(fine.wall_time(), WallTime(1_761_647_400_001));
        assert_eq!(read("1969-12-31T23:59:59.9Z").unwrap().wall_time(), WallTime(0));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for text in ["", "yesterday", "2025-10-28", "2025-10-28T10:30:00"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("is no time; it is written like"), "{error}");
        }
    }
}
