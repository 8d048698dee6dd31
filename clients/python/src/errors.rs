//! Refusals and failures as exceptions, whose classes are in `trunkline.errors`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::fmt::Display;
use trunkline_agent::RequestError;
use trunkline_types::{Failure, Refusal, RefusalCode};

/// The exception for a refusal.
pub(crate) fn refused(py: Python<'_>, refusal: &Refusal) -> PyErr {
    let Refusal { code, message, retry_after } = refusal;
    let after = retry_after.map(|span| span.as_secs_f64());
    made(py, "_refused", (code.as_str(), message.as_str(), after))
}

/// The exception for a request without an answer.
pub(crate) fn unanswered(py: Python<'_>, error: &RequestError) -> PyErr {
    match error {
        RequestError::Refused(refusal) => refused(py, refusal),
        RequestError::Failed(Failure { code, reason }) => {
            made(py, "_failed", (code.as_str(), reason.as_str()))
        }
    }
}

/// The exception for something malformed.
pub(crate) fn invalid(py: Python<'_>, error: impl Display) -> PyErr {
    refused(py, &Refusal::new(RefusalCode::Invalid, error.to_string()))
}

/// An exception of `trunkline.errors` by the name of its class.
pub(crate) fn of_kind(py: Python<'_>, class: &str, message: &str) -> PyErr {
    made(py, class, (message,))
}

fn made<'py>(py: Python<'py>, maker: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let maker = PyString::new(py, maker);
    let made = py
        .import("trunkline.errors")
        .and_then(|errors| errors.getattr(maker))
        .and_then(|maker| maker.call1(arguments));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => PyRuntimeError::new_err(format!("trunkline.errors is incomplete: {error}")),
    }
}
