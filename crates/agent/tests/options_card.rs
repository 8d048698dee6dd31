//! What an agent says of itself: each part is in the directory and can be asked for.

use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{AgentFilter, Presence, SkillSchemas};

async fn nothing(_: Task) -> HandlerResult<()> {
    Ok(())
}

#[tokio::test]
async fn each_part_of_a_card_is_in_the_directory() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let agent = broker
        .agent("ann")
        .name("Ann")
        .description("bills")
        .agent_type("biller")
        .capability("refunds")
        .label("tier", "gold")
        .region("eu")
        .version("7")
        .skill("bill", nothing)
        .schemas("bill", Some(r#"{"type":"object"}"#.parse().unwrap()), None)
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let filter = AgentFilter { id: Some("ann".parse().unwrap()), ..AgentFilter::default() };
    let card = session.agents(filter).await.unwrap().agents.remove(0).card;
    assert_eq!((&*card.name, &*card.description), ("Ann", "bills"));
    assert_eq!(
        (&*card.types, &*card.capabilities),
        (&["biller".into()][..], &["refunds".into()][..])
    );
    assert_eq!(card.labels, [("tier".into(), "gold".into())]);
    assert_eq!((&*card.region, &*card.version), ("eu", "7"));
    assert_eq!(card.skills, ["bill".parse().unwrap()]);
    let input = Some(r#"{"type":"object"}"#.parse().unwrap());
    let bill = SkillSchemas { skill: "bill".parse().unwrap(), input, output: None };
    assert_eq!(card.schemas, [bill]);
    agent.stop().await;
}

#[tokio::test]
async fn agents_are_found_by_each_part_of_a_filter() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let ann = broker.agent("ann").agent_type("biller").capability("refunds").label("tier", "gold");
    let ann = ann.skill("bill", nothing).start().await.unwrap();
    let bob = broker.agent("bob").skill("quote", nothing).start().await.unwrap();
    let session = broker.session().await.unwrap();
    let found = async |filter: AgentFilter| {
        let agents = session.agents(filter).await.unwrap().agents;
        agents.iter().map(|agent| agent.card.id.to_string()).collect::<Vec<_>>()
    };
    let all = AgentFilter::default;
    assert_eq!(found(all()).await, ["ann", "bob"]);
    let labels = vec![("tier".into(), "gold".into())];
    for narrowed in [
        AgentFilter { id: Some("ann".parse().unwrap()), ..all() },
        AgentFilter { skill: Some("bill".parse().unwrap()), ..all() },
        AgentFilter { agent_type: Some("biller".into()), ..all() },
        AgentFilter { capability: Some("refunds".into()), ..all() },
        AgentFilter { labels, ..all() },
        AgentFilter { limit: 1, ..all() },
    ] {
        assert_eq!(found(narrowed.clone()).await, ["ann"], "{narrowed:?}");
    }
    assert_eq!(found(AgentFilter { after: Some("ann".parse().unwrap()), ..all() }).await, ["bob"]);
    bob.stop().await;
    let offline = AgentFilter { presence: Some(Presence::Offline), ..all() };
    assert_eq!(found(offline).await, ["bob"]);
    ann.stop().await;
}
