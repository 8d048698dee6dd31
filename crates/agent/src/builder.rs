//! The description of an agent before it starts.

use crate::agent::StartOptions;
use crate::pool::{Handlers, Pool, PoolOptions};
use crate::session::places;
use crate::{Agent, Handler, keeper};
use smol_str::SmolStr;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use trunkline_types::session::{Connector, Subscription};
use trunkline_types::{
    AgentCard, AgentId, NameError, Refusal, RefusalCode, SkillName, TopicPattern,
};

/// Describes an agent: its card, its handlers, its workers.
#[must_use = "an agent does nothing before it is started"]
pub struct AgentBuilder {
    connector: Arc<dyn Connector>,
    card: Result<AgentCard, NameError>,
    handlers: Handlers,
    workers: RangeInclusive<u32>,
    prefetch: u32,
    outstanding: u32,
    wait_for_broker: bool,
    /// The first mistake in the description, told by `start`.
    mistake: Option<NameError>,
}

impl AgentBuilder {
    pub(crate) fn new(connector: Arc<dyn Connector>, id: &str) -> Self {
        Self {
            connector,
            card: AgentId::new(id).map(AgentCard::new),
            handlers: Handlers::default(),
            workers: 1..=8,
            prefetch: 256,
            outstanding: 8192,
            wait_for_broker: false,
            mistake: None,
        }
    }

    fn card(mut self, change: impl FnOnce(&mut AgentCard)) -> Self {
        if let Ok(card) = &mut self.card {
            change(card);
        }
        self
    }

    /// A name for people; the id when none is given.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.card(|card| card.name = name.into())
    }

    /// What it does, for people.
    pub fn description(self, description: impl Into<String>) -> Self {
        self.card(|card| card.description = description.into())
    }

    /// Adds a kind of agent that it is.
    pub fn agent_type(self, kind: impl Into<SmolStr>) -> Self {
        self.card(|card| card.types.push(kind.into()))
    }

    /// Adds something that it can do besides its skills, for lookup.
    pub fn capability(self, capability: impl Into<SmolStr>) -> Self {
        self.card(|card| card.capabilities.push(capability.into()))
    }

    /// Adds a label for lookup.
    pub fn label(self, key: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        self.card(|card| card.labels.push((key.into(), value.into())))
    }

    /// Where it runs.
    pub fn region(self, region: impl Into<SmolStr>) -> Self {
        self.card(|card| card.region = region.into())
    }

    /// The version of its code.
    pub fn version(self, version: impl Into<SmolStr>) -> Self {
        self.card(|card| card.version = version.into())
    }

    /// Offers a skill: the agent competes for its work with all others that offer it.
    pub fn skill(mut self, name: &str, handler: impl Handler) -> Self {
        match SkillName::new(name) {
            Ok(skill) => {
                self.handlers.add_skill(skill.clone(), Arc::new(handler));
                self.card(|card| card.skills.push(skill))
            }
            Err(error) => {
                self.mistake.get_or_insert(error);
                self
            }
        }
    }

    /// Handles what is sent to the agent itself. Without it such work is rejected.
    pub fn on_message(mut self, handler: impl Handler) -> Self {
        self.handlers.set_message(Arc::new(handler));
        self
    }

    /// Subscribes the agent to topics, kept while it is away; an event is a delivery like any
    /// other. If several patterns match an event, the handler given first has it.
    pub fn on_event(mut self, pattern: &str, handler: impl Handler) -> Self {
        match TopicPattern::new(pattern) {
            Ok(pattern) => self.handlers.add_event(pattern, Arc::new(handler)),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
        self
    }

    /// How many handlers run at once: as few as the first number while there is little to do, up
    /// to the second, 1 to 4,096, while deliveries wait. Default 1 to 8.
    pub fn workers(mut self, workers: RangeInclusive<u32>) -> Self {
        self.workers = workers;
        self
    }

    /// How many deliveries beyond those at work the agent may hold ready, 0 to 4,096, default
    /// 256. So many only while handlers take microseconds; the longer they take the fewer, down
    /// to none at 2 ms a handler and worker.
    pub fn prefetch(mut self, deliveries: u32) -> Self {
        self.prefetch = deliveries;
        self
    }

    /// Has [`AgentBuilder::start`] wait for a broker that is not there yet or is about to go,
    /// rather than refuse: it tries again after up to 100 ms, then ever later, up to 5 s.
    pub fn wait_for_broker(mut self) -> Self {
        self.wait_for_broker = true;
        self
    }

    /// Most publishes and updates of its handlers on their way at once, 1 to 1,048,576, default
    /// 8,192; another number is refused. A handler that wants to send more waits.
    pub fn outstanding(mut self, operations: u32) -> Self {
        self.outstanding = operations;
        self
    }

    /// Registers the agent and takes up work.
    ///
    /// # Errors
    /// A [`Refusal`]: a name or a number of the description is out of range, or the broker
    /// declines.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Agent, Refusal> {
        let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message);
        let card = self.card.map_err(|error| invalid(error.to_string()))?;
        if let Some(error) = self.mistake {
            return Err(invalid(error.to_string()));
        }
        let (least, most) = (*self.workers.start(), *self.workers.end());
        if least > most || most == 0 || most > 4096 {
            return Err(invalid(format!(
                "workers is {least} to {most}, the range is from at most its end, and that 1 to 4096"
            )));
        }
        if self.prefetch > 4096 {
            return Err(invalid(format!("prefetch is {}, the limit is 4096", self.prefetch)));
        }
        let places = places(self.outstanding)?;
        keeper::start().map_err(|error| {
            let message = format!("the thread that keeps leases alive does not start: {error}");
            Refusal::new(RefusalCode::Unavailable, message)
        })?;
        let subscriptions = self.handlers.patterns();
        let subscriptions = subscriptions
            .map(|pattern| Subscription { pattern: pattern.clone(), durable: true })
            .collect();
        let options = PoolOptions { least, most, prefetch: self.prefetch };
        let pool = Pool::new(options, self.handlers, Arc::clone(&self.connector));
        let options = StartOptions { places, wait_for_broker: self.wait_for_broker };
        Agent::start(self.connector, card, subscriptions, pool, options).await
    }
}

impl fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("card", &self.card)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
