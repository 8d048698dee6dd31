//! `chatter`: many agents send each other messages at a given rate, whether or not earlier ones
//! have arrived. Read `open` for how an open loop counts.

use super::open::{Talk, addresses};
use crate::load::{latency, start_agents};
use crate::observe::histogram;
use crate::pace::{Pace, Wait};
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport};
use std::sync::Arc;
use trunkline_types::{Kind, PublishOptions};

/// 95 of 100 messages, in milliseconds.
const P95: f64 = 10.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let agents = start_agents(&host, &stage.config, None, &checker).await?;
    let addresses = addresses(stage.config.agents)?;
    let talk = Talk {
        sessions: agents.iter().map(|agent| agent.session().clone()).collect(),
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Event,
        options: PublishOptions::default(),
    };
    let rate = stage.config.rate.unwrap_or(1);
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let round = async |seconds: f64| {
        stage
            .phase(&target, async |_: &Meter<'_>| {
                let mut random = fastrand::Rng::with_seed(7);
                let choose = |number: u64| {
                    let from = usize::try_from(number).unwrap_or(0) % addresses.len();
                    // Anyone but the sender, unless it is alone.
                    let step = random.usize(1..addresses.len().max(2));
                    (from, addresses[(from + step) % addresses.len()].clone())
                };
                let pace = Pace::new(stage.clock, rate, Wait::Timer);
                talk.clone().send(pace, pace.count(seconds), choose).await
            })
            .await
    };
    stage.warmed(&round((seconds / 4.0).min(1.0)).await?);
    *spread.lock() = histogram();
    let phase = {
        let _progress = stage.progress("measuring");
        round(seconds).await?
    };
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "settled", latency: "due to be sent until handled" };
    let report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    let p95 = report.latency_us.map(|latency| latency.p95 / 1e3);
    drop(agents);
    Ok(report.with_goals(vec![Goal::below("latency p95 in ms", p95, P95)]))
}
