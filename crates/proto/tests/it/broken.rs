//! Bytes that nobody meant well.

use crate::values;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use trunkline_proto::v1;
use trunkline_types::session::{ClientFrame, Hello, SessionItem, Welcome};

/// Decodes bytes as either side's frames. Whatever comes of it is fine but a panic.
fn decode(bytes: &[u8]) -> (bool, bool) {
    let client = v1::ClientFrame::decode(bytes).is_ok_and(|frame| {
        let hello = Hello::try_from(frame.clone()).is_ok();
        ClientFrame::try_from(frame).is_ok() || hello
    });
    let server = v1::ServerFrame::decode(bytes).is_ok_and(|frame| {
        let welcome = frame.welcome.is_none_or(|welcome| Welcome::try_from(welcome).is_ok());
        frame.items.into_iter().all(|item| SessionItem::try_from(item).is_ok()) && welcome
    });
    (client, server)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        decode(&bytes);
    }

    #[test]
    fn a_damaged_client_frame_never_panics(
        frame in values::client_frame(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = v1::ClientFrame::from(frame).encode_to_vec();
        prop_assert!(decode(&bytes).0);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode(&bytes);
        decode(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn a_damaged_server_frame_never_panics(
        item in values::item(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = trunkline_proto::server_frame(&mut vec![item]).encode_to_vec();
        prop_assert!(decode(&bytes).1);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode(&bytes);
    }
}
