//! Handlers that block, against a scripted broker.

use crate::common::{Line, Script, reply_text, retry_reason};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use trunkline_agent::blocking;
use trunkline_agent::prelude::*;
use trunkline_types::Outcome;
use trunkline_types::session::{ClientFrame, SessionItem};

/// Long enough for whatever is awaited to come, and then the test fails rather than hangs.
const GIVE_UP: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_blocking_handler_holds_up_neither_the_thread_nor_the_leases() {
    // Short leases, so that they are renewed while the handler blocks.
    let script = Script::new(true, Duration::from_millis(30));
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let waits = blocking(move |task: Task| {
        let heard: String = receiver.lock().recv_timeout(GIVE_UP)?;
        Ok(format!("{} heard {heard}", task.text()))
    });
    let speaks = move |task: Task| {
        let sender = sender.clone();
        async move { Ok(sender.send(task.text().into_owned())?) }
    };
    let agent = script.agent("a").skill("waits", waits).skill("speaks", speaks);
    let agent = agent.workers(1..=2).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("waits", "it");
    let beats = move |line: &Line| {
        let frames = line.frames();
        let of_it = |frame: &&ClientFrame| match frame {
            ClientFrame::Heartbeat { tokens } => tokens.contains(&token),
            _ => false,
        };
        (frames.iter().filter(of_it).count() >= 3).then_some(())
    };
    line.wait(beats).await;
    // The only thread of the runtime is free for this one.
    line.outcome_of(line.deliver("speaks", "me")).await;
    assert_eq!(reply_text(line.outcome_of(token).await), "it heard me");
    assert_eq!(agent.stats().blocked, 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_blocking_handler_that_panics_or_fails_says_so() {
    let script = Script::prompt();
    let handler = blocking(|task: Task| match &*task.text() {
        "panic" => panic!("as told"),
        _ => Err::<(), _>(HandlerError::fail("no")),
    });
    let agent = script.agent("a").skill("s", handler).start().await.unwrap();
    let line = script.line(0);
    let reason = retry_reason(line.outcome_of(line.deliver("s", "panic")).await);
    assert_eq!(reason, "the handler panicked: as told");
    let failed = line.outcome_of(line.deliver("s", "fail")).await;
    assert_eq!(failed, Outcome::Fail { reason: "no".into() });
    agent.stop().await;
}

#[tokio::test]
async fn no_more_threads_block_than_are_allowed_even_when_their_work_is_given_up() {
    let script = Script::prompt();
    let (go_on, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let handler = blocking(move |task: Task| {
        notes.lock().push(format!("{} begins", task.text()));
        if &*task.text() == "first" {
            blocked.lock().recv_timeout(GIVE_UP)?;
        }
        notes.lock().push(format!("{} ends", task.text()));
        Ok(())
    });
    let agent = script.agent("a").skill("s", handler.threads(1)).workers(1..=4);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    assert_eq!(line.hello.credit.deliveries, 1, "what cannot begin is not asked for");
    let first = line.deliver("s", "first");
    let begins = Arc::clone(&seen);
    line.wait(move |_| (!begins.lock().is_empty()).then_some(())).await;
    line.say([SessionItem::Cancel { token: first, reason: "enough".into() }]);
    assert_eq!(line.outcome_of(first).await, Outcome::Release);
    // The thread is not free yet, so this one waits for it.
    let second = line.deliver("s", "second");
    // Given up before it had a thread, this one never begins.
    tokio::task::yield_now().await;
    go_on.send(()).unwrap();
    line.outcome_of(second).await;
    assert_eq!(*seen.lock(), ["first begins", "first ends", "second begins", "second ends"]);
    agent.stop().await;
}
