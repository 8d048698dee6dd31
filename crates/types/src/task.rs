//! Tasks: states, the numbered event sequence, snapshots.

use crate::kind::{UnknownWord, words};
use crate::{
    AgentId, AttemptNote, ContextId, Destination, Epoch, Failure, FailureCode, History, MessageId,
    Payload, WallTime,
};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;

words!(
    /// Where a task is in its life (the states of A2A 1.0).
    TaskState, "task state",
    "submitted, working, input-required, auth-required, completed, failed, canceled, rejected",
    {
        /// Accepted; nobody holds it.
        Submitted = 1 "submitted",
        /// An agent holds it.
        Working = 2 "working",
        /// Waits for more input from its caller.
        InputRequired = 3 "input-required",
        /// Waits for credentials from its caller.
        AuthRequired = 4 "auth-required",
        /// Done.
        Completed = 5 "completed",
        /// Failed, expired or dead-lettered.
        Failed = 6 "failed",
        /// Called off.
        Canceled = 7 "canceled",
        /// Declined by the agent.
        Rejected = 8 "rejected",
    }
);

impl TaskState {
    /// Whether the state is final.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether a task may go from this state to `next`. Going back to `submitted` is how a retry
    /// shows; a terminal state is final.
    pub const fn may_become(self, next: Self) -> bool {
        use TaskState::{
            AuthRequired, Canceled, Completed, Failed, InputRequired, Rejected, Submitted, Working,
        };
        match self {
            Submitted => matches!(next, Working | Canceled | Failed),
            Working => !matches!(next, Working),
            InputRequired | AuthRequired => matches!(next, Submitted | Canceled | Failed),
            Completed | Failed | Canceled | Rejected => false,
        }
    }
}

/// How far a task is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What is being done, for people.
    pub text: String,
}

/// A piece of an artifact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArtifactChunk {
    /// Which artifact of the task.
    pub name: SmolStr,
    /// Whether it continues the artifact; otherwise it begins it anew.
    pub append: bool,
    /// Whether it is the artifact's last chunk.
    pub last: bool,
    /// The bytes and what they are.
    pub payload: Payload,
}

/// An entry in a task's own numbered sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskEvent {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// The broker's epoch when it was made.
    pub epoch: Epoch,
    /// When it was made.
    pub at: WallTime,
    /// What happened.
    pub body: TaskEventBody,
}

/// What happened to a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskEventBody {
    /// The state changed.
    Status {
        /// The new state.
        state: TaskState,
        /// Why, where there is a reason.
        reason: Option<String>,
    },
    /// A piece of a result.
    Artifact(ArtifactChunk),
    /// A message that belongs to the task: its caller's further input, or the agent's question.
    Message {
        /// Who said it; `None` for a caller that is no agent.
        from: Option<AgentId>,
        /// What was said.
        payload: Payload,
    },
}

/// What a watcher of a task is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskUpdate {
    /// The next event of the sequence.
    Event(TaskEvent),
    /// How far the task is; not numbered, only the latest counts.
    Progress(Progress),
    /// Events between two numbers are gone.
    Gap {
        /// The first missing number.
        first: u64,
        /// The last missing number.
        last: u64,
    },
}

/// A task as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskSnapshot {
    /// The task's id, which is its envelope's.
    pub id: MessageId,
    /// Where it was sent.
    pub destination: Destination,
    /// Who sent it.
    pub source: Option<AgentId>,
    /// The conversation.
    pub context_id: Option<ContextId>,
    /// The envelope whose handling made it.
    pub causation_id: Option<MessageId>,
    /// The first ancestor.
    pub root_id: Option<MessageId>,
    /// Where it is in its life.
    pub state: TaskState,
    /// Why it is in that state, where there is a reason.
    pub reason: Option<String>,
    /// The agent that holds it or held it last.
    pub agent: Option<AgentId>,
    /// How many attempts were begun.
    pub attempts: u32,
    /// What became of the attempts that did not succeed, latest last; at most the last 16.
    pub notes: Vec<AttemptNote>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// The answer, once completed.
    pub result: Option<Payload>,
    /// The number of the latest event.
    pub last_event: u64,
    /// When it was accepted.
    pub created_at: WallTime,
    /// When its state changed last.
    pub updated_at: WallTime,
    /// What was said in it, as far as that was asked for: the message that made it, what its
    /// caller said later, what agents asked, the reply. Questions and what was said to them are
    /// kept as long as the events that tell of them.
    pub history: History,
}

/// The reason of a task whose time to live ended; [`TaskSnapshot::outcome`] tells expiry by it.
const EXPIRED: &str = "EXPIRED";

impl TaskSnapshot {
    /// How the task ended, as its sender was told; `None` while it goes on. A task that was
    /// dead-lettered shows as failed: its state and reason do not tell the two apart.
    pub fn outcome(&self) -> Option<Result<Payload, Failure>> {
        let code = match self.state {
            TaskState::Completed => return Some(Ok(self.result.clone().unwrap_or_default())),
            TaskState::Failed if self.reason.as_deref() == Some(EXPIRED) => FailureCode::Expired,
            TaskState::Failed => FailureCode::Failed,
            TaskState::Canceled => FailureCode::Canceled,
            TaskState::Rejected => FailureCode::Rejected,
            TaskState::Submitted
            | TaskState::Working
            | TaskState::InputRequired
            | TaskState::AuthRequired => return None,
        };
        Some(Err(Failure { code, reason: self.reason.clone().unwrap_or_default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    fn snapshot(state: TaskState, reason: Option<&str>) -> TaskSnapshot {
        TaskSnapshot {
            id: MessageId::from_parts(1, Partition(0), 1),
            destination: Destination::All,
            source: None,
            context_id: None,
            causation_id: None,
            root_id: None,
            state,
            reason: reason.map(str::to_owned),
            agent: None,
            attempts: 1,
            notes: Vec::new(),
            progress: None,
            result: None,
            last_event: 1,
            created_at: WallTime(0),
            updated_at: WallTime(0),
            history: History::default(),
        }
    }

    #[test]
    fn the_outcome_says_how_a_task_ended_and_nothing_before() {
        for &state in TaskState::ALL {
            assert_eq!(snapshot(state, None).outcome().is_some(), state.is_terminal(), "{state}");
        }
        for (state, reason, code) in [
            (TaskState::Failed, "no disk", FailureCode::Failed),
            (TaskState::Failed, "EXPIRED", FailureCode::Expired),
            (TaskState::Rejected, "not mine", FailureCode::Rejected),
            (TaskState::Canceled, "too late", FailureCode::Canceled),
        ] {
            let failure = Failure { code, reason: reason.to_owned() };
            assert_eq!(snapshot(state, Some(reason)).outcome(), Some(Err(failure)));
        }
        let done = snapshot(TaskState::Completed, None);
        assert_eq!(done.outcome(), Some(Ok(Payload::default())));
        let answered = TaskSnapshot { result: Some(Payload::text("42")), ..done };
        assert_eq!(answered.outcome(), Some(Ok(Payload::text("42"))));
    }

    #[test]
    fn terminal_states_are_final_and_every_other_state_has_a_way_out() {
        for &state in TaskState::ALL {
            let ways = TaskState::ALL.iter().filter(|&&next| state.may_become(next)).count();
            assert_eq!(ways == 0, state.is_terminal(), "{state}");
            assert!(!state.may_become(state), "{state}");
        }
    }
}
