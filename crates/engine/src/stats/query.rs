//! Answers to questions, told once nothing in them can be taken back by a crash.

use crate::command::QueryKey;
use crate::defect::Defect;
use crate::dispatch::Session;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::past::InMemory;
use crate::route::wants;
use crate::settle::is_wanted;
use crate::stats::page::{self, Room};
use crate::table::{AgentKey, TenantKey};
use trunkline_types::{
    AgentFilter, AgentInfo, AgentPage, Answer, Counters, DeadLetter, DeadLetterFilter,
    DeadLetterPage, Durability, Gauges, InboxStats, Presence, Principal, Query, Refusal, Stats,
};

impl Engine {
    /// Answers a question.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        query: QueryKey,
        principal: &Principal,
        question: Query,
        out: &mut Output,
    ) {
        let tenant = self.tenant_key(&principal.tenant);
        let (mut cleared, mut numbers) = (Vec::new(), Vec::new());
        // What the answer rests on is this or earlier.
        let mut rests_on = self.sequence;
        let result = match question {
            Query::Task { id, history_length } => self
                .task_snapshot(tenant, id, history_length)
                .map(|task| Answer::Task(Box::new(task))),
            Query::Context { id, history_length } => self
                .context(tenant, &id, history_length)
                .map(|context| Answer::Context(Box::new(context))),
            Query::Tasks(filter) => self.list_tasks(tenant, &filter).map(|(page, latest)| {
                rests_on = latest;
                Answer::Tasks(page)
            }),
            Query::Agents(filter) => self.list_agents(now, tenant, &filter).map(Answer::Agents),
            Query::DeadLetters(filter) => {
                cleared.extend(self.dead_letters.cleared_of(tenant).cloned());
                let listed = self.list_dead_letters(tenant, &filter, &mut numbers);
                listed.map(Answer::DeadLetters)
            }
            Query::Inbox(address) => {
                self.inbox_info(tenant, &address).map(|info| Answer::Inbox(Box::new(info)))
            }
            Query::Message(id) => self.message_status(tenant, id).map(Answer::Message),
            Query::Schedules(filter) => self.list_schedules(tenant, &filter).map(Answer::Schedules),
            Query::Stats => Ok(Answer::Stats(Box::new(self.stats(now, tenant)))),
        };
        let known = InMemory {
            tasks_from: self.ended_from(),
            letters_from: self.letters_from(),
            cleared,
            numbers,
        };
        let effect = Box::new(Effect::Answer { known: Box::new(known), query, result });
        if rests_on <= self.synced {
            out.effects.push(*effect);
            return;
        }
        self.hold(now, Durability::Synced, Held::Effect(effect), out);
    }

    fn list_agents(
        &self,
        now: Now,
        tenant: TenantKey,
        filter: &AgentFilter,
    ) -> Result<AgentPage, Refusal> {
        let mut room = Room::new(filter.limit)?;
        let of_tenant = self.agents.iter().filter(|(_, agent)| agent.tenant == tenant);
        let mut wanted: Vec<_> = of_tenant
            .filter_map(|(key, agent)| {
                let (id, card) = (&agent.id, &agent.registration.as_ref()?.card);
                let wanted = (wants(filter, card.shown(id))
                    || self.planted(Defect::UnfilteredDirectory))
                    && filter.after.as_ref().is_none_or(|after| id > after)
                    && filter.presence.is_none_or(|wanted| self.presence(key) == wanted);
                wanted.then_some((id, key))
            })
            .collect();
        wanted.sort_unstable_by_key(|&(id, _)| id);
        let mut page = AgentPage::default();
        for info in wanted.into_iter().filter_map(|(_, key)| self.agent_info(now, key)) {
            if !room.take(page::agent(&info)) {
                page.next = page.agents.last().map(|agent| agent.card.id.clone());
                break;
            }
            page.agents.push(info);
        }
        Ok(page)
    }

    /// How present an agent is. Whether it is fit for work is not asked here: that is for
    /// operators to say, and shows apart.
    pub(crate) fn presence(&self, key: AgentKey) -> Presence {
        let (mut offline, mut draining, mut credit, mut ready) = (true, true, 0, false);
        for row in self.connected(key) {
            offline = false;
            draining &= row.draining;
            credit = row.credit.deliveries.max(credit);
            ready |= !row.draining && row.in_flight < row.credit.deliveries;
        }
        if offline {
            Presence::Offline
        } else if draining || self.agents[key].control.draining {
            Presence::Draining
        } else if credit == 0 {
            Presence::Starting
        } else if ready {
            Presence::Ready
        } else {
            Presence::Busy
        }
    }

    fn connected(&self, key: AgentKey) -> impl Iterator<Item = &Session> {
        let sessions = self.agents[key].sessions.iter().map(|&session| &self.sessions[session]);
        sessions.filter(|row| row.connection.is_some())
    }

    /// An agent as the directory shows it; `None` if it has not registered.
    pub(crate) fn agent_info(&self, now: Now, key: AgentKey) -> Option<AgentInfo> {
        let agent = &self.agents[key];
        let registration = agent.registration.as_ref()?;
        let in_flight = self.connected(key).map(|row| row.in_flight).sum();
        let credit = self.connected(key).map(|row| row.credit.deliveries).sum();
        let inbox = self.tenants[agent.tenant].agent_inbox(&agent.id);
        let waiting = inbox.map_or(0, |inbox| {
            let gauges = self.inboxes[inbox].gauges();
            gauges.waiting + gauges.parked + gauges.delayed + gauges.staged
        });
        Some(AgentInfo {
            card: registration.card.whole(&agent.id),
            owner: registration.owner.clone(),
            presence: self.presence(key),
            sessions: u32::try_from(self.connected(key).count()).unwrap_or(u32::MAX),
            in_flight,
            credit,
            waiting,
            registered_at: registration.at,
            control: agent.control,
            breakers: self.breaker_infos(now, key),
        })
    }

    fn list_dead_letters(
        &self,
        tenant: TenantKey,
        filter: &DeadLetterFilter,
        numbers: &mut Vec<u64>,
    ) -> Result<DeadLetterPage, Refusal> {
        let mut room = Room::new(filter.limit)?;
        let older = self.dead_letters.older(tenant, filter.before.unwrap_or(u64::MAX));
        let wanted = older.filter(|(_, letter)| {
            let DeadLetter { publish, inbox, reason, at, accepted_at: _, attempts } = letter;
            is_wanted(filter, publish.envelope.id, (inbox, *at), reason, attempts)
        });
        let (mut page, mut last) = (DeadLetterPage::default(), None);
        for (number, letter) in wanted {
            if !room.take(page::dead_letter(letter)) {
                page.next = last;
                break;
            }
            page.letters.push(letter.clone());
            numbers.push(number);
            last = Some(number);
        }
        Ok(page)
    }

    fn stats(&self, now: Now, tenant: TenantKey) -> Stats {
        let row = &self.tenants[tenant];
        let (tally, recorded) = (&row.tally, &row.tally.recorded);
        // The engine counts what has left its memory; what of it the index has can be read.
        let tasks_indexed = self.indexed_tasks(tenant);
        let tasks_forgotten = tally.forgotten.saturating_sub(tasks_indexed);
        let dead_letters_indexed = self.indexed_letters(tenant);
        let letters_in_memory = self.dead_letters.of(tenant).count() as u64;
        let mut stats = Stats {
            messages_accepted: tally.accepted + recorded.accepted,
            messages_refused: tally.refused,
            messages_unrouted: tally.unrouted,
            duplicates: tally.duplicates,
            replies_dropped: tally.replies_dropped,
            tasks_completed: tally.completed + recorded.completed,
            tasks_failed: tally.failed + recorded.failed,
            tasks_canceled: tally.canceled + recorded.canceled,
            tasks_open: tally.open,
            tasks_forgotten,
            task_events_forgotten: tally.events_forgotten,
            tasks_indexed,
            history_since_ms: self.history_since(tasks_forgotten, now.wall).0,
            records_unindexed: self.unindexed(),
            dead_letters: letters_in_memory + dead_letters_indexed,
            dead_letters_indexed,
            sessions: tally.sessions,
            breakers_opened: tally.breakers_opened,
            overran: tally.overran,
            dead_letters_forgotten: tally.letters_forgotten.saturating_sub(dead_letters_indexed),
            redriven: tally.redriven + recorded.redriven,
            purged: tally.purged + recorded.purged,
            scheduled: recorded.scheduled,
            keys: row.keys.live(now.wall),
            keys_indexed: self.indexed_keys(tenant, now.wall),
            epoch: self.epoch.0,
            uptime_ms: u64::try_from(now.wall.since(self.started_at).as_millis())
                .unwrap_or(u64::MAX),
            ..Stats::default()
        };
        let registered = self.agents.iter().filter(|(_, agent)| agent.registration.is_some());
        stats.agents = registered.filter(|(_, agent)| agent.tenant == tenant).count() as u64;
        let mut unaddressed =
            InboxStats { address: None, counters: Counters::default(), gauges: Gauges::default() };
        for (key, inbox) in self.inboxes.iter().filter(|(_, inbox)| inbox.tenant == tenant) {
            let gauges = inbox.gauges();
            let counters = inbox.totals();
            stats.counters.add(&counters);
            stats.gauges.add(&gauges);
            stats.waiting_outside += self.outside_count(key) as u64;
            match self.address(key) {
                _ if counters.accepted == 0 => {}
                None => {
                    unaddressed.counters.add(&counters);
                    unaddressed.gauges.add(&gauges);
                }
                address => {
                    stats.inboxes.push(InboxStats { address, counters, gauges });
                }
            }
        }
        stats.inboxes.extend(Some(unaddressed).filter(|sum| sum.counters.accepted > 0));
        stats.inboxes.sort_by(|a, b| {
            let busier = b.counters.accepted.cmp(&a.counters.accepted);
            busier.then_with(|| a.address.cmp(&b.address))
        });
        stats.inboxes_total = stats.inboxes.len() as u64;
        stats.inboxes.truncate(page::MOST as usize);
        stats
    }
}
