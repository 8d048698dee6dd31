//! The alarm: one task that sleeps until the engine's deadline.

use crate::clock::Clock;
use crate::core::Input;
use crate::partition::Partition;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use trunkline_engine::Mono;

/// When the alarm goes off. It never sleeps past the earliest time it was set for; one that went
/// off for nothing is set anew by the turn that it leads to.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// When it goes off. A mutex, for it is set once a turn and taken once an alarm.
    at: Mutex<Option<Mono>>,
    /// Told when the time got earlier.
    earlier: Notify,
}

impl Alarm {
    /// Sets the alarm, unless it goes off early enough anyway.
    pub(crate) fn set(&self, wanted: Option<Mono>) {
        let Some(wanted) = wanted else { return };
        let mut at = self.at.lock();
        if at.is_none_or(|at| wanted < at) {
            *at = Some(wanted);
            drop(at);
            self.earlier.notify_one();
        }
    }

    /// Lets the alarm's task see that its partition is gone, or that the clock was put forward.
    pub(crate) fn look(&self) {
        self.earlier.notify_one();
    }
}

/// Brings the time to a partition whenever its alarm goes off, until the partition is gone.
pub(crate) async fn run(partition: Weak<Partition>, alarm: Arc<Alarm>, clock: Clock) {
    while partition.strong_count() > 0 {
        let at = *alarm.at.lock();
        let due = match at {
            None => {
                alarm.earlier.notified().await;
                false
            }
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(clock.instant(at).into()) => true,
                () = alarm.earlier.notified() => false,
            },
        };
        if due && let Some(partition) = partition.upgrade() {
            *alarm.at.lock() = None;
            partition.bring(Input::Tick);
        }
    }
}
