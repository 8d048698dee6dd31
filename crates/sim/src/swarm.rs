//! Many seeds on all cores, each on one thread.

use crate::check::Violation;
use crate::totals::Totals;
use crate::trace::Detail;
use crate::world::{Outcome, Setup, run as run_world};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One seed in so many is run twice whatever is asked.
const TWICE: u64 = 50;
/// A run of fewer seeds need not have seen everything.
const ENOUGH: u64 = 100;

/// Which seeds are run, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swarm {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) trace: bool,
    pub(crate) twice: bool,
    /// How long each world lives; `None` for a random mix of features and faults.
    pub(crate) hours: Option<u32>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    totals: Totals,
    hash: u64,
    /// The lowest seed that failed.
    failure: Option<(u64, u64, Violation)>,
}

/// Runs the seeds and says what came of it. Returns whether every law held.
pub(crate) fn run(swarm: Swarm) -> bool {
    let next = AtomicU64::new(0);
    let shared = Mutex::new(Shared::default());
    let started = Instant::now();
    let threads = if swarm.trace {
        1
    } else {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(swarm, &next, &shared));
        }
    });
    let shared = shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report(swarm, &shared, started)
}

fn work(swarm: Swarm, next: &AtomicU64, shared: &Mutex<Shared>) {
    loop {
        let done = next.fetch_add(1, Ordering::Relaxed);
        if done >= swarm.seeds {
            return;
        }
        let seed = swarm.from + done;
        let outcome = one(swarm, seed);
        let mut shared = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.totals.merge(&outcome.totals);
        shared.hash ^= outcome.hash.rotate_left((seed % 64) as u32);
        if let Some((step, violation)) = outcome.failure
            && shared.failure.as_ref().is_none_or(|(other, ..)| seed < *other)
        {
            shared.failure = Some((seed, step, violation));
            // The other threads finish what they have begun.
            next.store(swarm.seeds, Ordering::Relaxed);
        }
        if done % 100 == 99 {
            let _ = writeln!(std::io::stderr(), "{} of {} seeds", done + 1, swarm.seeds);
        }
    }
}

/// Runs one seed, twice if asked, and compares.
fn one(swarm: Swarm, seed: u64) -> Outcome {
    let twice = swarm.twice || seed.is_multiple_of(TWICE);
    let detail = match (swarm.trace, twice) {
        (true, _) => Detail::Print,
        (false, true) => Detail::Full,
        (false, false) => Detail::Brief,
    };
    let mut outcome = guarded(Setup { seed, hours: swarm.hours, planted: None, detail });
    if twice && outcome.failure.is_none() {
        let again =
            guarded(Setup { seed, hours: swarm.hours, planted: None, detail: Detail::Full });
        if again.hash != outcome.hash {
            let message = format!("traces {:x} and {:x} of one seed", outcome.hash, again.hash);
            outcome.failure = Some((0, Violation::new("3 repeatable", message)));
        }
    }
    outcome
}

/// Runs one seed; a panic is a failure like any other.
pub(crate) fn guarded(setup: Setup) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run_world(setup))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation::new("panic", text.unwrap_or_default());
        Outcome { totals: Totals::default(), hash: 0, failure: Some((0, violation)) }
    })
}

fn report(swarm: Swarm, shared: &Shared, started: Instant) -> bool {
    let mut out = std::io::stdout().lock();
    let Swarm { from, seeds, hours, .. } = swarm;
    if let Some((seed, step, Violation { law, message })) = &shared.failure {
        let _ = writeln!(out, "seed {seed} breaks law {law} at step {step}: {message}");
        let _ = writeln!(
            out,
            "replay: cargo run --release -p trunkline-sim -- --from {seed} --seeds 1 --trace{}",
            hours.map_or_else(String::new, |hours| format!(" --hours {hours}"))
        );
        return false;
    }
    let seconds = started.elapsed().as_secs_f64();
    let _ = writeln!(out, "{}", shared.totals.line());
    let _ = writeln!(
        out,
        "{seeds} seeds from {from} in {seconds:.1} s, every law held, hash {:016x}",
        shared.hash
    );
    if hours.is_some() {
        // What there has to be enough of is said for the random mixes.
        return true;
    }
    let lacking = shared.totals.lacking(seeds);
    if lacking.is_empty() {
        return true;
    }
    if seeds < ENOUGH {
        let few = "too few seeds to show that enough happened, for want of";
        let _ = writeln!(out, "{few} {}", lacking.join("; "));
        return true;
    }
    let _ = writeln!(out, "the run did too little to prove anything: {}", lacking.join("; "));
    false
}

#[cfg(test)]
mod tests {
    use super::guarded;
    use crate::trace::Detail;
    use crate::world::{DriverDefect, Planted, Setup};
    use trunkline_engine::Defect;

    #[test]
    fn one_seed_gives_one_trace_and_another_seed_another() {
        let hash = |seed| {
            let outcome = guarded(Setup { seed, hours: None, planted: None, detail: Detail::Full });
            assert_eq!(outcome.failure, None, "seed {seed}");
            outcome.hash
        };
        assert_eq!(hash(3), hash(3));
        assert_ne!(hash(3), hash(4));
    }

    #[test]
    fn defects_of_engine_and_driver_are_found() {
        for planted in [
            Planted::Engine(Defect::AcceptBeforeFlush),
            Planted::Engine(Defect::UncountedAttempt),
            Planted::Driver(DriverDefect::WrittenIsSynced),
        ] {
            let caught = |seed| {
                let setup =
                    Setup { seed, hours: None, planted: Some(planted), detail: Detail::Brief };
                guarded(setup).failure.is_some()
            };
            assert!((0..10).any(caught), "{planted:?}");
        }
    }
}
