//! One run of one seed: the loop that lets one thing happen after the other.

use super::broker::{Broker, DriverDefect, Mood};
use super::{Calendar, Clock, Event, Link};
use crate::actor::Actor;
use crate::check::{Check, Violation};
use crate::day;
use crate::model::Model;
use crate::plan::Plan;
use crate::totals::{Count, Totals};
use crate::trace::{Detail, Trace};
use std::collections::BTreeMap;
use trunkline_engine::Defect;
use trunkline_types::MessageId;

/// What is planted in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Planted {
    Engine(Defect),
    Driver(DriverDefect),
}

/// Which run it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// How long it lives; `None` for a random mix of features and faults.
    pub(crate) hours: Option<u32>,
    pub(crate) planted: Option<Planted>,
    pub(crate) detail: Detail,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    pub(crate) hash: u64,
    /// The step at which a law did not hold.
    pub(crate) failure: Option<(u64, Violation)>,
}

/// Everything there is in a run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: fastrand::Rng,
    pub(crate) clock: Clock,
    pub(crate) calendar: Calendar,
    pub(crate) broker: Broker,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) actors: Vec<Actor>,
    /// What each tenant may see.
    pub(crate) models: Vec<Model>,
    pub(crate) totals: Totals,
    pub(crate) trace: Trace,
    pub(crate) step: u64,
    /// No more faults and no more new work: everything is to come to its end.
    pub(crate) quiet: bool,
    pub(crate) connections: u64,
    pub(crate) ids: u64,
    /// Where the latest page of tasks that somebody was shown goes on, and whose they were.
    pub(crate) cursor: Option<(usize, MessageId)>,
}

/// Runs one seed from beginning to end.
pub(crate) fn run(setup: Setup) -> Outcome {
    let mut world = World::new(setup);
    let mut failure = world.live().err();
    if setup.hours.is_some() && failure.is_none() {
        failure = day::check(&world.totals).err();
    }
    let World { mut totals, trace, step, models, .. } = world;
    for model in models {
        totals.add_many(Count::LettersGone, model.book.letters_gone);
        totals.add_many(Count::Outside, model.waited);
        totals.add_many(Count::Breakers, model.opened);
        totals.add_many(Count::Grouped, model.shared);
        totals.add_many(Count::Chosen, model.chosen);
    }
    Outcome { totals, hash: trace.hash(), failure: failure.map(|violation| (step, violation)) }
}

impl World {
    fn new(setup: Setup) -> Self {
        let plan = match setup.hours {
            Some(hours) => day::plan(setup.seed, hours),
            None => Plan::draw(setup.seed),
        };
        let mut rng = fastrand::Rng::with_seed(setup.seed ^ 0x5eed_5eed_5eed_5eed);
        let mut config = plan.engine.clone();
        let mut defect = None;
        match setup.planted {
            Some(Planted::Engine(planted)) => config.defect = Some(planted),
            Some(Planted::Driver(planted)) => defect = Some(planted),
            None => {}
        }
        let residents = (0..plan.agents + plan.clients).map(|number| (0, number, plan.agents));
        let strangers = if plan.strangers > 0 { plan.strangers + 1 } else { 0 };
        let strangers = (0..strangers).map(|number| (1, number, plan.strangers));
        let actors = residents.chain(strangers);
        let actors = actors.map(|who| Actor::new(who, &plan, &mut rng)).collect();
        let (pure, indexed) = (plan.traffic.pure, plan.indexed);
        let model = || Model { pure, indexed, ..Model::new(plan.rules()) };
        let tenants = if plan.strangers > 0 { 2 } else { 1 };
        Self {
            broker: Broker::new(&plan, config, defect),
            models: (0..tenants).map(|_| model()).collect(),
            clock: Clock::new(),
            calendar: Calendar::default(),
            links: BTreeMap::new(),
            actors,
            totals: Totals::default(),
            trace: Trace::new(setup.detail),
            step: 0,
            quiet: false,
            connections: 0,
            ids: 0,
            cursor: None,
            rng,
            plan,
        }
    }

    fn live(&mut self) -> Check {
        self.trace.line(format_args!("plan {:?}", self.plan));
        self.restart()?;
        self.plan_faults();
        self.calendar.plan(1, Event::Check);
        for actor in 0..self.actors.len() {
            self.calendar.plan(self.rng.u64(0..5_000_000), Event::Connect(actor));
            self.calendar.plan(self.rng.u64(5_000_000..20_000_000), Event::Act(actor));
        }
        let steps = u64::from(self.plan.steps);
        while self.step < steps && self.clock.time < self.plan.until {
            self.step()?;
        }
        self.calm_down()
    }

    /// Lets the next thing happen: an event, or the engine's timer.
    pub(crate) fn step(&mut self) -> Check {
        self.step += 1;
        self.totals.add(Count::Steps);
        self.go_on_cleaning()?;
        if self.broker.engine.is_spilling() {
            return self.tick();
        }
        let event_at = self.calendar.next_at().unwrap_or(u64::MAX);
        let up = self.broker.mood == Mood::Up;
        let deadline = self.broker.engine.deadline();
        if let Some(at) = self.clock.world_time(deadline).filter(|at| up && *at <= event_at) {
            self.clock.time = self.clock.time.max(at) + self.rng.u64(0..500_000).min(event_at - at);
            self.tick()?;
            if self.broker.engine.deadline() == deadline {
                // A timer that is left in the past would be called for ever.
                let message = format!("the deadline {deadline:?} does not move");
                return Err(Violation::new("timers", message));
            }
            return Ok(());
        }
        let Some((at, event)) = self.calendar.take() else { return Ok(()) };
        self.clock.time = self.clock.time.max(at);
        self.happen(event)
    }

    fn happen(&mut self, event: Event) -> Check {
        match event {
            Event::AtBroker { link, packet } => self.at_broker(link, packet),
            Event::AtClient { link, packet } => {
                self.at_client(link, packet);
                Ok(())
            }
            Event::Act(actor) => {
                self.act(actor);
                Ok(())
            }
            Event::Connect(actor) => {
                self.connect(actor);
                Ok(())
            }
            Event::Beat(actor) => {
                self.beat(actor);
                Ok(())
            }
            Event::Work { actor, token } => {
                self.work(actor, token);
                Ok(())
            }
            Event::Write => self.write(),
            Event::Flush => self.flush(),
            Event::Load(places) => self.load(places),
            Event::Restart => self.restart(),
            Event::Drain => self.drain(),
            Event::Resume => self.resume(),
            Event::Room => self.room(),
            Event::CaughtUp => self.congest(false),
            Event::Fault(kind) => self.fault(kind),
            Event::Check => {
                let least = if self.quiet { 400_000_000 } else { self.plan.look };
                let span = self.rng.u64(least..least * 10);
                self.calendar.plan(self.clock.time + span, Event::Check);
                if self.broker.mood == Mood::Up {
                    self.feed_index()?;
                    self.compare_replay()?;
                    self.check_conservation()?;
                    self.check_payloads()?;
                }
                Ok(())
            }
        }
    }

    /// Draws with a chance in thousandths.
    pub(crate) fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.rng.u32(..1000) < thousandths
    }
}
