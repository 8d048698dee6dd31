//! Subscriptions that come and go: those of agents, which are kept, and those of sessions.

use super::topics::Subscriber;
use crate::admission::Answered;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::record::Record;
use crate::table::{AgentKey, SessionKey, TenantKey};
use std::sync::Arc;
use trunkline_types::session::Subscription;
use trunkline_types::{Durability, Refusal, RefusalCode, WhenFull};

/// How much of a filter a refusal repeats, in characters.
const SHOWN: usize = 200;

impl Engine {
    /// Whether a subscription can be kept: its filter compiles, and what it says of a full
    /// recipient has an effect.
    pub(crate) fn check_subscription(&self, wanted: &Subscription) -> Result<(), Refusal> {
        if wanted.when_full == WhenFull::Wait {
            let message = format!(
                "the subscription to '{}' cannot let events wait when it is full; it is reject or \
                 drop-oldest",
                wanted.pattern
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if wanted.durable && wanted.when_full != WhenFull::Reject {
            let message = format!(
                "the durable subscription to '{}' cannot say {} when it is full: its events go to \
                 the inbox of its agent, whose own setting decides; set that instead",
                wanted.pattern, wanted.when_full
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let Some(filter) = &wanted.filter else { return Ok(()) };
        self.config.rules.check_filter(filter).map_err(|problem| {
            let shown: String = filter.as_str().chars().take(SHOWN).collect();
            let message = format!("filter '{shown}' does not compile: {problem}");
            Refusal::new(RefusalCode::Invalid, message)
        })
    }

    /// Adds or removes a subscription.
    pub(crate) fn subscribe(
        &mut self,
        now: Now,
        session: SessionKey,
        subscription: &Subscription,
        wanted: bool,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        if wanted {
            self.check_subscription(subscription)?;
        }
        let limit = self.config.limits.subscriptions;
        let full = |count: usize| {
            let message = format!("there are {count} subscriptions already, the limit is {limit}");
            Refusal::new(RefusalCode::TooLarge, message)
        };
        if !subscription.durable {
            let own = self.own_subscriptions(session);
            let new = !own.iter().any(|other| other.same_place(subscription));
            if wanted && new && own.len() >= limit {
                return Err(full(own.len()));
            }
            self.change_own(now, session, subscription, wanted, out);
            return Ok(Answered::Done(Durability::Ephemeral));
        }
        let agent = self.sessions[session].agent;
        let Some(key) = agent.filter(|&key| self.agents[key].registration.is_some()) else {
            let message = "a durable subscription belongs to an agent; this session has none";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        };
        let kept = &self.agents[key].subscriptions;
        let known = kept.iter().find(|other| other.same_place(subscription));
        let change = match known {
            Some(known) => !wanted || **known != *subscription,
            None => wanted,
        };
        if change {
            if wanted && known.is_none() && kept.len() >= limit {
                return Err(full(kept.len()));
            }
            self.change_subscription(now, key, subscription, wanted, out);
        }
        let level = if self.config.logged { Durability::Synced } else { Durability::Ephemeral };
        Ok(Answered::Done(level))
    }

    /// Records that an agent wants the events of some topics or no longer, and acts on it.
    pub(crate) fn change_subscription(
        &mut self,
        now: Now,
        key: AgentKey,
        subscription: &Subscription,
        wanted: bool,
        out: &mut Output,
    ) {
        let agent = &self.agents[key];
        let tenant = agent.tenant;
        if self.config.logged {
            let (agent, subscription) = (agent.id.clone(), subscription.clone());
            let tenant = self.tenants[tenant].id.clone();
            let record = if wanted {
                Record::Subscribed { tenant, agent, subscription }
            } else {
                Record::Unsubscribed { tenant, agent, subscription }
            };
            self.emit(record, out);
        }
        let before = self.apply_subscribed(key, subscription, wanted);
        let after = wanted.then_some(subscription);
        self.tell_filters(tenant, before.as_deref(), after, out);
        if wanted {
            self.route_waiting(now, tenant, &subscription.pattern, out);
        }
    }

    /// An agent wants the events of some topics, or no longer; shared by live commands and
    /// replay. Returns the subscription that was there before.
    pub(crate) fn apply_subscribed(
        &mut self,
        key: AgentKey,
        subscription: &Subscription,
        wanted: bool,
    ) -> Option<Arc<Subscription>> {
        let sequence = self.sequence;
        let agent = &mut self.agents[key];
        agent.sequence = sequence;
        let topics = &mut self.tenants[agent.tenant].topics;
        let at = agent.subscriptions.iter().position(|other| other.same_place(subscription));
        let before = at.map(|at| agent.subscriptions.remove(at));
        if let Some(before) = &before {
            topics.remove(Subscriber::Agent(key), before);
        }
        if wanted {
            let subscription = Arc::new(subscription.clone());
            agent.subscriptions.push(subscription.clone());
            topics.add(Subscriber::Agent(key), subscription);
        }
        before
    }

    /// Sets the subscriptions that live as long as the session. Of several at one place the last
    /// one counts.
    pub(crate) fn set_session_subscriptions(
        &mut self,
        now: Now,
        session: SessionKey,
        wanted: &[Subscription],
        out: &mut Output,
    ) {
        let stays = |known: &Subscription| wanted.iter().any(|other| other.same_place(known));
        let gone = self.own_subscriptions(session).iter().filter(|known| !stays(known));
        for subscription in gone.cloned().collect::<Vec<_>>() {
            self.change_own(now, session, &subscription, false, out);
        }
        for subscription in wanted {
            self.change_own(now, session, subscription, true, out);
        }
    }

    fn own_subscriptions(&self, session: SessionKey) -> &[Arc<Subscription>] {
        let events = self.sessions[session].events.as_ref();
        events.map_or(&[][..], |events| &events.subscriptions)
    }

    /// A session wants the events of some topics itself, or no longer.
    fn change_own(
        &mut self,
        now: Now,
        session: SessionKey,
        subscription: &Subscription,
        wanted: bool,
        out: &mut Output,
    ) {
        let row = &mut self.sessions[session];
        if !wanted && row.events.is_none() {
            return;
        }
        let tenant = row.tenant;
        let events = row.events.get_or_insert_default();
        let known = &mut events.subscriptions;
        let at = known.iter().position(|other| other.same_place(subscription));
        if wanted && at.is_some_and(|at| *known[at] == *subscription) {
            return;
        }
        let topics = &mut self.tenants[tenant].topics;
        let who = Subscriber::Session(session);
        let before = at.map(|at| known.remove(at));
        if let Some(before) = &before {
            topics.remove(who, before);
        }
        if wanted {
            let subscription = Arc::new(subscription.clone());
            known.push(subscription.clone());
            topics.add(who, subscription);
        }
        let after = wanted.then_some(subscription);
        self.tell_filters(tenant, before.as_deref(), after, out);
        if wanted {
            self.route_waiting(now, tenant, &subscription.pattern, out);
        }
    }

    /// Tells the driver which filters came and went. One that comes is told first, so that one
    /// that stays is never forgotten in between.
    pub(crate) fn tell_filters(
        &self,
        tenant: TenantKey,
        before: Option<&Subscription>,
        after: Option<&Subscription>,
        out: &mut Output,
    ) {
        let filter = |of: Option<&Subscription>| of.and_then(|of| of.filter.clone());
        if filter(before) == filter(after) {
            return;
        }
        for (subscription, wanted) in [(after, true), (before, false)] {
            let Some(Subscription { pattern, filter: Some(filter), .. }) = subscription else {
                continue;
            };
            let tenant = self.tenants[tenant].id.clone();
            let (pattern, filter) = (pattern.clone(), filter.clone());
            out.effects.push(Effect::Filter { tenant, pattern, filter, wanted });
        }
    }

    /// Tells the driver the filters of the subscriptions that were recovered.
    pub(crate) fn tell_recovered_filters(&self, out: &mut Output) {
        for (_, agent) in self.agents.iter() {
            for subscription in &agent.subscriptions {
                self.tell_filters(agent.tenant, None, Some(subscription), out);
            }
        }
    }
}
