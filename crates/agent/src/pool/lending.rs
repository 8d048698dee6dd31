//! Permits that are lent while a handler awaits a reply.

use super::queue::Pool;
use crate::core::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

impl Pool {
    /// A handler awaits a reply: another one may run, and one more delivery may come.
    pub(super) fn lend(&self, core: &Arc<Core>, lane: usize) {
        {
            let mut queue = self.queue.lock();
            queue.lent += 1;
            queue.lanes.leave(lane);
        }
        self.permits.add_permits(1);
        self.adjust_credit(core);
        self.rouse_now(core);
    }

    pub(super) fn loan_over(&self, core: &Core, lane: usize) {
        {
            let mut queue = self.queue.lock();
            queue.lanes.come_back(lane);
            queue.lent = queue.lent.saturating_sub(1);
        }
        self.adjust_credit(core);
    }

    /// Waits for a permit, before any worker that would begin something new.
    pub(super) async fn permit_for_returning(&self) {
        let _returning = Returning::new(&self.returning);
        self.permit().await;
    }

    pub(super) async fn permit(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }

    pub(super) fn try_permit(&self) -> bool {
        self.permits.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }
}

/// Counts a handler that wants its permit back for as long as it waits.
struct Returning<'a>(&'a AtomicU32);

impl<'a> Returning<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
