//! What a client says beside an answer to a task that waits: an answer has no headers of its own,
//! so that it travels as a parameter of the payload's content type.

use crate::endpoint::decoded;
use crate::fault::Fault;
use crate::hash::stable;
use smol_str::format_smolstr;
use std::fmt::Write;
use trunkline_types::Payload;

/// Before it in a content type.
const BESIDE: &str = "; a2a-beside=\"";
/// The longest that it may be, in bytes.
const LONGEST: usize = 4 << 10;

/// What a client says beside an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// What tells the key under which the answer is taken once; `None` without one.
    pub(crate) key: Option<u64>,
    /// The extensions that the client declares.
    pub extensions: Vec<String>,
    /// The media types that it takes.
    pub output_modes: Vec<String>,
    /// Which of the message's metadata came with the request and not with the message.
    pub of_request: Vec<String>,
}

impl Beside {
    /// What an answer says that is sent so.
    pub(crate) fn new(key: Option<&str>, extensions: &[String], output_modes: &[String]) -> Self {
        Self {
            key: key.map(|key| stable(key.as_bytes())),
            extensions: extensions.to_vec(),
            output_modes: output_modes.to_vec(),
            of_request: Vec::new(),
        }
    }

    /// What was said beside a payload; nothing beside one that is no answer of a client.
    pub fn of(payload: &Payload) -> Self {
        split(&payload.content_type).map_or_else(Self::default, |(_, said)| Self::read(said))
    }

    /// An answer together with what is said beside it.
    pub(crate) fn put_on(&self, mut payload: Payload) -> Result<Payload, Fault> {
        if *self == Self::default() {
            return Ok(payload);
        }
        let Self { key, extensions, output_modes, of_request } = self;
        let mut said = key.map(|key| format!("key={key:x}")).unwrap_or_default();
        let lists = [("extension", extensions), ("mode", output_modes), ("metadata", of_request)];
        for (name, values) in lists {
            for value in values {
                if !said.is_empty() {
                    said.push('&');
                }
                write!(said, "{name}={}", escaped(value)).expect("a text takes all");
            }
        }
        if said.len() > LONGEST {
            let why = format!(
                "has {} bytes beside an answer, with configuration.acceptedOutputModes and the \
                 names of metadata, the limit is {LONGEST}",
                said.len()
            );
            return Err(Fault::field("A2A-Extensions", why));
        }
        let kind = &payload.content_type;
        payload.content_type = format_smolstr!("{kind}{BESIDE}{said}\"");
        Ok(payload)
    }

    fn read(said: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in said.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "key" => read.key = u64::from_str_radix(value, 16).ok(),
                "extension" => read.extensions.extend(decoded(value)),
                "metadata" => read.of_request.extend(decoded(value)),
                "mode" => read.output_modes.extend(decoded(value)),
                _ => {}
            }
        }
        read
    }
}

/// A content type without what is said beside the payload.
pub(crate) fn without(content_type: &str) -> &str {
    split(content_type).map_or(content_type, |(kind, _)| kind)
}

fn split(content_type: &str) -> Option<(&str, &str)> {
    let (kind, said) = content_type.rsplit_once(BESIDE)?;
    Some((kind, said.strip_suffix('"')?))
}

/// A text without what ends a parameter, a value or a name.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"\\%&=;".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a text takes all");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_beside_an_answer_comes_back_and_leaves_the_content_type() {
        let plain = Payload::new("text/plain; message-id=\"m\"", "x");
        assert_eq!(Beside::default().put_on(plain.clone()), Ok(plain.clone()));
        assert_eq!(Beside::of(&plain), Beside::default());
        let extensions = ["urn:a".to_owned(), "https://b/?c=\"d\"&e%;\u{e4}".to_owned()];
        let modes = ["text/plain; charset=utf-8".to_owned()];
        let of_request = vec!["a b".to_owned()];
        let beside = Beside { of_request, ..Beside::new(Some("k"), &extensions, &modes) };
        let said = beside.put_on(plain.clone()).unwrap();
        assert_eq!(Beside::of(&said), beside);
        assert_eq!(without(&said.content_type), plain.content_type);
        assert_ne!(Beside::new(Some("l"), &extensions, &modes), beside);
        let many = vec!["a".repeat(100); 50];
        let fault = Beside::new(None, &many, &[]).put_on(plain).unwrap_err();
        assert!(fault.message.contains("the limit is 4096"), "{}", fault.message);
    }
}
