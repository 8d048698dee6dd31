//! A field that breaks a rule is named, with its value and the rule.

use bytes::Bytes;
use trunkline_proto::v1::{operation::Operation as Wire, session_item::Item};
use trunkline_proto::{DecodeError, TEXT_BYTES, v1};
use trunkline_types::session::{
    ClientFrame, Hello, NumberRange, Operation, SessionItem, Subscription, Update, Welcome,
};
use trunkline_types::{
    AgentFilter, CopyStatus, Destination, Envelope, InboxAddress, InboxInfo, Kind, MessageId,
    Partition, Payload, Progress, Publish, Refusal, RefusalCode, Settle, TaskEvent,
};

fn error<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> String {
    result.unwrap_err().to_string()
}

fn envelope() -> v1::Envelope {
    let to = Destination::skill("s").unwrap();
    let id = MessageId::from_parts(1, Partition(0), 1);
    (&Envelope::new(id, Kind::Event, to, Payload::default())).into()
}

fn with(change: impl FnOnce(&mut v1::Envelope)) -> String {
    let mut envelope = envelope();
    change(&mut envelope);
    error(Envelope::try_from(envelope))
}

#[test]
fn fields_of_an_envelope() {
    assert!(Envelope::try_from(envelope()).is_ok());
    for (message, start) in [
        (with(|e| e.id = Bytes::new()), "envelope.id is 0 bytes long; an id has 16 bytes"),
        (
            with(|e| e.id = vec![1; 16].into()),
            "envelope.id is 01010101010101010101010101010101; a message id is a UUID of version 7",
        ),
        (with(|e| e.kind = 0), "envelope.kind is not said; it must be a number of"),
        (with(|e| e.kind = 8), "envelope.kind is 8; it must be a number of trunkline.v1.Kind"),
        (with(|e| e.priority = 9), "envelope.priority is 9; it must be"),
        (with(|e| e.tenant = "a b".into()), "envelope.tenant is 'a b'; tenant 'a b' has the"),
        (with(|e| e.source = Some(String::new())), "envelope.source is ''; agent id is empty"),
        (with(|e| e.destination = None), "envelope.destination is missing; it is required"),
        (with(|e| e.destination = Some(v1::Destination { to: None })), "destination.to is missing"),
        (with(|e| e.root_id = Some(vec![0; 17].into())), "envelope.root_id is 17 bytes long"),
        (with(|e| e.ordering_key = Some("k".repeat(200))), "envelope.ordering_key is 'kkk"),
        (
            with(|e| e.traceparent = Some("t".repeat(TEXT_BYTES + 1))),
            "envelope.traceparent is 65537 bytes long; the bound is 65536 bytes",
        ),
        (
            with(|e| {
                e.headers.push(v1::Header { name: "n".into(), value: "v".repeat(1 << 20) });
            }),
            "header.value is 1048576 bytes long",
        ),
    ] {
        assert!(message.starts_with(start), "{message}");
        assert!(message.len() < 400, "the value is cut: {message}");
    }
}

#[test]
fn fields_of_everything_else() {
    use v1::destination::To;
    let to = |to| error(Destination::try_from(v1::Destination { to: Some(to) }));
    let agents = v1::AgentList { ids: Vec::new() };
    let long = "r".repeat(TEXT_BYTES + 1);
    let fail = v1::settle::Outcome::Fail(v1::Fail { reason: long.clone() });
    let pause = v1::settle::Outcome::Pause(v1::Pause { reason: 3, message: None });
    let token = Some(v1::Token { epoch: 1, counter: 1 });
    let settle = |token, outcome| error(Settle::try_from(v1::Settle { token, outcome }));
    let item = |item| error(SessionItem::try_from(v1::SessionItem { item: Some(item) }));
    let hello = v1::Hello::default();
    let operations =
        v1::client_frame::Frame::Operations(v1::Operations { first: 0, operations: Vec::new() });
    let second = v1::client_frame::Frame::Hello(hello.clone());
    let client_frame = |frame| error(ClientFrame::try_from(v1::ClientFrame { frame: Some(frame) }));
    let status = v1::TaskStatus { state: 12, reason: None };
    for (message, start) in [
        (to(To::Topic("a..b".into())), "destination.topic is 'a..b'; topic 'a..b': a token"),
        (to(To::Agents(agents)), "destination.agents is empty; name an agent"),
        (to(To::Skill("é".into())), "destination.skill is 'é'; skill 'é' has the character"),
        (
            error(InboxAddress::try_from(v1::InboxAddress { owner: None })),
            "inbox_address.owner is missing",
        ),
        (
            error(Progress::try_from(v1::Progress { percent: 101, text: String::new() })),
            "progress.percent is 101; the range is 0 to 100",
        ),
        (
            error(Progress::try_from(v1::Progress { percent: u32::MAX, text: String::new() })),
            "progress.percent is 4294967295",
        ),
        (settle(None, Some(fail.clone())), "settle.token is missing"),
        (settle(token, None), "settle.outcome is missing"),
        (settle(token, Some(fail)), "fail.reason is 65537 bytes long"),
        (settle(token, Some(pause)), "pause.reason is 3; it must be"),
        (error(Update::try_from(v1::Update::default())), "update.body is missing"),
        (error(Operation::try_from(v1::Operation::default())), "operation.operation is missing"),
        (error(Publish::try_from(v1::Publish::default())), "publish.envelope is missing"),
        (
            item(Item::Done(v1::Done { first: 3, last: 2 })),
            "done.first is 3; it must not be above done.last, which is 2",
        ),
        (item(Item::Refused(v1::Refused::default())), "refused.refusal is miss"),
        (error(SessionItem::try_from(v1::SessionItem { item: None })), "session_item.item is mis"),
        (error(Hello::try_from(hello.clone())), "hello.session is 0 bytes long"),
        (
            error(Hello::try_from(v1::Hello { session: vec![0; 16].into(), ..hello })),
            "hello.next_operation is 0; operations are numbered from 1",
        ),
        (client_frame(operations), "operations.first is 0; operations are numbered from 1"),
        (client_frame(second), "client_frame.frame is a hello; only the first frame"),
        (
            error(Hello::try_from(v1::ClientFrame {
                frame: Some(v1::client_frame::Frame::Drain(v1::Nothing {})),
            })),
            "client_frame.frame is another frame; the first frame",
        ),
        (error(Welcome::try_from(v1::Welcome::default())), "welcome.limits is missing"),
        (
            error(Welcome::try_from(v1::Welcome {
                limits: Some(v1::Limits::default()),
                ..Default::default()
            })),
            "limits.operations_per_frame is 0",
        ),
        (
            error(TaskEvent::try_from(v1::TaskEvent {
                body: Some(v1::task_event::Body::Status(status)),
                ..Default::default()
            })),
            "task_status.state is 12",
        ),
        (error(Refusal::try_from(v1::Refusal::default())), "refusal.code is not said"),
    ] {
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn fields_of_what_operators_say_and_are_told() {
    let operation =
        |operation| error(Operation::try_from(v1::Operation { operation: Some(operation) }));
    let item = |item| error(SessionItem::try_from(v1::SessionItem { item: Some(item) }));
    let subscription = |change: fn(&mut v1::Subscription)| {
        let mut wire = v1::Subscription { pattern: "a".into(), ..Default::default() };
        change(&mut wire);
        error(Subscription::try_from(wire))
    };
    let id = MessageId::from_parts(1, Partition(0), 1).to_bytes().to_vec();
    let inbox: v1::InboxAddress = InboxAddress::Skill("s".parse().unwrap()).into();
    let options = |change: fn(&mut v1::PublishOptions)| {
        let mut options = v1::PublishOptions::default();
        change(&mut options);
        let publish = v1::Publish { envelope: Some(envelope()), options: Some(options) };
        error(Publish::try_from(publish))
    };
    let long = "x".repeat(TEXT_BYTES + 1);
    for (message, start) in [
        (
            subscription(|s| s.filter = Some("  ".into())),
            "subscription.filter is not a filter; the",
        ),
        (
            subscription(|s| s.filter = Some("x".repeat(5_000))),
            "subscription.filter is not a filter; the filter has 5000 bytes, the limit is 4096",
        ),
        (subscription(|s| s.group = Some(String::new())), "subscription.group is ''; group"),
        (subscription(|s| s.when_full = 4), "subscription.when_full is 4; it must be"),
        (options(|o| o.absent = 4), "publish_options.absent is 4; it must be a number of"),
        (operation(Wire::Redrive(v1::Redrive::default())), "redrive.letter is missing"),
        (operation(Wire::Purge(v1::LetterAddress::default())), "letter_address.id is 0 bytes"),
        (operation(Wire::SetAgent(v1::SetAgent::default())), "set_agent.agent is ''"),
        (operation(Wire::Unregister(v1::Unregister::default())), "unregister.agent is ''"),
        (operation(Wire::SetInbox(v1::SetInbox::default())), "set_inbox.inbox is missing"),
        (
            operation(Wire::SetInbox(v1::SetInbox {
                inbox: Some(inbox.clone()),
                change: Some(v1::InboxChange { routing: 6, ..Default::default() }),
            })),
            "inbox_change.routing is 6; it must be a number of trunkline.v1.Routing",
        ),
        (operation(Wire::SetSchedule(v1::Schedule::default())), "schedule.name is ''"),
        (
            operation(Wire::SetSchedule(v1::Schedule {
                name: "n".into(),
                cron: long,
                ..Default::default()
            })),
            "schedule.cron is 65537 bytes long",
        ),
        (operation(Wire::RemoveSchedule(v1::RemoveSchedule::default())), "remove_schedule.name"),
        (
            operation(Wire::WatchAgents(v1::WatchAgents {
                id: Some("a b".into()),
                ..Default::default()
            })),
            "watch_agents.id is 'a b'",
        ),
        (
            item(Item::Pressure(v1::Pressure { inbox: Some(inbox), percent: 256, pace_us: 0 })),
            "pressure.percent is 256; the range is 0 to 255",
        ),
        (item(Item::Pressure(v1::Pressure::default())), "pressure.inbox is missing"),
        (item(Item::Agent(v1::AgentNews::default())), "agent_news.event is not said"),
        (
            item(Item::Gathered(v1::Gathered {
                request: id.into(),
                complete: true,
                parts: vec![v1::GatheredPart { agent: "a".into(), result: None }],
            })),
            "gathered_part.result is missing",
        ),
        (
            error(NumberRange::try_from(v1::NumberRange { first: 3, last: 2 })),
            "number_range.first is 3; it must not be above number_range.last, which is 2",
        ),
        (
            error(AgentFilter::try_from(v1::ListAgentsRequest {
                presence: 6,
                ..Default::default()
            })),
            "list_agents_request.presence is 6; it must be",
        ),
        (error(CopyStatus::try_from(v1::CopyStatus::default())), "copy_status.state is not said"),
        (error(InboxInfo::try_from(v1::InboxInfo::default())), "inbox_info.stats is missing"),
    ] {
        assert!(message.starts_with(start), "{message}");
        assert!(message.len() < 400, "the value is cut: {message}");
    }
}

#[test]
fn an_error_becomes_a_refusal_that_says_the_same() {
    let error = Publish::try_from(v1::Publish::default()).unwrap_err();
    let refusal = Refusal::from(error.clone());
    assert_eq!(refusal, Refusal::new(RefusalCode::Invalid, error.to_string()));
}
