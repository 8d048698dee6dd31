//! Each thing as the record that says it again.

use crate::admission::Window;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::key_index::KeyRow;
use crate::now::Now;
use crate::queue::{Owner, Place, Standing};
use crate::record::{
    AgentRecord, Carried, CarriedEnded, CarriedEntry, CarriedLease, CarriedLetter, CarriedMarks,
    CarriedSchedule, CarriedTask, CarriedToken, Part, PartOf, Record,
};
use crate::table::{AgentKey, EntryKey, InboxKey, TaskKey, TenantKey};
use crate::task::Task;
use trunkline_types::{IdempotencyKey, ScheduleName, Sequence, SessionId, TaskEventBody, WallTime};

/// About how many bytes a thing needs besides payloads.
pub(super) const REST: u64 = 200;

/// From how many bytes of parts on another record is begun.
const PARTS: usize = 256 << 10;

/// Most tokens in one record.
const TOKENS: usize = 1024;

impl Engine {
    fn say(&mut self, carried: Carried, out: &mut Output) {
        self.emit(Record::Carried(Box::new(carried)), out);
    }

    /// Says parts of what was said last, in as many records as they need.
    fn say_parts(&mut self, of: PartOf, parts: impl Iterator<Item = Part>, out: &mut Output) {
        let (mut some, mut bytes) = (Vec::new(), 0);
        for part in parts {
            bytes += size(&part);
            if bytes > PARTS && !some.is_empty() {
                self.say(Carried::Parts { of, parts: std::mem::take(&mut some) }, out);
                bytes = size(&part);
            }
            some.push(part);
        }
        if !some.is_empty() {
            self.say(Carried::Parts { of, parts: some }, out);
        }
    }

    /// About how many bytes an entry needs, and the task that it is.
    pub(super) fn entry_bytes(&self, key: EntryKey) -> u64 {
        let entry = &self.entries[key];
        let messages: usize = entry.messages().iter().map(|message| message.data.len()).sum();
        let notes: usize = entry.notes().iter().map(|note| note.reason.len()).sum();
        let events = entry.task.get().map_or(0, |task| self.tasks.rows[task].more().event_bytes);
        entry.size() + (messages + notes) as u64 + events + REST
    }

    /// About how many bytes all durable things need that have payloads.
    pub(crate) fn measure(&self) -> u64 {
        let logged = self.entries.iter().filter(|(_, entry)| entry.is_logged());
        let entries: u64 = logged.map(|(key, _)| self.entry_bytes(key)).sum();
        let ended = self.tasks.ended[0].queue.iter().rev().map(|(key, _)| &self.tasks.rows[*key]);
        let ended = ended.take_while(|task| !self.is_indexed(task.more().place));
        entries + ended.map(|task| task.bytes() + REST).sum::<u64>()
    }

    pub(super) fn say_entry(&mut self, key: EntryKey, out: &mut Output) {
        let entry = &self.entries[key];
        let id = entry.id;
        let lease = self.lease_of(entry).map(|lease| CarriedLease {
            token: lease.token,
            session: lease.session,
            agent: self.agents[lease.agent].id.clone(),
            begun: lease.begun,
            called_off: lease.called_off,
            ran: lease.ran,
            held: entry.place == Place::Leased,
        });
        let task = entry.task.get().map(|task| &self.tasks.rows[task]);
        let mut said = CarriedEntry {
            entry: id,
            inbox: self.address(entry.inbox),
            publish: entry.whole().clone(),
            session: entry.sender,
            accepted_at: entry.accepted_at,
            attempts: entry.attempts,
            deliveries: entry.deliveries,
            losses: entry.losses(),
            due: entry.due(),
            returned: entry.is_back(),
            rejoined: entry.standing == Standing::Rejoined,
            paused: entry.place == Place::Paused,
            lease,
            task: task.map(carried_task),
            parts: 0,
        };
        let notes = entry.notes().iter().cloned().map(Part::Note);
        let messages = entry.messages().iter().cloned().map(Part::Message);
        let of_task = task.into_iter().flat_map(task_parts);
        let parts: Vec<_> = notes.chain(messages).chain(of_task).collect();
        said.parts = count(&parts);
        self.say(Carried::Entry(said), out);
        self.entries[key].base = self.sequence;
        self.say_parts(PartOf::Entry(id), parts.into_iter(), out);
        if self.planted(Defect::MisplacedPayload) {
            self.entries[key].base = self.sequence;
        }
    }

    pub(super) fn say_ended(&mut self, key: TaskKey, out: &mut Output) {
        let task = &self.tasks.rows[key];
        let (sent, more) = (self.task_sent(task), task.more());
        let id = sent.id;
        let mut said = CarriedEnded {
            publish: sent.cloned().stub(),
            task: carried_task(task),
            ended: more.ended.and_then(|(inbox, state)| Some((self.address(inbox)?, state))),
            place: more.place,
            parts: 0,
        };
        let result = more.result.clone().map(Part::Result);
        let parts: Vec<_> = task_parts(task).chain(result).collect();
        said.parts = count(&parts);
        self.say(Carried::Ended(said), out);
        self.tasks.rows[key].more_mut().base = self.sequence;
        self.say_parts(PartOf::Task(id), parts.into_iter(), out);
    }

    pub(super) fn say_letter(&mut self, number: u64, out: &mut Output) {
        let Some(kept) = self.dead_letters.get(number) else { return };
        let letter = &kept.letter;
        let said = CarriedLetter {
            publish: letter.publish.clone(),
            inbox: letter.inbox.clone(),
            reason: letter.reason.clone(),
            at: letter.at,
            accepted_at: letter.accepted_at,
            place: kept.place,
            parts: count(&letter.attempts),
        };
        let (place, notes) = (kept.place, letter.attempts.clone());
        self.say(Carried::Letter(said), out);
        self.dead_letters.rebase(number, self.sequence);
        self.say_parts(PartOf::Letter(place), notes.into_iter().map(Part::Note), out);
    }

    pub(super) fn say_agent(&mut self, key: AgentKey, out: &mut Output) {
        let agent = &self.agents[key];
        let Some(known) = &agent.registration else { return };
        let tenant = self.tenants[agent.tenant].id.clone();
        let record = AgentRecord {
            tenant: tenant.clone(),
            owner: known.owner.to_string(),
            card: known.card.whole(&agent.id),
            at: known.at,
        };
        let (id, wanted, control) = (agent.id.clone(), agent.subscriptions.clone(), agent.control);
        let subscriptions = count(&wanted);
        self.say(Carried::Agent { record, control, subscriptions }, out);
        self.agents[key].base = self.sequence;
        for wanted in wanted {
            let (tenant, agent, subscription) = (tenant.clone(), id.clone(), (*wanted).clone());
            self.say(Carried::Subscribed { tenant, agent, subscription }, out);
        }
    }

    pub(super) fn say_schedule(
        &mut self,
        tenant: TenantKey,
        name: &ScheduleName,
        out: &mut Output,
    ) {
        let owner = &self.tenants[tenant];
        let Some(row) = owner.schedules.get(name) else { return };
        let said = CarriedSchedule {
            tenant: owner.id.clone(),
            owner: row.owner.clone(),
            schedule: row.schedule.clone(),
            next: row.next,
            fired: row.fired,
            last: row.last,
        };
        self.say(Carried::Schedule(said), out);
        let at = self.sequence;
        if let Some(row) = self.tenants[tenant].schedules.get_mut(name) {
            row.base = at;
        }
    }

    pub(super) fn say_key(
        &mut self,
        tenant: TenantKey,
        key: &IdempotencyKey,
        row: KeyRow,
        out: &mut Output,
    ) {
        let id = self.tenants[tenant].id.clone();
        self.say(Carried::Key { tenant: id, key: key.clone(), row }, out);
        let at = self.sequence;
        self.tenants[tenant].keys.put_back(at, key, row);
    }

    /// Says what only a replay of the whole log would come to.
    pub(super) fn say_marks(&mut self, out: &mut Output) {
        let here = self.sequence.next();
        let letter = self.dead_letters.logged_from(0);
        // What is kept may have ended before something that is forgotten: a replay that begins in
        // the middle forgets what it has found before it comes to what was said again.
        let mut places =
            self.tasks.ended[0].queue.iter().map(|(key, _)| self.tasks.rows[*key].more().place);
        let kept = places.find(|place| !self.is_indexed(*place));
        let oldest_task = kept.unwrap_or(here).min(self.tasks.forgotten_through.next());
        let oldest_letter = letter.map_or(here, |(_, kept)| kept.place);
        let marks = CarriedMarks {
            epoch: self.epoch,
            born: self.born(),
            next_entry: self.next_entry,
            oldest_task,
            oldest_letter: oldest_letter.min(self.dead_letters.forgotten_through.next()),
        };
        self.say(Carried::Marks(marks), out);
    }

    /// Says the figures of an inbox and how it is run, if it must be said again.
    pub(super) fn say_inbox(&mut self, key: InboxKey, before: Sequence, out: &mut Output) -> bool {
        let inbox = &self.inboxes[key];
        let sum = inbox.counters.ended() + inbox.counters.accepted + inbox.counters.redeliveries;
        let something = sum > 0 || inbox.settings.is_some();
        let old = inbox.base < before || inbox.figured != sum;
        if inbox.owner == Owner::Bare || !something || !old {
            return false;
        }
        let said = Carried::Inbox {
            tenant: self.tenants[inbox.tenant].id.clone(),
            inbox: self.address(key),
            settings: Box::new(inbox.settings().clone()),
            counters: inbox.counters,
        };
        self.say(said, out);
        let at = self.sequence;
        let inbox = &mut self.inboxes[key];
        (inbox.base, inbox.figured) = (at, sum);
        true
    }

    /// Says the figures of a tenant, if they must be said again.
    pub(super) fn say_tenant(
        &mut self,
        key: TenantKey,
        before: Sequence,
        out: &mut Output,
    ) -> bool {
        let tenant = &self.tenants[key];
        let (tally, sum) = (&tenant.tally, tenant.tally.recorded.sum());
        if sum == 0 || (tally.base >= before && tally.figured == sum) {
            return false;
        }
        let (id, keys) = (tenant.id.clone(), tenant.keys.counts());
        let said = Carried::Tenant { tenant: id, tally: tally.recorded, keys };
        self.say(said, out);
        let at = self.sequence;
        let tally = &mut self.tenants[key].tally;
        (tally.base, tally.figured) = (at, sum);
        true
    }

    pub(super) fn say_window(
        &mut self,
        session: SessionId,
        lasting: &Window,
        at: WallTime,
        out: &mut Output,
    ) {
        self.say(Carried::Window { session, ranges: lasting.ranges().to_vec(), at }, out);
    }

    /// Says the tokens again that were used before the broker started. Sessions that have not come
    /// back for as long as they are remembered need them no longer.
    pub(super) fn say_tokens(&mut self, now: Now, before: Sequence, out: &mut Output) {
        if self.started_at.after(self.config.session_memory) <= now.wall {
            self.used_tokens.clear();
            return;
        }
        let older = self.used_tokens.older(before);
        let first = self.sequence.next();
        for some in older.chunks(TOKENS) {
            let said = some.iter().filter_map(|&token| {
                let (agent, used) = self.used_tokens.get(token)?;
                let agent = &self.agents[agent];
                Some(CarriedToken {
                    tenant: self.tenants[agent.tenant].id.clone(),
                    agent: agent.id.clone(),
                    token,
                    used: used as u8,
                })
            });
            let said = said.collect();
            self.say(Carried::Tokens(said), out);
        }
        self.used_tokens.rebase(before, first);
    }
}

fn count<T>(parts: &[T]) -> u32 {
    u32::try_from(parts.len()).expect("a thing has fewer parts than that")
}

fn carried_task(task: &Task) -> CarriedTask {
    let more = task.more();
    CarriedTask {
        state: task.state,
        reason: more.reason.clone(),
        agent: more.agent.clone(),
        deliveries: more.deliveries,
        last_event: more.last_event,
        created_at: task.created_at,
        updated_at: task.updated_at(),
    }
}

fn task_parts(task: &Task) -> impl Iterator<Item = Part> {
    let notes = task.more().notes.iter().cloned().map(Part::TaskNote);
    notes.chain(task.events().into_owned().into_iter().map(Part::Event))
}

/// About how many bytes a part needs.
fn size(part: &Part) -> usize {
    let bytes = match part {
        Part::Note(note) | Part::TaskNote(note) => note.reason.len(),
        Part::Message(payload) | Part::Result(payload) => payload.data.len(),
        Part::Event(event) => match &event.body {
            TaskEventBody::Status { reason, .. } => reason.as_ref().map_or(0, String::len),
            TaskEventBody::Artifact(chunk) => chunk.payload.data.len(),
            TaskEventBody::Message { payload, .. } => payload.data.len(),
        },
    };
    bytes + 64
}
