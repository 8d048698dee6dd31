//! What Python sets by name: a dictionary of which every entry has to be known.

use crate::errors;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use trunkline_types::WallTime;

/// The most seconds that a span may have, about 3,000 years.
const LONGEST: f64 = 1e11;

/// A value that is written as text.
pub(crate) fn text<T>(value: &Bound<'_, PyAny>) -> PyResult<T>
where
    T: FromStr<Err: Display>,
{
    parsed(value.py(), value.cast::<PyString>()?.to_cow()?.as_ref())
}

/// A value from its text.
pub(crate) fn parsed<T>(py: Python<'_>, text: &str) -> PyResult<T>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error| errors::invalid(py, error))
}

/// A span in seconds.
pub(crate) fn span(value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    seconds(value.py(), value.extract()?)
}

/// A span from its seconds.
pub(crate) fn seconds(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    if (0.0..=LONGEST).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    let message = format!("a span of {seconds} s is out of range, which is 0 to {LONGEST:e} s");
    Err(errors::invalid(py, message))
}

/// A moment from its seconds since the Unix epoch.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the span was checked")]
pub(crate) fn moment(value: &Bound<'_, PyAny>) -> PyResult<WallTime> {
    let since = span(value)?;
    Ok(WallTime((since.as_secs_f64() * 1000.0).round() as u64))
}

/// A setting that this module does not know.
pub(crate) fn unknown(py: Python<'_>, name: &str) -> PyErr {
    errors::invalid(py, format!("there is no setting '{name}'"))
}
