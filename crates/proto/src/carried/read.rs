//! Reads a publish, field by field, as protobuf wants it: fields in any order, the last of
//! several counts, unknown ones are skipped.

use super::faults::{Fault, Faults};
use super::{Carried, Part, Seen};
use crate::convert::words;
use crate::decode::{message_id, name, text_within};
use crate::{DecodeError, v1};
use bytes::{Buf, Bytes};
use prost::encoding::{
    self, DecodeContext, WireType, check_wire_type, decode_key, decode_varint, merge_loop,
    skip_field,
};
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    AgentId, Destination, Envelope, Kind, MessageId, Partition, Payload, Publish, PublishOptions,
    TenantId, Topic, WallTime,
};

/// A field cannot even be cut out of the frame.
type Broken = prost::DecodeError;

/// Reads a field of a publish.
pub(super) fn field(
    carried: &mut Carried,
    tag: u32,
    wire_type: WireType,
    buf: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), Broken> {
    let Carried { publish, envelope, seen, faults } = carried;
    let publish = Arc::make_mut(publish.get_or_insert_with(|| Arc::new(blank())));
    match tag {
        1 => {
            let mut reader = EnvelopeReader { envelope: &mut publish.envelope, seen, faults };
            fields(wire_type, buf, context, |tag, wire_type, buf, context| {
                reader.field(tag, wire_type, buf, context)
            })?;
            *envelope = Part::Read;
            Ok(())
        }
        2 => {
            let options = &mut publish.options;
            fields(wire_type, buf, context, |tag, wire_type, buf, context| {
                option(options, faults, tag, wire_type, buf, context)
            })
        }
        _ => skip_field(wire_type, tag, buf, context),
    }
}

/// What a publish is before anything is read.
fn blank() -> Publish {
    let id = MessageId::from_parts(0, Partition(0), 0);
    Publish::new(Envelope::new(id, Kind::Request, Destination::All, Payload::default()))
}

/// Reads the fields of a message.
fn fields<B: Buf>(
    wire_type: WireType,
    buf: &mut B,
    context: DecodeContext,
    mut field: impl FnMut(u32, WireType, &mut B, DecodeContext) -> Result<(), Broken>,
) -> Result<(), Broken> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    merge_loop(&mut (), buf, context, |(), buf, context| {
        let (tag, wire_type) = decode_key(buf)?;
        field(tag, wire_type, buf, context)
    })
}

/// Reads bytes where they are, without a copy if the frame is in one piece.
fn bytes<R>(
    wire_type: WireType,
    buf: &mut impl Buf,
    read: impl FnOnce(&[u8]) -> R,
) -> Result<R, Broken> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    let len = decode_varint(buf)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if let Some(bytes) = buf.chunk().get(..len) {
        let result = read(bytes);
        buf.advance(len);
        return Ok(result);
    }
    if len > buf.remaining() {
        return Err(cut_short());
    }
    Ok(read(&buf.copy_to_bytes(len)))
}

/// The error of a frame that ends within a field.
fn cut_short() -> Broken {
    let cut = skip_field(WireType::ThirtyTwoBit, 1, &mut Bytes::new(), DecodeContext::default());
    cut.expect_err("nothing has no four bytes")
}

/// Reads a text.
pub(super) fn text<R>(
    field: &'static str,
    wire_type: WireType,
    buf: &mut impl Buf,
    read: impl FnOnce(&str) -> Result<R, DecodeError>,
) -> Result<Result<R, Fault>, Broken> {
    bytes(wire_type, buf, |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => read(text).map_err(Fault::Rule),
        Err(error) => Err(Fault::NoText(DecodeError::new(
            field,
            format_args!("'{}'", String::from_utf8_lossy(bytes)),
            format!("a text must be UTF-8: {error}"),
        ))),
    })
}

fn small_text(
    field: &'static str,
    wire_type: WireType,
    buf: &mut impl Buf,
) -> Result<Result<SmolStr, Fault>, Broken> {
    text(field, wire_type, buf, |text| {
        text_within(field, text.len())?;
        Ok(SmolStr::new(text))
    })
}

/// Puts what was read in its place, or takes note why it is wrong.
pub(super) fn set<T>(
    place: &mut T,
    faults: &mut Faults,
    field: &'static str,
    result: Result<T, impl Into<Fault>>,
) {
    match result {
        Ok(value) => {
            faults.forgive(field);
            *place = value;
        }
        Err(fault) => faults.add(fault.into()),
    }
}

fn number(wire_type: WireType, buf: &mut impl Buf) -> Result<i32, Broken> {
    let mut number = 0;
    encoding::int32::merge(wire_type, &mut number, buf, DecodeContext::default())?;
    Ok(number)
}

fn varint(wire_type: WireType, buf: &mut impl Buf) -> Result<u64, Broken> {
    check_wire_type(WireType::Varint, wire_type)?;
    decode_varint(buf)
}

struct EnvelopeReader<'a> {
    envelope: &'a mut Envelope,
    seen: &'a mut Seen,
    faults: &'a mut Faults,
}

impl EnvelopeReader<'_> {
    fn field<B: Buf>(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut B,
        context: DecodeContext,
    ) -> Result<(), Broken> {
        let Self { envelope, seen, faults } = self;
        macro_rules! optional_name {
            ($place:ident, $field:literal) => {{
                let result = text($field, wire_type, buf, |text| name($field, text))?;
                set(&mut envelope.$place, faults, $field, result.map(Some));
            }};
        }
        macro_rules! optional_id {
            ($place:ident, $field:literal) => {{
                let result = bytes(wire_type, buf, |bytes| message_id($field, bytes))?;
                set(&mut envelope.$place, faults, $field, result.map(Some));
            }};
        }
        match tag {
            1 => {
                let result = bytes(wire_type, buf, |bytes| message_id("envelope.id", bytes))?;
                set(&mut envelope.id, faults, "envelope.id", result);
                seen.id = true;
            }
            2 => {
                let result = text("envelope.tenant", wire_type, buf, |text| match text {
                    "" => Ok(TenantId::default()),
                    text => name("envelope.tenant", text),
                })?;
                set(&mut envelope.tenant, faults, "envelope.tenant", result);
            }
            3 => {
                let result = words::kind("envelope.kind", number(wire_type, buf)?);
                set(&mut envelope.kind, faults, "envelope.kind", result);
                seen.kind = true;
            }
            4 => optional_name!(source, "envelope.source"),
            5 => {
                let place = &mut envelope.destination;
                fields(wire_type, buf, context, |tag, wire_type, buf, context| {
                    destination(place, seen, faults, tag, wire_type, buf, context)
                })?;
            }
            6 => {
                let result = words::priority("envelope.priority", number(wire_type, buf)?);
                set(&mut envelope.priority, faults, "envelope.priority", result);
            }
            7 => envelope.ttl = Some(Duration::from_millis(varint(wire_type, buf)?)),
            8 => optional_name!(ordering_key, "envelope.ordering_key"),
            9 => optional_name!(idempotency_key, "envelope.idempotency_key"),
            10 => optional_id!(correlation_id, "envelope.correlation_id"),
            11 => optional_id!(causation_id, "envelope.causation_id"),
            12 => optional_id!(root_id, "envelope.root_id"),
            13 => optional_name!(context_id, "envelope.context_id"),
            14 => {
                let result = small_text("envelope.traceparent", wire_type, buf)?;
                let result = result.map(|text| Some(text.as_str().into()));
                set(&mut envelope.traceparent, faults, "envelope.traceparent", result);
            }
            15 => {
                let mut header = (SmolStr::default(), SmolStr::default());
                let mut wrong = Faults::default();
                fields(wire_type, buf, context, |tag, wire_type, buf, context| {
                    let (place, field) = match tag {
                        1 => (&mut header.0, "header.name"),
                        2 => (&mut header.1, "header.value"),
                        _ => return skip_field(wire_type, tag, buf, context),
                    };
                    set(place, &mut wrong, field, small_text(field, wire_type, buf)?);
                    Ok(())
                })?;
                faults.absorb(wrong);
                envelope.headers.push(header);
            }
            16 => {
                let payload = &mut envelope.payload;
                fields(wire_type, buf, context, |tag, wire_type, buf, context| match tag {
                    1 => {
                        let result = small_text("payload.content_type", wire_type, buf)?;
                        set(&mut payload.content_type, faults, "payload.content_type", result);
                        Ok(())
                    }
                    2 => encoding::bytes::merge(wire_type, &mut payload.data, buf, context),
                    3 => {
                        let result = words::encoding("payload.encoding", number(wire_type, buf)?);
                        set(&mut payload.encoding, faults, "payload.encoding", result);
                        Ok(())
                    }
                    _ => skip_field(wire_type, tag, buf, context),
                })?;
            }
            17 => {
                let field = "envelope.redriven_from";
                let id = bytes(wire_type, buf, |bytes| message_id(field, bytes))?;
                set(&mut envelope.redriven_from, faults, field, id.map(|id| Some(Box::new(id))));
            }
            _ => skip_field(wire_type, tag, buf, context)?,
        }
        Ok(())
    }
}

fn destination<B: Buf>(
    place: &mut Destination,
    seen: &mut Seen,
    faults: &mut Faults,
    tag: u32,
    wire_type: WireType,
    buf: &mut B,
    context: DecodeContext,
) -> Result<(), Broken> {
    let result = match tag {
        1 => text("destination.agent", wire_type, buf, |text| {
            name("destination.agent", text).map(Destination::Agent)
        })?,
        2 => text("destination.skill", wire_type, buf, |text| {
            name("destination.skill", text).map(Destination::Skill)
        })?,
        3 => text("destination.topic", wire_type, buf, |text| {
            Topic::new(text)
                .map(Destination::Topic)
                .map_err(|error| DecodeError::name("destination.topic", text, &error))
        })?,
        4 => {
            fields(wire_type, buf, context, |tag, wire_type, buf, context| {
                skip_field(wire_type, tag, buf, context)
            })?;
            Ok(Destination::All)
        }
        // A list that comes in pieces is all of them together, and wrong if one of them is.
        5 => {
            let mut list = v1::AgentList::default();
            encoding::message::merge(wire_type, &mut list, buf, context)?;
            let ids = list.ids.iter().map(|id| name("destination.agents", id));
            let ids: Result<Vec<AgentId>, _> = ids.collect();
            match (ids, &mut *place) {
                (Ok(_), _) if faults.has("destination.agents") => return Ok(()),
                (Ok(more), Destination::Agents(ids)) if !faults.has("destination.") => {
                    ids.extend(more);
                    return Ok(());
                }
                (ids, _) => ids.map(Destination::Agents).map_err(Fault::Rule),
            }
        }
        _ => return skip_field(wire_type, tag, buf, context),
    };
    // Whatever kind of destination comes last counts.
    if result.is_err() {
        faults.forgive("destination.");
    }
    set(place, faults, "destination.", result);
    seen.destination = true;
    Ok(())
}

fn option(
    options: &mut PublishOptions,
    faults: &mut Faults,
    tag: u32,
    wire_type: WireType,
    buf: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), Broken> {
    match tag {
        1 => options.task = varint(wire_type, buf)? != 0,
        2 => options.reply = varint(wire_type, buf)? != 0,
        3 => {
            let number = number(wire_type, buf)?;
            let result = words::durability("publish_options.durability", number);
            set(&mut options.durability, faults, "publish_options.durability", result);
        }
        4 => {
            let mut attempts = 0;
            encoding::uint32::merge(wire_type, &mut attempts, buf, context)?;
            options.attempts = Some(attempts);
        }
        5 => options.delay = Some(Duration::from_millis(varint(wire_type, buf)?)),
        6 => {
            let result = words::absent("publish_options.absent", number(wire_type, buf)?);
            set(&mut options.absent, faults, "publish_options.absent", result);
        }
        7 => options.not_before = Some(WallTime(varint(wire_type, buf)?)),
        8 => options.max_run = Some(Duration::from_millis(varint(wire_type, buf)?)),
        9 => {
            // Few publishes have one, so the generated struct does. It is merged into what an
            // earlier field said.
            let mut gather = options.gather.map(v1::Gather::from).unwrap_or_default();
            encoding::message::merge(wire_type, &mut gather, buf, context)?;
            options.gather = Some(gather.into());
        }
        _ => return skip_field(wire_type, tag, buf, context),
    }
    Ok(())
}
