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
use trunkline_proto::{Carried, CarriedItem, CarriedOperation, Carry, DecodeError, TEXT_BYTES, v1};
use trunkline_types::session::{EventDelivery, Operation, Reply, SessionItem};
use trunkline_types::{
    Destination, Encoding, Envelope, Epoch, Gather, GatherRule, Kind, MessageId, Outcome,
    Partition, Payload, Publish, PublishOptions, Settle, Token,
};

/// What these bytes are, or why they are nothing good; `None` if no message can be cut out of them.
type Read<T> = Option<Result<T, DecodeError>>;

/// The value in these bytes according to the generated code, and by hand.
fn both<T: Carry>(bytes: &[u8]) -> [Read<T>; 2] {
    let bytes = Bytes::copy_from_slice(bytes);
    let carried = Carried::<T>::decode(bytes.clone()).ok().map(Carried::into_own);
    [T::Wire::decode(bytes).ok().map(T::Wire::try_into), carried]
}

fn wire<T: Carry>(value: &T) -> Vec<u8> {
    T::Wire::from(value.clone()).encode_to_vec()
}

fn each_reads_what_the_other_writes<T: Carry>(value: &T) -> Result<(), TestCaseError> {
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

fn in_pieces<T: Carry>(value: T, at: usize) -> Result<(), TestCaseError> {
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

fn both_take_it_the_same<T: Carry>(
    mut bytes: Vec<u8>,
    damage: &Damage,
) -> Result<(), TestCaseError> {
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
fn both_read_the_same_where_a_field_comes_again<T: Carry>(values: impl Strategy<Value = T>) {
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
fn merged_as_protobuf_wants_it<T: Carry>(values: &impl Strategy<Value = T>) {
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

/// A field with a length.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    assert!(number < 16 && body.len() < 128);
    [&[number << 3 | 2, u8::try_from(body.len()).unwrap()], body].concat()
}

/// What encoders do not write, and what is at a bound.
#[test]
fn oddities_are_read_the_same() {
    let token = [0x0d, 3, 0, 0, 0, 0x11, 7, 0, 0, 0, 0, 0, 0, 0];
    let id = MessageId::from_parts(1, Partition(0), 1).to_bytes();
    let [token, id] = [field(1, &token), field(1, &id)];
    let to = field(5, &field(1, b"a"));
    let kind = [0x18, 1];
    let envelope = [&id[..], &kind, &to].concat();
    let publish = |envelope: &[u8], options: &[u8]| {
        field(1, &[field(1, envelope), field(2, options)].concat())
    };
    let settle = |token: &[u8], outcome: &[u8]| field(2, &[token, outcome].concat());
    let operations = [
        publish(&envelope, &[]),
        publish(&[&id[..], &[0x18, 0x81, 0], &to].concat(), &[]),
        publish(&[&id[..], &[0x98, 0, 1], &to].concat(), &[]),
        publish(&[&id[..], &[0x18, 0], &to].concat(), &[]),
        publish(&[&id[..], &[0x18, 0x81, 0x80, 0x80, 0x80, 0x10], &to].concat(), &[]),
        publish(&[&id[..], &kind, &field(5, &field(4, &[8, 1]))].concat(), &[]),
        publish(&[&id[..], &kind, &field(5, &[])].concat(), &[]),
        publish(
            &[&id[..], &kind, &field(5, &[field(1, b"a"), field(2, b"s")].concat())].concat(),
            &[],
        ),
        publish(&[&id[..], &field(2, b""), &kind, &to].concat(), &[]),
        publish(&[&id[..], &field(2, b"default"), &kind, &to].concat(), &[]),
        publish(&[&id[..], &kind, &field(4, b""), &to].concat(), &[]),
        publish(&[&envelope[..], &field(15, &field(1, b"h")), &field(14, b"t")].concat(), &[]),
        publish(&[&envelope[..], &field(15, &field(1, b"h")), &field(15, &[])].concat(), &[]),
        publish(&[&envelope[..], &[0x82, 1, 6], &field(2, b"d"), &field(2, b"e")].concat(), &[]),
        publish(&[&envelope[..], &[0x82, 1, 0]].concat(), &[]),
        publish(&envelope, &[8, 2]),
        publish(&envelope, &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        publish(&envelope, &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
        publish(&envelope, &[0x20, 0x81, 0x80, 0x80, 0x80, 0x10]),
        publish(&envelope, &[0x18, 0x81, 0x80, 0x80, 0x80, 0x10]),
        publish(&envelope, &[0x0b, 0x0c]),
        publish(&envelope, &[0]),
        settle(&token, &field(2, &[])),
        settle(&field(1, &[]), &field(2, &[])),
        settle(&field(1, &[0x0d, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0]), &field(2, &[])),
        settle(&token, &field(2, &field(1, &[]))),
        settle(&token, &[field(2, &[]), field(2, &field(1, &field(2, b"d")))].concat()),
        settle(&token, &[field(2, &[]), field(6, &[])].concat()),
        settle(&field(2, &[]), &token),
        [settle(&token, &field(2, &[])), publish(&envelope, &[])].concat(),
    ];
    for (index, bytes) in operations.iter().enumerate() {
        let [generated, carried] = both::<Operation>(bytes);
        assert_eq!(generated, carried, "operation {index}");
    }
    let inbox = field(3, &field(1, b"a"));
    let what = field(2, &field(1, &envelope));
    let delivery = |parts: &[&[u8]]| field(4, &parts.concat());
    let items = [
        delivery(&[&token, &what, &inbox]),
        delivery(&[&token, &what, &field(3, &[])]),
        delivery(&[&what, &token, &inbox]),
        delivery(&[&token, &what, &what, &inbox]),
        delivery(&[&token, &what, &inbox, &[0x20, 0x81, 0x80, 0x80, 0x80, 0x10]]),
        delivery(&[&token, &what, &inbox, &field(8, &field(2, b"m"))]),
        delivery(&[&token, &what, &inbox, &[0x28, 0, 0x30, 0]]),
        field(1, &[8, 3, 0x10, 2]),
        field(1, &[]),
        field(2, &[&[8, 1][..], &field(2, &[1; 16])].concat()),
        field(5, &[&[8, 1][..], &what, &[0x18, 0]].concat()),
        field(6, &[&id[..], &field(3, &[])].concat()),
        field(6, &[&id[..], &field(2, b""), &field(3, &[])].concat()),
        field(6, &[&id[..], &field(3, &[]), &field(4, &[8, 1])].concat()),
    ];
    for (index, bytes) in items.iter().enumerate() {
        let [generated, carried] = both::<SessionItem>(bytes);
        assert_eq!(generated, carried, "item {index}");
    }
}

#[test]
fn what_reaches_beyond_what_it_is_in_is_no_frame() {
    let token = field(1, &[0x0d, 3, 0, 0, 0]);
    let inner = [&token[..], &[0x12, 0]].concat();
    let length = u8::try_from(inner.len()).unwrap();
    // The operation ends where the settlement in it has begun; the bytes after it are there.
    let operations = [&[0x12, 2, 0x12, length], &inner[..]].concat();
    assert!(v1::Operations::decode(&*operations).is_err());
    let whole = [&[0x12, length + 2, 0x12, length], &inner[..]].concat();
    assert!(v1::Operations::decode(&*whole).is_ok());
    let item = [&[0x12, 2, 0x0a, 4], &[8, 1, 0x10, 2][..]].concat();
    assert!(v1::ServerFrame::decode(&*item).is_err());
}

#[test]
fn texts_are_bounded_the_same() {
    let id = MessageId::from_parts(1, Partition(0), 1);
    for bytes in [TEXT_BYTES, TEXT_BYTES + 1] {
        let to = Destination::agent("a").unwrap();
        let mut envelope = Envelope::new(id, Kind::Event, to, Payload::default());
        envelope.traceparent = Some("t".repeat(bytes).into());
        let operation = Operation::Publish(Arc::new(Publish::new(envelope)));
        let [generated, carried] = both::<Operation>(&wire(&operation));
        assert_eq!(generated.as_ref().unwrap().is_ok(), bytes == TEXT_BYTES);
        assert_eq!(generated, carried);
    }
}

#[test]
fn a_payload_is_a_slice_of_its_frame() {
    fn read<T: Carry>(value: &T, frame: &mut Bytes) -> T {
        *frame = wire(value).into();
        Carried::<T>::decode(frame.clone()).unwrap().into_own().unwrap()
    }
    let id = MessageId::from_parts(1, Partition(0), 1);
    let to = Destination::skill("s").unwrap();
    let payload = Payload::new("", vec![7; 900]);
    let publish = Arc::new(Publish::new(Envelope::new(id, Kind::Event, to, payload.clone())));
    let token = Token { epoch: Epoch(1), counter: 1 };
    let mut frame = Bytes::new();
    let check = |frame: &Bytes, data: &Bytes| {
        assert_eq!(*data, payload.data);
        assert!(frame.as_ptr_range().contains(&data.as_ptr()), "it was copied");
    };
    let Operation::Publish(read_publish) = read(&Operation::Publish(publish.clone()), &mut frame)
    else {
        panic!("another operation")
    };
    check(&frame, &read_publish.envelope.payload.data);
    let outcome = Outcome::Complete { reply: Some(payload.clone()) };
    let settle = read(&Operation::Settle(Settle { token, outcome }), &mut frame);
    let Operation::Settle(Settle { outcome: Outcome::Complete { reply: Some(reply) }, .. }) =
        settle
    else {
        panic!("another operation")
    };
    check(&frame, &reply.data);
    let event = EventDelivery { number: 1, publish, missed: 0 };
    let SessionItem::Event(event) = read(&SessionItem::Event(event), &mut frame) else {
        panic!("another item")
    };
    check(&frame, &event.publish.envelope.payload.data);
    let reply = Reply { request: id, agent: None, result: Ok(payload.clone()) };
    let SessionItem::Reply(Reply { result: Ok(answer), .. }) =
        read(&SessionItem::Reply(reply), &mut frame)
    else {
        panic!("another item")
    };
    check(&frame, &answer.data);
}

#[test]
fn nothing_is_no_operation_and_no_item() {
    let error = CarriedOperation::default().into_own().unwrap_err();
    assert_eq!(error.to_string(), "operation.operation is missing; it is required");
    let error = CarriedItem::default().into_own().unwrap_err();
    assert_eq!(error.to_string(), "session_item.item is missing; it is required");
}
