//! Work that goes through: requests, tasks, events.

use super::agent::Agent;
use super::messages::{event, hello, message_id, new_id, request};
use super::running::{Running, soon};
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;
use trunkline_proto::v1;
use trunkline_types::session::{
    ClientFrame, Credit, Operation, SessionItem, Subscription, Update, UpdateBody,
};
use trunkline_types::{Outcome, Payload, Progress};

#[tokio::test]
async fn a_request_is_delivered_settled_and_answered() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    let asked = tokio::spawn(async move {
        let publish = Some(request("count", "a b c", false));
        client.request(v1::RequestRequest { publish }).await
    });
    let delivery = agent.delivery().await;
    assert_eq!(delivery.publish.envelope.payload, Payload::text("a b c"));
    let reply = Some(Payload::text("3"));
    agent.settle(delivery.token, Outcome::Complete { reply });
    let reply = soon(asked).await.unwrap().unwrap().into_inner();
    assert_eq!(reply.agent.as_deref(), Some("counter"));
    let Some(v1::reply::Result::Answer(answer)) = reply.result else { panic!("{reply:?}") };
    assert_eq!(answer.data, "3");
}

#[tokio::test]
async fn a_task_can_be_followed_to_its_end_and_is_counted() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let publish = Some(request("count", "a b", true));
    let sent = client.send(v1::SendRequest { publish }).await.unwrap().into_inner();
    let id = message_id(&sent.id);
    let watch: v1::WatchTaskRequest = (id, 0).into();
    let mut news = client.watch_task(watch).await.unwrap().into_inner();

    let mut agent = Agent::connect(&server, "counter", "count").await;
    let delivery = agent.delivery().await;
    let progress = Progress { percent: 50, text: "half".into() };
    for body in [UpdateBody::Started, UpdateBody::Progress(progress)] {
        agent.operate(Operation::Update(Update { token: delivery.token, body }));
    }
    agent.settle(delivery.token, Outcome::Complete { reply: Some(Payload::text("2")) });

    let mut states = Vec::new();
    while let Some(update) = soon(news.message()).await.unwrap() {
        if let Some(v1::task_update::Update::Event(event)) = update.update
            && let Some(v1::task_event::Body::Status(status)) = event.body
        {
            states.push(v1::TaskState::try_from(status.state).unwrap());
        }
    }
    assert_eq!(states.first(), Some(&v1::TaskState::Submitted));
    assert_eq!(states.last(), Some(&v1::TaskState::Completed));

    let get: v1::GetTaskRequest = (id, None).into();
    let task = client.get_task(get).await.unwrap().into_inner();
    assert_eq!(task.state(), v1::TaskState::Completed);
    assert_eq!(task.result.unwrap().data, "2");
    let list = client.list_tasks(v1::ListTasksRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.tasks.len(), 1);
    let agents = client.list_agents(v1::ListAgentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(agents.agents.len(), 1);
    let dead = client.list_dead_letters(v1::ListDeadLettersRequest::default()).await.unwrap();
    assert!(dead.into_inner().dead_letters.is_empty());
    let stats = client.get_stats(v1::GetStatsRequest {}).await.unwrap().into_inner();
    assert_eq!((stats.messages_accepted, stats.tasks_completed), (1, 1));
    let metrics = server.get("/metrics").await;
    for line in [
        "trunkline_messages_accepted_total 1\n",
        "trunkline_tasks_completed_total 1\n",
        "trunkline_entries_total{inbox=\"skill:count\",end=\"settled\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_task_can_be_called_off() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let publish = Some(request("count", "a b", true));
    let id = client.send(v1::SendRequest { publish }).await.unwrap().into_inner().id;
    let cancel = v1::Cancel { id: id.clone(), reason: "enough".into(), ..v1::Cancel::default() };
    let canceled = client.cancel(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(canceled.messages, None);
    let get: v1::GetTaskRequest = (message_id(&id), None).into();
    let task = client.get_task(get).await.unwrap().into_inner();
    assert_eq!(task.state(), v1::TaskState::Canceled);
    // Said again, it changes nothing; anything else is too late.
    client.cancel(cancel).await.unwrap();
    let go_on = v1::ContinueTaskRequest { id, payload: None };
    let late = client.continue_task(go_on).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_task_is_called_off_with_its_descendants_and_a_conversation_is_shown() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let mut root = request("count", "a b", true);
    root.envelope.get_or_insert_default().context_id = Some("talk".into());
    let publish = Some(root.clone());
    let id = client.send(v1::SendRequest { publish }).await.unwrap().into_inner().id;
    let mut below = request("count", "c", true);
    let envelope = below.envelope.get_or_insert_default();
    (envelope.root_id, envelope.causation_id) = (Some(id.clone()), Some(id.clone()));
    client.send(v1::SendRequest { publish: Some(below) }).await.unwrap();
    let context = v1::GetContextRequest { id: "talk".into(), history_length: None };
    let context = client.get_context(context).await.unwrap().into_inner();
    assert_eq!((context.tasks, context.tasks_open), (1, 1));
    let said = context.history.unwrap().messages;
    assert_eq!((said.len(), said[0].role()), (1, v1::Role::Caller));
    let cancel = v1::Cancel { id, descendants: true, ..v1::Cancel::default() };
    let canceled = client.cancel(cancel).await.unwrap().into_inner();
    assert_eq!(canceled.messages, Some(2));
    let context = v1::GetContextRequest { id: "silence".into(), history_length: None };
    assert_eq!(client.get_context(context).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_handler_is_told_how_long_it_may_run_and_when_that_is_over() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut publish = request("count", "a b", false);
    publish.options.get_or_insert_default().max_run_ms = Some(1);
    server.client().await.send(v1::SendRequest { publish: Some(publish) }).await.unwrap();
    let delivery = agent.delivery().await;
    assert_eq!(delivery.max_run, Some(Duration::from_millis(1)));
    let called_off = agent
        .until(|item| match item {
            SessionItem::Cancel { token, .. } => Some(token),
            _ => None,
        })
        .await;
    assert_eq!(called_off, delivery.token);
    assert!(server.get("/metrics").await.contains("trunkline_overran_total 1\n"));
}

#[tokio::test]
async fn an_agent_that_keeps_failing_is_left_alone_and_shown() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    // As many as a breaker allows by default.
    for _ in 0..5 {
        let publish = Some(request("count", "a b", false));
        client.send(v1::SendRequest { publish }).await.unwrap();
        let delivery = agent.delivery().await;
        agent.settle(delivery.token, Outcome::Fail { reason: "no".into() });
        agent.answered(agent.last_operation()).await;
    }
    let all = v1::ListAgentsRequest::default();
    let agents = client.list_agents(all).await.unwrap().into_inner().agents;
    let [breaker] = &agents[0].breakers[..] else { panic!("{agents:?}") };
    assert_eq!((breaker.state(), breaker.failures), (v1::BreakerState::Open, 5));
    assert!(breaker.open_for_ms > 0);
    assert!(server.get("/metrics").await.contains("trunkline_breakers_opened_total 1\n"));
}

#[tokio::test]
async fn an_unknown_task_is_not_found() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let id = new_id();
    let get: v1::GetTaskRequest = (id, None).into();
    let watch: v1::WatchTaskRequest = (id, 0).into();
    let cancel = v1::Cancel { id: id.to_bytes().to_vec().into(), ..v1::Cancel::default() };
    let statuses = [
        client.get_task(get).await.unwrap_err(),
        client.watch_task(watch).await.unwrap_err(),
        client.cancel(cancel).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!(status.code(), Code::NotFound, "{status}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("trunkline", "not-found"));
    }
}

#[tokio::test]
async fn subscribers_get_what_is_published() {
    let server = Running::start().await;
    let mut session = Agent::connect_with(&server, hello(7)).await;
    let pattern = "build.*".parse().unwrap();
    let subscription = Subscription::new(pattern);
    session.send(ClientFrame::Credit(Credit { deliveries: 0, events: 10 }));
    session.operate(Operation::Subscribe(subscription));
    session.answered(1).await;
    let mut client = server.client().await;
    let publish = Some(event("build.done", "yes"));
    let sent = client.send(v1::SendRequest { publish }).await.unwrap().into_inner();
    assert_eq!(sent.targets, 1);
    loop {
        if let SessionItem::Event(event) = session.item().await {
            assert_eq!(event.number, 1);
            assert_eq!(event.publish.envelope.payload, Payload::text("yes"));
            break;
        }
    }
    session.send(ClientFrame::Acknowledge { through: 1 });
}
