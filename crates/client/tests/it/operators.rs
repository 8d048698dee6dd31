//! What operators ask for, what several agents answer, and what a broker says unasked.

use crate::broker::{FakeBroker, hello, id, operations, publish, send, subscription, welcome};
use crate::sink::{Ear, Told};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{
    Accepted, LetterAddress, Operation, Pressure, Redrive, Reply, SessionItem, Subscription,
    Welcome,
};
use trunkline_types::{
    AgentCard, AgentChange, AgentControl, AgentEvent, AgentFilter, AgentId, AgentInfo, AgentNews,
    Failure, FailureCode, Filter, Gather, GatherRule, Gathered, GatheredPart, InboxAddress,
    InboxChange, Payload, Presence, Schedule, WallTime, WhenFull,
};

fn agent() -> AgentId {
    AgentId::new("worker").unwrap()
}

fn inbox() -> InboxAddress {
    InboxAddress::Agent(agent())
}

/// One of each.
fn requests_of_operators() -> Vec<Operation> {
    let letter = LetterAddress { id: id(1), inbox: Some(inbox()) };
    let redrive = Redrive {
        letter: letter.clone(),
        id: id(2),
        payload: Some(Payload::text("edited")),
        destination: None,
        priority: None,
    };
    let schedule = Schedule {
        name: "nightly".parse().unwrap(),
        cron: "0 3 * * *".into(),
        zone: "Europe/Berlin".into(),
        publish: Arc::new(publish(3)),
    };
    let change = InboxChange { when_full: Some(WhenFull::Wait), ..InboxChange::default() };
    vec![
        Operation::Redrive(Box::new(redrive)),
        Operation::Purge(letter),
        Operation::SetAgent {
            agent: agent(),
            change: AgentChange { weight: Some(7), ..AgentChange::default() },
        },
        Operation::Unregister { agent: agent() },
        Operation::SetInbox { inbox: inbox(), change: Box::new(change) },
        Operation::SetSchedule(Box::new(schedule)),
        Operation::RemoveSchedule { name: "nightly".parse().unwrap() },
        Operation::WatchAgents(Box::new(AgentFilter {
            id: Some(agent()),
            ..AgentFilter::default()
        })),
        Operation::UnwatchAgents,
        Operation::Cancel { id: id(4), reason: "enough".into(), descendants: false },
    ]
}

#[tokio::test]
async fn requests_of_operators_are_sent_again_until_they_are_answered() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    let all = requests_of_operators();
    let count = all.len() as u64;
    connection.send(operations(1, all.clone()));
    assert_eq!(conversation.hear_operations(1, all.len()).await, all);
    conversation.done(1, 1);
    assert_eq!(ear.item().await, SessionItem::Done { first: 1, last: 1 });
    drop(conversation);

    let mut conversation = broker.accept().await;
    assert_eq!(conversation.hello.next_operation, 2);
    conversation.welcome(&welcome());
    ear.reconnected().await;
    assert_eq!(conversation.hear_operations(2, all.len() - 1).await, all[1..]);
    conversation.done(2, count);
    assert_eq!(ear.item().await, SessionItem::Done { first: 2, last: count });
}

#[tokio::test]
async fn one_that_is_answered_late_holds_up_nothing() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    // The first waits outside a full inbox.
    for number in 1..=1_000 {
        connection.send(operations(number, [send(number)]));
        assert_eq!(conversation.hear_operations(number, 1).await, [send(number)]);
        if number > 1 {
            conversation.done(number, number);
            assert_eq!(ear.item().await, SessionItem::Done { first: number, last: number });
        }
    }
    drop(conversation);

    let mut conversation = broker.accept().await;
    assert_eq!(conversation.hello.next_operation, 1, "it is still to be answered");
    conversation.welcome(&welcome());
    ear.reconnected().await;
    let again = conversation.hear_operations(1, 1_000).await;
    assert_eq!(again[0], send(1));
    let others = again.iter().filter(|operation| matches!(operation, Operation::Publish(_)));
    assert_eq!(others.count(), 1, "what is answered is not asked again");
    let accepted =
        Accepted { operation: 1, id: id(1), duplicate: false, targets: 1, dropped: 0, parked: 1 };
    conversation.say([SessionItem::Accepted(accepted.clone())]);
    assert_eq!(ear.item().await, SessionItem::Accepted(accepted));
}

fn news() -> AgentNews {
    let agent = AgentInfo {
        card: AgentCard::new(agent()),
        owner: "ann".into(),
        presence: Presence::Ready,
        sessions: 1,
        in_flight: 0,
        credit: 1,
        waiting: 0,
        registered_at: WallTime(1),
        control: AgentControl::default(),
        breakers: Vec::new(),
    };
    AgentNews { event: AgentEvent::Present, agent }
}

#[tokio::test]
async fn what_a_broker_says_unasked_goes_to_the_sink() {
    let mut broker = FakeBroker::start().await;
    let (_connection, mut ear, conversation) = broker.session(&broker.config()).await;
    let pace = Duration::from_micros(1_500);
    let items = [
        SessionItem::Pressure(Pressure { inbox: inbox(), percent: 90, pace }),
        SessionItem::Agent(Box::new(news())),
        SessionItem::Drain { reason: "an upgrade".into() },
    ];
    conversation.say(items.clone());
    for item in items {
        assert_eq!(ear.item().await, item);
    }
}

fn gather(unique: u64) -> Operation {
    let mut publish = publish(unique);
    publish.options.reply = true;
    publish.options.gather = Some(Gather::new(GatherRule::Quorum(2)));
    Operation::Publish(Arc::new(publish))
}

fn gathered(unique: u64) -> SessionItem {
    let failure = Failure { code: FailureCode::LeftOut, reason: "too much".into() };
    let parts = vec![
        GatheredPart { agent: AgentId::new("a").unwrap(), result: Ok(Payload::text("yes")) },
        GatheredPart { agent: AgentId::new("b").unwrap(), result: Err(failure) },
    ];
    SessionItem::Gathered(Gathered { request: id(unique), complete: false, parts })
}

#[tokio::test]
async fn what_several_answered_is_told_once_and_a_lost_request_too() {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    connection.send(operations(1, [gather(1), gather(2)]));
    assert_eq!(conversation.hear_operations(1, 2).await, [gather(1), gather(2)]);
    conversation.done(1, 2);
    conversation.say([gathered(1), gathered(1)]);
    assert_eq!(ear.item().await, SessionItem::Done { first: 1, last: 2 });
    assert_eq!(ear.item().await, gathered(1));
    drop(conversation);

    let conversation = broker.accept().await;
    conversation.welcome(&Welcome { resumed: false, ..welcome() });
    ear.reconnected().await;
    let SessionItem::Reply(Reply { request, result: Err(failure), .. }) = ear.item().await else {
        panic!("nothing is said of what the broker forgot")
    };
    assert_eq!((request, failure.code), (id(2), FailureCode::Lost));
}

/// The subscriptions in the hello after these operations are done.
async fn kept(wanted: impl IntoIterator<Item = Operation>) -> Vec<Subscription> {
    let mut broker = FakeBroker::start().await;
    let (connection, mut ear, mut conversation) = broker.session(&broker.config()).await;
    let wanted: Vec<_> = wanted.into_iter().collect();
    let count = wanted.len();
    connection.send(operations(1, wanted));
    conversation.hear_operations(1, count).await;
    conversation.done(1, count as u64);
    until_done(&mut ear, count as u64).await;
    drop(conversation);
    broker.accept().await.hello.subscriptions
}

async fn until_done(ear: &mut Ear, number: u64) {
    while !matches!(ear.next().await, Told::Item(SessionItem::Done { last, .. }) if last == number)
    {
    }
}

#[tokio::test]
async fn a_subscription_takes_the_place_of_the_one_before() {
    assert_eq!(hello().subscriptions, []);
    let plain = subscription("a");
    let filtered = Subscription { filter: Some(Filter::new("true").unwrap()), ..subscription("a") };
    let shared = Subscription { group: Some("g".parse().unwrap()), ..subscription("a") };
    let [want, unwant] = [Operation::Subscribe, Operation::Unsubscribe];
    let both = kept([want(plain.clone()), want(shared.clone()), want(filtered.clone())]).await;
    assert_eq!(both, [filtered.clone(), shared.clone()], "one for each pattern and group");
    let one = kept([want(filtered), want(shared.clone()), unwant(plain)]).await;
    assert_eq!(one, [shared], "the filter does not matter to who leaves");
}
