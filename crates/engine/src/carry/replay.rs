//! Taking in what was said again: it replaces what is known of a thing, or makes it.

use super::origins::Saying;
use crate::admission::Window;
use crate::defect::Defect;
use crate::engine::Engine;
use crate::now::Mono;
use crate::queue::Moment;
use crate::record::{
    Carried, CarriedEnded, CarriedEntry, CarriedLetter, CarriedMarks, CarriedSchedule, CarriedTask,
    CarriedToken, Part, PartOf,
};
use crate::replay::ReplayError;
use crate::settle::{Use, letter_number};
use crate::spill::Sent;
use crate::table::{AgentKey, EntryKey, TaskKey, TenantKey};
use crate::task::{More, Task, event_bytes};
use std::collections::VecDeque;
use trunkline_types::{DeadLetter, MessageId, Sequence};

impl Engine {
    /// Takes in what is said again. What was said just before it and is not yet complete comes
    /// along: if this does not belong to it, a crash has taken the rest, and it was not said.
    pub(crate) fn replay_carried(
        &mut self,
        at: Sequence,
        carried: Carried,
        before: Option<Saying>,
    ) -> Result<(), ReplayError> {
        let wrong = |problem| ReplayError::Contradiction { at, problem };
        match carried {
            Carried::Entry(CarriedEntry { parts, .. })
            | Carried::Ended(CarriedEnded { parts, .. })
            | Carried::Letter(CarriedLetter { parts, .. }) => {
                self.carried_thing(at, carried, Vec::new(), parts)?;
            }
            Carried::Parts { of, parts } => self.carried_parts(at, of, parts, before)?,
            Carried::Agent { record, control, subscriptions } => {
                let key = self.apply_agent(record);
                self.apply_agent_set(key, control);
                self.carried_agent(at, key, subscriptions);
            }
            Carried::Subscribed { tenant, agent, subscription } => {
                let tenant = self.tenant_key(&tenant);
                let key = self.agent_key(tenant, &agent);
                self.apply_subscribed(key, &subscription, true);
                if let Some(Saying::Agent { at, agent, left }) = before
                    && agent == key
                {
                    self.carried_agent(at, key, left.saturating_sub(1));
                }
            }
            Carried::Inbox { tenant, inbox, settings, counters } => {
                let tenant = self.tenant_key(&tenant);
                let inbox = match inbox {
                    Some(address) => self.inbox(tenant, &address),
                    None => self.pending_inbox(tenant),
                };
                self.apply_inbox_set(inbox, *settings);
                let row = &mut self.inboxes[inbox];
                row.counters = counters;
                row.base = at;
                row.figured = counters.ended() + counters.accepted + counters.redeliveries;
            }
            Carried::Tenant { tenant, tally, keys } => {
                let tenant = self.tenant_key(&tenant);
                let row = &mut self.tenants[tenant];
                row.keys.recount(keys);
                row.tally.recorded = tally;
                (row.tally.base, row.tally.figured) = (at, tally.sum());
            }
            Carried::Schedule(schedule) => self.carried_schedule(at, schedule),
            Carried::Window { session, ranges, at: used_at } => {
                let lasting = Window::of_ranges(ranges);
                let lasting = lasting.ok_or(wrong("the ranges of a session are not in order"))?;
                let known = self.windows.entry(session).or_default();
                known.lasting = lasting;
                known.base = at;
                known.used_at = known.used_at.max(used_at);
            }
            Carried::Key { tenant, key, row } => {
                let tenant = self.tenant_key(&tenant);
                if at > self.indexed || self.config.key_index.is_none() {
                    self.tenants[tenant].keys.put_back(at, &key, row);
                }
            }
            Carried::Tokens(tokens) => self.carried_tokens(at, tokens)?,
            Carried::Marks(marks) => self.carried_marks(marks),
        }
        Ok(())
    }

    /// Takes in parts of the thing that was said just before.
    fn carried_parts(
        &mut self,
        at: Sequence,
        of: PartOf,
        more: Vec<Part>,
        before: Option<Saying>,
    ) -> Result<(), ReplayError> {
        let wrong = |problem| ReplayError::Contradiction { at, problem };
        match before {
            Some(Saying::Thing { at, thing, mut parts, left }) if part_of(&thing) == Some(of) => {
                let count = u32::try_from(more.len()).unwrap_or(u32::MAX);
                let left = left.checked_sub(count);
                let left = left.ok_or(wrong("more parts are said again than a thing has"))?;
                parts.extend(more);
                self.carried_thing(at, *thing, parts, left)
            }
            // What is kept may begin within a thing, which is then said again.
            _ if self.origins.may_lack_things() => Ok(()),
            _ => Err(wrong("parts are said again without their thing")),
        }
    }

    /// Takes in a thing once it has all its parts.
    fn carried_thing(
        &mut self,
        at: Sequence,
        thing: Carried,
        parts: Vec<Part>,
        left: u32,
    ) -> Result<(), ReplayError> {
        if left > 0 {
            let thing = Box::new(thing);
            self.origins.saying = Some(Saying::Thing { at, thing, parts, left });
            return Ok(());
        }
        let Some(of) = part_of(&thing) else { return Ok(()) };
        self.judge_events(&thing, &parts);
        let mut new = None;
        match thing {
            Carried::Entry(entry) => self.carried_entry(at, entry)?,
            Carried::Ended(task) => {
                if self.is_indexed(task.place) {
                    self.discard_open_task(task.publish.envelope.id);
                    return Ok(());
                }
                new = self.carried_ended(at, task);
            }
            Carried::Letter(letter) => self.carried_letter(at, letter),
            _ => {}
        }
        for part in parts {
            if self.carried_part(of, part).is_none() {
                let problem = "a part is said again that its thing cannot have";
                return Err(ReplayError::Contradiction { at, problem });
            }
        }
        if let Some(task) = new {
            self.hand_over(task);
        }
        if let PartOf::Letter(place) = of {
            self.hand_over_letter(letter_number(place));
            self.forget_letters();
        }
        Ok(())
    }

    /// The older records of an agent are needed until all its subscriptions have been said again.
    fn carried_agent(&mut self, at: Sequence, agent: AgentKey, left: u32) {
        if left > 0 {
            self.origins.saying = Some(Saying::Agent { at, agent, left });
        } else {
            self.agents[agent].base = at;
        }
    }

    pub(super) fn insert_task(
        &mut self,
        tenant: TenantKey,
        said: CarriedTask,
        sent: Result<EntryKey, Sent>,
    ) -> TaskKey {
        let CarriedTask { state, reason, agent, deliveries, last_event, created_at, updated_at } =
            said;
        let mut more = More {
            reason,
            agent,
            deliveries,
            last_event,
            updated_at: Some(updated_at),
            told: 0,
            base: self.sequence,
            ..More::new()
        };
        let state = (state, created_at);
        match sent {
            Ok(entry) => {
                self.tenants[tenant].tally.open += 1;
                let task = Task::carried(tenant, Some(entry), state, more);
                self.tasks.insert(task, self.entries[entry].sent())
            }
            Err(sent) => {
                more.sent = Some(sent.clone());
                self.tasks.insert(Task::carried(tenant, None, state, more), sent.as_ref())
            }
        }
    }

    /// Takes in an ended task; its parts follow. Returns it if it was not known.
    fn carried_ended(&mut self, at: Sequence, said: CarriedEnded) -> Option<TaskKey> {
        let CarriedEnded { publish, task, ended, place, parts: _ } = said;
        let (tenant, id) = (self.tenant_key(&publish.envelope.tenant), publish.envelope.id);
        let ended = ended.map(|(address, state)| (self.inbox(tenant, &address), state));
        let known = self.tasks.ids.get(&id).copied();
        let known = known.filter(|&key| self.tasks.rows[key].more().place == place);
        if let Some(key) = known {
            // It has not changed since it ended; only its parts are said again.
            let row = &mut self.tasks.rows[key];
            let before = row.bytes();
            let more = row.more_mut();
            (more.notes, more.result) = (Vec::new(), None);
            (more.events, more.event_bytes) = (VecDeque::new(), 0);
            more.base = at;
            let gone = before - row.bytes();
            if !self.origins.ended.contains_key(&place) {
                self.tasks.ended[0].bytes -= gone;
            }
            return Some(key).filter(|_| self.planted(Defect::HandedTwice));
        }
        self.discard_open_task(id);
        let key = self.insert_task(tenant, task, Err(Sent::whole(publish)));
        let more = self.tasks.rows[key].more_mut();
        (more.ended, more.place, more.base) = (ended, place, at);
        self.origins.ended.insert(place, (key, id));
        Some(key)
    }

    /// Takes out a task that is open for want of the record that ended it.
    fn discard_open_task(&mut self, id: MessageId) {
        let open = self.tasks.ids.get(&id).and_then(|&key| self.tasks.rows[key].entry.get());
        if let Some(entry) = open {
            self.replay_ids.remove(&self.entries[entry].id);
            self.discard(entry);
        }
    }

    fn carried_letter(&mut self, at: Sequence, said: CarriedLetter) {
        let CarriedLetter { publish, inbox, reason, at: died_at, accepted_at, place, parts: _ } =
            said;
        let tenant = self.tenant_key(&publish.envelope.tenant);
        let attempts = Vec::new();
        let letter = DeadLetter { publish, inbox, reason, at: died_at, accepted_at, attempts };
        if !self.has_letters(place) {
            self.dead_letters.push(tenant, letter, Some(at), place);
        }
    }

    fn carried_part(&mut self, of: PartOf, part: Part) -> Option<()> {
        let task = match of {
            PartOf::Entry(id) => {
                let entry = &mut self.entries[*self.replay_ids.get(&id)?];
                match part {
                    Part::Note(note) => {
                        // The latest note was made when the latest delay began.
                        let delay = entry.due().since(note.at);
                        entry.add_note(Some(note));
                        if entry.is_back() {
                            entry.set_delay_over(Moment::new(Some(Mono(0).after(delay).0)));
                        }
                        return Some(());
                    }
                    Part::Message(message) => {
                        entry.past.get_or_insert_default().messages.push(message);
                        return Some(());
                    }
                    Part::TaskNote(_) | Part::Event(_) | Part::Result(_) => entry.task.get()?,
                }
            }
            PartOf::Task(id) => *self.tasks.ids.get(&id)?,
            PartOf::Letter(place) => {
                if let Part::Note(note) = part {
                    self.dead_letters.add_attempt(place, note);
                }
                return Some(());
            }
        };
        let row = &mut self.tasks.rows[task];
        let before = row.bytes();
        let more = row.more_mut();
        match part {
            Part::TaskNote(note) => more.notes.push(note),
            Part::Event(event) => {
                more.event_bytes += event_bytes(&event.body);
                more.events.push_back(event);
            }
            Part::Result(result) => more.result = Some(result),
            Part::Note(_) | Part::Message(_) => return None,
        }
        let (added, ended) = (row.bytes() - before, row.entry.is_none());
        if ended && !self.origins.ended.contains_key(&row.more().place) {
            self.tasks.ended[0].bytes += added;
        }
        row.trim();
        Some(())
    }

    fn carried_schedule(&mut self, at: Sequence, said: CarriedSchedule) {
        let CarriedSchedule { tenant, owner, schedule, next, fired, last } = said;
        let (tenant, name) = (self.tenant_key(&tenant), schedule.name.clone());
        let row = crate::schedule::Row::carried(owner, schedule, (next, fired, last), at);
        self.tenants[tenant].schedules.insert(name, row);
    }

    fn carried_tokens(
        &mut self,
        at: Sequence,
        tokens: Vec<CarriedToken>,
    ) -> Result<(), ReplayError> {
        for CarriedToken { tenant, agent, token, used } in tokens {
            let tenant = self.tenant_key(&tenant);
            let agent = self.agent_key(tenant, &agent);
            let problem = "a token was used for something that is not known";
            let used = Use::from_number(used);
            let used = used.ok_or(ReplayError::Contradiction { at, problem })?;
            self.used_tokens.insert(at, token, agent, used);
        }
        Ok(())
    }

    /// Everything has been said: what the engine had forgotten by then is forgotten here too. A task
    /// or a letter that it had not forgotten may have ended before one that it had, having left memory
    /// for the index. If the index lacks it now, it stays until that has it, and goes by its own time.
    fn carried_marks(&mut self, marks: CarriedMarks) {
        let CarriedMarks { epoch, born, next_entry, oldest_task, oldest_letter } = marks;
        self.date_events(epoch);
        self.epoch = self.epoch.max(epoch);
        self.origins.born.get_or_insert(born);
        self.next_entry = self.next_entry.max(next_entry);
        self.order_ended();
        let waits = self.config.task_index.is_some() && self.index_follows();
        let older = |engine: &Self| {
            let first = engine.tasks.ended[0].queue.front();
            let place = first.map(|(key, _)| engine.tasks.rows[*key].more().place);
            place.is_some_and(|at| at < oldest_task && (!waits || engine.is_indexed(at)))
        };
        while older(self) {
            self.forget_oldest_task(0);
        }
        let forgotten = Sequence(oldest_task.0.saturating_sub(1));
        self.tasks.forgotten_through = self.tasks.forgotten_through.max(forgotten);
        let waits = self.config.letter_index.is_some() && self.index_follows();
        let through = if waits { self.indexed.next() } else { oldest_letter };
        self.dead_letters.forget_before(oldest_letter, through);
    }

    /// Puts ended tasks that were said again among the others, in the order in which they ended.
    fn order_ended(&mut self) {
        if self.origins.ended.is_empty() {
            return;
        }
        let rows = &self.tasks.rows;
        let said = std::mem::take(&mut self.origins.ended);
        let bytes: u64 = said.values().map(|(key, _)| rows[*key].bytes()).sum();
        let ended = &mut self.tasks.ended[0];
        ended.queue.extend(said.into_values());
        ended.queue.make_contiguous().sort_by_key(|(key, _)| rows[*key].more().place);
        ended.bytes += bytes;
    }

    /// Ends what only a replay needs: everything is in its order afterwards.
    pub(crate) fn finish_carried(&mut self) {
        self.order_ended();
        self.forget_ended_tasks(0);
        self.find_forgotten();
        for tenant in self.tenants.iter_mut() {
            tenant.keys.order_replayed();
        }
        self.origins.missing.clear();
    }
}

/// What parts of a thing say they are of, if it can have any.
fn part_of(thing: &Carried) -> Option<PartOf> {
    match thing {
        Carried::Entry(entry) => Some(PartOf::Entry(entry.entry)),
        Carried::Ended(task) => Some(PartOf::Task(task.publish.envelope.id)),
        Carried::Letter(letter) => Some(PartOf::Letter(letter.place)),
        _ => None,
    }
}
