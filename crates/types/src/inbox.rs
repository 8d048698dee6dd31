//! Settings of one inbox, which can be changed while it is at work.

use crate::kind::{UnknownWord, words};
use crate::{InboxAddress, InboxStats, Priority, Refusal, RefusalCode, Span};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

words!(
    /// What happens to an envelope for an inbox, or an event for a session, that holds as much as
    /// it may.
    WhenFull, "policy for a full inbox", "reject, wait, drop-oldest",
    {
        /// It is refused, with a hint when to come back. An event for several recipients goes to
        /// the others, and the sender is told how many it missed.
        Reject = 0 "reject",
        /// It waits outside until there is room, for as long as the inbox's `wait` says and its
        /// time to live allows; then it is refused.
        Wait = 1 "wait",
        /// The oldest event is dropped for it, counted, and the recipient is told which it
        /// missed. If there is no event to drop, it is refused.
        DropOldest = 2 "drop-oldest",
    }
);

words!(
    /// Which of the sessions that would take an envelope gets it.
    Routing, "routing policy", "least-loaded, round-robin, weighted, consistent-hash, random",
    {
        /// The one that holds least of what it is willing to hold.
        LeastLoaded = 0 "least-loaded",
        /// One after the other.
        RoundRobin = 1 "round-robin",
        /// In proportion to the weights of their agents.
        Weighted = 2 "weighted",
        /// Of those with credit the one that the ordering key (or else the envelope's id) falls
        /// to, so that the same key goes to the same agent while it can take it.
        ConsistentHash = 3 "consistent-hash",
        /// Any.
        Random = 4 "random",
    }
);

/// How an inbox is run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InboxSettings {
    /// What happens when it is full; `None` for the broker's default.
    pub when_full: Option<WhenFull>,
    /// How long an envelope waits outside while it is full; `None` for the broker's default.
    pub wait: Option<Duration>,
    /// Most envelopes in it, ephemeral and durable ones each, below the broker's bounds; `None`
    /// for those bounds.
    pub limit: Option<u32>,
    /// How long what is sent to it alone is of use, counted from its acceptance, unless its sender
    /// says less; `None` for as long as the sender says.
    pub ttl: Option<Duration>,
    /// Who gets what; `None` for the broker's default.
    pub routing: Option<Routing>,
    /// Which priorities go only to agents with a label. At most one binding for a priority.
    pub bindings: Vec<Binding>,
}

/// Binds a priority class to the agents that carry a label: nobody else gets its envelopes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Which class.
    pub priority: Priority,
    /// The label's key.
    pub key: SmolStr,
    /// The label's value.
    pub value: SmolStr,
}

/// What is to change about an inbox. What is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InboxChange {
    /// Sets what happens when it is full.
    pub when_full: Option<WhenFull>,
    /// Sets how long an envelope waits outside.
    pub wait: Option<Duration>,
    /// Sets the most envelopes in it, ephemeral and durable ones each; 0 for the broker's bounds.
    pub limit: Option<u32>,
    /// Sets how long what is sent to it alone from now on is of use; 0 for as long as its sender
    /// says.
    pub ttl: Option<Duration>,
    /// Sets who gets what.
    pub routing: Option<Routing>,
    /// Replaces the bindings.
    pub bindings: Option<Vec<Binding>>,
    /// Goes back to the broker's defaults first.
    pub reset: bool,
}

/// How an inbox is run: what is set about it, and where nothing is set the broker's settings. The
/// default is how a broker runs one about which nothing is set anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InboxEffective {
    /// What happens when it is full.
    pub when_full: WhenFull,
    /// How long an envelope waits outside while it is full.
    pub wait: Duration,
    /// Most ephemeral envelopes in it.
    pub ephemeral: u32,
    /// Most durable envelopes in it.
    pub logged: u64,
    /// Who gets what; `None` for the inbox of one agent, where nobody else does.
    pub routing: Option<Routing>,
}

impl Default for InboxEffective {
    fn default() -> Self {
        Self {
            when_full: WhenFull::Reject,
            wait: Duration::from_secs(5),
            ephemeral: 10_000,
            logged: 10_000_000,
            routing: None,
        }
    }
}

/// An inbox as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboxInfo {
    /// What is set about it.
    pub settings: InboxSettings,
    /// How it is run: what is set about it, or else by the broker.
    pub effective: InboxEffective,
    /// Its figures.
    pub stats: InboxStats,
    /// How many publishes wait outside for room.
    pub waiting_outside: u32,
    /// How many sessions take work from it.
    pub servers: u32,
}

impl InboxSettings {
    /// Whether nothing differs from the broker's defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The settings after a change.
    #[must_use]
    pub fn changed(self, change: &InboxChange) -> Self {
        let InboxChange { when_full, wait, limit, ttl, routing, bindings, reset } = change;
        let before = if *reset { Self::default() } else { self };
        Self {
            when_full: when_full.or(before.when_full),
            wait: wait.or(before.wait),
            limit: limit.or(before.limit).filter(|&limit| limit > 0),
            ttl: ttl.or(before.ttl).filter(|ttl| !ttl.is_zero()),
            routing: routing.or(before.routing),
            bindings: bindings.clone().unwrap_or(before.bindings),
        }
    }
}

impl InboxChange {
    /// Sets what happens when the inbox is full.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = Some(when_full);
        self
    }

    /// Sets how long an envelope waits outside.
    #[must_use]
    pub fn wait(mut self, span: Duration) -> Self {
        self.wait = Some(span);
        self
    }

    /// Sets the most envelopes in the inbox, ephemeral and durable ones each; 0 for the broker's
    /// bounds.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets how long what is sent to the inbox alone from now on is of use; zero for as long as
    /// its sender says.
    #[must_use]
    pub fn ttl(mut self, span: Duration) -> Self {
        self.ttl = Some(span);
        self
    }

    /// Sets who gets what.
    #[must_use]
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routing = Some(routing);
        self
    }

    /// Replaces the bindings.
    #[must_use]
    pub fn bindings(mut self, bindings: impl Into<Vec<Binding>>) -> Self {
        self.bindings = Some(bindings.into());
        self
    }

    /// Goes back to the broker's defaults first.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Checks the change against the broker's highest bound on envelopes and that on spans.
    ///
    /// # Errors
    /// A [`Refusal`] that names the setting, its value and the range.
    pub fn check(&self, inbox: &InboxAddress, most: u32, longest: Duration) -> Result<(), Refusal> {
        if let Some(limit) = self.limit.filter(|&limit| limit > most) {
            let message = format!(
                "the limit of '{inbox}' is {limit}, the range is 1 to {most}, or 0 for the \
                 broker's own"
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        if let Some(wait) = self.wait.filter(|&wait| wait > longest) {
            let (wait, longest) = (Span(wait), Span(longest));
            let message = format!("the wait of '{inbox}' is {wait}, the range is 0 to {longest}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let shortest = Duration::from_millis(1);
        let too_short = |ttl: Duration| !ttl.is_zero() && ttl < shortest;
        if let Some(ttl) = self.ttl.filter(|&ttl| ttl > longest || too_short(ttl)) {
            let code = if ttl > longest { RefusalCode::TooLarge } else { RefusalCode::Invalid };
            let message = format!(
                "the time to live of '{inbox}' is {}, the range is {} to {}, or 0 for none",
                Span(ttl),
                Span(shortest),
                Span(longest)
            );
            return Err(Refusal::new(code, message));
        }
        let bindings = self.bindings.as_deref().unwrap_or_default();
        for (at, binding) in bindings.iter().enumerate() {
            if binding.key.is_empty() {
                let message = format!(
                    "the binding of priority '{}' at '{inbox}' names no label",
                    binding.priority
                );
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
            if bindings[..at].iter().any(|other| other.priority == binding.priority) {
                let message = format!(
                    "priority '{}' at '{inbox}' is bound twice; a priority has one binding",
                    binding.priority
                );
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        }
        if matches!(inbox, InboxAddress::Agent(_))
            && (!bindings.is_empty() || self.routing.is_some())
        {
            let message = format!(
                "'{inbox}' is the inbox of one agent: routing and bindings are for the inbox of a \
                 skill"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        Ok(())
    }
}
