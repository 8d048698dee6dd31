//! What is read and written by hand is what the generated code reads and writes.

use crate::values;
use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use std::fmt::Debug;
use std::sync::Arc;
use trunkline_proto::{Carried, CarriedItem, CarriedOperation, Carry, DecodeError, v1};
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{
    Destination, Encoding, Envelope, Gather, GatherRule, Kind, MessageId, Partition, Payload,
    Publish, PublishOptions,
};

/// What these bytes are, or why they are nothing good; `None` if no message can be cut out of them.
type Read<T> = Option<Result<T, DecodeError>>;

/// The value in these bytes according to the generated code, and by hand.
fn both<T: Carry>(bytes: &[u8]) -> [Read<T>; 2]
where
    T: TryFrom<T::Wire, Error = DecodeError>,
{
    let bytes = Bytes::copy_from_slice(bytes);
    let carried = Carried::<T>::decode(bytes.clone()).ok().map(Carried::into_own);
    [T::Wire::decode(bytes).ok().map(T::try_from), carried]
}

fn wire<T: Carry>(value: &T) -> Vec<u8> {
    T::Wire::from(value.clone()).encode_to_vec()
}

fn each_reads_what_the_other_writes<T: Carry>(value: &T) -> Result<(), TestCaseError>
where
    T: TryFrom<T::Wire, Error = DecodeError>,
{
    let carried = Carried::from(value.clone());
    let bytes = carried.encode_to_vec();
    prop_assert_eq!(&bytes, &wire(value));
    prop_assert_eq!(bytes.len(), carried.encoded_len());
    prop_assert_eq!(both(&bytes), [Some(Ok(value.clone())), Some(Ok(value.clone()))]);
    let read = Carried::<T>::decode(bytes.as_slice()).unwrap();
    prop_assert_eq!(read.encoded_len(), bytes.len());
    prop_assert_eq!(read.encode_to_vec(), bytes);
    Ok(())
}

fn in_pieces<T: Carry>(value: T, at: usize) -> Result<(), TestCaseError>
where
    T: TryFrom<T::Wire, Error = DecodeError> + Debug,
{
    let bytes = Bytes::from(wire(&value));
    let (head, tail) = bytes.split_at(at % bytes.len());
    let read = Carried::<T>::decode(head.chain(tail)).unwrap();
    prop_assert_eq!(read.into_own(), Ok(value));
    Ok(())
}

/// A few bytes replaced, and perhaps the end cut off.
#[derive(Debug, Clone)]
struct Damage {
    bytes: Vec<(prop::sample::Index, u8)>,
    end: Option<prop::sample::Index>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = (any::<prop::sample::Index>(), any::<u8>());
    (vec(byte, 1..3), any::<Option<prop::sample::Index>>())
        .prop_map(|(bytes, end)| Damage { bytes, end })
}

fn both_take_it_the_same<T: Carry>(mut bytes: Vec<u8>, damage: &Damage) -> Result<(), TestCaseError>
where
    T: TryFrom<T::Wire, Error = DecodeError>,
{
    for (at, byte) in &damage.bytes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(end) = damage.end {
        bytes.truncate(end.index(bytes.len()));
    }
    let [generated, carried] = both::<T>(&bytes);
    prop_assert_eq!(generated, carried);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn operations_are_the_same_in_both(operation in values::operation()) {
        each_reads_what_the_other_writes(&operation)?;
    }

    #[test]
    fn items_are_the_same_in_both(item in values::item()) {
        each_reads_what_the_other_writes(&item)?;
    }

    #[test]
    fn a_publish_is_the_same_in_both(publish in values::publish()) {
        each_reads_what_the_other_writes(&Operation::Publish(Arc::new(publish)))?;
    }

    #[test]
    fn a_frame_in_pieces_reads_like_one_in_one(
        publish in values::publish(),
        item in values::item(),
        at in 0_usize..4096,
    ) {
        in_pieces(Operation::Publish(Arc::new(publish)), at)?;
        in_pieces(item, at)?;
    }

    #[test]
    fn damaged_operations_are_taken_the_same(
        operation in prop_oneof![
            values::operation(),
            values::publish().prop_map(|publish| Operation::Publish(Arc::new(publish))),
        ],
        damage in damage(),
    ) {
        both_take_it_the_same::<Operation>(wire(&operation), &damage)?;
    }

    #[test]
    fn damaged_items_are_taken_the_same(item in values::item(), damage in damage()) {
        both_take_it_the_same::<SessionItem>(wire(&item), &damage)?;
    }
}

/// Every byte of some messages replaced by what makes another field of it, or the same field again.
fn both_read_the_same_where_a_field_comes_again<T: Carry>(values: impl Strategy<Value = T>)
where
    T: TryFrom<T::Wire, Error = DecodeError>,
{
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let bytes = wire(&values.new_tree(&mut runner).unwrap().current());
        for at in 0..bytes.len().min(300) {
            for key in (2..=138).step_by(8).chain([0, 1, 8, 127, 128, 255]) {
                let mut bytes = bytes.clone();
                bytes[at] = key;
                let [generated, carried] = both::<T>(&bytes);
                assert_eq!(generated, carried, "byte {at} is {key}");
            }
        }
    }
}

#[test]
fn fields_that_come_again_are_read_the_same() {
    both_read_the_same_where_a_field_comes_again(values::operation());
    both_read_the_same_where_a_field_comes_again(
        values::publish().prop_map(|publish| Operation::Publish(Arc::new(publish))),
    );
    both_read_the_same_where_a_field_comes_again(values::item());
}

/// Two values one after the other in the bytes of one.
fn merged_as_protobuf_wants_it<T: Carry>(values: &impl Strategy<Value = T>)
where
    T: TryFrom<T::Wire, Error = DecodeError>,
{
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let mut value = || wire(&values.new_tree(&mut runner).unwrap().current());
        let [generated, carried] = both::<T>(&[value(), value()].concat());
        assert!(generated.is_some());
        assert_eq!(generated, carried);
    }
}

#[test]
fn values_that_come_twice_are_merged_as_protobuf_wants_it() {
    merged_as_protobuf_wants_it(&values::operation());
    merged_as_protobuf_wants_it(
        &values::publish().prop_map(|publish| Operation::Publish(Arc::new(publish))),
    );
    merged_as_protobuf_wants_it(&values::item());
}

#[test]
fn what_is_not_said_costs_nothing() {
    let id = MessageId::from_parts(1, Partition(0), 1);
    let to = Destination::skill("s").unwrap();
    let mut publish =
        Publish::new(Envelope::new(id, Kind::Request, to, Payload::new("", vec![7; 9])));
    let len = |publish: &Publish| {
        CarriedOperation::from(Operation::Publish(Arc::new(publish.clone()))).encoded_len()
    };
    // Each with its key and, where it may be of any length, that: the id, the kind, the
    // destination, the priority, the payload, and the envelope and the publish around them.
    let plain = (2 + 16) + 2 + (2 + 3) + 2 + (3 + 2 + 9) + 2 + 2;
    assert_eq!(len(&publish), plain);
    publish.options.task = true;
    assert_eq!(len(&publish), plain + 4, "the options and what they say");
    publish.envelope.payload.encoding = Encoding::Zstd;
    assert_eq!(len(&publish), plain + 6);
}

#[test]
fn a_gathering_in_pieces_is_one() {
    let mut runner = TestRunner::deterministic();
    let mut publish = values::publish().new_tree(&mut runner).unwrap().current();
    publish.options = PublishOptions::default();
    let operation =
        |publish| v1::Operation { operation: Some(v1::operation::Operation::Publish(publish)) };
    let mut bytes = operation(v1::Publish::from(&publish)).encode_to_vec();
    let gather = |gather| {
        let options = v1::PublishOptions { gather: Some(gather), ..Default::default() };
        operation(v1::Publish { envelope: None, options: Some(options) }).encode_to_vec()
    };
    bytes.extend(gather(v1::Gather { reply_bytes: Some(77), ..Default::default() }));
    bytes.extend(gather(v1::Gather {
        rule: Some(v1::gather::Rule::Quorum(3)),
        ..Default::default()
    }));
    publish.options.gather = Some(Gather { rule: GatherRule::Quorum(3), reply_bytes: 77 });
    let whole = Some(Ok(Operation::Publish(Arc::new(publish))));
    assert_eq!(both(&bytes), [whole.clone(), whole]);
    let unsaid = Gather::from(v1::Gather::default());
    assert_eq!(unsaid, Gather::new(GatherRule::All), "everybody, within the default bound");
}

#[test]
fn a_payload_is_a_slice_of_its_frame() {
    let id = MessageId::from_parts(1, Partition(0), 1);
    let to = Destination::skill("s").unwrap();
    let payload = Payload::new("", vec![7; 900]);
    let publish = Publish::new(Envelope::new(id, Kind::Event, to, payload));
    let frame = Bytes::from(wire(&Operation::Publish(Arc::new(publish))));
    let read = CarriedOperation::decode(frame.clone()).unwrap().into_own().unwrap();
    let Operation::Publish(publish) = read else { panic!("{read:?}") };
    let data = &publish.envelope.payload.data;
    assert!(frame.as_ptr_range().contains(&data.as_ptr()), "it was copied");
}

#[test]
fn nothing_is_no_operation_and_no_item() {
    let error = CarriedOperation::default().into_own().unwrap_err();
    assert_eq!(error.to_string(), "operation.operation is missing; it is required");
    let error = CarriedItem::default().into_own().unwrap_err();
    assert_eq!(error.to_string(), "session_item.item is missing; it is required");
}
