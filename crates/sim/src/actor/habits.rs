//! What actors do of their own accord, and how they get well.

use super::person::{State, skill};
use crate::laws::pages;
use crate::model::{Entry, Place};
use crate::totals::Count;
use crate::world::{Event, IMPOSTOR, Link, ToBroker, World, principal};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation};
use trunkline_types::{
    AgentFilter, DeadLetterFilter, InboxAddress, MessageId, Presence, Principal, Query,
    ScheduleFilter, SessionId, TaskFilter,
};

impl World {
    /// An actor does something.
    pub(crate) fn act(&mut self, number: usize) {
        let pace = self.plan.traffic.pace;
        let at = self.clock.time + self.rng.u64(pace / 2..=pace * 2);
        if self.quiet {
            return;
        }
        self.calendar.plan(at, Event::Act(number));
        let State::Up(link) = self.actors[number].state else { return };
        let traffic = self.plan.traffic.clone();
        if self.chance(traffic.cut) {
            self.cut(link);
            self.lost(number);
            return;
        }
        if self.chance(traffic.goodbye) {
            self.did(Count::Goodbyes);
            self.frame(number, ClientFrame::Goodbye);
            self.lost(number);
            self.new_session(number);
            return;
        }
        if !self.actors[number].steady && self.chance(traffic.vanish) {
            self.vanish(number, link);
            return;
        }
        if self.chance(traffic.impostors) {
            self.impersonate(number);
        }
        self.look_after(number);
        match self.rng.u8(..20) {
            0 => self.ask_something(number, link),
            1 | 2 => self.follow(number),
            3 if self.chance(300) => self.resubscribe(number),
            4 if self.chance(300) => self.change_credit(number),
            4 if self.chance(100) => {
                self.did(Count::Drains);
                self.actors[number].draining = true;
                self.frame(number, ClientFrame::Drain);
            }
            5 if self.chance(traffic.cancel * 4) => self.call_off(number),
            6 => self.answer_some(number),
            _ => self.send_some(number),
        }
    }

    /// Gone for longer than the grace; then it comes back as it was, or anew.
    fn vanish(&mut self, number: usize, link: u64) {
        self.did(Count::Vanished);
        self.cut(link);
        let most = self.lease() * 3;
        let span = self.rng.u64(0..=most);
        self.actors[number].away_until = self.clock.time + span;
        self.lost(number);
        if self.rng.bool() {
            self.new_session(number);
        }
    }

    /// Somebody else says hello as this actor: under its session, or as its agent in another one.
    fn impersonate(&mut self, number: usize) {
        self.connections += 1;
        let link = self.connections;
        self.links.insert(link, Link::new(number));
        let session = SessionId(self.rng.u128(..));
        let own = self.rng.bool();
        let actor = &self.actors[number];
        let hello = Hello {
            session: if own || actor.card.is_none() { actor.session } else { session },
            card: actor.card.clone(),
            credit: Credit { deliveries: 8, events: 8 },
            subscriptions: actor.subscriptions.clone(),
            next_operation: 1,
            held: actor.held.keys().copied().collect(),
        };
        let principal = Principal { subject: IMPOSTOR.into(), ..principal(actor.tenant) };
        self.send(link, ToBroker::Hello(Box::new(hello), principal));
    }

    fn ask_something(&mut self, number: usize, link: u64) {
        let task = self.any_task(number);
        let query = match self.rng.u8(..12) {
            0 => Query::Stats,
            6 => Query::Inbox(InboxAddress::Skill(skill(self.rng.usize(..2)))),
            1 => {
                let presence = self.rng.bool().then(|| Presence::ALL[self.rng.usize(..5)]);
                Query::Agents(AgentFilter { presence, ..self.agent_filter() })
            }
            2 => {
                let limit = if self.rng.bool() { 0 } else { self.rng.u32(1..=3) };
                Query::DeadLetters(DeadLetterFilter { limit, ..DeadLetterFilter::default() })
            }
            4 => Query::Message(task),
            5 => Query::Schedules(ScheduleFilter::default()),
            3 | 9 => Query::Tasks(self.task_filter(number)),
            7 => Query::Task { id: task, history_length: None },
            _ => Query::task(task),
        };
        self.send(link, ToBroker::Ask(query));
    }

    /// Which tasks somebody wants to see: mostly those behind the page before.
    fn task_filter(&mut self, number: usize) -> TaskFilter {
        let own = self.actors[number].tenant;
        let cursor = self.cursor.filter(|(tenant, _)| *tenant == own).map(|(_, next)| next);
        let before = cursor.filter(|_| self.rng.u8(..) < 180);
        let all = TaskFilter { limit: self.rng.u32(1..=5), before, ..TaskFilter::default() };
        match self.rng.u8(..8) {
            0 => TaskFilter { skill: Some(skill(self.rng.usize(..2))), ..all },
            1 => {
                let task = self.any_task(number);
                let sent = self.models[own].published.get(&task);
                let root = sent.and_then(|sent| sent.envelope.root_id).unwrap_or(task);
                TaskFilter { root_id: Some(root), ..all }
            }
            2 => {
                let states = vec![pages::STATES[self.rng.usize(..pages::STATES.len())]];
                TaskFilter { states, ..all }
            }
            _ => all,
        }
    }

    /// A task that somebody sent lately, perhaps one that is not accepted yet, and now and then
    /// one of another tenant.
    pub(crate) fn any_task(&mut self, number: usize) -> MessageId {
        let own = self.actors[number].tenant;
        let tenant = if self.rng.u8(..) < 16 { self.rng.usize(..self.models.len()) } else { own };
        let known: Vec<_> = self.models[tenant].published.iter().rev().take(24).collect();
        if known.is_empty() {
            return MessageId::from_parts(0, trunkline_types::Partition(0), 0);
        }
        *known[self.rng.usize(..known.len())].0
    }

    fn follow(&mut self, number: usize) {
        let task = self.any_task(number);
        let actor = &mut self.actors[number];
        if actor.followed.contains_key(&task) || actor.followed.len() > 6 {
            return;
        }
        actor.followed.insert(task, 0);
        self.operate(number, vec![Operation::Watch { task, after: 0 }]);
    }

    fn call_off(&mut self, number: usize) {
        let mut task = self.any_task(number);
        let reason = "no longer wanted".to_owned();
        let descendants = self.rng.bool();
        if descendants {
            self.did(Count::Families);
            // Mostly from the top, or hardly any would have descendants.
            let root = self.model_of(number).published.get(&task);
            task = root.and_then(|sent| sent.envelope.root_id).unwrap_or(task);
        }
        self.operate(number, vec![Operation::Cancel { id: task, reason, descendants }]);
    }

    /// Answers a question that a task waits for, whoever sent that.
    fn answer_some(&mut self, number: usize) {
        let open = self.model_of(number).book.open_entries();
        let paused = open.filter(|entry| entry.place == Place::Paused).map(Entry::id);
        let paused: Vec<_> = paused.collect();
        if !paused.is_empty() {
            let task = paused[self.rng.usize(..paused.len())];
            self.answer_pause(number, task);
        }
    }

    fn change_credit(&mut self, number: usize) {
        let deliveries = self.rng.u32(0..=self.plan.work.credit);
        // Nobody refuses work for ever.
        self.actors[number].credit = deliveries.max(1);
        self.frame(number, ClientFrame::Credit(Credit { deliveries, events: 8 }));
    }

    /// From now on the actor is there, takes work, and does it.
    pub(crate) fn heal(&mut self, number: usize) {
        let actor = &mut self.actors[number];
        actor.away_until = 0;
        actor.credit = 64;
        for held in actor.held.values_mut() {
            held.stalled = false;
        }
        let held: Vec<_> = actor.held.keys().copied().collect();
        if self.plan.until < u64::MAX {
            // It need not be waited for to the hour.
            for token in held {
                let at = self.clock.time + self.lease() / 10;
                self.calendar.plan(at, Event::Work { actor: number, token });
            }
        }
        let actor = &mut self.actors[number];
        let through = actor.event;
        self.take_work(number);
        self.frame(number, ClientFrame::Acknowledge { through });
        // Who has asked for no more work gets some again over a new connection.
        let draining = self.actors[number].draining;
        if let Some(link) = self.actors[number].link().filter(|_| draining) {
            self.cut(link);
            self.lost(number);
        }
        if self.actors[number].link().is_none() {
            self.calendar.plan(self.clock.time, Event::Connect(number));
        }
    }

    /// The actor says that it takes all the work there is.
    pub(crate) fn take_work(&mut self, number: usize) {
        self.frame(number, ClientFrame::Credit(Credit { deliveries: 64, events: 64 }));
    }
}
