//! Lists that one message cannot hold, and the figures that say what is left out.

use super::agent::Agent;
use super::messages::{hello, request};
use super::running::Running;
use prost::Message;
use std::collections::BTreeSet;
use trunkline_proto::v1;
use trunkline_types::session::{ClientFrame, Hello, Operation};
use trunkline_types::{
    AgentCard, Destination, Envelope, Kind, MessageId, Outcome, Partition, Payload, Publish,
};

/// The largest payload that the broker takes by default.
const LARGE: usize = 1 << 20;
/// So many of them that one message of the protocol has no room for all.
const MANY: usize = 20;
/// What a page may have at most, besides one entry.
const PAGE: usize = 5 << 20;

/// Has `MANY` tasks done: each sent with `text` and ended by `outcome`.
async fn done(server: &Running, text: &str, outcome: impl Fn() -> Outcome) {
    let mut client = server.client().await;
    let mut agent = Agent::connect(server, "counter", "count").await;
    for _ in 0..MANY {
        let publish = Some(request("count", text, true));
        client.send(v1::SendRequest { publish }).await.unwrap();
        let delivery = agent.delivery().await;
        agent.settle(delivery.token, outcome());
        agent.answered(agent.last_operation()).await;
    }
}

#[tokio::test]
async fn tasks_with_large_results_are_listed_page_by_page() {
    let server = Running::start().await;
    let large = "x".repeat(LARGE);
    done(&server, "", || Outcome::Complete { reply: Some(Payload::text(&large)) }).await;
    let mut client = server.client().await;
    let mut ask = v1::ListTasksRequest { limit: 1_000, ..Default::default() };
    let mut seen = BTreeSet::new();
    loop {
        let page = client.list_tasks(ask.clone()).await.unwrap().into_inner();
        assert!(page.encoded_len() < PAGE, "{}", page.encoded_len());
        assert!(page.tasks.len() > 1, "a page is as full as it may be");
        for task in page.tasks {
            assert_eq!(task.result.unwrap().data.len(), LARGE);
            assert!(seen.insert(task.id), "a task is on one page only");
        }
        let Some(next) = page.next else { break };
        ask.before = Some(next);
    }
    assert_eq!(seen.len(), MANY);
}

#[tokio::test]
async fn large_dead_letters_are_listed_page_by_page_to_the_oldest() {
    let server = Running::without_breakers().await;
    let large = "x".repeat(LARGE);
    done(&server, &large, || Outcome::DeadLetter { reason: "no".into() }).await;
    let mut client = server.client().await;
    let mut ask = v1::ListDeadLettersRequest { limit: 1_000, ..Default::default() };
    let mut seen = BTreeSet::new();
    loop {
        let page = client.list_dead_letters(ask.clone()).await.unwrap().into_inner();
        assert!(page.encoded_len() < PAGE, "{}", page.encoded_len());
        assert!(page.dead_letters.len() > 1, "a page is as full as it may be");
        for letter in page.dead_letters {
            let envelope = letter.publish.unwrap().envelope.unwrap();
            assert!(seen.insert(envelope.id), "a dead letter is on one page only");
        }
        let Some(next) = page.next else { break };
        ask.before = Some(next);
    }
    assert_eq!(seen.len(), MANY);
    // A limit ends a page just so.
    let ask = v1::ListDeadLettersRequest { limit: 2, ..Default::default() };
    let page = client.list_dead_letters(ask).await.unwrap().into_inner();
    assert_eq!((page.dead_letters.len(), page.next.is_some()), (2, true));
}

#[tokio::test]
async fn agents_are_listed_page_by_page_in_order() {
    let server = Running::start().await;
    let mut agents = Vec::new();
    for (number, name) in (1..).zip(["c", "a", "e", "b", "d"]) {
        let card = Some(AgentCard::new(name.parse().unwrap()));
        agents.push(Agent::connect_with(&server, Hello { card, ..hello(number) }).await);
    }
    let mut client = server.client().await;
    let mut ask = v1::ListAgentsRequest { limit: 2, ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = client.list_agents(ask.clone()).await.unwrap().into_inner();
        let ids = page.agents.into_iter().map(|agent| agent.card.unwrap().id);
        pages.push(ids.collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        ask.after = Some(next);
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    ask.limit = 1_001;
    let refused = client.list_agents(ask).await.unwrap_err();
    assert!(refused.message().contains("1001"), "{refused}");
}

#[tokio::test]
async fn figures_say_how_many_inboxes_they_leave_out() {
    const INBOXES: u64 = 1_003;
    let server = Running::start().await;
    let mut sender = Agent::connect_with(&server, hello(1)).await;
    let publish = |number| {
        let id = MessageId::from_parts(1, Partition(0), number);
        let to = Destination::skill(&format!("skill-{number}")).unwrap();
        let publish = Publish::new(Envelope::new(id, Kind::Request, to, Payload::default()));
        Operation::Publish(publish.into())
    };
    let operations = (1..=INBOXES).map(publish).collect();
    sender.send(ClientFrame::Operations { first: 1, operations });
    sender.answered(INBOXES).await;
    let mut client = server.client().await;
    let stats = client.get_stats(v1::GetStatsRequest {}).await.unwrap().into_inner();
    assert_eq!((stats.inboxes.len(), stats.inboxes_total), (1_000, INBOXES));
}
