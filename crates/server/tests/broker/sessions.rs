//! Sessions that break, and identities that are taken.

use super::agent::Agent;
use super::messages::{message_id, request};
use super::running::Running;
use tonic::{Code, Request};
use trunkline_proto::metadata::PRINCIPAL;
use trunkline_proto::v1;
use trunkline_types::Outcome;

#[tokio::test]
async fn a_lost_session_comes_back_and_keeps_what_it_holds() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let publish = Some(request("count", "a b", true));
    let id = client.send(v1::SendRequest { publish }).await.unwrap().into_inner().id;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    assert!(!agent.welcome.resumed);
    let delivery = agent.delivery().await;

    let mut hello = agent.hello.clone();
    drop(agent);
    hello.next_operation = 1;
    hello.held = vec![delivery.token];
    let mut agent = Agent::connect_with(&server, hello).await;
    assert!(agent.welcome.resumed);
    assert!(agent.welcome.revoked.is_empty());
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    agent.answered(1).await;
    let get: v1::GetTaskRequest = (message_id(&id), None).into();
    let task = client.get_task(get).await.unwrap().into_inner();
    assert_eq!((task.state(), task.attempts), (v1::TaskState::Completed, 1));
}

#[tokio::test]
async fn an_agent_id_belongs_to_the_principal_that_registered_it() {
    let server = Running::start().await;
    let agent = Agent::connect(&server, "counter", "count").await;
    let mut hello = agent.hello.clone();
    hello.session.0 += 1;
    let frames = futures_util::stream::iter([v1::ClientFrame::from(hello)]);
    let mut request = Request::new(frames);
    request.metadata_mut().insert(PRINCIPAL, "mallory".parse().unwrap());
    let status = server.client().await.connect(request).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("counter"), "{status}");
}
