//! What is read and written by hand is what the generated code reads and writes.

use crate::values;
use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use prost::Message;
use std::sync::Arc;
use trunkline_proto::{Carried, CarriedInbox, DecodeError, v1};
use trunkline_types::{
    Destination, Encoding, Envelope, Gather, GatherRule, InboxAddress, Kind, MessageId, Partition,
    Payload, Publish, PublishOptions,
};

/// The publish in these bytes according to the generated code, and by hand; `None` if it is none.
fn both(bytes: &[u8]) -> [Option<Publish>; 2] {
    let generated = v1::Publish::decode(bytes).ok().and_then(|wire| Publish::try_from(wire).ok());
    let carried = Carried::decode(bytes).ok().and_then(|wire| Arc::try_from(wire).ok());
    [generated, carried.map(Arc::unwrap_or_clone)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_reads_what_the_other_writes(publish in values::publish()) {
        let generated = v1::Publish::from(&publish);
        let carried = Carried::from(Arc::new(publish.clone()));
        prop_assert_eq!(v1::Publish::from(&carried), generated.clone());
        let bytes = carried.encode_to_vec();
        prop_assert_eq!(bytes.len(), carried.encoded_len());
        for bytes in [bytes, generated.encode_to_vec()] {
            prop_assert_eq!(both(&bytes), [Some(publish.clone()), Some(publish.clone())]);
            let read = Carried::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!(read.encode_to_vec().len(), read.encoded_len());
        }
    }

    #[test]
    fn a_frame_in_pieces_reads_like_one_in_one(publish in values::publish(), at in 0_usize..4096) {
        let bytes = Bytes::from(v1::Publish::from(&publish).encode_to_vec());
        let (head, tail) = bytes.split_at(at % bytes.len());
        let read = Carried::decode(head.chain(tail)).unwrap();
        prop_assert_eq!(Arc::try_from(read), Ok(Arc::new(publish)));
    }

    #[test]
    fn both_refuse_the_same(
        publish in values::publish(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut bytes = v1::Publish::from(&publish).encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let [generated, carried] = both(&bytes);
        prop_assert_eq!(generated, carried);
    }
}

/// Every byte of some publishes replaced by what makes another field of it, or the same field
/// again: a later value puts an earlier one right in both.
#[test]
fn both_read_the_same_where_a_field_comes_again() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..40 {
        let publish = values::publish().new_tree(&mut runner).unwrap().current();
        let bytes = v1::Publish::from(&publish).encode_to_vec();
        for at in 0..bytes.len().min(300) {
            for key in (2..=138).step_by(8) {
                let mut bytes = bytes.clone();
                bytes[at] = key;
                let [generated, carried] = both(&bytes);
                assert_eq!(generated, carried, "byte {at} is {key}");
            }
        }
    }
}

/// The inbox in these bytes, or why it is none, according to the generated code, and by hand.
fn both_inboxes(bytes: &[u8]) -> [Option<Result<InboxAddress, DecodeError>>; 2] {
    [
        v1::InboxAddress::decode(bytes).ok().map(InboxAddress::try_from),
        CarriedInbox::decode(bytes).ok().map(InboxAddress::try_from),
    ]
}

proptest! {
    #[test]
    fn an_inbox_is_read_and_written_like_the_generated_one(
        inboxes in vec(values::inbox(), 1..3),
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = Vec::new();
        for inbox in &inboxes {
            let generated = v1::InboxAddress::from(inbox.clone()).encode_to_vec();
            let carried = CarriedInbox::from(inbox.clone());
            prop_assert_eq!(carried.encode_to_vec(), generated.clone());
            prop_assert_eq!(carried.encoded_len(), generated.len());
            bytes.extend(generated);
        }
        let last = inboxes.last().cloned().map(Ok);
        prop_assert_eq!(both_inboxes(&bytes), [last.clone(), last]);
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let [generated, carried] = both_inboxes(&bytes);
            // What is no text the generated code cannot even cut out of the frame.
            if generated.is_some() {
                prop_assert_eq!(generated, carried);
            } else {
                prop_assert!(carried.is_none_or(|read| read.is_err()));
            }
        }
    }
}

#[test]
fn what_is_not_said_costs_nothing() {
    let id = MessageId::from_parts(1, Partition(0), 1);
    let to = Destination::skill("s").unwrap();
    let mut publish =
        Publish::new(Envelope::new(id, Kind::Request, to, Payload::new("", vec![7; 9])));
    let len = |publish: &Publish| Carried::from(Arc::new(publish.clone())).encoded_len();
    // Each with its key and, where it may be of any length, that: the id, the kind, the
    // destination, the priority, the payload, and the envelope around them.
    let plain = (2 + 16) + 2 + (2 + 3) + 2 + (3 + 2 + 9) + 2;
    assert_eq!(len(&publish), plain);
    publish.options.task = true;
    assert_eq!(len(&publish), plain + 4, "the options and what they say");
    publish.envelope.payload.encoding = Encoding::Zstd;
    assert_eq!(len(&publish), plain + 6);
}

#[test]
fn a_gathering_in_pieces_is_one() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut publish = values::publish().new_tree(&mut runner).unwrap().current();
    publish.options = PublishOptions::default();
    let mut bytes = v1::Publish::from(&publish).encode_to_vec();
    let gather = |gather| {
        let options = v1::PublishOptions { gather: Some(gather), ..Default::default() };
        v1::Publish { envelope: None, options: Some(options) }.encode_to_vec()
    };
    bytes.extend(gather(v1::Gather { reply_bytes: Some(77), ..Default::default() }));
    bytes.extend(gather(v1::Gather {
        rule: Some(v1::gather::Rule::Quorum(3)),
        ..Default::default()
    }));
    publish.options.gather = Some(Gather { rule: GatherRule::Quorum(3), reply_bytes: 77 });
    assert_eq!(both(&bytes), [Some(publish.clone()), Some(publish)]);
    let unsaid = Gather::from(v1::Gather::default());
    assert_eq!(unsaid, Gather::new(GatherRule::All), "everybody, within the default bound");
}

#[test]
fn fields_that_come_twice_are_merged_as_protobuf_wants_it() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..200 {
        let mut bytes = Vec::new();
        for _ in 0..2 {
            let publish = values::publish().new_tree(&mut runner).unwrap().current();
            v1::Publish::from(&publish).encode(&mut bytes).unwrap();
        }
        let [generated, carried] = both(&bytes);
        assert!(generated.is_some());
        assert_eq!(generated, carried);
    }
}

#[test]
fn a_broken_rule_is_told_as_the_generated_path_tells_it() {
    let wire = |change: fn(&mut v1::Envelope)| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let publish = values::publish().new_tree(&mut runner).unwrap().current();
        let mut wire = v1::Publish::from(&publish);
        change(wire.envelope.as_mut().unwrap());
        wire
    };
    let changes: [fn(&mut v1::Envelope); 15] = [
        |e| e.id = Bytes::new(),
        |e| e.id = Bytes::from_static(&[1; 16]),
        |e| e.kind = 0,
        |e| e.kind = -1,
        |e| e.priority = 77,
        |e| e.tenant = "a b".into(),
        |e| e.source = Some(String::new()),
        |e| e.destination = None,
        |e| e.destination = Some(v1::Destination { to: None }),
        |e| {
            e.destination =
                Some(v1::Destination { to: Some(v1::destination::To::Topic("a..b".into())) });
        },
        |e| e.root_id = Some(Bytes::from_static(&[1; 3])),
        |e| e.traceparent = Some("t".repeat(trunkline_proto::TEXT_BYTES + 1)),
        |e| e.redriven_from = Some(Bytes::from_static(&[1; 3])),
        |e| e.payload.as_mut().unwrap().encoding = 5,
        |e| e.payload.as_mut().unwrap().encoding = -1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let wire = wire(change);
        let read = Carried::decode(wire.encode_to_vec().as_slice()).unwrap();
        let by_hand = Arc::<Publish>::try_from(read).unwrap_err();
        let generated = Publish::try_from(wire).unwrap_err();
        // An absent field has no value to show.
        if generated.field != "envelope.id"
            && generated.field != "envelope.kind"
            && generated.field != "destination.to"
        {
            assert_eq!(by_hand, generated, "change {index}");
        }
        let field = generated.field.replace("destination.to", "envelope.destination");
        assert!([field.as_str(), generated.field].contains(&by_hand.field), "change {index}");
    }
    let missing = Carried::decode(&[][..]).unwrap();
    let error = Arc::<Publish>::try_from(missing).unwrap_err();
    assert_eq!(error.to_string(), "publish.envelope is missing; it is required");
    let mut latin = v1::Publish::from(&Carried::default()).encode_to_vec();
    latin.extend([0x0a, 3, 0x22, 1, 0xff]);
    let error = Arc::<Publish>::try_from(Carried::decode(latin.as_slice()).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("envelope.source is '\u{fffd}'; a text must be UTF-8"));
}
