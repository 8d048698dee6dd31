//! Tokens, settlements, failures and refusals.

use crate::DecodeError;
use crate::convert::words;
use crate::decode::{millis, optional_name, required, text};
use crate::v1::{self, settle::Outcome as Wire};
use std::time::Duration;
use trunkline_types::{
    AttemptNote, Epoch, Failure, Outcome, Payload, Refusal, Settle, Token, WallTime,
};

impl From<Token> for v1::Token {
    fn from(token: Token) -> Self {
        Self { epoch: token.epoch.0, counter: token.counter }
    }
}

impl From<v1::Token> for Token {
    fn from(token: v1::Token) -> Self {
        Self { epoch: Epoch(token.epoch), counter: token.counter }
    }
}

impl From<Outcome> for Wire {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Complete { reply } => {
                Self::Complete(v1::Complete { reply: reply.map(Into::into) })
            }
            Outcome::Fail { reason } => Self::Fail(v1::Fail { reason }),
            Outcome::Reject { reason } => Self::Reject(v1::Reject { reason }),
            Outcome::Retry { reason, delay } => {
                Self::Retry(v1::Retry { reason, delay_ms: delay.map(millis) })
            }
            Outcome::Release => Self::Release(v1::Nothing {}),
            Outcome::Pause { reason, message } => Self::Pause(v1::Pause {
                reason: v1::PauseReason::from(reason).into(),
                message: message.map(Into::into),
            }),
            Outcome::DeadLetter { reason } => Self::DeadLetter(v1::GiveUp { reason }),
        }
    }
}

fn optional_payload(given: Option<v1::Payload>) -> Result<Option<Payload>, DecodeError> {
    given.map(Payload::try_from).transpose()
}

impl TryFrom<Wire> for Outcome {
    type Error = DecodeError;
    fn try_from(outcome: Wire) -> Result<Self, DecodeError> {
        Ok(match outcome {
            Wire::Complete(v1::Complete { reply }) => {
                Self::Complete { reply: optional_payload(reply)? }
            }
            Wire::Fail(v1::Fail { reason }) => Self::Fail { reason: text("fail.reason", reason)? },
            Wire::Reject(v1::Reject { reason }) => {
                Self::Reject { reason: text("reject.reason", reason)? }
            }
            Wire::Retry(v1::Retry { reason, delay_ms }) => Self::Retry {
                reason: text("retry.reason", reason)?,
                delay: delay_ms.map(Duration::from_millis),
            },
            Wire::Release(v1::Nothing {}) => Self::Release,
            Wire::Pause(v1::Pause { reason, message }) => Self::Pause {
                reason: words::pause_reason("pause.reason", reason)?,
                message: optional_payload(message)?,
            },
            Wire::DeadLetter(v1::GiveUp { reason }) => {
                Self::DeadLetter { reason: text("give_up.reason", reason)? }
            }
        })
    }
}

impl From<Settle> for v1::Settle {
    fn from(Settle { token, outcome }: Settle) -> Self {
        Self { token: Some(token.into()), outcome: Some(outcome.into()) }
    }
}

impl TryFrom<v1::Settle> for Settle {
    type Error = DecodeError;
    fn try_from(v1::Settle { token, outcome }: v1::Settle) -> Result<Self, DecodeError> {
        Ok(Self {
            token: required("settle.token", token)?.into(),
            outcome: required("settle.outcome", outcome)?.try_into()?,
        })
    }
}

impl From<Failure> for v1::Failure {
    fn from(Failure { code, reason }: Failure) -> Self {
        Self { code: v1::FailureCode::from(code).into(), reason }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = DecodeError;
    fn try_from(v1::Failure { code, reason }: v1::Failure) -> Result<Self, DecodeError> {
        Ok(Self {
            code: words::failure_code("failure.code", code)?,
            reason: text("failure.reason", reason)?,
        })
    }
}

impl From<AttemptNote> for v1::AttemptNote {
    fn from(AttemptNote { attempt, agent, at, reason }: AttemptNote) -> Self {
        let agent = agent.as_ref().map(ToString::to_string);
        Self { attempt, agent, ended_at_ms: at.0, reason }
    }
}

impl TryFrom<v1::AttemptNote> for AttemptNote {
    type Error = DecodeError;
    fn try_from(note: v1::AttemptNote) -> Result<Self, DecodeError> {
        Ok(Self {
            attempt: note.attempt,
            agent: optional_name("attempt_note.agent", note.agent.as_deref())?,
            at: WallTime(note.ended_at_ms),
            reason: text("attempt_note.reason", note.reason)?,
        })
    }
}

impl From<Refusal> for v1::Refusal {
    fn from(Refusal { code, message, retry_after }: Refusal) -> Self {
        let code = v1::RefusalCode::from(code).into();
        Self { code, message, retry_after_ms: retry_after.map(millis) }
    }
}

impl TryFrom<v1::Refusal> for Refusal {
    type Error = DecodeError;
    fn try_from(refusal: v1::Refusal) -> Result<Self, DecodeError> {
        Ok(Self {
            code: words::refusal_code("refusal.code", refusal.code)?,
            message: text("refusal.message", refusal.message)?,
            retry_after: refusal.retry_after_ms.map(Duration::from_millis),
        })
    }
}
