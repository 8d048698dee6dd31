//! The combining lock: whoever brings something and finds it free does the work there and then,
//! and takes along what others have brought meanwhile; whoever finds it busy leaves what it
//! brought and goes on.
//!
//! So an unloaded request stays on one thread, and a loaded lock batches by itself.

use crate::sync::{Mutex, MutexGuard};

/// A state and a queue of what is to be done to it.
#[derive(Debug)]
pub(crate) struct Combining<Q, S> {
    /// What was brought. Guarded on its own, and only for as long as a push takes.
    queue: Mutex<Q>,
    /// Held by whoever is at work.
    state: Mutex<S>,
}

/// What can be brought.
pub(crate) trait Queue {
    /// Whether there is nothing.
    fn is_empty(&self) -> bool;
}

impl<T> Queue for Vec<T> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

/// How a call of [`Combining::work`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worked {
    /// Nothing is left, or somebody else is at work and will see it.
    Done,
    /// As many turns as allowed were taken and there is more: somebody must call again.
    More,
}

impl<Q: Queue, S> Combining<Q, S> {
    pub(crate) fn new(queue: Q, state: S) -> Self {
        Self { queue: Mutex::new(queue), state: Mutex::new(state) }
    }

    /// Brings something. It is done by a call of [`Self::work`], here or elsewhere.
    pub(crate) fn bring<R>(&self, push: impl FnOnce(&mut Q) -> R) -> R {
        push(&mut self.queue.lock())
    }

    /// Takes turns until nothing is left: `turn` is called with the state and the queue, takes
    /// what is in the queue and does it. At most `turns` of them, so that nobody works for others
    /// without end.
    pub(crate) fn work(
        &self,
        turns: usize,
        mut turn: impl FnMut(&mut MutexGuard<'_, S>, &Mutex<Q>),
        mut between: impl FnMut(),
    ) -> Worked {
        for _ in 0..turns {
            // Whoever holds the state looks at the queue again after letting go of it.
            let Some(mut state) = self.state.try_lock() else { return Worked::Done };
            turn(&mut state, &self.queue);
            drop(state);
            between();
            if self.queue.lock().is_empty() {
                return Worked::Done;
            }
        }
        Worked::More
    }

    /// The state itself, for those who must wait for it. They must call [`Self::work`] after
    /// letting go of it, like everybody who holds it.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock()
    }
}
