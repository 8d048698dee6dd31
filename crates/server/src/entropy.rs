//! Ids made at the edge, from the system's entropy and the wall clock.

use parking_lot::Mutex;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};
use trunkline_types::{IdSource, MessageId, Partition, SessionId};

/// Makes ids for clients that leave them out, and for the server's own sessions.
#[derive(Debug)]
pub(crate) struct Ids {
    source: Mutex<IdSource>,
}

impl Ids {
    /// A source that no other one repeats.
    pub(crate) fn new() -> Self {
        Self { source: Mutex::new(IdSource::new(random())) }
    }

    /// An id for an envelope.
    pub(crate) fn message(&self) -> MessageId {
        let millis = u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX);
        self.source.lock().next(millis, Partition::default())
    }

    /// An id for a session.
    #[allow(clippy::unused_self, reason = "one place makes all ids")]
    pub(crate) fn session(&self) -> SessionId {
        SessionId((u128::from(random()) << 64) | u128::from(random()))
    }
}

/// 64 bits from the keys that the standard library draws from the system for its hash maps.
pub(crate) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u128(since_epoch().as_nanos());
    hasher.finish()
}

/// The wall clock; a clock before 1970 counts as 1970.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let (one, two) = (Ids::new(), Ids::new());
        let ids = [one.message(), one.message(), two.message()];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
        assert_ne!(one.session(), one.session());
    }
}
