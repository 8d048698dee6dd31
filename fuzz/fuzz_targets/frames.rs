//! What comes over the wire: no bytes make the conversions panic, and every value that they let in
//! comes back from the wire as it was.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use trunkline_proto::framed::Pieces;
use trunkline_proto::{DecodeError, check_operation, server_frame, v1};
use trunkline_types::session::{ClientFrame, Hello, Operation, Redrive, SessionItem, Welcome};
use trunkline_types::{
    AgentCard, AgentFilter, AgentInfo, AgentPage, ContextId, ContextSnapshot, CopyStatus,
    DeadLetterFilter, DeadLetterPage, Destination, Gathered, InboxAddress, InboxChange, InboxInfo,
    MessageId, MessageStatus, Partition, Refusal, Schedule, ScheduleFilter, SchedulePage, Stats,
    TaskFilter, TaskPage, TaskSnapshot, TaskUpdate,
};

/// Tries bytes as one message after the other of a list, and each that can be read as what it
/// stands for.
macro_rules! messages {
    ($bytes:expr, $which:expr; $($wire:ident => $type:ty),+ $(,)?) => {{
        let kinds: &[fn(&Bytes)] = &[$(there_and_back::<v1::$wire, $type>),+];
        kinds[usize::from($which) % kinds.len()]($bytes);
    }};
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, bytes)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(bytes);
    match which {
        0 => client(&bytes),
        1 => server(&bytes),
        2 => unary(&bytes),
        3 => {
            there_and_back::<v1::Operation, Operation>(&bytes);
            let operation = v1::Operation::decode(bytes).ok().map(Operation::try_from);
            if let Some(Ok(operation)) = operation {
                sizes(operation);
            }
        }
        4 => pieces(&bytes),
        other => messages! { &bytes, other;
            Hello => Hello,
            Welcome => Welcome,
            AgentCard => AgentCard,
            AgentInfo => AgentInfo,
            Destination => Destination,
            Refusal => Refusal,
            TaskSnapshot => TaskSnapshot,
            TaskUpdate => TaskUpdate,
            ListTasksRequest => TaskFilter,
            ListTasksResponse => TaskPage,
            ListAgentsRequest => AgentFilter,
            ListAgentsResponse => AgentPage,
            ListDeadLettersRequest => DeadLetterFilter,
            ListDeadLettersResponse => DeadLetterPage,
            ListSchedulesRequest => ScheduleFilter,
            ListSchedulesResponse => SchedulePage,
            WatchAgents => AgentFilter,
            GetTaskRequest => (MessageId, Option<u32>),
            GetContextRequest => (ContextId, Option<u32>),
            ContextSnapshot => ContextSnapshot,
            GetMessageRequest => MessageId,
            GetInboxRequest => InboxAddress,
            WatchTaskRequest => (MessageId, u64),
            MessageStatus => MessageStatus,
            CopyStatus => CopyStatus,
            InboxChange => InboxChange,
            InboxInfo => InboxInfo,
            Redrive => Redrive,
            Schedule => Schedule,
            Gathered => Gathered,
            Stats => Stats,
        },
    }
});

/// Whatever is let in is the same after another journey.
fn there_and_back<W, T>(bytes: &Bytes)
where
    W: Message + Default + From<T>,
    T: TryFrom<W, Error = DecodeError> + Clone + PartialEq + std::fmt::Debug,
{
    let Ok(wire) = W::decode(bytes.clone()) else { return };
    let Ok(value) = T::try_from(wire) else { return };
    let again = Bytes::from(W::from(value.clone()).encode_to_vec());
    let again = W::decode(again).expect("what was encoded can be decoded");
    assert_eq!(T::try_from(again), Ok(value));
}

fn client(bytes: &Bytes) {
    there_and_back::<v1::ClientFrame, ClientFrame>(bytes);
    there_and_back::<v1::ClientFrame, Hello>(bytes);
    let frame = v1::ClientFrame::decode(bytes.clone()).ok().map(ClientFrame::try_from);
    if let Some(Ok(ClientFrame::Operations { operations, .. })) = frame {
        operations.into_iter().for_each(sizes);
    }
}

/// The estimate by which a sender keeps a frame within its bound.
fn sizes(operation: Operation) {
    if let Ok(estimate) = check_operation(&operation) {
        let size = v1::Operation::from(operation).encoded_len();
        assert!(size <= estimate + 1024, "{size} is far over {estimate}");
    }
}

fn server(bytes: &Bytes) {
    let Ok(frame) = v1::ServerFrame::decode(bytes.clone()) else { return };
    if let Some(welcome) = frame.welcome {
        let _ = Welcome::try_from(welcome);
    }
    let items: Result<Vec<_>, _> = frame.items.into_iter().map(SessionItem::try_from).collect();
    let Ok(items) = items else { return };
    let again = server_frame(&mut items.clone()).encode_to_vec();
    let again = v1::ServerFrame::decode(&*again).expect("what was encoded can be decoded");
    let back: Result<Vec<_>, _> = again.items.into_iter().map(SessionItem::try_from).collect();
    assert_eq!(back, Ok(items));
}

/// What comes over a plain stream: cut anywhere, it is the same pieces, or the same error.
fn pieces(bytes: &Bytes) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let found = |portion: usize| {
        let (mut pieces, mut found) = (Pieces::default(), Vec::new());
        for portion in bytes.chunks(portion) {
            pieces.room().extend_from_slice(portion);
            pieces.came();
            loop {
                match pieces.take(1 << 10) {
                    Ok(Some(piece)) => found.push(piece),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    };
    assert_eq!(found(usize::from(cut).max(1)), found(bytes.len().max(1)));
}

/// The calls without a session, of which some may leave out what the broker then fills in.
fn unary(bytes: &Bytes) {
    let new = || MessageId::from_parts(1_700_000_000_000, Partition(0), 1);
    if let Ok(request) = v1::SendRequest::decode(bytes.clone()) {
        let _ = request.into_publish(new);
    }
    if let Ok(request) = v1::RequestRequest::decode(bytes.clone())
        && let Ok(publish) = request.into_publish(new)
    {
        assert!(publish.options.reply, "a request wants a reply");
    }
    if let Ok(request) = v1::Redrive::decode(bytes.clone()) {
        let _ = request.into_redrive(new);
    }
    if let Ok(request) = v1::Schedule::decode(bytes.clone()) {
        let _ = request.into_schedule(new);
    }
    for operation in [
        v1::ContinueTaskRequest::decode(bytes.clone()).map(Operation::try_from),
        v1::SetAgent::decode(bytes.clone()).map(Operation::try_from),
        v1::Unregister::decode(bytes.clone()).map(Operation::try_from),
        v1::SetInbox::decode(bytes.clone()).map(Operation::try_from),
        v1::RemoveSchedule::decode(bytes.clone()).map(Operation::try_from),
        v1::Cancel::decode(bytes.clone()).map(Operation::try_from),
    ] {
        if let Ok(Ok(operation)) = operation {
            sizes(operation);
        }
    }
}
