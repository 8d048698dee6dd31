//! Open loops: `latency`, `held` and `delay`. Messages are due at times set beforehand, whether or
//! not earlier ones have arrived, and count from then: a sender that is held up hides nothing (no
//! coordinated omission).

use crate::broker::Target;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::load::{agent_name, latency, start_agents, stop_agents};
use crate::observe::{Observed, histogram};
use crate::pace::{Pace, Wait};
use crate::proxy::Proxy;
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, Scenario};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use trunkline_agent::{Session, Ticket};
use trunkline_types::{Destination, Kind, Publish, PublishOptions};

/// How many acceptances are waited for at the end rather than on the way.
const TICKETS: usize = 8192;
/// How long the last acceptances may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// By how much more may be offered than is settled where a rate is to be held.
const BEHIND: f64 = 1.01;
/// What one of a hundred may take beyond the delay that was added, in milliseconds, at least and at
/// most. In between it is the delay itself: whoever waited for one word more from the other side
/// would take as much.
const BEYOND: (f64, f64) = (5.0, 10.0);

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let near = stage.host(&target);
    let proxy = match stage.config.delay {
        Some(delay) => Some(proxy(&target, delay).await?),
        None => None,
    };
    let far = match &proxy {
        Some(proxy) => Observed::new(
            crate::broker::client(&proxy.url(), stage.transport())?,
            Arc::clone(&stage.flow),
        ),
        None => near.clone(),
    };
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let agents = start_agents(&far, &stage.config, None, &checker).await?;
    let talk = Talk {
        sessions: stage.sessions(&near).await?,
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Event,
        options: PublishOptions::default(),
    };
    let addresses: Arc<[_]> = addresses(stage.config.agents)?.into();
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let rate = stage.config.rate.unwrap_or(1);
    let round = async |seconds: f64| {
        stage
            .phase(&target, async |_: &Meter<'_>| {
                let (addresses, sessions) = (Arc::clone(&addresses), talk.sessions.len());
                let choose = move |number: u64| {
                    let at = usize::try_from(number).unwrap_or(0);
                    (at % sessions, addresses[at % addresses.len()].clone())
                };
                let pace = Pace::new(stage.clock, rate, Wait::Exact);
                talk.clone().spawned(pace, pace.count(seconds), choose).await
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
    stop_agents(agents).await;
    let goals = goals(&report);
    Ok(report.with_goals(goals))
}

fn goals(report: &BenchReport) -> Vec<Goal> {
    let config = &report.config;
    match report.scenario {
        Scenario::Held => {
            let offered = config.rate.map(f64::from);
            let behind = offered.zip(report.rate_per_s).map(|(offered, rate)| offered / rate);
            vec![Goal::below("rate offered to rate settled", behind, BEHIND)]
        }
        Scenario::Delay => {
            let p99 = report.latency_us.map(|latency| latency.p99 / 1e3);
            let delay = config.delay.map_or(0.0, f64::from);
            let beyond = p99.map(|p99| p99 - delay);
            vec![Goal::below(
                "milliseconds of p99 beyond the added delay",
                beyond,
                beyond_at(delay),
            )]
        }
        _ => Vec::new(),
    }
}

/// How many milliseconds p99 may be beyond a delay of so many.
fn beyond_at(delay: f64) -> f64 {
    delay.clamp(BEYOND.0, BEYOND.1)
}

/// A way to the broker on which everything takes so many milliseconds longer.
async fn proxy(target: &Target, delay: u32) -> Result<Proxy, BenchError> {
    let delay = Duration::from_millis(u64::from(delay));
    let port =
        target.port().ok_or_else(|| BenchError::Load("the broker listens nowhere".into()))?;
    Proxy::start(port, delay).await.map_err(BenchError::system("cannot listen on loopback"))
}

/// The addresses of the agents, in order.
///
/// # Errors
/// Never: the names are names.
pub(super) fn addresses(agents: u32) -> Result<Vec<Destination>, BenchError> {
    (0..agents)
        .map(|number| Destination::agent(&agent_name(number)))
        .collect::<Result<_, _>>()
        .map_err(|error| BenchError::Load(error.to_string()))
}

/// Who sends in an open loop.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) sessions: Vec<Session>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) kind: Kind,
    pub(super) options: PublishOptions,
}

impl Talk {
    /// Sends in a task of its own, so that waiting for what is due next takes turns with the
    /// agents on their thread rather than another core.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub(super) async fn spawned(
        self,
        pace: Pace,
        count: u64,
        choose: impl FnMut(u64) -> (usize, Destination) + Send + 'static,
    ) -> Result<(), BenchError> {
        let sending = tokio::spawn(self.send(pace, count, choose));
        sending.await.map_err(|error| BenchError::Load(error.to_string()))?
    }

    /// Sends so many messages to one destination, evenly over some seconds.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub(super) async fn evenly(
        self,
        clock: Clock,
        count: u64,
        seconds: f64,
        to: &Destination,
    ) -> Result<(), BenchError> {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count over a time is positive, and its range ends far above any real rate"
        )]
        let rate = (count as f64 / seconds).ceil() as u32;
        let pace = Pace::new(clock, rate, Wait::Timer);
        self.send(pace, count, |_| (0, to.clone())).await
    }

    /// Sends `count` messages, each when it is due. `choose` tells the session and the address of
    /// a message by its number in the ledger.
    ///
    /// # Errors
    /// A session ends.
    pub(super) async fn send(
        self,
        pace: Pace,
        count: u64,
        mut choose: impl FnMut(u64) -> (usize, Destination),
    ) -> Result<(), BenchError> {
        let mut tickets = VecDeque::new();
        for next in 0..count {
            let due = pace.wait(next).await;
            let Some(number) = self.ledger.draw(1, u64::MAX).next() else { break };
            let (from, to) = choose(number);
            let payload = self.ledger.stamp(number, due).payload(self.ledger.payload_size());
            let session = &self.sessions[from];
            let envelope = session.envelope(self.kind, to, payload);
            let publish = Publish { envelope, options: self.options.clone() };
            let ticket = session.publish_batch([publish]).await;
            tickets.push_back(ticket.map_err(BenchError::refused("cannot send"))?);
            if tickets.len() > TICKETS {
                self.answered(&mut tickets, TICKETS / 2).await?;
            }
        }
        // What is not accepted by then is missing in the counts.
        let answered = self.answered(&mut tickets, 0);
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Ok(()))
    }

    /// Waits for acceptances until at most so many are missing.
    async fn answered(
        &self,
        tickets: &mut VecDeque<Ticket>,
        most: usize,
    ) -> Result<(), BenchError> {
        while tickets.len() > most {
            let Some(ticket) = tickets.pop_front() else { break };
            let outcome =
                ticket.await.map_err(BenchError::refused("a message was not answered"))?;
            self.ledger.answered(&outcome, 1);
            // It is due once: whoever came back later would not keep to the clock.
            outcome.refused.iter().for_each(|(_, why)| self.ledger.note_refusals(1, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_take_as_much_longer_as_one_more_way_would() {
        let limits = [0.0, 5.0, 8.0, 10.0, 100.0].map(|delay| beyond_at(delay).to_bits());
        assert_eq!(limits, [5.0_f64, 5.0, 8.0, 10.0, 10.0].map(f64::to_bits));
    }
}
