//! The arguments of `trunkline bench` and the way from them to a report.

use crate::stage::Stage;
use crate::{BenchError, BenchReport, Config, Scenario, progress};
use std::io;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Measures this build on this machine. Every message is delivered, handled, settled, confirmed
/// and counted; if the counts do not agree there is no rate.
///
/// Example: `trunkline bench oneway --seconds 10`
#[derive(Clone, PartialEq, Debug, clap::Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Messages sent and not yet settled, at most
    #[arg(long, value_name = "N")]
    pub in_flight: Option<u32>,
    /// Bytes of each payload, at least 32 [default: 256]
    #[arg(long, value_name = "BYTES")]
    pub payload: Option<usize>,
    /// For how long load is offered, after warming up [default: 5; idle 10,
    /// chatter 60]
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Most messages, warming up included; for recovery, how many tasks wait
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Agents that handle the messages
    #[arg(long, value_name = "N")]
    pub agents: Option<u32>,
    /// Sessions that send the messages
    #[arg(long, value_name = "N")]
    pub senders: Option<u32>,
    /// Messages a second that are offered, whether or not earlier ones are done [default: chatter
    /// 10000, stalled 10]
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,
    /// A broker that runs already and serves nobody else; otherwise one is started and ended
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where the data directory is made, on a disk [default: the place for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl BenchArgs {
    /// How many threads the load should have; `None` for one on each core. A load over the network
    /// has one: more would only wake each other up and take the broker's core.
    pub fn threads(&self) -> Option<usize> {
        match self.scenario {
            Scenario::Oneway
            | Scenario::Request
            | Scenario::Durable
            | Scenario::DurableAccept
            | Scenario::Recovery
            | Scenario::AgentsUp
            | Scenario::Chatter
            | Scenario::Idle
            | Scenario::Reconnect
            | Scenario::Stalled => Some(1),
            Scenario::Inproc | Scenario::InprocRequest => None,
        }
    }

    /// Whether it breaks connections, so that words about those that broke say nothing.
    pub fn breaks_connections(&self) -> bool {
        self.scenario == Scenario::Reconnect
    }

    /// A scenario with its defaults.
    pub fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            in_flight: None,
            payload: None,
            seconds: None,
            count: None,
            agents: None,
            senders: None,
            rate: None,
            url: None,
            dir: None,
        }
    }
}

/// Runs a scenario, telling on standard error how far it is. Except for the scenarios in process
/// and with `url`, it starts this very program again with `serve` as the broker.
///
/// # Errors
/// [`BenchError`] if it does not come to a report. Counts that do not agree are in the report,
/// see [`BenchReport::passed`].
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn run(args: BenchArgs) -> Result<BenchReport, BenchError> {
    let config = Config::new(args.scenario, &args)?;
    progress::tell(&format!("bench {}", args.scenario));
    let stage = Stage::new(args.scenario, config);
    // Dropping the work ends the broker and removes its data.
    tokio::select! {
        report = args.scenario.run(stage) => report,
        interrupted = interruption() => Err(match interrupted {
            Ok(()) => BenchError::Interrupted,
            Err(error) => BenchError::system("cannot listen for signals")(error),
        }),
    }
}

/// Waits until somebody wants the program to end.
async fn interruption() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_option_of_another_scenario_is_refused_by_name() {
        let args = BenchArgs { rate: Some(5), ..BenchArgs::new(Scenario::Oneway) };
        let error = run(args).await.unwrap_err().to_string();
        assert!(error.starts_with("--rate does not apply to oneway, which takes --in-flight"));
        let args = BenchArgs { payload: Some(31), ..BenchArgs::new(Scenario::Inproc) };
        let error = run(args).await.unwrap_err().to_string();
        assert_eq!(error, "--payload is 31, the range is 32 to 8388608");
    }
}
