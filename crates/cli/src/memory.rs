//! What is not wanted any more goes back to the system when a broker comes to rest.
//!
//! The allocator gives pages back while its threads go on allocating. One that has nothing to do
//! keeps what it freed last, and what other threads freed of its own, which after a burst is most of
//! what the burst took.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How often it is looked whether the process has come to rest.
const LOOK: Duration = Duration::from_secs(1);
/// Who takes less of a processor between two looks is at rest.
const REST: Duration = Duration::from_millis(20);
/// How long a worker waits for the others, so that none does the part of two. Nothing else is done
/// meanwhile, which is why it is short.
const TOGETHER: Duration = Duration::from_millis(2);

/// Gives memory back whenever the process comes to rest, for as long as it is polled.
pub(crate) async fn give_back_at_rest() {
    let (mut spent, mut was_busy) = (processor_time(), false);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let now = processor_time();
        let is_busy = now.saturating_sub(spent) > REST;
        if was_busy && !is_busy {
            give_back().await;
        }
        // What giving back has taken is no work.
        (spent, was_busy) = (processor_time(), is_busy);
    }
}

/// Has every worker of the runtime give back what it keeps, as none can do that for another.
async fn give_back() {
    let workers = Handle::current().metrics().num_workers();
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut parts = JoinSet::new();
    for _ in 0..workers {
        let arrived = Arc::clone(&arrived);
        parts.spawn(async move {
            collect();
            arrived.fetch_add(1, Ordering::Relaxed);
            let until = Instant::now() + TOGETHER;
            while arrived.load(Ordering::Relaxed) < workers && Instant::now() < until {
                std::thread::yield_now();
            }
        });
    }
    parts.join_all().await;
}

/// Gives back what this thread keeps.
#[allow(unsafe_code, reason = "the allocator has no other way to be told")]
fn collect() {
    // SAFETY: it takes no pointer, and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// What this process has taken of all processors since its start.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
