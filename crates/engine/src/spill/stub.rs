//! Stubs: what stands in for something published while its payload is in the log only and nobody
//! has read it.

use bytes::Bytes;
use std::sync::Arc;
use trunkline_types::{Payload, Publish};

/// What the payloads of stubs point to, so that a stub has the length of its payload without its
/// bytes. Nobody reads or writes it, so that it takes no memory. No payload may be longer by any
/// configuration; one that is stays in memory.
pub(super) static NOTHING: [u8; 8 << 20] = [0; 8 << 20];

/// The header of what is left of something whose payload cannot be read any more.
const LOST: &str = "trunkline-payload-lost";

/// Whether it stands in for something whose payload has left memory.
pub(crate) fn is_stub(publish: &Publish) -> bool {
    let data: &Bytes = &publish.envelope.payload.data;
    std::ptr::eq(data.as_ptr(), NOTHING.as_ptr())
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
    use super::super::body::{Sent, Shapes};
    use super::*;
    use trunkline_types::{Destination, Envelope, Kind, MessageId, Partition};

    #[test]
    fn a_stub_has_the_length_of_its_payload_and_is_told_from_what_is_whole() {
        let to = Destination::skill("s").unwrap();
        let id = MessageId::from_parts(1, Partition(0), 1);
        let envelope = Envelope::new(id, Kind::Request, to, vec![0; 1000].into());
        let whole = Publish::new(envelope);
        assert!(!is_stub(&whole));
        let stub = Sent { id, size: 1000, body: Shapes::default().body(&whole) }.stub();
        assert!(is_stub(&stub) && is_stub(&stub.clone()) && !is_lost(&stub));
        assert_eq!((stub.envelope.payload.data.len(), stub.envelope.id), (1000, id));
        let lost = lost(&stub, "the disk is gone");
        assert!(is_lost(&lost) && !is_stub(&lost));
    }
}
