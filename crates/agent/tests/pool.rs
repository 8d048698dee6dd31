//! The worker pool against a scripted broker.

use crate::common::{Line, Script, reply_text, request};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use trunkline_agent::prelude::*;
use trunkline_agent::{AgentBuilder, HandlerFuture};
use trunkline_types::session::{ClientFrame, Operation, Reply, SessionItem, UpdateBody};
use trunkline_types::{InboxAddress, Outcome, Refusal, RefusalCode, Settle};

#[tokio::test]
async fn an_ok_completes_and_every_error_is_what_it_says() {
    let script = Script::prompt();
    let agent = script
        .agent("a")
        .skill("s", |task: Task| async move {
            match &*task.text() {
                "ok" => Ok(Some(Payload::text("done"))),
                "parse" => Ok(Some(Payload::text("x".parse::<u32>()?.to_string()))),
                "fail" => Err(HandlerError::fail("no")),
                "reject" => Err(HandlerError::reject("not mine")),
                "dead" => Err(HandlerError::dead_letter("poison")),
                "release" => Err(HandlerError::release()),
                "later" => Err(HandlerError::retry_after("busy", Duration::from_secs(3))),
                other => panic!("cannot do {other}"),
            }
        })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let expect = async |payload: &str, outcome: Outcome| {
        let token = line.deliver("s", payload);
        assert_eq!(line.outcome_of(token).await, outcome, "{payload}");
    };
    expect("ok", Outcome::Complete { reply: Some("done".into()) }).await;
    expect("fail", Outcome::Fail { reason: "no".into() }).await;
    expect("reject", Outcome::Reject { reason: "not mine".into() }).await;
    expect("dead", Outcome::DeadLetter { reason: "poison".into() }).await;
    expect("release", Outcome::Release).await;
    let delay = Some(Duration::from_secs(3));
    expect("later", Outcome::Retry { reason: "busy".into(), delay }).await;
    let reason = "invalid digit found in string".into();
    expect("parse", Outcome::Retry { reason, delay: None }).await;
    let reason = "the handler panicked: cannot do it".into();
    expect("it", Outcome::Retry { reason, delay: None }).await;
    expect("ok", Outcome::Complete { reply: Some("done".into()) }).await;

    let envelope = request("s", "to the agent itself");
    let delivery = line.delivery_of(envelope, InboxAddress::Agent("a".parse().unwrap()));
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    assert!(matches!(line.outcome_of(token).await, Outcome::Reject { .. }));
    let stats = agent.stats();
    assert_eq!((stats.handled, stats.completed, stats.panics), (10, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_work_is_settled_in_batches_and_each_delivery_once() {
    const COUNT: usize = 20_000;
    let script = Script::prompt();
    let agent = script
        .agent("a")
        .skill("s", |task: Task| async move { Ok(task.payload().clone()) })
        .workers(1..=4)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    for _ in 0..COUNT / 100 {
        let deliveries: Vec<_> =
            (0..100).map(|_| SessionItem::Delivery(line.delivery("s", "x"))).collect();
        line.say(deliveries);
    }
    let settled = |operations: Vec<Operation>| {
        let settles = operations.into_iter().filter_map(|operation| match operation {
            Operation::Settle(settle) => Some(settle.token.counter),
            _ => None,
        });
        settles.collect::<Vec<_>>()
    };
    let mut tokens = line
        .wait(move |line| {
            let tokens = settled(line.operations());
            (tokens.len() >= COUNT).then_some(tokens)
        })
        .await;
    tokens.sort_unstable();
    assert_eq!(tokens, (1..=COUNT as u64).collect::<Vec<_>>());
    let frames = line.frames();
    let frames = frames.iter().filter(|it| matches!(it, ClientFrame::Operations { .. })).count();
    assert!(frames * 2 < COUNT, "{frames} frames");
    agent.stop().await;
    assert!(line.is_closed());
}

#[tokio::test]
async fn a_handler_that_waits_says_that_it_has_begun_and_others_run_meanwhile() {
    let script = Script::prompt();
    let (open, gate) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inner, most) = (Arc::clone(&open), Arc::clone(&gate));
    let agent = script
        .agent("a")
        .skill("s", move |_: Task| {
            let (open, most) = (Arc::clone(&inner), Arc::clone(&most));
            async move {
                most.fetch_add(1, Ordering::SeqCst);
                open.acquire().await?.forget();
                Ok(())
            }
        })
        .workers(1..=3)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let tokens: Vec<_> = (0..4).map(|_| line.deliver("s", "x")).collect();
    let started = move |line: &Line| {
        let operations = line.operations();
        let started = operations.iter().filter(|operation| {
            matches!(operation, Operation::Update(update) if update.body == UpdateBody::Started)
        });
        (started.count() == 3).then_some(())
    };
    line.wait(started).await;
    assert_eq!(gate.load(Ordering::SeqCst), 3, "three workers, three handlers");
    assert_eq!(agent.stats().queued, 1);
    open.add_permits(4);
    for token in tokens {
        assert_eq!(line.outcome_of(token).await, Outcome::Complete { reply: None });
    }
}

#[tokio::test]
async fn a_handler_that_awaits_a_reply_lends_its_permit() {
    let script = Script::prompt();
    let agent = script
        .agent("a")
        .skill("outer", |task: Task| async move {
            let reply = task.request(Destination::skill("inner")?, "question").await?;
            Ok(format!("heard {}", reply.text()))
        })
        .skill("inner", |_: Task| async move { Ok("answer") })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    assert_eq!(line.hello.credit.deliveries, 1);
    let outer = line.deliver("outer", "x");
    let publish = line
        .wait(|line| {
            line.operations().into_iter().find_map(|operation| match operation {
                Operation::Publish(publish) => Some(publish),
                _ => None,
            })
        })
        .await;
    assert_eq!(publish.envelope.causation_id, Some(crate::common::id(7)));
    assert_eq!(publish.envelope.root_id, Some(crate::common::id(7)));
    assert_eq!(publish.envelope.source.as_ref().unwrap().as_str(), "a");
    line.wait(|line| credits(line).contains(&2).then_some(())).await;

    let envelope = publish.envelope.clone();
    let inner = line.delivery_of(envelope, InboxAddress::Skill("inner".parse().unwrap()));
    let token = inner.token;
    line.say([SessionItem::Delivery(inner)]);
    let payload = match line.outcome_of(token).await {
        Outcome::Complete { reply: Some(payload) } => payload,
        other => panic!("{other:?}"),
    };
    let request = publish.envelope.id;
    line.say([SessionItem::Reply(Reply { request, agent: None, result: Ok(payload) })]);
    assert_eq!(reply_text(line.outcome_of(outer).await), "heard answer");
    line.wait(|line| (credits(line).last() == Some(&1)).then_some(())).await;
    assert_eq!(agent.stats().lent, 0);
    agent.stop().await;
}

fn credits(line: &Line) -> Vec<u32> {
    let frames = line.frames();
    let credits = frames.iter().filter_map(|frame| match frame {
        ClientFrame::Credit(credit) => Some(credit.deliveries),
        _ => None,
    });
    credits.collect()
}

#[test]
fn leases_are_kept_alive_while_a_handler_blocks_the_only_thread() {
    let script = Script::new(true, Duration::from_millis(30));
    let (go_on, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(parking_lot::Mutex::new(blocked));
    let inside = script.clone();
    let runtime = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let agent = inside
                .agent("a")
                .skill("s", move |_: Task| {
                    blocked.lock().recv().unwrap();
                    async move { Ok(()) }
                })
                .start()
                .await
                .unwrap();
            let line = inside.line(0);
            let both = [line.delivery("s", "1"), line.delivery("s", "2")];
            let tokens = both.clone().map(|delivery| delivery.token);
            line.say(both.map(SessionItem::Delivery));
            for token in tokens {
                line.outcome_of(token).await;
            }
            agent.stop().await;
        });
    });
    while script.lines() == 0 {
        std::thread::yield_now();
    }
    let line = script.line(0);
    let beats = |line: &Line| {
        let frames = line.frames();
        let full = frames.iter().filter(|frame| match frame {
            ClientFrame::Heartbeat { tokens } => tokens.len() == 2,
            _ => false,
        });
        (full.count() >= 3).then_some(())
    };
    line.wait_here(beats);
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    runtime.join().unwrap();
}

#[tokio::test]
async fn a_cancelled_handler_is_dropped_at_its_next_await() {
    let script = Script::prompt();
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let dropped = Arc::new(parking_lot::Mutex::new(Some(dropped)));
    let _agent = script
        .agent("a")
        .skill("s", move |_: Task| {
            let guard = dropped.lock().take();
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
                Ok(())
            }
        })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "x");
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    line.say([SessionItem::Cancel { token, reason: "enough".into() }]);
    assert!(is_dropped.await.is_err(), "the handler's future is gone");
    assert_eq!(line.outcome_of(token).await, Outcome::Release);
}

struct CleansUp;

impl Handler for CleansUp {
    fn handle(&self, task: Task) -> HandlerFuture {
        Box::pin(async move {
            task.cancelled().await;
            Outcome::Complete { reply: Some("cleaned up".into()) }
        })
    }

    fn cancel_grace(&self) -> Duration {
        Duration::from_mins(1)
    }
}

#[tokio::test]
async fn a_handler_with_a_grace_sees_that_it_is_cancelled() {
    let script = Script::prompt();
    let _agent = script.agent("a").skill("s", CleansUp).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "x");
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    line.say([SessionItem::Cancel { token, reason: "enough".into() }]);
    assert_eq!(reply_text(line.outcome_of(token).await), "cleaned up");
}

#[tokio::test]
async fn a_delivery_whose_deadline_passes_is_dropped_and_left_to_the_broker() {
    let script = Script::prompt();
    let agent = script
        .agent("a")
        .skill("s", |task: Task| async move {
            if &*task.text() == "endless" {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let mut delivery = line.delivery("s", "endless");
    delivery.expires_at = Some(trunkline_types::WallTime(1));
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    let next = line.deliver("s", "quick");
    line.outcome_of(next).await;
    agent.stop().await;
    // Given back, it would come again at once for as long as the clocks differ.
    assert_eq!(line.outcome(token), None);
}

#[tokio::test]
async fn a_deadline_is_the_brokers_whatever_the_agents_clock_says() {
    let script = Script::prompt();
    let hour = Duration::from_hours(1);
    let broker = |ahead: Duration| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        trunkline_types::WallTime(
            u64::try_from((now + ahead).saturating_sub(hour).as_millis()).unwrap(),
        )
    };
    // The agent's clock is an hour ahead of the broker's.
    script.set_clock(broker(Duration::ZERO));
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let agent = script
        .agent("a")
        .skill("s", move |task: Task| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                let remaining = task.remaining().unwrap();
                Ok(if remaining > hour / 4 && remaining < hour { "half" } else { "other" })
            }
        })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let mut delivery = line.delivery("s", "x");
    delivery.expires_at = Some(broker(hour / 2));
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    open.add_permits(1);
    assert_eq!(reply_text(line.outcome_of(token).await), "half");
    agent.stop().await;
}

#[tokio::test]
async fn stop_finishes_what_is_held_and_then_says_goodbye() {
    let script = Script::prompt();
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let agent = script
        .agent("a")
        .skill("s", move |_: Task| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await?.forget();
                Ok(())
            }
        })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let tokens = [line.deliver("s", "1"), line.deliver("s", "2")];
    let stopping = tokio::spawn(agent.stop());
    line.wait(|line| line.frames().contains(&ClientFrame::Drain).then_some(())).await;
    assert!(!line.is_closed());
    open.add_permits(2);
    stopping.await.unwrap();
    assert!(line.is_closed());
    for token in tokens {
        assert_eq!(line.outcome(token), Some(Outcome::Complete { reply: None }));
    }
}

#[tokio::test]
async fn revoked_work_is_dropped_when_the_session_comes_back() {
    let script = Script::prompt();
    let _agent = script.agent("a").skill("s", CleansUp).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "x");
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    let mut welcome = script.welcome();
    welcome.resumed = true;
    welcome.revoked = vec![token];
    line.reconnected(&welcome);
    assert_eq!(reply_text(line.outcome_of(token).await), "cleaned up");
}

#[tokio::test]
async fn a_bad_description_is_refused_with_the_value_and_the_limit() {
    let script = Script::prompt();
    let refusal = |agent: AgentBuilder| async { agent.start().await.unwrap_err().message };
    assert!(refusal(script.agent("a b")).await.contains("'a b'"));
    let nothing = |_: Task| async move { Ok(()) };
    assert!(refusal(script.agent("a").skill("s s", nothing)).await.contains("'s s'"));
    assert!(refusal(script.agent("a").on_event("a..b", nothing)).await.contains("a..b"));
    assert!(refusal(script.agent("a").workers(0..=0)).await.contains("0 to 0"));
    assert!(refusal(script.agent("a").prefetch(5000)).await.contains("4096"));
    let range = "outstanding is 0, the range is 1 to 1048576";
    assert_eq!(refusal(script.agent("a").outstanding(0)).await, range);
    assert_eq!(script.lines(), 0);
}

/// The number of the first operation that `is` one, once it has come.
async fn number_of(line: &Arc<Line>, is: fn(&Operation) -> bool) -> u64 {
    let found = move |line: &Line| line.operations().iter().position(is).map(|at| at as u64 + 1);
    line.wait(found).await
}

#[tokio::test]
async fn a_delivery_whose_settlement_is_refused_is_settled_otherwise() {
    let over = Refusal::new(RefusalCode::TooLarge, "the reply has 9 bytes, the limit is 8");
    let again = Duration::from_secs(7);
    let full = Refusal::new(RefusalCode::DiskFull, "no room").retry_after(again);
    let failed = "the result was refused: the reply has 9 bytes, the limit is 8".to_owned();
    let retried = "the result was refused: no room".to_owned();
    for (refusal, expected) in [
        (over, Some(Outcome::Fail { reason: failed })),
        (full, Some(Outcome::Retry { reason: retried, delay: Some(again) })),
        (Refusal::new(RefusalCode::StaleToken, "it is another's"), None),
    ] {
        let script = Script::silent();
        let agent = script.agent("a").skill("s", |_: Task| async move { Ok("123456789") });
        let agent = agent.start().await.unwrap();
        let line = script.line(0);
        let token = line.deliver("s", "x");
        let operation = number_of(&line, |it| matches!(it, Operation::Settle(_))).await;
        let stopping = tokio::spawn(agent.stop());
        line.say([SessionItem::Refused { operation, refusal: refusal.clone() }]);
        if let Some(outcome) = expected {
            let settle = Operation::Settle(Settle { token, outcome });
            line.wait(move |line| line.operations().contains(&settle).then_some(())).await;
            assert!(!line.is_closed(), "what is said instead is awaited");
            // Refused again, it is left at that.
            line.say([SessionItem::Refused { operation: operation + 1, refusal }]);
        }
        stopping.await.unwrap();
        assert!(line.operations().len() as u64 <= operation + 1);
    }
}

#[tokio::test]
async fn a_refused_artifact_or_progress_reaches_the_handler() {
    let script = Script::silent();
    let _agent = script
        .agent("a")
        .skill("s", |task: Task| async move {
            if let Err(refusal) = task.artifact("a", "too long", false, true).await {
                return Ok(refusal.message);
            }
            // The first is on its way, a later one tells what became of it.
            loop {
                if let Err(refusal) = task.progress(1, "x").await {
                    return Ok(refusal.message);
                }
                tokio::task::yield_now().await;
            }
        })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let token = async |artifact: bool| {
        let mut delivery = line.delivery("s", "x");
        Arc::make_mut(&mut delivery.publish).options.task = true;
        let token = delivery.token;
        let before = line.operations().len() as u64;
        line.say([SessionItem::Delivery(delivery)]);
        let update = move |line: &Line| {
            let operations = line.operations();
            let of_it = |it: &Operation| matches!(it, Operation::Update(update) if update.token == token && matches!(update.body, UpdateBody::Artifact(_)));
            operations.iter().position(of_it).map(|at| at as u64 + 1)
        };
        let operation = line.wait(update).await;
        assert!(operation > before);
        if artifact {
            let refusal = Refusal::new(RefusalCode::TooLarge, "the artifact is too large");
            line.say([SessionItem::Refused { operation, refusal }]);
        } else {
            line.say([SessionItem::Done { first: operation, last: operation }]);
            let refusal = Refusal::new(RefusalCode::StaleToken, "it is another's");
            let operation = operation + 1;
            line.wait(move |line| (line.operations().len() as u64 >= operation).then_some(()))
                .await;
            line.say([SessionItem::Refused { operation, refusal }]);
        }
        reply_text(line.outcome_of(token).await)
    };
    assert_eq!(token(true).await, "the artifact is too large");
    assert_eq!(token(false).await, "it is another's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_does_not_wait_for_a_handler_that_blocks() {
    // No lease is renewed while the test lasts.
    let script = Script::new(true, Duration::from_hours(10));
    let (go_on, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = parking_lot::Mutex::new(blocked);
    let agent = script
        .agent("a")
        .skill("s", move |task: Task| {
            if &*task.text() == "block" {
                blocked.lock().recv().unwrap();
            }
            async move { Ok(()) }
        })
        .workers(1..=1)
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    // Settlements are gathered only while handlers take microseconds.
    while agent.stats().handler_time >= Duration::from_micros(10) {
        let deliveries: Vec<_> = (0..64).map(|_| line.delivery("s", "x")).collect();
        let last = deliveries.last().unwrap().token;
        line.say(deliveries.into_iter().map(SessionItem::Delivery));
        line.outcome_of(last).await;
    }
    let both = [line.delivery("s", "x"), line.delivery("s", "block")];
    let tokens = both.clone().map(|delivery| delivery.token);
    line.say(both.map(SessionItem::Delivery));
    line.outcome_of(tokens[0]).await;
    assert_eq!(line.outcome(tokens[1]), None);
    go_on.send(()).unwrap();
    line.outcome_of(tokens[1]).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_may_wait_for_its_broker() {
    let script = Script::prompt();
    let away = || Refusal::new(RefusalCode::Unavailable, "no broker answers");
    script.decline(away());
    assert_eq!(script.agent("a").start().await.unwrap_err(), away());
    for _ in 0..3 {
        script.decline(away());
    }
    let agent = script.agent("a").wait_for_broker().start().await.unwrap();
    assert_eq!(script.lines(), 1);
    agent.stop().await;
    // What waiting does not cure is told.
    let taken = Refusal::new(RefusalCode::AlreadyTaken, "agent id 'a' belongs to 'b'");
    script.decline(taken.clone());
    assert_eq!(script.agent("a").wait_for_broker().start().await.unwrap_err(), taken);
}
