//! `a2a`: messages of `Agent2Agent` over JSON-RPC, each of which waits for its task, then streams.
//!
//! With a URL it measures whatever server is there, so that another one can stand beside the
//! broker; that one must answer a message with what it says.

use super::flow::join;
use crate::http::{Connection, Endpoint};
use crate::load::{Latency, Stop, agent_name, latency, start_agents, stop_agents};
use crate::observe::{Note, histogram};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, wire};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the figures mean.
const MEASURES: Measures =
    Measures { rate: "messages answered with their task", latency: "sent until answered" };

/// Which operation is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// Sends, each of which waits.
    Blocking,
    /// Streams.
    Streaming,
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let limit = wire::measure()?;
    let mut report = match stage.config.url.clone() {
        Some(url) => elsewhere(&stage, &Endpoint::new(&url)?).await?,
        None => behind_the_broker(&stage).await?,
    };
    report.wire = Some(limit);
    Ok(report)
}

/// A broker of its own with agents that send back what they get.
async fn behind_the_broker(stage: &Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let agents = start_agents(&host, &stage.config, None, &stage.checker(None, true)).await?;
    let port = target.port().unwrap_or(0);
    let root = Endpoint::new(&format!("http://127.0.0.1:{port}/"))?;
    let paths: Arc<[String]> =
        (0..stage.config.agents).map(|number| format!("/agents/{}", agent_name(number))).collect();
    let load = Load::open(stage, &root, paths).await?;
    let warm_up = stage
        .phase(&target, async |_: &Meter<'_>| load.run(How::Blocking, stage.warm_up()).await)
        .await?;
    stage.warmed(&warm_up);
    load.forget();
    let phase = {
        let _progress = stage.progress("measuring");
        let work = async |_: &Meter<'_>| load.run(How::Blocking, stage.stop()).await;
        stage.phase(&target, work).await?
    };
    let spread = load.spread();
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, MEASURES);
    let streams = {
        let _progress = stage.progress("streaming");
        let work = async |_: &Meter<'_>| load.run(How::Streaming, once_more(stage)).await;
        stage.phase(&target, work).await?
    };
    let first = load.spread();
    let streams = stage.report(&target, &streams, streams.counts.confirmed, first, MEASURES);
    add_streams(&mut report, streams);
    stop_agents(agents).await;
    Ok(report)
}

/// A server that is there already, of which only the answers are known.
async fn elsewhere(stage: &Stage, endpoint: &Endpoint) -> Result<BenchReport, BenchError> {
    let load = Load::open(stage, endpoint, Arc::new([endpoint.path().to_owned()])).await?;
    load.run(How::Blocking, stage.warm_up()).await?;
    let mut reports = Vec::new();
    for (how, stop) in
        [(How::Blocking, Stage::stop as fn(&Stage) -> Stop), (How::Streaming, once_more)]
    {
        load.forget();
        let (before, begun) = (stage.ledger.counts(), Instant::now());
        load.run(how, stop(stage)).await?;
        let counts = stage.ledger.counts() - before;
        reports.push(stage.report_elsewhere(counts, begun.elapsed(), load.spread(), MEASURES));
    }
    let (streams, mut report) = (reports.pop(), reports.swap_remove(0));
    if let Some(streams) = streams {
        add_streams(&mut report, streams);
    }
    Ok(report)
}

/// When streams stop: as many as there were messages before them, if those were bounded.
fn once_more(stage: &Stage) -> Stop {
    let stop = stage.stop();
    Stop { count: stop.count.saturating_add(stage.ledger.sent()), ..stop }
}

/// Adds to a report how streams went.
fn add_streams(report: &mut BenchReport, streams: BenchReport) {
    report.first_event_us = streams.latency_us;
    report.pass &= streams.pass;
    if !streams.disagreements.is_empty() {
        (report.rate_per_s, report.latency_us) = (None, None);
    }
    let told = streams.disagreements.into_iter().map(|text| format!("streams: {text}"));
    report.disagreements.extend(told);
}

/// As many clients as may be in flight.
struct Load {
    clients: parking_lot::Mutex<Vec<Client>>,
    spread: Latency,
}

struct Client {
    connection: Connection,
    ledger: Arc<crate::ledger::Ledger>,
    clock: crate::clock::Clock,
    paths: Arc<[String]>,
    spread: Latency,
}

impl Load {
    async fn open(
        stage: &Stage,
        endpoint: &Endpoint,
        paths: Arc<[String]>,
    ) -> Result<Self, BenchError> {
        let spread = latency();
        let mut clients = Vec::new();
        for _ in 0..stage.config.in_flight.unwrap_or(1) {
            clients.push(Client {
                connection: Connection::open(endpoint).await?,
                ledger: Arc::clone(&stage.ledger),
                clock: stage.clock,
                paths: Arc::clone(&paths),
                spread: Arc::clone(&spread),
            });
        }
        Ok(Self { clients: parking_lot::Mutex::new(clients), spread })
    }

    fn forget(&self) {
        *self.spread.lock() = histogram();
    }

    fn spread(&self) -> Option<LatencyMicros> {
        LatencyMicros::of(&self.spread.lock())
    }

    /// Has all clients send until it is time to stop.
    async fn run(&self, how: How, stop: Stop) -> Result<(), BenchError> {
        let clients = std::mem::take(&mut *self.clients.lock());
        let mut sending = JoinSet::new();
        let (back, mut returned) = tokio::sync::mpsc::unbounded_channel();
        for mut client in clients {
            let back = back.clone();
            sending.spawn(async move {
                client.send(how, stop).await;
                // They are wanted again, unless nobody waits any more.
                let _ = back.send(client);
                Ok(())
            });
        }
        drop(back);
        let patience = stop.at.saturating_duration_since(Instant::now()) + PATIENCE;
        // Clients that still wait then are dropped; the counts tell of their messages.
        let _ = tokio::time::timeout(patience, join(sending)).await;
        while let Ok(client) = returned.try_recv() {
            self.clients.lock().push(client);
        }
        Ok(())
    }
}

impl Client {
    async fn send(&mut self, how: How, stop: Stop) {
        let size = self.ledger.payload_size();
        while Instant::now() < stop.at {
            let Some(number) = self.ledger.draw(1, stop.count).next() else { return };
            let begun = self.clock.nanos();
            let payload = self.ledger.stamp(number, begun).payload(size);
            let path = &self.paths[usize::try_from(number).unwrap_or(0) % self.paths.len()];
            let note = || self.spread.lock().note(self.clock.nanos().saturating_sub(begun));
            let sent = match how {
                How::Blocking => {
                    let sent = self.connection.send(path, &payload).await;
                    note();
                    sent
                }
                How::Streaming => self.connection.stream(path, &payload, note).await,
            };
            match sent {
                Ok(true) => self.ledger.note_accepted(1),
                Ok(false) => self.ledger.note_damaged_reply(),
                Err(why) => {
                    // Nothing that comes over this connection can be trusted any more.
                    self.ledger.note_refusal(why);
                    return;
                }
            }
        }
    }
}
