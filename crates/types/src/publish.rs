//! A publish: an envelope with what its sender wants done about it.

use crate::{Destination, Durability, Envelope, Kind, Limits, Refusal, RefusalCode};
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
    /// Deliver not before this long after acceptance. Not for events on a topic.
    pub delay: Option<Duration>,
    /// What happens when nobody serves the destination.
    pub absent: Absent,
}

/// What happens to work for an agent or skill that nobody serves at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Absent {
    /// It waits, until its time to live ends if it has one.
    #[default]
    Park,
    /// It is refused.
    Fail,
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
        if self.options.delay.is_some()
            && let Destination::Topic(topic) = &self.envelope.destination
        {
            let message = format!(
                "a delay is for what goes to an agent or a skill, not to topic '{topic}'; publish \
                 the event when it is due"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let attempts = self.options.attempts.unwrap_or(1);
        if attempts == 0 || attempts > limits.attempts {
            let message = format!("attempts is {attempts}, the range is 1 to {}", limits.attempts);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        for (what, span) in [("time to live", self.envelope.ttl), ("delay", self.options.delay)] {
            if span.is_some_and(|span| span > limits.longest_span) {
                let (span, limit) = (span.unwrap_or_default(), limits.longest_span);
                let message = format!("{what} is {span:?}, the limit is {limit:?}");
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
        }
        if self.envelope.ttl.is_some_and(|ttl| ttl < Duration::from_millis(1)) {
            let message = "time to live is under 1 ms; leave it out for no limit";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        Ok(())
    }
}
