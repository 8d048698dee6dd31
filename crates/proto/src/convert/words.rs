//! Closed sets: the generated enums and the vocabulary's, by their fixed numbers.

use crate::DecodeError;
use crate::v1;
use trunkline_types::{
    Absent, AgentEvent, BreakerState, CopyState, Durability, Encoding, FailureCode, Kind,
    PauseReason, Presence, Priority, RefusalCode, Role, Routing, TaskState, WhenFull,
};

/// Sets whose numbers are the same on both sides.
macro_rules! same_numbers {
    ($($function:ident: $type:ident),+ $(,)?) => { $(
        pub(crate) fn $function(field: &'static str, number: i32) -> Result<$type, DecodeError> {
            u8::try_from(number)
                .ok()
                .and_then($type::from_number)
                .ok_or_else(|| unknown(field, number, stringify!($type)))
        }

        impl From<$type> for v1::$type {
            fn from(value: $type) -> Self {
                Self::try_from(i32::from(value.number()))
                    .expect("the numbers of both sets are the same, which a test checks")
            }
        }
    )+ };
}

same_numbers!(
    kind: Kind,
    pause_reason: PauseReason,
    failure_code: FailureCode,
    refusal_code: RefusalCode,
    task_state: TaskState,
    presence: Presence,
    agent_event: AgentEvent,
    breaker_state: BreakerState,
    copy_state: CopyState,
    role: Role,
);

fn unknown(field: &'static str, number: i32, set: &str) -> DecodeError {
    let value = if number == 0 { "not said".to_owned() } else { number.to_string() };
    DecodeError::new(field, value, format!("it must be a number of trunkline.v1.{set}"))
}

/// Sets whose numbers on the wire are one higher, because there 0 stands for "not said".
macro_rules! shifted_numbers {
    ($($function:ident: $type:ident),+ $(,)?) => { $(
        pub(crate) fn $function(
            field: &'static str,
            number: i32,
        ) -> Result<Option<$type>, DecodeError> {
            if number == 0 {
                return Ok(None);
            }
            u8::try_from(i64::from(number) - 1)
                .ok()
                .and_then($type::from_number)
                .map(Some)
                .ok_or_else(|| unknown(field, number, stringify!($type)))
        }

        impl From<$type> for v1::$type {
            fn from(value: $type) -> Self {
                Self::try_from(i32::from(value.number()) + 1)
                    .expect("the numbers of both sets differ by one, which a test checks")
            }
        }

        impl From<Option<$type>> for v1::$type {
            fn from(value: Option<$type>) -> Self {
                value.map_or(Self::Unspecified, Into::into)
            }
        }
    )+ };
}

shifted_numbers!(
    optional_priority: Priority,
    durability: Durability,
    optional_encoding: Encoding,
    when_full: WhenFull,
    routing: Routing,
);

/// A priority; normal when it is not said.
pub(crate) fn priority(field: &'static str, number: i32) -> Result<Priority, DecodeError> {
    optional_priority(field, number).map(|said| said.unwrap_or(Priority::Normal))
}

/// An encoding; identity when it is not said.
pub(crate) fn encoding(field: &'static str, number: i32) -> Result<Encoding, DecodeError> {
    optional_encoding(field, number).map(|said| said.unwrap_or(Encoding::Identity))
}

/// An encoding's number: identity is not said, so that it costs nothing.
pub(crate) fn encoding_number(encoding: Encoding) -> i32 {
    v1::Encoding::from(Some(encoding).filter(|&encoding| encoding != Encoding::Identity)).into()
}

pub(crate) fn absent(field: &'static str, number: i32) -> Result<Option<Absent>, DecodeError> {
    match v1::Absent::try_from(number) {
        Ok(v1::Absent::Unspecified) => Ok(None),
        Ok(v1::Absent::Park) => Ok(Some(Absent::Park)),
        Ok(v1::Absent::Fail) => Ok(Some(Absent::Fail)),
        Ok(v1::Absent::Discard) => Ok(Some(Absent::Discard)),
        Err(_) => Err(unknown(field, number, "Absent")),
    }
}

impl From<Option<Absent>> for v1::Absent {
    fn from(value: Option<Absent>) -> Self {
        match value {
            None => Self::Unspecified,
            Some(Absent::Park) => Self::Park,
            Some(Absent::Fail) => Self::Fail,
            Some(Absent::Discard) => Self::Discard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word of an enum value, from its name in the sources.
    fn word(name: &str, prefix: &str) -> String {
        name.strip_prefix(prefix).unwrap().to_ascii_lowercase().replace('_', "-")
    }

    #[test]
    fn both_sets_have_the_same_numbers_and_words() {
        macro_rules! check {
            ($($type:ident $prefix:literal),+) => { $(
                for &value in $type::ALL {
                    let wire = v1::$type::from(value);
                    assert_eq!(wire as i32, i32::from(value.number()));
                    assert_eq!(word(wire.as_str_name(), $prefix), value.as_str());
                }
                let count = i32::try_from($type::ALL.len()).unwrap();
                assert!(v1::$type::try_from(count + 1).is_err(), "one that only the wire has");
            )+ };
        }
        check!(
            Kind "KIND_", PauseReason "PAUSE_REASON_", FailureCode "FAILURE_CODE_",
            RefusalCode "REFUSAL_CODE_", TaskState "TASK_STATE_", Presence "PRESENCE_",
            AgentEvent "AGENT_EVENT_", BreakerState "BREAKER_STATE_", CopyState "COPY_STATE_"
        );
    }

    #[test]
    fn shifted_sets_come_back_as_they_were() {
        macro_rules! check {
            ($($type:ident $function:ident $prefix:literal),+) => { $(
                for &value in $type::ALL {
                    let wire = v1::$type::from(value);
                    assert_eq!(wire as i32, i32::from(value.number()) + 1);
                    assert_eq!(word(wire.as_str_name(), $prefix), value.as_str());
                    assert_eq!($function("f", wire as i32), Ok(Some(value)));
                }
                let count = i32::try_from($type::ALL.len()).unwrap();
                assert!(v1::$type::try_from(count + 1).is_err(), "one that only the wire has");
                assert!($function("f", count + 1).is_err() && $function("f", i32::MIN).is_err());
                assert_eq!($function("f", 0), Ok(None));
            )+ };
        }
        check!(
            Priority optional_priority "PRIORITY_", Durability durability "DURABILITY_",
            Encoding optional_encoding "ENCODING_", WhenFull when_full "WHEN_FULL_",
            Routing routing "ROUTING_"
        );
        assert_eq!(priority("p", 0), Ok(Priority::Normal));
        assert_eq!(encoding("e", encoding_number(Encoding::Identity)), Ok(Encoding::Identity));
        assert_eq!(encoding_number(Encoding::Identity), 0, "it costs nothing");
        for value in [None, Some(Absent::Park), Some(Absent::Fail), Some(Absent::Discard)] {
            assert_eq!(absent("a", v1::Absent::from(value) as i32), Ok(value));
        }
    }

    #[test]
    fn a_number_out_of_the_set_is_named() {
        let error = kind("envelope.kind", 99).unwrap_err().to_string();
        assert_eq!(error, "envelope.kind is 99; it must be a number of trunkline.v1.Kind");
        assert!(kind("k", 0).unwrap_err().to_string().starts_with("k is not said"));
        assert!(kind("k", -1).is_err() && kind("k", 257).is_err());
        assert!(priority("p", 5).is_err() && durability("d", 4).is_err());
        assert!(absent("a", 4).is_err());
    }
}
