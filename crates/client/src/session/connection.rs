//! What the layer above holds of a session.

use crate::session::shared::Shared;
use std::sync::Arc;
use trunkline_types::session::{ClientFrame, Connection};

/// A session's way to its broker. Dropping it says goodbye.
#[derive(Debug)]
pub(super) struct Remote {
    shared: Arc<Shared>,
}

impl Remote {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Connection for Remote {
    fn send(&self, frame: ClientFrame) {
        self.shared.say(frame);
    }

    fn close(&self) {
        self.shared.say(ClientFrame::Goodbye);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}
