//! Handlers and workers that fail, take too long or keep their thread, against a scripted broker.

use crate::common::gate::{begun, ended, warm_up};
use crate::common::{Script, reply_text, retry_reason};
use std::time::Duration;
use trunkline_agent::HandlerFuture;
use trunkline_agent::prelude::*;
use trunkline_types::Outcome;
use trunkline_types::session::SessionItem;

#[tokio::test]
async fn a_handler_that_runs_for_too_long_is_dropped_and_tried_again() {
    let script = Script::prompt();
    let endless = |_: Task| async move {
        std::future::pending::<()>().await;
        Ok(())
    };
    let agent = script.agent("a").skill("s", endless).skill("cleans-up", CleansUp);
    let agent = agent.workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let bounded = |skill| {
        let mut delivery = line.delivery(skill, "x");
        delivery.max_run = Some(Duration::from_millis(1));
        let token = delivery.token;
        line.say([SessionItem::Delivery(delivery)]);
        token
    };
    let reason = retry_reason(line.outcome_of(bounded("s")).await);
    assert_eq!(reason, "the handler ran longer than 1ms");
    // A handler with a grace sees it and may still say what came of it.
    assert_eq!(reply_text(line.outcome_of(bounded("cleans-up")).await), "cleaned up");
    agent.stop().await;
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

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("went off");
    }
}

#[tokio::test]
async fn a_worker_that_fails_begins_anew_and_loses_nothing() {
    let script = Script::prompt();
    let agent = script.agent("a").skill("s", |task: Task| async move {
        match &*task.text() {
            "panic" => panic!("as told"),
            "bomb" => {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        Ok(())
    });
    let agent = agent.workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    // So that the worker takes several at once.
    warm_up(&line, &agent, "s").await;
    let deliveries = ["x", "panic", "x", "x"].map(|payload| line.delivery("s", payload));
    let tokens = deliveries.clone().map(|delivery| delivery.token);
    line.say(deliveries.map(SessionItem::Delivery));
    for (at, token) in tokens.into_iter().enumerate() {
        match line.outcome_of(token).await {
            Outcome::Retry { reason, .. } => {
                assert_eq!((at, &*reason), (1, "the handler panicked: as told"));
            }
            outcome => assert_eq!(outcome, Outcome::Complete { reply: None }),
        }
    }
    // The worker itself fails when it drops this handler, outside of any call of it.
    let bomb = line.deliver("s", "bomb");
    begun(&line, 1).await;
    let behind = line.deliver("s", "x");
    line.say([SessionItem::Cancel { token: bomb, reason: "enough".into() }]);
    assert_eq!(retry_reason(line.outcome_of(bomb).await), "the handler panicked: went off");
    line.outcome_of(behind).await;
    let stats = agent.stats();
    assert_eq!((stats.panics, stats.restarts), (2, 2));
    assert_eq!((stats.workers.len(), stats.workers[0].restarts), (1, 2));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_fails_again_and_again_pauses() {
    let script = Script::prompt();
    let agent = script.agent("a").skill("s", |task: Task| async move {
        assert!(&*task.text() != "panic", "as told");
        Ok(())
    });
    let agent = agent.workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let begun = tokio::time::Instant::now();
    let mut after = Vec::new();
    for payload in ["panic", "panic", "panic", "x", "panic", "x"] {
        ended(&line, line.deliver("s", payload)).await;
        after.push(begun.elapsed().as_millis() / 100);
    }
    // The clock of the test stands still unless somebody waits: after the second failure in a
    // row 100 ms, after the third 200 ms, and none after one that follows a success.
    assert_eq!(after, [0, 0, 1, 3, 3, 3]);
    // A pause holds up nobody who stops.
    for _ in 0..8 {
        ended(&line, line.deliver("s", "panic")).await;
    }
    let before = tokio::time::Instant::now();
    agent.stop().await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_handler_that_keeps_its_thread_is_counted() {
    let script = Script::prompt();
    let agent = script.agent("a").skill("s", |task: Task| async move {
        if task.text().starts_with("second") {
            tokio::task::yield_now().await;
        }
        let long = Duration::from_millis(if task.text().ends_with("long") { 120 } else { 0 });
        std::thread::sleep(long);
        Ok(())
    });
    let agent = agent.workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let counted = async |payload| {
        let before = agent.stats().blocked;
        line.outcome_of(line.deliver("s", payload)).await;
        agent.stats().blocked - before
    };
    assert_eq!(counted("first long").await, 1);
    assert_eq!(counted("second long").await, 1);
    // A busy machine may hold up even a short one, but not every time.
    for _ in 0..1000 {
        if counted("first").await == 0 {
            return;
        }
    }
    panic!("short ones are counted too");
}
