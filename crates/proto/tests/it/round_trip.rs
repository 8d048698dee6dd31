//! Every value comes back from the wire as it was.

use crate::values;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use std::sync::Arc;
use trunkline_proto::{DecodeError, FRAME_BYTES, check_operation, server_frame, v1};
use trunkline_types::session::{ClientFrame, Hello, Operation, SessionItem};
use trunkline_types::{Failure, FailureCode, Gathered, GatheredPart, MessageId, Publish};

/// Encodes to bytes, decodes them and converts back.
fn there_and_back<T, W>(value: W) -> Result<T, DecodeError>
where
    W: Message + Default,
    T: TryFrom<W, Error = DecodeError>,
{
    let bytes = Bytes::from(value.encode_to_vec());
    drop(value);
    T::try_from(W::decode(bytes).expect("what was encoded can be decoded"))
}

macro_rules! round_trips {
    ($($name:ident: $strategy:expr => $wire:ty),+ $(,)?) => {
        proptest! {
            $(
                #[test]
                fn $name(value in $strategy) {
                    prop_assert_eq!(there_and_back(<$wire>::from(value.clone())), Ok(value));
                }
            )+
        }
    };
}

round_trips! {
    a_hello: values::hello() => v1::Hello,
    a_client_frame: values::client_frame() => v1::ClientFrame,
    an_operation: values::operation() => v1::Operation,
    a_session_item: values::item() => v1::SessionItem,
    a_welcome: values::welcome() => v1::Welcome,
    a_refusal: values::refusal() => v1::Refusal,
    a_destination: values::destination() => v1::Destination,
    a_payload: values::payload() => v1::Payload,
    a_card: values::card() => v1::AgentCard,
    a_task: values::snapshot() => v1::TaskSnapshot,
    a_task_update: values::task_update() => v1::TaskUpdate,
    a_task_request: (values::id(), any::<Option<u32>>()) => v1::GetTaskRequest,
    a_context_request: (values::context(), any::<Option<u32>>()) => v1::GetContextRequest,
    a_context: values::context_snapshot() => v1::ContextSnapshot,
    a_task_filter: values::task_filter() => v1::ListTasksRequest,
    a_task_page: values::task_page() => v1::ListTasksResponse,
    an_agent_filter: values::agent_filter() => v1::ListAgentsRequest,
    agents: values::agent_page() => v1::ListAgentsResponse,
    a_dead_letter_filter: values::dead_letter_filter() => v1::ListDeadLettersRequest,
    dead_letters: values::dead_letter_page() => v1::ListDeadLettersResponse,
    figures: values::stats() => v1::Stats,
    a_watch_request: (values::id(), any::<u64>()) => v1::WatchTaskRequest,
    a_filter_of_who_follows_the_directory: values::watch_filter() => v1::WatchAgents,
    news_of_an_agent: values::agent_news() => v1::AgentNews,
    a_dead_letter_sent_again: values::redrive() => v1::Redrive,
    the_address_of_a_dead_letter: values::letter() => v1::LetterAddress,
    answers_of_several: values::gathered() => v1::Gathered,
    a_change_of_an_inbox: values::inbox_change() => v1::InboxChange,
    an_inbox: values::inbox_info() => v1::InboxInfo,
    an_inbox_request: values::inbox() => v1::GetInboxRequest,
    a_message_request: values::id() => v1::GetMessageRequest,
    a_message: values::message_status() => v1::MessageStatus,
    a_schedule: values::schedule() => v1::Schedule,
    a_schedule_filter: values::schedule_filter() => v1::ListSchedulesRequest,
    schedules: values::schedule_page() => v1::ListSchedulesResponse,
}

proptest! {
    #[test]
    fn a_publish(publish in values::publish()) {
        prop_assert_eq!(there_and_back::<Publish, v1::Publish>((&publish).into()), Ok(publish));
    }

    #[test]
    fn the_first_frames_of_both_sides(hello in values::hello(), welcome in values::welcome()) {
        prop_assert_eq!(there_and_back::<Hello, v1::ClientFrame>(hello.clone().into()), Ok(hello));
        let frame = v1::ServerFrame::from(welcome.clone());
        prop_assert_eq!(there_and_back(frame.welcome.unwrap()), Ok(welcome));
    }

    #[test]
    fn a_frame_of_items_keeps_their_order(items in vec(values::item(), 0..8)) {
        let frame = server_frame(&mut items.clone());
        let frame = v1::ServerFrame::decode(frame.encode_to_vec().as_slice()).unwrap();
        let back: Result<Vec<_>, _> = frame.items.into_iter().map(SessionItem::try_from).collect();
        prop_assert_eq!(back, Ok(items));
    }

    #[test]
    fn a_unary_call_completes_what_is_left_out(publish in values::publish(), new in values::id()) {
        let mut wire = v1::Publish::from(&publish);
        let send = v1::SendRequest { publish: Some(wire.clone()) };
        prop_assert_eq!(send.into_publish(|| new), Ok(Arc::new(publish.clone())));
        let envelope = wire.envelope.as_mut().unwrap();
        envelope.id = Bytes::new();
        envelope.kind = 0;
        let request = v1::RequestRequest { publish: Some(wire) }.into_publish(|| new).unwrap();
        prop_assert_eq!(request.envelope.id, new);
        prop_assert_eq!(request.envelope.kind, trunkline_types::Kind::Request);
        prop_assert!(request.options.reply);
    }

    #[test]
    fn sizes_are_never_estimated_far_too_low(operation in values::operation()) {
        let estimate = check_operation(&operation).unwrap();
        let size = v1::Operation::from(operation).encoded_len();
        prop_assert!(size <= estimate + 1024, "{size} is far over {estimate}");
    }
}

#[test]
fn reasons_of_very_many_are_shortened_to_fit_a_frame() {
    let id = MessageId::from_parts(1, trunkline_types::Partition(0), 1);
    let reason = "é".repeat(4 << 10);
    let part = |number: usize| {
        let failure = Failure { code: FailureCode::Failed, reason: reason.clone() };
        GatheredPart { agent: format!("agent-{number}").parse().unwrap(), result: Err(failure) }
    };
    let gathered =
        |count| Gathered { request: id, complete: false, parts: (0..count).map(part).collect() };
    let few = gathered(1_000);
    assert_eq!(there_and_back::<Gathered, v1::Gathered>(few.clone().into()), Ok(few));
    let frame = server_frame(&mut vec![SessionItem::Gathered(gathered(5_000))]);
    assert!(frame.encoded_len() < FRAME_BYTES);
    let item = SessionItem::try_from(frame.items.into_iter().next().unwrap()).unwrap();
    let SessionItem::Gathered(back) = item else { panic!("{item:?}") };
    assert_eq!(back.parts.len(), 5_000, "everybody is named");
    let short = &back.parts[0].result.as_ref().unwrap_err().reason;
    assert_eq!(*short, format!("{}…", "é".repeat(32)));
}

#[test]
fn a_full_frame_has_room_for_the_largest_operation() {
    let id = MessageId::from_parts(1, trunkline_types::Partition(0), 1);
    let largest = trunkline_types::Limits { payload_bytes: 8 << 20, ..Default::default() };
    let payload = vec![0; largest.payload_bytes].into();
    let operation = Operation::Continue { task: id, payload };
    let full = trunkline_proto::FRAME_FULL_BYTES + check_operation(&operation).unwrap();
    assert!(full < FRAME_BYTES);
    let frame = ClientFrame::Operations { first: 1, operations: vec![operation] };
    assert!(v1::ClientFrame::from(frame).encoded_len() < FRAME_BYTES);
}
