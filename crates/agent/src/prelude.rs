//! What a program that hosts agents usually wants in scope.

pub use crate::{
    Agent, AgentBuilder, Handler, HandlerError, HandlerResult, Host, IntoReply, Json, MsgPack,
    Reply, RequestError, Session, Task,
};
pub use trunkline_types::{
    AgentId, Destination, Durability, JsonSchema, Kind, MessageId, Name, Payload, Priority,
    SkillName, Topic, TopicPattern,
};
