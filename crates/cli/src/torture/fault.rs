//! What is done to a broker and to those around it, and what was under way meanwhile.

use clap::ValueEnum;
use std::collections::BTreeMap;
use trunkline_types::WallTime;

/// Something that goes wrong. In the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
#[repr(u8)]
pub(super) enum Fault {
    /// SIGKILL for the broker; the page cache keeps what it has written
    Kill,
    /// SIGKILL for the broker over a layer that loses what was not flushed, as a power failure does
    Unflushed,
    /// No room for another segment, until room comes back
    DiskFull,
    /// A flipped bit in a closed segment of a stopped broker
    BitFlip,
    /// A flipped bit in the file of the index, while the broker is stopped or runs
    IndexFlip,
    /// SIGSTOP for the broker, then SIGCONT: for a moment, and for longer than a lease
    Pause,
    /// SIGKILL for an executable agent
    AgentKill,
    /// SIGSTOP for an executable agent for longer than a lease, then SIGCONT
    AgentPause,
    /// Handlers that never return and commands that stop themselves, under a longest run
    Hang,
    /// Every connection broken at once
    Cut,
    /// Everything on the network late
    Delay,
    /// Nothing gets through in one direction, for a moment or for longer than a lease
    Stall,
    /// The broker cut off: nothing gets through either way, likewise, and nobody is told
    Partition,
}

impl Fault {
    /// Those of the network between the load and the broker.
    pub(super) const NETWORK: [Self; 4] = [Self::Cut, Self::Delay, Self::Stall, Self::Partition];

    /// Every fault, in the order of the report.
    pub(super) const ALL: [Self; 13] = [
        Self::Kill,
        Self::Unflushed,
        Self::DiskFull,
        Self::BitFlip,
        Self::IndexFlip,
        Self::Pause,
        Self::AgentKill,
        Self::AgentPause,
        Self::Hang,
        Self::Cut,
        Self::Delay,
        Self::Stall,
        Self::Partition,
    ];

    /// The word on the command line, in the table and in JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Unflushed => "unflushed",
            Self::DiskFull => "disk-full",
            Self::BitFlip => "bit-flip",
            Self::IndexFlip => "index-flip",
            Self::Pause => "pause",
            Self::AgentKill => "agent-kill",
            Self::AgentPause => "agent-pause",
            Self::Hang => "hang",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Stall => "stall",
            Self::Partition => "partition",
        }
    }
}

/// A set of faults.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Faults(u16);

impl Faults {
    /// None.
    pub(super) const NONE: Self = Self(0);

    /// Whether a fault is among them.
    pub(super) fn has(self, fault: Fault) -> bool {
        self.0 & Self::from(fault).0 != 0
    }

    /// Whether any of several is.
    pub(super) fn has_any(self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.has(*fault))
    }

    /// These and others.
    pub(super) fn and(self, others: impl Into<Self>) -> Self {
        Self(self.0 | others.into().0)
    }

    /// These but for one.
    pub(super) fn without(self, fault: Fault) -> Self {
        Self(self.0 & !Self::from(fault).0)
    }

    /// Each of them, in the order of the report.
    pub(super) fn each(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.has(*fault))
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(1 << fault as u8)
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        faults.into_iter().fold(Self::NONE, Self::and)
    }
}

/// When what went wrong, in one round.
#[derive(Clone, Default, Debug)]
pub(super) struct History(Vec<Option<Episode>>);

/// One fault, from when it struck until all was well again.
#[derive(Clone, Copy, Debug)]
struct Episode {
    fault: Fault,
    from: WallTime,
    until: WallTime,
}

/// Which episode is meant.
#[derive(Clone, Copy, Debug)]
#[must_use = "an episode that does not end covers everything after it"]
pub(super) struct Open(usize);

impl History {
    /// A fault strikes.
    pub(super) fn begin(&mut self, fault: Fault, now: WallTime) -> Open {
        self.0.push(Some(Episode { fault, from: now, until: WallTime(u64::MAX) }));
        Open(self.0.len() - 1)
    }

    /// It is over.
    pub(super) fn end(&mut self, open: Open, now: WallTime) {
        if let Some(Some(episode)) = self.0.get_mut(open.0) {
            episode.until = now;
        }
    }

    /// It has struck nothing: nobody met it, and it does not count.
    pub(super) fn withdraw(&mut self, open: Open) {
        if let Some(episode) = self.0.get_mut(open.0) {
            *episode = None;
        }
    }

    /// The faults that something met which was under way between two times.
    pub(super) fn met(&self, from: WallTime, until: WallTime) -> Faults {
        let met = |episode: &&Episode| episode.from <= until && from <= episode.until;
        self.0.iter().flatten().filter(met).map(|episode| episode.fault).collect()
    }

    /// Every fault that struck.
    pub(super) fn all(&self) -> Faults {
        self.0.iter().flatten().map(|episode| episode.fault).collect()
    }

    /// How often each fault struck.
    pub(super) fn counts(&self) -> BTreeMap<Fault, u64> {
        let mut counts = BTreeMap::new();
        for episode in self.0.iter().flatten() {
            *counts.entry(episode.fault).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_while_a_fault_lasted_has_met_it() {
        let mut history = History::default();
        let pause = history.begin(Fault::Pause, WallTime(10));
        history.end(pause, WallTime(20));
        let cut = history.begin(Fault::Cut, WallTime(15));
        let met = |history: &History, from, until| {
            history.met(WallTime(from), WallTime(until)).each().collect::<Vec<_>>()
        };
        assert_eq!(met(&history, 1, 9), []);
        assert_eq!(met(&history, 1, 10), [Fault::Pause]);
        assert_eq!(met(&history, 12, 16), [Fault::Pause, Fault::Cut]);
        // A fault that is not over is met by all that comes.
        assert_eq!(met(&history, 30, 40), [Fault::Cut]);
        history.end(cut, WallTime(29));
        assert_eq!(met(&history, 30, 40), []);
        assert_eq!(history.counts(), BTreeMap::from([(Fault::Pause, 1), (Fault::Cut, 1)]));
    }

    #[test]
    fn a_fault_that_struck_nothing_was_met_by_nobody_and_does_not_count() {
        let mut history = History::default();
        let cut = history.begin(Fault::Cut, WallTime(10));
        let pause = history.begin(Fault::Pause, WallTime(12));
        history.withdraw(cut);
        history.end(pause, WallTime(20));
        history.end(cut, WallTime(20));
        assert_eq!(history.met(WallTime(10), WallTime(30)), Fault::Pause.into());
        assert_eq!(history.all(), Fault::Pause.into());
        assert_eq!(history.counts(), BTreeMap::from([(Fault::Pause, 1)]));
    }

    #[test]
    fn a_set_of_faults_keeps_the_order_of_the_report() {
        let faults: Faults = [Fault::Stall, Fault::Kill].into_iter().collect();
        assert!(faults.has_any(&[Fault::Cut, Fault::Stall]) && !faults.has(Fault::Cut));
        assert_eq!(faults.each().collect::<Vec<_>>(), [Fault::Kill, Fault::Stall]);
        for fault in Fault::ALL {
            let value = fault.to_possible_value().unwrap();
            assert_eq!(value.get_name(), fault.word());
        }
    }
}
