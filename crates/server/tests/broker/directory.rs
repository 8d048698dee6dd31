//! The directory: found, followed, changed by operators.

use super::agent::Agent;
use super::messages::hello;
use super::running::{Running, soon};
use tonic::{Code, Streaming};
use trunkline_proto::v1;
use trunkline_types::session::{Credit, Hello, SessionItem};
use trunkline_types::{AgentCard, AgentChange, AgentEvent, AgentFilter, AgentNews, Presence};

async fn next(news: &mut Streaming<v1::AgentNews>) -> AgentNews {
    soon(news.message()).await.unwrap().expect("the stream goes on").try_into().unwrap()
}

/// The next news of this kind.
async fn until(news: &mut Streaming<v1::AgentNews>, event: AgentEvent) -> AgentNews {
    loop {
        let news = next(news).await;
        if news.event == event {
            return news;
        }
    }
}

async fn ids(server: &Running, filter: AgentFilter) -> Vec<String> {
    let ask = v1::ListAgentsRequest::from(filter);
    let page = server.client().await.list_agents(ask).await.unwrap().into_inner();
    page.agents.into_iter().map(|agent| agent.card.unwrap().id).collect()
}

#[tokio::test]
async fn who_follows_the_directory_is_told_who_is_there_and_then_what_changes() {
    let server = Running::start().await;
    let _first = Agent::connect_as(&server, 1, "a", "count").await;
    let mut client = server.client().await;
    let counters = AgentFilter { skill: Some("count".parse().unwrap()), ..Default::default() };
    let watch = v1::WatchAgents::from(counters);
    let mut news = client.watch_agents(watch).await.unwrap().into_inner();
    let there = next(&mut news).await;
    assert_eq!((there.event, there.agent.card.id.as_str()), (AgentEvent::Present, "a"));

    let _other = Agent::connect_as(&server, 2, "x", "paint").await;
    let mut second = Agent::connect_as(&server, 3, "b", "count").await;
    let joined = next(&mut news).await;
    assert_eq!((joined.event, joined.agent.card.id.as_str()), (AgentEvent::Joined, "b"));

    let change = AgentChange { weight: Some(7), draining: Some(true), healthy: None };
    client.set_agent(v1::SetAgent::from(("b".parse().unwrap(), change))).await.unwrap();
    let changed = until(&mut news, AgentEvent::Changed).await;
    assert_eq!((changed.agent.control.weight, changed.agent.control.draining), (7, true));
    assert_eq!(changed.agent.presence, Presence::Draining);
    let reason = second
        .until(|item| match item {
            SessionItem::Drain { reason } => Some(reason),
            _ => None,
        })
        .await;
    assert!(!reason.is_empty(), "an agent is told that it is to leave");
    let draining = AgentFilter { presence: Some(Presence::Draining), ..Default::default() };
    assert_eq!(ids(&server, draining).await, ["b"]);

    client.unregister(v1::Unregister { agent: "b".into() }).await.unwrap();
    let gone = until(&mut news, AgentEvent::Gone).await;
    assert_eq!(gone.agent.card.id.as_str(), "b");
    let reconnect = second
        .until(|item| match item {
            SessionItem::GoAway { reconnect, .. } => Some(reconnect),
            _ => None,
        })
        .await;
    assert!(!reconnect, "its session is over");
    assert_eq!(ids(&server, AgentFilter::default()).await, ["a", "x"]);
}

#[tokio::test]
async fn what_operators_say_of_an_agent_is_checked() {
    let server = Running::start().await;
    let _agent = Agent::connect(&server, "a", "count").await;
    let mut client = server.client().await;
    let set = |agent: &str, weight| {
        let change = AgentChange { weight: Some(weight), ..AgentChange::default() };
        v1::SetAgent::from((agent.parse().unwrap(), change))
    };
    let unknown = client.set_agent(set("nobody", 1)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let heavy = client.set_agent(set("a", 1_001)).await.unwrap_err();
    assert_eq!(heavy.code(), Code::InvalidArgument);
    assert!(heavy.message().contains("1001"), "{heavy}");
}

#[tokio::test]
async fn agents_are_found_by_what_their_cards_say() {
    let server = Running::start().await;
    let mut card = AgentCard::new("a".parse().unwrap());
    card.types.push("painter".into());
    card.capabilities.push("oil".into());
    card.labels.push(("zone".into(), "eu".into()));
    let credit = Credit { deliveries: 1, events: 0 };
    let _painter =
        Agent::connect_with(&server, Hello { card: Some(card), credit, ..hello(1) }).await;
    let _counter = Agent::connect_as(&server, 2, "b", "count").await;
    let none = AgentFilter::default;
    let label = |value: &str| vec![("zone".into(), value.into())];
    for (filter, expected) in [
        (AgentFilter { agent_type: Some("painter".into()), ..none() }, vec!["a"]),
        (AgentFilter { capability: Some("oil".into()), ..none() }, vec!["a"]),
        (AgentFilter { labels: label("eu"), ..none() }, vec!["a"]),
        (AgentFilter { labels: label("us"), ..none() }, vec![]),
        (AgentFilter { presence: Some(Presence::Ready), ..none() }, vec!["a", "b"]),
        (AgentFilter { presence: Some(Presence::Offline), ..none() }, vec![]),
    ] {
        assert_eq!(ids(&server, filter.clone()).await, expected, "{filter:?}");
    }
}
