//! `reconnect`: many agents, each with a connection of its own, lose their broker to a kill and
//! come back to the one after it. Each is then sent a message, which proves that it is there.
//!
//! A storm would show in the connections that one agent makes until it is welcomed, and in the
//! busiest second.

use super::many::{address, start};
use crate::load::{agent_name, stop_agents};
use crate::observe::{Note, Observed, Returns, histogram};
use crate::progress::Progress;
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, progress};
use std::sync::Arc;
use std::time::Duration;

/// All agents together, in seconds.
const ALL: f64 = 30.0;
/// How long they may take at most before those that are missing count as lost.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often those that are back are counted.
const LOOK: Duration = Duration::from_millis(10);
/// Connections that one agent makes, on average.
const CONNECTIONS: f64 = 3.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let count = stage.config.agents;
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let mut target = stage.on_kept_port(data.path()).await?;
    progress::tell(&format!("  connecting {count} agents"));
    let own = || Ok(Observed::new(target.connect()?, Arc::clone(&stage.flow)));
    let agents = start(&stage, agent_name, count, own).await?;
    progress::tell("  killing the broker and starting it again");
    drop(stage.flow.take_returns());
    target.restart(data.path()).await?;
    let ready = stage.clock.nanos();
    let back = come_back(&stage).await;
    let made = target.connections_accepted().await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let mut phase = stage
        .phase(&target, async |meter: &Meter<'_>| {
            meter.stop();
            address(&stage, &sessions[0]).await
        })
        .await?;
    stop_agents(agents).await;

    let mut spread = histogram();
    let waits: Vec<u64> = back.times().map(|at| at.saturating_sub(ready)).collect();
    for wait in &waits {
        spread.note(*wait);
    }
    phase.seconds = Duration::from_nanos(waits.iter().copied().max().unwrap_or(0)).as_secs_f64();
    let measures =
        Measures { rate: "agents welcomed again", latency: "the broker ready until welcomed" };
    let done = waits.len() as u64;
    let spread = LatencyMicros::of(&spread);
    let mut report = stage.report(&target, &phase, done, spread, measures);
    if done < u64::from(count) {
        report.disagreements.push(format!("agents connected {count}, agents back {done}"));
        report.pass = false;
        report.rate_per_s = None;
        report.latency_us = None;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let each = made as f64 / f64::from(count);
    report.figures =
        vec![Figure::count("returns, of which each agent's last one counts", back.all())];
    Ok(report.with_goals(vec![
        Goal::below("seconds until all are back", Some(phase.seconds), ALL),
        Goal::below("connections made for each agent", Some(each), CONNECTIONS),
    ]))
}

/// Waits until all agents are back, or for as long as that may take at most. Returns when each
/// came.
async fn come_back(stage: &Stage) -> Returns {
    let flow = Arc::clone(&stage.flow);
    let _progress = Progress::start("coming back", "agents", move || flow.returned());
    let all = async {
        while stage.flow.returned() < u64::from(stage.config.agents) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
    stage.flow.take_returns()
}
