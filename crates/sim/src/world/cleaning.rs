//! Cleaning: when it begins, how it goes on, and what is given up when it is done.

use super::World;
use super::broker::Mood;
use crate::check::{Check, ensure};
use crate::totals::Count;
use trunkline_engine::{Command, Record};
use trunkline_log::WriteError;
use trunkline_types::Sequence;

impl World {
    /// A sweep begins. It may keep any suffix of the log, for segments may end anywhere.
    pub(crate) fn begin_cleaning(&mut self) -> Check {
        let (from, latest) = (self.broker.kept_from.0, self.broker.latest().0);
        let before = match self.rng.u8(..4) {
            0 => latest + 1,
            1 => from + (latest + 1 - from) / 4,
            _ => self.rng.u64(from..=latest + 1),
        };
        self.at_moment();
        self.command(Command::Clean { before: Sequence(before) })
    }

    /// A sweep that is under way goes on now and then.
    pub(crate) fn go_on_cleaning(&mut self) -> Check {
        self.remove()?;
        let up = self.broker.mood == Mood::Up;
        let Some(before) = self.broker.engine.cleaning().filter(|_| up) else { return Ok(()) };
        if !self.chance(600) {
            return Ok(());
        }
        self.at_moment();
        self.command(Command::Clean { before })
    }

    /// Nothing before a place is needed any longer.
    pub(crate) fn cleaned(&mut self, before: Sequence) {
        self.totals.add(Count::Sweeps);
        self.broker.removing = self.broker.removing.max(Some(before));
    }

    /// Gives up what is not needed any longer, once it was checked that it is not.
    fn remove(&mut self) -> Check {
        if !matches!(self.broker.mood, Mood::Up) {
            self.broker.removing = None;
            return Ok(());
        }
        // That a dead letter was cleared is said once: the index must know before it is forgotten.
        let index = self.plan.indexed.then_some(self.broker.index.through.next());
        let may_go = |before: &mut Sequence| index.is_none_or(|next| *before <= next);
        let Some(before) = self.broker.removing.take_if(may_go) else { return Ok(()) };
        let before = before.max(self.broker.kept_from);
        self.broker.kept_from = before;
        self.broker.payloads.keep_from(before);
        self.compare_replay_from(before)?;
        let Some(log) = self.broker.log.as_mut() else { return Ok(()) };
        let segments = log.segments();
        let whole = segments
            .windows(2)
            .take_while(|pair| pair[1].first_of(0).is_some_and(|first| first <= before.0));
        let Some(keep) = whole.last().map(|pair| pair[1].number) else { return Ok(()) };
        match log.remove_before(keep) {
            Ok(()) | Err(WriteError::Full { .. }) => Ok(()),
            Err(WriteError::Poisoned(_)) => self.crash_poisoned(),
        }
    }

    /// Leaves out what was given up, as if its segments were gone, or some of it: a crash may have
    /// come before the last of them.
    pub(crate) fn leave_out_removed(&mut self, found: &mut Vec<(Sequence, Record)>) -> Check {
        let kept = self.broker.kept_from;
        let first = found.first().map_or(Sequence(1), |(at, _)| *at);
        ensure!(first <= kept, "1 durable", "records are kept from {kept:?}, found from {first:?}");
        let from = if self.rng.bool() { kept.0 } else { self.rng.u64(first.0..=kept.0) };
        found.retain(|(at, _)| at.0 >= from);
        Ok(())
    }
}
