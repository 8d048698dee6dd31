//! Payloads as Python hands them over: bytes and what they are.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use trunkline_types::Payload;

/// A payload from its bytes and its media type.
pub(crate) fn taken(data: &Bound<'_, PyBytes>, content_type: &str) -> Payload {
    let data = data.as_bytes();
    // Python frees its bytes when it likes.
    let data = if data.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(data) };
    Payload::new(content_type, data)
}

/// A payload from a pair of its bytes and its media type.
pub(crate) fn of_pair(pair: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let (data, content_type) = pair.extract::<(Bound<'_, PyBytes>, Bound<'_, PyString>)>()?;
    Ok(taken(&data, &content_type.to_cow()?))
}

/// Bytes and media type.
pub(crate) fn given<'py>(py: Python<'py>, payload: &Payload) -> PyResult<Bound<'py, PyTuple>> {
    (PyBytes::new(py, &payload.data), payload.content_type.as_str()).into_pyobject(py)
}
