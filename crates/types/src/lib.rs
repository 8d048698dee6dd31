//! The vocabulary of Trunkline: what every other crate and every wire speaks of.
//!
//! Owns ids, names, envelopes, tasks, cards, limits, settlements, refusals, session frames and
//! queries, and the rules by which one of them is well formed. It refuses to behave: nothing here
//! reads a clock, keeps state or touches a socket. Read [`Envelope`] first, then [`session`].
//!
//! ```
//! use trunkline_types::{Destination, Envelope, Kind, MessageId, Partition, Payload, SkillName, TenantId};
//!
//! let id = MessageId::from_parts(1_700_000_000_000, Partition(0), 42);
//! let skill: SkillName = "count-words".parse()?;
//! let envelope = Envelope::new(id, Kind::Request, Destination::Skill(skill), Payload::text("a b c"));
//! assert_eq!(envelope.tenant, TenantId::default());
//! assert_eq!(envelope.id.partition(), Partition(0));
//! # Ok::<(), trunkline_types::NameError>(())
//! ```

mod a2a_agent;
mod card;
mod destination;
mod envelope;
mod filter;
mod gather;
mod history;
mod id;
mod inbox;
mod kind;
mod limits;
mod message;
mod name;
mod principal;
mod publish;
mod query;
mod refusal;
mod schedule;
mod schema;
pub mod session;
mod settle;
mod stats;
mod task;
mod time;
mod topic;
mod topic_tree;

pub use a2a_agent::{A2aAgent, A2aAgentSettings};
pub use card::{
    AgentCard, AgentChange, AgentControl, AgentEvent, AgentInfo, AgentNews, BreakerInfo,
    BreakerState, Presence,
};
pub use destination::{Destination, DestinationError, InboxAddress, InboxAddressError};
pub use envelope::{Envelope, Headers, Payload, RESERVED_HEADERS};
pub use filter::{Filter, FilterError};
pub use gather::{Gather, GatherRule, Gathered, GatheredPart};
pub use history::{ContextSnapshot, History, HistoryMessage, Role};
pub use id::{Epoch, IdSource, MessageId, MessageIdError, Partition, Sequence, SessionId, Token};
pub use inbox::{
    Binding, InboxChange, InboxEffective, InboxInfo, InboxSettings, Routing, WhenFull,
};
pub use kind::{Durability, Encoding, Kind, Priority, UnknownWord};
pub use limits::Limits;
pub use message::{CopyState, CopyStatus, MessageStatus};
pub use name::{
    AgentId, ContextId, GroupName, IdempotencyKey, Name, NameError, OrderingKey, ScheduleName,
    SkillName, TenantId,
};
pub use principal::Principal;
pub use publish::{Absent, Publish, PublishOptions};
pub use query::{
    AgentFilter, AgentPage, Answer, Change, DeadLetter, DeadLetterFilter, DeadLetterPage, Query,
    ScheduleFilter, SchedulePage, TaskFilter, TaskPage,
};
pub use refusal::{Refusal, RefusalCode};
pub use schedule::{DUE_HEADER, SCHEDULE_HEADER, Schedule, ScheduleInfo};
pub use schema::{JsonSchema, JsonSchemaError, SkillSchemas};
pub use settle::{AttemptNote, Failure, FailureCode, Outcome, PauseReason, Settle};
pub use stats::{Counters, Gauges, InboxStats, LogStats, Stats};
pub use task::{
    ArtifactChunk, Progress, TaskEvent, TaskEventBody, TaskSnapshot, TaskState, TaskUpdate,
};
pub use time::{Span, WallTime};
pub use topic::{Topic, TopicPattern};
pub use topic_tree::PatternTree;
