//! Requests to several agents and their answers.

use crate::decode::{all, each, id_bytes, message_id, name, required};
use crate::v1::{self, gather::Rule, gathered_part};
use crate::{DecodeError, FRAME_BYTES, FRAME_FULL_BYTES};
use trunkline_types::{Gather, GatherRule, Gathered, GatheredPart, Payload};

impl From<Gather> for v1::Gather {
    fn from(Gather { rule, reply_bytes }: Gather) -> Self {
        let rule = match rule {
            GatherRule::First => Rule::First(v1::Nothing {}),
            GatherRule::All => Rule::All(v1::Nothing {}),
            GatherRule::Quorum(count) => Rule::Quorum(count),
        };
        Self { rule: Some(rule), reply_bytes: Some(reply_bytes) }
    }
}

impl From<v1::Gather> for Gather {
    fn from(v1::Gather { rule, reply_bytes }: v1::Gather) -> Self {
        let rule = match rule {
            Some(Rule::First(v1::Nothing {})) => GatherRule::First,
            None | Some(Rule::All(v1::Nothing {})) => GatherRule::All,
            Some(Rule::Quorum(count)) => GatherRule::Quorum(count),
        };
        Self { rule, reply_bytes: reply_bytes.unwrap_or(Self::REPLY_BYTES) }
    }
}

/// Answers are bounded by what the request says and reasons each for itself, so that thousands of
/// agents that fail at length are more than a frame holds. Then their reasons are shortened.
impl From<Gathered> for v1::Gathered {
    fn from(Gathered { request, complete, mut parts }: Gathered) -> Self {
        if parts.iter().map(size).sum::<usize>() > FRAME_BYTES - FRAME_FULL_BYTES {
            parts.iter_mut().for_each(shorten);
        }
        Self { request: id_bytes(request), complete, parts: each(parts) }
    }
}

impl TryFrom<v1::Gathered> for Gathered {
    type Error = DecodeError;
    fn try_from(
        v1::Gathered { request, complete, parts }: v1::Gathered,
    ) -> Result<Self, DecodeError> {
        let request = message_id("gathered.request", &request)?;
        Ok(Self { request, complete, parts: all(parts)? })
    }
}

/// How long a shortened reason may be, in bytes.
const SHORT: usize = 64;

/// About what a part takes in a frame.
fn size(GatheredPart { agent, result }: &GatheredPart) -> usize {
    let result = match result {
        Ok(payload) => payload.content_type.len() + payload.data.len(),
        Err(failure) => failure.reason.len(),
    };
    // Keys, lengths and the code.
    agent.as_str().len() + result + 32
}

fn shorten(part: &mut GatheredPart) {
    if let Err(failure) = &mut part.result
        && failure.reason.len() > SHORT
    {
        failure.reason.truncate(failure.reason.floor_char_boundary(SHORT));
        failure.reason.push('…');
    }
}

impl From<GatheredPart> for v1::GatheredPart {
    fn from(GatheredPart { agent, result }: GatheredPart) -> Self {
        let result = match result {
            Ok(answer) => gathered_part::Result::Answer(answer.into()),
            Err(failure) => gathered_part::Result::Failure(failure.into()),
        };
        Self { agent: agent.to_string(), result: Some(result) }
    }
}

impl TryFrom<v1::GatheredPart> for GatheredPart {
    type Error = DecodeError;
    fn try_from(v1::GatheredPart { agent, result }: v1::GatheredPart) -> Result<Self, DecodeError> {
        Ok(Self {
            agent: name("gathered_part.agent", &agent)?,
            result: match required("gathered_part.result", result)? {
                gathered_part::Result::Answer(answer) => Ok(Payload::try_from(answer)?),
                gathered_part::Result::Failure(failure) => Err(failure.try_into()?),
            },
        })
    }
}
