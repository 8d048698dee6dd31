//! Handlers whose end a test decides, and work for them.

use super::Line;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use trunkline_agent::HandlerFuture;
use trunkline_agent::prelude::*;
use trunkline_types::session::{Operation, SessionItem, UpdateBody};
use trunkline_types::{Outcome, Token};

/// A handler that waits to be let through, and counts how many of it run at once.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let open = Arc::new(Semaphore::new(0));
        Self { open, inside: Arc::default(), most: Arc::default() }
    }

    pub(crate) fn open(&self, times: usize) {
        self.open.add_permits(times);
    }

    /// How many ran at once at most.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Handler for Gate {
    fn handle(&self, _: Task) -> HandlerFuture {
        let gate = self.clone();
        Box::pin(async move {
            let inside = 1 + gate.inside.fetch_add(1, Ordering::SeqCst);
            gate.most.fetch_max(inside, Ordering::SeqCst);
            if let Ok(permit) = gate.open.acquire().await {
                permit.forget();
            }
            gate.inside.fetch_sub(1, Ordering::SeqCst);
            Outcome::Complete { reply: None }
        })
    }
}

pub(crate) fn deliver(line: &Line, skill: &str, count: usize) -> Vec<Token> {
    let deliveries: Vec<_> = (0..count).map(|_| line.delivery(skill, "x")).collect();
    let tokens = deliveries.iter().map(|delivery| delivery.token).collect();
    line.say(deliveries.into_iter().map(SessionItem::Delivery));
    tokens
}

/// Waits until so many handlers have begun that had to be awaited.
pub(crate) async fn begun(line: &Arc<Line>, count: usize) {
    let begun = move |line: &Line| {
        let operations = line.operations();
        let begun = operations.iter().filter(
            |it| matches!(it, Operation::Update(update) if update.body == UpdateBody::Started),
        );
        (begun.count() >= count).then_some(())
    };
    line.wait(begun).await;
}

/// Lets the clock of the test go on until a delivery has ended.
pub(crate) async fn ended(line: &Line, token: Token) -> Outcome {
    let begun = std::time::Instant::now();
    loop {
        if let Some(outcome) = line.outcome(token) {
            return outcome;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it never ended");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Has a skill whose handlers take microseconds run until its agent knows.
pub(crate) async fn warm_up(line: &Arc<Line>, agent: &Agent, skill: &str) {
    let begun = std::time::Instant::now();
    while agent.stats().handler_time >= Duration::from_micros(10) {
        assert!(begun.elapsed() < Duration::from_mins(1), "the handlers take too long");
        for token in deliver(line, skill, 64) {
            line.outcome_of(token).await;
        }
    }
}
