//! The end of a run: faults end, everybody is healthy, and everything must come to its end.

use super::broker::Mood;
use super::wire::ToBroker;
use super::{Event, World};
use crate::check::{Check, Violation, ensure};
use crate::laws::silence;
use crate::model::{Model, Place};
use trunkline_types::{InboxSettings, Query, TaskFilter, TaskState};

/// Most rounds until everything must have ended.
const ROUNDS: u32 = 40;
/// Most steps of one round.
const STEPS: u64 = 60_000;

impl World {
    /// Lets everything end, and checks that it did.
    pub(crate) fn calm_down(&mut self) -> Check {
        self.quiet = true;
        self.broker.disk.repair();
        self.trace.line(format_args!("{:?} quiet", self.clock.now()));
        self.room()?;
        self.congest(false)?;
        // What waits for a time would otherwise wait for the clock to get there once more.
        self.set_wall(self.clock.behind())?;
        for actor in 0..self.actors.len() {
            self.heal(actor);
        }
        let round = self.lease() + 300_000_000;
        for _ in 0..ROUNDS {
            // Again, for a change that was refused or that an older one came after.
            for tenant in 0..self.models.len() {
                self.undo_settings(self.someone_of(tenant));
            }
            // Again, for credit that less of it came after, on its way since before.
            for actor in 0..self.actors.len() {
                self.take_work(actor);
            }
            self.pass(round)?;
            // Again, for a broker that was not up when it was tried first.
            self.room()?;
            self.congest(false)?;
            self.continue_paused();
            if self.is_over() {
                break;
            }
        }
        self.pass(round)?;
        self.settle()?;
        self.check_over()?;
        // What is counted while it runs is counted anew when it starts.
        self.ask_figures();
        self.settle()?;
        // Once more from disk: what has ended has ended.
        self.stop()?;
        self.pass(4_000_000_000)?;
        self.compare_replay()?;
        self.ask_figures();
        self.pass(round)?;
        self.settle()?;
        self.check_over()
    }

    /// Lets what happened last get to the disk and be told. Whatever is never told stays missing.
    fn settle(&mut self) -> Check {
        for _ in 0..ROUNDS {
            let told = self.broker.synced == self.broker.latest()
                && self.models.iter().all(|model| model.replies.is_empty())
                && self.models.iter().all(|model| model.cancels.is_empty())
                && self.broker.questions.is_empty()
                && self.actors.iter().all(|actor| actor.unanswered().is_none());
            if told {
                break;
            }
            self.pass(30_000_000)?;
        }
        Ok(())
    }

    fn check_over(&mut self) -> Check {
        ensure!(self.broker.mood == Mood::Up, "silence", "the broker is not up at the end");
        for (tenant, model) in self.models.iter().enumerate() {
            let own = self.actors.iter().filter(|actor| actor.tenant == tenant);
            let present: Vec<_> = own.map(|actor| actor.session).collect();
            silence::nothing_left(model, &present)?;
        }
        for actor in &self.actors {
            let open = actor.unanswered();
            ensure!(open.is_none(), "answers", "{} waits for an answer: {open:?}", actor.session);
        }
        let unread = self.broker.questions.len();
        ensure!(unread == 0, "answers", "{unread} questions were never answered");
        self.compare_replay()?;
        self.check_conservation()
    }

    /// Lets this much world time pass.
    fn pass(&mut self, span: u64) -> Check {
        let until = self.clock.time + span;
        self.calendar.plan(until, Event::Check);
        let last = self.step + STEPS;
        while self.clock.time < until {
            self.step()?;
            if self.step > last {
                let message = format!("{STEPS} steps within {span} ns: something goes round");
                return Err(Violation::new("silence", message));
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let served = |model: &Model, entry: &crate::model::Entry| match &entry.inbox {
            trunkline_types::InboxAddress::Agent(agent) => model.book.agents.contains_key(agent),
            trunkline_types::InboxAddress::Skill(skill) => {
                model.book.agents.values().any(|card| card.skills.contains(skill))
            }
        };
        let is_over = |model: &Model| {
            let mut open = model.book.open_entries();
            open.all(|entry| entry.place == Place::Waiting && !served(model, entry))
        };
        // A change that came late is still to be undone: it would keep work from somebody.
        let is_undone = |model: &Model| {
            let book = &model.book;
            book.schedules.is_empty()
                && book.settings.values().all(InboxSettings::is_default)
                && book.controls.values().all(|set| set.healthy && !set.draining && set.weight > 0)
        };
        self.broker.mood == Mood::Up
            && self.models.iter().all(is_undone)
            && self.models.iter().all(is_over)
            && self.actors.iter().all(|actor| actor.unanswered().is_none())
    }

    /// The callers of paused tasks answer.
    fn continue_paused(&mut self) {
        for tenant in 0..self.models.len() {
            let open = self.models[tenant].book.open_entries();
            let paused = open.filter(|entry| entry.place == Place::Paused);
            let tasks: Vec<_> = paused.map(crate::model::Entry::id).collect();
            for task in tasks {
                self.answer_pause(self.someone_of(tenant), task);
            }
        }
    }

    fn ask_figures(&mut self) {
        for tenant in 0..self.models.len() {
            let Some(link) = self.actors[self.someone_of(tenant)].link() else { continue };
            let states = vec![TaskState::InputRequired];
            let paused = TaskFilter { states, ..TaskFilter::default() };
            self.send(link, ToBroker::Ask(Query::Stats));
            self.send(link, ToBroker::Ask(Query::Tasks(paused)));
        }
    }
}
