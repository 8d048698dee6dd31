//! `idle`: what agents cost that do nothing. First those that are registered and have no
//! connection: the memory of each. Then others that are connected, each over a connection of its
//! own: the memory of each, and the processor time of all. At the end each of the connected ones
//! is sent a message, which proves that it is there.

use super::many::{address, start};
use crate::broker::Target;
use crate::load::{agent_name, latency, stop_agents};
use crate::observe::{Note, Observed};
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, clock, progress};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trunkline_client::Transport;

/// For each connected agent, how many are registered without a connection.
const ABSENT: u32 = 10;
/// How many of them are there at once.
const PIECE: u32 = 1_000;
/// How long the broker has at least to come to rest: it gives memory back after a second or two.
const REST: Duration = Duration::from_secs(2);
/// How long after a look at its memory the next one is.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked at most until two looks agree.
const LOOKS: u32 = 30;
/// By how many bytes looks differ that agree: of 10,000 agents, 7 bytes of each.
const ALIKE: u64 = 64 << 10;
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
    let mut looks = Looks::default();
    let empty = looks.at_rest(&target).await?;
    progress::tell(&format!("  registering {absent} agents that leave again"));
    for from in (0..absent).step_by(PIECE as usize) {
        let name = |number| format!("absent-{}", from + number);
        let some = PIECE.min(absent - from);
        stop_agents(start(&stage, name, some, || Ok(shared.clone())).await?).await;
    }
    let registered = looks.at_rest(&target).await?;
    progress::tell(&format!("  connecting {count} agents"));
    let begun = Instant::now();
    let own = || Ok(Observed::new(target.connect()?, Arc::clone(&stage.flow)));
    let agents = start(&stage, agent_name, count, own).await?;
    let up = begun.elapsed();
    let connected = looks.at_rest(&target).await?;
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
    let mut report = stage.report(&target, &phase, u64::from(count), spread, measures);
    let what = "bytes between the last two looks at memory, at most";
    report.figures = vec![Figure::count(what, looks.apart)];
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

/// By how many bytes memory has grown for each of so many; below zero where it is less than before.
fn each(more: Option<u64>, less: Option<u64>, of: u32) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    let bytes = more? as f64 - less? as f64;
    Some(bytes / f64::from(of))
}

/// Looks at the memory of the broker's process.
#[derive(Debug, Default)]
struct Looks {
    /// How far apart the last two looks were that a figure was taken from, at most, in bytes.
    apart: u64,
}

impl Looks {
    /// What it has in memory once two looks in a row agree, or by the last one of as many as there may
    /// be; `None` if it is not ours.
    async fn at_rest(&mut self, target: &Target) -> Result<Option<u64>, BenchError> {
        tokio::time::sleep(REST).await;
        let Some(mut before) = target.rss_bytes() else { return Ok(None) };
        let mut apart = 0;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            // It answers, so it is done with what came before.
            target.stats().await?;
            let Some(now) = target.rss_bytes() else { return Ok(None) };
            apart = now.abs_diff(before);
            before = now;
            if apart <= ALIKE {
                break;
            }
        }
        if apart > ALIKE {
            progress::tell(&format!(
                "  its memory does not come to rest: {apart} bytes in {LOOK:?}"
            ));
        }
        self.apart = self.apart.max(apart);
        Ok(Some(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_its_own_mark() {
        assert_eq!(most_connected(Some(Transport::Framed)).to_bits(), 3072_f64.to_bits());
        assert_eq!(most_connected(Some(Transport::Grpc)).to_bits(), 16_384_f64.to_bits());
    }

    #[test]
    fn memory_that_is_less_than_before_is_told_as_what_it_is() {
        assert_eq!(each(Some(700), Some(300), 4), Some(100.0));
        assert_eq!(each(Some(300), Some(700), 4), Some(-100.0));
        assert_eq!(each(None, Some(700), 4), None);
    }
}
