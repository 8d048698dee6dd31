//! What happened in a run, counted, so that a run that did nothing cannot pass for a good one.

/// Counts by name.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    counts: [u64; Count::ALL.len()],
}

impl Default for Totals {
    fn default() -> Self {
        Self { counts: [0; Count::ALL.len()] }
    }
}

macro_rules! counts {
    ($($name:ident = $word:literal, $least:literal;)+) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Count { $($name),+ }

        impl Count {
            const ALL: &'static [(Self, &'static str, u64)] =
                &[$((Self::$name, $word, $least)),+];
        }
    };
}

counts! {
    // What is counted, its name, and how many there must be at least in a hundred seeds.
    Steps = "steps", 20_000;
    Commits = "commits", 2_000;
    Flushes = "flushes", 2_000;
    Records = "records", 10_000;
    Crashes = "crashes", 50;
    Torn = "torn tails", 10;
    Stops = "stops", 3;
    DiskErrors = "disk errors", 5;
    Full = "full disks", 5;
    Congestions = "congestions", 20;
    FullRefusals = "disk-full refusals", 5;
    Flips = "flipped bits", 20;
    Carried = "carried records", 200;
    Loads = "payloads read again", 200;
    Unread = "payloads not read", 5;
    Sweeps = "sweeps", 20;
    Pauses = "pauses", 20;
    Freezes = "freezes", 20;
    Jumps = "wall jumps", 20;
    Cuts = "cuts", 50;
    Duplicated = "duplicated frames", 20;
    Reordered = "reordered frames", 20;
    OutOfOrder = "out-of-order refusals", 5;
    Resumes = "resumes", 20;
    Goodbyes = "goodbyes", 5;
    Drains = "drains", 2;
    Drained = "broker drains", 2;
    SentAway = "sessions sent away", 10;
    Vanished = "vanished sessions", 5;
    Accepted = "accepted", 2_000;
    Strangers = "accepted of another tenant", 100;
    Deliveries = "deliveries", 2_000;
    Redeliveries = "redeliveries", 100;
    Completed = "completed", 500;
    Retries = "retries", 50;
    Releases = "releases", 20;
    Lapses = "lapses and losses", 20;
    Paused = "paused tasks", 10;
    Expiries = "expiries", 20;
    DeadLetters = "dead letters", 20;
    Canceled = "cancels", 5;
    Families = "cancels with descendants", 5;
    Stale = "stale tokens", 20;
    Late = "late results", 3;
    KeyCaps = "refusals for too many keys", 5;
    TooMany = "refusals of too many at once", 5;
    LettersGone = "dead letters gone for newer ones", 2;
    FullInboxes = "refusals for a full inbox", 20;
    Repeats = "key repeats", 5;
    Events = "events", 50;
    Kinds = "deliveries of other kinds", 50;
    TaskEvents = "task events", 200;
    Replies = "replies", 50;
    Controls = "agents set", 20;
    Settings = "inboxes set", 20;
    Impostors = "hellos of impostors", 20;
    Schedules = "schedules set", 20;
    Fired = "scheduled messages", 20;
    Redrives = "redrives", 10;
    Purges = "purges", 5;
    Unregistered = "agents unregistered", 2;
    Gathers = "gathered requests", 20;
    Pending = "pending events", 10;
    Routed = "routed events", 5;
    Drops = "dropped events", 2;
    Pressures = "pressure signals", 5;
    News = "directory news", 50;
    Nested = "nested requests", 20;
    Deadlocks = "deadlock refusals", 2;
    Verdicts = "verdicts", 20;
    Costly = "filters left out", 5;
    Indexed = "indexed keys", 20;
    History = "indexed tasks", 100;
    Merged = "merged pages of tasks", 20;
    Configured = "reloaded settings", 20;
    Outside = "publishes that waited outside", 20;
    Missed = "numbers told to be missed", 10;
    Overruns = "handlers that ran too long", 5;
    Breakers = "open circuit breakers", 2;
    Chosen = "deliveries that others could have had", 100;
    Grouped = "events for groups", 10;
    Reads = "reads", 100;
    Replays = "replay checks", 100;
}

impl Totals {
    pub(crate) fn add(&mut self, count: Count) {
        self.counts[count as usize] += 1;
    }

    pub(crate) fn add_many(&mut self, count: Count, many: u64) {
        self.counts[count as usize] += many;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    pub(crate) fn of(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// One line with everything.
    pub(crate) fn line(&self) -> String {
        let named = Count::ALL.iter().map(|&(count, name, _)| format!("{} {name}", self.of(count)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// What there was too little of in a run of so many seeds.
    pub(crate) fn lacking(&self, seeds: u64) -> Vec<String> {
        let few = |&&(count, _, least): &&(Count, &str, u64)| self.of(count) < least * seeds / 100;
        let lacking = Count::ALL.iter().filter(few);
        lacking
            .map(|&(count, name, least)| {
                format!("{name}: {}, at least {} wanted", self.of(count), least * seeds / 100)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Totals};

    #[test]
    fn a_run_that_did_too_little_says_of_what() {
        let mut totals = Totals::default();
        for &(count, _, least) in Count::ALL {
            for _ in 0..least {
                totals.add(count);
            }
        }
        assert!(totals.lacking(100).is_empty());
        totals.counts[Count::Crashes as usize] -= 1;
        assert_eq!(totals.lacking(100), ["crashes: 49, at least 50 wanted"]);
    }
}
