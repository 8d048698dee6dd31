//! Commands, questions, subscriptions and the directory, against a scripted broker.

use crate::common::{Line, Script, id};
use std::sync::Arc;
use trunkline_agent::prelude::*;
use trunkline_agent::{Event, SessionOptions};
use trunkline_types::session::{
    ClientFrame, EventDelivery, LetterAddress, NumberRange, Operation, Redrive, SessionItem,
    Subscription,
};
use trunkline_types::{
    AgentCard, AgentChange, AgentControl, AgentEvent, AgentFilter, AgentInfo, AgentNews, AgentPage,
    Answer, Counters, DeadLetterFilter, DeadLetterPage, Envelope, Gauges, InboxAddress,
    InboxChange, InboxEffective, InboxInfo, InboxSettings, InboxStats, MessageStatus, Presence,
    Publish, Refusal, RefusalCode, Schedule, ScheduleFilter, SchedulePage, WallTime, WhenFull,
};

fn inbox() -> InboxAddress {
    InboxAddress::Skill("s".parse().unwrap())
}

fn letter() -> LetterAddress {
    LetterAddress { id: id(4), inbox: Some(inbox()) }
}

fn schedule(session: &Session) -> Schedule {
    let publish = session.tell(Destination::skill("s").unwrap(), "tick").into_publish();
    let (cron, zone) = ("0 8 * * *".into(), "Europe/Berlin".into());
    Schedule { name: "daily".parse().unwrap(), cron, zone, publish: Arc::new(publish) }
}

#[tokio::test]
async fn every_command_is_one_operation_of_a_session_and_of_a_host() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let agent: AgentId = "a".parse().unwrap();
    let change = AgentChange { weight: Some(5), ..AgentChange::default() };
    let settings = InboxChange { when_full: Some(WhenFull::Wait), ..InboxChange::default() };
    let schedule = schedule(&session);
    let name = schedule.name.clone();
    let expected = vec![
        Operation::Cancel { id: id(1), reason: "enough".into(), descendants: false },
        Operation::SetAgent { agent: agent.clone(), change },
        Operation::Unregister { agent: agent.clone() },
        Operation::SetInbox { inbox: inbox(), change: Box::new(settings.clone()) },
        Operation::SetSchedule(Box::new(schedule.clone())),
        Operation::RemoveSchedule { name: name.clone() },
        Operation::Purge(letter()),
    ];
    session.cancel(id(1), "enough").await.unwrap();
    session.set_agent(agent.clone(), change).await.unwrap();
    session.unregister(agent.clone()).await.unwrap();
    session.set_inbox(inbox(), settings.clone()).await.unwrap();
    session.set_schedule(schedule.clone()).await.unwrap();
    session.remove_schedule(name.clone()).await.unwrap();
    session.purge(letter()).await.unwrap();
    assert_eq!(script.line(0).operations(), expected);

    script.cancel(id(1), "enough").await.unwrap();
    script.set_agent(agent.clone(), change).await.unwrap();
    script.unregister(agent).await.unwrap();
    script.set_inbox(inbox(), settings).await.unwrap();
    script.set_schedule(schedule).await.unwrap();
    script.remove_schedule(name).await.unwrap();
    script.purge(letter()).await.unwrap();
    assert_eq!(script.line(1).operations(), expected, "over the shared session");
}

#[tokio::test]
async fn a_command_that_is_refused_says_so() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    let removal = tokio::spawn(async move { session.remove_schedule("x".parse().unwrap()).await });
    line.wait(|line| (line.operations().len() == 1).then_some(())).await;
    let refusal = Refusal::new(RefusalCode::NotFound, "there is no schedule 'x'");
    line.say([SessionItem::Refused { operation: 1, refusal: refusal.clone() }]);
    assert_eq!(removal.await.unwrap(), Err(refusal));
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_as_it_is_or_edited() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let plain = session.redrive(letter());
    let new = plain.id();
    assert_eq!(plain.await.unwrap(), new);
    let edited = session
        .redrive(letter())
        .payload("better")
        .destination(Destination::agent("b").unwrap())
        .priority(Priority::Low);
    let second = edited.id();
    edited.await.unwrap();
    assert_ne!(new, second);
    let redrive =
        |id| Redrive { letter: letter(), id, payload: None, destination: None, priority: None };
    let edited = Redrive {
        payload: Some("better".into()),
        destination: Some(Destination::agent("b").unwrap()),
        priority: Some(Priority::Low),
        ..redrive(second)
    };
    let expected = [redrive(new), edited].map(|redrive| Operation::Redrive(Box::new(redrive)));
    assert_eq!(script.line(0).operations(), expected);
    script.redrive(letter()).await.unwrap();
    assert_eq!(script.line(1).operations().len(), 1);
}

#[tokio::test]
async fn every_question_has_its_answer_and_no_other() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let status = MessageStatus {
        id: id(1),
        kind: Some(Kind::Event),
        destination: None,
        accepted_at: None,
        copies: Vec::new(),
    };
    let info = InboxInfo {
        settings: InboxSettings::default(),
        effective: InboxEffective::default(),
        stats: InboxStats {
            address: Some(inbox()),
            counters: Counters::default(),
            gauges: Gauges::default(),
        },
        waiting_outside: 1,
        servers: 2,
    };
    for _ in 0..2 {
        script.answer(Ok(Answer::Message(Box::new(status.clone()))));
        script.answer(Ok(Answer::Inbox(Box::new(info.clone()))));
        script.answer(Ok(Answer::Schedules(SchedulePage::default())));
        script.answer(Ok(Answer::DeadLetters(DeadLetterPage::default())));
        script.answer(Ok(Answer::Agents(AgentPage::default())));
    }
    assert_eq!(session.message(id(1)).await.unwrap(), status);
    assert_eq!(session.inbox(inbox()).await.unwrap(), info);
    let schedules = session.schedules(ScheduleFilter::default()).await.unwrap();
    assert_eq!(schedules, SchedulePage::default());
    let letters = session.dead_letters(DeadLetterFilter::default()).await.unwrap();
    assert_eq!(letters, DeadLetterPage::default());
    assert_eq!(session.agents(AgentFilter::default()).await.unwrap(), AgentPage::default());
    assert_eq!(script.message(id(1)).await.unwrap(), status);
    assert_eq!(script.inbox(inbox()).await.unwrap(), info);
    assert!(script.schedules(ScheduleFilter::default()).await.is_ok());
    assert!(script.dead_letters(DeadLetterFilter::default()).await.is_ok());
    assert!(script.agents(AgentFilter::default()).await.is_ok());
    script.answer(Ok(Answer::Schedules(SchedulePage::default())));
    let refusal = session.message(id(1)).await.unwrap_err();
    assert_eq!(refusal.message, "the broker answered another question: schedules");
}

fn filtered() -> Subscription {
    let filter = Some("headers.env == 'prod'".parse().unwrap());
    let group = Some("workers".parse().unwrap());
    let when_full = WhenFull::DropOldest;
    Subscription { filter, group, when_full, ..Subscription::new("t.*".parse().unwrap()) }
}

#[tokio::test]
async fn a_special_subscription_has_a_session_of_its_own_and_survives_a_broker() {
    let script = Script::prompt();
    let options = SessionOptions { events: 7, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    for subscription in [
        Subscription { group: None, when_full: WhenFull::Reject, ..filtered() },
        Subscription { filter: None, when_full: WhenFull::Reject, ..filtered() },
        Subscription { filter: None, group: None, ..filtered() },
        filtered(),
    ] {
        let at = script.lines();
        let mut events = session.subscribe_with(subscription.clone()).await.unwrap();
        assert_eq!(script.lines(), at + 1);
        let line = script.line(at);
        assert_eq!(line.hello.credit.events, 7);
        assert_eq!(line.operations(), [Operation::Subscribe(subscription.clone())]);
        line.say([Line::event(1, "t.a", 0)]);
        assert_eq!(events.next().await.unwrap().payload().to_text(), "1");
        line.reconnected(&script.welcome());
        let again = Operation::Subscribe(subscription.clone());
        let wanted = [again.clone(), again];
        line.wait(move |line| (line.operations() == wanted).then_some(())).await;
        drop(events);
        assert!(line.is_closed());
        assert_eq!(line.operations().pop(), Some(Operation::Unsubscribe(subscription)));
    }
    assert!(script.line(0).operations().is_empty());
    let plain = Subscription::new("t".parse().unwrap());
    let events = session.subscribe_with(plain.clone()).await.unwrap();
    assert_eq!(script.line(0).operations(), [Operation::Subscribe(plain.clone())]);
    drop(events);
    let durable = Subscription { durable: true, ..plain };
    let refusal = session.subscribe_with(durable).await.unwrap_err();
    assert!(refusal.message.contains("AgentBuilder::on_event_with"), "{refusal}");
    let events = script.subscribe_with(filtered()).await.unwrap();
    assert_eq!(events.pattern().as_str(), "t.*");
    drop(script.subscribe("t".parse().unwrap()).await.unwrap());
}

#[tokio::test]
async fn a_filter_that_is_refused_is_told() {
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let asked = tokio::spawn(async move { session.subscribe_with(filtered()).await.map(drop) });
    while script.lines() < 2 {
        tokio::task::yield_now().await;
    }
    let line = script.line(1);
    line.wait(|line| (line.operations().len() == 1).then_some(())).await;
    let refusal = Refusal::new(RefusalCode::Invalid, "filter does not compile");
    line.say([SessionItem::Refused { operation: 1, refusal: refusal.clone() }]);
    assert_eq!(asked.await.unwrap(), Err(refusal));
}

#[tokio::test]
async fn an_agent_subscribes_with_filter_and_group_and_its_handler_gets_the_events() {
    let script = Script::prompt();
    let worker = script
        .agent("a")
        .on_event_with(filtered(), |task: Task| async move { Ok(format!("got {}", task.text())) })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    assert_eq!(line.hello.subscriptions, [Subscription { durable: true, ..filtered() }]);
    let to = Destination::topic("t.x").unwrap();
    let envelope = Envelope::new(id(1), Kind::Event, to, "it".into());
    let delivery = line.delivery_of(envelope, InboxAddress::Agent("a".parse().unwrap()));
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    assert_eq!(crate::common::reply_text(line.outcome_of(token).await), "got it");
    worker.stop().await;
}

#[tokio::test]
async fn an_agent_whose_handlers_want_different_events_of_one_topic_is_refused() {
    let script = Script::prompt();
    let handler = |task: Task| async move { Ok(task.text().into_owned()) };
    let agent = script.agent("a").on_event_with(filtered(), handler).on_event("t.>", handler);
    let refusal = agent.start().await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("'t.*' and 't.>'"), "{refusal}");
}

fn acknowledged(line: &Line) -> Vec<u64> {
    let through = |frame| match frame {
        ClientFrame::Acknowledge { through } => Some(through),
        _ => None,
    };
    line.frames().into_iter().filter_map(through).collect()
}

/// How many events were missed before one, and the first and last number among them.
fn missed(event: &Event) -> (u64, Option<(u64, u64)>) {
    (event.missed, event.numbers.map(|NumberRange { first, last }| (first, last)))
}

#[tokio::test]
async fn numbers_that_were_used_up_by_dropped_events_are_told_and_acknowledged() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let mut events = session.subscribe("t".parse().unwrap()).await.unwrap();
    let line = script.line(0);
    line.say([Line::event(1, "t", 0), Line::event(1_000_000, "t", 999_998)]);
    let first = events.next().await.unwrap();
    assert_eq!(missed(&first), (0, None));
    assert_eq!(acknowledged(&line), [] as [u64; 0], "the second is not taken");
    let second = events.next().await.unwrap();
    assert_eq!(missed(&second), (999_998, Some((2, 999_999))));
    assert!(events.try_next().is_none());
    assert_eq!(acknowledged(&line), [1_000_000]);
    line.say([Line::event(1_000_000, "t", 0), Line::event(1_000_001, "t", 0)]);
    let third = events.next().await.unwrap();
    assert_eq!((third.payload().to_text().as_ref(), third.missed), ("1000001", 0));
    assert!(events.try_next().is_none());
    assert_eq!(acknowledged(&line), [1_000_000, 1_000_001]);
}

#[tokio::test]
async fn each_subscription_is_told_of_what_was_missed_with_its_next_event() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let mut a = session.subscribe("a".parse().unwrap()).await.unwrap();
    let mut b = session.subscribe("b".parse().unwrap()).await.unwrap();
    let line = script.line(0);
    line.say([Line::event(4, "a", 3), Line::event(7, "a", 2), Line::event(9, "b", 1)]);
    assert_eq!(missed(&a.next().await.unwrap()), (3, Some((1, 3))));
    assert_eq!(missed(&a.next().await.unwrap()), (2, Some((5, 6))));
    assert_eq!(missed(&b.next().await.unwrap()), (6, Some((1, 8))));
    line.say([Line::event(10, "a", 0)]);
    assert_eq!(missed(&a.next().await.unwrap()), (1, Some((8, 8))));
}

#[tokio::test]
async fn a_broker_that_ignores_the_credit_costs_no_memory_and_what_is_left_out_is_told() {
    let script = Script::prompt();
    let options = SessionOptions { events: 1, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    let mut events = session.subscribe("t".parse().unwrap()).await.unwrap();
    let line = script.line(0);
    line.say((1..=100).map(|number| Line::event(number, "t", 0)));
    for _ in 0..68 {
        assert_eq!(events.next().await.unwrap().missed, 0);
    }
    assert!(events.try_next().is_none());
    line.say([Line::event(101, "t", 0)]);
    assert_eq!(missed(&events.next().await.unwrap()), (32, Some((69, 100))));
}

fn news(event: AgentEvent, agent: &str) -> AgentNews {
    let info = AgentInfo {
        card: AgentCard::new(agent.parse().unwrap()),
        owner: "me".into(),
        presence: Presence::Ready,
        sessions: 1,
        in_flight: 0,
        credit: 1,
        waiting: 0,
        registered_at: WallTime(0),
        control: AgentControl::default(),
        breakers: Vec::new(),
    };
    AgentNews { event, agent: info }
}

fn tell(line: &Line, event: AgentEvent, agent: &str) {
    line.say([SessionItem::Agent(Box::new(news(event, agent)))]);
}

fn filter() -> AgentFilter {
    AgentFilter { skill: Some("s".parse().unwrap()), ..AgentFilter::default() }
}

#[tokio::test]
async fn the_directory_is_followed_in_order_and_anew_over_every_connection() {
    for resumed in [true, false] {
        let script = Script::prompt();
        let session = script.session().await.unwrap();
        let mut watch = session.watch_agents(filter()).await.unwrap();
        let line = script.line(1);
        let asked = Operation::WatchAgents(Box::new(filter()));
        assert_eq!(line.operations(), std::slice::from_ref(&asked));
        assert!(line.hello.card.is_none());
        tell(&line, AgentEvent::Present, "a");
        tell(&line, AgentEvent::Joined, "b");
        for (event, agent) in [(AgentEvent::Present, "a"), (AgentEvent::Joined, "b")] {
            assert_eq!(watch.next().await, Some(news(event, agent)));
            assert_eq!(watch.snapshot(), 1);
        }
        // What was not taken is superseded by the new snapshot.
        tell(&line, AgentEvent::Left, "b");
        let mut welcome = script.welcome();
        welcome.resumed = resumed;
        line.reconnected(&welcome);
        let wanted = [asked.clone(), asked];
        line.wait(move |line| (line.operations() == wanted).then_some(())).await;
        tell(&line, AgentEvent::Present, "c");
        assert_eq!(watch.next().await, Some(news(AgentEvent::Present, "c")));
        assert_eq!(watch.snapshot(), 2);
        line.say([SessionItem::GoAway { reason: "over".into(), reconnect: false }]);
        assert_eq!(watch.next().await, None);
        assert_eq!(watch.ended().unwrap().message, "over");
        drop(watch);
        assert!(line.is_closed());
    }
}

#[tokio::test]
async fn a_slow_follower_gets_the_latest_of_each_agent() {
    let script = Script::prompt();
    let mut watch = script.watch_agents(AgentFilter::default()).await.unwrap();
    let line = script.line(1);
    tell(&line, AgentEvent::Present, "early");
    for _ in 0..5000 {
        tell(&line, AgentEvent::Changed, "busy");
    }
    tell(&line, AgentEvent::Left, "busy");
    drop(line);
    let mut seen = vec![watch.next().await.unwrap()];
    while seen.last().unwrap().event != AgentEvent::Left {
        seen.push(watch.next().await.unwrap());
        assert!(seen.len() <= 1026, "they are bounded");
    }
    assert_eq!(seen[0], news(AgentEvent::Present, "early"));
    assert_eq!(seen.last(), Some(&news(AgentEvent::Left, "busy")));
}

#[tokio::test]
async fn a_follower_that_is_refused_is_told_at_first_and_after_a_new_connection() {
    let refusal = Refusal::new(RefusalCode::TooLarge, "too many follow the directory");
    let script = Script::silent();
    let session = script.session().await.unwrap();
    let following = tokio::spawn(async move {
        let first = session.watch_agents(filter()).await.map(drop);
        (first, session.watch_agents(filter()).await)
    });
    while script.lines() < 2 {
        tokio::task::yield_now().await;
    }
    let line = script.line(1);
    line.wait(|line| (line.operations().len() == 1).then_some(())).await;
    line.say([SessionItem::Refused { operation: 1, refusal: refusal.clone() }]);
    while script.lines() < 3 {
        tokio::task::yield_now().await;
    }
    let line = script.line(2);
    line.wait(|line| (line.operations().len() == 1).then_some(())).await;
    line.say([SessionItem::Done { first: 1, last: 1 }]);
    let (first, second) = following.await.unwrap();
    assert_eq!(first, Err(refusal.clone()));
    let mut watch = second.unwrap();
    line.reconnected(&script.welcome());
    line.wait(|line| (line.operations().len() == 2).then_some(())).await;
    line.say([SessionItem::Refused { operation: 2, refusal: refusal.clone() }]);
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.ended(), Some(refusal));
}

#[tokio::test]
async fn an_event_is_read_as_json() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let mut events = session.subscribe("t".parse().unwrap()).await.unwrap();
    let payload = Json([1, 2]).encode().unwrap();
    let to = Destination::topic("t").unwrap();
    let publish = Arc::new(Publish::new(session.envelope(Kind::Event, to, payload)));
    script.line(0).say([SessionItem::Event(EventDelivery { number: 1, publish, missed: 0 })]);
    assert_eq!(events.next().await.unwrap().json::<Vec<u32>>().unwrap(), [1, 2]);
}
