//! The end of the broker in order: it takes and hands out nothing new, and stops when everybody
//! has gone, or when that takes too long.

use super::broker::Mood;
use super::{Event, World};
use crate::check::Check;
use crate::laws::draining;
use crate::totals::Count;
use trunkline_engine::Command;

/// Nanoseconds between two looks at who may go: a broker looks after everything it handles.
const LOOK: u64 = 1_000_000;

impl World {
    /// The broker begins its end.
    pub(crate) fn begin_drain(&mut self) -> Check {
        if self.broker.draining.is_some() {
            return Ok(());
        }
        self.totals.add(Count::Drained);
        let most = self.lease() * 2;
        self.broker.draining = Some(self.clock.time + self.rng.u64(0..=most));
        self.drain()
    }

    /// The broker looks who may go, and stops when nobody is left or the time for that is over.
    pub(crate) fn drain(&mut self) -> Check {
        let Some(until) = self.broker.draining else { return Ok(()) };
        if matches!(self.broker.mood, Mood::Up) {
            self.look_who_may_go()?;
            let present = self.links.values().any(|link| link.broker_open);
            if !present || self.clock.time >= until {
                return self.end_drain();
            }
        }
        if self.broker.mood != Mood::Down {
            self.calendar.plan(self.clock.time + LOOK, Event::Drain);
        }
        Ok(())
    }

    fn look_who_may_go(&mut self) -> Check {
        self.at_moment();
        self.notice(crate::model::Model::drains);
        self.command(Command::Drain)
    }

    fn end_drain(&mut self) -> Check {
        // What has been done is told first, and then who may go after that.
        self.flush()?;
        if self.broker.mood == Mood::Up {
            self.look_who_may_go()?;
            self.flush()?;
        }
        if self.broker.mood != Mood::Up {
            return Ok(());
        }
        if self.broker.synced == self.broker.latest() {
            self.check_each(|model| draining::nobody_stays(model))?;
        }
        self.stop()
    }
}
