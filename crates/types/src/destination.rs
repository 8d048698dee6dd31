//! Where an envelope goes.

use crate::{AgentId, NameError, SkillName, Topic};
use std::fmt;
use std::str::FromStr;

/// Where an envelope goes, as its sender says it.
///
/// ```
/// use trunkline_types::Destination;
/// let to: Destination = "skill:count-words".parse()?;
/// assert_eq!(to.to_string(), "skill:count-words");
/// assert!("planet:mars".parse::<Destination>().is_err());
/// # Ok::<(), trunkline_types::DestinationError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Destination {
    /// One agent.
    Agent(AgentId),
    /// One of the agents that offer a skill.
    Skill(SkillName),
    /// All subscribers of a topic.
    Topic(Topic),
    /// Every agent but the sender.
    All,
    /// Each of several agents.
    Agents(Vec<AgentId>),
}

/// Whose inbox it is: an inbox belongs to one agent or to one skill.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InboxAddress {
    /// The inbox of an agent, shared by its sessions.
    Agent(AgentId),
    /// The inbox of a skill, shared by the agents that offer it.
    Skill(SkillName),
}

/// Why a text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// The part before the colon is none of the known kinds.
    #[error(
        "unknown destination '{0}'; it is agent:ID, skill:NAME, topic:A.B.C, all, or agents:ID,ID"
    )]
    Kind(String),
    /// The part after the colon is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why a text is no address of an inbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxAddressError {
    /// The part before the colon is none of the two kinds.
    #[error("unknown inbox '{0}'; an inbox is agent:ID or skill:NAME")]
    Kind(String),
    /// The part after the colon is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Destination {
    /// The destination that is one agent.
    ///
    /// # Errors
    /// [`NameError`] if the id is no name.
    pub fn agent(id: &str) -> Result<Self, NameError> {
        id.parse().map(Self::Agent)
    }

    /// The destination that is one of the agents with a skill.
    ///
    /// # Errors
    /// [`NameError`] if the skill is no name.
    pub fn skill(name: &str) -> Result<Self, NameError> {
        name.parse().map(Self::Skill)
    }

    /// The destination that is each of several agents.
    ///
    /// # Errors
    /// [`NameError`] if one of the ids is no name.
    pub fn agents<I: AsRef<str>>(ids: impl IntoIterator<Item = I>) -> Result<Self, NameError> {
        ids.into_iter().map(|id| id.as_ref().parse()).collect::<Result<_, _>>().map(Self::Agents)
    }

    /// The destination that is all subscribers of a topic.
    ///
    /// # Errors
    /// [`NameError`] if the topic is malformed.
    pub fn topic(topic: &str) -> Result<Self, NameError> {
        topic.parse().map(Self::Topic)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Skill(name) => write!(f, "skill:{name}"),
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::All => f.write_str("all"),
            Self::Agents(ids) => {
                f.write_str("agents:")?;
                for (i, id) in ids.iter().enumerate() {
                    write!(f, "{}{id}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Destination {
    type Err = DestinationError;
    fn from_str(text: &str) -> Result<Self, DestinationError> {
        match text.split_once(':') {
            Some(("agent", id)) => Ok(Self::Agent(id.parse()?)),
            Some(("skill", name)) => Ok(Self::Skill(name.parse()?)),
            Some(("topic", topic)) => Ok(Self::Topic(topic.parse()?)),
            Some(("agents", ids)) => {
                Ok(Self::Agents(ids.split(',').map(str::parse).collect::<Result<_, _>>()?))
            }
            None if text == "all" => Ok(Self::All),
            _ => Err(DestinationError::Kind(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for InboxAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Skill(name) => write!(f, "skill:{name}"),
        }
    }
}

impl FromStr for InboxAddress {
    type Err = InboxAddressError;
    fn from_str(text: &str) -> Result<Self, InboxAddressError> {
        match text.split_once(':') {
            Some(("agent", id)) => Ok(Self::Agent(id.parse()?)),
            Some(("skill", name)) => Ok(Self::Skill(name.parse()?)),
            _ => Err(InboxAddressError::Kind(text.chars().take(64).collect())),
        }
    }
}
