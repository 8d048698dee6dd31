//! What a task asks of its handler, and what must come of it.
//!
//! Everything is in the payload, so that whoever handles it, in this process or another, needs
//! nothing else, and so that a reply can be checked by who knows the payload alone.

use std::fmt::Write;
use trunkline_types::TaskState;

/// Skill of the workers in this process.
pub(super) const WORK: &str = "torture-work";
/// Skill of the executables: they answer with the payload in capitals.
pub(super) const UPPER: &str = "torture-upper";
/// Skill of the agent that answers plain requests.
pub(super) const ECHO: &str = "torture-echo";

/// What a task asks of its handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// Answer.
    Answer,
    /// Ask another agent, then answer.
    Nested,
    /// Fail the first attempt, then answer.
    Retry,
    /// Fail for good.
    Fail,
    /// Give up: a dead letter.
    Dead,
    /// Answer with the payload in capitals.
    Upper,
    /// Never return from the first attempt, then answer.
    Hang,
    /// Answer when let go.
    Hold,
    /// Stop the process of the first attempt, then answer with the payload in capitals.
    Stop,
}

impl Plan {
    const ALL: [Self; 9] = [
        Self::Answer,
        Self::Nested,
        Self::Retry,
        Self::Fail,
        Self::Dead,
        Self::Upper,
        Self::Hang,
        Self::Hold,
        Self::Stop,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Nested => "nested",
            Self::Retry => "retry",
            Self::Fail => "fail",
            Self::Dead => "dead",
            Self::Upper => "upper",
            Self::Hang => "hang",
            Self::Hold => "hold",
            Self::Stop => "stop",
        }
    }

    /// A payload that asks for this and is like no other with another serial number.
    pub(super) fn payload(self, serial: &str, filler: usize) -> String {
        let mut text = format!("{} {serial} ", self.word());
        for n in 0..filler {
            // Writing to a string does not fail.
            let _ = write!(text, "w{n:x}.");
        }
        text
    }

    /// What a payload asks for; `None` if it is none of ours.
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        let word = payload.split(|byte| *byte == b' ').next()?;
        Self::ALL.into_iter().find(|plan| plan.word().as_bytes() == word)
    }

    /// The skill that does it.
    pub(super) fn skill(self) -> &'static str {
        if self.is_for_executables() { UPPER } else { WORK }
    }

    /// Whether executables do it, who settle in processes of their own.
    pub(super) fn is_for_executables(self) -> bool {
        matches!(self, Self::Upper | Self::Stop)
    }

    /// The state in which it must end.
    pub(super) fn end(self) -> TaskState {
        match self {
            Self::Fail | Self::Dead => TaskState::Failed,
            Self::Answer
            | Self::Nested
            | Self::Retry
            | Self::Upper
            | Self::Hang
            | Self::Hold
            | Self::Stop => TaskState::Completed,
        }
    }

    /// Whether a result is right for a payload. A run of a handler adds its own mark after a `#`,
    /// so that two runs never say the same.
    pub(super) fn accepts(self, payload: &[u8], result: &[u8]) -> bool {
        match self {
            Self::Upper | Self::Stop => result == payload.to_ascii_uppercase(),
            _ => result.split(|byte| *byte == b'#').next() == Some(digest(payload).as_bytes()),
        }
    }
}

/// What a handler of this process answers to a payload, before its own mark (64-bit FNV-1a).
pub(super) fn digest(payload: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", payload.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_plan_and_which_results_are_right() {
        for plan in Plan::ALL {
            let payload = plan.payload("0-17", 3);
            assert_eq!(Plan::of(payload.as_bytes()), Some(plan));
        }
        let payload = b"answer 0-17 w0.";
        let right = format!("{}#5", digest(payload));
        assert!(Plan::Answer.accepts(payload, right.as_bytes()));
        assert!(!Plan::Answer.accepts(b"answer 0-18 w0.", right.as_bytes()));
        assert!(Plan::Upper.accepts(b"upper 1 w0.", b"UPPER 1 W0."));
        assert!(!Plan::Upper.accepts(b"upper 1 w0.", b"UPPER 2 W0."));
        assert_eq!(Plan::of(b"other"), None);
    }
}
