//! What keeps panics from event loops, without an interpreter.

#[path = "../src/guard.rs"]
mod guard;

use guard::{Panicked, caught, poll_caught};
use std::future::{pending, poll_fn, ready};
use std::task::{Poll, Waker};

#[test]
fn what_panics_ends_alone() {
    assert_eq!(caught(|| -> u32 { panic!("a mistake of ours") }), Err(Panicked));
    assert_eq!(caught(|| 7), Ok(7));
}

#[test]
fn a_call_that_panics_comes_to_an_end_that_is_told() {
    let waker = Waker::noop();
    let mut polled = 0;
    let mut late = Box::pin(poll_fn(move |_context| -> Poll<u32> {
        polled += 1;
        assert!(polled < 2, "a mistake of ours");
        Poll::Pending
    }));
    assert_eq!(poll_caught(late.as_mut(), waker), None);
    assert_eq!(poll_caught(late.as_mut(), waker), Some(Err(Panicked)));
    assert_eq!(poll_caught(Box::pin(ready(7)).as_mut(), waker), Some(Ok(7)));
    assert_eq!(poll_caught(Box::pin(pending::<u32>()).as_mut(), waker), None);
}
