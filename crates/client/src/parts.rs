//! Large frames of a broker, handed on in parts, so that what the first ones lead to is on its way
//! while the others are worked on. Otherwise broker and client take turns, and each waits for the
//! other.
//!
//! A frame is cut before it is decoded: several messages of protobuf one after the other are one,
//! so between any two fields there may be an end.

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// In how many parts a frame is handed on at most.
const PARTS: usize = 4;
/// How many items a part has at least: each is a write of its own.
const PART: usize = 16;

/// What is left of a frame.
#[derive(Default)]
pub(crate) struct Parts {
    rest: Bytes,
    /// How many items each has.
    size: usize,
}

impl Parts {
    /// The first part of a frame: all of it, if it has few items or is none.
    pub(crate) fn first(&mut self, frame: Bytes) -> Bytes {
        // Of what is broken nothing is to be taken in.
        let Ok(items) = count(&frame) else { return frame };
        self.size = items.div_ceil(PARTS).max(PART);
        self.rest = frame;
        self.next()
    }

    pub(crate) fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The part after that.
    pub(crate) fn next(&mut self) -> Bytes {
        match length(&self.rest, self.size) {
            Ok(length) if length < self.rest.len() => self.rest.split_to(length),
            // A connection that does nothing keeps nothing.
            _ => std::mem::take(&mut self.rest),
        }
    }
}

/// How many items a frame has; whatever else is in it counts as one.
fn count(frame: &[u8]) -> Result<usize, DecodeError> {
    let (mut rest, mut items) = (frame, 0);
    while rest.has_remaining() {
        skip(&mut rest)?;
        items += 1;
    }
    Ok(items)
}

/// How many bytes the first so many items take.
fn length(frame: &[u8], items: usize) -> Result<usize, DecodeError> {
    let mut rest = frame;
    for _ in 0..items {
        if rest.has_remaining() {
            skip(&mut rest)?;
        }
    }
    Ok(frame.len() - rest.len())
}

fn skip(rest: &mut &[u8]) -> Result<(), DecodeError> {
    let (tag, wire_type) = decode_key(rest)?;
    skip_field(wire_type, tag, rest, DecodeContext::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use trunkline_proto::{server_frame, v1};
    use trunkline_types::session::SessionItem;

    fn frame(items: u64) -> v1::ServerFrame {
        let mut items = (0..items).map(|last| SessionItem::Done { first: 0, last }).collect();
        server_frame(&mut items)
    }

    #[test]
    fn a_frame_comes_in_parts_and_whole() {
        for (items, parts) in [(0, 1), (16, 1), (17, 2), (64, 4), (65, 4), (1000, 4)] {
            let (whole, mut known) = (frame(items), Parts::default());
            let mut came = vec![known.first(whole.encode_to_vec().into())];
            while known.has_more() {
                came.push(known.next());
            }
            assert_eq!(came.len(), parts, "{items}");
            let came = came.into_iter().map(|part| v1::ServerFrame::decode(part).unwrap());
            assert_eq!(came.flat_map(|part| part.items).collect::<Vec<_>>(), whole.items);
        }
    }

    #[test]
    fn a_welcome_comes_with_the_first_part() {
        let welcome = Some(v1::Welcome { epoch: 7, ..v1::Welcome::default() });
        let whole = v1::ServerFrame { welcome: welcome.clone(), ..frame(100) };
        let mut parts = Parts::default();
        let first = v1::ServerFrame::decode(parts.first(whole.encode_to_vec().into())).unwrap();
        assert_eq!(first.welcome, welcome);
        assert!(parts.has_more() && first.items.len() < 100);
    }

    #[test]
    fn what_is_no_frame_comes_in_one_piece() {
        let mut broken = frame(100).encode_to_vec();
        broken.truncate(broken.len() - 1);
        let mut parts = Parts::default();
        assert_eq!(parts.first(broken.clone().into()), broken);
        assert!(!parts.has_more());
    }
}
