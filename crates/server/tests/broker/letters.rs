//! Dead letters: found, sent again, deleted.

use super::agent::Agent;
use super::messages::{message_id, request};
use super::running::Running;
use tonic::Code;
use tonic_types::StatusExt;
use trunkline_proto::v1;
use trunkline_types::session::LetterAddress;
use trunkline_types::{DeadLetterFilter, MessageId, Outcome, Payload};

/// Has a task with this text given up for a reason, and returns its id.
async fn dead(server: &Running, agent: &mut Agent, text: &str, reason: &str) -> MessageId {
    let publish = Some(request("count", text, true));
    let sent = server.client().await.send(v1::SendRequest { publish }).await.unwrap();
    let delivery = agent.delivery().await;
    agent.settle(delivery.token, Outcome::DeadLetter { reason: reason.into() });
    agent.answered(agent.last_operation()).await;
    message_id(&sent.into_inner().id)
}

fn letter(id: MessageId) -> LetterAddress {
    LetterAddress { id, inbox: None }
}

/// The ids of the dead letters that a filter finds.
async fn listed(server: &Running, filter: DeadLetterFilter) -> Vec<MessageId> {
    let ask = v1::ListDeadLettersRequest::from(filter);
    let page = server.client().await.list_dead_letters(ask).await.unwrap().into_inner();
    let id = |letter: v1::DeadLetter| letter.publish.unwrap().envelope.unwrap().id;
    page.dead_letters.into_iter().map(|letter| message_id(&id(letter))).collect()
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_edited_and_says_what_it_was_made_from() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let old = dead(&server, &mut agent, "a b", "no counter").await;
    let redrive = v1::Redrive {
        letter: Some(letter(old).into()),
        payload: Some(Payload::text("a b c").into()),
        ..v1::Redrive::default()
    };
    let mut client = server.client().await;
    let sent = client.redrive(redrive.clone()).await.unwrap().into_inner();
    let delivery = agent.delivery().await;
    let envelope = &delivery.publish.envelope;
    assert_eq!(envelope.id, message_id(&sent.id));
    assert_eq!(envelope.redriven_from.as_deref(), Some(&old));
    assert_eq!(envelope.payload, Payload::text("a b c"));
    assert_eq!(listed(&server, DeadLetterFilter::default()).await, []);
    assert!(server.get("/metrics").await.contains("trunkline_redriven_total 1\n"));

    let gone = client.redrive(redrive).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
    assert_eq!(gone.get_details_error_info().unwrap().reason, "not-found");
}

#[tokio::test]
async fn dead_letters_are_found_by_agent_and_reason_and_deleted() {
    let server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let first = dead(&server, &mut agent, "a", "no ink").await;
    let second = dead(&server, &mut agent, "b", "no paper").await;
    let by_reason = DeadLetterFilter { reason: Some("ink".into()), ..Default::default() };
    assert_eq!(listed(&server, by_reason).await, [first]);
    let by_agent = |name: &str| DeadLetterFilter {
        agent: Some(name.parse().unwrap()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(listed(&server, by_agent("counter")).await, [second, first]);
    assert_eq!(listed(&server, by_agent("other")).await, []);

    let mut client = server.client().await;
    client.purge(v1::LetterAddress::from(letter(first))).await.unwrap();
    assert_eq!(listed(&server, DeadLetterFilter::default()).await, [second]);
    assert!(server.get("/metrics").await.contains("trunkline_purged_total 1\n"));
    let gone = client.purge(v1::LetterAddress::from(letter(first))).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}
