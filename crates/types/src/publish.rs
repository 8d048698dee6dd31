//! A publish: an envelope with what its sender wants done about it.

use crate::{
    Destination, Durability, Envelope, Gather, GatherRule, Kind, Limits, Refusal, RefusalCode,
    Span, WallTime,
};
use std::time::Duration;

/// An envelope with what its sender wants done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// What is carried.
    pub envelope: Envelope,
    /// How it is to be treated.
    pub options: PublishOptions,
}

/// How an envelope is to be treated. The default of each option depends on the kind, see
/// [`Publish::durability`], [`Publish::attempts`] and [`Publish::is_task`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishOptions {
    /// Whether a request has a life of its own: states, events, a result that stays readable.
    pub task: bool,
    /// Whether the sender's session wants the outcome as a reply.
    pub reply: bool,
    /// What a crash may take; `None` for the default of the kind. What goes to the subscription
    /// of a session is ephemeral in any case, as the subscription itself is.
    pub durability: Option<Durability>,
    /// How often delivery is attempted; `None` for the default (3 when logged or a task, else 1).
    pub attempts: Option<u32>,
    /// Deliver not before this long after it came, waiting outside a full inbox included, whatever
    /// happens to the clock on the wall meanwhile. What goes to a topic is routed when it is due,
    /// to those who subscribe then.
    pub delay: Option<Duration>,
    /// Deliver not before this time on the wall. With a delay too, the one counts that ends later
    /// as things stand when it comes.
    pub not_before: Option<WallTime>,
    /// How long a handler may run at most, however often it says that it is alive; `None` for the
    /// broker's default. It counts from each delivery.
    pub max_run: Option<Duration>,
    /// Whether a request goes to several agents and wants several answers.
    pub gather: Option<Gather>,
    /// What happens when nobody serves the destination; `None` for the default of the
    /// destination, see [`Publish::absent`].
    pub absent: Option<Absent>,
}

/// What happens to an envelope for a destination that nobody serves at the moment. Of several
/// recipients one that is there is enough: the others find their copies when they come. The same
/// goes for agents that keep a subscription while they are away, unless it is to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// It waits, until its time to live ends if it has one, and the acceptance says so. An event
    /// on a topic that nobody subscribes to needs a time to live for that, and goes to whoever
    /// subscribes first; what goes to all goes to the agent that registers first. If it has an
    /// ordering key, its place in the order is that of its routing.
    Park,
    /// It is refused.
    Fail,
    /// It is accepted and goes nowhere, which the acceptance says. Only for events and
    /// broadcasts.
    Discard,
}

impl Publish {
    /// A publish with default options.
    pub fn new(envelope: Envelope) -> Self {
        Self { envelope, options: PublishOptions::default() }
    }

    /// Whether this is a task: asked for, or a request that a restart must not lose.
    pub fn is_task(&self) -> bool {
        self.options.task
            || (self.envelope.kind == Kind::Request && self.asked_durability().is_logged())
    }

    /// The durability in force: what was asked; else `synced` for tasks, requests with retries
    /// and anything with an idempotency key; else `ephemeral`.
    pub fn durability(&self) -> Durability {
        if self.options.durability.is_none() && self.options.task {
            return Durability::Synced;
        }
        self.asked_durability()
    }

    fn asked_durability(&self) -> Durability {
        let retried = self.envelope.kind == Kind::Request && self.options.attempts.unwrap_or(1) > 1;
        let default = if retried || self.envelope.idempotency_key.is_some() {
            Durability::Synced
        } else {
            Durability::Ephemeral
        };
        self.options.durability.unwrap_or(default)
    }

    /// How often delivery is attempted at most.
    pub fn attempts(&self) -> u32 {
        let default = if self.durability().is_logged() || self.is_task() { 3 } else { 1 };
        self.options.attempts.unwrap_or(default)
    }

    /// What happens when nobody serves the destination: what was asked; else what goes to a topic
    /// or to all is discarded, and everything else is parked.
    pub fn absent(&self) -> Absent {
        self.options.absent.unwrap_or(match self.envelope.destination {
            Destination::Topic(_) | Destination::All => Absent::Discard,
            Destination::Agent(_) | Destination::Skill(_) | Destination::Agents(_) => Absent::Park,
        })
    }

    /// When it may be delivered at the earliest, if it was accepted at a time.
    pub fn due(&self, accepted_at: WallTime) -> WallTime {
        let delayed = self.options.delay.map_or(WallTime(0), |delay| accepted_at.after(delay));
        delayed.max(self.options.not_before.unwrap_or(WallTime(0)))
    }

    /// Checks envelope and options against the limits.
    ///
    /// # Errors
    /// A [`Refusal`] that names the part, its value and the limit.
    pub fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        self.envelope.check(limits)?;
        if self.options.task && self.envelope.kind != Kind::Request {
            let message = format!("a task must be a request, not '{}'", self.envelope.kind);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if self.options.reply && self.envelope.kind != Kind::Request {
            let message = format!("only a request has a reply, not '{}'", self.envelope.kind);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if self.envelope.kind == Kind::Response && self.envelope.correlation_id.is_none() {
            let message = "a response needs a correlation id: the id of the request it answers";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        self.check_absent()?;
        if let Some(gather) = &self.options.gather {
            self.check_gather(gather)?;
        }
        let attempts = self.options.attempts.unwrap_or(1);
        if attempts == 0 || attempts > limits.attempts {
            let message = format!("attempts is {attempts}, the range is 1 to {}", limits.attempts);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if let (None, None, None) = (self.envelope.ttl, self.options.delay, self.options.max_run) {
            return Ok(());
        }
        for (what, span) in [
            ("time to live", self.envelope.ttl),
            ("delay", self.options.delay),
            ("longest run", self.options.max_run),
        ] {
            if span.is_some_and(|span| span > limits.longest_span) {
                let (span, limit) = (Span(span.unwrap_or_default()), Span(limits.longest_span));
                let message = format!("{what} is {span}, the limit is {limit}");
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
        }
        if let (Some(ttl), Some(delay)) = (self.envelope.ttl, self.options.delay)
            && ttl <= delay
        {
            let (ttl, delay) = (Span(ttl), Span(delay));
            let message = format!(
                "time to live is {ttl} and delay is {delay}: it would expire before it is due; \
                 both count from its arrival"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        for (what, span) in
            [("time to live", self.envelope.ttl), ("longest run", self.options.max_run)]
        {
            if span.is_some_and(|span| span < Duration::from_millis(1)) {
                let message = format!("{what} is under 1 ms; leave it out for no limit");
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        }
        Ok(())
    }

    fn check_absent(&self) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(RefusalCode::Invalid, message));
        match self.options.absent {
            Some(Absent::Discard) if self.envelope.kind == Kind::Request => invalid(
                "a request cannot be discarded when nobody is there; park it or let it \
                         fail"
                    .into(),
            ),
            Some(Absent::Park) if self.envelope.ttl.is_none() => match &self.envelope.destination {
                Destination::Topic(topic) => invalid(format!(
                    "an event that is parked until somebody subscribes to '{topic}' needs a time \
                     to live"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_gather(&self, gather: &Gather) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(RefusalCode::Invalid, message));
        let envelope = &self.envelope;
        if envelope.kind != Kind::Request || !self.options.reply {
            return invalid("only a request that wants a reply gathers answers".into());
        }
        if self.is_task() || self.durability().is_logged() {
            return invalid(
                "a request that gathers answers is ephemeral; send each agent a task of its own \
                 if a restart must not lose them"
                    .into(),
            );
        }
        if envelope.ttl.is_none() {
            return invalid("a request that gathers answers needs a time to live: it ends with what has come by then".into());
        }
        if envelope.ordering_key.is_some() {
            return invalid("a request that gathers answers has no ordering key".into());
        }
        if let Destination::Agent(_) | Destination::Topic(_) = &envelope.destination {
            let to = &envelope.destination;
            return invalid(format!(
                "answers are gathered from agents:ID,ID, from all, or from every agent with a \
                 skill, not from '{to}'"
            ));
        }
        if gather.rule == GatherRule::Quorum(0) {
            return invalid("a quorum is at least 1".into());
        }
        if !(1..=Gather::MOST_REPLY_BYTES).contains(&gather.reply_bytes) {
            let (bytes, most) = (gather.reply_bytes, Gather::MOST_REPLY_BYTES);
            return invalid(format!(
                "the bound on the bytes of all answers is {bytes}, the range is 1 to {most}"
            ));
        }
        Ok(())
    }
}
