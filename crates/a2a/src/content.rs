//! What a message says, on either side: parts for a client of the standard, a payload for an agent.
//!
//! A message with one plain part becomes a payload that any agent can read: text as text, data as
//! JSON, a file as its bytes. Its id then travels as a parameter of the content type. Everything
//! richer (several parts, links, metadata, extensions) travels whole as [`WHOLE`]; an agent may
//! answer in that form too, and with [`AS_MESSAGE`] it says that its answer is all there is to tell.

use crate::beside;
use crate::check;
use crate::fault::{Fault, FaultKind};
use crate::hash::stable;
use crate::wire::{self, Part, Struct, Value, part::Content};
use bytes::Bytes;
use smol_str::format_smolstr;
use trunkline_content::{Format, decompress};
use trunkline_types::{MessageId, Payload, WallTime};

/// The content type of a payload that is a whole message of the standard in JSON.
pub(crate) const WHOLE: &str = "application/a2a+json";
/// The content type of a piece of an artifact that is a whole part of the standard in JSON.
const WHOLE_PART: &str = "application/a2a-part+json";
/// The parameter of [`WHOLE`] that has an answer told by itself instead of with its task.
const AS_MESSAGE: &str = "as=message";
/// Before the id of a message at the end of its content type.
const ID: &str = "; message-id=\"";
/// The longest id that travels in a content type.
const LONGEST_ID: usize = 200;
/// Most bytes that a compressed payload of an agent may have.
const MOST_BYTES: usize = 8 << 20;

/// What an agent gets of a message.
pub(crate) fn to_payload(message: wire::Message) -> Payload {
    if let Some(payload) = plain(&message) {
        return payload;
    }
    // Where it belongs is the broker's knowledge, and may differ from what was said.
    let whole = wire::Message { task_id: String::new(), context_id: String::new(), ..message };
    let data = serde_json::to_vec(&whole).expect("a message is made of what JSON has");
    Payload::new(WHOLE, data)
}

/// The same of an answer that is a message and nothing else, which is told by itself.
pub(crate) fn to_bare_payload(message: wire::Message) -> Payload {
    let mut payload = to_payload(message);
    let kind = payload.content_type;
    // The id stays at the end.
    payload.content_type = if let Some((kind, id)) = kind.rsplit_once(ID) {
        format_smolstr!("{kind}; {AS_MESSAGE}{ID}{id}")
    } else {
        format_smolstr!("{kind}; {AS_MESSAGE}")
    };
    payload
}

/// The payload of a message with one part that says all there is to say.
fn plain(message: &wire::Message) -> Option<Payload> {
    let wire::Message {
        message_id,
        context_id: _,
        task_id: _,
        role: _,
        parts,
        metadata,
        extensions,
        reference_task_ids,
    } = message;
    let id = message_id.as_str();
    let can_travel = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if id.len() > LONGEST_ID || !id.chars().all(can_travel) {
        return None;
    }
    let [Part { content, metadata: None, filename, media_type }] = parts.as_slice() else {
        return None;
    };
    let is_rich = metadata.is_some() || !extensions.is_empty() || !reference_task_ids.is_empty();
    if is_rich || !filename.is_empty() || !is_media_type(media_type) {
        return None;
    }
    let given = (!media_type.is_empty()).then_some(media_type.as_str());
    let (kind, format, data) = match content.as_ref()? {
        Content::Text(text) => {
            (given.unwrap_or("text/plain; charset=utf-8"), Some(Format::Text), text.clone().into())
        }
        Content::Data(Value(value)) => {
            (given.unwrap_or("application/json"), Some(Format::Json), value.to_string().into())
        }
        Content::Raw(bytes) => {
            let kind = given.unwrap_or("application/octet-stream");
            (kind, Format::of(kind).filter(|format| !is_read(*format)), Bytes::from(bytes.clone()))
        }
        Content::Url(_) => return None,
    };
    // What would be read back as another part travels whole.
    if Format::of(kind) != format || is_whole(kind) {
        return None;
    }
    let mut payload = Payload::new("", data);
    payload.content_type = format_smolstr!("{kind}{ID}{id}\"");
    Some(payload)
}

/// Whether a payload of this format is shown as text or data rather than as bytes.
fn is_read(format: Format) -> bool {
    match format {
        Format::Json | Format::Text => true,
        Format::MsgPack | Format::Binary | Format::Protobuf => false,
    }
}

fn is_media_type(text: &str) -> bool {
    text.len() <= 256 && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\')
}

fn is_whole(content_type: &str) -> bool {
    is_of(content_type, WHOLE)
}

fn is_of(content_type: &str, kind: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(kind)
}

/// A payload as a message to an agent elsewhere, which knows neither our task nor our
/// conversation. One without an id is named after the task and its place among what was said.
pub(crate) fn to_outgoing(
    task: MessageId,
    number: usize,
    said: &Payload,
) -> Result<wire::Message, Fault> {
    let place = Place { task, context: "", at: WallTime(0) };
    let mut message = to_message(said, wire::Role::User, place)?;
    message.task_id.clear();
    if message.message_id.starts_with(&task.to_string()) {
        message.message_id = format!("{task}-{number}");
    }
    Ok(message)
}

/// A part of an artifact as a payload: text as text, data as JSON, a file as its bytes; what says
/// more than that travels whole.
pub(crate) fn of_part(part: &Part) -> Payload {
    let Part { content, metadata, filename, media_type } = part;
    let given = (!media_type.is_empty()).then_some(media_type.as_str());
    let plain = match content {
        _ if metadata.is_some() || !filename.is_empty() || !is_media_type(media_type) => None,
        Some(Content::Text(text)) => {
            Some((given.unwrap_or("text/plain; charset=utf-8"), Bytes::from(text.clone())))
        }
        Some(Content::Data(Value(value))) => {
            Some((given.unwrap_or("application/json"), value.to_string().into()))
        }
        Some(Content::Raw(bytes)) => {
            Some((given.unwrap_or("application/octet-stream"), bytes.clone().into()))
        }
        Some(Content::Url(_)) | None => None,
    };
    match plain {
        // What would be read back as another part travels whole too.
        Some((kind, data))
            if !is_whole(kind)
                && !is_of(kind, WHOLE_PART)
                && self::part(kind, data.clone()).content == part.content =>
        {
            Payload::new(kind, data)
        }
        _ => {
            let data = serde_json::to_vec(part).expect("a part is made of what JSON has");
            Payload::new(WHOLE_PART, data)
        }
    }
}

/// Whether an agent wants its answer told by itself instead of with its task.
pub(crate) fn is_bare(payload: &Payload) -> bool {
    let kind = payload.content_type.as_str();
    // What has an id of its own is a message, in whatever form.
    let (kind, is_message) =
        kind.rsplit_once(ID).map_or((kind, is_whole(kind)), |(kind, _)| (kind, true));
    let mut parameters = kind.split(';').skip(1).map(str::trim);
    is_message && parameters.any(|known| known.eq_ignore_ascii_case(AS_MESSAGE))
}

/// Where a message belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) task: MessageId,
    pub(crate) context: &'a str,
    /// When the broker took it in.
    pub(crate) at: WallTime,
}

/// A message as a client of the standard sees it.
pub(crate) fn to_message(
    payload: &Payload,
    role: wire::Role,
    place: Place<'_>,
) -> Result<wire::Message, Fault> {
    let payload = unpacked(payload)?;
    let said = beside::without(&payload.content_type);
    let (content_type, id) = match said.rsplit_once(ID) {
        Some((content_type, id)) => {
            let kind = content_type.strip_suffix(AS_MESSAGE).unwrap_or(content_type);
            (kind.strip_suffix("; ").unwrap_or(kind), id.strip_suffix('"'))
        }
        None => (said, None),
    };
    // The same wherever and whenever it is shown.
    let own_id =
        || format!("{}-{:x}-{:08x}", place.task, place.at.0, stable(&payload.data) & 0xffff_ffff);
    let mut message = if is_whole(content_type) {
        whole(&payload.data)?
    } else {
        let parts = vec![part(content_type, payload.data.clone())];
        wire::Message { parts, ..wire::Message::default() }
    };
    if let Some(id) = id {
        id.clone_into(&mut message.message_id);
    } else if message.message_id.is_empty() {
        message.message_id = own_id();
    }
    message.set_role(role);
    message.task_id = place.task.to_string();
    place.context.clone_into(&mut message.context_id);
    Ok(message)
}

/// A message that only says a text.
pub(crate) fn text_message(text: &str, place: Place<'_>) -> wire::Message {
    let id = stable(text.as_bytes()) & 0xffff_ffff;
    let mut message = wire::Message {
        message_id: format!("{}-{:x}-{id:08x}", place.task, place.at.0),
        context_id: place.context.to_owned(),
        task_id: place.task.to_string(),
        parts: vec![Part { content: Some(Content::Text(text.to_owned())), ..Part::default() }],
        ..wire::Message::default()
    };
    message.set_role(wire::Role::Agent);
    message
}

/// A piece of an artifact: its parts, and what else an agent says that gives it whole.
pub(crate) fn to_artifact(payload: &Payload) -> Result<wire::Artifact, Fault> {
    let payload = unpacked(payload)?;
    if is_of(&payload.content_type, WHOLE_PART)
        && let Ok(part) = serde_json::from_slice::<Part>(&payload.data)
        && part.content.is_some()
    {
        return Ok(wire::Artifact { parts: vec![part], ..wire::Artifact::default() });
    }
    if !is_whole(&payload.content_type) {
        let parts = vec![part(&payload.content_type, payload.data)];
        return Ok(wire::Artifact { parts, ..wire::Artifact::default() });
    }
    let fault = |what: &str| {
        let message = format!("the agent gave an artifact as {WHOLE} that is none: {what}");
        Fault::new(FaultKind::InvalidAgentResponse, message)
    };
    let artifact: wire::Artifact =
        serde_json::from_slice(&payload.data).map_err(|error| fault(&error.to_string()))?;
    check::parts("parts", &artifact.parts).map_err(|error| fault(&error.message))?;
    Ok(artifact)
}

fn unpacked(payload: &Payload) -> Result<Payload, Fault> {
    decompress(payload, MOST_BYTES).map_err(|error| {
        Fault::new(FaultKind::InvalidAgentResponse, format!("what the agent said: {error}"))
    })
}

fn whole(data: &[u8]) -> Result<wire::Message, Fault> {
    let fault = |what: &str| {
        let message = format!("the agent answered with {WHOLE} that is no message: {what}");
        Fault::new(FaultKind::InvalidAgentResponse, message)
    };
    let mut message: wire::Message =
        serde_json::from_slice(data).map_err(|error| fault(&error.to_string()))?;
    // An agent need not say what the broker knows.
    if message.role() == wire::Role::Unspecified {
        message.set_role(wire::Role::Agent);
    }
    let named = message.message_id.is_empty();
    if named {
        message.message_id.push('-');
    }
    check::message("message", &message).map_err(|error| fault(&error.message))?;
    if named {
        message.message_id.clear();
    }
    Ok(message)
}

fn part(content_type: &str, data: Bytes) -> Part {
    let text = |data: &Bytes| std::str::from_utf8(data).map(|text| Content::Text(text.to_owned()));
    let content = match Format::of(content_type) {
        Some(Format::Json) => {
            serde_json::from_slice(&data).map(|value| Content::Data(Value(value))).ok()
        }
        Some(Format::Text) => text(&data).ok(),
        None if content_type.is_empty() => text(&data).ok(),
        Some(Format::MsgPack | Format::Binary | Format::Protobuf) | None => None,
    };
    let media_type = match content_type {
        "text/plain; charset=utf-8" => "text/plain",
        other => other,
    };
    let content = content.unwrap_or_else(|| Content::Raw(data.into()));
    Part { content: Some(content), media_type: media_type.to_owned(), ..Part::default() }
}

/// Adds fields to a message's metadata; those it has already stay. Says which were added.
pub(crate) fn add_metadata(message: &mut wire::Message, more: Option<Struct>) -> Vec<String> {
    let Some(Struct(more)) = more else { return Vec::new() };
    let Struct(metadata) = message.metadata.get_or_insert_default();
    let mut added = Vec::new();
    for (name, value) in more {
        if !metadata.contains_key(&name) {
            added.push(name.clone());
            metadata.insert(name, value);
        }
    }
    added
}

/// Takes these fields out of a message's metadata again, as a request has them.
pub fn take_metadata(message: &mut wire::Message, names: &[String]) -> Struct {
    let Some(Struct(metadata)) = &mut message.metadata else { return Struct::default() };
    let taken = names.iter().filter_map(|name| metadata.remove_entry(name)).collect();
    if metadata.is_empty() {
        message.metadata = None;
    }
    Struct(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trunkline_types::Partition;

    fn place() -> Place<'static> {
        let task = MessageId::from_parts(1, Partition(0), 7);
        Place { task, context: "c", at: WallTime(5) }
    }

    fn message(part: &serde_json::Value) -> wire::Message {
        let message = json!({"messageId": "m-1", "role": "ROLE_USER", "parts": [part]});
        serde_json::from_value(message).unwrap()
    }

    fn back(payload: &Payload) -> wire::Message {
        to_message(payload, wire::Role::User, place()).unwrap()
    }

    #[test]
    fn one_plain_part_is_a_payload_that_any_agent_reads() {
        for (part, kind, data, shown) in [
            (json!({"text": "hi"}), "text/plain; charset=utf-8", "hi", "text/plain"),
            (
                json!({"text": "# a", "mediaType": "text/markdown"}),
                "text/markdown",
                "# a",
                "text/markdown",
            ),
            (json!({"data": {"n": 5}}), "application/json", r#"{"n":5}"#, "application/json"),
            (json!({"data": null}), "application/json", "null", "application/json"),
            (json!({"raw": "AAE=", "mediaType": "image/png"}), "image/png", "\0\u{1}", "image/png"),
        ] {
            let sent = message(&part);
            let payload = to_payload(sent.clone());
            assert_eq!(payload.content_type, format!("{kind}; message-id=\"m-1\""));
            assert_eq!(payload.to_text(), data);
            let back = back(&payload);
            assert_eq!((back.message_id.as_str(), back.context_id.as_str()), ("m-1", "c"));
            assert_eq!(back.task_id, place().task.to_string());
            assert_eq!(back.parts[0].content, sent.parts[0].content);
            assert_eq!(back.parts[0].media_type, shown);
        }
    }

    #[test]
    fn whatever_is_richer_travels_whole_and_comes_back_as_it_was() {
        for part in [
            json!({"url": "https://example.com/a.pdf"}),
            json!({"text": "x", "filename": "x.txt"}),
            json!({"text": "x", "metadata": {"a": 1}}),
            json!({"text": "{}", "mediaType": "application/json"}),
            json!({"raw": "e30=", "mediaType": "application/json"}),
            json!({"data": {}, "mediaType": "text/plain"}),
            json!({"data": {"role": 1}, "mediaType": WHOLE}),
            json!({"text": "x", "mediaType": "text/\"quoted\""}),
        ] {
            let sent = message(&part);
            let payload = to_payload(sent.clone());
            assert_eq!(payload.content_type, WHOLE);
            let back = back(&payload);
            assert_eq!((&back.parts, &back.message_id), (&sent.parts, &sent.message_id));
        }
        let mut sent = message(&json!({"text": "x"}));
        sent.message_id = "an \"odd\" id".into();
        assert_eq!(back(&to_payload(sent.clone())).message_id, sent.message_id);
    }

    #[test]
    fn what_an_agent_says_has_the_same_id_every_time_and_bytes_that_are_no_text_are_raw() {
        let one = back(&Payload::text("answer"));
        assert_eq!(one, back(&Payload::text("answer")));
        assert_ne!(one.message_id, back(&Payload::text("another")).message_id);
        let raw = back(&Payload::from(vec![0xff, 0xfe]));
        assert_eq!(raw.parts[0].content, Some(Content::Raw(vec![0xff, 0xfe])));
        let bare = back(&Payload::from(b"stdout".to_vec()));
        assert_eq!(bare.parts[0].content, Some(Content::Text("stdout".into())));
    }

    #[test]
    fn a_part_of_an_artifact_comes_back_as_it_was() {
        for (part, kind) in [
            (json!({"text": "hi"}), "text/plain; charset=utf-8"),
            (json!({"text": "# a", "mediaType": "text/markdown"}), "text/markdown"),
            (json!({"data": {"n": 5}}), "application/json"),
            (json!({"raw": "AAE=", "mediaType": "image/png"}), "image/png"),
            (json!({"raw": "aGk=", "mediaType": "text/plain"}), WHOLE_PART),
            (json!({"url": "https://example.com/a.pdf"}), WHOLE_PART),
            // Not to be taken for an artifact of our own making.
            (json!({"data": {"parts": []}, "mediaType": WHOLE}), WHOLE_PART),
            (json!({"data": {"text": "x"}, "mediaType": WHOLE_PART}), WHOLE_PART),
            (json!({"text": "x", "filename": "x.txt"}), WHOLE_PART),
            (json!({"text": "x", "metadata": {"a": 1}}), WHOLE_PART),
        ] {
            let sent: Part = serde_json::from_value(part).unwrap();
            let payload = of_part(&sent);
            assert_eq!(payload.content_type, kind);
            let [back] = &to_artifact(&payload).unwrap().parts[..] else { panic!("{kind}") };
            assert_eq!((&back.content, &back.metadata), (&sent.content, &sent.metadata));
            assert_eq!(back.filename, sent.filename);
        }
        let broken = Payload::new(WHOLE_PART, "{}");
        assert!(matches!(to_artifact(&broken).unwrap().parts[0].content, Some(Content::Data(_))));
    }

    #[test]
    fn a_message_to_an_agent_elsewhere_keeps_its_id_or_has_one_of_its_own() {
        let task = place().task;
        let named = to_outgoing(task, 0, &to_payload(message(&json!({"text": "hi"})))).unwrap();
        assert_eq!((named.message_id.as_str(), named.task_id.as_str()), ("m-1", ""));
        assert_eq!((named.context_id.as_str(), named.role()), ("", wire::Role::User));
        let plain = to_outgoing(task, 2, &Payload::text("hi")).unwrap();
        assert_eq!(plain.message_id, format!("{task}-2"));
    }

    #[test]
    fn an_agent_may_answer_with_a_whole_message_and_is_told_apart_from_one_that_does_not() {
        let whole = Payload::new(WHOLE, r#"{"parts":[{"text":"a"},{"data":[1]}]}"#);
        let said = to_message(&whole, wire::Role::Agent, place()).unwrap();
        assert_eq!((said.parts.len(), said.role()), (2, wire::Role::Agent));
        assert!(!said.message_id.is_empty());
        for broken in ["{", "{}", r#"{"parts":[]}"#, r#"{"parts":[{}]}"#] {
            let fault = to_message(&Payload::new(WHOLE, broken), wire::Role::Agent, place());
            assert_eq!(fault.unwrap_err().kind, FaultKind::InvalidAgentResponse, "{broken}");
            let fault = to_artifact(&Payload::new(WHOLE, broken));
            assert_eq!(fault.unwrap_err().kind, FaultKind::InvalidAgentResponse, "{broken}");
        }
    }

    #[test]
    fn an_agent_says_whether_its_answer_is_told_by_itself() {
        let said = |kind: &str| Payload::new(kind, r#"{"parts":[{"text":"a"}]}"#);
        for kind in ["application/a2a+json; as=message", "Application/A2A+JSON;AS=Message ;x=y"] {
            assert!(is_bare(&said(kind)), "{kind}");
            assert!(to_message(&said(kind), wire::Role::Agent, place()).is_ok());
        }
        for kind in [WHOLE, "application/json; as=message", "application/a2a+json; as=task"] {
            assert!(!is_bare(&said(kind)), "{kind}");
        }
    }

    #[test]
    fn a_message_that_is_told_by_itself_comes_back_as_it_was() {
        for part in [json!({"text": "hi"}), json!({"data": 5}), json!({"url": "https://x/f"})] {
            let sent = message(&part);
            let payload = to_bare_payload(sent.clone());
            assert!(is_bare(&payload) && !is_bare(&to_payload(sent.clone())), "{part}");
            let back = back(&payload);
            assert_eq!(back.message_id, sent.message_id);
            assert_eq!(back.parts[0].content, sent.parts[0].content);
            assert!(!back.parts[0].media_type.contains("as="), "{part}");
        }
    }

    #[test]
    fn a_piece_of_an_artifact_may_be_whole() {
        let whole = r#"{"parts":[{"url":"u","filename":"f"},{"text":"x"}],"description":"d"}"#;
        let artifact = to_artifact(&Payload::new(WHOLE, whole)).unwrap();
        assert_eq!((artifact.parts.len(), artifact.description.as_str()), (2, "d"));
        let json = to_artifact(&Payload::new("application/json", whole)).unwrap();
        assert!(matches!(json.parts[0].content, Some(Content::Data(_))));
    }
}
