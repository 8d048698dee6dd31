//! The broker's own agents, whose work is the server's alone to give them.

use super::bench::{Bench, soon};
use super::far::{Far, React};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};
use trunkline_proto::v1;
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_types::session::{
    ClientFrame, Credit, Hello, LetterAddress, Operation, Redrive, SessionItem,
};
use trunkline_types::{
    AgentChange, AgentId, Destination, Envelope, InboxAddress, InboxChange, Kind, MessageId,
    Partition, Payload, Publish, RefusalCode, Schedule, SessionId,
};

const OWN: [&str; 2] = ["a2a-push", "a2a-proxy"];

/// A client of the broker's own interface.
pub(crate) async fn native(bench: &Bench) -> BrokerClient<Channel> {
    let url = format!("http://{}", bench.address);
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap();
    BrokerClient::new(channel.connect().await.unwrap())
}

fn id(unique: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), unique)
}

fn task(to: Destination) -> Publish {
    let mut publish = Publish::new(Envelope::new(id(9), Kind::Request, to, Payload::text("{}")));
    publish.options.task = true;
    publish
}

fn redrive_to(agent: &str) -> Redrive {
    let destination = Some(Destination::agent(agent).unwrap());
    let letter = LetterAddress::from(id(8));
    Redrive { letter, id: id(7), payload: None, destination, priority: None }
}

fn is_forbidden<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("the broker's own"), "{status}");
}

/// How the operations of a session are answered, in the order of their numbers: the refusals of
/// those that are refused.
async fn answers(bench: &Bench, operations: Vec<Operation>) -> Vec<Option<(RefusalCode, String)>> {
    let count = operations.len();
    let hello = Hello {
        session: SessionId(5),
        card: None,
        credit: Credit::default(),
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    };
    let frames: [v1::ClientFrame; 2] =
        [hello.into(), ClientFrame::Operations { first: 1, operations }.into()];
    let outbound = stream::iter(frames).chain(stream::pending());
    let mut inbound = native(bench).await.connect(outbound).await.unwrap().into_inner();
    let mut answers = vec![None; count];
    let mut left = count;
    let place = |number: u64| usize::try_from(number).unwrap() - 1;
    while left > 0 {
        let frame = soon(inbound.message()).await.unwrap().expect("the stream goes on");
        for item in frame.items {
            match SessionItem::try_from(item).unwrap() {
                SessionItem::Done { first, last } => left -= place(last) - place(first) + 1,
                SessionItem::Refused { operation, refusal } => {
                    answers[place(operation)] = Some((refusal.code, refusal.message));
                    left -= 1;
                }
                SessionItem::Accepted(_) | SessionItem::Canceled(_) => left -= 1,
                _ => {}
            }
        }
    }
    answers
}

#[tokio::test]
async fn clients_neither_send_to_the_brokers_own_agents_nor_run_them() {
    let bench = Bench::start().await;
    let mut client = native(&bench).await;
    for own in OWN {
        let agent: AgentId = own.parse().unwrap();
        for to in [Destination::agent(own).unwrap(), Destination::agents(["helper", own]).unwrap()]
        {
            let publish = Some(v1::Publish::from(&task(to)));
            is_forbidden(client.send(v1::SendRequest { publish }).await);
        }
        let publish = Some(v1::Publish::from(&task(Destination::agent(own).unwrap())));
        is_forbidden(client.request(v1::RequestRequest { publish }).await);
        let change = (agent.clone(), AgentChange::default());
        is_forbidden(client.set_agent(v1::SetAgent::from(change)).await);
        let inbox = InboxAddress::Agent(agent);
        is_forbidden(client.set_inbox(v1::SetInbox::from((inbox, InboxChange::default()))).await);
        is_forbidden(client.redrive(v1::Redrive::from(redrive_to(own))).await);
    }
}

#[tokio::test]
async fn a_session_is_refused_what_is_about_the_brokers_own_agents_and_goes_on() {
    let bench = Bench::start().await;
    for own in OWN {
        let agent: AgentId = own.parse().unwrap();
        let to = || Destination::agent(own).unwrap();
        let schedule = Schedule {
            name: "s".parse().unwrap(),
            cron: "* * * * *".into(),
            zone: "".into(),
            publish: task(to()).into(),
        };
        let unwatch = || Operation::UnwatchAgents;
        let operations = vec![
            unwatch(),
            Operation::Publish(task(to()).into()),
            Operation::SetAgent { agent: agent.clone(), change: AgentChange::default() },
            unwatch(),
            Operation::Unregister { agent: agent.clone() },
            Operation::SetInbox { inbox: InboxAddress::Agent(agent), change: Box::default() },
            Operation::SetSchedule(Box::new(schedule)),
            Operation::Redrive(Box::new(redrive_to(own))),
            unwatch(),
        ];
        let count = operations.len();
        let answers = answers(&bench, operations).await;
        for (place, answer) in answers.into_iter().enumerate() {
            if [0, 3, count - 1].contains(&place) {
                assert_eq!(answer, None);
                continue;
            }
            let (code, message) = answer.unwrap();
            assert_eq!(code, RefusalCode::Forbidden, "{place}: {message}");
            assert!(message.contains(&format!("{own} is the broker's own")), "{message}");
        }
    }
}

#[tokio::test]
async fn what_is_set_about_an_agent_elsewhere_is_neither_called_off_nor_answered_by_clients() {
    let (bench, far) = (Bench::start().await, Far::start(|_, _, _| React::Status(404)).await);
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let mut client = native(&bench).await;
    let filter = v1::ListTasksRequest { agent: Some("a2a-proxy".into()), ..Default::default() };
    let order = loop {
        let listed = client.list_tasks(filter.clone()).await.unwrap().into_inner();
        if let Some(order) = listed.tasks.first() {
            break order.id.clone();
        }
    };
    let cancel = v1::Cancel { id: order.clone(), reason: "x".into(), descendants: false };
    is_forbidden(client.cancel(cancel).await);
    let payload = Some(Payload::text("x").into());
    is_forbidden(
        client.continue_task(v1::ContinueTaskRequest { id: order.clone(), payload }).await,
    );
    let order = MessageId::from_bytes(order[..].try_into().unwrap()).unwrap();
    let held = bench.begun("hold").await.parse().unwrap();
    let cancel = |id| Operation::Cancel { id, reason: "x".into(), descendants: false };
    let answer = Operation::Continue { task: order, payload: Payload::text("x") };
    let answers = answers(&bench, vec![cancel(order), cancel(held), answer]).await;
    for forbidden in [&answers[0], &answers[2]] {
        let (code, message) = forbidden.clone().unwrap();
        assert_eq!(code, RefusalCode::Forbidden, "{message}");
        assert!(message.contains("a2a-proxy is the broker's own"), "{message}");
    }
    assert_eq!(answers[1], None);
    bench.until(&held.to_string(), "CANCELED").await;
    // Whoever removes the agent does.
    assert_eq!(bench.raw("DELETE", "/api/v1/agents/far", &[], "").await.status, 204);
}
