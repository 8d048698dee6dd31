//! Stubs: what stands in for something published while its payload is in the log only and nobody
//! has read it.

use super::body::size_of_payload;
use bytes::Bytes;
use std::sync::Arc;
use trunkline_types::{Payload, Publish};

/// What the payloads of stubs point to, so that a stub has the length of its payload without its
/// bytes. Nobody reads or writes it, so that it takes no memory. No payload may be longer by any
/// configuration; one that is stays in memory.
pub(super) static NOTHING: [u8; 8 << 20] = [0; 8 << 20];

/// The header of what is left of something whose payload cannot be read any more. Only the broker
/// sets headers of such names.
const LOST: &str = "trunkline-payload-lost";

/// The headers that say how many bytes there were of what is left out: of the payload, of headers.
const PAYLOAD_BYTES: &str = "trunkline-payload-bytes";
const HEADER_BYTES: &str = "trunkline-header-bytes";

/// Whether it stands in for something whose payload has left memory.
pub(crate) fn is_stub(publish: &Publish) -> bool {
    let data: &Bytes = &publish.envelope.payload.data;
    std::ptr::eq(data.as_ptr(), NOTHING.as_ptr())
}

/// What is left when the payload of a stub cannot be read. It says how much was lost, so that it
/// counts for as much as it does for who can read it, which may be the same broker another time.
pub(super) fn lost(stub: &Publish, why: &str) -> Arc<Publish> {
    let mut lost = stub.clone();
    let bytes = lost.envelope.payload.data.len().to_string();
    lost.envelope.payload = Payload::default();
    let why: String = why.chars().take(512).collect();
    lost.envelope.headers.push((LOST.into(), why.into()));
    lost.envelope.headers.push((PAYLOAD_BYTES.into(), bytes.into()));
    Arc::new(lost)
}

/// Whether it is what is left of something whose payload could not be read.
pub(crate) fn is_lost(publish: &Publish) -> bool {
    publish.envelope.headers.iter().any(|(name, _)| name == LOST)
}

/// Something to send in the place of what was lost.
pub(crate) fn replace_lost(publish: &mut Publish) {
    publish.envelope.headers.retain(|(name, _)| !is_mark(name));
}

/// Notes in a stub how many bytes of headers are not in it.
pub(super) fn note_headers(stub: &mut Publish, bytes: u32) {
    if bytes > 0 {
        stub.envelope.headers.push((HEADER_BYTES.into(), bytes.to_string().into()));
    }
}

/// Bytes of the payload as it was sent, whether it is there, has left memory or was lost.
pub(super) fn bytes_of_payload(publish: &Publish) -> u32 {
    size_of_payload(publish).max(noted(publish, PAYLOAD_BYTES))
}

/// Bytes of the headers as they were sent, likewise.
pub(super) fn bytes_of_headers(publish: &Publish) -> u32 {
    let own = publish.envelope.headers.iter().filter(|(name, _)| !is_mark(name));
    let own: usize = own.map(|(name, value)| name.len() + value.len()).sum();
    u32::try_from(own).unwrap_or(u32::MAX).max(noted(publish, HEADER_BYTES))
}

/// Bytes of both. It is the same in a replay that does not read what has left memory, for a broker
/// that has failed to read it, and for one that has it.
pub(crate) fn bytes_as_sent(publish: &Publish) -> u64 {
    u64::from(bytes_of_payload(publish)) + u64::from(bytes_of_headers(publish))
}

fn is_mark(name: &str) -> bool {
    [LOST, PAYLOAD_BYTES, HEADER_BYTES].contains(&name)
}

fn noted(publish: &Publish, name: &str) -> u32 {
    let header = publish.envelope.headers.iter().find(|(own, _)| own == name);
    header.and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(0)
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
        let mut envelope = Envelope::new(id, Kind::Request, to, vec![0; 1000].into());
        envelope.headers.push(("name".into(), "value".into()));
        let whole = Publish::new(envelope);
        assert!(!is_stub(&whole));
        let stub = Sent { id, size: 1000, body: Shapes::default().body(&whole) }.stub();
        assert!(is_stub(&stub) && is_stub(&stub.clone()) && !is_lost(&stub));
        assert_eq!((stub.envelope.payload.data.len(), stub.envelope.id), (1000, id));
        let lost = lost(&stub, "the disk is gone");
        assert!(is_lost(&lost) && !is_stub(&lost) && lost.envelope.payload.data.is_empty());
        let sizes = [&whole, &*stub, &lost].map(bytes_as_sent);
        assert_eq!(sizes, [1009; 3], "it counts for as much whatever became of it");
        let mut again = Publish::clone(&lost);
        replace_lost(&mut again);
        assert!(again.envelope.headers.is_empty(), "{:?}", again.envelope.headers);
    }
}
