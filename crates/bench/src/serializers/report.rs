//! What a comparison of formats comes to.

use crate::machine::Machine;
use serde::Serialize;
use serde_json::{Value, json};

/// What a comparison of formats and compressions came to.
#[derive(Clone, Debug, Serialize)]
pub struct SerializersReport {
    /// How many bytes the data has as it is.
    pub bytes: usize,
    /// Whether it is JSON, so that its value was compared too.
    pub json: bool,
    /// One for each format with each compression.
    pub rows: Vec<SerializerRow>,
    machine: Machine,
    /// The version of Trunkline.
    pub version: &'static str,
}

/// One format with one compression.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SerializerRow {
    /// The format: `text` or `binary` for the data as it is, `json`, `msgpack` or `protobuf` for
    /// its value.
    pub format: &'static str,
    /// The compression; `identity` for none.
    pub encoding: &'static str,
    /// Whether the compression made it smaller; if not, it is sent without.
    pub smaller: bool,
    /// How many bytes travel.
    pub bytes: usize,
    /// The size of the data as it is, divided by what travels.
    pub ratio: f64,
    /// How long the sender takes in microseconds: writing and compressing. A median.
    pub encode_us: f64,
    /// How long the receiver takes in microseconds: decompressing and reading. A median.
    pub decode_us: f64,
    /// Of how many runs these are the medians, the fewer of the two.
    pub runs: u64,
}

impl SerializersReport {
    pub(super) fn new(bytes: usize, json: bool, rows: Vec<SerializerRow>) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self { bytes, json, rows, machine: Machine::this(), version }
    }

    /// The report for programs.
    pub fn to_json(&self) -> Value {
        json!(self)
    }
}
