//! The promises that are checked, and how they fared.

use super::fault::{Fault, Faults};
use std::collections::BTreeMap;

/// How many broken cases are told of one promise.
const EXAMPLES: usize = 5;

/// What Trunkline promises of work that survives its broker. In the order of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Promise {
    /// Accepted `synced` work exists after every crash.
    NothingLost,
    /// Accepted `buffered` work exists after a crash of the process.
    BufferedKept,
    /// A task ends once, in one terminal event, by at most one confirmed settlement.
    EndsOnce,
    /// A task ends as its handler ended it.
    EndsAsHandled,
    /// What a worker was told is settled stays settled.
    SettledStays,
    /// No two deliveries have the same token.
    TokensUnique,
    /// What is delivered is what was sent.
    PayloadIntact,
    /// The events of a task are numbered without gaps.
    EventsNumbered,
    /// One idempotency key makes one task.
    KeysOnce,
    /// What was refused, or never sent, is not there.
    NothingInvented,
    /// Every operation and every request is answered.
    AllAnswered,
    /// A recovery changes nothing that was seen before it.
    RecoveryFaithful,
    /// What came in equals what went out and what is there.
    Conserved,
    /// The broker is ready again, sessions come back and work flows.
    ComesBack,
    /// A stopped broker does not take its own absence for an agent's silence.
    LeasesKept,
    /// A handler that never returns is ended at its longest run, and the work done again.
    HungEnded,
    /// New work is refused, with the reason, while the disk is full.
    FullTold,
    /// A broker whose log is damaged says where, whether it starts or not.
    DamageNamed,
    /// What is not in the damaged block is there.
    DamageContained,
    /// What a damaged index does not alone hold is there.
    IndexContained,
}

impl Promise {
    /// Every promise, in the order of the report.
    pub(super) const ALL: [Self; 20] = [
        Self::NothingLost,
        Self::BufferedKept,
        Self::EndsOnce,
        Self::EndsAsHandled,
        Self::SettledStays,
        Self::TokensUnique,
        Self::PayloadIntact,
        Self::EventsNumbered,
        Self::KeysOnce,
        Self::NothingInvented,
        Self::AllAnswered,
        Self::RecoveryFaithful,
        Self::Conserved,
        Self::ComesBack,
        Self::LeasesKept,
        Self::HungEnded,
        Self::FullTold,
        Self::DamageNamed,
        Self::DamageContained,
        Self::IndexContained,
    ];

    /// The promise in a few words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NothingLost => "accepted synced work is never lost",
            Self::BufferedKept => "buffered work outlives a killed process",
            Self::EndsOnce => "a task ends once on record",
            Self::EndsAsHandled => "a task ends as its handler said",
            Self::SettledStays => "a confirmed settlement stays",
            Self::TokensUnique => "a fencing token never repeats",
            Self::PayloadIntact => "what is delivered is what was sent",
            Self::EventsNumbered => "task events are numbered without gaps",
            Self::KeysOnce => "one idempotency key, one task",
            Self::NothingInvented => "what was refused is not done",
            Self::AllAnswered => "every operation and request is answered",
            Self::RecoveryFaithful => "recovery changes nothing seen before",
            Self::Conserved => "accepted = ended + still there",
            Self::ComesBack => "broker and sessions come back",
            Self::LeasesKept => "a stopped broker takes no lease away",
            Self::HungEnded => "a handler that hangs is ended",
            Self::FullTold => "a full disk refuses, and says so",
            Self::DamageNamed => "damage is named",
            Self::DamageContained => "damage costs its own block at most",
            Self::IndexContained => "a damaged index costs no more than is counted",
        }
    }

    /// The faults under which it is judged; under others it cannot be tested.
    pub(super) fn judged_under(self) -> Faults {
        use Fault::{
            AgentPause, BitFlip, Delay, DiskFull, Hang, IndexFlip, Kill, Pause, Unflushed,
        };
        // Bits are flipped when all else is over.
        let all: Faults = Fault::ALL.into_iter().collect();
        let all = all.without(BitFlip).without(IndexFlip);
        match self {
            Self::NothingLost
            | Self::EndsOnce
            | Self::EndsAsHandled
            | Self::SettledStays
            | Self::TokensUnique
            | Self::PayloadIntact
            | Self::EventsNumbered
            | Self::KeysOnce
            | Self::NothingInvented
            | Self::AllAnswered
            | Self::Conserved => all,
            Self::BufferedKept => all.without(Unflushed),
            Self::RecoveryFaithful => Faults::from(Kill).and(Unflushed),
            // Those that last while other things happen end without anybody waiting for work.
            Self::ComesBack => all.without(AgentPause).without(Delay),
            Self::LeasesKept => Pause.into(),
            Self::HungEnded => Hang.into(),
            Self::FullTold => DiskFull.into(),
            Self::DamageNamed => Faults::from(BitFlip).and(IndexFlip),
            Self::DamageContained => BitFlip.into(),
            Self::IndexContained => IndexFlip.into(),
        }
    }

    /// The faults that are there to test it. A run with one of these that has not tested it proves
    /// less than it was made to prove; the rest of the promises are met by whatever is under way.
    pub(super) fn due_under(self) -> Faults {
        match self {
            Self::RecoveryFaithful
            | Self::LeasesKept
            | Self::HungEnded
            | Self::FullTold
            | Self::DamageContained
            | Self::IndexContained => self.judged_under(),
            // Damage of the index is named only where the broker does not start for its sake.
            Self::DamageNamed => Fault::BitFlip.into(),
            Self::NothingLost
            | Self::BufferedKept
            | Self::EndsOnce
            | Self::EndsAsHandled
            | Self::SettledStays
            | Self::TokensUnique
            | Self::PayloadIntact
            | Self::EventsNumbered
            | Self::KeysOnce
            | Self::NothingInvented
            | Self::AllAnswered
            | Self::Conserved
            | Self::ComesBack => Faults::NONE,
        }
    }

    /// What its cases are counted in.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::NothingLost | Self::BufferedKept | Self::EndsOnce | Self::EndsAsHandled => {
                "tasks"
            }
            Self::SettledStays => "settlements",
            Self::TokensUnique | Self::PayloadIntact => "deliveries",
            Self::EventsNumbered => "events",
            Self::KeysOnce => "keys",
            Self::NothingInvented
            | Self::RecoveryFaithful
            | Self::DamageContained
            | Self::IndexContained => "tasks on record",
            Self::AllAnswered => "operations",
            Self::Conserved => "audits",
            Self::ComesBack => "returns",
            Self::LeasesKept => "leases",
            Self::HungEnded => "handlers",
            Self::FullTold => "full disks",
            Self::DamageNamed => "flipped bits",
        }
    }
}

/// How one promise fared.
#[derive(Clone, Default, Debug)]
pub(super) struct Tally {
    /// Cases checked.
    pub(super) checked: u64,
    /// Cases in which it was broken.
    pub(super) broken: u64,
    /// What was found in the first of those.
    pub(super) examples: Vec<String>,
}

/// How every promise fared, in all and under each fault.
#[derive(Clone, Default, Debug)]
pub(super) struct Tallies {
    all: BTreeMap<Promise, Tally>,
    /// Cases checked, and those of them that were broken.
    under: BTreeMap<(Promise, Fault), (u64, u64)>,
}

impl Tallies {
    /// Takes note of one case, and of the faults that it met.
    pub(super) fn check(
        &mut self,
        promise: Promise,
        met: impl Into<Faults>,
        held: bool,
        found: impl FnOnce() -> String,
    ) {
        let met = met.into();
        self.held(promise, met, 1);
        if held {
            return;
        }
        for fault in met.each() {
            self.under.entry((promise, fault)).or_default().1 += 1;
        }
        let tally = self.all.entry(promise).or_default();
        tally.broken += 1;
        if tally.examples.len() < EXAMPLES {
            tally.examples.push(found());
        }
    }

    /// Takes note of many cases that held.
    pub(super) fn held(&mut self, promise: Promise, met: impl Into<Faults>, cases: u64) {
        self.all.entry(promise).or_default().checked += cases;
        for fault in met.into().each() {
            debug_assert!(promise.judged_under().has(fault), "{promise:?} under {fault:?}");
            self.under.entry((promise, fault)).or_default().0 += cases;
        }
    }

    /// How a promise fared.
    pub(super) fn of(&self, promise: Promise) -> Tally {
        self.all.get(&promise).cloned().unwrap_or_default()
    }

    /// How many cases met a fault, and how many of those were broken.
    pub(super) fn under(&self, promise: Promise, fault: Fault) -> (u64, u64) {
        self.under.get(&(promise, fault)).copied().unwrap_or_default()
    }

    /// The faults among these under which a promise is judged and was not tested.
    pub(super) fn untested(&self, promise: Promise, wanted: Faults) -> Faults {
        let judged = promise.judged_under();
        let due = wanted.each().filter(|fault| judged.has(*fault));
        due.filter(|fault| self.under(promise, *fault).0 == 0).collect()
    }

    /// Whether any promise was broken.
    pub(super) fn any_broken(&self) -> bool {
        self.all.values().any(|tally| tally.broken > 0)
    }

    /// Adds another set.
    pub(super) fn add(&mut self, other: Self) {
        for (promise, tally) in other.all {
            let mine = self.all.entry(promise).or_default();
            mine.checked += tally.checked;
            mine.broken += tally.broken;
            let room = EXAMPLES.saturating_sub(mine.examples.len());
            mine.examples.extend(tally.examples.into_iter().take(room));
        }
        for (key, (checked, broken)) in other.under {
            let mine = self.under.entry(key).or_default();
            mine.0 += checked;
            mine.1 += broken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the page says of the faults under which a promise is judged.
    fn said(promise: Promise) -> String {
        let list = |faults: Faults| {
            faults.each().map(|fault| format!("`{}`", fault.word())).collect::<Vec<_>>().join(", ")
        };
        let judged = promise.judged_under();
        let others: Faults = Fault::ALL.into_iter().filter(|fault| !judged.has(*fault)).collect();
        if judged.each().count() < others.each().count() {
            return list(judged);
        }
        format!("all but {}", list(others))
    }

    #[test]
    fn the_page_says_which_promise_is_judged_under_which_fault() {
        let page = include_str!("../../../../docs/torture.md");
        for fault in Fault::ALL {
            assert!(page.contains(&format!("\n| `{}` | ", fault.word())), "{fault:?}");
        }
        for promise in Promise::ALL {
            let row = format!("\n| {} | {} |\n", promise.text(), said(promise));
            assert!(page.contains(&row), "this row is missing: {row}");
        }
    }

    #[test]
    fn broken_cases_are_counted_and_the_first_are_told() {
        let mut tallies = Tallies::default();
        tallies.held(Promise::NothingLost, Fault::Kill, 10);
        for number in 0..7 {
            let met = if number < 3 { Faults::from(Fault::Cut) } else { Faults::NONE };
            tallies.check(Promise::NothingLost, met, number == 0, || format!("case {number}"));
        }
        let mut sum = Tallies::default();
        sum.add(tallies.clone());
        sum.add(tallies);
        let tally = sum.of(Promise::NothingLost);
        assert_eq!((tally.checked, tally.broken), (34, 12));
        assert_eq!(tally.examples, ["case 1", "case 2", "case 3", "case 4", "case 5"]);
        assert!(sum.any_broken());
        assert_eq!(sum.of(Promise::KeysOnce).checked, 0);
        assert_eq!(sum.under(Promise::NothingLost, Fault::Kill), (20, 0));
        assert_eq!(sum.under(Promise::NothingLost, Fault::Cut), (6, 4));
        assert_eq!(sum.under(Promise::NothingLost, Fault::Stall), (0, 0));
    }
}
