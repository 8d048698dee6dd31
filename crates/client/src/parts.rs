//! Large frames of a broker, handed on in parts, so that what the first ones lead to is on its way
//! while the others are worked on. Otherwise broker and client take turns, and each waits for the
//! other.
//!
//! A frame is cut before it is decoded: where one item ends and the next begins, there may be two
//! messages of protobuf.

use bytes::{Buf, Bytes};
use futures_util::Stream;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use prost::{DecodeError, Message};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;
use trunkline_proto::{CarriedItem, v1};

/// In how many parts a frame is handed on at most.
const PARTS: usize = 4;
/// The same of one that comes decoded, over gRPC: more parts cost more than they gain.
const DECODED_PARTS: usize = 2;
/// How many items a part has at least: each is a write of its own.
const PART: usize = 16;

/// A frame, or a part of one.
pub(crate) struct Part {
    pub(crate) frame: v1::ServerFrame,
    /// Whether the frame ends with it.
    pub(crate) is_last: bool,
}

/// The frames of a stream that come decoded, and whose answers somebody else writes.
pub(crate) struct InParts<S> {
    stream: S,
    rest: std::vec::IntoIter<CarriedItem>,
    /// How many items each part has.
    size: usize,
    /// Whether others had their turn since the part before.
    let_others: bool,
}

impl<S> InParts<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rest: Vec::new().into_iter(), size: 0, let_others: false }
    }

    fn part(&mut self, welcome: Option<v1::Welcome>) -> Part {
        let items = self.rest.by_ref().take(self.size).collect();
        Part { frame: v1::ServerFrame { welcome, items }, is_last: self.rest.len() == 0 }
    }
}

impl<S: Stream<Item = Result<v1::ServerFrame, Status>> + Unpin> Stream for InParts<S> {
    type Item = Result<Part, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.rest.len() > 0 {
            // Whoever the part before was for has something to say now, and whoever writes it.
            this.let_others = !this.let_others;
            if this.let_others {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Ok(this.part(None))));
        }
        let said = ready!(Pin::new(&mut this.stream).poll_next(context));
        Poll::Ready(said.map(|frame| {
            let frame = frame?;
            this.size = size(frame.items.len(), DECODED_PARTS);
            if frame.items.len() <= this.size {
                return Ok(Part { frame, is_last: true });
            }
            this.rest = frame.items.into_iter();
            Ok(this.part(frame.welcome))
        }))
    }
}

/// How many items a part of a frame with so many has.
fn size(items: usize, parts: usize) -> usize {
    items.div_ceil(parts).max(PART)
}

/// What is left of a frame.
#[derive(Default)]
pub(crate) struct Parts {
    rest: Bytes,
    /// How many items each has.
    size: usize,
}

impl Parts {
    /// The first part of a frame: all of it, if it has few items or is no frame of items.
    pub(crate) fn first(&mut self, frame: Bytes) -> Result<Part, DecodeError> {
        let Some(items) = count(&frame) else { return self.decoded(frame) };
        self.size = size(items, PARTS);
        self.rest = frame;
        self.next()
    }

    pub(crate) fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The part after that.
    pub(crate) fn next(&mut self) -> Result<Part, DecodeError> {
        let part = match length(&self.rest, self.size) {
            Ok(length) if length < self.rest.len() => self.rest.split_to(length),
            // A connection that does nothing keeps nothing.
            _ => std::mem::take(&mut self.rest),
        };
        self.decoded(part)
    }

    fn decoded(&self, part: Bytes) -> Result<Part, DecodeError> {
        let frame = v1::ServerFrame::decode(part)?;
        Ok(Part { frame, is_last: !self.has_more() })
    }
}

/// The number of a frame's items among its fields.
const ITEMS: u32 = 2;

/// How many fields a frame has, if it can be cut between them: what comes after an item is an item.
fn count(frame: &[u8]) -> Option<usize> {
    let (mut rest, mut count, mut last) = (frame, 0, 0);
    while rest.has_remaining() {
        let number = skip(&mut rest).ok()?;
        if last == ITEMS && number != ITEMS {
            return None;
        }
        last = number;
        count += 1;
    }
    Some(count)
}

/// How many bytes the first so many fields take.
fn length(frame: &[u8], fields: usize) -> Result<usize, DecodeError> {
    let mut rest = frame;
    for _ in 0..fields {
        if rest.has_remaining() {
            skip(&mut rest)?;
        }
    }
    Ok(frame.len() - rest.len())
}

/// Skips a field and tells its number.
fn skip(rest: &mut &[u8]) -> Result<u32, DecodeError> {
    let (number, wire_type) = decode_key(rest)?;
    skip_field(wire_type, number, rest, DecodeContext::default())?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};
    use trunkline_proto::server_frame;
    use trunkline_types::session::SessionItem;

    fn frame(items: u64) -> v1::ServerFrame {
        let mut items = (0..items).map(|last| SessionItem::Done { first: 0, last }).collect();
        server_frame(&mut items)
    }

    /// All parts of a frame.
    fn parts(frame: Vec<u8>) -> Result<Vec<Part>, DecodeError> {
        let mut known = Parts::default();
        let mut came = vec![known.first(frame.into())?];
        while known.has_more() {
            came.push(known.next()?);
        }
        Ok(came)
    }

    #[test]
    fn a_frame_comes_in_parts_and_whole() {
        for (items, count) in [(0, 1), (16, 1), (17, 2), (64, 4), (65, 4), (1000, 4)] {
            let whole = frame(items);
            let came = parts(whole.encode_to_vec()).unwrap();
            assert_eq!(came.len(), count, "{items}");
            assert_eq!(came.iter().filter(|part| part.is_last).count(), 1);
            assert!(came.last().unwrap().is_last);
            let items = came.into_iter().flat_map(|part| part.frame.items);
            assert_eq!(items.collect::<Vec<_>>(), whole.items);
        }
    }

    #[test]
    fn a_welcome_comes_with_the_first_part() {
        let welcome = v1::Welcome { epoch: 7, ..v1::Welcome::default() };
        let welcome = v1::ServerFrame { welcome: Some(welcome), items: Vec::new() };
        let [welcome_bytes, items] = [welcome.encode_to_vec(), frame(100).encode_to_vec()];
        let came = parts([&welcome_bytes[..], &items].concat()).unwrap();
        assert_eq!((came.len(), &came[0].frame.welcome), (4, &welcome.welcome));
        // Protobuf allows it behind the items, too.
        let came = parts([items, welcome_bytes].concat()).unwrap();
        assert_eq!((came.len(), &came[0].frame.welcome), (1, &welcome.welcome));
        assert_eq!(came[0].frame.items.len(), 100);
    }

    #[test]
    fn of_a_broken_frame_nothing_comes() {
        let mut broken = frame(100).encode_to_vec();
        broken.truncate(broken.len() - 1);
        assert!(Parts::default().first(broken.into()).is_err());
        assert!(Parts::default().first(Bytes::new()).is_ok_and(|part| part.is_last));
    }

    #[test]
    fn a_decoded_frame_comes_in_parts_with_turns_of_others_between_them() {
        let welcome = v1::ServerFrame { welcome: Some(v1::Welcome::default()), ..frame(40) };
        let mut frames = InParts::new(stream::iter([Ok(welcome), Ok(frame(2)), Ok(frame(0))]));
        let mut came = Vec::new();
        for (items, waits) in [(20, false), (20, true), (2, false), (0, false)] {
            if waits {
                assert!(frames.next().now_or_never().is_none());
            }
            let part = frames.next().now_or_never().flatten().unwrap().unwrap();
            assert_eq!(part.frame.items.len(), items);
            assert_eq!(part.frame.welcome.is_some(), came.is_empty());
            assert_eq!(part.is_last, !came.is_empty());
            came.extend(part.frame.items);
        }
        assert_eq!(came, [frame(40).items, frame(2).items].concat());
        assert!(frames.next().now_or_never().unwrap().is_none());
    }
}
