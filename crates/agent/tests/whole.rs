//! What the API asks of a broker, seen to act on a broker in this process.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use trunkline_agent::prelude::*;
use trunkline_agent::{Acceptance, Agent, Events, SessionOptions};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::{LetterAddress, Subscription};
use trunkline_types::{
    Absent, AgentChange, AgentEvent, AgentFilter, CopyState, DeadLetterFilter, FailureCode,
    GatherRule, InboxAddress, InboxChange, RefusalCode, SCHEDULE_HEADER, Schedule, ScheduleFilter,
    TaskFilter, WhenFull,
};

async fn broker() -> Broker {
    Broker::open(BrokerConfig::ephemeral()).await.unwrap()
}

fn skill(name: &str) -> Destination {
    Destination::skill(name).unwrap()
}

fn minute() -> Duration {
    Duration::from_mins(1)
}

/// An agent that answers with its own id.
async fn answers(broker: &Broker, id: &'static str) -> Agent {
    let answer = move |_: Task| async move { Ok(id) };
    broker.agent(id).skill("who", answer).on_message(answer).start().await.unwrap()
}

/// An agent that never ends its work on skill `never`.
async fn never_ends(broker: &Broker) -> Agent {
    let never = |_: Task| async move {
        std::future::pending::<()>().await;
        Ok(())
    };
    broker.agent("never").skill("never", never).start().await.unwrap()
}

#[tokio::test]
async fn answers_are_gathered_and_who_is_missing_is_named() {
    let broker = broker().await;
    let (a, b) = (answers(&broker, "a").await, answers(&broker, "b").await);
    let session = broker.session().await.unwrap();
    let all = session.gather(skill("who"), "?").timeout(minute()).await.unwrap();
    let said: Vec<_> = all.answers().map(|(_, payload)| payload.to_text().into_owned()).collect();
    assert_eq!((all.complete, said), (true, vec!["a".to_owned(), "b".to_owned()]));

    let never = never_ends(&broker).await;
    let first = session.gather(skill("who"), "?").rule(GatherRule::First).timeout(minute());
    let first = first.await.unwrap();
    assert!(first.complete && first.answers().count() >= 1);
    let agents = ["a", "never", "nobody"].map(|id| id.parse().unwrap()).to_vec();
    let some = session
        .gather(Destination::Agents(agents.clone()), "?")
        .rule(GatherRule::Quorum(2))
        .timeout(Duration::from_millis(300))
        .await
        .unwrap();
    assert!(!some.complete);
    let missing: Vec<_> = some.missing().map(|(agent, _)| agent.as_str()).collect();
    assert_eq!(missing, ["never", "nobody"]);
    let few = session.gather(skill("who"), "?").reply_bytes(1).timeout(minute()).await.unwrap();
    let codes: Vec<_> = few.missing().map(|(_, failure)| failure.code).collect();
    assert_eq!((few.complete, codes), (false, vec![FailureCode::LeftOut]));
    for agent in [a, b] {
        agent.stop().await;
    }
    drop(never);
}

#[tokio::test]
async fn a_request_behind_a_key_that_its_ancestor_holds_is_refused_with_the_chain() {
    let broker = broker().await;
    let key = || "k".parse::<trunkline_types::OrderingKey>().unwrap();
    let ask = move |task: Task| async move {
        let deeper = task.request(skill("deeper"), "").await?;
        Ok(deeper.into_payload())
    };
    let again = move |task: Task| async move {
        match task.request(skill("top"), "").ordering_key(key()).await {
            Err(RequestError::Refused(refusal)) if refusal.code == RefusalCode::Deadlock => {
                Ok(refusal.message)
            }
            other => panic!("{other:?}"),
        }
    };
    let a = broker.agent("a").skill("top", ask).workers(1..=1).start().await.unwrap();
    let b = broker.agent("b").skill("deeper", again).workers(1..=1).start().await.unwrap();
    let reply = broker.request(skill("top"), "").ordering_key(key()).timeout(minute()).await;
    let chain = reply.unwrap().text().into_owned();
    assert!(chain.contains("a (") && chain.contains("b ("), "{chain}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_schedule_sends_and_is_listed_until_it_is_removed() {
    let broker = broker().await;
    let (said, mut heard) = mpsc::unbounded_channel();
    let hear = move |task: Task| {
        let said = said.clone();
        async move { Ok(said.send(task.header(SCHEDULE_HEADER).map(str::to_owned))?) }
    };
    let agent = broker.agent("a").skill("s", hear).start().await.unwrap();
    let publish = Arc::new(broker.tell(skill("s"), "tick").into_publish());
    let name: trunkline_types::ScheduleName = "tick".parse().unwrap();
    let schedule =
        Schedule { name: name.clone(), cron: "* * * * * *".into(), zone: "".into(), publish };
    broker.set_schedule(schedule).await.unwrap();
    assert_eq!(heard.recv().await.unwrap().as_deref(), Some("tick"));
    let page = broker.schedules(ScheduleFilter::default()).await.unwrap();
    assert_eq!(page.schedules[0].schedule.name, name);
    broker.remove_schedule(name.clone()).await.unwrap();
    let page = broker.schedules(ScheduleFilter::default()).await.unwrap();
    assert!(page.schedules.is_empty());
    let refusal = broker.remove_schedule(name).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    agent.stop().await;
}

#[tokio::test]
async fn dead_letters_are_redriven_with_changes_and_purged() {
    let broker = broker().await;
    let dies = |task: Task| async move {
        if task.text() == "good" { Ok("done") } else { Err(HandlerError::dead_letter("bad")) }
    };
    let agent = broker.agent("a").skill("s", dies).start().await.unwrap();
    let session = broker.session().await.unwrap();
    for _ in 0..2 {
        session.send(skill("s"), "bad").wait().await.unwrap_err();
    }
    let letters = session.dead_letters(DeadLetterFilter::default()).await.unwrap().letters;
    let address = |at: usize| LetterAddress { id: letters[at].publish.envelope.id, inbox: None };
    let again = session.redrive(address(0)).payload("good").priority(Priority::High);
    let again = again.await.unwrap();
    let mut updates = session.watch(again, 0).await.unwrap();
    while let Some(update) = updates.next().await {
        update.unwrap();
    }
    let task = session.task(again).await.unwrap();
    assert_eq!(task.result.unwrap().to_text(), "done");
    session.purge(address(1)).await.unwrap();
    let refusal = session.purge(address(1)).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    let refusal = session.redrive(address(0)).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    agent.stop().await;
}

#[tokio::test]
async fn the_directory_tells_who_comes_drains_and_goes() {
    let broker = broker().await;
    let a = answers(&broker, "a").await;
    let filter = AgentFilter { skill: Some("who".parse().unwrap()), ..AgentFilter::default() };
    let mut watch = broker.watch_agents(filter).await.unwrap();
    let news = watch.next().await.unwrap();
    assert_eq!((news.event, news.agent.card.id.as_str()), (AgentEvent::Present, "a"));
    let never = never_ends(&broker).await;
    let b = answers(&broker, "b").await;
    // The one without the skill is not told.
    let news = watch.next().await.unwrap();
    assert_eq!((news.event, news.agent.card.id.as_str()), (AgentEvent::Joined, "b"));

    let drain = AgentChange { draining: Some(true), ..AgentChange::default() };
    broker.set_agent("b".parse().unwrap(), drain).await.unwrap();
    let reason = tokio::time::timeout(minute(), b.ended()).await.unwrap();
    assert_eq!(reason.code, RefusalCode::Draining);
    loop {
        let news = watch.next().await.unwrap();
        assert_eq!(news.agent.card.id.as_str(), "b");
        if news.event == AgentEvent::Left {
            break;
        }
        assert_eq!(news.event, AgentEvent::Changed);
    }
    broker.unregister("b".parse().unwrap()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().event, AgentEvent::Gone);
    let weight = AgentChange { weight: Some(7), ..AgentChange::default() };
    broker.set_agent("a".parse().unwrap(), weight).await.unwrap();
    let news = watch.next().await.unwrap();
    assert_eq!((news.event, news.agent.control.weight), (AgentEvent::Changed, 7));
    a.stop().await;
    drop(never);
}

#[tokio::test]
async fn the_settings_of_an_inbox_are_set_and_read() {
    let broker = broker().await;
    let inbox = InboxAddress::Skill("s".parse().unwrap());
    let change = InboxChange { limit: Some(3), ..InboxChange::default() };
    broker.set_inbox(inbox.clone(), change).await.unwrap();
    assert_eq!(broker.inbox(inbox).await.unwrap().settings.limit, Some(3));
    let session = broker.session().await.unwrap();
    for _ in 0..3 {
        session.tell(skill("s"), "x").await.unwrap();
    }
    let refusal = session.tell(skill("s"), "x").await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
}

fn subscription(change: impl FnOnce(&mut Subscription)) -> Subscription {
    let mut subscription = Subscription::new("t".parse().unwrap());
    change(&mut subscription);
    subscription
}

async fn publish(session: &Session, texts: &[&str]) -> Vec<Acceptance> {
    let mut acceptances = Vec::new();
    for &text in texts {
        let event = session.publish("t".parse().unwrap(), text).header("text", text);
        acceptances.push(event.await.unwrap());
    }
    acceptances
}

async fn texts(events: &mut Events, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(events.next().await.unwrap().payload().to_text().into_owned());
    }
    texts
}

#[tokio::test]
async fn members_of_a_group_share_events_and_others_of_the_session_get_all() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let member = || subscription(|it| it.group = Some("g".parse().unwrap()));
    let mut one = session.subscribe_with(member()).await.unwrap();
    let mut two = session.subscribe_with(member()).await.unwrap();
    let mut all = session.subscribe("t".parse().unwrap()).await.unwrap();
    publish(&session, &["1", "2", "3", "4"]).await;
    assert_eq!(texts(&mut all, 4).await, ["1", "2", "3", "4"]);
    let mut shared = texts(&mut one, 2).await;
    shared.extend(texts(&mut two, 2).await);
    shared.sort_unstable();
    assert_eq!(shared, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_filter_lets_through_what_fits_and_leaves_other_subscriptions_alone() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let filter = "headers[\"text\"] == \"yes\"".parse().unwrap();
    let fitting = subscription(|it| it.filter = Some(filter));
    let mut some = session.subscribe_with(fitting).await.unwrap();
    let mut all = session.subscribe("t".parse().unwrap()).await.unwrap();
    publish(&session, &["no", "yes", "no", "yes"]).await;
    assert_eq!(texts(&mut all, 4).await, ["no", "yes", "no", "yes"]);
    assert_eq!(texts(&mut some, 2).await, ["yes", "yes"]);
    assert!(some.try_next().is_none());
    let broken = subscription(|it| it.filter = Some("headers[".parse().unwrap()));
    let refusal = session.subscribe_with(broken).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
}

#[tokio::test]
async fn a_slow_subscriber_keeps_the_newest_if_it_wants_and_is_told_which_it_missed() {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 4;
    let broker = Broker::open(config).await.unwrap();
    let options = SessionOptions { events: 1, ..SessionOptions::default() };
    let session = broker.session_with(options).await.unwrap();
    let newest = subscription(|it| it.when_full = WhenFull::DropOldest);
    let mut events = session.subscribe_with(newest).await.unwrap();
    let sent: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
    publish(&session, &sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.payload().to_text().as_ref(), first.missed), ("1", 0));
    let next = events.next().await.unwrap();
    let number: u64 = next.payload().to_text().parse().unwrap();
    let range = next.numbers.unwrap();
    assert_eq!((range.first, range.last, next.missed), (2, number - 1, number - 2));
    let rest = texts(&mut events, usize::try_from(20 - number).unwrap()).await;
    assert_eq!(rest.last().unwrap(), "20");
}

#[tokio::test]
async fn a_message_is_followed_by_its_id_and_called_off() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let acceptance = session.tell(skill("s"), "x").await.unwrap();
    assert_eq!(acceptance.parked, 1);
    let status = session.message(acceptance.id).await.unwrap();
    assert_eq!((status.kind, status.copies[0].state), (Some(Kind::Event), CopyState::Parked));
    session.cancel(acceptance.id, "not needed").await.unwrap();
    let status = session.message(acceptance.id).await.unwrap();
    assert_eq!(status.copies[0].state, CopyState::Canceled);
    let refusal = session.tell(skill("s"), "x").absent(Absent::Fail).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
}

#[tokio::test]
async fn a_task_is_called_off_with_what_it_led_to_and_its_conversation_is_read() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let leads = |task: Task| async move {
        task.send(skill("nobody"), "below").await?;
        std::future::pending::<()>().await;
        Ok(())
    };
    let _agent = broker.agent("a").skill("s", leads).start().await.unwrap();
    let root = session.send(skill("s"), "begin").context("talk".parse().unwrap()).await.unwrap();
    let filter = || TaskFilter { root_id: Some(root.id), ..TaskFilter::default() };
    while session.tasks(filter()).await.unwrap().tasks.len() < 2 {
        tokio::task::yield_now().await;
    }
    let talk = session.context("talk".parse().unwrap(), None).await.unwrap();
    // In order of time, which within a millisecond is none.
    let mut said: Vec<_> = talk.history.messages.iter().map(|it| it.payload.to_text()).collect();
    said.sort_unstable();
    assert_eq!(said, ["begin", "below"]);
    let task = session.task_with_history(root.id, Some(1)).await.unwrap();
    assert_eq!(task.history.messages[0].payload.to_text(), "begin");
    let messages = session.cancel_with_descendants(root.id, "not needed").await.unwrap();
    assert_eq!(messages, 2);
}

#[tokio::test]
async fn a_session_slows_down_for_an_inbox_that_fills_and_speeds_up_again() {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 100;
    config.engine.pressure_pace = Duration::from_millis(20);
    let broker = Broker::open(config).await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let waits = move |_: Task| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await?.forget();
            Ok(())
        }
    };
    let agent = broker.agent("a").skill("s", waits).workers(1..=1).prefetch(0).start();
    let agent = agent.await.unwrap();
    let session = broker.session().await.unwrap();
    for _ in 0..90 {
        session.tell(skill("s"), "x").await.unwrap();
    }
    let pressure = session.pressure(&skill("s")).unwrap();
    assert!(pressure.percent >= 80 && !pressure.pace.is_zero(), "{pressure:?}");
    gate.add_permits(1000);
    while session.pressure(&skill("s")).is_some() {
        tokio::task::yield_now().await;
    }
    agent.stop().await;
}
