//! What is done to a round, drawn from its seed before it begins.
//!
//! Pure, and drawn in one go, so that nothing that happens in a run changes what is done later in
//! it: the same seed does the same things in the same order.

use super::fault::{Fault, Faults};
use fastrand::Rng;
use std::time::Duration;

/// The longest time for which work flows between a restart and the next kill.
const FLOWING: Duration = Duration::from_millis(300);
/// The longest time after which a broker that is still starting is killed.
const STARTING: Duration = Duration::from_millis(80);
/// One kill in so many hits a broker that is still starting.
const WHILE_STARTING: u32 = 10;
/// At one kill in so many an agent is killed, too.
const WITH_AGENT: u32 = 5;
/// Longer than the lease that the broker is given, and by more than half a second: a freeze that
/// ends sooner after a lease's deadline cannot be told from an agent's silence.
const LONG: (u64, u64) = (3_800, 4_600);
/// Shorter than its resume grace.
const SHORT: (u64, u64) = (50, 700);

/// One step of a round: things go wrong, and then the broker is killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// What goes wrong before, one after the other.
    pub(super) strikes: Vec<Strike>,
    /// How the broker is killed, if it is.
    pub(super) kill: Option<Kill>,
}

/// How the broker is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kill {
    /// Whether it is still starting.
    pub(super) starting: bool,
    /// How long it runs before, from its start or from the moment in which work flows.
    pub(super) after: Duration,
    /// Which executable agent is killed just before.
    pub(super) with_agent: Option<usize>,
}

/// Something that goes wrong while the broker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Strike {
    /// The disk has no more room, and gets it back after having refused work for so long.
    DiskFull { held: Duration },
    /// The broker is stopped for so long.
    Pause { held: Duration },
    /// An executable agent is killed.
    AgentKill { number: usize },
    /// An executable agent is stopped; it goes on after so long, while other things happen.
    AgentPause { number: usize, held: Duration },
    /// A handler and an executable hang.
    Hang,
    /// Every connection is broken; by a reset if so drawn, else by an end.
    Cut { reset: bool },
    /// What is sent arrives so much later; other things happen meanwhile.
    Delay { late: Duration, held: Duration },
    /// Nothing gets through to the broker, or from it, for so long.
    Stall { to_broker: bool, held: Duration },
    /// Nothing gets through either way for so long, and nobody is told.
    Partition { held: Duration },
}

impl Strike {
    /// What is counted.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::DiskFull { .. } => Fault::DiskFull,
            Self::Pause { .. } => Fault::Pause,
            Self::AgentKill { .. } => Fault::AgentKill,
            Self::AgentPause { .. } => Fault::AgentPause,
            Self::Hang => Fault::Hang,
            Self::Cut { .. } => Fault::Cut,
            Self::Delay { .. } => Fault::Delay,
            Self::Stall { .. } => Fault::Stall,
            Self::Partition { .. } => Fault::Partition,
        }
    }
}

/// Draws a round of so many steps. Every fault that is wanted strikes at least once, and at least
/// one strikes every other step.
pub(super) fn draw(rng: &mut Rng, steps: u32, faults: Faults) -> Vec<Step> {
    let kills = faults.has_any(&[Fault::Kill, Fault::Unflushed]);
    let mut strikes = strikes(rng, steps, faults).into_iter();
    let all = u32::try_from(strikes.len()).unwrap_or(u32::MAX);
    let mut struck = 0;
    let mut script = Vec::new();
    for step in 0..steps {
        // Spread evenly over the steps.
        let due = u64::from(all) * (u64::from(step) + 1) / u64::from(steps);
        let mut now = Vec::new();
        while struck < due {
            now.extend(strikes.next());
            struck += 1;
        }
        let starting = step > 0 && now.is_empty() && rng.u32(0..WHILE_STARTING) == 0;
        let after = if starting { STARTING } else { FLOWING }.mul_f64(rng.f64());
        let with_agent =
            (rng.u32(0..WITH_AGENT) == 0 && faults.has(Fault::AgentKill)).then(|| rng.usize(..));
        let kill = kills.then_some(Kill { starting, after, with_agent });
        script.push(Step { strikes: now, kill });
    }
    script
}

fn strikes(rng: &mut Rng, steps: u32, faults: Faults) -> Vec<Strike> {
    let mut all = Vec::new();
    loop {
        let mut deck = deck(rng, faults);
        if deck.is_empty() || (!all.is_empty() && all.len() >= steps as usize / 2) {
            return all;
        }
        rng.shuffle(&mut deck);
        if !all.is_empty() {
            deck.truncate((steps as usize / 2).saturating_sub(all.len()));
        }
        all.extend(deck);
    }
}

/// One of each, and of some the short and the long form.
fn deck(rng: &mut Rng, faults: Faults) -> Vec<Strike> {
    let mut millis = |span| millis_of(rng, span);
    let (short, long, longer) = (millis(SHORT), millis(LONG), millis(LONG));
    let (moment, held, late) = (millis(SHORT), millis((300, 1_000)), millis((5, 60)));
    // Long ones are rare, because nothing else can happen meanwhile.
    let [stalled, apart] =
        [moment, held].map(|short| if rng.u8(0..4) == 0 { millis_of(rng, LONG) } else { short });
    let strikes = [
        Strike::DiskFull { held: moment / 2 },
        Strike::Pause { held: short },
        Strike::Pause { held: long },
        Strike::AgentKill { number: rng.usize(..) },
        Strike::AgentPause { number: rng.usize(..), held: longer },
        Strike::Hang,
        Strike::Cut { reset: rng.bool() },
        Strike::Delay { late, held },
        Strike::Stall { to_broker: rng.bool(), held: stalled },
        Strike::Partition { held: apart },
    ];
    strikes.into_iter().filter(|strike| faults.has(strike.fault())).collect()
}

fn millis_of(rng: &mut Rng, (least, most): (u64, u64)) -> Duration {
    Duration::from_millis(rng.u64(least..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(seed: u64, steps: u32, faults: Faults) -> Vec<Step> {
        draw(&mut Rng::with_seed(seed), steps, faults)
    }

    fn struck(script: &[Step]) -> Vec<Fault> {
        script.iter().flat_map(|step| &step.strikes).map(|strike| strike.fault()).collect()
    }

    #[test]
    fn one_seed_draws_one_script_and_another_one_another() {
        let all = Fault::ALL.into_iter().collect();
        assert_eq!(script(1, 15, all), script(1, 15, all));
        assert_ne!(script(1, 15, all), script(2, 15, all));
    }

    #[test]
    fn every_round_has_every_fault_that_is_wanted_and_no_other() {
        let all: Faults = Fault::ALL.into_iter().collect();
        // Those of the broker itself and its data are the round's.
        let rounds: Faults =
            [Fault::Kill, Fault::Unflushed, Fault::BitFlip, Fault::IndexFlip].into_iter().collect();
        for (seed, steps) in [(1, 1), (2, 2), (3, 15), (4, 100)] {
            let struck = struck(&script(seed, steps, all));
            let seen: Faults = struck.iter().copied().collect();
            assert_eq!(seen.and(rounds), all, "{steps} steps");
            assert!(struck.len() >= steps as usize / 2);
        }
        let some: Faults = [Fault::Kill, Fault::Cut].into_iter().collect();
        assert_eq!(struck(&script(5, 4, some)), [Fault::Cut, Fault::Cut]);
        assert_eq!(struck(&script(5, 4, Fault::Kill.into())), []);
    }

    #[test]
    fn a_broker_is_killed_at_every_step_if_that_is_wanted() {
        let kills =
            |faults: Faults| script(7, 9, faults).iter().filter(|step| step.kill.is_some()).count();
        assert_eq!(kills(Fault::Kill.into()), 9);
        assert_eq!(kills(Fault::Unflushed.into()), 9);
        assert_eq!(kills(Fault::Cut.into()), 0);
    }

    #[test]
    fn a_broker_that_is_killed_while_it_starts_has_no_time_for_anything_else() {
        let all: Faults = Fault::ALL.into_iter().collect();
        let script = script(8, 400, all);
        let starting = |step: &&Step| step.kill.is_some_and(|kill| kill.starting);
        assert!(script.iter().filter(starting).count() > 3);
        assert!(script.iter().filter(starting).all(|step| step.strikes.is_empty()));
    }
}
