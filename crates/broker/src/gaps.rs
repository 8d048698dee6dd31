//! Recovery over damaged places: where records are missing, the engine is told, and what rests on
//! them is counted.

use trunkline_engine::{Engine, Record, ReplayError};
use trunkline_log::Recovery;
use trunkline_types::{Epoch, Sequence};

/// What a replay has met of gaps.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    behind: bool,
    /// Records that could not be applied, because what they speak of is missing.
    pub(crate) skipped: u64,
}

impl Gaps {
    /// Takes in a record; `after_damage` if records may be missing before it.
    pub(crate) fn replay(
        &mut self,
        engine: &mut Engine,
        place: Sequence,
        record: Record,
        after_damage: bool,
    ) -> Result<(), ReplayError> {
        if after_damage {
            self.behind = true;
            engine.replay_gap(Sequence(place.0.saturating_sub(1)));
        }
        if !self.behind {
            return engine.replay(place, record);
        }
        let taken = engine.replay_behind_gap(place, record)?;
        self.skipped += u64::from(!taken);
        Ok(())
    }

    /// Whether records may be missing before what comes next.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Takes note of what may be missing behind the last record, once all has been read.
    pub(crate) fn finish(engine: &mut Engine, recovery: &Recovery) {
        if recovery.damage.is_empty() {
            return;
        }
        // A broker begins an epoch only on a log that it has opened.
        engine.mend_figures();
        engine.skip_epochs(Epoch(recovery.epoch));
        let through = engine.sequence().0.saturating_add(recovery.missing_at_end);
        engine.replay_gap(Sequence(through));
    }

    /// Tells what is damaged, what is missing for it, and where the copies are.
    pub(crate) fn tell(&self, recovery: &Recovery) {
        for place in &recovery.damage {
            let (segment, offset) = (place.location.segment, place.location.offset);
            let copy = place.copy.as_ref().map(|copy| copy.display().to_string());
            let missing: Vec<_> =
                place.missing.iter().map(|gap| format!("{}-{}", gap.first, gap.last)).collect();
            tracing::warn!(
                segment,
                offset,
                bytes = place.bytes,
                missing = missing.join(" "),
                copy,
                "the log is damaged: {}; a copy was put aside, and the broker starts without what \
                 was there",
                place.what
            );
        }
        if recovery.missing_at_end > 0 {
            let at_most = recovery.missing_at_end;
            tracing::warn!(at_most, "records may be missing that no record follows");
        }
        if self.skipped > 0 {
            let skipped = self.skipped;
            tracing::warn!(skipped, "records about entries that are missing were left out");
        }
    }
}
