//! How a session ends: at once, or when what it holds is finished.

use super::connection::Core;
use std::sync::atomic::Ordering;
use trunkline_types::session::ClientFrame;
use trunkline_types::{Refusal, RefusalCode};

impl Core {
    /// Finishes what is held and awaited, taking no new work, then says goodbye.
    pub(super) async fn leave(&self, reason: &Refusal) {
        self.finish_work().await;
        loop {
            let changed = self.quiet.notified();
            {
                let book = self.book.lock();
                if book.is_at_rest() || book.closed.is_some() {
                    break;
                }
            }
            changed.await;
        }
        self.close_because(reason);
    }

    /// Takes no new work, finishes what is held and sees it settled.
    pub(crate) async fn finish_work(&self) {
        let Some(pool) = &self.pool else { return };
        pool.drain();
        self.send_frame(ClientFrame::Drain);
        loop {
            pool.wait_idle().await;
            // The answers tell that nothing is on its way that could bring another delivery.
            self.wait_quiet().await;
            if pool.is_idle() || self.closed().is_some() {
                return;
            }
        }
    }

    /// Ends the session: says goodbye, gives back what it holds, and tells everybody who waits.
    pub(crate) fn close(&self) {
        self.close_because(&Refusal::new(RefusalCode::Unavailable, "the session was closed"));
    }

    fn close_because(&self, reason: &Refusal) {
        if self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(connection) = self.connection.get() {
            connection.close();
        }
        self.ended(reason);
    }

    /// The session has ended: everybody who waits is told why.
    pub(crate) fn ended(&self, refusal: &Refusal) {
        let mut told = Vec::new();
        self.book.lock().close(refusal, &mut told);
        self.room.close();
        for told in told {
            told.tell(self);
        }
        self.quiet.notify_waiters();
        self.over.notify_waiters();
        self.hub.close(refusal);
        self.watchers.close(refusal);
        self.directory.close(refusal);
        self.pressures.forget();
        if let Some(pool) = &self.pool {
            pool.abort();
        }
    }
}
