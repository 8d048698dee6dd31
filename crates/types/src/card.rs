//! Agent cards and presence.

use crate::kind::{UnknownWord, words};
use crate::{
    AgentId, InboxAddress, Limits, Refusal, RefusalCode, SkillName, SkillSchemas, WallTime,
};
use smol_str::SmolStr;
use std::collections::BTreeSet;
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
    /// The schemas of those skills for which it declares any, each once.
    pub schemas: Vec<SkillSchemas>,
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
            schemas: Vec::new(),
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
        self.check_schemas(limits)
    }

    fn check_schemas(&self, limits: &Limits) -> Result<(), Refusal> {
        let refused =
            |code, what| Err(Refusal::new(code, format!("agent card of '{}': {what}", self.id)));
        if self.schemas.is_empty() {
            return Ok(());
        }
        let mut all = 0;
        let mut left: BTreeSet<_> = self.skills.iter().collect();
        for SkillSchemas { skill, input, output } in &self.schemas {
            let what = if !left.remove(skill) {
                if self.skills.contains(skill) {
                    "for the second time; declare them once"
                } else {
                    "which is none of its skills; offer it"
                }
            } else if input.is_none() && output.is_none() {
                "without one for input or output; leave it out"
            } else {
                ""
            };
            if !what.is_empty() {
                let what = format!("it declares schemas for '{skill}', {what}");
                return refused(RefusalCode::Invalid, what);
            }
            for (of, schema) in [("input", input), ("output", output)] {
                let size = schema.as_ref().map_or(0, |schema| schema.as_str().len());
                if size > limits.schema_bytes {
                    let limit = limits.schema_bytes;
                    let what = format!(
                        "the {of} schema of skill '{skill}' has {size} bytes, the limit is {limit}; \
                         shorten it or raise limits.schema_bytes"
                    );
                    return refused(RefusalCode::TooLarge, what);
                }
                all += size;
                if all > limits.card_schema_bytes {
                    let limit = limits.card_schema_bytes;
                    let what = format!(
                        "its schemas up to the {of} of skill '{skill}' have {all} bytes, the limit \
                         is {limit}; shorten them or raise limits.card_schema_bytes"
                    );
                    return refused(RefusalCode::TooLarge, what);
                }
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

words!(
    /// Where a circuit breaker is.
    BreakerState, "breaker state", "closed, open, half-open",
    {
        /// Work flows.
        Closed = 1 "closed",
        /// The agent gets no work from the inbox for a while.
        Open = 2 "open",
        /// The agent gets as much as tells whether it has recovered.
        HalfOpen = 3 "half-open",
    }
);

/// The circuit breaker between an agent and one of its inboxes, if it is not simply closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakerInfo {
    /// Which inbox.
    pub inbox: InboxAddress,
    /// Where it is.
    pub state: BreakerState,
    /// How many failures in a row it has counted within its window.
    pub failures: u32,
    /// How long it stays open, in milliseconds; 0 when it is not open.
    pub open_for_ms: u64,
}

/// What operators have set about an agent. It outlives sessions and restarts, and goes when the
/// agent is unregistered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AgentControl {
    /// Its share where routing is `weighted`, 0 to 1,000; with 0 it gets nothing by that policy.
    pub weight: u32,
    /// Whether it gets no new work.
    pub draining: bool,
    /// Whether it is fit for work; if not, it gets none until it is again.
    pub healthy: bool,
}

impl AgentControl {
    /// The highest weight.
    pub const MOST_WEIGHT: u32 = 1000;
}

impl Default for AgentControl {
    fn default() -> Self {
        Self { weight: 100, draining: false, healthy: true }
    }
}

/// What is to change about an agent. What is `None` stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AgentChange {
    /// Sets its weight, 0 to 1,000.
    pub weight: Option<u32>,
    /// Lets it finish and leave, or take work again.
    pub draining: Option<bool>,
    /// Says whether it is fit for work. What an agent finds out about itself is its session's own
    /// affair and does not change this.
    pub healthy: Option<bool>,
}

impl AgentChange {
    /// Sets the agent's weight, 0 to 1,000.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Lets the agent finish and leave, or take work again.
    #[must_use]
    pub const fn draining(mut self, draining: bool) -> Self {
        self.draining = Some(draining);
        self
    }

    /// Says whether the agent is fit for work.
    #[must_use]
    pub const fn healthy(mut self, healthy: bool) -> Self {
        self.healthy = Some(healthy);
        self
    }
}

words!(
    /// What happened to an agent in the directory.
    AgentEvent, "agent event", "present, joined, changed, left, gone",
    {
        /// It is there; part of the snapshot that a watcher gets first.
        Present = 1 "present",
        /// It registered, or its first session came.
        Joined = 2 "joined",
        /// Its card, its settings, its health or a circuit breaker changed, or it began or ceased
        /// to drain.
        Changed = 3 "changed",
        /// Its last session went.
        Left = 4 "left",
        /// It was unregistered.
        Gone = 5 "gone",
    }
);

/// News of the directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentNews {
    /// What happened.
    pub event: AgentEvent,
    /// The agent after that.
    pub agent: AgentInfo,
}

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
    /// What operators have set.
    pub control: AgentControl,
    /// Its circuit breakers that are not closed or have counted failures.
    pub breakers: Vec<BreakerInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JsonSchema;

    #[allow(clippy::unnecessary_wraps, reason = "it is one that may be absent")]
    fn schema(bytes: usize) -> Option<JsonSchema> {
        Some(format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8)).parse().unwrap())
    }

    fn card(schemas: &[(&str, Option<JsonSchema>, Option<JsonSchema>)]) -> AgentCard {
        let mut card = AgentCard::new("ann".parse().unwrap());
        card.skills = ["sew", "cut"].map(|name| name.parse().unwrap()).into();
        card.schemas = schemas
            .iter()
            .cloned()
            .map(|(skill, input, output)| {
                let skill = skill.parse().unwrap();
                SkillSchemas { skill, input, output }
            })
            .collect();
        card
    }

    #[test]
    fn a_schema_and_all_of_a_card_together_are_bounded_and_the_refusal_says_by_what() {
        let limits = Limits { schema_bytes: 20, card_schema_bytes: 50, ..Limits::default() };
        let check = |schemas: &[_]| card(schemas).check(&limits);
        check(&[("sew", schema(20), schema(20)), ("cut", None, schema(10))]).unwrap();
        let refusal = check(&[("sew", schema(20), schema(21))]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert_eq!(
            refusal.message,
            "agent card of 'ann': the output schema of skill 'sew' has 21 bytes, the limit is 20; \
             shorten it or raise limits.schema_bytes"
        );
        let refusal =
            check(&[("sew", schema(20), schema(20)), ("cut", schema(11), None)]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert_eq!(
            refusal.message,
            "agent card of 'ann': its schemas up to the input of skill 'cut' have 51 bytes, the \
             limit is 50; shorten them or raise limits.card_schema_bytes"
        );
    }

    #[test]
    fn schemas_are_of_skills_that_the_card_has_and_each_is_declared_once() {
        let check = |schemas: &[_]| card(schemas).check(&Limits::default());
        for (schemas, message) in [
            (vec![("iron", schema(9), None)], "'iron', which is none of its skills; offer it"),
            (
                vec![("sew", schema(9), None), ("sew", None, schema(9))],
                "'sew', for the second time; declare them once",
            ),
            (vec![("sew", None, None)], "'sew', without one for input or output; leave it out"),
        ] {
            let refusal = check(&schemas).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Invalid);
            assert!(refusal.message.contains(message), "{}", refusal.message);
        }
    }
}
