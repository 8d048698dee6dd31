//! The request stream of one connection: takes frames from the session when the transport has
//! room for one.

use crate::session::shared::Shared;
use crate::session::state::Outgoing;
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use trunkline_proto::v1;

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    shared: Arc<Shared>,
    connection: u64,
}

impl Frames {
    /// The stream of the connection with this number; it ends when another one begins.
    pub(super) fn new(shared: Arc<Shared>, connection: u64) -> Self {
        Self { shared, connection }
    }
}

impl Stream for Frames {
    type Item = v1::ClientFrame;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = {
            let mut state = self.shared.lock();
            let next = state.next(self.connection);
            if matches!(next, Outgoing::Wait) {
                state
                    .sender
                    .get_or_insert_with(|| context.waker().clone())
                    .clone_from(context.waker());
            }
            next
        };
        // Converted outside the lock, so that neither senders nor the reader wait for it.
        match next {
            Outgoing::Hello(hello) => Poll::Ready(Some((*hello).into())),
            Outgoing::Frame(frame) => Poll::Ready(Some(frame.into())),
            Outgoing::Wait => Poll::Pending,
            Outgoing::End => Poll::Ready(None),
        }
    }
}
