//! How the broker says no.

use crate::kind::{UnknownWord, words};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A refusal: nothing of what was asked has been done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which class of reason, for programs.
    pub code: RefusalCode,
    /// A lower-case fragment that names the thing, its value and the limit or remedy.
    pub message: String,
    /// When it may be worth trying again, if waiting helps.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that waiting does not cure.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// The same refusal with a hint when to try again.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }
}

words!(
    /// The class of a refusal's reason.
    RefusalCode, "refusal code",
    "invalid, too-large, not-found, already-taken, stale-token, out-of-order, inbox-full, \
     key-reused, key-cap, nobody-there, disk-full, store-failed, draining, forbidden, unavailable, \
     wrong-state, deadlock",
    {
        /// A field is malformed, contradictory or out of range.
        Invalid = 1 "invalid",
        /// A part is over its limit.
        TooLarge = 2 "too-large",
        /// The thing named does not exist.
        NotFound = 3 "not-found",
        /// An agent id belongs to another principal, or a session id to another session.
        AlreadyTaken = 4 "already-taken",
        /// The token is not the latest of its delivery, or the delivery has ended.
        StaleToken = 5 "stale-token",
        /// Operations of a session came with a gap in their numbers.
        OutOfOrder = 6 "out-of-order",
        /// The inbox holds as much as it may.
        InboxFull = 7 "inbox-full",
        /// The idempotency key was used with another envelope.
        KeyReused = 8 "key-reused",
        /// The tenant has as many idempotency keys as it may.
        KeyCap = 9 "key-cap",
        /// Nobody serves the destination and the sender wanted to know rather than wait.
        NobodyThere = 10 "nobody-there",
        /// The disk has no room for new work.
        DiskFull = 11 "disk-full",
        /// The log failed; the broker must be started again.
        StoreFailed = 12 "store-failed",
        /// The broker is shutting down.
        Draining = 13 "draining",
        /// The principal may not do this.
        Forbidden = 14 "forbidden",
        /// No broker answers, or it went away before it answered.
        Unavailable = 15 "unavailable",
        /// The thing exists but is in a state that does not allow this.
        WrongState = 16 "wrong-state",
        /// The request would wait for itself: an ancestor holds the ordering key that it needs.
        Deadlock = 17 "deadlock",
    }
);
