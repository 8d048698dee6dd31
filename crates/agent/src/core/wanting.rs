//! What a session wants to be told: subscriptions and watches.
//!
//! Whether a consumer is the first or the last for its subscription or task, and the number of the
//! operation that says so, are decided under one lock. Otherwise the end of one subscription
//! could be numbered after the beginning of the next, and undo it.

use super::connection::Core;
use super::hub::Feed;
use super::waiter::{Entry, Waiter};
use super::watchers::Watcher;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use trunkline_types::session::{Operation, Subscription};
use trunkline_types::{MessageId, Refusal};

/// How the broker answers one operation.
pub(crate) type Answer = oneshot::Receiver<Result<(), Refusal>>;

impl Core {
    /// Adds a consumer of a subscription's events and asks the broker for them, unless another one has
    /// asked. Takes over a place for an operation that its caller has waited for. The answer is
    /// the feed's to wait for.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn want(&self, subscription: &Subscription) -> Result<Arc<Feed>, Refusal> {
        let mut asked = false;
        let feed = self.hub.add(subscription, |answer: watch::Sender<_>| {
            asked = true;
            let operation = Operation::Subscribe(subscription.clone());
            let entry = Entry { bounded: true, waiter: Waiter::Shared(answer), reply: None };
            self.number([operation], entry).map(drop)
        })?;
        if asked {
            self.flush();
        } else {
            self.room.add_permits(1);
        }
        Ok(feed)
    }

    /// Removes a consumer, and tells the broker if it was the last for its subscription.
    pub(crate) fn unwant(&self, feed: &Arc<Feed>) {
        self.hub.remove(feed, || {
            self.number_untold([Operation::Unsubscribe(feed.subscription.clone())]);
        });
        self.flush();
    }

    /// Adds a watcher of a task that has seen everything up to `after`, and asks the broker for
    /// what comes then. Takes over a place for an operation that its caller has waited for.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn watch(
        &self,
        task: MessageId,
        after: u64,
    ) -> Result<(Arc<Watcher>, Answer), Refusal> {
        let (sender, answer) = oneshot::channel();
        let watcher = self.watchers.add(task, after, || {
            let entry = Entry { bounded: true, waiter: Waiter::Done(sender), reply: None };
            self.number([Operation::Watch { task, after }], entry).map(drop)
        })?;
        self.flush();
        Ok((watcher, answer))
    }

    /// Removes a watcher, and tells the broker if it was the last of its task.
    pub(crate) fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.watchers.remove(watcher, || {
            self.number_untold([Operation::Unwatch { task: watcher.task }]);
        });
        self.flush();
    }

    /// Asks for every watched task from where its watchers are: the broker forgets watches with
    /// the connection, whether or not it knows the session.
    pub(super) fn watch_again(&self) {
        self.watchers.each(|task, after| {
            let entry = Entry { bounded: false, waiter: Waiter::Watchers(task), reply: None };
            // A session that has ended has told its watchers so.
            let _ = self.number([Operation::Watch { task, after }], entry);
        });
        self.flush();
    }

    /// Asks for every subscription that has a consumer: the broker has forgotten the session.
    pub(super) fn want_again(&self) {
        self.hub.each_subscription(|subscription| {
            self.number_untold([Operation::Subscribe(subscription)]);
        });
        self.flush();
    }

    /// Numbers operations that nobody waits for.
    fn number_untold(&self, operations: impl IntoIterator<Item = Operation>) {
        let entry = Entry { bounded: false, waiter: Waiter::Nobody, reply: None };
        // A session that has ended has nobody left to tell.
        let _ = self.number(operations, entry);
    }
}
