//! A sweep: the order in which things are said again, and how much of that at a time.

use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::table::{AgentKey, EntryKey, InboxKey, Key, SessionKey, TaskKey, TenantKey};
use crate::task::Task;
use trunkline_types::{Durability, ScheduleName, Sequence, SessionId};

/// Most slots of tables that one step looks at.
const SLOTS: u32 = 8192;

/// A sweep that is under way.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The place of the first record that is to stay.
    pub(super) before: Sequence,
    stage: Stage,
    /// The next slot, or the number of the next letter or session.
    at: u64,
    /// The last schedule of the tenant in that slot that was looked at.
    name: Option<ScheduleName>,
    /// The sessions that were gone when it came to them.
    gone: Vec<SessionId>,
    /// About how many bytes all things need that it has seen.
    live: u64,
    slots: u32,
    bytes: u64,
    /// How many bytes a step may write.
    most: u64,
}

/// What a sweep is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Entries,
    Tasks,
    Letters,
    Agents,
    Schedules,
    Keys,
    Marks,
    Inboxes,
    Tenants,
    Sessions,
    Gone,
    Tokens,
    End,
}

impl Stage {
    const fn next(self) -> Self {
        match self {
            Self::Entries => Self::Tasks,
            Self::Tasks => Self::Letters,
            Self::Letters => Self::Agents,
            Self::Agents => Self::Schedules,
            Self::Schedules => Self::Keys,
            Self::Keys => Self::Marks,
            Self::Marks => Self::Inboxes,
            Self::Inboxes => Self::Tenants,
            Self::Tenants => Self::Sessions,
            Self::Sessions => Self::Gone,
            Self::Gone => Self::Tokens,
            Self::Tokens | Self::End => Self::End,
        }
    }
}

impl Sweep {
    fn new(before: Sequence) -> Self {
        Self {
            before,
            stage: Stage::Entries,
            at: 0,
            name: None,
            gone: Vec::new(),
            live: 0,
            slots: 0,
            bytes: 0,
            most: 0,
        }
    }

    /// The next slot of a table, if there is one and this step may look at more.
    fn slot(&mut self, slots: u32) -> Step<u32> {
        if self.is_over() {
            return Step::Pause;
        }
        let Some(slot) = u32::try_from(self.at).ok().filter(|&slot| slot < slots) else {
            return Step::Done;
        };
        self.at += 1;
        self.slots += 1;
        Step::At(slot)
    }

    /// Whether this step has done enough.
    fn is_over(&self) -> bool {
        self.slots >= SLOTS || self.bytes >= self.most
    }

    /// Counts a thing, and whether it was said again.
    fn saw(&mut self, bytes: u64, carried: bool) {
        self.live += bytes;
        if carried {
            self.bytes += bytes;
        }
    }
}

/// Where a sweep goes on.
enum Step<T> {
    /// Here.
    At(T),
    /// Here in the next step.
    Pause,
    /// With the next stage.
    Done,
}

/// Goes over the slots of a table; returns from the function at the end of the step.
macro_rules! each {
    ($sweep:ident, $key:ty, $slots:expr, |$name:ident| $body:block) => {
        loop {
            match $sweep.slot($slots) {
                Step::At(slot) => {
                    let $name = <$key as Key>::from_slot(slot);
                    $body
                }
                Step::Pause => return false,
                Step::Done => return true,
            }
        }
    };
}

impl Engine {
    /// The place of the first record that is to stay, while a sweep is under way.
    pub fn cleaning(&self) -> Option<Sequence> {
        self.sweep.as_ref().map(|sweep| sweep.before)
    }

    /// About how many bytes of records all that is durable would need. Counted at the start and by
    /// every sweep.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Whether a log whose segments have so many bytes should be cleaned.
    pub fn wants_cleaning(&self, log_bytes: u64) -> bool {
        let percent = u64::from(self.config.clean_percent);
        let most = self.live_bytes.saturating_mul(percent) / 100;
        self.config.logged && log_bytes > most.max(self.config.clean_min_bytes)
    }

    /// Begins a sweep or goes on with it, for one step.
    pub(crate) fn clean(&mut self, now: Now, before: Sequence, out: &mut Output) {
        if !self.config.logged {
            return;
        }
        let before = before.min(self.sequence.next());
        let sweep = self.sweep.take();
        let mut sweep = sweep.unwrap_or_else(|| Box::new(Sweep::new(before)));
        (sweep.slots, sweep.bytes) = (0, 0);
        sweep.most = self.config.clean_step_bytes.max(1);
        while self.sweep_stage(now, &mut sweep, out) {
            sweep.stage = sweep.stage.next();
            sweep.at = 0;
            if sweep.stage == Stage::Gone {
                sweep.gone = self.forgetting.iter().map(|&(_, id)| id).collect();
            }
            if sweep.stage == Stage::End {
                self.live_bytes = sweep.live;
                let effect = Box::new(Effect::Cleaned { before: sweep.before });
                return self.hold(now, Durability::Synced, Held::Effect(effect), out);
            }
        }
        self.sweep = Some(sweep);
    }

    /// The copies of an event that waited rest on the record of its acceptance. They may lie in
    /// slots that the sweep has been at, so it is said again before they are made.
    pub(crate) fn say_before_routing(&mut self, key: EntryKey, out: &mut Output) {
        if self.sweep.as_ref().is_some_and(|sweep| self.entries[key].base < sweep.before) {
            self.say_entry(key, out);
        }
    }

    /// Goes on with a stage. Whether it is over.
    fn sweep_stage(&mut self, now: Now, sweep: &mut Sweep, out: &mut Output) -> bool {
        match sweep.stage {
            Stage::Entries => self.sweep_entries(now, sweep, out),
            Stage::Tasks => self.sweep_tasks(sweep, out),
            Stage::Letters => self.sweep_letters(sweep, out),
            Stage::Agents => self.sweep_agents(sweep, out),
            Stage::Schedules => self.sweep_schedules(sweep, out),
            Stage::Keys => self.sweep_keys(now, sweep, out),
            Stage::Marks => {
                self.say_marks(out);
                true
            }
            Stage::Inboxes => self.sweep_inboxes(sweep, out),
            Stage::Tenants => self.sweep_tenants(sweep, out),
            Stage::Sessions => self.sweep_sessions(now, sweep, out),
            Stage::Gone => self.sweep_gone(now, sweep, out),
            Stage::Tokens => {
                self.say_tokens(now, sweep.before, out);
                true
            }
            Stage::End => true,
        }
    }

    fn sweep_entries(&mut self, now: Now, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, EntryKey, self.entries.slots(), |key| {
            let Some(entry) = self.entries.get(key).filter(|entry| entry.is_logged()) else {
                continue;
            };
            let (base, bytes) = (entry.base, self.entry_bytes(key));
            let carried = base < sweep.before;
            sweep.saw(bytes, carried);
            let forgotten = (self.planted(Defect::ForgottenCarry) && self.rng.u8(..) < 64)
                || (self.planted(Defect::SpilledNotCarried) && self.entries[key].is_away());
            if carried && !forgotten {
                match self.recall_payload(key) {
                    Ok(()) => self.say_entry(key, out),
                    Err(why) => self.end_unreadable(now, key, &why, out),
                }
            }
        })
    }

    fn sweep_tasks(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, TaskKey, self.tasks.rows.slots(), |key| {
            let ended = self.tasks.rows.get(key).filter(|task| task.entry.is_none());
            let is_logged = |task: &&Task| self.task_sent(task).body.durability().is_logged();
            let Some(task) = ended.filter(is_logged) else {
                continue;
            };
            if self.is_indexed(task.more().place) {
                continue;
            }
            let (base, bytes) = (task.more().base, task.bytes() + super::say::REST);
            sweep.saw(bytes, base < sweep.before);
            if base < sweep.before {
                self.recall_ended(key);
                self.say_ended(key, out);
            }
        })
    }

    fn sweep_letters(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        loop {
            if sweep.is_over() {
                return false;
            }
            let Some((number, kept)) = self.dead_letters.logged_from(sweep.at) else { return true };
            let payload = kept.letter.publish.envelope.payload.data.len() as u64;
            let carried = kept.base < sweep.before;
            sweep.saw(payload + super::say::REST, carried);
            sweep.slots += 1;
            sweep.at = number + 1;
            if carried {
                self.say_letter(number, out);
            }
        }
    }

    fn sweep_agents(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, AgentKey, self.agents.slots(), |key| {
            let Some(agent) = self.agents.get(key).filter(|agent| agent.registration.is_some())
            else {
                continue;
            };
            let (base, count) = (agent.base, 1 + agent.subscriptions.len() as u64);
            sweep.saw(count * super::say::REST, base < sweep.before);
            if base < sweep.before {
                self.say_agent(key, out);
            }
        })
    }

    fn sweep_schedules(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, TenantKey, self.tenants.slots(), |key| {
            let Some(tenant) = self.tenants.get(key) else { continue };
            let next = tenant.schedules.after(sweep.name.as_ref()).next();
            let Some((name, row)) = next else {
                sweep.name = None;
                continue;
            };
            let payload = row.schedule.publish.envelope.payload.data.len() as u64;
            let (name, base) = (name.clone(), row.base);
            sweep.saw(payload + super::say::REST, base < sweep.before);
            if base < sweep.before {
                self.say_schedule(key, &name, out);
            }
            // There may be more of them.
            sweep.name = Some(name);
            sweep.at -= 1;
        })
    }

    fn sweep_keys(&mut self, now: Now, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, TenantKey, self.tenants.slots(), |key| {
            let Some(tenant) = self.tenants.get_mut(key) else { continue };
            let Some((used, row)) = tenant.keys.take_older(sweep.before, now.wall) else {
                continue;
            };
            self.say_key(key, &used, row, out);
            sweep.saw(super::say::REST, true);
            sweep.at -= 1;
        })
    }

    fn sweep_inboxes(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, InboxKey, self.inboxes.slots(), |key| {
            if self.inboxes.get(key).is_some() && self.say_inbox(key, sweep.before, out) {
                sweep.saw(super::say::REST, true);
            }
        })
    }

    fn sweep_tenants(&mut self, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, TenantKey, self.tenants.slots(), |key| {
            if self.tenants.get(key).is_some() && self.say_tenant(key, sweep.before, out) {
                sweep.saw(super::say::REST, true);
            }
        })
    }

    fn sweep_sessions(&mut self, now: Now, sweep: &mut Sweep, out: &mut Output) -> bool {
        each!(sweep, SessionKey, self.sessions.slots(), |key| {
            let Some(row) = self.sessions.get(key) else { continue };
            let (id, lasting) = (row.id, row.lasting.clone());
            if !lasting.is_empty() {
                self.say_window(id, &lasting, now.wall, out);
                sweep.saw(super::say::REST, true);
            }
        })
    }

    /// Sessions that are gone. One that came back meanwhile may have got a slot that was looked at
    /// before.
    fn sweep_gone(&mut self, now: Now, sweep: &mut Sweep, out: &mut Output) -> bool {
        loop {
            if sweep.is_over() {
                return false;
            }
            let at = usize::try_from(sweep.at).unwrap_or(usize::MAX);
            let Some(&id) = sweep.gone.get(at) else { return true };
            sweep.at += 1;
            sweep.slots += 1;
            let back = self.session_keys.get(&id).map(|&key| self.sessions[key].lasting.clone());
            let gone = self.windows.get(&id).filter(|known| known.base < sweep.before);
            let known = gone.map(|known| (known.lasting.clone(), known.used_at));
            let Some((lasting, at)) = back.map(|lasting| (lasting, now.wall)).or(known) else {
                continue;
            };
            if !lasting.is_empty() {
                self.say_window(id, &lasting, at, out);
                sweep.saw(super::say::REST, true);
            }
            if let Some(known) = self.windows.get_mut(&id) {
                known.base = self.sequence;
            }
        }
    }
}
