//! An actor: one session at a time, what it waits for, and what it holds.

use crate::model::nanos;
use crate::plan::Plan;
use std::collections::{BTreeMap, VecDeque};
use trunkline_types::session::{Delivery, Operation, Subscription};
use trunkline_types::{
    AgentCard, AgentId, MessageId, SessionId, SkillName, SkillSchemas, Token, TopicPattern,
    WhenFull,
};

/// How an actor is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Away,
    /// It has said hello over this connection.
    Waiting(u64),
    /// It has been welcomed over this connection.
    Up(u64),
}

/// Something it holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    /// Whether it has stopped renewing the lease.
    pub(crate) stalled: bool,
}

/// An operation that it sent, until everything up to it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) operation: Operation,
    pub(crate) answered: bool,
}

/// One actor.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent habits and plans of one actor")]
pub(crate) struct Actor {
    /// The number of its tenant.
    pub(crate) tenant: usize,
    pub(crate) session: SessionId,
    pub(crate) card: Option<AgentCard>,
    /// Whether it never stalls and always comes back in time.
    pub(crate) steady: bool,
    pub(crate) credit: u32,
    /// The lease that it was told with its latest welcome, in nanoseconds.
    pub(crate) lease: u64,
    pub(crate) state: State,
    /// Until when it stays away.
    pub(crate) away_until: u64,
    /// The number of the first of `pending`.
    pub(crate) first: u64,
    pub(crate) pending: VecDeque<Pending>,
    /// Everything before this number was sent again over the present connection.
    pub(crate) resent: u64,
    pub(crate) held: BTreeMap<Token, Held>,
    pub(crate) old_tokens: Vec<Token>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// The number of the last event handled, and whether it was acknowledged.
    pub(crate) event: u64,
    /// Tasks it follows, with the number of the last event seen.
    pub(crate) followed: BTreeMap<MessageId, u64>,
    /// What it sent lately.
    pub(crate) sent: Vec<MessageId>,
    /// Idempotency keys it has used, with what it said under them.
    pub(crate) keys: Vec<(u64, u64)>,
    pub(crate) beating: bool,
    /// Whether it has asked for no more deliveries over this connection.
    pub(crate) draining: bool,
}

impl Actor {
    /// One of a tenant, by number; the first so many of a tenant are agents.
    pub(crate) fn new(
        (tenant, number, agents): (usize, usize, usize),
        plan: &Plan,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let agent = number < agents;
        let steady = rng.u32(..1000) < plan.work.steady;
        // Two actors of one agent share its inbox.
        let name = if agent && number > 0 && rng.u8(..) < 60 { number - 1 } else { number };
        let card = agent.then(|| card(name, plan));
        let mut actor = Self {
            tenant,
            session: SessionId(rng.u128(..)),
            card,
            steady,
            credit: rng.u32(1..=plan.work.credit),
            lease: nanos(plan.engine.lease),
            state: State::Away,
            away_until: 0,
            first: 1,
            pending: VecDeque::new(),
            resent: 1,
            held: BTreeMap::new(),
            old_tokens: Vec::new(),
            subscriptions: Vec::new(),
            event: 0,
            followed: BTreeMap::new(),
            sent: Vec::new(),
            keys: Vec::new(),
            beating: false,
            draining: false,
        };
        if plan.traffic.topics > 0 {
            for pattern in ["t.*", "t.a", "t.>", "t.b.*"] {
                if rng.u8(..) < 80 {
                    let durable = agent && rng.bool();
                    let pattern = pattern.parse().expect("the patterns are valid");
                    let odds = (plan.traffic.filters, plan.traffic.groups);
                    actor.subscriptions.push(subscription(rng, odds, pattern, durable));
                }
            }
        }
        actor
    }

    /// The connection it is welcomed on.
    pub(crate) fn link(&self) -> Option<u64> {
        match self.state {
            State::Up(link) => Some(link),
            State::Away | State::Waiting(_) => None,
        }
    }

    /// The first operation that is not answered.
    pub(crate) fn unanswered(&self) -> Option<&Operation> {
        self.pending.iter().find(|pending| !pending.answered).map(|pending| &pending.operation)
    }

    pub(crate) fn agent(&self) -> Option<&AgentId> {
        self.card.as_ref().map(|card| &card.id)
    }
}

/// A subscription, now and then with a filter or in a group.
pub(crate) fn subscription(
    rng: &mut fastrand::Rng,
    (filters, groups): (u32, u32),
    pattern: TopicPattern,
    durable: bool,
) -> Subscription {
    let filter = (rng.u32(..1000) < filters).then(|| ["h=a", "h=b"][rng.usize(..2)]);
    let group = (rng.u32(..1000) < groups).then(|| ["g", "h"][rng.usize(..2)]);
    // The events of a durable one go to an inbox, whose own setting decides.
    let drops = rng.bool() && !durable;
    let when_full = if drops { WhenFull::DropOldest } else { WhenFull::Reject };
    Subscription {
        durable,
        filter: filter.map(|text| text.parse().expect("the filters are valid")),
        group: group.map(|name| name.parse().expect("the groups are valid")),
        when_full,
        ..Subscription::new(pattern)
    }
}

/// The card of an agent. The skills depend on the agent alone, so that all its sessions agree.
fn card(name: usize, plan: &Plan) -> AgentCard {
    let mut card = AgentCard::new(agent(name));
    card.skills = vec![skill(0)];
    let tier = if name.is_multiple_of(2) { "gold" } else { "tin" };
    card.labels = vec![("tier".into(), tier.into())];
    // The others way round, so that no filter can be taken for another.
    card.types = vec![if name < 2 { "gold" } else { "tin" }.into()];
    card.capabilities =
        vec!["tin".into(), if name.is_multiple_of(3) { "gold" } else { "own" }.into()];
    if (plan.seed >> (name % 8)) & 1 == 1 || plan.agents == 1 {
        card.skills.push(skill(1));
    }
    if name % 3 == 1 {
        let schema = format!(r#"{{"title":"a{name}"}}"#).parse().expect("it is an object");
        card.schemas = vec![SkillSchemas { skill: skill(0), input: Some(schema), output: None }];
    }
    card
}

/// The id of an agent by number.
pub(crate) fn agent(number: usize) -> AgentId {
    AgentId::new(format!("a{number}")).expect("a letter and digits are a name")
}

/// A skill by number.
pub(crate) fn skill(number: usize) -> SkillName {
    SkillName::new(format!("s{number}")).expect("a letter and digits are a name")
}
