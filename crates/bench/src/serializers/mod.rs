//! What formats and compressions come to on somebody's own data.
//!
//! Owns the comparison: every format that the data can be in, with every compression; sizes are
//! exact, times are medians of many runs within a bound, and what is decoded is compared with what
//! was encoded. Nothing goes over a broker: this is what sender and receiver pay for themselves.

mod protobuf;
mod report;
mod timing;

pub use report::{SerializerRow, SerializersReport};

use crate::BenchError;
use bytes::Bytes;
use prost_types::Value as Message;
use serde_json::Value;
use timing::{Timing, median};
use trunkline_content::{Compression, ContentError, Format, Json, MsgPack, compress, decompress};
use trunkline_types::{Encoding, Payload};

/// The largest payload that a broker can be made to take.
const MOST_BYTES: usize = 8 << 20;

/// How many orders the built-in sample has.
const ORDERS: u32 = 40;

/// Data to compare formats on, in one of the forms that a sender has it in.
enum Subject<'a> {
    /// Bytes that travel as they are; as text they must be UTF-8.
    Bytes(Format, &'a Bytes),
    /// A value that is written as JSON or MessagePack.
    Value(Format, &'a Value),
    /// The same value as the message that protobuf has for JSON.
    Message(&'a Message),
}

/// What is sent by programs that have nothing better to say: a list of orders as JSON, about
/// 6 KiB, the same in every run.
pub fn sample() -> Vec<u8> {
    let order = |number: u32| {
        serde_json::json!({
            "order": 10_000 + number,
            "customer": format!("customer-{:04}", number * 7919 % 1000),
            "items": [
                { "name": "paper, A4, 500 sheets", "count": number % 5 + 1, "price": 4.95 },
                { "name": "ink, black", "count": 1, "price": 18.5 },
            ],
            "urgent": number.is_multiple_of(7),
            "note": null,
        })
    };
    let orders: Value = (0..ORDERS).map(order).collect();
    orders.to_string().into_bytes()
}

/// Compares formats and compressions on some data: the data as it is and, if it is JSON, its value
/// as JSON, as MessagePack and as `google.protobuf.Value`; each plain and with every compression.
/// There is no protobuf of a value that is nested deeper than its readers go, 32 levels.
///
/// # Errors
/// There is no data or more than 8 MiB; what was decoded is not what was encoded.
pub fn serializers(data: Vec<u8>) -> Result<SerializersReport, BenchError> {
    if data.is_empty() || data.len() > MOST_BYTES {
        return Err(BenchError::DataSize { bytes: data.len(), most: MOST_BYTES });
    }
    let raw = if std::str::from_utf8(&data).is_ok() { Format::Text } else { Format::Binary };
    let data = Bytes::from(data);
    let value: Option<Value> = serde_json::from_slice(&data).ok();
    let message = value.as_ref().and_then(protobuf::message);
    let mut subjects = vec![Subject::Bytes(raw, &data)];
    if let Some(value) = &value {
        subjects.extend([Format::Json, Format::MsgPack].map(|form| Subject::Value(form, value)));
    }
    subjects.extend(message.as_ref().map(Subject::Message));
    let mut rows = Vec::new();
    for subject in &subjects {
        for &encoding in Encoding::ALL {
            rows.push(row(subject, encoding, data.len())?);
        }
    }
    Ok(SerializersReport::new(data.len(), value.is_some(), rows))
}

fn row(
    subject: &Subject<'_>,
    encoding: Encoding,
    before: usize,
) -> Result<SerializerRow, BenchError> {
    let compression = Compression { encoding, above: 0 };
    let pack = || Ok::<_, ContentError>(compress(subject.encode()?, &compression));
    let packed = pack().map_err(wrong)?;
    let unpack = || {
        let plain = decompress(&packed, MOST_BYTES * 4)?;
        subject.decode(&plain).map(|()| plain)
    };
    let plain = unpack().map_err(wrong)?;
    if plain != subject.encode().map_err(wrong)? {
        let message = format!("{encoding} gives back something else than it was given");
        return Err(BenchError::Serializer(message));
    }
    let Timing { each: encode, runs: encode_runs } = median(pack).map_err(wrong)?;
    let Timing { each: decode, runs: decode_runs } = median(unpack).map_err(wrong)?;
    let bytes = packed.data.len();
    Ok(SerializerRow {
        format: subject.format().as_str(),
        encoding: encoding.as_str(),
        smaller: encoding == Encoding::Identity || packed.encoding == encoding,
        bytes,
        #[allow(clippy::cast_precision_loss, reason = "both are at most some MiB")]
        ratio: before as f64 / bytes.max(1) as f64,
        encode_us: encode.as_secs_f64() * 1e6,
        decode_us: decode.as_secs_f64() * 1e6,
        runs: encode_runs.min(decode_runs),
    })
}

impl Subject<'_> {
    fn format(&self) -> Format {
        match self {
            Self::Bytes(format, _) | Self::Value(format, _) => *format,
            Self::Message(_) => Format::Protobuf,
        }
    }

    /// What its sender does. Bytes are copied once, as from a program's own memory.
    fn encode(&self) -> Result<Payload, ContentError> {
        match self {
            Self::Bytes(format, data) => {
                Ok(Payload::new(format.content_type(), Bytes::copy_from_slice(data)))
            }
            Self::Value(Format::MsgPack, value) => MsgPack(*value).encode(),
            Self::Value(_, value) => Json(*value).encode(),
            Self::Message(message) => Ok(protobuf::encode(message)),
        }
    }

    /// What its receiver does: a value is read, a text is checked to be one.
    fn decode(&self, payload: &Payload) -> Result<(), ContentError> {
        match self {
            Self::Bytes(Format::Text, _) => {
                let text = std::str::from_utf8(&payload.data);
                let bad = |error: std::str::Utf8Error| ContentError::Decode {
                    what: "text",
                    reason: error.to_string(),
                };
                text.map(|_text| ()).map_err(bad)
            }
            Self::Bytes(..) => Ok(()),
            Self::Value(Format::MsgPack, _) => MsgPack::<Value>::decode(payload).map(read),
            Self::Value(..) => Json::<Value>::decode(payload).map(read),
            Self::Message(_) => protobuf::decode(payload).map(read),
        }
    }
}

/// Somebody has it: the reading of it is not optimized away.
fn read<T>(value: T) {
    std::hint::black_box(value);
}

fn wrong(error: impl std::fmt::Display) -> BenchError {
    BenchError::Serializer(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(report: &SerializersReport) -> Vec<(&str, &str, usize)> {
        report.rows.iter().map(|row| (row.format, row.encoding, row.bytes)).collect()
    }

    #[test]
    fn json_is_compared_in_every_format_and_compression() {
        let report = serializers(sample()).unwrap();
        assert!(report.json);
        let formats: Vec<_> =
            sizes(&report).iter().map(|(format, encoding, _)| (*format, *encoding)).collect();
        let expected: Vec<_> = ["text", "json", "msgpack", "protobuf"]
            .into_iter()
            .flat_map(|format| ["identity", "gzip", "zstd", "lz4"].map(|with| (format, with)))
            .collect();
        assert_eq!(formats, expected);
        let size = |format, with| {
            sizes(&report).into_iter().find(|row| (row.0, row.1) == (format, with)).unwrap().2
        };
        assert!(size("msgpack", "identity") < size("json", "identity"));
        // It names the type of every value, and has no short form for small numbers.
        assert!(size("protobuf", "identity") > size("msgpack", "identity"));
        assert!(size("json", "gzip") < size("json", "identity") / 4);
        assert!(report.rows.iter().all(|row| row.smaller && row.encode_us > 0.0 && row.runs >= 3));
    }

    #[test]
    fn what_is_nested_too_deeply_for_protobuf_is_compared_without_it() {
        for (depth, formats) in [(32, 16), (33, 12)] {
            let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let objects = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            for text in [lists, objects] {
                assert_eq!(serializers(text.into_bytes()).unwrap().rows.len(), formats, "{depth}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_compared_as_it_is_and_what_does_not_shrink_says_so() {
        let noise: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(167) ^ 0xA5).collect();
        let report = serializers(noise).unwrap();
        assert!(!report.json);
        let binary = sizes(&report);
        assert_eq!(binary.len(), 4);
        assert!(binary.iter().all(|row| row.0 == "binary" && row.2 == 64));
        let smaller: Vec<_> = report.rows.iter().map(|row| row.smaller).collect();
        assert_eq!(smaller, [true, false, false, false]);
    }

    #[test]
    fn nothing_and_too_much_are_refused_with_the_range() {
        for size in [0, MOST_BYTES + 1] {
            let text = serializers(vec![0; size]).unwrap_err().to_string();
            assert!(text.contains(&format!("has {size} bytes, the range is 1 to")), "{text}");
        }
    }
}
