//! The one lock of a session and who is woken when what it guards changes.

use crate::session::state::State;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use trunkline_types::session::ClientFrame;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    /// Guards everything the session knows. Held for moves only: never while a frame is encoded
    /// or decoded or the sink is called.
    state: Mutex<State>,
    /// Set when the reading task has something to look at besides the stream.
    attention: AtomicBool,
    reader: AtomicWaker,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        let (attention, reader) = (AtomicBool::new(false), AtomicWaker::new());
        Self { state: Mutex::new(state), attention, reader }
    }

    /// What the session knows. Whoever changes what is to be sent wakes the sender.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes in what the layer above wants said, and wakes whom it concerns.
    pub(super) fn say(&self, frame: ClientFrame) {
        let leaving = matches!(frame, ClientFrame::Goodbye);
        let (made_here, sender) = {
            let mut state = self.state.lock();
            (state.say(frame), state.sender.take())
        };
        if let Some(sender) = sender {
            sender.wake();
        }
        if made_here || leaving {
            self.wake_reader();
        }
    }

    /// Changes what the session knows and wakes the sender.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, sender) = {
            let mut state = self.state.lock();
            (change(&mut state), state.sender.take())
        };
        if let Some(sender) = sender {
            sender.wake();
        }
        result
    }

    /// Has the reading task look at the state.
    pub(super) fn wake_reader(&self) {
        self.attention.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Ready once there is something for the reading task to look at.
    pub(super) fn poll_attention(&self, context: &Context<'_>) -> Poll<()> {
        if self.attention.swap(false, Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.reader.register(context.waker());
        if self.attention.swap(false, Ordering::Acquire) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
