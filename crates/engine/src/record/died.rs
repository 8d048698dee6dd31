//! A dead letter as bytes, for the index. They are of two parts: what lists are narrowed by, and
//! what was sent.

use super::codec::{DecodeError, Read, Write};
use super::decode::{
    envelope as read_envelope, message_id, note as read_note, options as read_options,
};
use super::encode::{address, envelope, note, options};
use super::ended::{over, versioned};
use crate::settle::{DiedLetter, LetterHead};
use std::sync::Arc;
use trunkline_types::{DeadLetter, Publish, Sequence, TenantId};

type Result<T> = std::result::Result<T, DecodeError>;

/// The version of both parts, their first byte.
const VERSION: u8 = 1;

impl DiedLetter {
    /// Appends what lists are narrowed by: all but what was sent.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let Self { place: _, tenant, letter } = self;
        let DeadLetter { publish, inbox, reason, at, accepted_at, attempts } = letter;
        out.push(VERSION);
        out.text(tenant.as_str());
        out.wide(publish.envelope.id.as_u128());
        address(out, inbox);
        out.text(reason);
        out.time(*at);
        out.time(*accepted_at);
        out.list(attempts, note);
    }

    /// Appends what was sent.
    pub fn encode_rest(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        options(out, &self.letter.publish.options);
        envelope(out, &self.letter.publish.envelope);
    }
}

impl LetterHead {
    /// Reads what [`DiedLetter::encode_head`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no such thing.
    pub fn decode(place: Sequence, head: &[u8]) -> Result<Self> {
        let mut read = versioned(head, VERSION)?;
        let read = &mut read;
        let tenant: TenantId = read.parse("tenant")?;
        let head = Self {
            place,
            tenant,
            id: message_id(read)?,
            inbox: read.parse("inbox")?,
            reason: read.text("reason")?.to_owned(),
            at: read.time("time of death")?,
            accepted_at: read.time("time of acceptance")?,
            attempts: read.list("attempts", read_note)?,
        };
        over(read)?;
        Ok(head)
    }

    /// Adds what [`DiedLetter::encode_rest`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no such thing.
    pub fn decode_rest(self, rest: &[u8]) -> Result<DiedLetter> {
        let mut read: Read<'_> = versioned(rest, VERSION)?;
        let options = read_options(&mut read)?;
        let envelope = read_envelope(&mut read)?;
        over(&read)?;
        Ok(self.with(Arc::new(Publish { envelope, options })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{
        AttemptNote, Destination, Envelope, Kind, MessageId, Partition, WallTime,
    };

    fn died() -> DiedLetter {
        let id = MessageId::from_parts(9, Partition(0), 1);
        let to = Destination::skill("s").unwrap();
        let mut envelope = Envelope::new(id, Kind::Request, to, "x".into());
        envelope.headers.push(("name".into(), "value".into()));
        let attempt = AttemptNote {
            attempt: 1,
            agent: "a".parse().ok(),
            at: WallTime(4),
            reason: "once".into(),
        };
        let mut publish = Publish::new(envelope);
        publish.options.task = true;
        let letter = DeadLetter {
            publish: Arc::new(publish),
            inbox: "skill:s".parse().unwrap(),
            reason: "poison".into(),
            at: WallTime(5),
            accepted_at: WallTime(1),
            attempts: vec![attempt],
        };
        DiedLetter { place: Sequence(8), tenant: TenantId::default(), letter }
    }

    fn encoded(letter: &DiedLetter) -> (Vec<u8>, Vec<u8>) {
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        letter.encode_head(&mut head);
        letter.encode_rest(&mut rest);
        (head, rest)
    }

    #[test]
    fn a_dead_letter_is_read_as_it_was_written() {
        let letter = died();
        let (head, rest) = encoded(&letter);
        let read = LetterHead::decode(letter.place, &head).unwrap();
        assert_eq!(read.decode_rest(&rest), Ok(letter));
    }

    #[test]
    fn what_is_too_short_too_long_or_of_another_version_is_refused() {
        let letter = died();
        let (mut head, mut rest) = encoded(&letter);
        let right = LetterHead::decode(letter.place, &head).unwrap();
        for length in 0..head.len() {
            LetterHead::decode(letter.place, &head[..length]).unwrap_err();
        }
        for length in 0..rest.len() {
            right.clone().decode_rest(&rest[..length]).unwrap_err();
        }
        for bytes in [&mut head, &mut rest] {
            bytes.push(0);
        }
        LetterHead::decode(letter.place, &head).unwrap_err();
        right.clone().decode_rest(&rest).unwrap_err();
        for bytes in [&mut head, &mut rest] {
            bytes.pop();
            bytes[0] += 1;
        }
        LetterHead::decode(letter.place, &head).unwrap_err();
        right.decode_rest(&rest).unwrap_err();
    }
}
