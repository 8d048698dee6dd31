//! Circuit breakers between agents and inboxes: an agent that keeps failing gets no work from the
//! inbox for a while, then as much as tells whether it has recovered.
//!
//! Soft state: it is not recorded, and closed after a restart. Fed by how deliveries end. While a
//! breaker is half-open only the probes that it let through count; what was delivered before it
//! opened says nothing of how the agent is now.

use super::timers::Alarm;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::queue::Place;
use crate::table::{AgentKey, EntryKey, InboxKey};
use std::collections::VecDeque;
use std::time::Duration;
use trunkline_types::{AgentEvent, BreakerInfo, BreakerState};

/// One that is not closed, or has counted failures.
#[derive(Debug)]
pub(crate) struct Breaker {
    inbox: InboxKey,
    state: State,
    /// When failures happened, in the engine's own time, oldest first; no more than open it.
    failures: VecDeque<Mono>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed,
    Open {
        until: Mono,
    },
    HalfOpen {
        /// Tells its probes from those of other times.
        round: u32,
        under_way: u32,
        passed: u32,
    },
}

impl Breaker {
    fn forget_before(&mut self, earliest: Mono) {
        while self.failures.front().is_some_and(|&at| at < earliest) {
            self.failures.pop_front();
        }
    }
}

impl Engine {
    /// Whether an agent may have work from an inbox for all that its breaker says.
    pub(crate) fn passes_breaker(&self, agent: AgentKey, inbox: InboxKey) -> bool {
        let breaker = self.agents[agent].breakers.iter().find(|breaker| breaker.inbox == inbox);
        match breaker.map(|breaker| breaker.state) {
            None | Some(State::Closed) => true,
            Some(_) if self.planted(Defect::IgnoredBreaker) => true,
            Some(State::Open { .. }) => false,
            Some(State::HalfOpen { under_way, .. }) => {
                under_way < self.probes() || self.planted(Defect::EndlessProbes)
            }
        }
    }

    /// Marks a delivery that was just leased as a probe, if it is one.
    pub(crate) fn begin_probe(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        if self.inboxes[entry.inbox].shut == 0 {
            return;
        }
        let Some(lease) = entry.lease.get().map(|lease| &mut self.leases[lease]) else { return };
        let breakers = &mut self.agents[lease.agent].breakers;
        let breaker = breakers.iter_mut().find(|breaker| breaker.inbox == entry.inbox);
        if let Some(Breaker { state: State::HalfOpen { round, under_way, .. }, .. }) = breaker {
            *under_way += 1;
            lease.probe = *round;
        }
    }

    /// A probe is no longer under way, however it ended.
    pub(crate) fn end_probe(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let Some(lease) = entry.lease.get().map(|lease| &mut self.leases[lease]) else { return };
        let probe = std::mem::take(&mut lease.probe);
        if probe == 0 {
            return;
        }
        let breakers = &mut self.agents[lease.agent].breakers;
        let breaker = breakers.iter_mut().find(|breaker| breaker.inbox == entry.inbox);
        if let Some(Breaker { state: State::HalfOpen { round, under_way, .. }, .. }) = breaker
            && *round == probe
        {
            *under_way -= 1;
            self.stirred.push_back(entry.inbox);
        }
    }

    /// Counts how a delivery that is still held ended, before anything follows from it.
    #[inline]
    pub(crate) fn note_outcome(&mut self, now: Now, key: EntryKey, good: bool, out: &mut Output) {
        let entry = &self.entries[key];
        let Some(lease) = self.lease_of(entry).filter(|_| entry.place == Place::Leased) else {
            return;
        };
        let (agent, inbox, probe) = (lease.agent, entry.inbox, lease.probe);
        // Nearly always all is well and was before.
        if !good || !self.agents[agent].breakers.is_empty() {
            self.count_outcome(now, (agent, inbox, probe), good, out);
        }
    }

    fn count_outcome(
        &mut self,
        now: Now,
        (agent, inbox, probe): (AgentKey, InboxKey, u32),
        good: bool,
        out: &mut Output,
    ) {
        let limit = self.config.breaker_failures as usize;
        let present = self.present(now);
        let earliest = self.window_start(now);
        let probes = self.probes();
        let known = &mut self.agents[agent].breakers;
        let place = known.iter().position(|breaker| breaker.inbox == inbox);
        if place.is_none() && (good || limit == 0) {
            return;
        }
        let place = place.unwrap_or_else(|| {
            let failures = VecDeque::new();
            known.push(Breaker { inbox, state: State::Closed, failures });
            known.len() - 1
        });
        let breaker = &mut known[place];
        match &mut breaker.state {
            State::Closed => {
                // What succeeds in between shows that it is not the agent that fails.
                if good {
                    breaker.failures.clear();
                }
                breaker.forget_before(earliest);
                if !good && limit > 0 {
                    breaker.failures.push_back(present);
                }
                if limit > 0 && breaker.failures.len() >= limit {
                    self.inboxes[inbox].shut += 1;
                    self.open_breaker(now, agent, place, out);
                } else if breaker.failures.is_empty() {
                    known.swap_remove(place);
                }
            }
            State::HalfOpen { round, passed, .. } if *round == probe => {
                if !good {
                    breaker.failures.push_back(present);
                    if breaker.failures.len() > limit.max(1) {
                        breaker.failures.pop_front();
                    }
                    self.open_breaker(now, agent, place, out);
                    return;
                }
                *passed += 1;
                if *passed >= probes {
                    self.close_breaker(now, agent, place, out);
                }
            }
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    /// The time that a breaker stays open is over: it lets probes through.
    pub(crate) fn half_open(
        &mut self,
        now: Now,
        agent: AgentKey,
        inbox: InboxKey,
        out: &mut Output,
    ) {
        let place = self.agents[agent].breakers.iter().position(|breaker| breaker.inbox == inbox);
        let Some(place) = place else { return };
        if self.config.breaker_failures == 0 {
            self.close_breaker(now, agent, place, out);
            return;
        }
        self.probe_round = self.probe_round.wrapping_add(1).max(1);
        let round = self.probe_round;
        self.agents[agent].breakers[place].state =
            State::HalfOpen { round, under_way: 0, passed: 0 };
        self.tell_agent(now, agent, AgentEvent::Changed, out);
        self.stirred.push_back(inbox);
    }

    /// Whether a breaker's timer is still wanted.
    pub(crate) fn is_open_until(&self, agent: AgentKey, inbox: InboxKey, at: u64) -> bool {
        self.agents.get(agent).is_some_and(|agent| {
            let mut known = agent.breakers.iter();
            let until = State::Open { until: Mono(at) };
            known.any(|breaker| breaker.inbox == inbox && breaker.state == until)
        })
    }

    /// Forgets all breakers of an agent.
    pub(crate) fn forget_breakers(&mut self, agent: AgentKey) {
        for breaker in std::mem::take(&mut self.agents[agent].breakers) {
            self.inboxes[breaker.inbox].shut -= u32::from(breaker.state != State::Closed);
            if matches!(breaker.state, State::Open { .. }) {
                self.disarm_alarm();
            }
        }
    }

    /// An agent's breakers as the directory shows them.
    pub(crate) fn breaker_infos(&self, now: Now, agent: AgentKey) -> Vec<BreakerInfo> {
        let (present, earliest) = (self.present(now), self.window_start(now));
        let info = |breaker: &Breaker| {
            let failures = breaker.failures.iter().filter(|&&at| at >= earliest).count();
            let (state, open_for) = match breaker.state {
                State::Closed if failures == 0 => return None,
                State::Closed => (BreakerState::Closed, 0),
                State::Open { until } => (BreakerState::Open, until.0.saturating_sub(present.0)),
                State::HalfOpen { .. } => (BreakerState::HalfOpen, 0),
            };
            Some(BreakerInfo {
                inbox: self.address(breaker.inbox)?,
                state,
                failures: u32::try_from(failures).unwrap_or(u32::MAX),
                open_for_ms: open_for.div_ceil(1_000_000),
            })
        };
        let mut infos: Vec<_> = self.agents[agent].breakers.iter().filter_map(info).collect();
        infos.sort_unstable_by(|a, b| a.inbox.cmp(&b.inbox));
        infos
    }

    /// Which breakers of an agent are not closed, and how many probes each has under way.
    pub(crate) fn shut_breakers(&self, agent: AgentKey) -> impl Iterator<Item = (InboxKey, u32)> {
        self.agents[agent].breakers.iter().filter_map(|breaker| match breaker.state {
            State::Closed => None,
            State::Open { .. } => Some((breaker.inbox, 0)),
            State::HalfOpen { under_way, .. } => Some((breaker.inbox, under_way)),
        })
    }

    fn open_breaker(&mut self, now: Now, agent: AgentKey, place: usize, out: &mut Output) {
        let until = self.present(now).after(self.config.breaker_open);
        let row = &mut self.agents[agent];
        let breaker = &mut row.breakers[place];
        breaker.state = State::Open { until };
        let inbox = breaker.inbox;
        self.tenants[row.tenant].tally.breakers_opened += 1;
        self.alarms.arm(until.0, Alarm::Breaker(agent, inbox));
        self.tell_agent(now, agent, AgentEvent::Changed, out);
    }

    fn close_breaker(&mut self, now: Now, agent: AgentKey, place: usize, out: &mut Output) {
        let breaker = self.agents[agent].breakers.swap_remove(place);
        self.inboxes[breaker.inbox].shut -= 1;
        self.tell_agent(now, agent, AgentEvent::Changed, out);
        self.stirred.push_back(breaker.inbox);
    }

    /// How many probes a half-open breaker lets through; one at least, or it would never close.
    fn probes(&self) -> u32 {
        self.config.breaker_probes.max(1)
    }

    fn window_start(&self, now: Now) -> Mono {
        let window: Duration = self.config.breaker_window;
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Mono(self.present(now).0.saturating_sub(nanos))
    }
}
