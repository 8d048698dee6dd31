//! Agents and sessions on a broker in this process.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use trunkline_agent::SessionOptions;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{
    Absent, FailureCode, PauseReason, Publish, TaskEventBody, TaskState, TaskUpdate,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_are_each_handled_and_settled_once() {
    const COUNT: u32 = 50_000;
    const BATCH: u32 = 500;
    let broker = broker().await;
    // Fewer on their way than the inbox holds.
    let window = Arc::new(Semaphore::new(5000));
    let room = Arc::clone(&window);
    let (handled, mut numbers) = mpsc::unbounded_channel();
    let agent = broker
        .agent("sink")
        .skill("s", move |task: Task| {
            let number = task.text().parse::<u32>();
            let (handled, room) = (handled.clone(), Arc::clone(&room));
            async move {
                handled.send(number?)?;
                room.add_permits(1);
                Ok(())
            }
        })
        .workers(1..=4)
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let sender = tokio::spawn(async move {
        for first in (0..COUNT).step_by(BATCH as usize) {
            window.acquire_many(BATCH).await.unwrap().forget();
            let publishes = (first..first + BATCH).map(|number| {
                Publish::new(session.envelope(Kind::Event, skill("s"), number.to_string()))
            });
            let outcome = session.publish_batch(publishes).await.unwrap().await.unwrap();
            assert_eq!((outcome.accepted, outcome.refused.len()), (u64::from(BATCH), 0));
        }
    });
    let mut seen = HashSet::new();
    while seen.len() < COUNT as usize {
        assert!(seen.insert(numbers.recv().await.unwrap()), "handled twice");
    }
    sender.await.unwrap();
    agent.stop().await;
    let stats = broker.session().await.unwrap().stats().await.unwrap();
    assert_eq!((stats.counters.settled, stats.counters.redeliveries), (u64::from(COUNT), 0));
    assert_eq!(stats.gauges.total(), 0);
}

#[tokio::test]
async fn a_calls_b_calls_a_with_one_worker_each() {
    let broker = broker().await;
    let a = broker
        .agent("a")
        .skill("outer", |task: Task| async move {
            let reply = task.request(skill("middle"), task.payload().clone()).await?;
            Ok(format!("outer({})", reply.text()))
        })
        .skill("inner", |task: Task| async move { Ok(format!("inner({})", task.text())) })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let b = broker
        .agent("b")
        .skill("middle", |task: Task| async move {
            let reply = task.request(skill("inner"), task.payload().clone()).await?;
            Ok(format!("middle({})", reply.text()))
        })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let request = session.request(skill("outer"), number.to_string()).timeout(minute());
            tokio::spawn(request.into_future())
        })
        .collect();
    for (number, request) in requests.into_iter().enumerate() {
        let reply = request.await.unwrap().unwrap();
        assert_eq!(reply.text(), format!("outer(middle(inner({number})))"));
        assert_eq!(reply.agent.unwrap().as_str(), "a");
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_handler_may_await_several_replies_at_once_with_one_worker() {
    let broker = broker().await;
    let agent = broker
        .agent("a")
        .skill("both", |task: Task| async move {
            let one = task.request(skill("echo"), "one").into_future();
            let two = task.request(skill("echo"), "two").into_future();
            let (one, two) = tokio::try_join!(one, two)?;
            Ok(format!("{} {}", one.text(), two.text()))
        })
        .skill("echo", |task: Task| async move { Ok(task.payload().clone()) })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let reply = broker.request(skill("both"), "").timeout(minute()).await.unwrap();
    assert_eq!(reply.text(), "one two");
    assert_eq!(agent.stats().lent, 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_handler_that_gives_up_waiting_gets_its_place_back() {
    let broker = broker().await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&running), Arc::clone(&most));
    let agent = broker
        .agent("a")
        .skill("impatient", |task: Task| async move {
            let nobody = task.request(skill("nobody"), "").timeout(Duration::from_millis(5));
            match tokio::time::timeout(Duration::from_millis(1), nobody).await {
                Ok(Ok(_)) => Err(HandlerError::fail("nobody answered")),
                Ok(Err(_)) | Err(_) => Ok("gave up"),
            }
        })
        .skill("alone", move |_: Task| {
            let (running, most) = (Arc::clone(&counted), Arc::clone(&highest));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    for _ in 0..10 {
        let reply = broker.request(skill("impatient"), "").timeout(minute()).await.unwrap();
        assert_eq!(reply.text(), "gave up");
    }
    assert_eq!(agent.stats().lent, 0);
    let session = broker.session().await.unwrap();
    let alone: Vec<_> =
        (0..50).map(|_| tokio::spawn(session.request(skill("alone"), "").into_future())).collect();
    for request in alone {
        request.await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1, "one worker, one handler");
    agent.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_and_a_failure_is_told() {
    let broker = broker().await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let _agent = broker
        .agent("a")
        .skill("flaky", move |task: Task| {
            let tries = Arc::clone(&counted);
            async move {
                tries.fetch_add(1, Ordering::SeqCst);
                match task.attempt() {
                    1 => Err(HandlerError::retry_after("not yet", Duration::from_millis(1))),
                    2 => panic!("still not"),
                    attempt => Ok(format!("attempt {attempt}")),
                }
            }
        })
        .skill("hopeless", |_: Task| async move { Err::<(), _>(HandlerError::fail("no way")) })
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let reply = session.send(skill("flaky"), "").wait().await.unwrap();
    assert_eq!((&*reply.text(), tries.load(Ordering::SeqCst)), ("attempt 3", 3));
    let error = session.send(skill("hopeless"), "").wait().await.unwrap_err();
    let RequestError::Failed(failure) = error else { panic!("{error}") };
    assert_eq!((failure.code, &*failure.reason), (FailureCode::Failed, "no way"));
}

#[tokio::test]
async fn a_task_is_watched_to_its_end_and_one_that_never_ends_is_cancelled() {
    let broker = broker().await;
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let agent = broker
        .agent("a")
        .skill("s", move |task: Task| {
            let begun = begun.clone();
            async move {
                task.progress(50, "half way").await?;
                task.artifact("list", "one,", false, false).await?;
                task.artifact("list", "two", true, true).await?;
                if task.text() == "never" {
                    begun.send(())?;
                    std::future::pending::<()>().await;
                }
                Ok("done")
            }
        })
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let task = session.send(skill("s"), "soon").await.unwrap().id;
    let (mut list, mut states) = (String::new(), Vec::new());
    let mut updates = session.watch(task, 0).await.unwrap();
    while let Some(update) = updates.next().await {
        match update.unwrap() {
            TaskUpdate::Event(event) => match event.body {
                TaskEventBody::Status { state, .. } => states.push(state),
                TaskEventBody::Artifact(chunk) => list += &chunk.payload.to_text(),
                TaskEventBody::Message { .. } => panic!("nobody said anything"),
            },
            TaskUpdate::Progress(progress) => assert_eq!(progress.percent, 50),
            TaskUpdate::Gap { .. } => panic!("nothing is gone"),
        }
    }
    assert_eq!(list, "one,two");
    assert_eq!(states, [TaskState::Submitted, TaskState::Working, TaskState::Completed]);

    let never = session.send(skill("s"), "never");
    let id = never.id();
    let never = tokio::spawn(never.wait());
    has_begun.recv().await.unwrap();
    session.cancel(id, "enough").await.unwrap();
    let RequestError::Failed(failure) = never.await.unwrap().unwrap_err() else { panic!() };
    assert_eq!(failure.code, FailureCode::Canceled);
    // The worker is free again.
    assert_eq!(session.send(skill("s"), "x").wait().await.unwrap().text(), "done");
    agent.stop().await;
}

#[tokio::test]
async fn a_paused_task_goes_on_with_what_its_caller_says() {
    let broker = broker().await;
    let _agent = broker
        .agent("a")
        .skill("s", |task: Task| async move {
            match task.messages().first() {
                None => Err(HandlerError::pause(PauseReason::Input, Some("which one?".into()))),
                Some(answer) => Ok(format!("took {}", answer.to_text())),
            }
        })
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let send = session.send(skill("s"), "");
    let id = send.id();
    let result = tokio::spawn(send.wait());
    let mut updates = loop {
        // Refused until the broker has taken the task in.
        if let Ok(updates) = session.watch(id, 0).await {
            break updates;
        }
    };
    loop {
        let update = updates.next().await.unwrap().unwrap();
        if let TaskUpdate::Event(event) = update
            && let TaskEventBody::Status { state: TaskState::InputRequired, .. } = event.body
        {
            break;
        }
    }
    session.continue_task(id, "the left one").await.unwrap();
    assert_eq!(result.await.unwrap().unwrap().text(), "took the left one");
}

#[tokio::test]
async fn a_subscriber_that_is_slow_is_told_how_many_it_missed() {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 20;
    let broker = Broker::open(config).await.unwrap();
    let options = SessionOptions { events: 10, ..SessionOptions::default() };
    let session = broker.session_with(options).await.unwrap();
    let mut events = session.subscribe("news.*".parse().unwrap()).await.unwrap();
    let topic: Topic = "news.today".parse().unwrap();
    let publisher = broker.session().await.unwrap();
    let mut dropped = 0;
    for number in 0..100 {
        let accepted = publisher.publish(topic.clone(), number.to_string()).await.unwrap();
        dropped += u64::from(accepted.dropped);
    }
    assert!(dropped > 0);
    for _ in dropped..100 {
        assert_eq!(events.next().await.unwrap().missed, 0);
    }
    publisher.publish(topic, "last").await.unwrap();
    let last = events.next().await.unwrap();
    assert_eq!((&*last.payload().to_text(), last.missed), ("last", dropped));
}

#[tokio::test]
async fn work_that_an_agent_holds_goes_back_when_it_is_dropped() {
    let broker = broker().await;
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let first = broker
        .agent("first")
        .skill("s", move |_: Task| {
            let begun = begun.clone();
            async move {
                begun.send(())?;
                std::future::pending::<()>().await;
                Ok(())
            }
        })
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let result = tokio::spawn(session.send(skill("s"), "x").wait());
    has_begun.recv().await.unwrap();
    drop(first);
    let _second = broker
        .agent("second")
        .skill("s", |task: Task| async move { Ok(task.attempt().to_string()) })
        .start()
        .await
        .unwrap();
    let reply = result.await.unwrap().unwrap();
    assert_eq!(reply.agent.unwrap().as_str(), "second");
}

#[tokio::test]
async fn an_agent_scales_up_while_work_waits_and_stops_in_order() {
    let broker = broker().await;
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let agent = broker
        .agent("a")
        .skill("s", move |_: Task| {
            let gate = Arc::clone(&inner);
            async move {
                gate.acquire().await?.forget();
                Ok(())
            }
        })
        .workers(1..=5)
        .start()
        .await
        .unwrap();
    assert_eq!(agent.stats().workers.len(), 1);
    let session = broker.session().await.unwrap();
    let results: Vec<_> =
        (0..20).map(|_| tokio::spawn(session.send(skill("s"), "x").wait())).collect();
    while agent.stats().workers.len() < 5 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(20);
    for result in results {
        result.await.unwrap().unwrap();
    }
    assert_eq!(agent.stats().completed, 20);
    assert_eq!(agent.stats().workers.len(), 5);
    agent.stop().await;
}

#[tokio::test]
async fn a_broker_that_drains_lets_its_agents_finish() {
    let broker = broker().await;
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let agent = broker
        .agent("a")
        .skill("s", move |_: Task| {
            let (gate, begun) = (Arc::clone(&inner), begun.clone());
            async move {
                begun.send(())?;
                gate.acquire().await?.forget();
                Ok("finished")
            }
        })
        .start()
        .await
        .unwrap();
    let session = broker.session().await.unwrap();
    let request = tokio::spawn(session.request(skill("s"), "x").into_future());
    has_begun.recv().await.unwrap();
    let draining = broker.clone();
    let draining = tokio::spawn(async move { draining.drain(minute()).await });
    gate.add_permits(1);
    assert_eq!(request.await.unwrap().unwrap().text(), "finished");
    draining.await.unwrap();
    assert!(!agent.ended().await.message.is_empty());
    assert!(session.is_closed());
}

#[tokio::test]
async fn short_calls_on_a_broker_share_one_session() {
    let broker = broker().await;
    let _agent = broker
        .agent("a")
        .skill("s", |task: Task| async move { Ok(task.payload().clone()) })
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        broker.request(skill("s"), "x").timeout(minute()).await.unwrap();
    }
    let session = broker.session().await.unwrap();
    let stats = session.stats().await.unwrap();
    assert_eq!(stats.sessions, 3, "the agent's, the shared one and this one");
}

#[tokio::test]
async fn a_request_that_nobody_serves_expires_or_is_refused() {
    let broker = broker().await;
    let request = broker.request(skill("s"), "x").timeout(Duration::from_millis(20));
    let RequestError::Failed(failure) = request.await.unwrap_err() else { panic!() };
    assert_eq!(failure.code, FailureCode::Expired);
    assert!(failure.reason.contains("time to live"), "the broker says it: {failure:?}");
    let refused = broker.request(skill("s"), "x").absent(Absent::Fail).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_answers_whoever_still_waits() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    // Nobody offers the skill, so nobody will ever answer.
    let request = tokio::spawn(session.request(skill("nobody"), "x").into_future());
    while session.stats().await.unwrap().messages_accepted == 0 {}
    broker.drain(Duration::ZERO).await;
    assert!(request.await.unwrap().is_err());
}

#[tokio::test]
async fn what_is_sent_to_an_agent_goes_to_its_only_skill_or_to_the_one_that_is_named() {
    let broker = broker().await;
    let says = |text: &'static str| move |_: Task| async move { Ok(text) };
    let _one = broker.agent("one").skill("a", says("a")).start().await.unwrap();
    let two = broker.agent("two").skill("a", says("a")).skill("b", says("b"));
    let _two = two.start().await.unwrap();
    let own = broker.agent("own").skill("a", says("a")).on_message(says("own"));
    let _own = own.start().await.unwrap();
    let ask = async |id: &str, skill: Option<&str>| {
        let to = Destination::agent(id).unwrap();
        let mut request = broker.request(to, "x").timeout(minute());
        if let Some(skill) = skill {
            request = request.header("a2a-skill", skill);
        }
        request.await.map(|reply| reply.text().into_owned())
    };
    assert_eq!(ask("one", None).await.unwrap(), "a");
    assert_eq!(ask("two", Some("b")).await.unwrap(), "b");
    assert_eq!(ask("own", Some("a")).await.unwrap(), "own");
    for skill in [None, Some("c")] {
        let RequestError::Failed(failure) = ask("two", skill).await.unwrap_err() else {
            panic!("it was not refused, but rejected")
        };
        assert_eq!(failure.code, FailureCode::Rejected);
    }
}
