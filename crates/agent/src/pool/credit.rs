//! How many deliveries the session has told the broker that it is willing to hold.

use crate::core::Core;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use trunkline_types::session::{ClientFrame, Credit};

/// See the module.
pub(super) struct Granted {
    /// Guards the latest wish; not held while it is sent.
    state: Mutex<State>,
    /// The broker's bound.
    limit: AtomicU32,
}

struct State {
    wanted: u32,
    /// Whether somebody sends it; others leave their wish and go on, so that an older wish never
    /// comes after a newer one.
    sending: bool,
}

impl Granted {
    /// What was said in the hello.
    pub(super) fn new(deliveries: u32) -> Self {
        let state = State { wanted: deliveries, sending: false };
        Self { state: Mutex::new(state), limit: AtomicU32::new(deliveries) }
    }

    pub(super) fn limit(&self, limit: u32) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
    }

    pub(super) fn current(&self) -> u32 {
        self.state.lock().wanted
    }

    /// Tells the broker if it is something new.
    pub(super) fn grant(&self, core: &Core, deliveries: u32) {
        let wanted = deliveries.min(self.limit.load(Ordering::Relaxed));
        let mut state = self.state.lock();
        if state.wanted == wanted {
            return;
        }
        state.wanted = wanted;
        if state.sending {
            return;
        }
        state.sending = true;
        loop {
            let deliveries = state.wanted;
            drop(state);
            let events = core.hub.credit();
            core.send_frame(ClientFrame::Credit(Credit { deliveries, events }));
            state = self.state.lock();
            if state.wanted == deliveries {
                state.sending = false;
                return;
            }
        }
    }
}
