//! JSON Schemas: what the work of a skill has to fit, and what comes of it.

use crate::SkillName;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes that the text of a schema may have.
const MOST_BYTES: usize = 1 << 20;
/// How deep a schema may be nested: so deep that readers of Protobuf, which take 100 messages one
/// within the other, can still read it in a card of A2A, where a level is three of them.
const MOST_DEPTH: usize = 28;

/// A JSON Schema as text, which is a JSON object. Whether it is a schema that makes sense is for
/// whoever checks values by it. It is kept byte by byte, so that whoever makes one writes it without
/// blanks and with its names in order: the same schema is then the same text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonSchema(Arc<str>);

/// The schemas that an agent declares for one of its skills.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkillSchemas {
    /// Which skill.
    pub skill: SkillName,
    /// What its work has to fit.
    pub input: Option<JsonSchema>,
    /// What its answers fit.
    pub output: Option<JsonSchema>,
}

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonSchemaError {
    /// There is too much of it.
    #[error("the JSON Schema has {0} bytes, the limit is {MOST_BYTES}; shorten it")]
    Long(usize),
    /// It is JSON of another kind, or none.
    #[error("a JSON Schema is a JSON object, and this is none: {problem} at byte {at}")]
    NoObject {
        /// What is wrong.
        problem: &'static str,
        /// Where, counted from 0.
        at: usize,
    },
}

impl JsonSchema {
    /// Checks that a text is a JSON object and wraps it.
    ///
    /// # Errors
    /// [`JsonSchemaError`] if it is none, is nested deeper than 28 or is longer than 1 MiB.
    pub fn new(text: impl AsRef<str>) -> Result<Self, JsonSchemaError> {
        let text = text.as_ref();
        if text.len() > MOST_BYTES {
            return Err(JsonSchemaError::Long(text.len()));
        }
        let mut scan = Scan { text, at: 0 };
        match scan.object() {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(JsonSchemaError::NoObject { problem, at: scan.at }),
        }
    }

    /// The schema as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JsonSchema {
    type Err = JsonSchemaError;
    fn from_str(text: &str) -> Result<Self, JsonSchemaError> {
        Self::new(text)
    }
}

impl fmt::Display for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JsonSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads over JSON without making anything of it. What it takes every reader of JSON takes: no
/// halves of surrogate pairs, and no numbers that a double does not hold.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

type Scanned = Result<(), &'static str>;

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A whole text that is one object.
    fn object(&mut self) -> Scanned {
        self.blanks();
        if self.peek() != Some(b'{') {
            return Err("it does not begin with a brace");
        }
        // What ends each object or array that is open. A stack of its own, not the thread's.
        let mut open = Vec::new();
        loop {
            self.value(&mut open)?;
            loop {
                self.blanks();
                let Some(&end) = open.last() else {
                    return if self.peek().is_none() {
                        Ok(())
                    } else {
                        Err("something follows it")
                    };
                };
                if self.take(end) {
                    open.pop();
                } else if self.take(b',') {
                    if end == b'}' {
                        self.name()?;
                    }
                    break;
                } else {
                    return Err("a comma or an end is missing");
                }
            }
        }
    }

    /// A value, or the beginning of one up to the first value in it.
    fn value(&mut self, open: &mut Vec<u8>) -> Scanned {
        loop {
            self.blanks();
            let end = match self.peek() {
                Some(b'{') => b'}',
                Some(b'[') => b']',
                Some(b'"') => return self.string(),
                Some(b'-' | b'0'..=b'9') => return self.number(),
                _ => return self.word(),
            };
            self.at += 1;
            self.blanks();
            if open.len() == MOST_DEPTH {
                return Err("it is nested deeper than 28");
            }
            if self.take(end) {
                return Ok(());
            }
            open.push(end);
            if end == b'}' {
                self.name()?;
            }
        }
    }

    /// The name of an entry and its colon.
    fn name(&mut self) -> Scanned {
        self.blanks();
        self.string()?;
        self.blanks();
        if self.take(b':') { Ok(()) } else { Err("a colon is missing") }
    }

    fn word(&mut self) -> Scanned {
        let rest = &self.text[self.at..];
        let known = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        self.at += known.ok_or("a value is missing")?.len();
        Ok(())
    }

    fn number(&mut self) -> Scanned {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err("a number has no digits");
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err("a number has no digits");
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err("a number has no digits");
            }
        }
        let fits = self.text[start..self.at].parse().is_ok_and(f64::is_finite);
        if fits { Ok(()) } else { Err("a number is too large") }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Scanned {
        if !self.take(b'"') {
            return Err("a text is missing");
        }
        loop {
            match self.peek().ok_or("a text does not end")? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return Err("a text has a control character"),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Scanned {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => match self.unit()? {
                0xD800..0xDC00 => {
                    let pair = self.take(b'\\') && self.peek() == Some(b'u');
                    if !pair || !(0xDC00..0xE000).contains(&self.unit()?) {
                        return Err("a text has half a surrogate pair");
                    }
                }
                0xDC00..0xE000 => return Err("a text has half a surrogate pair"),
                _ => {}
            },
            _ => return Err("a text has an unknown escape"),
        }
        Ok(())
    }

    /// The four digits behind a `u`.
    fn unit(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at + 1..self.at + 5);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or("a text has an unknown escape")?;
        self.at += 5;
        u32::from_str_radix(digits, 16).map_err(|_checked_before| "a text has an unknown escape")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_json_object_and_kept_as_it_is() {
        for text in [
            "{}",
            " { } ",
            r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#,
            r#"{"a":[],"b":[[1,-2.5e+3,0],{}, true ,false,null],"c":"\u00e4\ud83d\ude00\n ä"}"#,
        ] {
            assert_eq!(JsonSchema::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused_with_its_place() {
        for (text, problem, place) in [
            ("", "begin with a brace", 0),
            ("true", "begin with a brace", 0),
            ("[{}]", "begin with a brace", 0),
            ("{", "text is missing", 1),
            ("{}{}", "something follows", 2),
            (r#"{"a"}"#, "colon is missing", 4),
            (r#"{"a":}"#, "value is missing", 5),
            (r#"{"a":1,}"#, "text is missing", 7),
            (r#"{"a":[1,]}"#, "value is missing", 8),
            (r#"{"a":[1}"#, "a comma or an end is missing", 7),
            (r#"{"a":01}"#, "a comma or an end is missing", 6),
            (r#"{"a":-}"#, "no digits", 6),
            (r#"{"a":1.}"#, "no digits", 7),
            (r#"{"a":1e}"#, "no digits", 7),
            (r#"{"a":1e999}"#, "too large", 10),
            (r#"{"a":NaN}"#, "value is missing", 5),
            (r#"{"a":"b"#, "does not end", 7),
            ("{\"a\":\"\n\"}", "control character", 6),
            (r#"{"a":"\x"}"#, "unknown escape", 7),
            (r#"{"a":"\u12"}"#, "unknown escape", 7),
            (r#"{"a":"\ud800"}"#, "half a surrogate", 12),
            (r#"{"a":"\ud800\u0041"}"#, "half a surrogate", 18),
            (r#"{"a":"\udc00"}"#, "half a surrogate", 12),
        ] {
            let error = JsonSchema::new(text).unwrap_err();
            let JsonSchemaError::NoObject { problem: told, at } = &error else {
                panic!("{text}: {error}")
            };
            assert!(told.contains(problem), "{text}: {error}");
            assert_eq!(*at, place, "{text}: {error}");
        }
    }

    #[test]
    fn length_and_depth_of_a_schema_are_bounded() {
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MOST_BYTES - 8));
        assert_eq!(long.len(), MOST_BYTES);
        JsonSchema::new(&long).unwrap();
        let error = JsonSchema::new(format!("{long} ")).unwrap_err();
        assert_eq!(error, JsonSchemaError::Long(MOST_BYTES + 1));
        let nested = |depth| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        JsonSchema::new(nested(MOST_DEPTH - 1)).unwrap();
        let error = JsonSchema::new(nested(MOST_DEPTH)).unwrap_err().to_string();
        assert!(error.contains("nested deeper than 28"), "{error}");
    }
}
