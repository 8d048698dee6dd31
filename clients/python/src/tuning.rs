//! Settings of a broker in this process, by the sections and names of the configuration file.

use crate::errors;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use std::time::Duration;
use trunkline_broker::BrokerConfig;
use trunkline_broker::settings::units::exact_span;
use trunkline_broker::settings::{Slot, find};

/// Sets what is said: values by their names, by their sections.
pub(crate) fn apply(config: &mut BrokerConfig, said: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = said.py();
    for (section, values) in said.iter() {
        let section = section.cast::<PyString>()?.to_cow()?;
        for (key, value) in values.cast::<PyDict>()?.iter() {
            let key = key.cast::<PyString>()?.to_cow()?;
            let Some(setting) = find(&section, &key) else {
                let message = format!(
                    "there is no setting '{section}.{key}' of a broker in process; `trunkline \
                     config show` lists them"
                );
                return Err(errors::invalid(py, message));
            };
            let text = text(&setting.slot, &value)?;
            setting
                .slot
                .set_text(config, &text)
                .map_err(|error| errors::invalid(py, format!("{section}.{key} {error}")))?;
        }
    }
    Ok(())
}

/// A value as the configuration file has it: numbers are seconds where a span is wanted.
fn text(slot: &Slot<BrokerConfig>, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let is_number = !value.is_instance_of::<PyBool>() && !value.is_instance_of::<PyString>();
    if is_number && matches!(slot, Slot::Span { .. } | Slot::Text { .. }) {
        let span: Option<f64> = value.extract().ok();
        if let Some(span) = span.and_then(|span| Duration::try_from_secs_f64(span).ok()) {
            return Ok(exact_span(span));
        }
    }
    Ok(value.str()?.to_cow()?.into_owned())
}
