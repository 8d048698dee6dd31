//! Operations and items on their way: what frames carry by the million is written straight from the
//! vocabulary and read straight into it.
//!
//! On the wire they are a `trunkline.v1.Operation` and a `trunkline.v1.SessionItem` like any other.
//! The generated structs in between would cost each of them a dozen allocations and copies. They
//! are there for the rest: what is rare, what an encoder wrote in another way than they all do, and
//! what breaks a rule, so that there is one place that says which.

mod item;
mod operation;
mod read;
mod write;

use self::read::varint;
use self::write::{Count, Out, Write};
use crate::DecodeError;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType};
use std::fmt::Debug;
use std::ops::Range;
use trunkline_types::session::{Operation, SessionItem};

/// An operation as frames carry it.
pub type CarriedOperation = Carried<Operation>;

/// An item as frames carry it.
pub type CarriedItem = Carried<SessionItem>;

/// What frames carry. Made from the vocabulary's value, and turned back into one. Two are equal if they
/// were also made in the same way.
#[derive(Clone, Debug)]
pub struct Carried<T: Carry> {
    state: State<T>,
    /// How many bytes it takes, if it was made to be written: encoding asks at every level of nesting.
    length: Option<usize>,
}

#[derive(Clone, PartialEq, Debug)]
enum State<T: Carry> {
    Nothing,
    Own(T),
    Wire(Box<T::Wire>),
}

/// A value that frames carry.
pub trait Carry: Clone + PartialEq + Debug + Send + Sync + Sized {
    /// What is generated for it.
    type Wire: Message
        + Default
        + Clone
        + PartialEq
        + Debug
        + From<Self>
        + TryInto<Self, Error = DecodeError>;

    /// Reads the field of this number, of which a value has one, and tells where in it the payload's
    /// data are. `None` if that is for the generated code to do, as it is with a second field.
    #[doc(hidden)]
    fn read(tag: u32, body: &[u8], data: &mut Range<usize>) -> Option<Self>;

    /// Puts the payload in its place.
    #[doc(hidden)]
    fn set_data(&mut self, data: Bytes);

    /// Writes all of it, or says that this is for the generated code to do.
    #[doc(hidden)]
    fn write(&self, out: &mut impl Out) -> bool;
}

impl<T: Carry> From<T> for Carried<T> {
    fn from(own: T) -> Self {
        let mut count = Count::default();
        if own.write(&mut count) {
            Self { state: State::Own(own), length: Some(count.bytes()) }
        } else {
            Self { state: State::Wire(Box::new(own.into())), length: None }
        }
    }
}

impl<T: Carry> Carried<T> {
    /// The value.
    ///
    /// # Errors
    /// A [`DecodeError`]: a field breaks a rule of the protocol.
    pub fn into_own(self) -> Result<T, DecodeError> {
        match self.state {
            State::Own(own) => Ok(own),
            State::Wire(wire) => (*wire).try_into(),
            State::Nothing => T::Wire::default().try_into(),
        }
    }
}

impl TryFrom<CarriedOperation> for Operation {
    type Error = DecodeError;
    fn try_from(carried: CarriedOperation) -> Result<Self, DecodeError> {
        carried.into_own()
    }
}

impl TryFrom<CarriedItem> for SessionItem {
    type Error = DecodeError;
    fn try_from(carried: CarriedItem) -> Result<Self, DecodeError> {
        carried.into_own()
    }
}

impl<T: Carry> Carried<T> {
    /// Reads a field where it lies, if all of it is there, and leaves its payload a slice of the
    /// frame.
    fn read(&mut self, tag: u32, buf: &mut impl Buf) -> Option<()> {
        let chunk = buf.chunk();
        let (length, head) = varint(chunk)?;
        let end = head.checked_add(usize::try_from(length).ok()?)?;
        let mut data = 0..0;
        self.state = State::Own(T::read(tag, chunk.get(head..end)?, &mut data)?);
        if data.is_empty() {
            buf.advance(end);
        } else if let State::Own(own) = &mut self.state {
            buf.advance(head + data.start);
            own.set_data(buf.copy_to_bytes(data.len()));
            buf.advance(end - head - data.end);
        }
        Some(())
    }
}

impl<T: Carry> Message for Carried<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        match &self.state {
            State::Nothing => {}
            State::Own(own) => {
                own.write(&mut Write(buf));
            }
            State::Wire(wire) => wire.encode_raw(buf),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        if matches!(self.state, State::Nothing)
            && wire_type == WireType::LengthDelimited
            && self.read(tag, buf).is_some()
        {
            return Ok(());
        }
        let mut wire = match std::mem::take(self).state {
            State::Nothing => Box::default(),
            State::Own(own) => Box::new(own.into()),
            State::Wire(wire) => wire,
        };
        let merged = wire.merge_field(tag, wire_type, buf, context);
        self.state = State::Wire(wire);
        merged
    }

    fn encoded_len(&self) -> usize {
        match (&self.state, self.length) {
            (_, Some(length)) => length,
            (State::Nothing, None) => 0,
            (State::Own(own), None) => {
                let mut count = Count::default();
                own.write(&mut count);
                count.bytes()
            }
            (State::Wire(wire), None) => wire.encoded_len(),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl<T: Carry> Default for Carried<T> {
    fn default() -> Self {
        Self { state: State::Nothing, length: None }
    }
}

impl<T: Carry> PartialEq for Carried<T> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::session::{Accepted, Delivery, EventDelivery, Reply};
    use trunkline_types::{
        Destination, Envelope, Epoch, InboxAddress, Kind, MessageId, Outcome, Partition, Payload,
        Publish, Settle, Token, WallTime,
    };

    /// Whether a value goes to the wire and comes from it without the generated code.
    fn is_by_hand<T: Carry>(value: T) -> bool {
        let carried = Carried::from(value);
        let read = Carried::<T>::decode(Bytes::from(carried.encode_to_vec())).unwrap();
        assert_eq!(read, carried);
        matches!((read.state, carried.state), (State::Own(_), State::Own(_)))
    }

    #[test]
    fn what_every_message_takes_is_done_by_hand() {
        let id = MessageId::from_parts(1, Partition(0), 1);
        let payload = Payload::new("text/plain", "said");
        let to = Destination::agent("a").unwrap();
        let envelope = Envelope::new(id, Kind::Request, to, payload.clone());
        let publish = std::sync::Arc::new(Publish::new(envelope));
        let token = Token { epoch: Epoch(1), counter: 7 };
        let completed = |reply| Outcome::Complete { reply };
        for operation in [
            Operation::Publish(publish.clone()),
            Operation::Settle(Settle { token, outcome: completed(None) }),
            Operation::Settle(Settle { token, outcome: completed(Some(payload.clone())) }),
        ] {
            assert!(is_by_hand(operation.clone()), "{operation:?}");
        }
        let delivery = Delivery {
            token,
            publish: publish.clone(),
            inbox: InboxAddress::Agent("a".parse().unwrap()),
            attempt: 1,
            accepted_at: WallTime(1),
            expires_at: Some(WallTime(2)),
            backlog: 3,
            backlog_age: std::time::Duration::from_millis(4),
            messages: Vec::new(),
            number: 5,
            missed: Vec::new(),
            max_run: None,
        };
        let accepted =
            Accepted { operation: 1, id, duplicate: true, targets: 2, dropped: 3, parked: 4 };
        for item in [
            SessionItem::Done { first: 1, last: 2 },
            SessionItem::Accepted(accepted),
            SessionItem::Delivery(delivery),
            SessionItem::Event(EventDelivery { number: 1, publish, missed: 0 }),
            SessionItem::Reply(Reply { request: id, agent: None, result: Ok(payload) }),
        ] {
            assert!(is_by_hand(item.clone()), "{item:?}");
        }
        assert!(!is_by_hand(SessionItem::Drain { reason: "why".to_owned() }));
    }
}
