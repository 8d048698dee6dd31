//! Unary calls.

use super::bench::{Bench, config, soon};
use super::scripted::{Ended, Script, ScriptedSession};
use crate::ServerConfig;
use std::time::Duration;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use trunkline_proto::v1;
use trunkline_types::session::{Accepted, ClientFrame, Operation, Reply, SessionItem};
use trunkline_types::{
    Answer, ArtifactChunk, Destination, Envelope, Epoch, Failure, FailureCode, Kind, MessageId,
    Partition, Payload, Publish, Refusal, RefusalCode, TaskEvent, TaskEventBody, TaskSnapshot,
    TaskState, TaskUpdate, WallTime,
};

pub(crate) fn id(unique: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), unique)
}

fn publish(envelope_id: MessageId) -> v1::Publish {
    let to = Destination::skill("s").unwrap();
    (&Publish::new(Envelope::new(envelope_id, Kind::Request, to, Payload::text("x")))).into()
}

fn send_request() -> v1::SendRequest {
    v1::SendRequest { publish: Some(publish(id(9))) }
}

pub(crate) fn request_request() -> v1::RequestRequest {
    let mut publish = publish(id(9));
    // Made at the edge.
    publish.envelope.as_mut().unwrap().id.clear();
    v1::RequestRequest { publish: Some(publish) }
}

/// The number and the publish of the next operation.
pub(crate) async fn next_publish(session: &mut ScriptedSession) -> (u64, std::sync::Arc<Publish>) {
    match soon(session.frame()).await {
        ClientFrame::Operations { first, operations } => match &operations[..] {
            [Operation::Publish(publish)] => (first, publish.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn send_returns_what_the_broker_accepted_or_refused() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let mut again = client.clone();
    let first = tokio::spawn(async move { client.send(send_request()).await });
    let mut session = soon(script.session()).await;
    assert_eq!((&session.hello.card, session.hello.credit.deliveries), (&None, 0));
    let (number, sent) = next_publish(&mut session).await;
    assert_eq!((number, sent.envelope.id), (1, id(9)));
    let accepted =
        Accepted { operation: 1, id: id(5), duplicate: true, targets: 2, dropped: 1, parked: 3 };
    session.tell([SessionItem::Accepted(accepted.clone())]);
    assert_eq!(soon(first).await.unwrap().unwrap().into_inner(), accepted.into());

    let second = tokio::spawn(async move { again.send(send_request()).await });
    assert_eq!(next_publish(&mut session).await.0, 2);
    let refusal = Refusal::new(RefusalCode::InboxFull, "inbox skill:s holds 10000, the limit");
    let refusal = refusal.retry_after(Duration::from_secs(1));
    session.tell([SessionItem::Refused { operation: 2, refusal }]);
    let status = soon(second).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "inbox-full");
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn a_request_gets_an_id_and_waits_for_its_reply() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let asked = tokio::spawn(async move { client.request(request_request()).await });
    let mut session = soon(script.session()).await;
    let (_, sent) = next_publish(&mut session).await;
    assert!(sent.options.reply);
    let request = sent.envelope.id;
    let reply = Reply { request, agent: None, result: Ok(Payload::text("3")) };
    session.tell([SessionItem::Done { first: 1, last: 1 }, SessionItem::Reply(reply.clone())]);
    assert_eq!(soon(asked).await.unwrap().unwrap().into_inner(), reply.into());
}

#[tokio::test]
async fn a_repeated_request_is_told_how_the_first_one_ended() {
    tell_of_the_first(TaskState::Rejected, "not mine", FailureCode::Rejected).await;
    // The first one's sender was told so, and not that it failed.
    tell_of_the_first(TaskState::Failed, "EXPIRED", FailureCode::Expired).await;
}

/// That the first operation repeats another one.
pub(crate) fn repeat(first: MessageId) -> Accepted {
    Accepted { operation: 1, id: first, duplicate: true, targets: 0, dropped: 0, parked: 0 }
}

/// Has a request repeated whose first one ends in `state`, and checks the reply.
async fn tell_of_the_first(state: TaskState, reason: &str, code: FailureCode) {
    let (bench, broker, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let Answer::Task(mut ended) = snapshot(state, 2) else { unreachable!() };
    ended.reason = Some(reason.into());
    broker.will_answer(Ok(Answer::Task(ended)));
    broker.will_answer(Ok(snapshot(TaskState::Working, 1)));
    let asked = tokio::spawn(async move { client.request(request_request()).await });
    let session = soon(script.session()).await;
    let accepted = repeat(id(1));
    session.tell([SessionItem::Accepted(accepted)]);
    let watcher = soon(script.session()).await;
    let update = status_event(2, state);
    watcher.tell([SessionItem::Task { task: id(1), update }]);
    let failure = Failure { code, reason: reason.into() };
    let expected = Reply { request: id(1), agent: None, result: Err(failure) };
    assert_eq!(soon(asked).await.unwrap().unwrap().into_inner(), expected.into());
    assert!(bench.handle.has_no_callers());
}

/// Opens the session and leaves a request waiting. Returns the request's id, too.
async fn waiting_request(
    bench: &Bench,
    script: &mut Script,
) -> (ScriptedSession, JoinHandle<Result<(), Status>>, MessageId) {
    let mut client = bench.client().await;
    let asked = tokio::spawn(async move { client.request(request_request()).await.map(|_| ()) });
    let mut session = soon(script.session()).await;
    let (_, sent) = next_publish(&mut session).await;
    session.tell([SessionItem::Done { first: 1, last: 1 }]);
    (session, asked, sent.envelope.id)
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let (bench, _, mut script) = Bench::start(config());
    let path = "/trunkline.v1.Broker/Request";
    let answer = soon(bench.post(path, ("grpc-timeout", "30m"), &request_request())).await;
    assert!(answer.contains("grpc-status: 4\r\n"), "{answer}");
    assert!(answer.contains("30ms"), "{answer}");
    let session = soon(script.session()).await;
    session.tell([SessionItem::Done { first: 1, last: 1 }]);
    assert!(bench.handle.has_no_callers());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_behind() {
    let (bench, _, mut script) = Bench::start(config());
    let (_session, asked, _) = waiting_request(&bench, &mut script).await;
    assert!(!bench.handle.has_no_callers());
    asked.abort();
    soon(async {
        while !bench.handle.has_no_callers() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_farewell_calls_in_flight_are_answered_and_the_next_one_gets_a_new_session() {
    let (bench, _, mut script) = Bench::start(config());
    let (session, asked, request) = waiting_request(&bench, &mut script).await;
    session.tell([SessionItem::GoAway { reason: "upgrade".into(), reconnect: true }]);
    let (_another, aborted, _) = waiting_request(&bench, &mut script).await;
    aborted.abort();
    let reply = Reply { request, agent: None, result: Ok(Payload::text("3")) };
    session.tell([SessionItem::Reply(reply)]);
    soon(asked).await.unwrap().unwrap();
}

#[tokio::test]
async fn when_the_broker_lets_go_of_the_session_callers_are_told() {
    let (bench, _, mut script) = Bench::start(config());
    let (session, asked, _) = waiting_request(&bench, &mut script).await;
    drop(session);
    let status = soon(asked).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_unknown_task_is_not_found_in_every_call_that_names_one() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let get: v1::GetTaskRequest = (id(1), None).into();
    let watch: v1::WatchTaskRequest = (id(1), 0).into();
    let statuses =
        [client.get_task(get).await.unwrap_err(), client.watch_task(watch).await.unwrap_err()];
    for status in statuses {
        assert_eq!(status.code(), Code::NotFound);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("trunkline", "not-found"));
    }
    let cancel = v1::Cancel { id: id(1).to_bytes().to_vec().into(), ..v1::Cancel::default() };
    let canceled = tokio::spawn(async move { client.cancel(cancel).await });
    let mut session = soon(script.session()).await;
    soon(session.frame()).await;
    let refusal = Refusal::new(RefusalCode::NotFound, "there is no task");
    session.tell([SessionItem::Refused { operation: 1, refusal }]);
    assert_eq!(soon(canceled).await.unwrap().unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_malformed_call_names_the_field() {
    let (bench, _, _script) = Bench::start(config());
    let mut client = bench.client().await;
    let get = v1::GetTaskRequest { id: vec![1].into(), history_length: None };
    let status = client.get_task(get).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("get_task_request.id"), "{status}");
    let status = client.send(v1::SendRequest { publish: None }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("send_request.publish"), "{status}");
}

fn snapshot(state: TaskState, last_event: u64) -> Answer {
    Answer::Task(Box::new(TaskSnapshot {
        id: id(1),
        destination: Destination::skill("s").unwrap(),
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: None,
        agent: None,
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result: None,
        last_event,
        created_at: WallTime(1),
        updated_at: WallTime(2),
        history: trunkline_types::History::default(),
    }))
}

fn status_event(number: u64, state: TaskState) -> TaskUpdate {
    let body = TaskEventBody::Status { state, reason: None };
    TaskUpdate::Event(TaskEvent { number, epoch: Epoch(1), at: WallTime(1), body })
}

#[tokio::test]
async fn a_watch_ends_after_the_final_state() {
    let (bench, broker, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    broker.will_answer(Ok(snapshot(TaskState::Submitted, 1)));
    let watch: v1::WatchTaskRequest = (id(1), 1).into();
    let mut news = client.watch_task(watch).await.unwrap().into_inner();
    let mut session = soon(script.session()).await;
    let operations = vec![Operation::Watch { task: id(1), after: 1 }];
    assert_eq!(soon(session.frame()).await, ClientFrame::Operations { first: 1, operations });
    let updates = [status_event(2, TaskState::Working), status_event(3, TaskState::Completed)];
    let item = |update| SessionItem::Task { task: id(1), update };
    session.tell([SessionItem::Done { first: 1, last: 1 }]);
    session.tell(updates.clone().map(item));
    for update in updates {
        assert_eq!(soon(news.message()).await.unwrap(), Some(update.into()));
    }
    assert_eq!(soon(news.message()).await.unwrap(), None);
    assert_eq!(soon(session.ended()).await, Ended::Closed);
}

#[tokio::test]
async fn a_watch_of_a_task_that_ended_before_ends_too() {
    let (bench, broker, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    broker.will_answer(Ok(snapshot(TaskState::Failed, 3)));
    let seen_all: v1::WatchTaskRequest = (id(1), 3).into();
    let mut news = client.watch_task(seen_all).await.unwrap().into_inner();
    assert_eq!(soon(news.message()).await.unwrap(), None);

    broker.will_answer(Ok(snapshot(TaskState::Failed, 3)));
    let forgotten: v1::WatchTaskRequest = (id(1), 0).into();
    let mut news = client.watch_task(forgotten).await.unwrap().into_inner();
    let session = soon(script.session()).await;
    let gap = TaskUpdate::Gap { first: 1, last: 3 };
    session.tell([SessionItem::Task { task: id(1), update: gap.clone() }]);
    assert_eq!(soon(news.message()).await.unwrap(), Some(gap.into()));
    assert_eq!(soon(news.message()).await.unwrap(), None);
}

#[tokio::test]
async fn a_watcher_that_goes_away_closes_its_session() {
    let (bench, broker, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    broker.will_answer(Ok(snapshot(TaskState::Submitted, 1)));
    let watch: v1::WatchTaskRequest = (id(1), 0).into();
    let news = client.watch_task(watch).await.unwrap();
    let session = soon(script.session()).await;
    drop(news);
    assert_eq!(soon(session.ended()).await, Ended::Closed);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_off_and_counted() {
    let (bench, broker, mut script) =
        Bench::start(ServerConfig { max_waiting_bytes: 1 << 20, ..config() });
    let mut client = bench.client().await;
    broker.will_answer(Ok(snapshot(TaskState::Submitted, 1)));
    let watch: v1::WatchTaskRequest = (id(1), 1).into();
    let mut news = client.watch_task(watch).await.unwrap().into_inner();
    let session = soon(script.session()).await;
    // More than windows and buffers between the two can take, and half of what the default lets
    // wait.
    for number in 2..=65 {
        let payload = Payload::from(vec![0; 1 << 19]);
        let chunk = ArtifactChunk { name: "out".into(), append: true, last: false, payload };
        let body = TaskEventBody::Artifact(chunk);
        let event = TaskEvent { number, epoch: Epoch(1), at: WallTime(1), body };
        session.tell([SessionItem::Task { task: id(1), update: TaskUpdate::Event(event) }]);
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(session.ended()).await, Ended::Lost);
    let end = async {
        loop {
            match news.message().await {
                Ok(update) => assert!(update.is_some(), "the stream ended well"),
                Err(status) => return status,
            }
        }
    };
    let status = soon(end).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("the limit is 1048576"), "{status}");
    assert!(bench.get("/metrics").await.contains("trunkline_streams_cut_total 1\n"));
}
