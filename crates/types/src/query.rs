//! Questions to a broker and their answers. An answer never shows what a crash could take back.

use crate::session::LetterAddress;
use crate::{
    AgentId, AgentInfo, AttemptNote, ContextId, ContextSnapshot, InboxAddress, InboxInfo,
    MessageId, MessageStatus, Presence, Publish, ScheduleInfo, ScheduleName, SkillName, Stats,
    TaskSnapshot, TaskState, WallTime,
};
use smol_str::SmolStr;
use std::sync::Arc;

/// A question to a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// One task.
    Task {
        /// Its id.
        id: MessageId,
        /// How many of its latest messages to show with it: as many as are kept if nothing is
        /// said, none for 0.
        history_length: Option<u32>,
    },
    /// One conversation.
    Context {
        /// Its id.
        id: ContextId,
        /// How many of its latest messages to show: as many as are kept if nothing is said, none
        /// for 0.
        history_length: Option<u32>,
    },
    /// Tasks, newest first.
    Tasks(TaskFilter),
    /// Agents in order of their ids.
    Agents(AgentFilter),
    /// Dead letters, newest first.
    DeadLetters(DeadLetterFilter),
    /// A message of any kind.
    Message(MessageId),
    /// One inbox and its settings.
    Inbox(InboxAddress),
    /// Schedules in order of their names.
    Schedules(ScheduleFilter),
    /// Figures.
    Stats,
}

impl Query {
    /// One task, without its messages.
    pub const fn task(id: MessageId) -> Self {
        Self::Task { id, history_length: Some(0) }
    }
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Query::Task`].
    Task(Box<TaskSnapshot>),
    /// To [`Query::Context`].
    Context(Box<ContextSnapshot>),
    /// To [`Query::Tasks`].
    Tasks(TaskPage),
    /// To [`Query::Agents`].
    Agents(AgentPage),
    /// To [`Query::DeadLetters`].
    DeadLetters(DeadLetterPage),
    /// To [`Query::Message`].
    Message(Box<MessageStatus>),
    /// To [`Query::Inbox`].
    Inbox(Box<InboxInfo>),
    /// To [`Query::Schedules`].
    Schedules(SchedulePage),
    /// To [`Query::Stats`].
    Stats(Box<Stats>),
}

/// Which tasks to list. Every field that is set narrows the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskFilter {
    /// Only tasks in one of these states; empty for any.
    pub states: Vec<TaskState>,
    /// Only tasks sent to this skill.
    pub skill: Option<SkillName>,
    /// Only tasks sent to this agent, or held by it now or last.
    pub agent: Option<AgentId>,
    /// Only tasks of this conversation.
    pub context_id: Option<ContextId>,
    /// Only this task and its descendants, if it is a root: the first ancestor of others.
    pub root_id: Option<MessageId>,
    /// Only tasks that were accepted at this time or later.
    pub since: Option<WallTime>,
    /// Only tasks that were accepted before this time.
    pub until: Option<WallTime>,
    /// Only tasks older than this one: the cursor of the page before.
    pub before: Option<MessageId>,
    /// At most this many, 1 to 1,000; 0 stands for 100.
    pub limit: u32,
    /// Only tasks whose state changed last at this time or later.
    pub changed_since: Option<WallTime>,
    /// No tasks sent to one of these agents, at most [`TaskFilter::MOST_EXCEPT`], or held by one now
    /// or last.
    pub except: Vec<AgentId>,
    /// Latest change first instead of newest first. The page then says how many there are in all.
    pub by_change: bool,
    /// With `by_change`, only tasks behind this one: the cursor of the page before.
    pub changed_before: Option<Change>,
}

impl TaskFilter {
    /// How many agents a list can leave out at most.
    pub const MOST_EXCEPT: usize = 8;
}

/// A place in the order of latest changes. A task that changes moves to its front, so that whoever
/// reads page after page misses none that stays as it is, and meets none twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// When the task's state changed last.
    pub at: WallTime,
    /// Which task it is.
    pub task: MessageId,
}

impl Change {
    /// Where a task is in that order.
    pub const fn of(task: &TaskSnapshot) -> Self {
        Self { at: task.updated_at, task: task.id }
    }
}

/// A page of tasks. It ends early when it has about 4 MiB, and when many tasks were looked at for it
/// (10,000 in memory, from 1,400 on disk), so that it may be empty although there is more: there is
/// none only once `next` is `None`. By conversation and by root, tasks are found without looking at
/// others. By latest change, all tasks in memory are looked at, and `next_change` goes on instead.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskPage {
    /// Newest first, by their ids, or latest change first; without their messages.
    pub tasks: Vec<TaskSnapshot>,
    /// The cursor for the next page, if there is more. By latest change, only the engine has one: it
    /// has not looked at what is older yet.
    pub next: Option<MessageId>,
    /// By latest change, the cursor for the next page, if there is more.
    pub next_change: Option<Change>,
    /// By latest change, how many tasks fit the filter, whatever the cursor. `None` for a filter by
    /// skill, root or time of acceptance, which would have to be counted one by one. A task that ends
    /// while the list is made may be counted twice.
    pub total: Option<u64>,
}

/// Which agents to list. Every field that is set narrows the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentFilter {
    /// Only this agent.
    pub id: Option<AgentId>,
    /// Only agents that offer this skill.
    pub skill: Option<SkillName>,
    /// Only agents of this type.
    pub agent_type: Option<SmolStr>,
    /// Only agents with this capability.
    pub capability: Option<SmolStr>,
    /// Only agents with all of these labels.
    pub labels: Vec<(SmolStr, SmolStr)>,
    /// Only agents that are so present.
    pub presence: Option<Presence>,
    /// Only agents whose ids come after this one: the cursor of the page before.
    pub after: Option<AgentId>,
    /// At most this many, 1 to 1,000; 0 stands for 100.
    pub limit: u32,
}

/// A page of agents. It ends early when it has about 4 MiB, but never empty while there is more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentPage {
    /// In order of their ids.
    pub agents: Vec<AgentInfo>,
    /// The cursor for the next page, if there is more.
    pub next: Option<AgentId>,
}

/// Which dead letters to list. Every field that is set narrows the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only this one.
    pub id: Option<MessageId>,
    /// Only those of this inbox.
    pub inbox: Option<InboxAddress>,
    /// Only those that this agent attempted.
    pub agent: Option<AgentId>,
    /// Only those whose reason contains this text.
    pub reason: Option<String>,
    /// Only those that came here at this time or later.
    pub since: Option<WallTime>,
    /// Only those that came here before this time.
    pub until: Option<WallTime>,
    /// Only those older than this: the cursor of the page before. It says nothing else; a restart of
    /// the broker changes nothing about it.
    pub before: Option<u64>,
    /// At most this many, 1 to 1,000; 0 stands for 100.
    pub limit: u32,
}

/// A page of dead letters. It ends early when it has about 4 MiB, and when it has looked at many
/// letters on disk that are not wanted: it may then have few of them or none, and there may be more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterPage {
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// The cursor for the next page, if there is more.
    pub next: Option<u64>,
}

/// An envelope that ran out of attempts or was dead-lettered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// What was sent.
    pub publish: Arc<Publish>,
    /// The inbox it was in.
    pub inbox: InboxAddress,
    /// Why it is here.
    pub reason: String,
    /// When it came here.
    pub at: WallTime,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// What became of every attempt.
    pub attempts: Vec<AttemptNote>,
}

impl DeadLetter {
    /// What names this dead letter and no other.
    pub fn address(&self) -> LetterAddress {
        LetterAddress { id: self.publish.envelope.id, inbox: Some(self.inbox.clone()) }
    }
}

/// Which schedules to list. Every field that is set narrows the list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScheduleFilter {
    /// Only this one.
    pub name: Option<ScheduleName>,
    /// Only those whose names come after this one: the cursor of the page before.
    pub after: Option<ScheduleName>,
    /// At most this many, 1 to 1,000; 0 stands for 100.
    pub limit: u32,
}

/// A page of schedules. It ends early when it has about 4 MiB, but never empty while there is
/// more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SchedulePage {
    /// In order of their names.
    pub schedules: Vec<ScheduleInfo>,
    /// The cursor for the next page, if there is more.
    pub next: Option<ScheduleName>,
}
