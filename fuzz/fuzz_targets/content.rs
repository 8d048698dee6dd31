//! Payloads: undoing a compression stays within its bound, what was compressed comes back, and
//! values come back from JSON and MessagePack.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use trunkline_content::{Compression, ContentError, Json, MsgPack, compress, decompress};
use trunkline_types::{Encoding, Payload};

fuzz_target!(|data: &[u8]| {
    let [kind, low, high, bytes @ ..] = data else { return };
    let limit = usize::from(u16::from_le_bytes([*low, *high]));
    let encoding = Encoding::ALL[usize::from(*kind) % Encoding::ALL.len()];
    unpacked(Payload { encoding, ..Payload::new("", bytes.to_vec()) }, limit);
    there_and_back(bytes, encoding);
    values(bytes);
});

/// What comes of foreign bytes is within the limit, and an error says what it is about.
fn unpacked(payload: Payload, limit: usize) {
    match decompress(&payload, limit) {
        Ok(plain) if payload.encoding == Encoding::Identity => assert_eq!(plain, payload),
        Ok(plain) => {
            assert_eq!(plain.encoding, Encoding::Identity);
            assert!(plain.data.len() <= limit, "{} bytes of {limit}", plain.data.len());
            // A wider limit changes nothing, and one byte less is refused.
            assert_eq!(decompress(&payload, limit + 1).as_ref(), Ok(&plain));
            if let Some(less) = plain.data.len().checked_sub(1) {
                let refused = decompress(&payload, less);
                assert!(matches!(refused, Err(ContentError::Large { .. })), "{refused:?}");
            }
            values(&plain.data);
        }
        Err(ContentError::Large { encoding, limit: told }) => {
            assert_eq!((encoding, told), (payload.encoding, limit));
        }
        Err(ContentError::Damaged { encoding, .. }) => assert_eq!(encoding, payload.encoding),
        Err(other) => panic!("another error: {other:?}"),
    }
}

fn there_and_back(bytes: &[u8], encoding: Encoding) {
    let plain = Payload::new("application/octet-stream", bytes.to_vec());
    let packed = compress(plain.clone(), &Compression { encoding, above: 0 });
    assert!(packed.data.len() <= plain.data.len());
    assert_eq!(decompress(&packed, bytes.len()), Ok(plain));
}

fn values(bytes: &[u8]) {
    let untyped = Payload::new("", bytes.to_vec());
    if let Ok(Json(value)) = Json::<Value>::decode(&untyped) {
        let written = Json(&value).encode().expect("what was read can be written");
        let again = Json::<Value>::decode(&written).expect("what was written can be read");
        assert_eq!(again.0, value);
    }
    if let Ok(MsgPack(value)) = MsgPack::<Value>::decode(&untyped) {
        let written = MsgPack(&value).encode().expect("what was read can be written");
        let again = MsgPack::<Value>::decode(&written).expect("what was written can be read");
        assert_eq!(again.0, value);
    }
}
