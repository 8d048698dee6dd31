//! Closed sets: the generated enums and the vocabulary's, by their fixed numbers.

use crate::DecodeError;
use crate::v1;
use trunkline_types::{
    Absent, Durability, FailureCode, Kind, PauseReason, Presence, Priority, RefusalCode, TaskState,
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
);

fn unknown(field: &'static str, number: i32, set: &str) -> DecodeError {
    let value = if number == 0 { "not said".to_owned() } else { number.to_string() };
    DecodeError::new(field, value, format!("it must be a number of trunkline.v1.{set}"))
}

pub(crate) fn priority(field: &'static str, number: i32) -> Result<Priority, DecodeError> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Ok(v1::Priority::Urgent) => Ok(Priority::Urgent),
        Err(_) => Err(unknown(field, number, "Priority")),
    }
}

impl From<Priority> for v1::Priority {
    fn from(value: Priority) -> Self {
        match value {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Urgent => Self::Urgent,
        }
    }
}

pub(crate) fn durability(
    field: &'static str,
    number: i32,
) -> Result<Option<Durability>, DecodeError> {
    match v1::Durability::try_from(number) {
        Ok(v1::Durability::Unspecified) => Ok(None),
        Ok(v1::Durability::Ephemeral) => Ok(Some(Durability::Ephemeral)),
        Ok(v1::Durability::Buffered) => Ok(Some(Durability::Buffered)),
        Ok(v1::Durability::Synced) => Ok(Some(Durability::Synced)),
        Err(_) => Err(unknown(field, number, "Durability")),
    }
}

impl From<Option<Durability>> for v1::Durability {
    fn from(value: Option<Durability>) -> Self {
        match value {
            None => Self::Unspecified,
            Some(Durability::Ephemeral) => Self::Ephemeral,
            Some(Durability::Buffered) => Self::Buffered,
            Some(Durability::Synced) => Self::Synced,
        }
    }
}

pub(crate) fn absent(field: &'static str, number: i32) -> Result<Absent, DecodeError> {
    match v1::Absent::try_from(number) {
        Ok(v1::Absent::Unspecified | v1::Absent::Park) => Ok(Absent::Park),
        Ok(v1::Absent::Fail) => Ok(Absent::Fail),
        Err(_) => Err(unknown(field, number, "Absent")),
    }
}

impl From<Absent> for v1::Absent {
    fn from(value: Absent) -> Self {
        match value {
            Absent::Park => Self::Park,
            Absent::Fail => Self::Fail,
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
            RefusalCode "REFUSAL_CODE_", TaskState "TASK_STATE_", Presence "PRESENCE_"
        );
    }

    #[test]
    fn shifted_sets_come_back_as_they_were() {
        for &value in Priority::ALL {
            let wire = v1::Priority::from(value);
            assert_eq!(wire as i32, i32::from(value.number()) + 1);
            assert_eq!(priority("p", wire as i32), Ok(value));
        }
        for &value in Durability::ALL {
            let wire = v1::Durability::from(Some(value));
            assert_eq!(wire as i32, i32::from(value.number()) + 1);
            assert_eq!(durability("d", wire as i32), Ok(Some(value)));
        }
        assert_eq!(priority("p", 0), Ok(Priority::Normal));
        assert_eq!(durability("d", 0), Ok(None));
        assert_eq!(absent("a", 0), Ok(Absent::Park));
    }

    #[test]
    fn a_number_out_of_the_set_is_named() {
        let error = kind("envelope.kind", 99).unwrap_err().to_string();
        assert_eq!(error, "envelope.kind is 99; it must be a number of trunkline.v1.Kind");
        assert!(kind("k", 0).unwrap_err().to_string().starts_with("k is not said"));
        assert!(kind("k", -1).is_err() && kind("k", 257).is_err());
        assert!(priority("p", 5).is_err() && durability("d", 4).is_err());
        assert!(absent("a", 3).is_err());
    }
}
