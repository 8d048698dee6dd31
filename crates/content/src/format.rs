//! The content types that Trunkline knows by name.

use std::fmt;
use std::str::FromStr;
use trunkline_types::UnknownWord;

/// A content type that Trunkline knows by name. Payloads may be of any other as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Format {
    /// `application/json`, or any type that ends in `+json`.
    Json,
    /// `application/msgpack`.
    MsgPack,
    /// `application/octet-stream`: bytes of no known kind.
    Binary,
    /// `application/protobuf`.
    Protobuf,
    /// `text/plain; charset=utf-8`, or any other text.
    Text,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] =
        &[Self::Json, Self::MsgPack, Self::Binary, Self::Protobuf, Self::Text];

    /// The word used on the command line, in JSON and in the docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MsgPack => "msgpack",
            Self::Binary => "binary",
            Self::Protobuf => "protobuf",
            Self::Text => "text",
        }
    }

    /// The content type that payloads of the format are sent with.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MsgPack => "application/msgpack",
            Self::Binary => "application/octet-stream",
            Self::Protobuf => "application/protobuf",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// The format that a content type stands for, whatever its parameters and the case of its
    /// letters; `None` if it is empty or another one.
    ///
    /// ```
    /// use trunkline_content::Format;
    /// assert_eq!(Format::of("Application/JSON; charset=utf-8"), Some(Format::Json));
    /// assert_eq!(Format::of("application/a2a+json"), Some(Format::Json));
    /// assert_eq!(Format::of("image/png"), None);
    /// ```
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |names: &[&str]| names.iter().any(|name| essence.eq_ignore_ascii_case(name));
        // Content types are bytes of the sender's choice: compared without cutting into a letter.
        let starts = |prefix: &str| {
            let start = essence.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let ends = |suffix: &str| {
            let at = essence.len().checked_sub(suffix.len());
            let end = at.and_then(|at| essence.as_bytes().get(at..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
        };
        if is(&["application/json", "text/json"]) || ends("+json") {
            Some(Self::Json)
        } else if is(&["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"]) {
            Some(Self::MsgPack)
        } else if is(&["application/octet-stream"]) {
            Some(Self::Binary)
        } else if is(&[
            "application/protobuf",
            "application/x-protobuf",
            "application/vnd.google.protobuf",
        ]) {
            Some(Self::Protobuf)
        } else if starts("text/") {
            Some(Self::Text)
        } else {
            None
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.iter().copied().find(|format| format.as_str() == text).ok_or_else(|| {
            UnknownWord {
                what: "format",
                text: text.chars().take(64).collect(),
                words: "json, msgpack, binary, protobuf, text",
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_word_and_its_content_type() {
        for &format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
            assert_eq!(Format::of(format.content_type()), Some(format));
        }
        let error = "yaml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown format 'yaml'; it is one of json, msgpack, binary, protobuf, text"
        );
    }

    #[test]
    fn aliases_suffixes_and_foreign_types_are_told_apart() {
        for (text, format) in [
            ("application/x-msgpack", Some(Format::MsgPack)),
            ("application/vnd.google.protobuf", Some(Format::Protobuf)),
            ("application/PROBLEM+JSON;q=1", Some(Format::Json)),
            ("TEXT/csv", Some(Format::Text)),
            ("", None),
            ("ä", None),
            ("application/jsonlines", None),
        ] {
            assert_eq!(Format::of(text), format, "{text}");
        }
    }
}
