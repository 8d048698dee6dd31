//! Stubs: what stays of something published whose payload has left memory.

use bytes::Bytes;
use std::sync::Arc;
use trunkline_types::{Destination, Durability, Payload, Publish};

/// What payloads that have left memory point to, so that a stub has the length of its payload
/// without its bytes. Nobody reads or writes it, so that it takes no memory. No payload may be
/// longer by any configuration; one that is stays in memory.
static NOTHING: [u8; 8 << 20] = [0; 8 << 20];

/// The header of what is left of something whose payload cannot be read any more.
const LOST: &str = "trunkline-payload-lost";

/// Whether the payload has left memory.
pub(crate) fn is_stub(publish: &Publish) -> bool {
    std::ptr::eq(publish.envelope.payload.data.as_ptr(), NOTHING.as_ptr())
}

/// Whether the payload may leave memory: it is in the log, and only one entry has it.
pub(super) fn may_leave(publish: &Publish, level: Durability) -> bool {
    let size = publish.envelope.payload.data.len();
    let to = &publish.envelope.destination;
    level.is_logged()
        && (1..=NOTHING.len()).contains(&size)
        && matches!(to, Destination::Agent(_) | Destination::Skill(_))
}

/// The same without the bytes of its payload.
pub(super) fn stub(publish: &Publish) -> Arc<Publish> {
    let mut stub = publish.clone();
    let data = &mut stub.envelope.payload.data;
    *data = NOTHING.get(..data.len()).map(Bytes::from_static).unwrap_or_default();
    Arc::new(stub)
}

/// What is left when the payload of a stub cannot be read.
pub(super) fn lost(stub: &Publish, why: &str) -> Arc<Publish> {
    let mut lost = stub.clone();
    lost.envelope.payload = Payload::default();
    let why: String = why.chars().take(512).collect();
    lost.envelope.headers.push((LOST.into(), why.into()));
    Arc::new(lost)
}

/// Whether it is what is left of something whose payload could not be read.
pub(crate) fn is_lost(publish: &Publish) -> bool {
    publish.envelope.headers.iter().any(|(name, _)| name == LOST)
}

/// Something to send in the place of what was lost.
pub(crate) fn replace_lost(publish: &mut Publish) {
    publish.envelope.headers.retain(|(name, _)| name != LOST);
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Envelope, Kind, MessageId, Partition};

    #[test]
    fn a_stub_has_the_length_of_its_payload_and_is_told_from_what_is_whole() {
        let to = Destination::skill("s").unwrap();
        let id = MessageId::from_parts(1, Partition(0), 1);
        let mut envelope = Envelope::new(id, Kind::Request, to, vec![0; 1000].into());
        envelope.headers.push(("name".into(), "value".into()));
        let whole = Publish::new(envelope);
        assert!(!is_stub(&whole) && may_leave(&whole, Durability::Synced));
        assert!(!may_leave(&whole, Durability::Ephemeral));
        let stub = stub(&whole);
        assert!(is_stub(&stub) && is_stub(&stub.clone()) && !is_lost(&stub));
        assert_eq!((stub.envelope.payload.data.len(), stub.envelope.headers.len()), (1000, 1));
        let lost = lost(&stub, "the disk is gone");
        assert!(is_lost(&lost) && !is_stub(&lost));
        let empty =
            Publish::new(Envelope { payload: Payload::default(), ..whole.envelope.clone() });
        assert!(!is_stub(&empty) && !may_leave(&empty, Durability::Synced));
        let to_all = Envelope { destination: Destination::All, ..whole.envelope.clone() };
        assert!(!may_leave(&Publish::new(to_all), Durability::Synced), "many share it");
        let long = Envelope { payload: vec![0; (8 << 20) + 1].into(), ..whole.envelope };
        assert!(!may_leave(&Publish::new(long), Durability::Synced));
    }
}
