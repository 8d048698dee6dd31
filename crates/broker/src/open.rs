//! Opening a store: the log is read, the engine rebuilt from it, the index brought along.

use crate::clock::Clock;
use crate::config::{BrokerConfig, Store};
use crate::core::Core;
use crate::error::OpenError;
use crate::filters::FilterTable;
use crate::gaps::Gaps;
use crate::index::{Fit, Index};
use crate::loading::{Lookup, Payloads};
use crate::read_back::{Found, read_back};
use crate::settings;
use parking_lot::Mutex;
use std::sync::Arc;
use trunkline_engine::{Engine, EngineConfig, KeyIndex, LetterIndex, Output, Record, TaskIndex};
use trunkline_log::{Directory, Log, LogConfig, Recovery, Storage};
use trunkline_rules::Rulebook;
use trunkline_types::{Epoch, Sequence};

/// The folder of the index within a data directory.
pub(crate) const INDEX: &str = "index";

/// What a store was opened to.
pub(crate) struct Opened {
    pub(crate) core: Core,
    /// The log, with the sequence of the last record that was found in it.
    pub(crate) log: Option<(Log, Sequence)>,
    /// Reads payloads of that log: ahead of their delivery, and what the engine looks up.
    pub(crate) payloads: Option<(Payloads, Arc<Payloads>)>,
    pub(crate) index: Option<Index>,
    pub(crate) filters: Arc<FilterTable>,
    pub(crate) settings: Settings,
}

/// What is set about a broker that runs.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What is in force. A lock, so that one change follows another.
    pub(crate) engine: Mutex<EngineConfig>,
    pub(crate) log: LogConfig,
}

/// Opens the store and rebuilds the engine from it.
pub(crate) fn open(config: BrokerConfig) -> Result<Opened, OpenError> {
    let BrokerConfig { store, engine: mut config, log: log_config, at_rest: _ } = config;
    settings::check(&config, &log_config)?;
    // The index comes after the directory, whose lock it shares.
    let (storage, index): (Option<Arc<dyn Storage>>, _) = match store {
        Store::Memory => (None, None),
        Store::Directory(path) => {
            let storage = Arc::new(Directory::open(&path)?);
            (Some(storage), Index::open(&path.join(INDEX))?)
        }
        Store::Custom(storage) => (Some(storage), None),
    };
    let rules = Arc::new(Rulebook::new());
    config.logged = storage.is_some();
    config.seed = fastrand::u64(..);
    config.rules = rules.clone();
    let filters = Arc::new(FilterTable::new(rules));
    let clock = Clock::new();
    match storage {
        None => {
            (config.key_index, config.task_index) = (None, None);
            (config.letter_index, config.payloads) = (None, None);
            let settings = Settings { engine: Mutex::new(config.clone()), log: log_config };
            let mut core = new_core(Engine::new(config), clock.clone(), &settings, &filters);
            let mut out = Output::default();
            core.engine.start(clock.now(), &mut out);
            core.begin(out);
            Ok(Opened { core, log: None, payloads: None, index: None, filters, settings })
        }
        Some(storage) => open_log(&storage, index, config, log_config, &clock, filters),
    }
}

fn open_log(
    storage: &Arc<dyn Storage>,
    index: Option<Index>,
    mut config: EngineConfig,
    log_config: LogConfig,
    clock: &Clock,
    filters: Arc<FilterTable>,
) -> Result<Opened, OpenError> {
    let Replayed { engine, mut log, recovery, left_out, looked_up, mut index } =
        replay(storage, index, &mut config, &log_config, clock)?;
    let settings = Settings { engine: Mutex::new(config.clone()), log: log_config };
    let mut core = new_core(engine, clock.clone(), &settings, &filters);
    let mut batch = settings.log.batch();
    let mut out = Output::default();
    core.engine.start(clock.now(), &mut out);
    // The epoch must be on disk before any token of it is used.
    let first_write = |error: String| OpenError::FirstWrite(error);
    if let Some(index) = &mut index {
        index.identify(first_record(&core.engine));
    }
    for (sequence, record) in out.records.drain(..) {
        if let Some(index) = &mut index {
            index.note(sequence, &record, config.key_window, clock.now().wall);
        }
        batch
            .push(core.partition, sequence.0, record.tag(), |body| record.encode(body))
            .map_err(|error| first_write(error.to_string()))?;
    }
    log.write(&mut batch).map_err(|error| first_write(error.to_string()))?;
    log.sync().map_err(|error| first_write(error.to_string()))?;
    let latest = core.engine.sequence();
    core.engine.durable(clock.now(), latest, latest, &mut out);
    if let Some(index) = &mut index {
        index.synced(latest);
        index.make_up(latest);
        if !recovery.closed {
            index.not_closed();
        }
    }
    // The log counts from here what it has written since it was opened.
    let base = Sequence(latest.0 - log.written());
    core.begin(out);
    core.log.recovered = recovery.records;
    core.log.damaged_places = recovery.damage.len() as u64;
    core.log.records_left_out = left_out;
    if let Some(torn) = &recovery.torn {
        let bytes = torn.bytes;
        tracing::warn!(bytes, "the log ends in writes that were never flushed; they are given up");
    }
    let payloads = Some((Payloads::new(storage.clone(), core.partition), looked_up));
    Ok(Opened { core, log: Some((log, base)), payloads, index, filters, settings })
}

/// What a replay gives.
struct Replayed {
    engine: Engine,
    log: Log,
    recovery: Recovery,
    /// Records that were left out, because what they speak of is missing.
    left_out: u64,
    /// What the engine looks payloads up in.
    looked_up: Arc<Payloads>,
    /// The index that goes with the log.
    index: Option<Index>,
}

/// Rebuilds the engine from the log. An index that turns out to belong to another log is replaced, one
/// that goes further than the log is cut, and everything begins anew: the engine has counted on it.
fn replay(
    storage: &Arc<dyn Storage>,
    index: Option<Index>,
    config: &mut EngineConfig,
    log_config: &LogConfig,
    clock: &Clock,
) -> Result<Replayed, OpenError> {
    let mut again = index;
    loop {
        let mut index = again;
        config.key_index = index.as_ref().map(|index| index.reader.clone() as Arc<dyn KeyIndex>);
        config.task_index = index.as_ref().map(|index| index.reader.clone() as Arc<dyn TaskIndex>);
        config.letter_index =
            index.as_ref().map(|index| index.reader.clone() as Arc<dyn LetterIndex>);
        let looked_up = Arc::new(Payloads::new(storage.clone(), config.partition.0));
        config.payloads = Some(Arc::new(Lookup::new(&looked_up)));
        let mut engine = Engine::new(config.clone());
        if let Some(index) = &index {
            engine.indexed(index.through);
        }
        let now = clock.now().wall;
        let mut gaps = Gaps::default();
        let (log, recovery) = read_back(storage, log_config, |found| {
            let Found { place, record, after_damage, .. } = found;
            if let Some(index) = &mut index {
                index.note(place, &record, config.key_window, now);
            }
            gaps.replay(&mut engine, place, record, after_damage)?;
            if let Some(index) = &mut index
                && index.note_past(engine.take_past())
            {
                engine.let_go_of_past();
            }
            Ok(())
        })?;
        Gaps::finish(&mut engine, &recovery);
        let last = engine.sequence();
        if last > Sequence(0) {
            // The record that tells may be damaged, which is no reason not to believe the index.
            let born = index.as_ref().and_then(Index::born);
            engine.mend_born(born.unwrap_or(now));
            if let Some(index) = &mut index {
                index.identify(first_record(&engine));
            }
        }
        let fit = index.as_ref().map_or(Fit::Fits, |index| index.fit(last));
        match index {
            Some(index) if fit != Fit::Fits => {
                drop((engine, log));
                (config.key_index, config.task_index) = (None, None);
                config.letter_index = None;
                again = if fit == Fit::Ahead {
                    let (last, through) = (last.0, index.through.0);
                    tracing::warn!(
                        last,
                        through,
                        "the index goes further than the log; what it has of records behind is \
                         left out"
                    );
                    index.cut(Sequence(last))?
                } else {
                    index.reset()?
                };
            }
            index => {
                gaps.tell(&recovery);
                let left_out = gaps.skipped;
                return Ok(Replayed { engine, log, recovery, left_out, looked_up, index });
            }
        }
    }
}

fn new_core(engine: Engine, clock: Clock, settings: &Settings, filters: &Arc<FilterTable>) -> Core {
    let (partition, window) = {
        let config = settings.engine.lock();
        (config.partition.0, config.key_window)
    };
    let mut core = Core::new(engine, clock, settings.log.batch(), partition, filters.clone());
    core.key_window = window;
    core
}

/// The first record that the engine's log ever had, by which an index knows its log.
pub(crate) fn first_record(engine: &Engine) -> Vec<u8> {
    let mut body = Vec::new();
    Record::Boot { epoch: Epoch(1), at: engine.born() }.encode(&mut body);
    body
}
