//! What a pool holds: kept under lease, called off, or let go at the end.

use super::queue::{Pool, Stopping};
use crate::core::Core;
use crate::keeper;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use trunkline_types::session::{ClientFrame, Operation};
use trunkline_types::{Outcome, Settle, Token};

impl Pool {
    /// A delivery is called off: a handler at work is told. Work that was not begun is dropped,
    /// and what is to be said of it returned.
    #[must_use]
    pub(crate) fn cancel(&self, token: Token, reason: &str) -> Option<Operation> {
        tracing::debug!(%token, reason, "a delivery is called off");
        let mut queue = self.queue.lock();
        if queue.lanes.remove(token) {
            return Some(release(token));
        }
        for cell in &queue.cells {
            let mut hands = cell.hands.lock();
            if let Some(running) = hands.current.iter().find(|it| it.token() == token) {
                running.cancel();
                return None;
            }
            if let Some(at) = hands.taken.iter().position(|delivery| delivery.token == token) {
                hands.taken.remove(at);
                return Some(release(token));
            }
        }
        None
    }

    /// Renews the leases of everything that is held, and helps out handlers that block their
    /// worker. Tells when to come again; `None` if nothing is held.
    pub(crate) fn beat(&self, core: &Arc<Core>) -> Option<Duration> {
        let mut tokens = Vec::new();
        let mut settled = Vec::new();
        {
            let mut queue = self.queue.lock();
            queue.lanes.tokens(&mut tokens);
            for cell in &queue.cells {
                let mut hands = cell.hands.lock();
                hands.tokens(&mut tokens);
                settled.append(&mut hands.outbox);
            }
            if tokens.is_empty() || queue.stopping == Stopping::Abort {
                queue.kept = false;
                if settled.is_empty() {
                    return None;
                }
            }
        }
        if !settled.is_empty() {
            core.tell_settled(settled, None);
        }
        if tokens.is_empty() {
            return None;
        }
        core.send_frame(ClientFrame::Heartbeat { tokens });
        self.rouse_now(core);
        Some(self.beat_period())
    }

    /// A worker begins a handler with settlements untold: has the keeper tell them soon if the
    /// handler does not come back. Asked for once, however many handlers begin until then.
    pub(super) fn ask_for_glance(&self, core: &Arc<Core>) {
        const SOON: Duration = Duration::from_millis(2);
        // Whoever reads a stale answer has begun before the keeper looks into its hands.
        if !self.glanced_at.load(Ordering::Relaxed) && !self.glanced_at.swap(true, Ordering::AcqRel)
        {
            keeper::glance(Arc::downgrade(core), SOON);
        }
    }

    /// Tells what workers that are in a handler have settled before.
    pub(crate) fn glance(&self, core: &Core) {
        // First, so that a worker which begins a handler from now on asks anew.
        self.glanced_at.swap(false, Ordering::AcqRel);
        let mut settled = Vec::new();
        {
            let queue = self.queue.lock();
            for cell in &queue.cells {
                let mut hands = cell.hands.lock();
                if !hands.current.is_empty() {
                    settled.append(&mut hands.outbox);
                }
            }
        }
        if !settled.is_empty() {
            core.tell_settled(settled, None);
        }
    }

    /// Whether the agent's check says that it is fit for work.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// The agent's check has said whether it is fit for work. While it is not, the session is
    /// willing to hold nothing and gives back what waits.
    pub(crate) fn set_healthy(&self, core: &Core, healthy: bool) {
        self.healthy.store(healthy, Ordering::Release);
        // Also if nothing has changed: a worker may have granted what was right before.
        self.adjust_credit(core);
        if !healthy {
            // Only now, or it would come back.
            core.tell(self.give_back_waiting());
        }
    }

    /// Gives back what waits and was not begun.
    pub(crate) fn give_back_waiting(&self) -> Vec<Operation> {
        let mut tokens = Vec::new();
        let mut queue = self.queue.lock();
        queue.lanes.tokens(&mut tokens);
        queue.lanes.clear();
        drop(queue);
        self.rest.notify_waiters();
        tokens.into_iter().map(release).collect()
    }

    /// No new work: idle workers end, the others when they find nothing.
    pub(crate) fn drain(&self) {
        self.stop(Stopping::Drain);
    }

    /// The session has ended: what is at work is called off, what waits is dropped.
    pub(crate) fn abort(&self) {
        self.stop(Stopping::Abort);
    }

    fn stop(&self, how: Stopping) {
        let mut queue = self.queue.lock();
        if queue.stopping != Stopping::Abort {
            queue.stopping = how;
        }
        if how == Stopping::Abort {
            queue.lanes.clear();
            for cell in &queue.cells {
                let mut hands = cell.hands.lock();
                hands.taken.clear();
                hands.current.iter().for_each(|running| running.cancel());
            }
        }
        let woken = std::mem::take(&mut queue.idle);
        drop(queue);
        for _ in 0..woken {
            self.wake.notify_one();
        }
        self.rest.notify_waiters();
    }
}

pub(super) fn release(token: Token) -> Operation {
    Operation::Settle(Settle { token, outcome: Outcome::Release })
}
