//! Inboxes that are full, and messages by their ids.

use super::agent::Agent;
use super::messages::{message_id, request};
use super::running::{Running, soon};
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;
use trunkline_proto::v1;
use trunkline_types::{
    CopyState, InboxAddress, InboxChange, InboxInfo, MessageStatus, Outcome, Routing, WhenFull,
};

fn inbox() -> InboxAddress {
    InboxAddress::Skill("count".parse().unwrap())
}

/// Sets the inbox to hold one envelope, and what happens when it does.
async fn hold_one(server: &Running, when_full: WhenFull) {
    let change = InboxChange {
        when_full: Some(when_full),
        wait: Some(Duration::from_hours(1)),
        limit: Some(1),
        routing: Some(Routing::RoundRobin),
        ..InboxChange::default()
    };
    server.client().await.set_inbox(v1::SetInbox::from((inbox(), change))).await.unwrap();
}

async fn shown(server: &Running) -> InboxInfo {
    let ask = v1::GetInboxRequest::from(inbox());
    server.client().await.get_inbox(ask).await.unwrap().into_inner().try_into().unwrap()
}

fn send(text: &str) -> v1::SendRequest {
    v1::SendRequest { publish: Some(request("count", text, false)) }
}

#[tokio::test]
async fn a_call_waits_outside_a_full_inbox_and_holds_up_no_other() {
    let server = Running::start().await;
    hold_one(&server, WhenFull::Wait).await;
    let mut client = server.client().await;
    let first = client.send(send("first")).await.unwrap().into_inner();
    assert_eq!(first.parked, 1, "nobody serves it yet");
    let waiting = tokio::spawn(async move { client.send(send("second")).await });
    soon(async {
        while shown(&server).await.waiting_outside == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(server.get("/metrics").await.contains("trunkline_waiting_outside 1\n"));
    let settings = shown(&server).await.settings;
    assert_eq!((settings.limit, settings.when_full), (Some(1), Some(WhenFull::Wait)));
    assert_eq!(settings.routing, Some(Routing::RoundRobin));

    // Another call of the same principal, over the same session.
    let publish = Some(request("other", "x", false));
    server.client().await.send(v1::SendRequest { publish }).await.unwrap();
    assert!(!waiting.is_finished());

    let mut agent = Agent::connect(&server, "counter", "count").await;
    let delivery = agent.delivery().await;
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    soon(waiting).await.unwrap().unwrap();
    assert_eq!(agent.delivery().await.publish.envelope.payload.to_text(), "second");
}

#[tokio::test]
async fn a_full_inbox_that_rejects_says_when_to_come_back() {
    let server = Running::start().await;
    hold_one(&server, WhenFull::Reject).await;
    let mut client = server.client().await;
    client.send(send("first")).await.unwrap();
    let status = client.send(send("second")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "inbox-full");
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn a_message_is_shown_and_called_off_by_its_id() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let id = message_id(&client.send(send("x")).await.unwrap().into_inner().id);
    let ask = || v1::GetMessageRequest::from(id);
    let status = client.get_message(ask()).await.unwrap().into_inner();
    let status = MessageStatus::try_from(status).unwrap();
    let [copy] = &status.copies[..] else { panic!("{status:?}") };
    assert_eq!((copy.inbox.clone(), copy.state), (Some(inbox()), CopyState::Parked));

    let cancel = v1::Cancel {
        id: id.to_bytes().to_vec().into(),
        reason: "enough".into(),
        descendants: false,
    };
    client.cancel(cancel).await.unwrap();
    let status = client.get_message(ask()).await.unwrap().into_inner();
    let status = MessageStatus::try_from(status).unwrap();
    assert_eq!(status.copies[0].state, CopyState::Canceled);
    let stats = client.get_stats(v1::GetStatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.counters.unwrap().canceled, 1);
}
