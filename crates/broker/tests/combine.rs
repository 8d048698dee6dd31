//! Tries the combining lock's hand-over in random orders of its threads' steps: nothing that was
//! brought may be left behind.

#[allow(dead_code, unreachable_pub)]
mod sync {
    //! The locks of the broker's own `sync`, made of shuttle's.
    use shuttle::sync as inner;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(inner::Mutex<T>);
    pub(crate) type MutexGuard<'a, T> = inner::MutexGuard<'a, T>;

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(inner::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no thread of the test panics while it holds a lock")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

#[allow(dead_code, reason = "the test needs less than the broker")]
#[path = "../src/combine.rs"]
mod combine;

use combine::{Combining, Worked};
use std::sync::Arc;

const THREADS: u64 = 3;
const EACH: u64 = 3;

/// Every thread brings a few numbers and works; afterwards all must have been taken, in the order
/// in which each thread brought its own.
fn bring_and_work(turns: usize) {
    let lock = Arc::new(Combining::new(Vec::new(), Vec::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let lock = lock.clone();
            shuttle::thread::spawn(move || {
                for number in 0..EACH {
                    lock.bring(|queue| queue.push((thread, number)));
                    work(&lock, turns);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    let done = lock.state().clone();
    assert_eq!(done.len() as u64, THREADS * EACH, "left behind: {done:?}");
    for thread in 0..THREADS {
        let own: Vec<u64> = done.iter().filter(|it| it.0 == thread).map(|it| it.1).collect();
        assert!(own.is_sorted(), "out of order: {own:?}");
    }
}

type Numbers = Vec<(u64, u64)>;

fn work(lock: &Combining<Numbers, Numbers>, turns: usize) {
    let turn = |done: &mut sync::MutexGuard<'_, Numbers>, queue: &sync::Mutex<Numbers>| {
        let brought = std::mem::take(&mut *queue.lock());
        done.extend(brought);
    };
    while lock.work(turns, turn, || {}) == Worked::More {}
}

#[test]
fn nothing_brought_is_left_behind() {
    shuttle::check_random(|| bring_and_work(64), 5_000);
}

#[test]
fn a_bounded_turn_hands_over() {
    shuttle::check_random(|| bring_and_work(1), 5_000);
}
