//! `fanout-sessions`: each event to the subscriptions of many sessions, in memory. They get it without
//! a lease and acknowledge what they have taken together. The broker answers no acknowledgement, so
//! that a phase ends when its own count says that all were acknowledged.

use super::flow::{TOPIC, fanned_out, keep_full};
use crate::broker::Target;
use crate::load::{Checker, Mix, Stop, latency};
use crate::observe::{Flow, histogram};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Phase, Stage};
use crate::{BenchError, BenchReport};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use trunkline_agent::{Events, Session};
use trunkline_types::TopicPattern;

/// How long the last acknowledgements may take before they are missing in the counts.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the broker is asked for its count meanwhile.
const LOOK: Duration = Duration::from_millis(1);

pub(super) async fn fanout(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let delay = latency();
    // They end with it.
    let mut takers = JoinSet::new();
    for number in 0..stage.config.agents {
        let taken = Some(Arc::clone(&delay));
        let checker = Checker { copy: u64::from(number), ..stage.checker(taken, false) };
        let pattern =
            TopicPattern::new(TOPIC).map_err(|error| BenchError::Load(error.to_string()))?;
        let events = stage.session(&host).await?.subscribe(pattern).await;
        let events = events.map_err(BenchError::refused("cannot subscribe"))?;
        takers.spawn(take(events, checker, Arc::clone(&stage.flow)));
    }
    let mix = fanned_out(&stage.config)?;
    let sessions = stage.sessions(&host).await?;
    stage.warmed(&measure(&stage, &target, &sessions, &mix, stage.warm_up()).await?);
    *delay.lock() = histogram();
    let phase = {
        let _progress = stage.progress("measuring");
        measure(&stage, &target, &sessions, &mix, stage.stop()).await?
    };
    let spread = LatencyMicros::of(&delay.lock());
    let measures = Measures { rate: "deliveries acknowledged", latency: "sent until taken" };
    Ok(stage.report(&target, &phase, phase.counts.confirmed, spread, measures))
}

/// Takes whatever comes and checks it. Taking acknowledges.
async fn take(mut events: Events, checker: Checker, flow: Arc<Flow>) {
    while let Some(event) = events.next().await {
        checker.see_payload(&event.payload().data, checker.copy);
        let mut taken = 1;
        while let Some(event) = events.try_next() {
            checker.see_payload(&event.payload().data, checker.copy);
            taken += 1;
        }
        flow.confirm(taken);
    }
}

/// Keeps the window full until it is time to stop, and waits until the broker has counted the
/// acknowledgement of each.
async fn measure(
    stage: &Stage,
    target: &Target,
    sessions: &[Session],
    mix: &Mix,
    stop: Stop,
) -> Result<Phase, BenchError> {
    let work = async |_: &Meter<'_>| {
        let (before, taken) = (target.stats().await?.counters.settled, stage.flow.confirmed());
        let counts = stage.ledger.counts();
        keep_full(stage, sessions, mix, stop).await?;
        let new = stage.ledger.counts() - counts;
        let due = new.sent.saturating_sub(new.refused);
        // What is missing then is told by the counts.
        if stage.flow.reach(taken + due, PATIENCE).await {
            acknowledged(target, before + due).await?;
        }
        Ok(())
    };
    stage.phase(target, work).await
}

/// Waits until the broker has settled so many, or for as long as that may take.
async fn acknowledged(target: &Target, due: u64) -> Result<(), BenchError> {
    let late = Instant::now() + PATIENCE;
    while target.stats().await?.counters.settled < due && Instant::now() < late {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
