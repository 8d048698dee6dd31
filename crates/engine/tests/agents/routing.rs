//! Who gets what from the inbox of a skill.

use super::world::{Peer, World, done, labelled, skill};
use std::collections::BTreeMap;
use std::sync::Arc;
use trunkline_engine::EngineConfig;
use trunkline_types::session::{Delivery, Operation};
use trunkline_types::{
    AgentChange, Binding, InboxChange, MessageId, OrderingKey, Priority, Routing,
};

fn by(routing: Routing) -> InboxChange {
    InboxChange { routing: Some(routing), ..InboxChange::default() }
}

fn weigh(world: &mut World, client: &mut Peer, agent: &str, weight: u32) {
    let change = AgentChange { weight: Some(weight), ..AgentChange::default() };
    world.set(client, agent, change).unwrap();
}

/// A world where the skill's inbox is routed by a policy of its own or by that of the broker.
fn routed(routing: Routing, by_config: bool) -> (World, Peer) {
    let mut world = World::plain(|config| {
        config.seed = 7;
        if by_config {
            config.routing = routing;
        }
    });
    let mut client = world.client();
    if !by_config {
        world.set_inbox(&mut client, by(routing));
    }
    (world, client)
}

#[test]
fn round_robin_goes_from_one_to_the_next_whatever_they_hold() {
    for by_config in [false, true] {
        let (mut world, mut client) = routed(Routing::RoundRobin, by_config);
        let agents = ["a", "b", "c"].map(|id| world.agent(id));
        // By the least load, the one that is willing to hold the most would get most.
        world.credit(&agents[0], 4000);
        let mut order = Vec::new();
        for _ in 0..9 {
            world.publish(&mut client, 1);
            let got = agents.iter().position(|agent| !world.deliveries(agent).is_empty());
            order.push(got.unwrap());
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
}

#[test]
fn least_loaded_prefers_whoever_holds_least_of_what_it_is_willing_to() {
    let (mut world, mut client) = routed(Routing::LeastLoaded, true);
    let agents = ["a", "b"].map(|id| world.agent(id));
    world.credit(&agents[0], 90);
    world.credit(&agents[1], 10);
    world.publish(&mut client, 50);
    let got = agents.each_ref().map(|agent| world.deliveries(agent).len());
    assert_eq!(got, [45, 5]);
}

#[test]
fn weighted_shares_by_the_weights_of_agents_however_many_sessions_they_have() {
    for by_config in [false, true] {
        let (mut world, mut client) = routed(Routing::Weighted, by_config);
        let agents = ["a", "b", "b", "c"].map(|id| world.agent(id));
        weigh(&mut world, &mut client, "a", 300);
        weigh(&mut world, &mut client, "b", 100);
        weigh(&mut world, &mut client, "c", 0);
        world.publish(&mut client, 800);
        let got = agents.each_ref().map(|agent| world.deliveries(agent).len());
        let (heavy, light) = (got[0], got[1] + got[2]);
        assert_eq!((heavy + light, got[3]), (800, 0), "{got:?}");
        assert!((540..660).contains(&heavy), "about three quarters: {got:?}");
        assert!(got[1] > 50 && got[2] > 50, "{got:?}");
    }
}

#[test]
fn by_weight_an_agent_of_none_gets_nothing_even_if_nobody_else_is_there() {
    let (mut world, mut client) = routed(Routing::Weighted, false);
    let agent = world.agent("a");
    weigh(&mut world, &mut client, "a", 0);
    world.publish(&mut client, 2);
    assert!(world.deliveries(&agent).is_empty());
    let late = world.agent("a");
    assert!(world.deliveries(&late).is_empty(), "a new session does not pull it either");
    weigh(&mut world, &mut client, "a", 1);
    assert_eq!(world.deliveries(&agent).len() + world.deliveries(&late).len(), 2, "at once");
    weigh(&mut world, &mut client, "a", 0);
    world.publish(&mut client, 1);
    assert!(world.deliveries(&agent).is_empty());
    world.set_inbox(&mut client, by(Routing::LeastLoaded));
    assert_eq!(world.deliveries(&agent).len() + world.deliveries(&late).len(), 1, "other policy");
}

#[test]
fn random_reaches_everybody_and_one_seed_draws_alike() {
    let draw = |by_config| {
        let (mut world, mut client) = routed(Routing::Random, by_config);
        let agents = ["a", "b", "c"].map(|id| world.agent(id));
        (0..60)
            .map(|_| {
                world.publish(&mut client, 1);
                agents.iter().position(|agent| !world.deliveries(agent).is_empty()).unwrap()
            })
            .collect::<Vec<_>>()
    };
    let drawn = draw(false);
    assert_eq!(drawn, draw(true));
    let in_turn = drawn.windows(2).filter(|pair| (pair[0] + 1) % 3 == pair[1]).count();
    assert!(in_turn < 40, "it does not go round: {drawn:?}");
    for agent in 0..3 {
        assert!(drawn.iter().filter(|&&got| got == agent).count() > 8, "{drawn:?}");
    }
}

/// Sends keyed requests and says which agent got which key; everything is settled at once.
fn owners(world: &mut World, client: &mut Peer, agents: &mut [Peer]) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for number in 0..60 {
        let key = format!("k{}", number % 30);
        let mut publish = world.request();
        publish.envelope.ordering_key = Some(OrderingKey::new(&key).unwrap());
        world.ask(client, Operation::Publish(Arc::new(publish))).unwrap();
        for (index, agent) in agents.iter_mut().enumerate() {
            for delivery in world.deliveries(agent) {
                let before = owners.insert(key.clone(), index);
                assert!(before.is_none_or(|before| before == index), "{key} moved");
                world.settle(agent, delivery.token, done());
            }
        }
    }
    owners
}

#[test]
fn by_hash_a_key_stays_with_its_agent_and_only_keys_of_one_that_left_move() {
    for by_config in [false, true] {
        let (mut world, mut client) = routed(Routing::ConsistentHash, by_config);
        let mut agents = ["a", "b", "c"].map(|id| world.agent(id));
        let before = owners(&mut world, &mut client, &mut agents);
        assert!((0..3).all(|agent| before.values().any(|&owner| owner == agent)), "{before:?}");
        world.frame(&agents[2], trunkline_types::session::ClientFrame::Goodbye);
        let after = owners(&mut world, &mut client, &mut agents);
        for (key, owner) in &before {
            assert!(*owner == 2 || after[key] == *owner, "{key} moved from {owner}");
            assert!(after[key] != 2);
        }
        agents[2] = world.agent("c");
        assert_eq!(owners(&mut world, &mut client, &mut agents), before, "and they come back");
    }
}

#[test]
fn by_hash_an_envelope_without_a_key_falls_by_its_id_to_one_that_can_take_it() {
    let (mut world, mut client) = routed(Routing::ConsistentHash, false);
    let agents = ["a", "b"].map(|id| world.agent(id));
    world.publish(&mut client, 40);
    let got = agents.each_ref().map(|agent| world.deliveries(agent).len());
    assert!(got[0] > 8 && got[1] > 8, "{got:?}");
    world.credit(&agents[0], 0);
    world.publish(&mut client, 10);
    assert_eq!(world.deliveries(&agents[1]).len(), 10, "the other one is busy");
}

fn bind(priority: Priority) -> InboxChange {
    let binding = Binding { priority, key: "gpu".into(), value: "yes".into() };
    InboxChange { bindings: Some(vec![binding]), ..InboxChange::default() }
}

fn ids(deliveries: &[Delivery]) -> Vec<MessageId> {
    deliveries.iter().map(|delivery| delivery.publish.envelope.id).collect()
}

#[test]
fn a_bound_priority_goes_to_labelled_agents_only_and_blocks_no_other() {
    let mut world = World::plain(|_| {});
    let (plain, mut client) = (world.agent("plain"), world.client());
    world.set_inbox(&mut client, bind(Priority::Urgent));
    for _ in 0..3 {
        world.publish_as(&mut client, Priority::Urgent);
        world.publish_as(&mut client, Priority::Low);
    }
    let got = world.deliveries(&plain);
    assert_eq!(got.len(), 3, "what is not bound goes on");
    assert!(got.iter().all(|got| got.publish.envelope.priority == Priority::Low));
    assert_eq!(world.inbox(skill()).unwrap().stats.gauges.waiting, 3);
    let other = world.connect(Some(labelled("other", "gpu", "no"))).unwrap();
    assert!(world.deliveries(&other).is_empty(), "the value counts too");
    let labelled = world.connect(Some(labelled("labelled", "gpu", "yes"))).unwrap();
    let got = world.deliveries(&labelled);
    assert!(got.iter().all(|got| got.publish.envelope.priority == Priority::Urgent));
    assert_eq!(got.len(), 3);
    world.publish_as(&mut client, Priority::Urgent);
    let urgent = world.deliveries(&labelled);
    assert_eq!(urgent.len(), 1);
    assert!(!ids(&got).contains(&ids(&urgent)[0]));
}

#[test]
fn a_binding_that_goes_lets_its_priority_go_to_anybody_at_once() {
    let mut world = World::plain(|_| {});
    let (plain, mut client) = (world.agent("plain"), world.client());
    world.set_inbox(&mut client, bind(Priority::High));
    world.publish_as(&mut client, Priority::High);
    assert!(world.deliveries(&plain).is_empty());
    world
        .set_inbox(&mut client, InboxChange { bindings: Some(Vec::new()), ..bind(Priority::High) });
    assert_eq!(world.deliveries(&plain).len(), 1);
}

#[test]
fn an_agent_whose_card_gets_the_label_gets_the_bound_work_at_once() {
    let mut world = World::plain(|_| {});
    let (plain, mut client) = (world.agent("a"), world.client());
    world.set_inbox(&mut client, bind(Priority::High));
    world.publish_as(&mut client, Priority::High);
    let again = world.connect(Some(labelled("a", "gpu", "yes"))).unwrap();
    assert_eq!(world.deliveries(&plain).len() + world.deliveries(&again).len(), 1);
}

/// How many of the first thirty deliveries of a full inbox were of which priority.
fn mixture(world: &mut World, client: &mut Peer, agent: &Peer) -> [usize; 4] {
    world.credit(agent, 0);
    for &priority in Priority::ALL {
        for _ in 0..30 {
            world.publish_as(client, priority);
        }
    }
    world.credit(agent, 30);
    let mut mixture = [0; 4];
    for delivery in world.deliveries(agent) {
        mixture[usize::from(delivery.publish.envelope.priority.number())] += 1;
    }
    mixture
}

#[test]
fn priorities_share_deliveries_by_their_configured_weights() {
    let mixed = |config: EngineConfig| {
        let mut world = World::new(EngineConfig { logged: false, ..config });
        let (agent, mut client) = (world.agent("a"), world.client());
        mixture(&mut world, &mut client, &agent)
    };
    assert_eq!(mixed(EngineConfig::default()), [2, 4, 8, 16]);
    let even = EngineConfig { priority_weights: [1, 1, 1, 1], ..EngineConfig::default() };
    assert_eq!(mixed(even), [7, 7, 8, 8]);
    let odd = EngineConfig { priority_weights: [9, 3, 2, 1], ..EngineConfig::default() };
    assert_eq!(mixed(odd), [18, 6, 4, 2]);
}

#[test]
fn other_weights_are_in_force_from_the_next_round_on() {
    let mut world = World::plain(|_| {});
    let (agent, mut client) = (world.agent("a"), world.client());
    world.credit(&agent, 0);
    for _ in 0..60 {
        world.publish_as(&mut client, Priority::Low);
        world.publish_as(&mut client, Priority::Urgent);
    }
    world.credit(&agent, 9);
    world.configure(|config| config.priority_weights = [8, 2, 4, 1]);
    world.credit(&agent, 18);
    let got: Vec<_> = world.deliveries(&agent);
    let low = got[9..].iter().filter(|got| got.publish.envelope.priority == Priority::Low);
    assert_eq!(low.count(), 8);
}

#[test]
fn a_lane_that_others_serve_too_takes_no_share_from_one_that_is_bound() {
    let mut world = World::plain(|_| {});
    let mut client = world.client();
    world.set_inbox(&mut client, bind(Priority::Low));
    let mut plain = world.agent("plain");
    let mut bound = world.connect(Some(labelled("bound", "gpu", "yes"))).unwrap();
    world.credit(&plain, 0);
    world.credit(&bound, 0);
    for _ in 0..60 {
        world.publish_as(&mut client, Priority::Low);
        world.publish_as(&mut client, Priority::Urgent);
    }
    world.credit(&bound, 1);
    world.credit(&plain, 1);
    let mut low = 0;
    for _ in 0..30 {
        for agent in [&mut bound, &mut plain] {
            for delivery in world.deliveries(agent) {
                low += usize::from(delivery.publish.envelope.priority == Priority::Low);
                world.settle(agent, delivery.token, done());
            }
        }
    }
    assert!((2..=5).contains(&low), "a ninth of what the labelled agent took: {low}");
}

#[test]
fn another_policy_of_the_broker_is_in_force_at_once() {
    let mut world = World::plain(|config| config.routing = Routing::Weighted);
    let (agent, mut client) = (world.agent("a"), world.client());
    weigh(&mut world, &mut client, "a", 0);
    world.publish(&mut client, 1);
    assert!(world.deliveries(&agent).is_empty());
    world.configure(|config| config.routing = Routing::LeastLoaded);
    assert_eq!(world.deliveries(&agent).len(), 1);
}
