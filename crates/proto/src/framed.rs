//! Frames on a plain stream: pieces with a kind and a length, see `framed.proto`.
//!
//! Owns how pieces are written into buffers and found in what has come. It reads and writes no
//! socket, so that TCP and Unix streams, and both sides, share it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};

use crate::v1;

/// What both sides send first. No other protocol of the port begins with a zero.
pub const PREFACE: [u8; 8] = *b"\0trunk1\n";

/// A kind and a length.
const HEAD: usize = 5;

/// The least and the most room that is made for what comes. What lies between is learnt from how
/// much comes at once.
const LEAST: usize = 4 << 10;
const MOST: usize = 256 << 10;

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Who dials: an [`Opening`](v1::Opening).
    Opening,
    /// A frame of the session: a [`ClientFrame`](v1::ClientFrame) or a
    /// [`ServerFrame`](v1::ServerFrame).
    Frame,
    /// The end of the connection: an [`Ended`](v1::Ended).
    Ended,
    /// Asks whether the other side lives.
    Ping,
    /// The answer to that.
    Pong,
}

impl Kind {
    fn tag(self) -> u8 {
        match self {
            Self::Opening => 1,
            Self::Frame => 2,
            Self::Ended => 3,
            Self::Ping => 4,
            Self::Pong => 5,
        }
    }

    fn of_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Opening,
            2 => Self::Frame,
            3 => Self::Ended,
            4 => Self::Ping,
            5 => Self::Pong,
            _ => return None,
        })
    }
}

/// Why bytes are no piece.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PieceError {
    /// They are not of this protocol.
    #[error("what comes begins with {0:02x?}, which is not how this protocol begins")]
    OtherProtocol(Vec<u8>),
    /// The piece is over the bound.
    #[error("a piece has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// How long it says it is.
        bytes: u32,
        /// The bound.
        limit: usize,
    },
    /// Nobody knows that kind.
    #[error("a piece is of the kind {0}, which is none")]
    UnknownKind(u8),
}

/// Appends a piece whose body is `message`.
pub fn put(kind: Kind, message: &impl Message, out: &mut BytesMut) {
    let bytes = message.encoded_len();
    out.reserve(HEAD + bytes);
    out.put_u8(kind.tag());
    // A frame is bounded by `FRAME_BYTES`, far below; the receiver refuses what is not.
    out.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    let body = out.len();
    out.resize(body + bytes, 0);
    // Into a slice, which is written in place; a `BytesMut` is asked for room with every byte.
    message.encode_raw(&mut &mut out[body..]);
}

/// Appends a piece without a body.
pub fn put_empty(kind: Kind, out: &mut BytesMut) {
    out.reserve(HEAD);
    out.put_u8(kind.tag());
    out.put_u32(0);
}

/// What has come over a stream and was not taken yet.
#[derive(Debug)]
pub struct Pieces {
    buffer: BytesMut,
    /// How much room is made when there is too little.
    room: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), room: LEAST }
    }
}

impl Pieces {
    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Where to put what comes next, with room for some.
    pub fn room(&mut self) -> &mut BytesMut {
        let wanted = self.missing().clamp(LEAST, MOST);
        // What was taken may still be in use, so that new room is a new allocation: made rarely.
        if self.buffer.capacity() - self.buffer.len() < wanted {
            self.buffer.reserve(self.room.max(wanted));
        }
        &mut self.buffer
    }

    /// Something came, and was put into the room.
    pub fn came(&mut self) {
        if self.buffer.len() == self.buffer.capacity() {
            self.room = (2 * self.room).min(MOST);
        }
    }

    /// Nothing comes at the moment. An idle stream keeps no room.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            *self = Self::default();
        }
    }

    /// Takes the preface; false if it is not whole yet.
    ///
    /// # Errors
    /// [`PieceError::OtherProtocol`] as soon as what came is something else.
    pub fn take_preface(&mut self) -> Result<bool, PieceError> {
        let begins = &self.buffer[..self.buffer.len().min(PREFACE.len())];
        if !PREFACE.starts_with(begins) {
            return Err(PieceError::OtherProtocol(begins.to_vec()));
        }
        let whole = begins.len() == PREFACE.len();
        if whole {
            self.buffer.advance(PREFACE.len());
        }
        Ok(whole)
    }

    /// Takes the first piece; `None` if it is not whole yet.
    ///
    /// # Errors
    /// [`PieceError`] as soon as a head says that nothing good follows: its kind is unknown, or it
    /// is longer than `limit` bytes. The stream is then of no more use.
    pub fn take(&mut self, limit: usize) -> Result<Option<(Kind, Bytes)>, PieceError> {
        let Some(&[tag, length @ ..]) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let kind = Kind::of_tag(tag).ok_or(PieceError::UnknownKind(tag))?;
        let bytes = u32::from_be_bytes(length);
        let body = usize::try_from(bytes).unwrap_or(usize::MAX);
        if body > limit {
            return Err(PieceError::TooLarge { bytes, limit });
        }
        if self.buffer.len() - HEAD < body {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some((kind, self.buffer.split_to(body).freeze())))
    }

    /// How many bytes the first piece still lacks; 0 if its length is not known yet.
    fn missing(&self) -> usize {
        let Some(&[_, length @ ..]) = self.buffer.first_chunk::<HEAD>() else { return 0 };
        let body = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        body.saturating_sub(self.buffer.len() - HEAD)
    }
}

/// How a connection ends, for the wire.
pub fn ended(status: &Status) -> v1::Ended {
    v1::Ended {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Bytes::copy_from_slice(status.details()),
    }
}

/// The same, from the wire.
pub fn status(ended: v1::Ended) -> Status {
    Status::with_details(Code::from_i32(ended.code), ended.message, ended.details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opening(principal: &str) -> v1::Opening {
        v1::Opening { principal: principal.to_owned(), tenant: String::new() }
    }

    fn holding(wire: &[u8]) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.room().extend_from_slice(wire);
        pieces
    }

    #[test]
    fn pieces_come_out_as_they_went_in_however_they_are_cut() {
        let mut wire = BytesMut::from(&PREFACE[..]);
        put(Kind::Opening, &opening("ann"), &mut wire);
        put_empty(Kind::Ping, &mut wire);
        put(Kind::Frame, &v1::ClientFrame::default(), &mut wire);
        let mut pieces = Pieces::default();
        let (mut greeted, mut found) = (false, Vec::new());
        for byte in wire {
            pieces.room().put_u8(byte);
            greeted = greeted || pieces.take_preface().unwrap();
            while let Some((kind, body)) = pieces.take(100).ok().flatten().filter(|_| greeted) {
                found.push((kind, body));
            }
        }
        let principal = v1::Opening::decode(found[0].1.clone()).unwrap().principal;
        assert_eq!(principal, "ann");
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Opening, Kind::Ping, Kind::Frame]);
        assert!(pieces.is_empty());
    }

    #[test]
    fn another_protocol_is_told_from_this_one_by_its_first_bytes() {
        assert_eq!(holding(&PREFACE[..7]).take_preface(), Ok(false));
        assert_eq!(holding(&PREFACE).take_preface(), Ok(true));
        let error = holding(b"HTTP/1.1 400 Bad Request").take_preface().unwrap_err();
        assert_eq!(error, PieceError::OtherProtocol(b"HTTP/1.1".to_vec()));
        let error = holding(&[0, 0]).take_preface().unwrap_err();
        assert_eq!(error, PieceError::OtherProtocol(vec![0, 0]));
    }

    #[test]
    fn room_is_made_for_all_of_a_piece_whose_length_is_known() {
        let mut pieces = holding(&[2, 0, 1, 0, 0]);
        let room = pieces.room();
        assert!(room.capacity() - room.len() >= 1 << 16, "{}", room.capacity());
        assert_eq!(pieces.take(1 << 16), Ok(None));
    }

    #[test]
    fn room_grows_while_it_is_filled_and_is_given_back_at_rest() {
        let mut pieces = Pieces::default();
        for _ in 0..3 {
            let room = pieces.room();
            room.resize(room.capacity(), 0);
            pieces.came();
        }
        assert_eq!(pieces.room, 8 * LEAST);
        pieces.rest();
        assert_eq!(pieces.room, 8 * LEAST, "something is left over");
        pieces.buffer.clear();
        pieces.rest();
        assert_eq!((pieces.room, pieces.buffer.capacity()), (LEAST, 0));
    }

    #[test]
    fn a_piece_over_the_limit_is_refused_before_its_body_comes() {
        let error = holding(&[2, 0, 0, 1, 0]).take(255).unwrap_err();
        assert_eq!(error, PieceError::TooLarge { bytes: 256, limit: 255 });
        assert_eq!(holding(&[2, 0, 0, 1, 0]).take(256), Ok(None));
    }

    #[test]
    fn an_end_keeps_its_code_message_and_details() {
        let told = Status::with_details(Code::NotFound, "gone", Bytes::from_static(b"why"));
        let heard = status(ended(&told));
        assert_eq!((heard.code(), heard.message()), (Code::NotFound, "gone"));
        assert_eq!(heard.details(), b"why");
    }

    proptest! {
        #[test]
        fn any_bytes_are_pieces_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut pieces = holding(&bytes);
            while let Ok(Some((_, body))) = pieces.take(32) {
                prop_assert!(body.len() <= 32);
            }
        }
    }
}
