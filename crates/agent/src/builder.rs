//! The description of an agent before it starts.

use crate::agent::StartOptions;
use crate::content::Content;
use crate::core::CoreOptions;
use crate::health::Health;
use crate::pool::{Executor, Handlers, Pool, PoolOptions, WorkerFuture};
use crate::session::places;
use crate::{Agent, Handler, Profile, keeper, overlap};
use smol_str::SmolStr;
use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use trunkline_content::Compression;
use trunkline_types::session::{Connector, Subscription};
use trunkline_types::{
    AgentCard, AgentId, JsonSchema, NameError, Refusal, RefusalCode, SkillName, SkillSchemas,
    TopicPattern,
};

/// Describes an agent: its card, its handlers, its workers.
#[must_use = "an agent does nothing before it is started"]
pub struct AgentBuilder {
    connector: Arc<dyn Connector>,
    card: Result<AgentCard, NameError>,
    handlers: Handlers,
    subscriptions: Vec<Subscription>,
    workers: RangeInclusive<u32>,
    prefetch: u32,
    headroom: Duration,
    linger: Duration,
    drain_within: Duration,
    health: Option<Health>,
    executor: Option<Executor>,
    outstanding: u32,
    obey_pressure: bool,
    content: Content,
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
            subscriptions: Vec::new(),
            workers: Profile::InProcess.workers(),
            prefetch: Profile::InProcess.prefetch(),
            headroom: Profile::InProcess.headroom(),
            linger: Profile::InProcess.linger(),
            drain_within: Duration::from_millis(5),
            health: None,
            executor: None,
            outstanding: 8192,
            obey_pressure: true,
            content: Content::default(),
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

    /// Publishes in the directory what the work of one of its skills has to fit and what its answers
    /// fit, for whoever wants to send it work. Neither is looked at by the broker or the runtime:
    /// what comes is for the handler to check. Up to `limits.schema_bytes` each,
    /// `limits.card_schema_bytes` together.
    pub fn schemas(
        mut self,
        skill: &str,
        input: Option<JsonSchema>,
        output: Option<JsonSchema>,
    ) -> Self {
        match SkillName::new(skill) {
            Ok(skill) => self.card(|card| card.schemas.push(SkillSchemas { skill, input, output })),
            Err(error) => {
                self.mistake.get_or_insert(error);
                self
            }
        }
    }

    /// Handles what is sent to the agent itself. Without it the handler of the agent's only skill
    /// does, or of the one that the header `a2a-skill` names; with several skills and none of
    /// them named such work is rejected.
    pub fn on_message(mut self, handler: impl Handler) -> Self {
        self.handlers.set_message(Arc::new(handler));
        self
    }

    /// Subscribes the agent to topics, kept while it is away; an event is a delivery like any
    /// other. If several patterns match an event, the handler given first has it.
    pub fn on_event(mut self, pattern: &str, handler: impl Handler) -> Self {
        match TopicPattern::new(pattern) {
            Ok(pattern) => self.on_event_with(Subscription::new(pattern), handler),
            Err(error) => {
                self.mistake.get_or_insert(error);
                self
            }
        }
    }

    /// Subscribes the agent as [`AgentBuilder::on_event`] does, with a filter or in a group. The
    /// subscription is the agent's whatever `durable` says. A handler is found by its pattern
    /// alone: of several whose patterns match, the one given first has the event. So patterns with
    /// topics in common must have the same filter, else the agent is refused when it starts.
    pub fn on_event_with(mut self, subscription: Subscription, handler: impl Handler) -> Self {
        self.handlers.add_event(&subscription.pattern, Arc::new(handler));
        self.subscriptions.push(Subscription { durable: true, ..subscription });
        self
    }

    /// Sets workers, prefetch, headroom and the linger of batches to what goes well together;
    /// what is set afterwards goes before. Default [`Profile::InProcess`].
    pub fn profile(mut self, profile: Profile) -> Self {
        self.workers = profile.workers();
        self.prefetch = profile.prefetch();
        self.headroom = profile.headroom();
        self.linger = profile.linger();
        self
    }

    /// How many handlers run at once: as few as the first number while there is little to do, up
    /// to the second, 1 to 4,096, as the work wants them. Default 1 to 8.
    ///
    /// What it wants is measured: deliveries that come at a rate and take their time keep rate ×
    /// time workers busy, and what waits besides is to be begun within
    /// [`AgentBuilder::drain_within`], for which it takes waiting × time / that span more. A
    /// worker that is more than the least and was not needed for 5 s ends.
    ///
    /// Handlers of less than 20 µs have one worker while that one goes on, because waking another
    /// thread takes longer than they do.
    pub fn workers(mut self, workers: RangeInclusive<u32>) -> Self {
        self.workers = workers;
        self
    }

    /// Within what time deliveries that wait here are to be begun, if there are workers enough,
    /// from 1 µs. Default 5 ms: handlers that take longer than that have a worker each, shorter
    /// ones share. A longer time makes do with fewer workers.
    pub fn drain_within(mut self, span: Duration) -> Self {
        self.drain_within = span;
        self
    }

    /// How many deliveries beyond those at work the agent may hold ready, 0 to 4,096, default
    /// 256. So many only while handlers take microseconds; the longer they take the fewer, as
    /// [`AgentBuilder::headroom`] says.
    pub fn prefetch(mut self, deliveries: u32) -> Self {
        self.prefetch = deliveries;
        self
    }

    /// How much work the agent holds ready beyond what its workers have, in time: as many
    /// deliveries as they handle within it by the mean time of a handler, rounded down to a power
    /// of two, and none when a worker takes longer for one. So nothing is held that another agent
    /// could begin sooner. Long enough is how long a delivery is on its way. Default 2 ms.
    pub fn headroom(mut self, span: Duration) -> Self {
        self.headroom = span;
        self
    }

    /// Checks at the start and then `every` so often, at least 1 ms, whether the agent is fit for
    /// work. When the check fails, panics or takes longer than `every`, this session is willing to
    /// hold nothing: it is given no more work, and what waits here goes back; what was begun is
    /// finished. When the check passes again it has work again. Other sessions of the same agent
    /// go on, and whether operators have declared the agent unhealthy
    /// ([`AgentChange::healthy`](trunkline_types::AgentChange::healthy)) is their own affair: it
    /// stays as it is whatever the check says. Default no check.
    pub fn health<F, W>(mut self, check: F, every: Duration) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.health = Some(Health::new(check, every));
        self
    }

    /// Has the workers run by `executor` rather than by the tokio runtime in which the agent is
    /// started, so that a handler can run on a thread of its program's choice. Each worker is given
    /// to it once, and has to be polled within that runtime until it ends: what it holds waits for
    /// it, though its leases are kept alive.
    pub fn executor(mut self, executor: impl Fn(WorkerFuture) + Send + Sync + 'static) -> Self {
        self.executor = Some(Box::new(executor));
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

    /// Whether what its handlers send to an inbox under pressure waits its turn, as told by
    /// [`SessionOptions::obey_pressure`](crate::SessionOptions::obey_pressure). Default true.
    pub fn obey_pressure(mut self, obey: bool) -> Self {
        self.obey_pressure = obey;
        self
    }

    /// Which payloads are compressed at sending, replies and pieces of results included, and how.
    /// Default not at all; see [`SessionOptions::compression`](crate::SessionOptions::compression).
    pub fn compression(mut self, compression: Compression) -> Self {
        self.content.compression = compression;
        self
    }

    /// Most bytes that a payload may have once its compression is undone, which is done before a
    /// handler sees it. A delivery beyond it is rejected. Default 8 MiB; with 0 nothing that is
    /// compressed is taken.
    pub fn max_decompressed(mut self, bytes: usize) -> Self {
        self.content.most = bytes;
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
        if self.drain_within < Duration::from_micros(1) {
            return Err(invalid("drain_within is 0, the least is 1 µs".to_owned()));
        }
        if let Some(every) = self.health.as_ref().map(Health::every)
            && every < Duration::from_millis(1)
        {
            return Err(invalid(format!("health is checked every {every:?}, the least is 1 ms")));
        }
        let mut handlers = self.handlers;
        handlers.check().map_err(invalid)?;
        overlap::check(&self.subscriptions).map_err(invalid)?;
        let places = places(self.outstanding)?;
        keeper::start().map_err(|error| {
            let message = format!("the thread that keeps leases alive does not start: {error}");
            Refusal::new(RefusalCode::Unavailable, message)
        })?;
        let subscriptions = self.subscriptions;
        let options = PoolOptions {
            least,
            most,
            prefetch: self.prefetch,
            headroom: self.headroom,
            drain_within: self.drain_within,
            linger: self.linger,
        };
        let pool = Pool::new(options, handlers, Arc::clone(&self.connector), self.executor);
        let core = CoreOptions {
            places,
            events: 1024,
            obey_pressure: self.obey_pressure,
            content: self.content,
        };
        let options =
            StartOptions { core, wait_for_broker: self.wait_for_broker, health: self.health };
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
