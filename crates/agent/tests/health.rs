//! An agent's own check, against a scripted broker.

use crate::common::{Line, Script};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use trunkline_agent::prelude::*;
use trunkline_types::Outcome;
use trunkline_types::session::{ClientFrame, Operation, SessionItem};

/// Often enough for a test.
const EVERY: Duration = Duration::from_millis(5);

/// How a check ends.
#[derive(Clone, Copy)]
enum Check {
    Passes,
    Fails,
    Panics,
    Hangs,
}

/// What the session was willing to hold from the start until now: nothing, or something.
fn willing(line: &Line) -> Vec<bool> {
    let frames = line.frames().into_iter().filter_map(|frame| match frame {
        ClientFrame::Credit(credit) => Some(credit.deliveries > 0),
        _ => None,
    });
    let mut willing: Vec<_> =
        [line.hello.credit.deliveries > 0].into_iter().chain(frames).collect();
    willing.dedup();
    willing
}

async fn says(line: &Arc<Line>, expected: &'static [bool]) {
    line.wait(move |line| (willing(line) == expected).then_some(())).await;
}

#[tokio::test]
async fn a_session_that_is_not_fit_takes_nothing_and_gives_back_what_it_has_not_begun() {
    let script = Script::prompt();
    let state = Arc::new(Mutex::new(Check::Passes));
    let open = Arc::new(Semaphore::new(0));
    let begun = Arc::new(Semaphore::new(0));
    let (gate, now) = (Arc::clone(&open), Arc::clone(&state));
    let begins = Arc::clone(&begun);
    let handler = move |_: Task| {
        let gate = Arc::clone(&gate);
        begins.add_permits(1);
        async move {
            gate.acquire().await?.forget();
            Ok(())
        }
    };
    let check = move || {
        let now = *now.lock();
        async move {
            match now {
                Check::Passes => Ok(()),
                Check::Fails => Err("the model does not answer".to_owned()),
                Check::Panics => panic!("as told"),
                Check::Hangs => std::future::pending().await,
            }
        }
    };
    let agent = script.agent("a").skill("s", handler).workers(1..=1).health(check, EVERY);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    says(&line, &[true]).await;
    assert!(agent.stats().healthy);
    let both = [line.delivery("s", "1"), line.delivery("s", "2")];
    let tokens = both.clone().map(|delivery| delivery.token);
    line.say(both.map(SessionItem::Delivery));
    begun.acquire().await.unwrap().forget();
    *state.lock() = Check::Fails;
    says(&line, &[true, false]).await;
    assert_eq!(line.outcome_of(tokens[1]).await, Outcome::Release);
    assert!(!agent.stats().healthy);
    // What was begun is finished.
    open.add_permits(1);
    assert_eq!(line.outcome_of(tokens[0]).await, Outcome::Complete { reply: None });
    *state.lock() = Check::Passes;
    says(&line, &[true, false, true]).await;
    *state.lock() = Check::Panics;
    says(&line, &[true, false, true, false]).await;
    *state.lock() = Check::Passes;
    says(&line, &[true, false, true, false, true]).await;
    *state.lock() = Check::Hangs;
    says(&line, &[true, false, true, false, true, false]).await;
    // What was on its way when the credit was taken back is given back, not begun.
    let late = line.deliver("s", "3");
    assert_eq!(line.outcome_of(late).await, Outcome::Release);
    assert_eq!(agent.stats().handled, 1);
    agent.stop().await;
    // What operators say of the agent is not touched: other sessions of it may be fit.
    assert!(!line.operations().iter().any(|it| matches!(it, Operation::SetAgent { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_check_is_made_as_often_as_is_asked_for() {
    let script = Script::prompt();
    let count = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&count);
    let check = move || {
        *counter.lock() += 1;
        async { Ok(()) }
    };
    let agent = script.agent("a").health(check, Duration::from_secs(10)).start().await.unwrap();
    // The clock of the test goes on by itself.
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(*count.lock(), 4, "at once and after 10, 20 and 30 seconds");
    agent.stop().await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(*count.lock(), 4, "an agent that is gone is not looked at");
}
