//! What happened in a run, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

/// One figure. In the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Count {
    /// Kills that hit a broker that was still starting.
    WhileStarting,
    /// Publishes accepted.
    Accepted,
    /// Tasks accepted as `synced`, repeats not counted.
    AcceptedSynced,
    /// Publishes accepted as repeats.
    Duplicates,
    /// Publishes refused.
    Refused,
    /// Those refused because the disk was full.
    RefusedFull,
    /// Tasks completed.
    Completed,
    /// Tasks failed, as planned.
    Failed,
    /// Dead letters, as planned.
    DeadLetters,
    /// Deliveries to agents in this process.
    Deliveries,
    /// Deliveries beyond the first of an entry, by the broker's count.
    Redeliveries,
    /// Sessions that came back.
    Returns,
    /// Deliveries that were held over a restart and settled after it.
    Kept,
    /// Requests answered.
    Answered,
    /// Requests whose callers were told that a stop took them, or a lease that ran out.
    ToldLost,
    /// Events that came to the subscriber.
    Events,
    /// Tasks below `synced` that were accepted and are gone, as they may.
    Gone,
    /// Flipped bits for which the broker refused to start until they were mended.
    FlipsRefused,
    /// Flipped bits without whose block the broker started.
    FlipsPassed,
    /// Log records at the end of the rounds.
    Records,
    /// Rounds whose broker had a network of its own.
    Apart,
    /// Flipped bits for which the index was put aside and made again.
    IndexAside,
    /// Rounds whose broker had small bounds until its last kill.
    Small,
    /// Those of them that had cleaned nothing by then.
    Uncleaned,
    /// Those of them that had read no payload back.
    Unspilled,
    /// Segments that cleaning has given up.
    Cleaned,
    /// Payloads that were read back from the log between two kills of rounds with small bounds.
    ReadBack,
}

/// Every figure, its name in JSON and its name for people.
pub(super) const COUNTS: [(Count, &str, &str); 27] = [
    (Count::WhileStarting, "kills_while_starting", "kills while starting"),
    (Count::Accepted, "accepted", "publishes accepted"),
    (Count::AcceptedSynced, "accepted_synced", "of those synced tasks"),
    (Count::Duplicates, "duplicates", "repeats under a key"),
    (Count::Refused, "refused", "publishes refused"),
    (Count::RefusedFull, "refused_disk_full", "of those by a full disk"),
    (Count::Completed, "tasks_completed", "tasks completed"),
    (Count::Failed, "tasks_failed", "tasks failed as planned"),
    (Count::DeadLetters, "dead_letters", "of those dead letters"),
    (Count::Deliveries, "deliveries", "deliveries seen"),
    (Count::Redeliveries, "redeliveries", "redelivered"),
    (Count::Returns, "sessions_returned", "sessions that came back"),
    (Count::Kept, "deliveries_kept", "deliveries kept over a restart"),
    (Count::Answered, "requests_answered", "requests answered"),
    (Count::ToldLost, "requests_told_lost", "requests told lost"),
    (Count::Events, "events_heard", "events heard"),
    (Count::Gone, "lost_as_permitted", "lost as permitted"),
    (Count::FlipsRefused, "flips_refused", "flipped bits that kept a broker from starting"),
    (Count::FlipsPassed, "flips_passed", "flipped bits that cost a block"),
    (Count::Records, "log_records", "log records"),
    (Count::Apart, "rounds_apart", "rounds in a network of the broker's own"),
    (Count::IndexAside, "indexes_put_aside", "flipped bits for which the index was made again"),
    (Count::Small, "rounds_small", "rounds with small bounds"),
    (Count::Uncleaned, "rounds_uncleaned", "of those cleaned nothing"),
    (Count::Unspilled, "rounds_unspilled", "of those read no payload back"),
    (Count::Cleaned, "segments_cleaned", "segments cleaned"),
    (Count::ReadBack, "payloads_read_back", "payloads read back"),
];

/// What happened.
#[derive(Clone, Default, Debug)]
pub(super) struct Counts {
    /// Each figure that is not zero.
    figures: BTreeMap<Count, u64>,
    /// How long each restart took to be ready, recovery included.
    pub(super) recoveries: Vec<Duration>,
}

impl Counts {
    /// A figure.
    pub(super) fn of(&self, count: Count) -> u64 {
        self.figures.get(&count).copied().unwrap_or_default()
    }

    /// Makes a figure larger.
    pub(super) fn more(&mut self, count: Count, by: u64) {
        *self.figures.entry(count).or_default() += by;
    }

    /// Adds another round's.
    pub(super) fn add(&mut self, other: Self) {
        for (count, by) in other.figures {
            self.more(count, by);
        }
        self.recoveries.extend(other.recoveries);
    }

    /// How long restarts took: the middle one and the longest.
    pub(super) fn recovery(&self) -> (Duration, Duration) {
        let mut times = self.recoveries.clone();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        (middle, times.last().copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_rounds_add_up() {
        let mut sum = Counts::default();
        for _ in 0..2 {
            let mut counts = Counts::default();
            counts.more(Count::Accepted, 3);
            counts.recoveries.push(Duration::from_millis(sum.of(Count::Accepted)));
            sum.add(counts);
        }
        assert_eq!((sum.of(Count::Accepted), sum.of(Count::Refused)), (6, 0));
        assert_eq!(sum.recovery(), (Duration::from_millis(3), Duration::from_millis(3)));
        let listed: Vec<Count> = COUNTS.into_iter().map(|(count, ..)| count).collect();
        assert!(listed.is_sorted());
    }
}
