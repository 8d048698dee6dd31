//! A plan of another kind: no mix of rare things, but the settings as they come, tasks of up to an
//! hour, agents that do their work and keep their leases, and a broker that is killed, stopped,
//! paused and cleaned meanwhile. No agent ever lets go of anything, so nothing may be delivered
//! twice.

use crate::check::{Check, ensure};
use crate::plan::{Faults, Plan, Traffic, Wire, Work};
use crate::totals::{Count, Totals};
use crate::world::SmallRules;
use std::sync::Arc;
use trunkline_engine::EngineConfig;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;

/// The plan of a world that lives for so many hours.
pub(crate) fn plan(seed: u64, hours: u32) -> Plan {
    let engine = EngineConfig { seed, rules: Arc::new(SmallRules), ..EngineConfig::default() };
    let drawn = Plan::draw(seed);
    Plan {
        steps: u32::MAX,
        until: u64::from(hours) * HOUR,
        look: MINUTE,
        engine,
        log: drawn.log,
        indexed: true,
        verdicts: 0,
        agents: 3,
        clients: 2,
        strangers: 0,
        wire: Wire { delay: SECOND / 20, duplicated: 0, reordered: 0 },
        faults: Faults {
            crash: 2 * HOUR,
            stop: 3 * HOUR,
            down: 2 * MINUTE,
            pause: HOUR,
            freeze: 4 * HOUR,
            jump: 2 * HOUR,
            clean: HOUR,
            flush: SECOND / 200,
            ..Faults::default()
        },
        traffic: Traffic {
            pace: 8 * MINUTE,
            burst: 1,
            pure: true,
            topics: 50,
            ordered: 100,
            keyed: 100,
            urgent: 500,
            cut: 20,
            ..Traffic::default()
        },
        work: Work { span: HOUR, credit: 6, update: 500, steady: 1000, ..Work::default() },
        ..drawn
    }
}

/// Nothing was delivered twice, although there was every occasion.
pub(crate) fn check(totals: &Totals) -> Check {
    let again = totals.of(Count::Redeliveries);
    ensure!(again == 0, "5 leases", "{again} deliveries of what an agent was still working on");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::swarm::guarded;
    use crate::totals::Count;
    use crate::trace::Detail;
    use crate::world::{Planted, Setup};
    use trunkline_engine::Defect;

    #[test]
    fn hours_of_work_are_delivered_once_whatever_befalls_the_broker() {
        let setup = Setup { seed: 1, hours: Some(12), planted: None, detail: Detail::Brief };
        let outcome = guarded(setup);
        assert_eq!(outcome.failure, None);
        let totals = outcome.totals;
        assert!(totals.of(Count::Crashes) > 2 && totals.of(Count::Pauses) > 2);
        assert!(totals.of(Count::Completed) > 50, "{}", totals.line());
    }

    #[test]
    fn a_lease_that_is_lost_with_the_broker_is_found() {
        let planted = Some(Planted::Engine(Defect::UnrecordedLease));
        let setup = Setup { seed: 1, hours: Some(12), planted, detail: Detail::Brief };
        assert!(guarded(setup).failure.is_some());
    }
}
