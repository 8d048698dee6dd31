//! What a filter sees of an event.

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::Value as JsonValue;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use trunkline_content::{Format, Json, MsgPack, decompress};
use trunkline_types::{Destination, Name, Payload, Publish};

/// Payloads with more bytes, once their compression is undone, are not looked into.
const MOST_BYTES: usize = 256 << 10;

/// The names that a filter may use, with the one that stands for the payload last.
pub(super) const VARIABLES: &[&str] = &[
    "topic",
    "kind",
    "source",
    "priority",
    "headers",
    "content_type",
    "size",
    "context_id",
    "ordering_key",
    "payload",
];

/// The variables that are texts; empty where the event has no such thing.
pub(super) const TEXTS: &[&str] =
    &["topic", "kind", "source", "priority", "content_type", "context_id", "ordering_key"];

/// An event as filters see it. The payload and the headers are read when the first filter asks.
pub(crate) struct Event<'p> {
    publish: &'p Publish,
    headers: OnceLock<CelMap<'static>>,
    payload: OnceLock<Arc<Read>>,
}

/// A payload that was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// What was read, kept so that the same bytes are known again by where they are.
    from: Payload,
    value: Box<dyn Val>,
    /// How many values there are in it, itself included.
    count: usize,
}

impl Read {
    /// Whether it was made of this payload, which is not compared but recognized.
    fn is_of(&self, payload: &Payload) -> bool {
        let Payload { content_type, encoding, data } = payload;
        let from = &self.from;
        (from.data.as_ptr(), from.data.len()) == (data.as_ptr(), data.len())
            && (&from.content_type, from.encoding) == (content_type, *encoding)
    }
}

impl<'p> Event<'p> {
    pub(crate) fn new(publish: &'p Publish) -> Self {
        Self { publish, headers: OnceLock::new(), payload: OnceLock::new() }
    }

    /// An event whose payload may have been read before.
    pub(crate) fn known(publish: &'p Publish, read: Option<Arc<Read>>) -> Self {
        let event = Self::new(publish);
        if let Some(read) = read.filter(|read| read.is_of(&publish.envelope.payload)) {
            // There is nothing in it yet.
            let _ = event.payload.set(read);
        }
        event
    }

    /// What was read of the payload, if anybody has looked into it.
    pub(crate) fn read(&self) -> Option<Arc<Read>> {
        self.payload.get().cloned()
    }

    /// How many values there are in the payload.
    pub(super) fn payload_values(&self) -> usize {
        self.payload().count
    }

    /// How many headers there are.
    pub(super) fn headers(&self) -> usize {
        self.publish.envelope.headers.len()
    }

    fn payload(&self) -> &Read {
        self.payload.get_or_init(|| {
            let mut count = 0;
            let from = self.publish.envelope.payload.clone();
            let json = read(&from).unwrap_or(JsonValue::Null);
            let value = value(json, &mut count);
            Arc::new(Read { from, value, count })
        })
    }

    fn header_map(&self) -> &CelMap<'static> {
        self.headers.get_or_init(|| {
            let mut map: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
            for (name, value) in &self.publish.envelope.headers {
                // Of several with the same name it is the first.
                map.entry(name.to_string().into())
                    .or_insert_with(|| Box::new(CelString::from(value.to_string())));
            }
            map.into()
        })
    }
}

impl VariableResolver for Event<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let envelope = &self.publish.envelope;
        let text = |text: Option<&'b str>| CelString::from(text.unwrap_or_default());
        let text = match variable {
            "topic" => text(match &envelope.destination {
                Destination::Topic(topic) => Some(topic.as_str()),
                _ => None,
            }),
            "kind" => text(Some(envelope.kind.as_str())),
            "source" => text(envelope.source.as_ref().map(Name::as_str)),
            "priority" => text(Some(envelope.priority.as_str())),
            "content_type" => text(Some(envelope.payload.content_type.as_str())),
            "context_id" => text(envelope.context_id.as_ref().map(Name::as_str)),
            "ordering_key" => text(envelope.ordering_key.as_ref().map(Name::as_str)),
            "size" => {
                let size = i64::try_from(envelope.payload.data.len()).unwrap_or(i64::MAX);
                return Some(CowVal::owned(CelInt::from(size)));
            }
            "headers" => return Some(CowVal::Borrowed(self.header_map())),
            "payload" => return Some(CowVal::Borrowed(self.payload().value.as_ref())),
            _ => return None,
        };
        Some(CowVal::owned(text))
    }
}

/// A payload as a value: what says that it is JSON or MessagePack, and what says nothing or that
/// it is text but is JSON. `None` for everything else, for what is too large, and for what JSON
/// cannot say, such as maps whose keys are no texts.
fn read(payload: &Payload) -> Option<JsonValue> {
    if payload.data.len() > MOST_BYTES {
        return None;
    }
    let plain = decompress(payload, MOST_BYTES).ok()?;
    match Format::of(&plain.content_type) {
        Some(Format::MsgPack) => MsgPack::decode(&plain).ok().map(|MsgPack(value)| value),
        _ => Json::decode(&plain).ok().map(|Json(value)| value),
    }
}

/// A value as CEL knows it. Whole numbers are `int` where they fit, so that they add to and
/// compare with the numbers in a filter. Its readers bound how deep it is.
fn value(json: JsonValue, count: &mut usize) -> Box<dyn Val> {
    *count += 1;
    match json {
        JsonValue::Null => Box::new(CelNull),
        JsonValue::Bool(bool) => Box::new(CelBool::from(bool)),
        JsonValue::String(text) => Box::new(CelString::from(text)),
        JsonValue::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        JsonValue::Array(items) => {
            let items: Vec<_> = items.into_iter().map(|item| value(item, count)).collect();
            Box::new(CelList::from(items))
        }
        JsonValue::Object(fields) => {
            let field = |(name, field): (String, JsonValue)| (name.into(), value(field, count));
            let fields: HashMap<CelMapKey<'static>, _> = fields.into_iter().map(field).collect();
            Box::new(CelMap::from(fields))
        }
    }
}
