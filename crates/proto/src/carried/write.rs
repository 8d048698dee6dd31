//! Writes a publish. Lengths are found by the same walk that writes, so the two cannot differ.

use crate::convert::words;
use crate::decode::millis;
use crate::v1;
use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use trunkline_types::{
    AgentId, ContextId, Destination, Encoding, Envelope, Gather, GatherRule, IdempotencyKey,
    OrderingKey, Payload, Publish, PublishOptions, TenantId,
};

/// The length of the encoded envelope.
pub(super) fn envelope_len(envelope: &Envelope) -> usize {
    count(|out| write_envelope(envelope, out))
}

/// The length of the encoded publish whose envelope, if there is one, takes `envelope_len`.
pub(super) fn publish_len(publish: &Publish, envelope_len: Option<usize>) -> usize {
    let head = |out: &mut Count| {
        if let Some(len) = envelope_len {
            out.message(1, len);
        }
        write_options(&publish.options, out);
    };
    count(head) + envelope_len.unwrap_or(0)
}

/// Writes the publish whose envelope, if there is one, takes `envelope_len`.
pub(super) fn publish(publish: &Publish, envelope_len: Option<usize>, buf: &mut impl BufMut) {
    let mut out = Write(buf);
    if let Some(len) = envelope_len {
        out.message(1, len);
        write_envelope(&publish.envelope, &mut out);
    }
    write_options(&publish.options, &mut out);
}

/// Where fields go.
pub(super) trait Out {
    fn varint(&mut self, tag: u32, value: u64);
    fn bytes(&mut self, tag: u32, bytes: &[u8]);
    /// The head of a message of known length, whose fields follow.
    fn message(&mut self, tag: u32, len: usize);

    fn text(&mut self, tag: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.bytes(tag, text.as_bytes());
        }
    }

    fn flag(&mut self, tag: u32, flag: bool) {
        if flag {
            self.varint(tag, 1);
        }
    }
}

/// Counts what writing would take.
pub(super) struct Count(pub(super) usize);

fn count(walk: impl FnOnce(&mut Count)) -> usize {
    let mut out = Count(0);
    walk(&mut out);
    out.0
}

impl Out for Count {
    fn varint(&mut self, tag: u32, value: u64) {
        self.0 += key_len(tag) + encoded_len_varint(value);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.message(tag, bytes.len());
        self.0 += bytes.len();
    }

    fn message(&mut self, tag: u32, len: usize) {
        self.0 += key_len(tag) + encoded_len_varint(len as u64);
    }
}

pub(super) struct Write<'a, B>(pub(super) &'a mut B);

impl<B: BufMut> Out for Write<'_, B> {
    fn varint(&mut self, tag: u32, value: u64) {
        encode_key(tag, WireType::Varint, self.0);
        encode_varint(value, self.0);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.message(tag, bytes.len());
        self.0.put_slice(bytes);
    }

    fn message(&mut self, tag: u32, len: usize) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(len as u64, self.0);
    }
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
    out.message(5, count(|out| write_destination(destination, out)));
    write_destination(destination, out);
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
        out.message(15, count(|out| write_pair(name, value.as_bytes(), out)));
        write_pair(name, value.as_bytes(), out);
    }
    out.message(16, count(|out| write_payload(payload, out)));
    write_payload(payload, out);
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

fn write_payload(Payload { content_type, encoding, data }: &Payload, out: &mut impl Out) {
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
            out.message(5, count(|out| write_ids(ids, out)));
            write_ids(ids, out);
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
        out.message(2, count(|out| write_option_fields(options, out)));
        write_option_fields(options, out);
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
        out.message(9, count(|out| write_gather(*gather, out)));
        write_gather(*gather, out);
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
