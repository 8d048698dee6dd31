//! Keeps leases alive, off the handlers' threads.
//!
//! One thread for the process, shared by all sessions, because handlers may block every thread
//! that the async runtime has. It sleeps while no session holds anything.

use crate::core::Core;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, Weak};
use std::time::{Duration, Instant};

/// Sessions that hold deliveries, by when they next have to say so.
struct Keeper {
    /// Guards the schedule; taken once per session and third of a lease.
    schedule: Mutex<Schedule>,
    /// Signalled when the earliest time has become earlier.
    earlier: Condvar,
}

#[derive(Default)]
struct Schedule {
    due: BTreeMap<(Instant, u64), (Weak<Core>, Errand)>,
    counter: u64,
}

/// What a session is visited for.
#[derive(Clone, Copy)]
enum Errand {
    /// To renew its leases.
    Beat,
    /// To tell what a worker has settled that is in a handler.
    Glance,
    /// To see whether it wants more workers.
    Review,
}

static KEEPER: Keeper = Keeper {
    schedule: Mutex::new(Schedule { due: BTreeMap::new(), counter: 0 }),
    earlier: Condvar::new(),
};

/// Starts the thread unless it runs.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            let thread = std::thread::Builder::new().name("trunkline-lease".into());
            thread.spawn(|| KEEPER.run()).map(drop).map_err(|error| error.to_string())
        })
        .clone()
}

/// Has a session's leases kept alive from now on, every `period`, until it holds nothing.
pub(crate) fn keep(core: Weak<Core>, period: Duration) {
    KEEPER.schedule(core, Errand::Beat, period);
}

/// Has what a session's workers have settled told after `span`.
pub(crate) fn glance(core: Weak<Core>, span: Duration) {
    KEEPER.schedule(core, Errand::Glance, span);
}

/// Has it looked at after `span` whether a session wants more workers.
pub(crate) fn review(core: Weak<Core>, span: Duration) {
    KEEPER.schedule(core, Errand::Review, span);
}

impl Keeper {
    fn schedule(&self, core: Weak<Core>, errand: Errand, span: Duration) {
        let mut schedule = self.schedule.lock();
        schedule.counter += 1;
        let key = (Instant::now() + span, schedule.counter);
        let earliest = schedule.due.first_key_value().is_none_or(|(first, _)| key < *first);
        schedule.due.insert(key, (core, errand));
        drop(schedule);
        if earliest {
            self.earlier.notify_one();
        }
    }

    fn run(&self) -> ! {
        let mut schedule = self.schedule.lock();
        loop {
            let now = Instant::now();
            match schedule.due.first_entry() {
                None => self.earlier.wait(&mut schedule),
                Some(entry) if entry.key().0 <= now => {
                    let (core, errand) = entry.remove();
                    drop(schedule);
                    visit(&core, errand);
                    schedule = self.schedule.lock();
                }
                Some(entry) => {
                    let until = entry.key().0;
                    self.earlier.wait_until(&mut schedule, until);
                }
            }
        }
    }
}

fn visit(core: &Weak<Core>, errand: Errand) {
    let Some(strong) = core.upgrade() else { return };
    let Some(pool) = &strong.pool else { return };
    // The thread serves every session of the process, so one session's panic must not end it.
    let visited = catch_unwind(AssertUnwindSafe(|| match errand {
        Errand::Beat => pool.beat(&strong),
        Errand::Glance => {
            pool.glance(&strong);
            None
        }
        Errand::Review => {
            pool.review(&strong);
            None
        }
    }));
    match visited {
        Ok(Some(period)) => keep(Weak::clone(core), period),
        Ok(None) => {}
        Err(_) => tracing::error!("a session panicked while its leases were kept alive"),
    }
}
