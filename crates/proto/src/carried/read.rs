//! Reads messages where they lie, as encoders write them: fields in the order of their numbers, each
//! once, numbers no longer than they need be. Whatever else comes, and whatever breaks a rule, is
//! `None` here and left to the generated code.

use crate::convert::words;
use crate::decode::{message_id, text_within};
use smol_str::SmolStr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    Destination, Encoding, Envelope, Epoch, MessageId, Name, Payload, Priority, Publish,
    PublishOptions, TenantId, Token, Topic, WallTime,
};

/// How a number is written.
pub(super) const VARINT: u32 = 0;
/// How eight bytes are written.
const FIXED64: u32 = 1;
/// How what has a length is written.
pub(super) const LEN: u32 = 2;
/// How four bytes are written.
const FIXED32: u32 = 5;

/// What stands for the end of a message: no field has the number 0.
pub(super) const END: (u32, u32) = (0, 0);

/// The one field here that may come several times: the headers of an envelope.
const HEADERS: u32 = 15;

/// A number at the beginning of some bytes, and how many it takes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let is_short = at == 0 || byte != 0;
            let fits = at < 9 || byte == 1;
            return (is_short && fits).then_some((value, at + 1));
        }
    }
    None
}

/// The fields of a message that are not read yet.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// How many bytes of the outermost message lie before the rest.
    before: usize,
    /// The number of the field before.
    last: u32,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, before: 0, last: 0 }
    }

    /// The number of the next field and how it is written, or [`END`].
    pub(super) fn key(&mut self) -> Option<(u32, u32)> {
        if self.rest.is_empty() {
            return Some(END);
        }
        let key = self.small()?;
        let number = key >> 3;
        if number < self.last || (number == self.last && number != HEADERS) {
            return None;
        }
        self.last = number;
        Some((number, key & 7))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.before += count;
        Some(taken)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let (value, bytes) = varint(self.rest)?;
        self.take(bytes)?;
        Some(value)
    }

    /// A number of 32 bits.
    pub(super) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    /// The number of an enum.
    fn number(&mut self) -> Option<i32> {
        i32::try_from(self.varint()?).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    /// Where the bytes that come next are.
    fn place(&mut self) -> Option<Range<usize>> {
        let length = self.bytes()?.len();
        Some(self.before - length..self.before)
    }

    pub(super) fn message(&mut self) -> Option<Self> {
        let rest = self.bytes()?;
        Some(Self { rest, before: self.before - rest.len(), last: 0 })
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A text within the bound of the protocol.
    fn bounded(&mut self) -> Option<&'a str> {
        let text = self.text()?;
        text_within("", text.len()).ok()?;
        Some(text)
    }

    fn small_text(&mut self) -> Option<SmolStr> {
        self.bounded().map(SmolStr::new)
    }

    pub(super) fn name<N: Name>(&mut self) -> Option<N> {
        self.text()?.parse().ok()
    }

    fn id(&mut self) -> Option<MessageId> {
        message_id("", self.bytes()?).ok()
    }
}

pub(super) fn token(mut fields: Fields<'_>) -> Option<Token> {
    let mut token = Token::default();
    loop {
        match fields.key()? {
            END => break,
            (1, FIXED32) => token.epoch = Epoch(u32::from_le_bytes(fields.array()?)),
            (2, FIXED64) => token.counter = u64::from_le_bytes(fields.array()?),
            _ => return None,
        }
    }
    Some(token)
}

/// A payload without its data, of which it tells where they are.
pub(super) fn payload(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Payload> {
    let mut payload = Payload::default();
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => payload.content_type = fields.small_text()?,
            (2, LEN) => *data = fields.place()?,
            (3, VARINT) => payload.encoding = encoding(fields.number()?)?,
            _ => return None,
        }
    }
    Some(payload)
}

fn encoding(number: i32) -> Option<Encoding> {
    words::encoding("", number).ok()
}

/// A publish whose payload is still without its data.
pub(super) fn publish(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Arc<Publish>> {
    let (mut carried, mut options) = (None, PublishOptions::default());
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => carried = Some(envelope(fields.message()?, data)?),
            (2, LEN) => options = publish_options(fields.message()?)?,
            _ => return None,
        }
    }
    Some(Arc::new(Publish { envelope: carried?, options }))
}

fn envelope(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Envelope> {
    let (mut id, mut tenant, mut kind) = (None, TenantId::default(), None);
    let (mut source, mut to, mut priority, mut ttl) = (None, None, Priority::Normal, None);
    let (mut ordering_key, mut idempotency_key) = (None, None);
    let (mut correlation_id, mut causation_id, mut root_id) = (None, None, None);
    let (mut context_id, mut traceparent, mut headers) = (None, None, Vec::new());
    let (mut carried, mut redriven_from) = (Payload::default(), None);
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => id = Some(fields.id()?),
            (2, LEN) => {
                let text = fields.text()?;
                if !text.is_empty() {
                    tenant = text.parse().ok()?;
                }
            }
            (3, VARINT) => kind = words::kind("", fields.number()?).ok(),
            (4, LEN) => source = Some(fields.name()?),
            (5, LEN) => to = Some(destination(fields.message()?)?),
            (6, VARINT) => priority = words::priority("", fields.number()?).ok()?,
            (7, VARINT) => ttl = Some(Duration::from_millis(fields.varint()?)),
            (8, LEN) => ordering_key = Some(fields.name()?),
            (9, LEN) => idempotency_key = Some(fields.name()?),
            (10, LEN) => correlation_id = Some(fields.id()?),
            (11, LEN) => causation_id = Some(fields.id()?),
            (12, LEN) => root_id = Some(fields.id()?),
            (13, LEN) => context_id = Some(fields.name()?),
            (14, LEN) => traceparent = Some(fields.bounded()?.into()),
            (HEADERS, LEN) => headers.push(header(fields.message()?)?),
            (16, LEN) => carried = payload(fields.message()?, data)?,
            (17, LEN) => redriven_from = Some(Box::new(fields.id()?)),
            _ => return None,
        }
    }
    Some(Envelope {
        id: id?,
        tenant,
        kind: kind?,
        source,
        destination: to?,
        priority,
        ttl,
        ordering_key,
        idempotency_key,
        correlation_id,
        causation_id,
        root_id,
        redriven_from,
        context_id,
        traceparent,
        headers,
        payload: carried,
    })
}

fn header(mut fields: Fields<'_>) -> Option<(SmolStr, SmolStr)> {
    let mut header = (SmolStr::default(), SmolStr::default());
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => header.0 = fields.small_text()?,
            (2, LEN) => header.1 = fields.small_text()?,
            _ => return None,
        }
    }
    Some(header)
}

/// A destination but for a list of agents.
fn destination(mut fields: Fields<'_>) -> Option<Destination> {
    let destination = match fields.key()? {
        (1, LEN) => Destination::Agent(fields.name()?),
        (2, LEN) => Destination::Skill(fields.name()?),
        (3, LEN) => Destination::Topic(Topic::new(fields.text()?).ok()?),
        (4, LEN) if fields.bytes()?.is_empty() => Destination::All,
        _ => return None,
    };
    (fields.key()? == END).then_some(destination)
}

/// Options but for gathering.
fn publish_options(mut fields: Fields<'_>) -> Option<PublishOptions> {
    let mut options = PublishOptions::default();
    loop {
        match fields.key()? {
            END => break,
            (1, VARINT) => options.task = fields.varint()? != 0,
            (2, VARINT) => options.reply = fields.varint()? != 0,
            (3, VARINT) => options.durability = words::durability("", fields.number()?).ok()?,
            (4, VARINT) => options.attempts = Some(fields.small()?),
            (5, VARINT) => options.delay = Some(Duration::from_millis(fields.varint()?)),
            (6, VARINT) => options.absent = words::absent("", fields.number()?).ok()?,
            (7, VARINT) => options.not_before = Some(WallTime(fields.varint()?)),
            (8, VARINT) => options.max_run = Some(Duration::from_millis(fields.varint()?)),
            _ => return None,
        }
    }
    Some(options)
}
