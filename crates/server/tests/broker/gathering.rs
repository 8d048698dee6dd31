//! One request, several answers.

use super::agent::Agent;
use super::messages::request;
use super::running::{Running, soon};
use tonic::Code;
use trunkline_proto::v1;
use trunkline_types::session::SessionItem;
use trunkline_types::{FailureCode, Gather, GatherRule, Gathered, Outcome, Payload};

/// A request to everybody with the skill, of use for ten seconds.
fn ask_all(rule: GatherRule) -> v1::GatherRequest {
    let mut publish = request("count", "a b c", false);
    publish.envelope.as_mut().unwrap().ttl_ms = Some(10_000);
    publish.options.get_or_insert_default().gather = Some(Gather::new(rule).into());
    v1::GatherRequest { publish: Some(publish) }
}

async fn two(server: &Running) -> [Agent; 2] {
    [
        Agent::connect_as(server, 1, "a", "count").await,
        Agent::connect_as(server, 2, "b", "count").await,
    ]
}

#[tokio::test]
async fn answers_of_several_agents_come_together() {
    let server = Running::start().await;
    let mut agents = two(&server).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.gather(ask_all(GatherRule::All)).await });
    let outcomes = [
        Outcome::Complete { reply: Some(Payload::text("3")) },
        Outcome::Fail { reason: "cannot count".into() },
    ];
    for (agent, outcome) in agents.iter_mut().zip(outcomes) {
        let delivery = agent.delivery().await;
        assert_eq!(delivery.publish.envelope.payload, Payload::text("a b c"));
        agent.settle(delivery.token, outcome);
    }
    let gathered = Gathered::try_from(soon(call).await.unwrap().unwrap().into_inner()).unwrap();
    assert!(!gathered.complete);
    let answers: Vec<_> = gathered.answers().map(|(who, said)| (who.as_str(), said)).collect();
    assert_eq!(answers, [("a", &Payload::text("3"))]);
    let missing: Vec<_> = gathered.missing().map(|(who, why)| (who.as_str(), why.code)).collect();
    assert_eq!(missing, [("b", FailureCode::Failed)]);
}

#[tokio::test]
async fn the_first_answer_is_enough_and_calls_the_other_off() {
    let server = Running::start().await;
    let [mut quick, mut slow] = two(&server).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.gather(ask_all(GatherRule::First)).await });
    let held = slow.delivery().await.token;
    let delivery = quick.delivery().await;
    quick.settle(delivery.token, Outcome::Complete { reply: None });
    let gathered = Gathered::try_from(soon(call).await.unwrap().unwrap().into_inner()).unwrap();
    assert!(gathered.complete);
    assert_eq!(gathered.answers().count(), 1);
    let called_off = slow
        .until(|item| match item {
            SessionItem::Cancel { token, .. } => Some(token),
            _ => None,
        })
        .await;
    assert_eq!(called_off, held);
}

#[tokio::test]
async fn what_cannot_be_gathered_says_why() {
    let server = Running::start().await;
    let mut client = server.client().await;
    let mut endless = ask_all(GatherRule::All);
    endless.publish.as_mut().unwrap().envelope.as_mut().unwrap().ttl_ms = None;
    let mut large = ask_all(GatherRule::All);
    let options = large.publish.as_mut().unwrap().options.as_mut().unwrap();
    options.gather.as_mut().unwrap().reply_bytes = Some(Gather::MOST_REPLY_BYTES + 1);
    for (request, why) in [(endless, "needs a time to live"), (large, "the range is 1 to 8388608")]
    {
        let status = client.gather(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(why), "{status}");
    }
}
