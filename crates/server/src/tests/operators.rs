//! Unary calls of operators, and of those who ask several agents.

use super::bench::{Bench, config, soon};
use super::calls::{id, next_publish, repeat, request_request};
use super::scripted::{Ended, Script, ScriptedSession};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;
use trunkline_proto::v1;
use trunkline_types::session::{
    Accepted, Canceled, ClientFrame, LetterAddress, Operation, Redrive, Reply, SessionItem,
};
use trunkline_types::{
    AgentCard, AgentChange, AgentControl, AgentEvent, AgentFilter, AgentId, AgentInfo, AgentNews,
    Answer, Destination, Envelope, Failure, FailureCode, Gather, GatherRule, Gathered,
    GatheredPart, InboxAddress, InboxChange, InboxEffective, InboxInfo, InboxSettings, InboxStats,
    Kind, MessageStatus, Payload, Presence, Priority, Publish, Refusal, RefusalCode, Routing,
    Schedule, ScheduleFilter, SchedulePage, WallTime, WhenFull,
};

type Call<T> = JoinHandle<Result<Response<T>, Status>>;

fn agent() -> AgentId {
    AgentId::new("worker").unwrap()
}

fn inbox() -> InboxAddress {
    InboxAddress::Skill("count".parse().unwrap())
}

fn letter() -> LetterAddress {
    LetterAddress { id: id(1), inbox: Some(inbox()) }
}

/// The number of the next operation, which must be this one.
async fn asked(session: &mut ScriptedSession, expected: &Operation) -> u64 {
    match soon(session.frame()).await {
        ClientFrame::Operations { first, operations } => {
            assert_eq!(operations, std::slice::from_ref(expected));
            first
        }
        other => panic!("{other:?}"),
    }
}

/// Sees that the call `$call` leads to the operation and returns once that is done.
macro_rules! does {
    ($bench:expr, $script:expr, $session:expr, $call:ident($request:expr), $operation:expr) => {{
        let (mut client, request) = ($bench.client().await, $request);
        let call: Call<v1::Nothing> = tokio::spawn(async move { client.$call(request).await });
        let session = match &mut $session {
            Some(session) => session,
            none => none.insert(soon($script.session()).await),
        };
        let number = asked(session, &$operation).await;
        assert!(!call.is_finished(), "it waits until the operation is done");
        session.tell([SessionItem::Done { first: number, last: number }]);
        soon(call).await.unwrap().unwrap();
    }};
}

#[tokio::test]
async fn a_cancel_with_descendants_tells_how_many_were_called_off() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let cancel = v1::Cancel {
        id: id(4).to_bytes().to_vec().into(),
        reason: "enough".into(),
        descendants: true,
    };
    let call = tokio::spawn(async move { client.cancel(cancel).await });
    let mut session = soon(script.session()).await;
    let operations = soon(session.frame()).await;
    let operation = Operation::Cancel { id: id(4), reason: "enough".into(), descendants: true };
    assert_eq!(operations, ClientFrame::Operations { first: 1, operations: vec![operation] });
    session.tell([SessionItem::Canceled(Canceled { operation: 1, messages: 3 })]);
    let canceled = soon(call).await.unwrap().unwrap().into_inner();
    assert_eq!(canceled.messages, Some(3));
}

#[tokio::test]
async fn what_operators_ask_for_is_done_before_they_are_answered() {
    let (bench, _, mut script) = Bench::start(config());
    let mut session = None;
    let change = AgentChange { weight: Some(0), draining: Some(true), healthy: None };
    let operation = Operation::SetAgent { agent: agent(), change };
    does!(bench, script, session, set_agent(v1::SetAgent::from((agent(), change))), operation);

    let unregister = v1::Unregister { agent: "worker".into() };
    let operation = Operation::Unregister { agent: agent() };
    does!(bench, script, session, unregister(unregister), operation);

    let change = InboxChange {
        when_full: Some(WhenFull::DropOldest),
        routing: Some(Routing::Weighted),
        bindings: Some(Vec::new()),
        ..InboxChange::default()
    };
    let set = v1::SetInbox::from((inbox(), change.clone()));
    let operation = Operation::SetInbox { inbox: inbox(), change: Box::new(change) };
    does!(bench, script, session, set_inbox(set), operation);

    let remove = v1::RemoveSchedule { name: "nightly".into() };
    let operation = Operation::RemoveSchedule { name: "nightly".parse().unwrap() };
    does!(bench, script, session, remove_schedule(remove), operation);

    does!(
        bench,
        script,
        session,
        purge(v1::LetterAddress::from(letter())),
        Operation::Purge(letter())
    );

    let to = Destination::topic("night").unwrap();
    let event = Publish::new(Envelope::new(id(7), Kind::Event, to, Payload::text("x")));
    let schedule = Schedule {
        name: "nightly".parse().unwrap(),
        cron: "0 3 * * *".into(),
        zone: "UTC".into(),
        publish: Arc::new(event),
    };
    let request = v1::Schedule::from(schedule.clone());
    let operation = Operation::SetSchedule(Box::new(schedule));
    does!(bench, script, session, set_schedule(request), operation);
}

#[tokio::test]
async fn what_a_call_leaves_out_is_made_at_the_edge() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let to = Destination::topic("night").unwrap();
    let event = Publish::new(Envelope::new(id(7), Kind::Event, to, Payload::text("x")));
    let mut publish = v1::Publish::from(&event);
    publish.envelope.as_mut().unwrap().id.clear();
    let schedule = v1::Schedule {
        name: "nightly".into(),
        cron: "0 3 * * *".into(),
        zone: String::new(),
        publish: Some(publish),
    };
    let call = tokio::spawn(async move { client.set_schedule(schedule).await });
    let mut session = soon(script.session()).await;
    let ClientFrame::Operations { operations, .. } = soon(session.frame()).await else {
        panic!("no operations")
    };
    let [Operation::SetSchedule(schedule)] = &operations[..] else { panic!("{operations:?}") };
    assert_eq!(schedule.publish.envelope.payload, Payload::text("x"));
    let refusal = Refusal::new(RefusalCode::Invalid, "the expression is never due");
    session.tell([SessionItem::Refused { operation: 1, refusal }]);
    assert_eq!(soon(call).await.unwrap().unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_dead_letter_sent_again_tells_the_new_messages_id() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let redrive = v1::Redrive {
        letter: Some(letter().into()),
        payload: Some(Payload::text("edited").into()),
        priority: v1::Priority::High.into(),
        ..v1::Redrive::default()
    };
    let mut again = client.clone();
    let call = tokio::spawn(async move { client.redrive(redrive).await });
    let mut session = soon(script.session()).await;
    let ClientFrame::Operations { operations, .. } = soon(session.frame()).await else {
        panic!("no operations")
    };
    let [Operation::Redrive(asked_for)] = &operations[..] else { panic!("{operations:?}") };
    let new = asked_for.id;
    let expected = Redrive {
        letter: letter(),
        id: new,
        payload: Some(Payload::text("edited")),
        destination: None,
        priority: Some(Priority::High),
    };
    assert_eq!(**asked_for, expected);
    session.tell([SessionItem::Done { first: 1, last: 1 }]);
    let sent = soon(call).await.unwrap().unwrap().into_inner();
    assert_eq!((&sent.id[..], sent.targets), (&new.to_bytes()[..], 1));

    let redrive = v1::Redrive::from(expected.clone());
    let call = tokio::spawn(async move { again.redrive(redrive).await });
    asked(&mut session, &Operation::Redrive(Box::new(expected))).await;
    let accepted =
        Accepted { operation: 2, id: new, duplicate: false, targets: 1, dropped: 0, parked: 1 };
    session.tell([SessionItem::Accepted(accepted)]);
    assert_eq!(soon(call).await.unwrap().unwrap().into_inner().parked, 1);
}

#[tokio::test]
async fn questions_of_operators_are_answered() {
    let (bench, broker, _script) = Bench::start(config());
    let mut client = bench.client().await;
    let status = MessageStatus {
        id: id(1),
        kind: Some(Kind::Event),
        destination: Some(Destination::All),
        accepted_at: Some(WallTime(3)),
        copies: Vec::new(),
    };
    broker.will_answer(Ok(Answer::Message(Box::new(status.clone()))));
    let answer = client.get_message(v1::GetMessageRequest::from(id(1))).await.unwrap();
    assert_eq!(MessageStatus::try_from(answer.into_inner()), Ok(status));

    let (counters, gauges) = Default::default();
    let info = InboxInfo {
        settings: InboxSettings { limit: Some(9), ..InboxSettings::default() },
        effective: InboxEffective::default(),
        stats: InboxStats { address: Some(inbox()), counters, gauges },
        waiting_outside: 1,
        servers: 2,
    };
    broker.will_answer(Ok(Answer::Inbox(Box::new(info.clone()))));
    let answer = client.get_inbox(v1::GetInboxRequest::from(inbox())).await.unwrap();
    assert_eq!(InboxInfo::try_from(answer.into_inner()), Ok(info));

    let page = SchedulePage { schedules: Vec::new(), next: Some("b".parse().unwrap()) };
    broker.will_answer(Ok(Answer::Schedules(page.clone())));
    let all = v1::ListSchedulesRequest::from(ScheduleFilter::default());
    let answer = client.list_schedules(all).await.unwrap();
    assert_eq!(SchedulePage::try_from(answer.into_inner()), Ok(page));

    let unknown = client.get_inbox(v1::GetInboxRequest::from(inbox())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let nobody = client.get_inbox(v1::GetInboxRequest { inbox: None }).await.unwrap_err();
    assert!(nobody.message().contains("get_inbox_request.inbox"), "{nobody}");
}

fn gathered() -> Gathered {
    let failure = Failure { code: FailureCode::Expired, reason: "no answer in time".into() };
    let parts = vec![
        GatheredPart { agent: AgentId::new("a").unwrap(), result: Ok(Payload::text("yes")) },
        GatheredPart { agent: AgentId::new("b").unwrap(), result: Err(failure) },
    ];
    Gathered { request: id(9), complete: false, parts }
}

/// A call to gather with these options, on its way; and the session of calls.
async fn gathering(
    bench: &Bench,
    script: &mut Script,
    gather: Option<Gather>,
) -> (Call<v1::Gathered>, ScriptedSession, Arc<Publish>) {
    let mut client = bench.client().await;
    let mut publish = request_request().publish.unwrap();
    publish.envelope.as_mut().unwrap().kind = 0;
    publish.options.get_or_insert_default().gather = gather.map(Into::into);
    let request = v1::GatherRequest { publish: Some(publish) };
    let call = tokio::spawn(async move { client.gather(request).await });
    let mut session = soon(script.session()).await;
    let (number, sent) = next_publish(&mut session).await;
    assert_eq!(number, 1);
    (call, session, sent)
}

#[tokio::test]
async fn what_several_agents_answer_is_returned_with_who_is_missing() {
    let (bench, _, mut script) = Bench::start(config());
    let (call, session, sent) = gathering(&bench, &mut script, None).await;
    assert_eq!(sent.envelope.kind, Kind::Request);
    assert!(sent.options.reply);
    assert_eq!(sent.options.gather, Some(Gather::new(GatherRule::All)), "everybody's answer");
    session.tell([SessionItem::Done { first: 1, last: 1 }]);
    let gathered = Gathered { request: sent.envelope.id, ..gathered() };
    session.tell([SessionItem::Gathered(gathered.clone())]);
    let answer = soon(call).await.unwrap().unwrap().into_inner();
    assert_eq!(Gathered::try_from(answer), Ok(gathered));
    assert!(bench.handle.has_no_callers());
}

#[tokio::test]
async fn a_gathering_that_repeats_another_one_is_refused() {
    let (bench, _, mut script) = Bench::start(config());
    let quorum = Gather::new(GatherRule::Quorum(2));
    let (call, session, sent) = gathering(&bench, &mut script, Some(quorum)).await;
    assert_eq!(sent.options.gather, Some(quorum));
    session.tell([SessionItem::Accepted(repeat(id(5)))]);
    let status = soon(call).await.unwrap().unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "key-reused");
    assert!(status.message().contains(&id(5).to_string()), "{status}");
    assert!(bench.handle.has_no_callers());
}

#[tokio::test]
async fn a_request_to_one_agent_gathers_nothing() {
    let (bench, _, _script) = Bench::start(config());
    let mut request = request_request();
    let options = request.publish.as_mut().unwrap().options.get_or_insert_default();
    options.gather = Some(Gather::new(GatherRule::First).into());
    let status = bench.client().await.request(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("the call Gather"), "{status}");
}

#[tokio::test]
async fn a_request_that_would_wait_for_itself_fails_its_precondition() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let call = tokio::spawn(async move { client.request(request_request()).await });
    let mut session = soon(script.session()).await;
    next_publish(&mut session).await;
    let refusal = Refusal::new(RefusalCode::Deadlock, "an ancestor holds the key 'k'");
    session.tell([SessionItem::Refused { operation: 1, refusal }]);
    let status = soon(call).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_details_error_info().unwrap().reason, "deadlock");
}

fn news(event: AgentEvent, presence: Presence) -> AgentNews {
    let agent = AgentInfo {
        card: AgentCard::new(agent()),
        owner: "ann".into(),
        presence,
        sessions: 1,
        in_flight: 0,
        credit: 1,
        waiting: 0,
        registered_at: WallTime(1),
        control: AgentControl { weight: 3, draining: true, healthy: false },
        breakers: Vec::new(),
    };
    AgentNews { event, agent }
}

#[tokio::test]
async fn each_who_follows_the_directory_has_a_session_and_a_filter_of_its_own() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let by_skill = AgentFilter { skill: Some("count".parse().unwrap()), ..AgentFilter::default() };
    let mut streams = Vec::new();
    for filter in [by_skill, AgentFilter::default()] {
        let watch = v1::WatchAgents::from(filter.clone());
        let stream = client.watch_agents(watch).await.unwrap().into_inner();
        let mut session = soon(script.session()).await;
        asked(&mut session, &Operation::WatchAgents(Box::new(filter))).await;
        session.tell([SessionItem::Done { first: 1, last: 1 }]);
        streams.push((stream, session));
    }
    let (mut first, session) = streams.remove(0);
    let told =
        [news(AgentEvent::Present, Presence::Ready), news(AgentEvent::Gone, Presence::Offline)];
    session.tell(told.clone().map(|news| SessionItem::Agent(Box::new(news))));
    for news in told {
        let heard = soon(first.message()).await.unwrap().unwrap();
        assert_eq!(AgentNews::try_from(heard), Ok(news));
    }
    drop(first);
    assert_eq!(soon(session.ended()).await, Ended::Closed, "who goes away leaves nothing behind");

    let (mut second, session) = streams.remove(0);
    session.tell([SessionItem::GoAway { reason: "upgrade".into(), reconnect: true }]);
    let status = soon(second.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "upgrade"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_followed_says_why() {
    let (bench, _, mut script) = Bench::start(config());
    let mut client = bench.client().await;
    let bad = v1::WatchAgents { skill: Some("a b".into()), ..Default::default() };
    let status = client.watch_agents(bad).await.unwrap_err();
    assert!(status.message().contains("watch_agents.skill"), "{status}");

    let watch = v1::WatchAgents::default();
    let mut stream = client.watch_agents(watch).await.unwrap().into_inner();
    let session = soon(script.session()).await;
    let refusal = Refusal::new(RefusalCode::Forbidden, "not for you");
    session.tell([SessionItem::Refused { operation: 1, refusal }]);
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_publish_that_waits_outside_holds_up_no_other_call() {
    let (bench, _, mut script) = Bench::start(config());
    let (mut slow, mut quick) = (bench.client().await, bench.client().await);
    let waiting = tokio::spawn(async move { slow.request(request_request()).await });
    let mut session = soon(script.session()).await;
    next_publish(&mut session).await;
    for number in 2..20 {
        let mut client = quick.clone();
        let call = tokio::spawn(async move {
            client.unregister(v1::Unregister { agent: "worker".into() }).await
        });
        assert_eq!(asked(&mut session, &Operation::Unregister { agent: agent() }).await, number);
        session.tell([SessionItem::Done { first: number, last: number }]);
        soon(call).await.unwrap().unwrap();
    }
    let refusal = Refusal::new(RefusalCode::InboxFull, "there was no room in time");
    session.tell([SessionItem::Refused { operation: 1, refusal }]);
    assert_eq!(soon(waiting).await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    // Whoever gets a reply instead of what several answered is told that something is wrong.
    let call = tokio::spawn(async move {
        quick.gather(v1::GatherRequest { publish: request_request().publish }).await
    });
    let (_, sent) = next_publish(&mut session).await;
    let reply = Reply { request: sent.envelope.id, agent: None, result: Ok(Payload::default()) };
    session.tell([SessionItem::Done { first: 20, last: 20 }, SessionItem::Reply(reply)]);
    assert_eq!(soon(call).await.unwrap().unwrap_err().code(), Code::Internal);
}
