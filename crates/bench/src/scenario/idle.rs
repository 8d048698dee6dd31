//! `idle`: what agents cost that do nothing. First those that are registered and have no
//! connection: the memory of each. Then others that are connected, each over a connection of its
//! own: the memory of each, and the processor time of all. At the end each of the connected ones
//! is sent a message, which proves that it is there.

use super::many::{address, start};
use crate::broker::Target;
use crate::load::{agent_name, latency, stop_agents};
use crate::observe::{Note, Observed};
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, clock, progress};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trunkline_client::Transport;

/// For each connected agent, how many are registered without a connection.
const ABSENT: u32 = 10;
/// How many of them are there at once.
const PIECE: u32 = 1_000;
/// How long the broker may take to come to rest.
const REST: Duration = Duration::from_secs(2);
/// Bytes of an agent that is registered and not connected.
const REGISTERED: f64 = 1024.0;
/// Bytes of one that is connected over plain TCP.
const FRAMED: f64 = 3.0 * 1024.0;
/// The same over HTTP/2, with the buffers of its library.
const GRPC: f64 = 16.0 * 1024.0;
/// Thousandths of a core that all connected agents together take.
const CORE: f64 = 5.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let count = stage.config.agents;
    let absent = count * ABSENT;
    let target = stage.durable(Some(data.path())).await?;
    let shared = stage.host(&target);
    // What the first of a kind cost, and what so many at once leave behind, is not what each costs.
    let first = |number| format!("first-{number}");
    stop_agents(start(&stage, first, PIECE, || Ok(shared.clone())).await?).await;
    let empty = memory(&target).await?;
    progress::tell(&format!("  registering {absent} agents that leave again"));
    for from in (0..absent).step_by(PIECE as usize) {
        let name = |number| format!("absent-{}", from + number);
        let some = PIECE.min(absent - from);
        stop_agents(start(&stage, name, some, || Ok(shared.clone())).await?).await;
    }
    let registered = memory(&target).await?;
    progress::tell(&format!("  connecting {count} agents"));
    let begun = Instant::now();
    let own = || Ok(Observed::new(target.connect()?, Arc::clone(&stage.flow)));
    let agents = start(&stage, agent_name, count, own).await?;
    let up = begun.elapsed();
    let connected = memory(&target).await?;
    progress::tell("  letting them do nothing");
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let before = target.cpu_seconds();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let spent = target.cpu_seconds().zip(before).map(|(now, before)| now - before);

    let sessions = stage.sessions(&shared).await?;
    let mut phase = stage
        .phase(&target, async |meter: &Meter<'_>| {
            meter.stop();
            address(&stage, &sessions[0]).await
        })
        .await?;
    stop_agents(agents).await;
    phase.seconds = up.as_secs_f64();
    let spread = latency();
    spread.lock().note(clock::nanos(up));
    let measures = Measures { rate: "agents connected", latency: "all of them to connect" };
    let spread = LatencyMicros::of(&spread.lock());
    let report = stage.report(&target, &phase, u64::from(count), spread, measures);
    let each = |more: Option<u64>, less: Option<u64>, of: u32| {
        #[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
        let bytes = more?.saturating_sub(less?) as f64;
        Some(bytes / f64::from(of))
    };
    let most = most_connected(stage.config.transport);
    Ok(report.with_goals(vec![
        Goal::below("bytes of a registered agent", each(registered, empty, absent), REGISTERED),
        Goal::below("bytes of a connected agent", each(connected, registered, count), most),
        Goal::below("thousandths of a core", spent.map(|spent| spent / seconds * 1e3), CORE),
    ]))
}

/// How many bytes a connected agent may cost, by what carries its session.
fn most_connected(transport: Option<Transport>) -> f64 {
    match transport {
        Some(Transport::Grpc) => GRPC,
        Some(Transport::Framed | Transport::Auto) | None => FRAMED,
    }
}

/// What the broker's process has in memory once it has come to rest; `None` if it is not ours.
async fn memory(target: &Target) -> Result<Option<u64>, BenchError> {
    tokio::time::sleep(REST).await;
    // It answers, so it is done with what came before.
    target.stats().await?;
    Ok(target.rss_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_its_own_mark() {
        assert_eq!(most_connected(Some(Transport::Framed)).to_bits(), 3072_f64.to_bits());
        assert_eq!(most_connected(Some(Transport::Grpc)).to_bits(), 16_384_f64.to_bits());
    }
}
