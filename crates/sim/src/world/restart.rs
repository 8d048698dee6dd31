//! The end of the broker and its next start: what a crash leaves, and whether recovery finds
//! exactly that.

use super::broker::{DriverDefect, Mood};
use super::wire::ToClient;
use super::{Event, FaultKind, World};
use crate::check::{Check, Violation, ensure};
use crate::laws;
use crate::totals::Count;
use std::sync::Arc;
use trunkline_engine::{Command, Engine, Past, Record};
use trunkline_log::{Log, Loss, OpenError, Storage, VisitError};
use trunkline_types::{Sequence, WallTime};

impl World {
    /// The log failed: the only way on is to open it again.
    pub(crate) fn crash_poisoned(&mut self) -> Check {
        self.totals.add(Count::DiskErrors);
        let loss = if self.rng.bool() { Loss::Nothing } else { Loss::Torn(self.rng.u64(..)) };
        self.crash(loss)
    }

    /// The broker is gone from one moment to the next.
    pub(crate) fn crash(&mut self, loss: Loss) -> Check {
        self.trace.line(format_args!("{:?} crash {loss:?}", self.clock.now()));
        self.compare_replay()?;
        self.totals.add(Count::Crashes);
        self.broker.log = None;
        self.broker.disk.crash(loss);
        self.flip_a_bit()?;
        self.go_down();
        Ok(())
    }

    /// The broker stops in order.
    pub(crate) fn stop(&mut self) -> Check {
        self.at_moment();
        self.command(Command::Stop)?;
        let stopped = self.write_out();
        self.totals.add(Count::Stops);
        if let (Ok(()), Some(log)) = (stopped, self.broker.log.take()) {
            // What cannot be closed in order is recovered.
            let _ = log.close();
        }
        self.compare_replay()?;
        self.broker.log = None;
        self.broker.disk.crash(Loss::Unsynced);
        self.go_down();
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), ()> {
        let latest = self.broker.latest();
        let log = self.broker.log.as_mut().ok_or(())?;
        log.write(&mut self.broker.batch).map_err(drop)?;
        self.broker.written = latest;
        log.sync().map_err(drop)?;
        self.broker.synced = latest;
        Ok(())
    }

    fn go_down(&mut self) {
        self.broker.mood = Mood::Down;
        self.broker.sockets.clear();
        self.broker.questions.clear();
        self.broker.draining = None;
        self.calendar.forget_driver();
        self.broker.write_planned = false;
        self.broker.flush_planned = false;
        let open: Vec<_> =
            self.links.iter().filter(|(_, l)| l.broker_open).map(|(k, _)| *k).collect();
        for link in open {
            if let Some(row) = self.links.get_mut(&link) {
                row.broker_open = false;
            }
            self.send_back(link, ToClient::Gone);
        }
        let longest = if self.quiet { 3_000_000_000 } else { self.plan.faults.down };
        let most = if self.rng.bool() { 30_000_000 } else { longest };
        let span = self.rng.u64(1_000_000..=most);
        self.calendar.plan(self.clock.time + span, Event::Restart);
    }

    /// The broker starts on what its disk holds.
    pub(crate) fn restart(&mut self) -> Check {
        let mut found: Vec<(Sequence, Record)> = Vec::new();
        let visit = |record: trunkline_log::Record<'_>| -> Result<(), VisitError> {
            let decoded = Record::decode(record.tag, record.body)?;
            found.push((Sequence(record.sequence), decoded));
            Ok(())
        };
        let storage = Arc::clone(&self.broker.storage);
        let (log, recovery) = match Log::open(storage, self.plan.log.clone(), visit) {
            Ok(opened) => opened,
            Err(OpenError::Full { .. }) => {
                // Somebody has to make room first; the broker is started again later.
                self.calendar.plan(self.clock.time + 50_000_000, Event::Restart);
                return Ok(());
            }
            Err(error) => {
                return Err(Violation::new("1 durable", format!("the log does not open: {error}")));
            }
        };
        if recovery.torn.is_some() {
            self.totals.add(Count::Torn);
        }
        if self.broker.defect == Some(DriverDefect::ShortRecovery) && found.len() > 3 {
            found.pop();
        }
        let survived = found.last().map_or(Sequence(0), |(at, _)| *at);
        self.leave_out_removed(&mut found)?;
        self.trace.line(format_args!("{:?} found {}", self.clock.now(), survived.0));
        laws::survived(self.broker.synced, survived)?;
        let length = usize::try_from(survived.0).unwrap_or(usize::MAX);
        let from = found.first().map_or(Sequence(1), |(at, _)| *at);
        let kept = self.broker.journal_from(from).get(..found.len());
        let same = kept.is_some_and(|kept| kept == found.as_slice());
        ensure!(same, "1 durable", "{} records were found that were never written so", found.len());
        self.broker.journal.truncate(length);
        self.broker.filters.clear();
        // What only removed records told of cannot be filled in again.
        let whole = self.broker.kept_from == Sequence(1);
        if self.broker.index.through > survived || (whole && self.rng.u8(..) < 40) {
            // What was lost with its disk, or is of another log, is filled anew.
            self.broker.index.lose();
        }
        self.broker.reopen_payloads(from);
        let engine = self.replay(&found)?;
        conserved(&engine)?;
        self.compare_with_whole(&engine)?;
        self.broker.past.clear();
        self.broker.engine = engine;
        let past = self.broker.engine.take_past();
        self.broker.past.extend(past);
        // What was said again comes late; the index takes all in the order of its places.
        self.broker.past.make_contiguous().sort_by_key(Past::place);
        self.broker.log = Some(log);
        self.broker.batch = self.plan.log.batch();
        self.broker.written = survived;
        self.broker.synced = survived;
        self.broker.ample = true;
        self.broker.mood = Mood::Up;
        self.notice(|model| model.crashed(survived));
        self.handed_again()?;
        self.at_moment();
        self.notice(crate::model::Model::started);
        self.drive(Engine::start)?;
        self.broker.payloads.keep_from(self.broker.kept_from);
        self.calendar.forget_driver();
        self.broker.flush_planned = false;
        self.broker.write_planned = false;
        if self.broker.defect != Some(DriverDefect::UnsyncedStart) {
            self.flush()?;
        }
        if self.plan.faults.crash > 0 && self.chance(250) {
            // A broker that has just come up is as likely to go down again.
            let at = self.clock.time + self.rng.u64(0..30_000_000);
            self.calendar.plan(at, Event::Fault(FaultKind::Crash));
        }
        conserved(&self.broker.engine)
    }

    fn replay(&self, records: &[(Sequence, Record)]) -> Result<Engine, Violation> {
        let replayed = self.broker.replayed(records);
        let mut engine = replayed
            .map_err(|error| Violation::new("2 replay", format!("replay fails: {error}")))?;
        // What a check of a broker's data holds the records to must be true of all of them.
        let broken = engine.take_broken_law();
        ensure!(broken.is_none(), "2 replay", "a check of the records would say: {broken:?}");
        Ok(engine)
    }

    /// Law 2: the live engine is, in all that is durable, what a replay of its records gives.
    pub(crate) fn compare_replay(&mut self) -> Check {
        self.totals.add(Count::Replays);
        self.compare_replay_from(self.broker.kept_from)
    }

    /// The same, of a replay that begins at a place.
    pub(super) fn compare_replay_from(&self, from: Sequence) -> Check {
        let replayed = self.replay(self.broker.journal_from(from))?;
        self.same_state(&self.broker.engine, &replayed)
    }

    /// What is left of a cleaned log says what the whole log says, and what was said again says
    /// nothing new, wherever a crash has cut it off.
    fn compare_with_whole(&self, engine: &Engine) -> Check {
        if let Some(plain) = self.broker.replayed_plain()? {
            self.same_state(&plain, engine)?;
        }
        if self.broker.kept_from == Sequence(1) {
            return Ok(());
        }
        self.same_state(&self.replay(&self.broker.journal)?, engine)
    }

    /// Checks that two engines are the same in all that is durable.
    fn same_state(&self, live: &Engine, replayed: &Engine) -> Check {
        // What is past its time at the latest time of all is of no account: which of the keys
        // whose window is over are still in memory, and what of the past is not forgotten yet.
        let wall = self.models[0].latest_wall;
        let (mut live, mut replayed) =
            (live.durable_state_at(wall), replayed.durable_state_at(wall));
        for state in [&mut live, &mut replayed] {
            state.retain(|name, row| !name.starts_with("key ") || !is_over(row, wall));
        }
        if live == replayed {
            return Ok(());
        }
        let differs = |key: &&String| live.get(*key) != replayed.get(*key);
        let key = live.keys().chain(replayed.keys()).find(differs);
        let (live, replayed) = (key.and_then(|k| live.get(k)), key.and_then(|k| replayed.get(k)));
        let message = format!("{key:?} is {live:?}, replay gives {replayed:?}");
        Err(Violation::new("2 replay", message))
    }

    /// Law 4: every accepted entry is somewhere.
    pub(crate) fn check_conservation(&self) -> Check {
        conserved(&self.broker.engine)
    }

    /// On a copy of the disk, one bit rots: what is read back must be what was written, if it is
    /// read at all.
    fn flip_a_bit(&mut self) -> Check {
        let copy = self.broker.disk.fork();
        let Ok(files) = copy.list() else { return Ok(()) };
        if files.is_empty() {
            return Ok(());
        }
        let file = &files[self.rng.usize(..files.len())];
        // Mostly where there is something: near the front of a segment.
        let reach = if self.rng.bool() { file.bytes } else { file.bytes.min(12 << 10) };
        let (byte, bit) = (self.rng.u64(..reach.max(1)), self.rng.u8(..8));
        if !copy.flip_bit(&file.name, byte, bit) {
            return Ok(());
        }
        self.totals.add(Count::Flips);
        let journal = &self.broker.journal;
        let (mut place, mut count) = (None, 0);
        let mut wrong = None;
        let storage: Arc<dyn Storage> = Arc::new(copy);
        // An error is the right answer; what counts is what was served before it.
        let _ = trunkline_log::verify(&storage, |record| {
            let found = Record::decode(record.tag, record.body).ok();
            let first = *place.get_or_insert(record.sequence);
            let skipped = usize::try_from(first.max(1) - 1 + count).unwrap_or(usize::MAX);
            let same = journal.get(skipped).is_some_and(|(at, written)| {
                at.0 == record.sequence && found.as_ref() == Some(written)
            });
            if !same {
                wrong = Some(record.location);
            }
            count += 1;
            Ok(())
        });
        let name = &file.name;
        ensure!(wrong.is_none(), "1 durable", "a flipped bit in {name} is served at {wrong:?}");
        Ok(())
    }
}

/// Whether the window of an idempotency key, as the engine shows it, was over at a time.
fn is_over(row: &str, wall: WallTime) -> bool {
    let ends = row.split_once("expires_at: ").and_then(|(_, ends)| ends.split_once("ms"));
    ends.and_then(|(ends, _)| ends.parse().ok()).is_some_and(|ends: u64| ends <= wall.0)
}

fn conserved(engine: &Engine) -> Check {
    engine.conservation().map_err(|message| Violation::new("4 conservation", message))
}
