//! From a topic to those who subscribe to it and want the event.

use super::targets::Targets;
use super::topics::Subscriber;
use crate::command::Verdict;
use crate::defect::Defect;
use crate::engine::Engine;
use crate::map::{Map, map};
use crate::table::TenantKey;
use std::cmp::Reverse;
use trunkline_types::{Durability, Filter, GroupName, Publish, Topic, WhenFull};

/// A subscriber that wants an event, and what is to happen if it has too many. Ordered so that
/// of several subscriptions of one subscriber the one that makes room comes first.
type Taker = (Subscriber, Reverse<WhenFull>);

impl Engine {
    /// Finds who gets an event on a topic: each subscriber one copy however many of its
    /// subscriptions match, each group one of its members.
    pub(crate) fn subscribers(
        &mut self,
        tenant: TenantKey,
        publish: &Publish,
        topic: &Topic,
        targets: &mut Targets,
    ) {
        let mut found: Vec<Taker> = Vec::new();
        let mut grouped: Vec<(GroupName, Taker)> = Vec::new();
        let mut left_out: Vec<(Option<GroupName>, Subscriber)> = Vec::new();
        let mut verdicts = None;
        for wanted in self.tenants[tenant].topics.to(topic) {
            let filter = wanted.what.filter.as_ref();
            match filter.map_or(Verdict::Wanted, |it| self.verdict(&mut verdicts, it, publish)) {
                Verdict::Wanted => {}
                Verdict::Unwanted => continue,
                Verdict::LeftOut => {
                    left_out.push((wanted.what.group.clone(), wanted.who));
                    continue;
                }
            }
            let taker = (wanted.who, Reverse(wanted.what.when_full));
            match &wanted.what.group {
                Some(group) if !self.planted(Defect::GroupToAll) => {
                    grouped.push((group.clone(), taker));
                }
                _ => found.push(taker),
            }
        }
        // A group misses nothing that one of its members gets.
        left_out.retain(|(own, _)| {
            own.is_none() || grouped.iter().all(|(group, _)| Some(group) != own.as_ref())
        });
        left_out.sort_unstable();
        left_out.dedup_by(|(group, _), (other, _)| group.is_some() && group == other);
        if !grouped.is_empty() {
            self.choose_members(tenant, publish, grouped, &mut found);
        }
        found.sort_unstable();
        found.dedup_by_key(|&mut (who, _)| who);
        targets.left_out = left_out.into_iter().map(|(_, who)| who).collect();
        targets.left_out.sort_unstable();
        targets.left_out.dedup();
        targets.left_out.retain(|left| found.iter().all(|(who, _)| who != left));
        targets.sessions.reserve(found.len());
        for (who, Reverse(when_full)) in found {
            match who {
                Subscriber::Session(session) => targets.sessions.push((session, when_full)),
                Subscriber::Agent(agent) => {
                    let id = self.agents[agent].id.clone();
                    targets.inboxes.push(self.agent_inbox(tenant, &id));
                }
            }
        }
    }

    /// What a filter says of an event. Each filter is evaluated once for an event, by the driver
    /// or here.
    fn verdict(
        &self,
        verdicts: &mut Option<Map<Filter, Verdict>>,
        filter: &Filter,
        publish: &Publish,
    ) -> Verdict {
        if self.planted(Defect::IgnoredFilter) {
            return Verdict::Wanted;
        }
        let known = verdicts.get_or_insert_with(|| {
            let mut known = map(self.config.seed);
            known.extend(self.verdicts.iter().cloned());
            known
        });
        if let Some(&verdict) = known.get(filter) {
            return verdict;
        }
        let verdict = Verdict::from(self.config.rules.matches(filter, publish));
        known.insert(filter.clone(), verdict);
        verdict
    }

    /// Those whose filters were left out miss an event: that is counted, and told to them as
    /// missed. Returns how many they are, which is told to the sender as dropped.
    pub(crate) fn miss_left_out(&mut self, tenant: TenantKey, left_out: &[Subscriber]) -> u32 {
        for &who in left_out {
            match who {
                Subscriber::Session(session) => self.miss_event(session),
                Subscriber::Agent(agent) => {
                    let id = self.agents[agent].id.clone();
                    let inbox = self.agent_inbox(tenant, &id);
                    self.leave_out(inbox);
                }
            }
        }
        u32::try_from(left_out.len()).unwrap_or(u32::MAX)
    }

    /// One member of each group, the one whose turn it is: of those that are connected and have
    /// room, or else of those that have room and find it when they come, or else of those that are
    /// connected, or else of all.
    fn choose_members(
        &mut self,
        tenant: TenantKey,
        publish: &Publish,
        mut grouped: Vec<(GroupName, Taker)>,
        found: &mut Vec<Taker>,
    ) {
        grouped.sort_unstable();
        grouped.dedup_by(|(group, (who, _)), (other, (first, _))| group == other && who == first);
        for members in grouped.chunk_by(|(group, _), (other, _)| group == other) {
            let turn = self.tenants[tenant].topics.turn(&members[0].0);
            let rank = |who: Subscriber| (self.has_room(tenant, who, publish), self.is_there(who));
            let ranked = members.iter().map(|&(_, taker)| (rank(taker.0), taker));
            let ranked: Vec<_> = ranked.collect();
            let best = ranked.iter().map(|&(rank, _)| rank).max();
            let best = ranked.iter().filter(|&&(rank, _)| Some(rank) == best);
            let best: Vec<Taker> = best.map(|&(_, taker)| taker).collect();
            found.push(best[turn % best.len()]);
        }
    }

    /// Whether a subscriber could take an event in without anything being dropped for it.
    fn has_room(&self, tenant: TenantKey, who: Subscriber, publish: &Publish) -> bool {
        let agent = match who {
            Subscriber::Session(session) => return !self.is_event_full(session, publish),
            Subscriber::Agent(agent) => &self.agents[agent].id,
        };
        let Some(inbox) = self.tenants[tenant].agent_inbox(agent) else { return true };
        let logged = self.config.logged;
        let level = if logged { publish.durability() } else { Durability::Ephemeral };
        let size = publish.envelope.payload.data.len() as u64;
        !self.is_queued_outside(inbox) && self.over_bound(inbox, level, size).is_none()
    }

    /// Whether a subscriber is connected and takes new work.
    fn is_there(&self, who: Subscriber) -> bool {
        match who {
            Subscriber::Session(session) => self.sessions[session].connection.is_some(),
            Subscriber::Agent(agent) => {
                self.agents[agent].sessions.iter().any(|&own| self.sessions[own].takes_work())
            }
        }
    }
}
