//! Finding agents, and following who comes and goes.

use super::world::{Peer, World, card, labelled, secs};
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::session::{ClientFrame, Operation, SessionItem};
use trunkline_types::{
    AgentCard, AgentChange, AgentEvent, AgentFilter, AgentNews, Answer, Presence, Query,
    RefusalCode,
};

fn follow(world: &mut World, filter: AgentFilter) -> Peer {
    let mut peer = world.client();
    world.ask(&mut peer, Operation::WatchAgents(Box::new(filter))).unwrap();
    peer
}

fn brief(news: &[AgentNews]) -> Vec<(AgentEvent, &str)> {
    news.iter().map(|news| (news.event, news.agent.card.id.as_str())).collect()
}

fn rich(id: &str) -> AgentCard {
    let mut rich = labelled(id, "zone", "eu");
    rich.labels.push(("gpu".into(), "yes".into()));
    rich.types.push("coder".into());
    rich.capabilities.push("streaming".into());
    rich.skills.push("review".parse().unwrap());
    rich
}

/// One filter for each field that a filter has, each of which fits `rich` and not `poor`.
fn filters() -> Vec<AgentFilter> {
    let none = AgentFilter::default();
    let labels = vec![("gpu".into(), "yes".into()), ("zone".into(), "eu".into())];
    vec![
        AgentFilter { id: Some("rich".parse().unwrap()), ..none.clone() },
        AgentFilter { skill: Some("review".parse().unwrap()), ..none.clone() },
        AgentFilter { agent_type: Some("coder".into()), ..none.clone() },
        AgentFilter { capability: Some("streaming".into()), ..none.clone() },
        AgentFilter { labels, ..none },
    ]
}

#[test]
fn each_field_of_a_filter_narrows_the_list() {
    let mut world = World::plain(|_| {});
    world.connect(Some(rich("rich"))).unwrap();
    let poor = world.connect(Some(labelled("poor", "gpu", "yes"))).unwrap();
    world.frame(&poor, ClientFrame::Drain);
    let mut filters = filters();
    filters.push(AgentFilter { presence: Some(Presence::Ready), ..AgentFilter::default() });
    filters.push(AgentFilter { after: Some("poor".parse().unwrap()), ..AgentFilter::default() });
    for filter in filters {
        let Answer::Agents(page) = world.query(Query::Agents(filter.clone())).unwrap() else {
            panic!("{filter:?}");
        };
        let found: Vec<_> = page.agents.iter().map(|agent| agent.card.id.as_str()).collect();
        assert_eq!(found, ["rich"], "{filter:?}");
    }
}

#[test]
fn a_follower_sees_who_is_there_and_then_only_what_its_filter_wants() {
    for filter in filters() {
        let mut world = World::plain(|_| {});
        let there = world.connect(Some(rich("rich"))).unwrap();
        let other = world.agent("poor");
        let follower = follow(&mut world, filter.clone());
        assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Present, "rich")], "{filter:?}");
        world.frame(&other, ClientFrame::Goodbye);
        assert!(world.news(&follower).is_empty(), "{filter:?}");
        world.frame(&there, ClientFrame::Goodbye);
        assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Left, "rich")], "{filter:?}");
    }
}

#[test]
fn the_snapshot_is_in_order_and_confirmed_after_it() {
    let mut world = World::new(EngineConfig::default());
    for id in ["c", "a", "b"] {
        world.agent(id);
    }
    let follower = follow(&mut world, AgentFilter::default());
    let told = world.take(&follower);
    let present: Vec<_> = told
        .iter()
        .filter_map(|item| match item {
            SessionItem::Agent(news) => Some(news.agent.card.id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(present, ["a", "b", "c"]);
    assert!(matches!(told.last(), Some(SessionItem::Done { .. })), "{told:?}");
}

#[test]
fn whoever_comes_changes_drains_leaves_and_goes_is_news() {
    let mut world = World::new(EngineConfig::default());
    let mut follower = follow(&mut world, AgentFilter::default());
    let first = world.agent("a");
    let news = world.news(&follower);
    assert_eq!(brief(&news), [(AgentEvent::Joined, "a")]);
    assert_eq!((news[0].agent.presence, news[0].agent.sessions), (Presence::Ready, 1));
    let second = world.agent("a");
    assert!(world.news(&follower).is_empty(), "another session is no news");
    let third = world.connect(Some(labelled("a", "zone", "eu"))).unwrap();
    assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Changed, "a")], "the card");
    world.frame(&first, ClientFrame::Goodbye);
    world.frame(&second, ClientFrame::Goodbye);
    assert!(world.news(&follower).is_empty(), "one is still there");
    world.frame(&third, ClientFrame::Drain);
    let news = world.news(&follower);
    assert_eq!(brief(&news), [(AgentEvent::Changed, "a")]);
    assert_eq!(news[0].agent.presence, Presence::Draining);
    world.handle(Command::Disconnect { connection: third.connection });
    assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Left, "a")]);
    let third = world.come_back(&third, Vec::new()).unwrap();
    assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Joined, "a")]);
    let change = AgentChange { healthy: Some(false), ..AgentChange::default() };
    world.set(&mut follower, "a", change).unwrap();
    let news = world.news(&follower);
    assert_eq!(brief(&news), [(AgentEvent::Changed, "a")]);
    assert!(!news[0].agent.control.healthy);
    world.set(&mut follower, "a", change).unwrap();
    assert!(world.news(&follower).is_empty(), "nothing changed");
    world.ask(&mut follower, Operation::Unregister { agent: "a".parse().unwrap() }).unwrap();
    let news = world.news(&follower);
    assert_eq!(brief(&news), [(AgentEvent::Gone, "a")]);
    assert_eq!((news[0].agent.presence, news[0].agent.sessions), (Presence::Offline, 0));
    drop(third);
}

#[test]
fn work_that_comes_and_ends_is_no_news() {
    let mut world = World::plain(|_| {});
    let (mut agent, follower) = (world.agent("a"), follow(&mut world, AgentFilter::default()));
    world.credit(&agent, 1);
    world.take(&follower);
    let mut client = world.client();
    world.publish(&mut client, 1);
    assert_eq!(world.info("a").unwrap().presence, Presence::Busy);
    let token = world.deliveries(&agent).remove(0).token;
    world.settle(&mut agent, token, super::world::done());
    assert!(world.take(&follower).is_empty());
}

#[test]
fn a_card_that_no_longer_fits_is_told_of_once_more() {
    let mut world = World::plain(|_| {});
    let filter =
        AgentFilter { labels: vec![("zone".into(), "eu".into())], ..AgentFilter::default() };
    let follower = follow(&mut world, filter);
    world.connect(Some(labelled("a", "zone", "eu"))).unwrap();
    let other = world.connect(Some(labelled("a", "zone", "us"))).unwrap();
    let expected = [(AgentEvent::Joined, "a"), (AgentEvent::Changed, "a")];
    assert_eq!(brief(&world.news(&follower)), expected);
    world.frame(&other, ClientFrame::Goodbye);
    assert!(world.news(&follower).is_empty());
}

#[test]
fn news_wait_for_the_record_that_they_rest_on() {
    let mut world = World::new(EngineConfig::default());
    let mut follower = follow(&mut world, AgentFilter::default());
    world.take(&follower);
    world.is_fast = false;
    let agent = world.agent("a");
    world.send(&mut follower, Operation::WatchAgents(Box::default()));
    world.frame(&agent, ClientFrame::Goodbye);
    assert!(world.take(&follower).is_empty());
    world.flush();
    let expected = [(AgentEvent::Joined, "a"), (AgentEvent::Present, "a"), (AgentEvent::Left, "a")];
    assert_eq!(brief(&world.news(&follower)), expected);
}

#[test]
fn a_follower_that_asks_again_follows_by_the_new_filter_only() {
    let mut world = World::plain(|_| {});
    let mut follower = follow(&mut world, AgentFilter::default());
    let filter = AgentFilter { id: Some("b".parse().unwrap()), ..AgentFilter::default() };
    world.ask(&mut follower, Operation::WatchAgents(Box::new(filter))).unwrap();
    world.agent("a");
    world.agent("b");
    assert_eq!(brief(&world.news(&follower)), [(AgentEvent::Joined, "b")], "once");
    world.ask(&mut follower, Operation::UnwatchAgents).unwrap();
    world.connect(Some(labelled("b", "zone", "eu"))).unwrap();
    assert!(world.news(&follower).is_empty());
}

#[test]
fn following_ends_with_the_connection() {
    let mut world = World::plain(|_| {});
    let follower = follow(&mut world, AgentFilter::default());
    world.handle(Command::Disconnect { connection: follower.connection });
    let mut back = world.come_back(&follower, Vec::new()).unwrap();
    world.agent("a");
    assert!(world.news(&back).is_empty());
    world.ask(&mut back, Operation::WatchAgents(Box::default())).unwrap();
    assert_eq!(brief(&world.news(&back)), [(AgentEvent::Present, "a")], "asked anew");
}

#[test]
fn a_filter_that_fits_too_many_agents_is_refused() {
    let mut world = World::plain(|config| config.watched_agents = 2);
    for id in ["a", "b", "c"] {
        world.agent(id);
    }
    let mut peer = world.client();
    let refusal = world.ask(&mut peer, Operation::WatchAgents(Box::default())).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    let text = &refusal.message;
    assert!(text.contains("fits 3 agents, the limit is 2; narrow"), "{text}");
    let long = AgentFilter { capability: Some("x".repeat(2000).into()), ..AgentFilter::default() };
    let refusal = world.ask(&mut peer, Operation::WatchAgents(Box::new(long))).unwrap_err();
    assert!(refusal.message.contains("2000 bytes, the limit is 1024"), "{refusal}");
    let labels = vec![("a".into(), "b".into()); 257];
    let many = AgentFilter { labels, ..AgentFilter::default() };
    let refusal = world.ask(&mut peer, Operation::WatchAgents(Box::new(many))).unwrap_err();
    assert!(refusal.message.contains("257 labels, the limit is 256"), "{refusal}");
    let one = AgentFilter { id: Some("a".parse().unwrap()), ..AgentFilter::default() };
    world.ask(&mut peer, Operation::WatchAgents(Box::new(one))).unwrap();
    world.pass(secs(1));
    world.connect(Some(card("d"))).unwrap();
}
