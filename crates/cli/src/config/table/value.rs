//! How a value of a TOML file becomes a setting.

use crate::output::units::shown;
use toml::Value;
use trunkline_broker::settings::Slot;

/// Sets a value.
///
/// # Errors
/// As [`Slot::set_text`].
pub(super) fn set<S>(slot: &Slot<S>, settings: &mut S, value: &Value) -> Result<(), String> {
    match (slot, value) {
        (_, Value::String(text)) => slot.set_text(settings, text),
        (Slot::Count { .. } | Slot::Size { .. }, Value::Integer(number)) => {
            slot.set_text(settings, &number.to_string()).map_err(|error| {
                // A negative number is out of range, whatever the text's rules say.
                if *number < 0 {
                    format!("is {number}, the range is {}", slot.range())
                } else {
                    error
                }
            })
        }
        (Slot::Flag { .. }, Value::Boolean(flag)) => slot.set_text(settings, &flag.to_string()),
        (Slot::Flag { .. }, _) => {
            Err(format!("is {}, it must be {}", shown(&value.to_string()), slot.kind()))
        }
        _ => Err(format!(
            "is {}, it must be {}; the range is {}",
            shown(&value.to_string()),
            slot.kind(),
            slot.range()
        )),
    }
}
