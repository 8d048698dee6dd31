//! What several commands take alike: where something goes, and its payload.

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::parse_size;
use crate::output::{note, units};
use clap::Args;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use trunkline_content::{Compression, compress};
use trunkline_types::{Destination, Encoding, Payload, SkillName, Topic};

/// Where something goes.
#[derive(Args, Debug)]
#[group(id = "destination", required = true, multiple = false)]
pub(crate) struct Target {
    /// Destination: agent:ID, skill:NAME, topic:A.B.C, agents:ID,ID or all.
    #[arg(long, value_name = "DEST")]
    to: Option<Destination>,
    /// One of the agents that offer this skill.
    #[arg(long)]
    skill: Option<SkillName>,
    /// All subscribers of this topic.
    #[arg(long)]
    topic: Option<Topic>,
}

impl Target {
    /// The one of the three that was given.
    pub(crate) fn destination(self) -> Result<Destination, CliError> {
        let Self { to, skill, topic } = self;
        let to = to.or(skill.map(Destination::Skill)).or(topic.map(Destination::Topic));
        to.ok_or_else(|| CliError::usage("no destination; give --to, --skill or --topic"))
    }
}

/// The payload.
#[derive(Args, Debug)]
pub(crate) struct Input {
    #[command(flatten)]
    source: Source,
    /// Take the payload from stdin. Without any of the three it is empty.
    #[arg(value_name = "-", value_parser = ["-"], group = "payload", help_heading = "Payload")]
    stdin: Option<String>,
}

/// A payload from the command line or a file.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// Take the payload from this file.
    #[arg(long, value_name = "FILE", group = "payload", help_heading = "Payload")]
    file: Option<PathBuf>,
    /// This text is the payload.
    #[arg(long, value_name = "TEXT", group = "payload", help_heading = "Payload")]
    data: Option<String>,
    /// What the payload is; by default text/plain if it is UTF-8.
    #[arg(long, value_name = "TYPE", value_parser = media_type, help_heading = "Payload")]
    content_type: Option<String>,
    #[command(flatten)]
    packing: Packing,
}

/// How payloads are compressed.
#[derive(Args, Debug)]
pub(crate) struct Packing {
    /// Compress the payload (`agent`: of replies and results) with gzip, zstd or lz4, if that makes
    /// it smaller.
    #[arg(long, value_name = "ENCODING", value_parser = compression, help_heading = "Payload")]
    compress: Option<Encoding>,
    /// Compress only a payload that has more bytes than this [default: 0].
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        value_parser = parse_size,
        requires = "compress",
        help_heading = "Payload"
    )]
    compress_above: Option<u64>,
}

impl Input {
    /// Reads the payload.
    pub(crate) fn payload(self) -> Result<Payload, CliError> {
        let Self { source, stdin } = self;
        if stdin.is_none() {
            return Ok(source.payload()?.unwrap_or_default());
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
            CliError::new(Exit::General, format_args!("cannot read stdin: {error}"))
        })?;
        Ok(source.describe(bytes))
    }
}

impl Source {
    /// Reads the payload, if there is any word of one.
    pub(crate) fn payload(mut self) -> Result<Option<Payload>, CliError> {
        let bytes = match (self.file.take(), self.data.take()) {
            (Some(path), _) => read_file(&path)?,
            (None, Some(data)) => data.into_bytes(),
            (None, None) if self.content_type.is_none() => return Ok(None),
            (None, None) => Vec::new(),
        };
        Ok(Some(self.describe(bytes)))
    }

    /// Says what the bytes are, and compresses them if asked to.
    fn describe(self, bytes: Vec<u8>) -> Payload {
        let payload = match self.content_type {
            Some(content_type) => Payload::new(content_type, bytes),
            None if bytes.is_empty() => Payload::default(),
            None => match String::from_utf8(bytes) {
                Ok(text) => Payload::text(text),
                Err(error) => Payload::new("application/octet-stream", error.into_bytes()),
            },
        };
        let Some(compression) = self.packing.compression() else { return payload };
        let Compression { encoding, above } = compression;
        let wanted = payload.data.len() > above;
        let packed = compress(payload, &compression);
        if wanted && packed.encoding == Encoding::Identity {
            note(format_args!("note: {encoding} makes the payload no smaller; it is sent plain"));
        }
        packed
    }
}

impl Packing {
    /// What was asked for, if anything was.
    pub(crate) fn compression(&self) -> Option<Compression> {
        let above = usize::try_from(self.compress_above.unwrap_or(0)).unwrap_or(usize::MAX);
        self.compress.map(|encoding| Compression { encoding, above })
    }
}

/// Reads a file that the command line names.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| {
        CliError::new(Exit::Usage, format_args!("cannot read {}: {error}", path.display()))
    })
}

/// Reads a media type; the error says what one looks like.
pub(crate) fn media_type(text: &str) -> Result<String, String> {
    match text.parse::<mime::Mime>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let text = units::shown(text);
            Err(format!("'{text}' is no media type such as application/json: {error}"))
        }
    }
}

fn compression(text: &str) -> Result<Encoding, String> {
    match text.parse() {
        Ok(Encoding::Identity) | Err(_) => {
            let text = units::shown(text);
            Err(format!("'{text}' compresses nothing; it is one of gzip, zstd, lz4"))
        }
        Ok(encoding) => Ok(encoding),
    }
}
