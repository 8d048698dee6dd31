//! Writes what is carried. Lengths are found by what writes, so that the two cannot differ; only the
//! publish, which is written at two depths, keeps its own in [`PublishLengths`].

use crate::convert::words;
use crate::decode::millis;
use crate::v1;
use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use trunkline_types::{
    AgentId, ContextId, Destination, Encoding, Envelope, Gather, GatherRule, IdempotencyKey,
    OrderingKey, Payload, Publish, PublishOptions, TenantId, Token,
};

/// Where fields go.
pub trait Out {
    /// A number, also if it is 0.
    fn varint(&mut self, tag: u32, value: u64);
    /// A number of four bytes.
    fn fixed32(&mut self, tag: u32, value: u32);
    /// A number of eight bytes.
    fn fixed64(&mut self, tag: u32, value: u64);
    /// Bytes with their length.
    fn bytes(&mut self, tag: u32, bytes: &[u8]);
    /// The head of a message of known length, whose fields follow.
    fn message(&mut self, tag: u32, length: usize);
    /// Whether fields of so many bytes need not follow.
    fn skips(&mut self, length: usize) -> bool;

    /// A number that is not written if it is 0.
    fn number(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.varint(tag, value);
        }
    }

    /// A text that may be absent.
    fn text(&mut self, tag: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.bytes(tag, text.as_bytes());
        }
    }

    /// A flag.
    fn flag(&mut self, tag: u32, flag: bool) {
        self.number(tag, flag.into());
    }
}

/// A message, by what writes its fields, which is done twice: first to find out how long they are.
macro_rules! nested {
    ($out:expr, $tag:expr, |$into:ident| $write:expr) => {{
        let length = {
            let mut count = Count::default();
            let $into = &mut count;
            $write;
            count.bytes()
        };
        $out.message($tag, length);
        if !$out.skips(length) {
            let $into = &mut *$out;
            $write;
        }
    }};
}
pub(super) use nested;

/// Counts what writing would take.
#[derive(Default)]
pub(super) struct Count(usize);

impl Count {
    pub(super) fn bytes(&self) -> usize {
        self.0
    }
}

impl Out for Count {
    fn varint(&mut self, tag: u32, value: u64) {
        self.0 += key_len(tag) + encoded_len_varint(value);
    }

    fn fixed32(&mut self, tag: u32, _value: u32) {
        self.0 += key_len(tag) + 4;
    }

    fn fixed64(&mut self, tag: u32, _value: u64) {
        self.0 += key_len(tag) + 8;
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.message(tag, bytes.len());
        self.0 += bytes.len();
    }

    fn message(&mut self, tag: u32, length: usize) {
        self.0 += key_len(tag) + encoded_len_varint(length as u64);
    }

    fn skips(&mut self, length: usize) -> bool {
        self.0 += length;
        true
    }
}

pub(super) struct Write<'a, B>(pub(super) &'a mut B);

impl<B: BufMut> Out for Write<'_, B> {
    fn varint(&mut self, tag: u32, value: u64) {
        encode_key(tag, WireType::Varint, self.0);
        encode_varint(value, self.0);
    }

    fn fixed32(&mut self, tag: u32, value: u32) {
        encode_key(tag, WireType::ThirtyTwoBit, self.0);
        self.0.put_u32_le(value);
    }

    fn fixed64(&mut self, tag: u32, value: u64) {
        encode_key(tag, WireType::SixtyFourBit, self.0);
        self.0.put_u64_le(value);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.message(tag, bytes.len());
        self.0.put_slice(bytes);
    }

    fn message(&mut self, tag: u32, length: usize) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(length as u64, self.0);
    }

    fn skips(&mut self, _length: usize) -> bool {
        false
    }
}

/// How long the parts of a publish are whose length is written before them.
pub(super) struct PublishLengths {
    envelope: usize,
    publish: usize,
}

impl PublishLengths {
    pub(super) fn of(publish: &Publish) -> Self {
        let mut count = Count::default();
        write_envelope(&publish.envelope, &mut count);
        let envelope = count.bytes();
        count.message(1, envelope);
        write_options(&publish.options, &mut count);
        Self { envelope, publish: count.bytes() }
    }

    /// Writes the publish of which these are the lengths.
    pub(super) fn write(&self, tag: u32, publish: &Publish, out: &mut impl Out) {
        out.message(tag, self.publish);
        if !out.skips(self.publish) {
            out.message(1, self.envelope);
            write_envelope(&publish.envelope, out);
            write_options(&publish.options, out);
        }
    }
}

pub(super) fn write_token(token: Token, out: &mut impl Out) {
    nested!(out, 1, |out| {
        if token.epoch.0 != 0 {
            out.fixed32(1, token.epoch.0);
        }
        if token.counter != 0 {
            out.fixed64(2, token.counter);
        }
    });
}

fn write_envelope(envelope: &Envelope, out: &mut impl Out) {
    let Envelope {
        id,
        tenant,
        kind,
        source,
        destination,
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
        payload,
    } = envelope;
    out.bytes(1, &id.to_bytes());
    if *tenant != TenantId::default() {
        out.bytes(2, tenant.as_str().as_bytes());
    }
    out.varint(3, kind.number().into());
    out.text(4, source.as_ref().map(AgentId::as_str));
    nested!(out, 5, |out| write_destination(destination, out));
    out.varint(6, number(v1::Priority::from(*priority) as i32));
    if let Some(ttl) = ttl {
        out.varint(7, millis(*ttl));
    }
    out.text(8, ordering_key.as_ref().map(OrderingKey::as_str));
    out.text(9, idempotency_key.as_ref().map(IdempotencyKey::as_str));
    for (tag, id) in [(10, correlation_id), (11, causation_id), (12, root_id)] {
        if let Some(id) = id {
            out.bytes(tag, &id.to_bytes());
        }
    }
    out.text(13, context_id.as_ref().map(ContextId::as_str));
    out.text(14, traceparent.as_deref());
    for (name, value) in headers {
        nested!(out, 15, |out| write_pair(name, value.as_bytes(), out));
    }
    nested!(out, 16, |out| write_payload(payload, out));
    if let Some(id) = redriven_from {
        out.bytes(17, &id.to_bytes());
    }
}

/// A text and bytes: a header, or what a payload begins with.
fn write_pair(text: &str, bytes: &[u8], out: &mut impl Out) {
    out.text(1, Some(text).filter(|text| !text.is_empty()));
    if !bytes.is_empty() {
        out.bytes(2, bytes);
    }
}

pub(super) fn write_payload(
    Payload { content_type, encoding, data }: &Payload,
    out: &mut impl Out,
) {
    write_pair(content_type, data, out);
    if *encoding != Encoding::Identity {
        out.varint(3, number(words::encoding_number(*encoding)));
    }
}

fn write_destination(destination: &Destination, out: &mut impl Out) {
    match destination {
        Destination::Agent(id) => out.bytes(1, id.as_str().as_bytes()),
        Destination::Skill(name) => out.bytes(2, name.as_str().as_bytes()),
        Destination::Topic(topic) => out.bytes(3, topic.as_str().as_bytes()),
        Destination::All => out.message(4, 0),
        Destination::Agents(ids) => {
            nested!(out, 5, |out| write_ids(ids, out));
        }
    }
}

fn write_ids(ids: &[AgentId], out: &mut impl Out) {
    for id in ids {
        out.bytes(1, id.as_str().as_bytes());
    }
}

fn write_options(options: &PublishOptions, out: &mut impl Out) {
    if *options != PublishOptions::default() {
        nested!(out, 2, |out| write_option_fields(options, out));
    }
}

fn write_option_fields(options: &PublishOptions, out: &mut impl Out) {
    let PublishOptions {
        task,
        reply,
        durability,
        attempts,
        delay,
        not_before,
        max_run,
        gather,
        absent,
    } = options;
    out.flag(1, *task);
    out.flag(2, *reply);
    if durability.is_some() {
        out.varint(3, number(v1::Durability::from(*durability) as i32));
    }
    if let Some(attempts) = attempts {
        out.varint(4, (*attempts).into());
    }
    if let Some(delay) = delay {
        out.varint(5, millis(*delay));
    }
    if absent.is_some() {
        out.varint(6, number(v1::Absent::from(*absent) as i32));
    }
    if let Some(not_before) = not_before {
        out.varint(7, not_before.0);
    }
    if let Some(max_run) = max_run {
        out.varint(8, millis(*max_run));
    }
    if let Some(gather) = gather {
        nested!(out, 9, |out| write_gather(*gather, out));
    }
}

fn write_gather(Gather { rule, reply_bytes }: Gather, out: &mut impl Out) {
    match rule {
        GatherRule::First => out.message(1, 0),
        GatherRule::All => out.message(2, 0),
        GatherRule::Quorum(count) => out.varint(3, count.into()),
    }
    out.varint(4, reply_bytes.into());
}

/// An enum's number; none is negative.
fn number(number: i32) -> u64 {
    number.unsigned_abs().into()
}
