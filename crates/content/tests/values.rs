//! Values as payloads.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use trunkline_content::{Compression, ContentError, Json, MsgPack, compress};
use trunkline_types::{Encoding, Payload};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Order {
    name: String,
    count: u64,
    #[serde(default)]
    notes: Vec<Option<i32>>,
}

fn order() -> impl Strategy<Value = Order> {
    let notes = prop::collection::vec(any::<Option<i32>>(), 0..8);
    (".*", any::<u64>(), notes).prop_map(|(name, count, notes)| Order { name, count, notes })
}

proptest! {
    #[test]
    fn a_value_comes_back_from_both(order in order()) {
        let json = Json(&order).encode().unwrap();
        prop_assert_eq!(&json.content_type, "application/json");
        prop_assert_eq!(&Json::<Order>::decode(&json).unwrap().0, &order);
        let packed = MsgPack(&order).encode().unwrap();
        prop_assert_eq!(&packed.content_type, "application/msgpack");
        prop_assert_eq!(&MsgPack::<Order>::decode(&packed).unwrap().0, &order);
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let payload = Payload::from(data);
        let _ = MsgPack::<serde_json::Value>::decode(&payload);
        let _ = MsgPack::<Order>::decode(&payload);
        let _ = Json::<serde_json::Value>::decode(&payload);
    }
}

#[test]
fn a_number_in_json_is_the_same_to_the_last_bit() {
    for number in [2.222_222_222_222_222_2e33, f64::MIN_POSITIVE, 0.1 + 0.2, -1.0e-310] {
        let Json(back) = Json::<f64>::decode(&Json(number).encode().unwrap()).unwrap();
        assert_eq!(back.to_bits(), number.to_bits(), "{number:e} came back as {back:e}");
    }
}

#[test]
fn fields_may_come_and_go_in_both() {
    #[derive(Deserialize)]
    struct Newer {
        name: String,
        #[serde(default)]
        count: u64,
    }
    let older = BTreeMap::from([("name", "a")]);
    let Json(newer) = Json::<Newer>::decode(&Json(&older).encode().unwrap()).unwrap();
    assert_eq!((newer.name.as_str(), newer.count), ("a", 0));
    let MsgPack(newer) = MsgPack::<Newer>::decode(&MsgPack(&older).encode().unwrap()).unwrap();
    assert_eq!((newer.name.as_str(), newer.count), ("a", 0));
}

#[test]
fn a_payload_of_another_type_or_compressed_is_refused_by_name() {
    let wrong = Json::<u8>::decode(&Payload::new("image/png", "1")).unwrap_err();
    assert_eq!(wrong.to_string(), "the payload is 'image/png', application/json is wanted");
    assert_eq!(Json::<u8>::decode(&Payload::from("1")).unwrap().0, 1);
    assert_eq!(Json::<u8>::decode(&Payload::new("", "1")).unwrap().0, 1);
    let packed = compress(Json(vec![0; 9999]).encode().unwrap(), &Compression::new(Encoding::Lz4));
    let error = Json::<Vec<u8>>::decode(&packed).unwrap_err();
    assert_eq!(error, ContentError::Compressed(Encoding::Lz4));
}

#[test]
fn what_follows_a_value_and_what_is_nested_too_deep_is_refused() {
    let error = MsgPack::<u8>::decode(&Payload::from(vec![1, 2])).unwrap_err().to_string();
    assert!(error.contains("1 bytes follow the value"), "{error}");
    let deep = Payload::from(vec![0x91; 5000]);
    let error = MsgPack::<serde_json::Value>::decode(&deep).unwrap_err().to_string();
    assert!(error.contains("depth limit"), "{error}");
    let deep = Payload::from("[".repeat(5000));
    assert!(Json::<serde_json::Value>::decode(&deep).is_err());
}

#[test]
fn a_value_that_json_cannot_say_is_refused() {
    let map = BTreeMap::from([(vec![1], 1)]);
    let error = Json(&map).encode().unwrap_err().to_string();
    assert!(error.starts_with("the value cannot be written as JSON: key must be"), "{error}");
}
