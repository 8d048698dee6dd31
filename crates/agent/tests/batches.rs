//! Handlers that take several deliveries at once, against a scripted broker.

use crate::common::{Line, Script, reply_text, retry_reason};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use trunkline_agent::prelude::*;
use trunkline_agent::{Batch, Profile, batch};
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{Outcome, Token};

/// The sizes of the batches that a handler was given.
type Sizes = Arc<Mutex<Vec<usize>>>;

/// Says several deliveries at once.
fn deliver(line: &Line, skill: &str, payloads: &[&str]) -> Vec<Token> {
    let deliveries: Vec<_> =
        payloads.iter().map(|payload| line.delivery(skill, (*payload).to_owned())).collect();
    let tokens = deliveries.iter().map(|delivery| delivery.token).collect();
    line.say(deliveries.into_iter().map(SessionItem::Delivery));
    tokens
}

/// A handler that notes the sizes of its batches and answers with each payload.
fn echo(size: u32, sizes: &Sizes) -> Batch<impl Fn(Vec<Task>) -> Echoed + use<>> {
    let sizes = Arc::clone(sizes);
    batch(size, move |tasks: Vec<Task>| {
        sizes.lock().push(tasks.len());
        let replies = tasks.iter().map(|task| Ok(task.payload().clone())).collect();
        std::future::ready(replies)
    })
}

type Echoed = std::future::Ready<Vec<HandlerResult<Payload>>>;

#[tokio::test]
async fn a_batch_is_what_is_there_up_to_its_size() {
    let script = Script::prompt();
    let sizes = Sizes::default();
    let agent = script.agent("a").skill("s", echo(4, &sizes)).workers(1..=1);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    assert_eq!(line.hello.credit.deliveries, 4, "a whole batch for the worker");
    for (token, reply) in
        deliver(&line, "s", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]).iter().zip(0..)
    {
        assert_eq!(reply_text(line.outcome_of(*token).await), reply.to_string());
    }
    assert_eq!(*sizes.lock(), [4, 4, 2]);
    let stats = agent.stats();
    assert_eq!((stats.batches, stats.handled), (3, 10));
    assert_eq!((stats.workers[0].batches, stats.workers[0].messages), (3, 10));
}

#[tokio::test]
async fn each_delivery_of_a_batch_ends_on_its_own() {
    let script = Script::prompt();
    let work = |tasks: Vec<Task>| async move {
        let one = |task: &Task| match &*task.text() {
            "fail" => Err(HandlerError::fail("no")),
            "retry" => Err(HandlerError::retry("later")),
            _ => Ok("done"),
        };
        // Awaited, so that it goes the long way.
        tokio::task::yield_now().await;
        tasks.iter().map(one).collect::<Vec<_>>()
    };
    let agent = script.agent("a").skill("s", batch(8, work)).start().await.unwrap();
    let line = script.line(0);
    let tokens = deliver(&line, "s", &["ok", "fail", "retry", "ok"]);
    assert_eq!(reply_text(line.outcome_of(tokens[0]).await), "done");
    assert_eq!(line.outcome_of(tokens[1]).await, Outcome::Fail { reason: "no".into() });
    assert_eq!(retry_reason(line.outcome_of(tokens[2]).await), "later");
    assert_eq!(reply_text(line.outcome_of(tokens[3]).await), "done");
    agent.stop().await;
}

#[tokio::test]
async fn a_batch_without_a_result_for_each_or_that_panics_is_tried_again() {
    let script = Script::prompt();
    let work = |tasks: Vec<Task>| async move {
        assert!(&*tasks[0].text() != "panic", "as told");
        vec![Ok(())]
    };
    let agent = script.agent("a").skill("s", batch(8, work)).start().await.unwrap();
    let line = script.line(0);
    for (payload, reason) in [
        ("x", "the handler gave 1 results for a batch of 2"),
        ("panic", "the handler panicked: as told"),
    ] {
        for token in deliver(&line, "s", &[payload, "y"]) {
            assert_eq!(retry_reason(line.outcome_of(token).await), reason);
        }
    }
    assert_eq!(agent.stats().panics, 2);
}

#[tokio::test]
async fn a_handler_that_lingers_waits_for_a_fuller_batch() {
    let script = Script::prompt();
    let sizes = Sizes::default();
    let lingers = echo(4, &sizes).linger(Duration::from_hours(1));
    let plain = |_: Task| async move { Ok(()) };
    let agent = script.agent("a").skill("s", lingers).skill("plain", plain).workers(1..=1);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let mut tokens = deliver(&line, "s", &["1", "2"]);
    // Whatever could begin has begun before this one.
    for _ in 0..2 {
        line.outcome_of(line.deliver("plain", "x")).await;
    }
    tokens.extend(deliver(&line, "s", &["3", "4", "5"]));
    for token in &tokens[..4] {
        line.outcome_of(*token).await;
    }
    assert_eq!(*sizes.lock(), [4]);
    // The one that is left does not wait for an hour when the agent stops.
    agent.stop().await;
    assert_eq!(*sizes.lock(), [4, 1]);
    assert!(line.outcome(tokens[4]).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_batch_lingers_no_longer_than_it_is_told_or_its_profile_says() {
    let own = Duration::from_secs(7);
    assert_eq!(Profile::Remote.linger(), Duration::from_millis(1));
    for (profile, linger, expected) in [
        (Profile::InProcess, None, Duration::ZERO),
        (Profile::Remote, None, Profile::Remote.linger()),
        (Profile::Remote, Some(own), own),
    ] {
        let script = Script::prompt();
        let (sender, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let handler = batch(4, move |tasks: Vec<Task>| {
            sender.send(tokio::time::Instant::now()).unwrap();
            std::future::ready(tasks.iter().map(|_| Ok(())).collect::<Vec<_>>())
        });
        let handler = match linger {
            Some(span) => handler.linger(span),
            None => handler,
        };
        let agent = script.agent("a").profile(profile).skill("s", handler).start().await.unwrap();
        let begun = tokio::time::Instant::now();
        script.line(0).deliver("s", "x");
        // The clock of the test goes on only while nothing else is to be done.
        let waited = begins.recv().await.unwrap() - begun;
        let slack = if expected.is_zero() { expected } else { Duration::from_millis(1) };
        assert!(waited >= expected && waited <= expected + slack, "{profile:?} {waited:?}");
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_delivery_that_is_called_off_leaves_its_batch_and_the_others_go_on() {
    let script = Script::prompt();
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let work = move |tasks: Vec<Task>| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            let cancelled = |task: &Task| Ok(task.is_cancelled().to_string());
            tasks.iter().map(cancelled).collect::<Vec<_>>()
        }
    };
    let agent = script.agent("a").skill("s", batch(8, work)).workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let mut overrun = line.delivery("s", "overrun");
    overrun.max_run = Some(Duration::from_millis(1));
    let deliveries = [line.delivery("s", "1"), overrun, line.delivery("s", "2")];
    let tokens = deliveries.clone().map(|delivery| delivery.token);
    line.say(deliveries.map(SessionItem::Delivery));
    let reason = retry_reason(line.outcome_of(tokens[1]).await);
    assert!(reason.contains("longer than 1ms"), "{reason}");
    line.say([SessionItem::Cancel { token: tokens[0], reason: "enough".into() }]);
    assert_eq!(line.outcome_of(tokens[0]).await, Outcome::Release);
    assert_eq!(line.outcome(tokens[2]), None);
    open.add_permits(1);
    assert_eq!(reply_text(line.outcome_of(tokens[2]).await), "false");
    agent.stop().await;
    // What the handler gave for those that had ended before is not said.
    let operations = line.operations();
    let settled = operations.iter().filter(|it| matches!(it, Operation::Settle(_)));
    assert_eq!(settled.count(), 3);
}

#[tokio::test]
async fn a_batch_that_is_called_off_as_a_whole_is_dropped() {
    let script = Script::prompt();
    let work = |_: Vec<Task>| async move {
        std::future::pending::<()>().await;
        Vec::<HandlerResult<()>>::new()
    };
    let agent = script.agent("a").skill("s", batch(2, work)).workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let tokens = deliver(&line, "s", &["1", "2"]);
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    for &token in &tokens {
        line.say([SessionItem::Cancel { token, reason: "enough".into() }]);
        assert_eq!(line.outcome_of(token).await, Outcome::Release);
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_member_of_a_batch_that_awaits_a_reply_lends_the_place_of_the_batch() {
    let script = Script::prompt();
    let outer = |tasks: Vec<Task>| async move {
        let mut replies = Vec::new();
        for task in tasks {
            let reply = task.request(Destination::skill("inner").unwrap(), "question").await;
            replies.push(reply.map(Reply::into_payload).map_err(HandlerError::from));
        }
        replies
    };
    let inner = |_: Task| async move { Ok("answer") };
    let agent = script.agent("a").skill("outer", batch(2, outer)).skill("inner", inner);
    let agent = agent.workers(1..=1).start().await.unwrap();
    let line = script.line(0);
    let tokens = deliver(&line, "outer", &["1", "2"]);
    for (asked, token) in tokens.into_iter().enumerate() {
        let publish = line
            .wait(move |line| {
                let operations = line.operations();
                let publishes = operations.iter().filter_map(|operation| match operation {
                    Operation::Publish(publish) => Some(publish.clone()),
                    _ => None,
                });
                publishes.into_iter().nth(asked)
            })
            .await;
        // The only worker awaits the reply, so this one runs in the place that it lent.
        let done = line.outcome_of(line.deliver("inner", "x")).await;
        let Outcome::Complete { reply: Some(payload) } = done else { panic!("{done:?}") };
        let request = publish.envelope.id;
        let reply = trunkline_types::session::Reply { request, agent: None, result: Ok(payload) };
        line.say([SessionItem::Reply(reply)]);
        if asked == 1 {
            assert_eq!(reply_text(line.outcome_of(token).await), "answer");
        }
    }
    assert_eq!(agent.stats().lent, 0);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_gathered_while_its_handler_was_at_its_bound_begins_afterwards() {
    let script = Script::prompt();
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let work = move |tasks: Vec<Task>| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            tasks.iter().map(|_| Ok(())).collect::<Vec<_>>()
        }
    };
    let handler = batch(2, work).linger(Duration::from_secs(1)).parallel(1);
    let agent = script.agent("a").skill("s", handler).workers(1..=2).start().await.unwrap();
    let line = script.line(0);
    deliver(&line, "s", &["1", "2"]);
    line.wait(|line| (!line.operations().is_empty()).then_some(())).await;
    // By now nobody waits any longer for the time of the first two.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let last = line.deliver("s", "3");
    open.add_permits(2);
    let begun = tokio::time::Instant::now();
    while line.outcome(last).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "nothing else has it begun");
    agent.stop().await;
}
