//! How a delivery ends, and what is said of one that went wrong.

use crate::kind::{UnknownWord, words};
use crate::{AgentId, Payload, Token, WallTime};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the holder of a delivery says about its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settle {
    /// Which delivery.
    pub token: Token,
    /// How it ends.
    pub outcome: Outcome,
}

/// How a delivery ends. The first three are final, `DeadLetter` is until a person redrives it;
/// after the others the envelope is delivered again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The work is done.
    Complete {
        /// The answer, if there is one.
        reply: Option<Payload>,
    },
    /// The work was done and failed; trying again would not help.
    Fail {
        /// Why.
        reason: String,
    },
    /// The agent declines the work.
    Reject {
        /// Why.
        reason: String,
    },
    /// This attempt failed; try again.
    Retry {
        /// Why.
        reason: String,
        /// When, counted from now; `None` for the broker's own backoff.
        delay: Option<Duration>,
    },
    /// Give it back at once; this was not an attempt.
    Release,
    /// The task waits for its caller; the lease ends.
    Pause {
        /// What is waited for.
        reason: PauseReason,
        /// What the caller is told.
        message: Option<Payload>,
    },
    /// Never again without a person.
    DeadLetter {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// The reason given, if this outcome has one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Fail { reason }
            | Self::Reject { reason }
            | Self::Retry { reason, .. }
            | Self::DeadLetter { reason } => Some(reason),
            Self::Complete { .. } | Self::Release | Self::Pause { .. } => None,
        }
    }
}

words!(
    /// What a paused task waits for.
    PauseReason, "pause reason", "input-required, auth-required",
    {
        /// More input from its caller.
        Input = 1 "input-required",
        /// Credentials from its caller.
        Auth = 2 "auth-required",
    }
);

/// Why a request has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Failure {
    /// Which class of reason, for programs.
    pub code: FailureCode,
    /// What the agent or the broker said.
    pub reason: String,
}

words!(
    /// How a request ended without an answer.
    FailureCode, "failure code", "failed, rejected, expired, dead-lettered, canceled, lost, \
     nobody-there, left-out",
    {
        /// The agent did the work and it failed.
        Failed = 1 "failed",
        /// The agent declined, or its inbox was full when answers were gathered.
        Rejected = 2 "rejected",
        /// Its time to live ended.
        Expired = 3 "expired",
        /// It ran out of attempts, or an agent gave it up.
        DeadLettered = 4 "dead-lettered",
        /// It was cancelled.
        Canceled = 5 "canceled",
        /// The broker went away with it: it was ephemeral.
        Lost = 6 "lost",
        /// Nobody was there to ask, and the sender wanted to know rather than wait.
        NobodyThere = 7 "nobody-there",
        /// There was an answer, but it was over the bound, alone or together with the others, or
        /// could not be decompressed.
        LeftOut = 8 "left-out",
    }
);

/// What became of one attempt that did not succeed, kept with the envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptNote {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The agent that held it.
    pub agent: Option<AgentId>,
    /// When it ended.
    pub at: WallTime,
    /// Why it did not succeed.
    pub reason: String,
}
