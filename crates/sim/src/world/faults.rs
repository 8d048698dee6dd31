//! Faults of the broker's world, each coming again and again at its own pace.

use super::broker::Mood;
use super::{Event, FaultKind, World};
use crate::check::Check;
use crate::totals::Count;
use std::time::Duration;
use trunkline_engine::{Command, Deadline, Mono};
use trunkline_log::{Loss, Operation};

impl World {
    /// Plans the first fault of each kind.
    pub(crate) fn plan_faults(&mut self) {
        for kind in [
            FaultKind::Crash,
            FaultKind::Stop,
            FaultKind::Pause,
            FaultKind::Freeze,
            FaultKind::Configure,
            FaultKind::Jump,
            FaultKind::DiskError,
            FaultKind::Full,
            FaultKind::Congest,
            FaultKind::Clean,
        ] {
            self.plan_fault(kind);
        }
    }

    fn plan_fault(&mut self, kind: FaultKind) {
        let faults = &self.plan.faults;
        let mean = match kind {
            FaultKind::Crash => faults.crash,
            FaultKind::Stop => faults.stop,
            FaultKind::Pause => faults.pause,
            FaultKind::Freeze => faults.freeze,
            FaultKind::Configure => faults.configure,
            FaultKind::Jump => faults.jump,
            FaultKind::DiskError => faults.disk_error,
            FaultKind::Full => faults.full,
            FaultKind::Congest => faults.congest,
            FaultKind::Clean => faults.clean,
        };
        if mean > 0 && !self.calendar.has_fault(kind) {
            let at = self.clock.time + self.rng.u64(mean / 4..=mean * 7 / 4);
            self.calendar.plan(at, Event::Fault(kind));
        }
    }

    pub(crate) fn fault(&mut self, kind: FaultKind) -> Check {
        if self.quiet {
            return Ok(());
        }
        self.plan_fault(kind);
        if self.broker.mood != Mood::Up {
            return Ok(());
        }
        match kind {
            FaultKind::Crash => {
                let loss = match self.rng.u8(..4) {
                    0 => Loss::Nothing,
                    1 => Loss::Unsynced,
                    _ => Loss::Torn(self.rng.u64(..)),
                };
                self.crash(loss)
            }
            FaultKind::Stop if self.rng.bool() => self.begin_drain(),
            FaultKind::Stop => self.stop(),
            FaultKind::Pause => {
                self.pause();
                Ok(())
            }
            FaultKind::Freeze => self.freeze(),
            FaultKind::Configure => self.configure(),
            FaultKind::Jump => self.jump(),
            FaultKind::DiskError => {
                let operation = match self.rng.u8(..4) {
                    0 => Operation::Create,
                    1 => Operation::Names,
                    2 => Operation::Write,
                    _ => Operation::Sync,
                };
                self.broker.disk.fail_after(operation, self.rng.u64(0..=2));
                Ok(())
            }
            FaultKind::Full => self.fill(),
            FaultKind::Congest => {
                self.totals.add(Count::Congestions);
                let span = self.rng.u64(1_000_000..=200_000_000);
                self.calendar.plan(self.clock.time + span, Event::CaughtUp);
                self.congest(true)
            }
            FaultKind::Clean => self.begin_cleaning(),
        }
    }

    /// The broker does nothing for a while; the rest of the world goes on.
    fn pause(&mut self) {
        self.totals.add(Count::Pauses);
        let lease = self.lease();
        let span = self.rng.u64(1_000_000..=lease * 3);
        self.broker.mood = Mood::Paused { since: self.clock.time };
        self.trace.line(format_args!("{:?} pause for {span}", self.clock.now()));
        self.calendar.plan(self.clock.time + span, Event::Resume);
    }

    /// The pause is over: the sockets are drained before anything is found to be late.
    pub(crate) fn resume(&mut self) -> Check {
        let Mood::Paused { since } = self.broker.mood else { return Ok(()) };
        self.broker.mood = Mood::Up;
        let span = self.clock.time - since;
        self.note_absence(span);
        while let Some((link, packet)) = self.broker.sockets.pop_front() {
            self.take_in(link, packet)?;
        }
        self.tick()
    }

    /// The whole machine stands still.
    fn freeze(&mut self) -> Check {
        self.totals.add(Count::Freezes);
        let lease = self.lease();
        let tolerance = self.tolerance();
        let now = self.clock.now().mono.0;
        let span = match self.broker.engine.deadline() {
            // Long enough to be told from a late timer, or too short to matter.
            Deadline { mono: Some(Mono(at)), .. } => {
                let left = at.saturating_sub(now);
                if self.rng.u8(..) < 64 {
                    left / 2
                } else {
                    left + tolerance + self.rng.u64(2_000_000..=lease * 3)
                }
            }
            Deadline { mono: None, .. } => self.rng.u64(0..=lease * 3),
        };
        self.clock.freeze(span);
        self.note_absence(span);
        self.trace.line(format_args!("{:?} froze for {span}", self.clock.now()));
        self.tick()
    }

    /// Tells the model of an absence, if it was long enough for the broker to tell by the lateness
    /// of its timer. Must be called before the broker handles anything.
    fn note_absence(&mut self, span: u64) {
        let now = self.clock.moment();
        self.notice(|model| model.at(now));
        let timer = self.broker.engine.deadline().mono;
        if timer.is_some_and(|Mono(at)| now.mono > at.saturating_add(self.tolerance())) {
            self.notice(|model| model.was_absent(Duration::from_nanos(span)));
        }
    }

    /// The wall clock is set, forwards or backwards.
    fn jump(&mut self) -> Check {
        self.totals.add(Count::Jumps);
        let reach = 5_000_000_000_i64;
        let span = self.rng.i64(-reach..=reach);
        self.set_wall(span)
    }

    /// Sets the wall clock, and tells the broker the time if it is there to be told.
    pub(crate) fn set_wall(&mut self, span: i64) -> Check {
        self.at_moment();
        self.notice(crate::model::Model::jumping);
        self.clock.jump(span);
        self.trace.line(format_args!("{:?} jumped by {span}", self.clock.now()));
        if self.broker.mood == Mood::Up { self.tick() } else { Ok(()) }
    }

    /// The disk has no room for more segments for a while.
    fn fill(&mut self) -> Check {
        self.totals.add(Count::Full);
        self.broker.disk.set_capacity(Some(self.broker.disk.used_bytes()));
        let span = self.rng.u64(50_000_000..=1_000_000_000);
        self.calendar.plan(self.clock.time + span, Event::Room);
        self.tell_space()
    }

    /// The log is as far behind what was decided as it may be, or no longer.
    pub(crate) fn congest(&mut self, congested: bool) -> Check {
        if self.broker.mood != Mood::Up {
            return Ok(());
        }
        self.at_moment();
        self.notice(|model| model.congest(congested));
        self.command(Command::Congestion { congested })
    }

    /// The disk has room again.
    pub(crate) fn room(&mut self) -> Check {
        self.broker.disk.set_capacity(None);
        if self.broker.mood != Mood::Up {
            return Ok(());
        }
        if let Some(log) = self.broker.log.as_mut() {
            // A failure shows in the space that is left.
            let _ = log.prepare();
        }
        self.tell_space()
    }

    pub(crate) fn lease(&self) -> u64 {
        crate::model::nanos(self.plan.engine.lease)
    }

    fn tolerance(&self) -> u64 {
        crate::model::nanos(self.plan.engine.absence_tolerance)
    }
}
