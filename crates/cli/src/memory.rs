//! What is not wanted any more goes back to the system when a broker comes to rest.
//!
//! The allocator gives pages back while its threads go on allocating. One that has nothing to do
//! keeps what it freed last, and what other threads freed of its own, which after a burst is most of
//! what the burst took. None can do it for another: the workers of the runtime are told when the whole
//! process is at rest, the broker's own thread when it is.

use rustix::time::{ClockId, clock_gettime};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How often it is looked whether the process has come to rest.
const LOOK: Duration = Duration::from_secs(1);
/// Who takes less of a processor between two looks is at rest.
const REST: Duration = Duration::from_millis(20);
/// How often it is tried until every worker has given back, once the process has come to rest. Where
/// others take the processors, a worker may be too late for the first times.
const TRIES: u32 = 10;
/// How long a worker waits for the others, so that none does the part of two. Nothing else is done
/// meanwhile, which is why it is short.
const TOGETHER: Duration = Duration::from_millis(2);

/// Gives memory back whenever the process comes to rest, for as long as it is polled.
pub(crate) async fn give_back_at_rest() {
    let (mut spent, mut tries) = (processor_time(), 0);
    let mut done = HashSet::new();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let now = processor_time();
        if now.saturating_sub(spent) > REST {
            tries = TRIES;
            done.clear();
        } else if tries > 0 {
            let workers = give_back_all(&mut done).await;
            tries = if done.len() < workers { tries - 1 } else { 0 };
        }
        // What giving back has taken is no work.
        spent = processor_time();
    }
}

/// Has every worker of the runtime give back what it keeps, as none can do that for another, and
/// notes which have. Tells how many there are: one that does not wake up in time is left out.
async fn give_back_all(done: &mut HashSet<ThreadId>) -> usize {
    let workers = Handle::current().metrics().num_workers();
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut parts = JoinSet::new();
    for _ in 0..workers {
        let arrived = Arc::clone(&arrived);
        parts.spawn(async move {
            give_back();
            arrived.fetch_add(1, Ordering::Relaxed);
            let until = Instant::now() + TOGETHER;
            while arrived.load(Ordering::Relaxed) < workers && Instant::now() < until {
                thread::yield_now();
            }
            thread::current().id()
        });
    }
    done.extend(parts.join_all().await);
    workers
}

/// Gives back what this thread keeps.
#[allow(unsafe_code, reason = "the allocator has no other way to be told")]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointer, and may be called at any time on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// What this process has taken of all processors since its start.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_was_too_late_is_not_taken_for_one_that_has_given_back() {
        let (begun, begins) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let busy = tokio::spawn(async move {
            begun.send(()).unwrap();
            // Fails when it is let go.
            let _ = wait.recv();
        });
        begins.recv().unwrap();
        let mut done = HashSet::new();
        assert_eq!(give_back_all(&mut done).await, 2);
        assert_eq!(done.len(), 1);
        drop(go_on);
        busy.await.unwrap();
        while done.len() < 2 {
            give_back_all(&mut done).await;
        }
    }
}
