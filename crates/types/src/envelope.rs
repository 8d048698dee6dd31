//! The envelope: what is carried.

use crate::{
    AgentId, ContextId, Destination, Encoding, IdempotencyKey, Kind, Limits, MessageId,
    OrderingKey, Priority, Refusal, RefusalCode, TenantId,
};
use bytes::Bytes;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;

/// What is carried from a sender to its destination. The broker never looks into the payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Made at the edge; names the envelope, and the task if it is one.
    pub id: MessageId,
    /// The owner.
    pub tenant: TenantId,
    /// What the envelope is for.
    pub kind: Kind,
    /// The agent that sent it; `None` for a client that is no agent.
    pub source: Option<AgentId>,
    /// Where it goes.
    pub destination: Destination,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it is of use, counted from its acceptance; `None` for ever.
    pub ttl: Option<Duration>,
    /// Envelopes with the same key are handled strictly in order.
    pub ordering_key: Option<OrderingKey>,
    /// The same key within its window is accepted once.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The envelope that this one answers.
    pub correlation_id: Option<MessageId>,
    /// The envelope whose handling made this one.
    pub causation_id: Option<MessageId>,
    /// The first ancestor in the chain of causes.
    pub root_id: Option<MessageId>,
    /// The dead letter that this one was made from. Set by the broker when it redrives one. Boxed,
    /// as few have one and every message that waits pays for its place.
    pub redriven_from: Option<Box<MessageId>>,
    /// The conversation.
    pub context_id: Option<ContextId>,
    /// The W3C `traceparent` of the sender, carried through. Too long to ever be inline.
    pub traceparent: Option<Arc<str>>,
    /// Free fields of the sender. Names that begin with [`RESERVED_HEADERS`] are the broker's.
    pub headers: Headers,
    /// What the payload is and its bytes.
    pub payload: Payload,
}

/// With what the names of headers begin that the broker sets itself, in whatever case; a sender
/// that sets one is refused.
pub const RESERVED_HEADERS: &str = "trunkline-";

/// Free fields of a sender, in its order.
pub type Headers = Vec<(SmolStr, SmolStr)>;

/// Bytes and what they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// A media type such as `application/json`; empty when nothing is said.
    pub content_type: SmolStr,
    /// How the bytes are compressed.
    pub encoding: Encoding,
    /// The bytes; shared, never copied on their way.
    pub data: Bytes,
}

impl Payload {
    /// A payload of any media type.
    pub fn new(content_type: impl AsRef<str>, data: impl Into<Bytes>) -> Self {
        let content_type = SmolStr::new(content_type);
        Self { content_type, encoding: Encoding::Identity, data: data.into() }
    }

    /// A text payload (`text/plain; charset=utf-8`).
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content_type: SmolStr::new_static("text/plain; charset=utf-8"),
            encoding: Encoding::Identity,
            data: Bytes::from(text.into()),
        }
    }

    /// The bytes read as UTF-8, with a replacement character for what is not.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(data: Bytes) -> Self {
        Self { content_type: SmolStr::default(), encoding: Encoding::Identity, data }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(data: Vec<u8>) -> Self {
        Self::from(Bytes::from(data))
    }
}

impl Envelope {
    /// An envelope with defaults: tenant `default`, priority normal, no time to live, no keys.
    pub fn new(id: MessageId, kind: Kind, destination: Destination, payload: Payload) -> Self {
        Self {
            id,
            tenant: TenantId::default(),
            kind,
            source: None,
            destination,
            priority: Priority::Normal,
            ttl: None,
            ordering_key: None,
            idempotency_key: None,
            correlation_id: None,
            causation_id: None,
            root_id: None,
            redriven_from: None,
            context_id: None,
            traceparent: None,
            headers: Headers::new(),
            payload,
        }
    }

    /// The first header whose name only the broker may use.
    pub fn reserved_header(&self) -> Option<&str> {
        let reserved = |name: &&str| {
            let start = name.get(..RESERVED_HEADERS.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_HEADERS))
        };
        self.headers.iter().map(|(name, _)| name.as_str()).find(reserved)
    }

    /// Checks the envelope against the limits. Names are valid by their types.
    ///
    /// # Errors
    /// A [`Refusal`] that names the part, its size and the limit.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let too_large = |what: String, size: usize, limit: usize, unit: &str| {
            let message = format!("{what} has {size} {unit}, the limit is {limit}");
            Err(Refusal::new(RefusalCode::TooLarge, message))
        };
        if self.payload.data.len() > limits.payload_bytes {
            let size = self.payload.data.len();
            return too_large("the payload".into(), size, limits.payload_bytes, "bytes");
        }
        // It may be one that the sender's library adds, and of which the sender does not think.
        if let Some((name, _)) = self.headers.get(limits.headers) {
            let (count, limit) = (self.headers.len(), limits.headers);
            let name: String = name.chars().take(32).collect();
            let message = format!(
                "the envelope has {count} headers, the limit is {limit}, and the first beyond it \
                 is '{name}'"
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        for (name, value) in &self.headers {
            let size = name.len() + value.len();
            if name.is_empty() {
                return Err(Refusal::new(RefusalCode::Invalid, "a header has an empty name"));
            }
            if size > limits.header_bytes {
                let name: String = name.chars().take(32).collect();
                return too_large(format!("header '{name}'"), size, limits.header_bytes, "bytes");
            }
        }
        for (what, text) in [
            ("the content type", Some(self.payload.content_type.as_str())),
            ("traceparent", self.traceparent.as_deref()),
        ] {
            let size = text.map_or(0, str::len);
            if size > limits.header_bytes {
                return too_large(what.into(), size, limits.header_bytes, "bytes");
            }
        }
        if let Some(text) = &self.traceparent
            && !is_traceparent(text)
        {
            let shown: String = text.chars().take(64).collect();
            let message = format!(
                "traceparent '{shown}' is not of the form 00-TRACE-PARENT-FLAGS, with 32, 16 and 2 \
                 lower-case hexadecimal digits"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if let Destination::Agents(ids) = &self.destination {
            if ids.len() > limits.destinations {
                let (size, limit) = (ids.len(), limits.destinations);
                return too_large("the destination".into(), size, limit, "agents");
            }
            if ids.is_empty() {
                return Err(Refusal::new(RefusalCode::Invalid, "the destination names no agent"));
            }
        }
        Ok(())
    }
}

/// Whether a text has the form of a W3C `traceparent` (Trace Context, section 3.2): version,
/// trace id, parent id and flags in lower-case hexadecimal. Later versions may have more after
/// that.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = text.split('-');
    let mut next = |digits| parts.next().is_some_and(|part| hex(part, digits));
    let right = next(2) && next(32) && next(16) && next(2);
    right && (parts.next().is_none() || !text.starts_with("00"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    fn envelope() -> Envelope {
        let to = Destination::skill("s").unwrap();
        Envelope::new(MessageId::from_parts(1, Partition(0), 1), Kind::Event, to, "x".into())
    }

    #[test]
    fn a_traceparent_has_its_form_or_is_refused() {
        let checked = |text: &str| {
            let envelope = Envelope { traceparent: Some(text.into()), ..envelope() };
            envelope.check(&Limits::default())
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(checked(good), Ok(()));
        assert_eq!(checked(&format!("cc{}-more", &good[2..])), Ok(()));
        for bad in ["zzz", "", &good[1..], &good.to_uppercase(), &format!("{good}-more")] {
            assert!(checked(bad).unwrap_err().message.contains("traceparent"), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_the_part_its_size_and_the_limit() {
        let limits = Limits::default();
        let mut large = envelope();
        large.payload.data = vec![0; limits.payload_bytes + 1].into();
        let refusal = large.check(&limits).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert_eq!(refusal.message, "the payload has 1048577 bytes, the limit is 1048576");

        let mut header = envelope();
        header.headers.push(("h".into(), "v".repeat(1024).into()));
        assert!(header.check(&limits).unwrap_err().message.contains("header 'h' has 1025 bytes"));

        let mut many = envelope();
        many.headers = vec![("h".into(), "v".into()); 64];
        assert_eq!(many.check(&limits), Ok(()));
        many.headers.push(("tracestate".into(), "v".into()));
        let said = "the envelope has 65 headers, the limit is 64, and the first beyond it is \
                    'tracestate'";
        assert_eq!(many.check(&limits).unwrap_err().message, said);
        assert_eq!(envelope().check(&limits), Ok(()));
    }
}
