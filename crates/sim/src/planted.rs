//! Planted defects: a simulator that cannot find them proves nothing.

use crate::swarm::guarded;
use crate::trace::Detail;
use crate::world::{DriverDefect, Planted, Setup};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use trunkline_engine::Defect;

/// What came of one defect.
#[derive(Clone, Debug)]
struct Verdict {
    name: String,
    /// The seed that caught it, the law, and what it said.
    caught: Option<(u64, &'static str, String)>,
}

/// Plants every defect, or the named one, and says which law caught each. Returns whether all
/// were caught.
pub(crate) fn run(name: &str, from: u64, seeds: u64) -> bool {
    let started = Instant::now();
    let all = defects();
    let chosen: Vec<_> =
        all.iter().filter(|(own, _)| name == "all" || own == name).cloned().collect();
    let mut out = std::io::stdout();
    if chosen.is_empty() {
        let names: Vec<_> = all.into_iter().map(|(name, _)| name).collect();
        let _ = writeln!(out, "no defect is called '{name}'; there are {}", names.join(", "));
        return false;
    }
    // Defects make the engine contradict itself: its assertions are one way to be caught, and
    // their messages would only hide the table.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![None; chosen.len()]);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, planted)) = chosen.get(at) else { return };
                    let verdict = hunt(name, *planted, from, seeds);
                    let mut verdicts =
                        verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    verdicts[at] = Some(verdict);
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let verdicts = verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut missed = 0;
    for Verdict { name, caught } in verdicts.into_iter().flatten() {
        let _ = if let Some((seed, law, message)) = caught {
            let message: String = message.chars().take(100).collect();
            writeln!(out, "{name:24} seed {seed:<4} law {law:16} {message}")
        } else {
            missed += 1;
            writeln!(out, "{name:24} NOT CAUGHT within {seeds} seeds")
        };
    }
    let seconds = started.elapsed().as_secs_f64();
    let _ = writeln!(out, "{} defects, {missed} not caught, in {seconds:.1} s", chosen.len());
    missed == 0
}

fn defects() -> Vec<(String, Planted)> {
    let engine = Defect::ALL.iter().map(|&defect| (format!("{defect:?}"), Planted::Engine(defect)));
    let driver =
        DriverDefect::ALL.iter().map(|&defect| (format!("{defect:?}"), Planted::Driver(defect)));
    engine.chain(driver).collect()
}

fn hunt(name: &str, planted: Planted, from: u64, seeds: u64) -> Verdict {
    let caught = (from..from + seeds).find_map(|seed| {
        let setup = Setup { seed, hours: None, planted: Some(planted), detail: Detail::Brief };
        let (_, violation) = guarded(setup).failure?;
        Some((seed, violation.law, violation.message))
    });
    Verdict { name: name.to_owned(), caught }
}
