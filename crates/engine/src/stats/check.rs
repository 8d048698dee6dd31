//! The state as the simulator and property tests check it.

use crate::engine::Engine;
use crate::queue::{Droppable, Entry, Owner, Place};
use crate::schedule::Firing;
use crate::stats::is_past;
use crate::table::{EntryKey, InboxKey, TenantKey};
use std::collections::BTreeMap;
use std::fmt::Write;
use trunkline_types::{Schedule, WallTime};

impl Engine {
    /// Everything that the log must be able to rebuild, as texts under sorted names: equal for
    /// two engines exactly if their durable parts are.
    pub fn durable_state(&self) -> BTreeMap<String, String> {
        self.durable_state_at(WallTime(0))
    }

    /// The same without the ended tasks and dead letters that are past their time at `wall`, the
    /// latest time that either engine was told. Those a live engine has forgotten, while a replay,
    /// which knows no time but that of its records, may still have the ones that came to their end
    /// after the last record.
    pub fn durable_state_at(&self, wall: WallTime) -> BTreeMap<String, String> {
        let (keep_tasks, keep_letters) =
            (self.config.ended_task_keep, self.config.dead_letter_keep);
        let mut state = BTreeMap::new();
        let logged = self.entries.iter().filter(|(_, entry)| entry.is_logged());
        for (key, entry) in logged {
            state.insert(format!("entry {:012}", entry.id.0), self.entry_line(key, entry));
        }
        for (_, agent) in self.agents.iter() {
            let tenant = &self.tenants[agent.tenant].id;
            let known = agent
                .registration
                .as_ref()
                .map(|known| (&known.owner, known.card.whole(&agent.id)));
            let kept = agent.subscriptions.iter();
            let mut subscriptions: Vec<_> = kept.map(|kept| format!("{kept:?}")).collect();
            subscriptions.sort_unstable();
            if known.is_some() || !subscriptions.is_empty() {
                state.insert(
                    format!("agent {tenant} {}", agent.id),
                    format!("{known:?} {subscriptions:?} {:?}", agent.control),
                );
            }
        }
        for (key, inbox) in self.inboxes.iter() {
            let tenant = &self.tenants[inbox.tenant].id;
            let address = self.address(key);
            if let (Some(settings), Some(address)) = (&inbox.settings, &address) {
                state.insert(format!("inbox {tenant} {address}"), format!("{settings:?}"));
            }
            if self.config.logged && inbox.owner != Owner::Bare && inbox.counters.accepted > 0 {
                let name = format!("figures {tenant} {address:?}");
                state.insert(name, format!("{:?}", inbox.counters));
            }
        }
        for (task, more, sent) in self
            .tasks
            .rows
            .iter()
            .map(|(_, task)| (task, task.more(), self.task_sent(task)))
            .filter(|(_, _, sent)| self.config.logged && sent.body.durability().is_logged())
            .filter(|(task, ..)| {
                task.entry.is_some() || !is_past(task.updated_at(), keep_tasks, wall)
            })
            // What the index has is in memory too for a while, but not after a replay.
            .filter(|(task, more, _)| task.entry.is_some() || !self.is_indexed(more.place))
        {
            let mut events = String::new();
            for event in task.events().iter() {
                let _ = write!(events, " {}:{:?}", event.number, event.body);
            }
            state.insert(
                format!("task {}", sent.id),
                format!(
                    "{} {:?} {:?} deliveries {} result {:?} last {} notes {:?} at {:?} {:?} ended \
                     {:?}{events}",
                    task.state,
                    more.reason,
                    more.agent,
                    more.deliveries,
                    more.result,
                    more.last_event,
                    more.notes,
                    task.created_at,
                    task.updated_at(),
                    more.ended.map(|(inbox, state)| (self.address(inbox), state)),
                ),
            );
        }
        for (_, tenant) in self.tenants.iter() {
            if self.config.logged && tenant.tally.recorded.sum() > 0 {
                let name = format!("figures {}", tenant.id);
                state.insert(name, format!("{:?}", tenant.tally.recorded));
            }
            for (key, row) in tenant.keys.sorted() {
                state.insert(format!("key {} {key}", tenant.id), format!("{row:?}"));
            }
            for (name, row) in tenant.schedules.after(None) {
                let Schedule { cron, zone, publish, .. } = &row.schedule;
                let (to, last) = (&publish.envelope.destination, row.last);
                state.insert(
                    format!("schedule {} {name}", tenant.id),
                    format!(
                        "{cron} '{zone}' {to} next {:?} fired {} last {last:?}",
                        row.next, row.fired
                    ),
                );
            }
            let key = self.tenant_keys[&tenant.id];
            let durable =
                self.dead_letters.of(key).filter(|letter| letter.publish.durability().is_logged());
            // Those that the index has are not in memory.
            for letter in durable.filter(|letter| !is_past(letter.at, keep_letters, wall)) {
                let name =
                    format!("dead {} {} {}", tenant.id, letter.inbox, letter.publish.envelope.id);
                state.insert(name, format!("{} {:?}", letter.reason, letter.attempts));
            }
        }
        state.insert("next".to_owned(), format!("{:?} {:?}", self.epoch, self.sequence));
        state
    }

    fn entry_line(&self, key: EntryKey, entry: &Entry) -> String {
        let place = match entry.place {
            Place::Leased => "leased",
            Place::Paused => "paused",
            Place::Staged | Place::Delayed | Place::Blocked | Place::Ready => "waiting",
        };
        let lease = self
            .lease_of(entry)
            .map(|lease| (lease.token, lease.session, lease.begun, lease.called_off, lease.ran));
        let behind = self.key_queue(key).and_then(|queue| {
            let before = queue.iter().take_while(|&&other| other != key);
            let logged = before.map(|&other| &self.entries[other]).filter(|it| it.is_logged());
            logged.last().map(|it| it.id).filter(|_| queue.contains(&key))
        });
        format!(
            "{} {:?} {place} attempts {} losses {} due {:?} lease {lease:?} messages {} notes {:?} \
             {:?} behind {behind:?} deliveries {} from {} at {:?}",
            entry.message,
            self.address(entry.inbox),
            entry.attempts,
            entry.losses(),
            entry.due(),
            entry.messages().len(),
            entry.notes(),
            entry.standing,
            entry.deliveries,
            entry.sender,
            entry.accepted_at,
        )
    }

    /// Checks that each open part of a gathering has its entry, and each such entry its part.
    fn check_gathers(&self) -> Result<(), String> {
        let mut parts = 0;
        let mut held: BTreeMap<TenantKey, u64> = BTreeMap::new();
        for (key, gathering) in self.gathers.iter() {
            *held.entry(gathering.tenant).or_default() += gathering.held();
            let open = gathering.open_entries();
            let mut entries = open.iter().filter_map(|&(entry, id)| {
                self.entries.get(entry).filter(|it| it.id == id && it.gather() == Some(key))
            });
            let found = entries.by_ref().count();
            if found != open.len() || found != gathering.open as usize || found == 0 {
                return Err(format!(
                    "the gathering for {} counts {} open parts, has {} and {found} entries",
                    gathering.request,
                    gathering.open,
                    open.len()
                ));
            }
            parts += found;
        }
        for (key, tenant) in self.tenants.iter() {
            let (found, counted) = (held.remove(&key).unwrap_or(0), tenant.gathered_bytes);
            if found != counted {
                return Err(format!("{found} bytes of answers are held, counted are {counted}"));
            }
        }
        let entries = self.entries.iter().filter(|(_, entry)| entry.gather().is_some()).count();
        if entries == parts {
            return Ok(());
        }
        Err(format!("{entries} entries are gathered for, but {parts} parts are open"))
    }

    /// Checks that exactly those schedules are looked at that are due at some time.
    fn check_schedules(&self) -> Result<(), String> {
        let mut waiting = 0;
        for (tenant, row) in self.tenants.iter() {
            for (name, schedule) in row.schedules.after(None) {
                let at = schedule.wake.map(WallTime);
                let firing = at.map(|at| Firing { at, tenant, name: name.clone() });
                let armed = firing.is_some_and(|firing| self.firings.contains(&firing));
                if !self.replaying && armed != schedule.next.is_some() {
                    return Err(format!("schedule '{name}' is armed: {armed}, {schedule:?}"));
                }
                waiting += usize::from(armed);
            }
        }
        if waiting == self.firings.len() {
            return Ok(());
        }
        Err(format!("{} firings are armed for {waiting} schedules", self.firings.len()))
    }

    /// Checks conservation for each inbox: whatever was accepted has ended or is in one place,
    /// and the places hold what they are counted to hold. Checks besides that nothing is ready
    /// that an available session may have, and that what is found by other ways is what is there:
    /// copies by their messages, events that wait for somebody, what may be dropped, what waits
    /// outside full inboxes.
    ///
    /// # Errors
    /// A text that names the inbox and the sums that differ, or what else does not fit.
    pub fn conservation(&self) -> Result<(), String> {
        self.check_gathers()?;
        self.check_schedules()?;
        self.check_bytes()?;
        if !self.are_orders_consistent() {
            return Err("the orders of tasks name others than there are".to_owned());
        }
        if !self.dead_letters.is_consistent() {
            return Err("the index of dead letters names others than there are".to_owned());
        }
        let mut found: BTreeMap<InboxKey, [u32; Place::COUNT]> = BTreeMap::new();
        for (_, entry) in self.entries.iter() {
            found.entry(entry.inbox).or_default()[entry.place as usize] += 1;
        }
        for (_, session) in self.sessions.iter() {
            let Some(events) = &session.events else { continue };
            let places = found.entry(self.tenants[session.tenant].bare).or_default();
            let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            places[Place::Ready as usize] += count(events.waiting.len());
            places[Place::Leased as usize] += count(events.unacknowledged.len());
        }
        for (key, inbox) in self.inboxes.iter() {
            let places = found.remove(&key).unwrap_or_default();
            let name = self.address(key);
            if places != inbox.places {
                return Err(format!(
                    "inbox {name:?} counts {:?} but holds {places:?}",
                    inbox.places
                ));
            }
            let totals = inbox.totals();
            let (accepted, ended) = (totals.accepted, totals.ended());
            let present = inbox.gauges().total();
            if accepted != ended + present {
                return Err(format!(
                    "inbox {name:?}: {accepted} accepted, but {ended} ended and {present} present"
                ));
            }
        }
        self.check_dispatch()?;
        self.check_payloads()?;
        self.check_messages_index()?;
        self.check_crowds()
    }

    /// Checks the bytes of what waits and of schedules, by which they are bounded.
    fn check_bytes(&self) -> Result<(), String> {
        let mut waiting: BTreeMap<TenantKey, u64> = BTreeMap::new();
        for (_, entry) in self.entries.iter().filter(|(_, entry)| entry.is_logged()) {
            let inbox = &self.inboxes[entry.inbox];
            if inbox.owner == Owner::Pending {
                *waiting.entry(inbox.tenant).or_default() += entry.size();
            }
        }
        for (key, tenant) in self.tenants.iter() {
            let there = waiting.get(&key).copied().unwrap_or_default();
            if !tenant.schedules.is_consistent() || tenant.pending.logged_bytes != there {
                return Err(format!("tenant {} counts other bytes than it has", tenant.id));
            }
        }
        Ok(())
    }

    /// Checks what is noted of full inboxes against those who wait and what lies in them.
    fn check_crowds(&self) -> Result<(), String> {
        let mut outside = 0;
        for (key, inbox) in self.inboxes.iter() {
            let name = self.address(key);
            if let Some(droppable) = &inbox.droppable {
                let mut right = Droppable::default();
                let here = |entry: &Entry| entry.inbox == key && entry.place == Place::Ready;
                for (entry_key, entry) in self.entries.iter().filter(|(_, entry)| here(entry)) {
                    right.push(entry, entry_key);
                }
                let (noted, there) = (droppable.len(), right.len());
                if noted != there {
                    return Err(format!(
                        "inbox {name:?} notes {noted} events that may be dropped, but has {there}"
                    ));
                }
            }
            let Some(crowd) = &inbox.crowd else { continue };
            outside += crowd.outside.len();
            let sizes =
                crowd.outside.iter().map(|it| it.publish.envelope.payload.data.len() as u64);
            if sizes.sum::<u64>() != crowd.bytes {
                return Err(format!("inbox {name:?} counts other bytes outside than there are"));
            }
            for waiter in &crowd.outside {
                let session = self.sessions.get(waiter.session);
                let known = session.is_some_and(|session| {
                    let own = |&(_, number, at): &_| number == waiter.operation && at == key;
                    session.connection == Some(waiter.connection) && session.outside.iter().any(own)
                });
                if !known {
                    let number = waiter.operation;
                    return Err(format!("operation {number} waits outside {name:?} for nobody"));
                }
            }
        }
        let noted: usize = self.sessions.iter().map(|(_, session)| session.outside.len()).sum();
        if noted != outside {
            return Err(format!("sessions have {noted} waiting outside, inboxes {outside}"));
        }
        Ok(())
    }
}
