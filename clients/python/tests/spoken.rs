//! Sessions and workers that are driven by who speaks, without an interpreter.

#[allow(dead_code, reason = "calls of Python are polled elsewhere")]
#[path = "../src/guard.rs"]
mod guard;
#[path = "../src/spoken.rs"]
mod spoken;

use parking_lot::Mutex;
use spoken::{drive, here, is_here};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long something that has to come is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most turns of what is driven by who speaks.
const TURNS: usize = 8;

/// A runtime of one thread.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().expect("a thread")
}

/// What happens to something that is driven.
#[derive(Debug, PartialEq)]
enum Seen {
    Polled(ThreadId),
    Gone,
}

/// Something that is driven, until its step says that it is over.
struct Driven {
    seen: Receiver<Seen>,
    waker: Arc<Mutex<Option<Waker>>>,
}

/// Told of when it is dropped.
struct Guard(Sender<Seen>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Gone);
    }
}

impl Driven {
    /// Drives something whose every poll is a step, told its number from 0, and waits for the first.
    fn new(
        runtime: &Runtime,
        mut step: impl FnMut(usize, &Waker) -> Poll<()> + Send + 'static,
    ) -> Self {
        let (said, seen) = channel();
        let waker = Arc::new(Mutex::new(None));
        let (guard, kept) = (Guard(said), Arc::clone(&waker));
        let mut number = 0;
        let driven = poll_fn(move |context| {
            *kept.lock() = Some(context.waker().clone());
            let polled = step(number, context.waker());
            number += 1;
            let _ = guard.0.send(Seen::Polled(thread::current().id()));
            polled
        });
        drive(Box::pin(driven), runtime.handle());
        let driven = Self { seen, waker };
        assert_ne!(driven.next(), by_me(), "the runtime begins");
        // Its only thread has left it when it does something else.
        runtime.block_on(runtime.spawn(async {})).expect("it goes on");
        driven
    }

    fn wake(&self) {
        let waker = self.waker.lock().clone();
        waker.expect("it was polled").wake();
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("it is driven")
    }
}

fn by_me() -> Seen {
    Seen::Polled(thread::current().id())
}

#[test]
fn what_is_woken_by_who_speaks_is_driven_there_and_else_by_the_runtime() {
    let runtime = runtime();
    let driven = Driven::new(&runtime, |_, _| Poll::Pending);
    assert!(!is_here());
    let (done, drove) = here(|| {
        driven.wake();
        driven.wake();
        (driven.seen.try_recv().is_err(), is_here())
    });
    // Once, and not before all was said.
    assert_eq!((done, drove), ((true, true), true));
    assert_eq!((driven.seen.try_recv(), driven.seen.try_recv().is_err()), (Ok(by_me()), true));
    assert_eq!(here(|| 7), (7, false));
    assert!(!is_here());
    driven.wake();
    assert_ne!(driven.next(), by_me());
}

#[test]
fn who_speaks_within_what_is_said_leaves_it_to_be_driven_further_up() {
    let runtime = runtime();
    let driven = Driven::new(&runtime, |_, _| Poll::Pending);
    let (inner, drove) = here(|| {
        let inner = here(|| driven.wake());
        (inner.1, driven.seen.try_recv().is_err())
    });
    assert_eq!((inner, drove), ((false, true), true));
    assert_eq!(driven.seen.try_recv(), Ok(by_me()));
}

#[test]
fn who_speaks_drives_for_so_many_turns_and_leaves_the_rest_to_the_runtime() {
    let runtime = runtime();
    let driven = Driven::new(&runtime, |number, waker| {
        if (1..=TURNS).contains(&number) {
            waker.wake_by_ref();
        }
        Poll::Pending
    });
    assert!(here(|| driven.wake()).1);
    for _ in 0..TURNS {
        assert_eq!(driven.next(), by_me());
    }
    assert_ne!(driven.next(), by_me());
}

#[test]
fn nobody_waits_for_what_the_runtime_drives_at_the_moment() {
    let runtime = runtime();
    let (enter, entered) = channel();
    let (leave, left) = channel::<()>();
    let driven = Driven::new(&runtime, move |number, _| {
        if number == 1 {
            enter.send(()).unwrap();
            left.recv_timeout(PATIENCE).unwrap();
        }
        Poll::Pending
    });
    driven.wake();
    entered.recv_timeout(PATIENCE).unwrap();
    assert!(here(|| driven.wake()).1);
    leave.send(()).unwrap();
    // The one that was under way, and another for what was said meanwhile.
    assert_ne!(driven.next(), by_me());
    assert_ne!(driven.next(), by_me());
}

#[test]
fn what_panics_while_it_is_driven_ends_alone() {
    let runtime = runtime();
    let broken = Driven::new(&runtime, |number, _| {
        assert!(number == 0, "a mistake of ours");
        Poll::Pending
    });
    let other = Driven::new(&runtime, |_, _| Poll::Pending);
    let drove = here(|| {
        broken.wake();
        other.wake();
    });
    assert!(drove.1);
    assert_eq!((broken.next(), other.next()), (Seen::Gone, by_me()));
    // It is not driven again, by nobody.
    assert!(here(|| broken.wake()).1);
    broken.wake();
    assert!(here(|| other.wake()).1);
    assert_eq!(other.next(), by_me());
    drop(runtime);
    assert!(broken.seen.try_recv().is_err());
}

#[test]
fn what_is_over_is_gone_at_once() {
    let runtime = runtime();
    let over = |number, _: &Waker| if number == 0 { Poll::Pending } else { Poll::Ready(()) };
    let driven = Driven::new(&runtime, over);
    assert!(here(|| driven.wake()).1);
    assert_eq!((driven.seen.try_recv(), driven.seen.try_recv()), (Ok(by_me()), Ok(Seen::Gone)));
}

#[test]
fn who_fails_while_it_speaks_leaves_what_it_woke_to_the_runtime() {
    let runtime = runtime();
    let driven = Driven::new(&runtime, |_, _| Poll::Pending);
    let failed = guard::caught(|| {
        here(|| {
            driven.wake();
            panic!("a mistake of who speaks");
        })
    });
    assert!(failed.is_err());
    assert!(!is_here());
    assert_ne!(driven.next(), by_me());
}
