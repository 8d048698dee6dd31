//! The broker's side: an engine, its log on a faulty disk, and what is between them.

use super::index::Index;
use super::lying::LyingDisk;
use super::payloads::Payloads;
use super::wire::ToBroker;
use crate::check::Violation;
use crate::laws::reads::Question;
use crate::plan::Plan;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use trunkline_engine::{
    Carried, Engine, EngineConfig, KeyIndex, LetterIndex, Output, Past, QueryKey, Record, TaskIndex,
};
use trunkline_log::{Batch, Log, MemoryDisk, Storage};
use trunkline_types::{Filter, Sequence, TopicPattern};

/// A defect of the driver or of the disk that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DriverDefect {
    /// The disk confirms flushes that it has not made.
    LyingDisk,
    /// What is written is passed off as flushed.
    WrittenIsSynced,
    /// Recovery leaves out the last record.
    ShortRecovery,
    /// The record of a start is not flushed before work goes on.
    UnsyncedStart,
    /// The index is not asked for a page that is full without it.
    FullPageUnmerged,
}

impl DriverDefect {
    /// Every defect.
    pub(crate) const ALL: &'static [Self] = &[
        Self::LyingDisk,
        Self::WrittenIsSynced,
        Self::ShortRecovery,
        Self::UnsyncedStart,
        Self::FullPageUnmerged,
    ];
}

/// What the broker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    Up,
    /// It does nothing until then, and what arrives waits in its sockets.
    Paused {
        since: u64,
    },
    Down,
}

/// The engine, its log, and what is between them.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) mood: Mood,
    pub(crate) config: EngineConfig,
    pub(crate) defect: Option<DriverDefect>,
    pub(crate) engine: Engine,
    pub(crate) log: Option<Log>,
    pub(crate) disk: MemoryDisk,
    pub(crate) storage: Arc<dyn Storage>,
    /// The place from which records are kept: of what is before, nothing may be needed.
    pub(crate) kept_from: Sequence,
    /// The place before which records are to be given up.
    pub(crate) removing: Option<Sequence>,
    /// Records that are not written yet.
    pub(crate) batch: Batch,
    /// Every record of which no crash has taken anything.
    pub(crate) journal: Vec<(Sequence, Record)>,
    pub(crate) written: Sequence,
    pub(crate) synced: Sequence,
    pub(crate) write_planned: bool,
    pub(crate) flush_planned: bool,
    /// Whether the engine was told that there is room.
    pub(crate) ample: bool,
    /// Until when it lets those finish who hold something, if it is at its end in order.
    pub(crate) draining: Option<u64>,
    /// What waits in the sockets during a pause.
    pub(crate) sockets: VecDeque<(u64, ToBroker)>,
    /// The filters of all subscriptions, as far as the engine has told of them.
    pub(crate) filters: Vec<(TopicPattern, Filter)>,
    pub(crate) index: Index,
    /// What is over and is to come into the index, in the order of its places.
    pub(crate) past: VecDeque<Past>,
    /// Where payloads are that have left the engine's memory.
    pub(crate) payloads: Arc<Payloads>,
    /// What was asked, and by whom.
    pub(crate) questions: BTreeMap<QueryKey, (usize, Question)>,
    pub(crate) asked: u64,
    pub(crate) out: Output,
}

impl Broker {
    pub(crate) fn new(plan: &Plan, config: EngineConfig, defect: Option<DriverDefect>) -> Self {
        let disk = MemoryDisk::new();
        let index = Index::default();
        let key_index: Option<Arc<dyn KeyIndex>> =
            if plan.indexed { Some(Arc::new(index.clone())) } else { None };
        let task_index: Option<Arc<dyn TaskIndex>> =
            if plan.indexed { Some(Arc::new(index.clone())) } else { None };
        let letter_index: Option<Arc<dyn LetterIndex>> =
            if plan.indexed { Some(Arc::new(index.clone())) } else { None };
        let storage: Arc<dyn Storage> = match defect {
            Some(DriverDefect::LyingDisk) => Arc::new(LyingDisk(disk.clone())),
            _ => Arc::new(disk.clone()),
        };
        let payloads = Arc::new(Payloads::new(storage.clone(), Sequence(1)));
        let stores = Some(payloads.clone() as Arc<dyn trunkline_engine::PayloadStore>);
        let config =
            EngineConfig { key_index, task_index, letter_index, payloads: stores, ..config };
        Self {
            mood: Mood::Down,
            engine: Engine::new(config.clone()),
            config,
            defect,
            log: None,
            disk,
            storage,
            kept_from: Sequence(1),
            removing: None,
            batch: plan.log.batch(),
            journal: Vec::new(),
            written: Sequence(0),
            synced: Sequence(0),
            write_planned: false,
            flush_planned: false,
            ample: true,
            draining: None,
            sockets: VecDeque::new(),
            filters: Vec::new(),
            index,
            past: VecDeque::new(),
            payloads,
            questions: BTreeMap::new(),
            asked: 0,
            out: Output::default(),
        }
    }

    /// Reads payloads from files that were opened after the latest crash, from the first record on
    /// that was found: what was to be given up may still be there, and what a replay comes to before
    /// it is said again lies in it.
    pub(crate) fn reopen_payloads(&mut self, from: Sequence) {
        self.payloads = Arc::new(Payloads::new(self.storage.clone(), from));
        self.config.payloads = Some(self.payloads.clone());
    }

    /// The place of the latest record.
    pub(crate) fn latest(&self) -> Sequence {
        self.journal.last().map_or(Sequence(0), |(at, _)| *at)
    }

    /// The records from a place on.
    pub(crate) fn journal_from(&self, from: Sequence) -> &[(Sequence, Record)] {
        let skipped = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.journal.get(skipped..).unwrap_or_default()
    }

    /// An engine that has replayed these records and was not started.
    ///
    /// # Errors
    /// Which record it refused, and why.
    pub(crate) fn replayed(&self, records: &[(Sequence, Record)]) -> Result<Engine, String> {
        let mut engine = Engine::new(self.config.clone());
        engine.indexed(self.index.through);
        for (at, record) in records {
            engine
                .replay(*at, record.clone())
                .map_err(|error| format!("record {}: {error}", at.0))?;
        }
        Ok(engine)
    }

    /// An engine that has replayed all records that were ever written, but for those that say
    /// something again, if there are any of these.
    pub(crate) fn replayed_plain(&self) -> Result<Option<Engine>, Violation> {
        if !self.journal.iter().any(|(_, record)| record.is_carried()) {
            return Ok(None);
        }
        let mut engine = Engine::new(self.config.clone());
        engine.indexed(self.index.through);
        for (at, record) in &self.journal {
            let left_out = match record {
                // Which keys are in memory depends on how far the index was.
                Record::Carried(carried) => !matches!(**carried, Carried::Key { .. }),
                _ => false,
            };
            if left_out {
                engine.replay_gap(*at);
            } else if let Err(error) = engine.replay(*at, record.clone()) {
                let message = format!("plain replay fails at record {}: {error}", at.0);
                return Err(Violation::new("2 replay", message));
            }
        }
        Ok(Some(engine))
    }
}

impl super::World {
    /// Whether connections are refused.
    pub(crate) fn broker_is_down(&self) -> bool {
        self.broker.mood == Mood::Down
    }
}
