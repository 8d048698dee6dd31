//! What Python says of something that it sends.

use crate::errors;
use crate::settings::{span, text, unknown};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use trunkline_agent::Outgoing;
use trunkline_types::Absent;

/// Takes out what can be said only of some of what is sent.
pub(crate) fn taken<'py>(
    options: Option<&Bound<'py, PyDict>>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(options) = options else { return Ok(None) };
    let value = options.get_item(name)?;
    if value.is_some() {
        options.del_item(name)?;
    }
    Ok(value)
}

/// Sets what was said.
pub(crate) fn apply<K>(
    mut outgoing: Outgoing<K>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Outgoing<K>> {
    let Some(options) = options else { return Ok(outgoing) };
    let py = options.py();
    for (name, value) in options.iter() {
        let name = name.cast::<PyString>()?.to_cow()?;
        outgoing = match name.as_ref() {
            "priority" => outgoing.priority(text(&value)?),
            "ttl" => outgoing.ttl(span(&value)?),
            "key" => outgoing.key(text(&value)?),
            "ordering_key" => outgoing.ordering_key(text(&value)?),
            "headers" => outgoing.headers(value.extract::<Vec<(String, String)>>()?),
            "context" => outgoing.context(text(&value)?),
            "correlation" => outgoing.correlation(text(&value)?),
            "traceparent" => outgoing.traceparent(value.extract::<String>()?),
            "delay" => outgoing.delay(span(&value)?),
            "max_run" => outgoing.max_run(span(&value)?),
            "attempts" => outgoing.attempts(value.extract()?),
            "durability" => outgoing.durability(text(&value)?),
            "absent" => outgoing.absent(absent(&value)?),
            name => return Err(unknown(py, name)),
        };
    }
    Ok(outgoing)
}

fn absent(value: &Bound<'_, PyAny>) -> PyResult<Absent> {
    match value.cast::<PyString>()?.to_cow()?.as_ref() {
        "park" => Ok(Absent::Park),
        "fail" => Ok(Absent::Fail),
        "discard" => Ok(Absent::Discard),
        word => {
            let message = format!("absent is '{word}', it is one of park, fail, discard");
            Err(errors::invalid(value.py(), message))
        }
    }
}
