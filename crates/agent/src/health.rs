//! An agent that looks after itself: its own check says whether it is fit for work.

use crate::core::Core;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

type Checking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A check and how often it is made.
pub(crate) struct Health {
    check: Box<dyn Fn() -> Checking + Send + Sync>,
    every: Duration,
}

impl Health {
    pub(crate) fn new<F, W>(check: F, every: Duration) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self { check: Box::new(move || Box::pin(check())), every }
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Makes the check once. One that panics or takes longer than the time between two of them
    /// has failed.
    async fn look(&self) -> Result<(), String> {
        let caught = |_| Err("the check panicked".to_owned());
        let mut checking = match catch_unwind(AssertUnwindSafe(|| (self.check)())) {
            Ok(checking) => checking,
            Err(panic) => return caught(panic),
        };
        let checking = poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| checking.as_mut().poll(context)));
            polled.unwrap_or_else(|panic| Poll::Ready(caught(panic)))
        });
        let late = || Err(format!("the check takes longer than {:?}", self.every));
        tokio::time::timeout(self.every, checking).await.unwrap_or_else(|_| late())
    }
}

/// Checks for as long as the session lasts. The result is this session's alone: while it is not
/// fit for work it is willing to hold nothing. What operators say of the agent stays as it is, and
/// so do other sessions of the same agent.
pub(crate) async fn watch(core: Weak<Core>, health: Health) {
    loop {
        let result = health.look().await;
        let Some(core) = core.upgrade() else { return };
        let Some(pool) = &core.pool else { return };
        if core.closed().is_some() {
            return;
        }
        let was = pool.is_healthy();
        if let Err(reason) = &result
            && was
        {
            tracing::warn!(reason, "the agent is not fit for work");
        } else if result.is_ok() && !was {
            tracing::info!("the agent is fit for work again");
        }
        pool.set_healthy(&core, result.is_ok());
        drop(core);
        tokio::time::sleep(health.every).await;
    }
}
