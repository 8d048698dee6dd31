//! Mistakes of ours that panic, kept from the threads of Python.
//!
//! A panic that reached an event loop would end it with everything else that it does. It ends
//! instead what it happened in, and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// That something panicked. What it was is on stderr by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panicked;

/// Does something.
///
/// # Errors
/// It panicked, and is not to be gone on with.
pub(crate) fn caught<T>(what: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|_said| Panicked)
}

/// Polls a future once: what it came to, or that it never will; `None` while it goes on.
pub(crate) fn poll_caught<T>(
    future: Pin<&mut (dyn Future<Output = T> + Send)>,
    waker: &Waker,
) -> Option<Result<T, Panicked>> {
    match caught(|| future.poll(&mut Context::from_waker(waker))) {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(value)) => Some(Ok(value)),
        Err(panicked) => Some(Err(panicked)),
    }
}
