//! Settings of a broker that bound how long and how much: each seen to act from outside.

use crate::options_peer::{Peer, broker, given_up, hello, message, millis, soon, task};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_types::session::{Operation, Update, UpdateBody};
use trunkline_types::{
    ArtifactChunk, CopyState, FailureCode, Outcome, PauseReason, Refusal, RefusalCode, TaskUpdate,
};

fn hours(number: u64) -> Duration {
    Duration::from_hours(number)
}

fn skill() -> Destination {
    Destination::skill("s").unwrap()
}

fn done() -> Outcome {
    Outcome::Complete { reply: None }
}

fn too_large(refusal: &Refusal, part: &str) {
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains(part), "{refusal}");
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_is_set() {
    let broker = broker(|engine| engine.lease = millis(50)).await;
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    assert_eq!(agent.welcome.lease, millis(50));
    let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
    client.publish(task()).await.unwrap();
    let first = agent.delivery().await;
    // Nobody says that it is alive.
    let again = agent.delivery().await;
    assert_eq!((first.attempt, again.attempt), (1, 2));
}

#[tokio::test]
async fn a_lost_session_may_come_back_for_as_long_as_is_set() {
    let lost = async |grace| {
        let broker = broker(|engine| engine.resume_grace = grace).await;
        let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
        let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
        client.publish(task()).await.unwrap();
        let token = agent.delivery().await.token;
        drop(agent);
        (broker, token)
    };
    let (patient, kept) = lost(hours(1)).await;
    let (hasty, gone) = lost(millis(1)).await;
    let mut other = Peer::open(&hasty, hello(3, Some("b"))).await.unwrap();
    assert_ne!(other.delivery().await.token, gone);
    for (broker, token, resumed) in [(&hasty, gone, false), (&patient, kept, true)] {
        let mut greeting = hello(1, Some("a"));
        greeting.held = vec![token];
        let welcome = Peer::open(broker, greeting).await.unwrap().welcome;
        assert_eq!((welcome.resumed, welcome.revoked.is_empty()), (resumed, resumed));
    }
}

#[tokio::test]
async fn a_retry_waits_for_a_backoff_that_begins_as_is_set() {
    // Of a day, the delay that is drawn is all but never within the task's second.
    let broker =
        broker(|engine| (engine.backoff_base, engine.backoff_cap) = (hours(24), hours(24)));
    let broker = broker.await;
    let once = async |task: Task| match task.attempt() {
        1 => Err(HandlerError::retry("not yet")),
        _ => Ok(()),
    };
    let agent = broker.agent("a").skill("s", once).start().await.unwrap();
    let outcome = broker.send(skill(), "").ttl(Duration::from_secs(1)).wait().await;
    let Err(RequestError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, FailureCode::Expired);
    agent.stop().await;
}

#[tokio::test]
async fn a_backoff_grows_no_longer_than_is_set() {
    let broker = broker(|engine| {
        (engine.backoff_base, engine.backoff_cap) = (millis(1), millis(1));
        engine.breaker_failures = 0;
    });
    let broker = broker.await;
    let never = async |_: Task| Err::<(), _>(HandlerError::retry("no"));
    let agent = broker.agent("a").skill("s", never).start().await.unwrap();
    // Doubling without an end would take days.
    let outcome = soon(Box::pin(broker.send(skill(), "").attempts(30).wait())).await;
    let Err(RequestError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, FailureCode::DeadLettered);
    agent.stop().await;
}

#[tokio::test]
async fn a_delivery_may_be_lost_as_often_as_is_set_before_that_counts() {
    let broker = broker(|engine| engine.losses = 1).await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut once = task();
    once.options.attempts = Some(1);
    let id = once.envelope.id;
    client.publish(once).await.unwrap();
    let session = broker.session().await.unwrap();
    for state in [CopyState::Parked, CopyState::DeadLettered] {
        let mut agent = Peer::open(&broker, hello(2, Some("a"))).await.unwrap();
        agent.delivery().await;
        agent.leave();
        assert_eq!(session.message(id).await.unwrap().copies[0].state, state);
    }
}

#[tokio::test]
async fn a_broker_that_is_later_than_it_tolerates_blames_nobody_else() {
    for (tolerance, is_kept) in [(millis(10), true), (hours(1), false)] {
        let broker = broker(|engine| {
            engine.absence_tolerance = tolerance;
            engine.lease = millis(300);
        });
        let broker = broker.await;
        let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
        let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
        client.publish(task()).await.unwrap();
        let token = agent.delivery().await.token;
        // The broker's alarm is on this thread, and now rings late. Its clock is the system's.
        std::thread::sleep(millis(400));
        tokio::time::sleep(millis(10)).await;
        assert_eq!(agent.settle(token, done()).await.is_ok(), is_kept, "{tolerance:?}");
        let session = broker.session().await.unwrap();
        let redeliveries = session.stats().await.unwrap().counters.redeliveries;
        assert_eq!(redeliveries, u64::from(!is_kept));
    }
}

#[tokio::test]
async fn there_are_no_more_sessions_than_are_set_and_one_too_many_is_told_when_to_come_back() {
    let broker = broker(|engine| {
        engine.sessions = 1;
        engine.resume_grace = Duration::from_secs(7);
    });
    let broker = broker.await;
    let first = Peer::open(&broker, hello(1, None)).await.unwrap();
    let refusal = Peer::open(&broker, hello(2, None)).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.message.contains("1 sessions, which is the limit"), "{refusal}");
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
    first.leave();
    Peer::open(&broker, hello(2, None)).await.unwrap();
}

#[tokio::test]
async fn the_operations_of_a_lost_session_are_remembered_for_as_long_as_is_set() {
    for (memory, forgotten) in [(millis(1), true), (hours(1), false)] {
        let broker = broker(|engine| {
            (engine.session_memory, engine.resume_grace) = (memory, millis(1));
        });
        let broker = broker.await;
        let session = broker.session().await.unwrap();
        let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
        sender.publish(task()).await.unwrap();
        drop(sender);
        let again = async || {
            given_up(&session).await;
            // Another session that is given up later has the broker look what it may forget.
            tokio::time::sleep(millis(10)).await;
            let mut other = Peer::open(&broker, hello(2, None)).await.unwrap();
            other.publish(message(Kind::Event, "topic:t")).await.unwrap();
            drop(other);
            given_up(&session).await;
            let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
            let next = task();
            let id = next.envelope.id;
            sender.publish(next).await.unwrap();
            session.message(id).await.is_ok()
        };
        if forgotten {
            soon(async { while !again().await {} }).await;
        } else {
            assert!(!again().await, "it is the first operation, said again");
        }
    }
}

#[tokio::test]
async fn no_more_ended_tasks_stay_readable_than_are_set() {
    for by_count in [true, false] {
        let broker = broker(|engine| {
            if by_count {
                engine.ended_tasks = 1;
            } else {
                engine.ended_task_bytes = 1;
            }
        });
        let broker = broker.await;
        let echo = async |task: Task| Ok(task.payload().clone());
        let agent = broker.agent("a").skill("s", echo).start().await.unwrap();
        let session = broker.session().await.unwrap();
        let (first, second) = (session.send(skill(), "one"), session.send(skill(), "two"));
        let (old, new) = (first.id(), second.id());
        first.wait().await.unwrap();
        session.task(old).await.unwrap();
        second.wait().await.unwrap();
        assert_eq!(session.task(old).await.unwrap_err().code, RefusalCode::NotFound);
        session.task(new).await.unwrap();
        assert_eq!(session.stats().await.unwrap().tasks_forgotten, 1);
        agent.stop().await;
    }
}

#[tokio::test]
async fn no_more_events_of_a_task_are_kept_than_are_set() {
    for by_count in [true, false] {
        let broker = broker(|engine| {
            if by_count {
                engine.task_events = 2;
            } else {
                engine.task_event_bytes = 3;
            }
        });
        let broker = broker.await;
        let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
        let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
        let work = task();
        let id = work.envelope.id;
        client.publish(work).await.unwrap();
        let token = agent.delivery().await.token;
        for _ in 0..2 {
            let (name, payload) = ("notes".into(), "two".into());
            let chunk = ArtifactChunk { name, append: true, last: false, payload };
            let update = Update { token, body: UpdateBody::Artifact(chunk) };
            agent.ask(Operation::Update(update)).await.unwrap();
        }
        let session = broker.session().await.unwrap();
        let mut updates = session.watch(id, 0).await.unwrap();
        let first = soon(updates.next()).await;
        assert!(matches!(first, Some(Ok(TaskUpdate::Gap { first: 1, .. }))), "{first:?}");
        assert!(session.stats().await.unwrap().task_events_forgotten > 0, "it is counted");
    }
}

/// A task that waits for its caller, for the second time after what was said once.
async fn paused(change: impl FnOnce(&mut trunkline_broker::EngineConfig), said: &str) -> Refusal {
    let broker = broker(change).await;
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
    let work = task();
    let task = work.envelope.id;
    client.publish(work).await.unwrap();
    loop {
        let token = agent.delivery().await.token;
        let pause = Outcome::Pause { reason: PauseReason::Input, message: None };
        agent.settle(token, pause).await.unwrap();
        let answer = Operation::Continue { task, payload: said.into() };
        if let Err(refusal) = client.ask(answer).await {
            return refusal;
        }
    }
}

#[tokio::test]
async fn a_caller_may_send_no_more_to_a_paused_task_than_is_set() {
    let refusal = paused(|engine| engine.task_messages = 1, "more").await;
    too_large(&refusal, "has 1 messages of 4 bytes, the limit is 1 of");
    let refusal = paused(|engine| engine.task_message_bytes = 11, "more").await;
    too_large(&refusal, "has 2 messages of 8 bytes, the limit is 256 of 11");
}

#[tokio::test]
async fn whoever_is_refused_by_a_full_inbox_is_told_to_come_back_when_is_set() {
    let broker = broker(|engine| {
        (engine.inbox_ephemeral, engine.full_hint) = (1, Duration::from_secs(7));
    });
    let broker = broker.await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    client.publish(task()).await.unwrap();
    let refusal = client.publish(task()).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_handler_says_itself_when_to_try_again() {
    let broker = broker(|_| {}).await;
    let once = async |task: Task| match task.attempt() {
        1 => Err(HandlerError::retry_after("busy", hours(1))),
        _ => Ok(()),
    };
    let agent = broker.agent("a").skill("s", once).start().await.unwrap();
    // By the broker's own backoff it would have been tried again within a tenth of this.
    let outcome = broker.send(skill(), "").ttl(Duration::from_secs(1)).wait().await;
    let Err(RequestError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, FailureCode::Expired);
    agent.stop().await;
}

#[tokio::test]
async fn work_with_one_ordering_key_is_handed_out_one_at_a_time() {
    let broker = broker(|_| {}).await;
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
    let mut ids = Vec::new();
    for key in ["k", "k", "other"] {
        let mut work = task();
        work.envelope.ordering_key = Some(key.parse().unwrap());
        ids.push(work.envelope.id);
        client.publish(work).await.unwrap();
    }
    let first = agent.delivery().await;
    assert_eq!(first.publish.envelope.id, ids[0]);
    assert_eq!(agent.delivery().await.publish.envelope.id, ids[2], "the second is held back");
    agent.settle(first.token, done()).await.unwrap();
    assert_eq!(agent.delivery().await.publish.envelope.id, ids[1]);
}
