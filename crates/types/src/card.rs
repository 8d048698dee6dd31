//! Agent cards and presence.

use crate::kind::{UnknownWord, words};
use crate::{AgentId, Limits, Refusal, RefusalCode, SkillName, WallTime};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;

/// What an agent says of itself when it registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentCard {
    /// Its id, unique within the tenant.
    pub id: AgentId,
    /// A name for people; the id when empty.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// What kinds of agent it is.
    pub types: Vec<SmolStr>,
    /// The skills it offers: it competes for the work of each.
    pub skills: Vec<SkillName>,
    /// What it can do besides, for lookup.
    pub capabilities: Vec<SmolStr>,
    /// Free key-value pairs for lookup.
    pub labels: Vec<(SmolStr, SmolStr)>,
    /// Where it runs.
    pub region: SmolStr,
    /// The version of its code.
    pub version: SmolStr,
}

impl AgentCard {
    /// A card with an id and nothing else.
    pub fn new(id: AgentId) -> Self {
        Self {
            id,
            name: String::new(),
            description: String::new(),
            types: Vec::new(),
            skills: Vec::new(),
            capabilities: Vec::new(),
            labels: Vec::new(),
            region: SmolStr::default(),
            version: SmolStr::default(),
        }
    }

    /// Checks the card against the limits.
    ///
    /// # Errors
    /// A [`Refusal`] that names the part, its size and the limit.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        let too_large = |what: &str, size: usize, limit: usize| {
            let message =
                format!("agent card of '{}': {what} {size}, the limit is {limit}", self.id);
            Err(Refusal::new(RefusalCode::TooLarge, message))
        };
        for (what, count) in [
            ("number of types", self.types.len()),
            ("number of skills", self.skills.len()),
            ("number of capabilities", self.capabilities.len()),
            ("number of labels", self.labels.len()),
        ] {
            if count > limits.card_entries {
                return too_large(what, count, limits.card_entries);
            }
        }
        let short =
            self.types.iter().chain(&self.capabilities).chain([&self.region, &self.version]);
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        for text in short.chain(labels) {
            if text.len() > limits.header_bytes {
                return too_large("length of an entry in bytes", text.len(), limits.header_bytes);
            }
        }
        for (what, text) in [("name bytes", &self.name), ("description bytes", &self.description)] {
            if text.len() > limits.reason_bytes {
                return too_large(what, text.len(), limits.reason_bytes);
            }
        }
        Ok(())
    }
}

words!(
    /// How present an agent is.
    Presence, "presence", "starting, ready, busy, draining, offline",
    {
        /// Connected, but has not yet granted any credit.
        Starting = 1 "starting",
        /// Connected and willing to take work.
        Ready = 2 "ready",
        /// Connected and holding as much as it wants.
        Busy = 3 "busy",
        /// Finishing what it holds, taking nothing new.
        Draining = 4 "draining",
        /// Not connected.
        Offline = 5 "offline",
    }
);

/// An agent as the directory shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentInfo {
    /// What it said of itself.
    pub card: AgentCard,
    /// The subject of the principal that registered it.
    pub owner: SmolStr,
    /// How present it is.
    pub presence: Presence,
    /// How many sessions it has.
    pub sessions: u32,
    /// How many deliveries its sessions hold.
    pub in_flight: u32,
    /// How many deliveries its sessions are willing to hold.
    pub credit: u32,
    /// How many envelopes wait in its own inbox.
    pub waiting: u64,
    /// When it registered first.
    pub registered_at: WallTime,
}
