//! The arguments of `trunkline bench` and the way from them to a report.

use crate::stage::Stage;
use crate::{BenchError, BenchReport, Config, CrewArgs, Scenario, crew, plan, progress, rounds};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use trunkline_client::Transport;

/// The commit of a build of which nobody says it.
pub(crate) const UNKNOWN: &str = "unknown";

/// Measures this build on this machine. Every message is delivered, handled, settled, confirmed
/// and counted; if the counts do not agree there is no rate.
///
/// Where an option takes numbers, several with commas between them make a run of each.
///
/// Example: `trunkline bench oneway --seconds 10`
#[derive(Clone, PartialEq, Debug, clap::Args)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Messages sent and not yet settled, at most
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub in_flight: Vec<u32>,
    /// Bytes of each payload, at least 32 [default: 256]
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',')]
    pub payload: Vec<usize>,
    /// For how long load is offered, after warming up [default: 5; idle 10, chatter and held
    /// 60, soak 1800]
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Most messages, warming up included; for recovery and waiting, how many tasks wait
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Agents that handle the messages
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub agents: Vec<u32>,
    /// Send to topics rather than to agents by name: to so many, of which each agent subscribes to
    /// its share by patterns
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub topics: Vec<u32>,
    /// Workers of each agent [default: 1 to 8, as the library decides]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub workers: Vec<u32>,
    /// Most messages that a sender hands over in one piece, and that a worker takes at once
    /// [default: as many as half of the window has, up to 256; a worker one]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub batch: Vec<u32>,
    /// Sessions that send the messages
    #[arg(long, value_name = "N")]
    pub senders: Option<u32>,
    /// Messages a second that are offered, whether or not earlier ones are done [default: latency
    /// 100,1000,10000,100000; held and chatter 10000; delay, failure and soak 1000; stalled and mix 10]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub rate: Vec<u32>,
    /// Milliseconds by which each way between broker and agents is longer [default: 10,50,100]
    #[arg(long, value_name = "MS,…", value_delimiter = ',')]
    pub delay: Vec<u32>,
    /// Give agents and senders more room than the library does when nothing is said: 2048
    /// deliveries held ready rather than 256, 65536 operations without an answer rather than 8192
    #[arg(long)]
    pub tuned: bool,
    /// How often each run is made; the report is that of the middle one, with the spread of all,
    /// from 1 to 25 [default: 1]
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// What carries sessions, framed or grpc: each makes a run [default: framed]
    #[arg(long, value_name = "WHICH", value_delimiter = ',')]
    pub transport: Vec<Transport>,
    /// A broker that runs already and serves nobody else; otherwise one is started and ended
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where the data directory is made, on a disk [default: the place for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A setting of the broker that is started, such as `log.pending_bytes=1MiB`; again for another
    /// one. What is not named has its default, whatever the environment says
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// The commit that this program was built from, which reports tell.
    #[arg(skip = UNKNOWN)]
    pub commit: &'static str,
}

impl BenchArgs {
    /// How many threads the load should have; `None` for one on each core. A load over the network
    /// has one: more would only wake each other up and take the broker's core.
    pub fn threads(&self) -> Option<usize> {
        self.scenario.is_remote().then_some(1)
    }

    /// Whether it breaks connections, so that words about those that broke say nothing.
    pub fn breaks_connections(&self) -> bool {
        matches!(self.scenario, Scenario::Reconnect | Scenario::Failure)
    }

    /// A scenario with its defaults.
    pub fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            in_flight: Vec::new(),
            payload: Vec::new(),
            seconds: None,
            count: None,
            agents: Vec::new(),
            topics: Vec::new(),
            workers: Vec::new(),
            batch: Vec::new(),
            senders: None,
            rate: Vec::new(),
            delay: Vec::new(),
            tuned: false,
            rounds: None,
            transport: Vec::new(),
            url: None,
            dir: None,
            set: Vec::new(),
            commit: UNKNOWN,
        }
    }
}

/// What the runs of one command came to.
#[derive(Debug, Default)]
pub struct Runs {
    /// The reports of those that came to one, in the order of the options' lists.
    pub reports: Vec<BenchReport>,
    /// Those that did not.
    pub failed: Vec<FailedRun>,
}

impl Runs {
    /// All of them as JSON objects. One that failed has no figures, `pass` is false, and `error`
    /// says why.
    pub fn to_json(&self) -> Vec<Value> {
        let reports = self.reports.iter().map(BenchReport::to_json);
        reports.chain(self.failed.iter().map(FailedRun::to_json)).collect()
    }
}

/// A run that did not come to a report.
#[derive(Debug)]
pub struct FailedRun {
    /// Of which scenario.
    pub scenario: Scenario,
    /// What it was run with.
    pub config: Config,
    /// Why there is no report.
    pub error: BenchError,
}

impl FailedRun {
    fn to_json(&self) -> Value {
        let Self { scenario, config, error } = self;
        let error = error.to_string();
        json!({ "scenario": scenario, "config": config, "pass": false, "error": error })
    }
}

/// Runs a scenario, telling on standard error how far it is: once, or once for each combination of
/// the numbers that its options list. Except for the scenarios in process and with `url`, each run
/// starts this very program again with `serve` as the broker. A run that does not come to a report
/// is told too and not made again, and the others go on.
///
/// # Errors
/// [`BenchError`] if none comes to a report: that of the first. Counts that do not agree are in the
/// report, see [`BenchReport::passed`].
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn run(args: BenchArgs) -> Result<Runs, BenchError> {
    let scenario = args.scenario;
    // All of them first: a number out of its range is no end after hours.
    let configs: Vec<Config> = plan::runs(&args)?
        .iter()
        .map(|wanted| Config::new(scenario, wanted))
        .collect::<Result<_, _>>()?;
    let rounds = rounds::check(args.rounds.unwrap_or(1))?;
    let all = async {
        let mut played: Vec<_> = configs.iter().map(|_| Ok(Vec::new())).collect();
        // Every run once before any is made again, so that what the machine does meanwhile
        // hits all alike.
        for round in 1..=rounds {
            for (number, (config, runs)) in (1..).zip(configs.iter().zip(&mut played)) {
                let Ok(reports) = runs else { continue };
                let run = match configs.len() {
                    1 => String::new(),
                    count => format!(", {number} of {count}"),
                };
                let again = match rounds {
                    1 => String::new(),
                    rounds => format!(", round {round} of {rounds}"),
                };
                progress::tell(&format!("bench {scenario}{run}{again}"));
                let stage = Stage::new(scenario, config.clone());
                match Box::pin(scenario.run(stage)).await {
                    Ok(report) => reports.push(report),
                    Err(error) => {
                        if configs.len() > 1 {
                            progress::tell(&format!("  it came to nothing: {error}"));
                        }
                        *runs = Err(error);
                    }
                }
            }
        }
        let mut done = Runs::default();
        for (config, runs) in configs.iter().zip(played) {
            let config = config.clone();
            match runs {
                Ok(reports) => {
                    let report = rounds::combine(reports);
                    done.reports.extend(report.map(|it| BenchReport { commit: args.commit, ..it }));
                }
                Err(error) => done.failed.push(FailedRun { scenario, config, error }),
            }
        }
        if done.reports.is_empty() && !done.failed.is_empty() {
            return Err(done.failed.swap_remove(0).error);
        }
        Ok(done)
    };
    or_interrupted(all).await
}

/// Works as the agents of another process's run, which kills this one when it is time, see
/// [`Scenario::Failure`].
///
/// # Errors
/// [`BenchError`] if the broker refuses an agent.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn crew(args: CrewArgs) -> Result<(), BenchError> {
    or_interrupted(crew::work(args)).await
}

/// Runs every scenario with its defaults, each in a process of its own, and returns their reports
/// as JSON. Those that take seconds are run in so many rounds, the longer ones once.
///
/// # Errors
/// [`BenchError`] if this program cannot be started, or the rounds are out of their range. A
/// scenario that does not come to a report is
/// told on standard error and in the result without figures; `pass` tells which came to nothing.
///
/// # Panics
/// Outside of a tokio runtime.
pub async fn all(rounds: u32) -> Result<Vec<Value>, BenchError> {
    let rounds = rounds::check(rounds)?;
    let program =
        std::env::current_exe().map_err(BenchError::system("cannot tell what program this is"))?;
    let mut reports = Vec::new();
    for scenario in Scenario::value_variants() {
        let output = again(&program, *scenario, rounds).await?;
        match serde_json::from_slice(&output.stdout) {
            Ok(Value::Array(several)) => reports.extend(several),
            Ok(report) => reports.push(report),
            // It has told why itself; that it has none is part of the result.
            Err(_) => reports.push(json!({ "scenario": scenario.to_string(), "pass": false })),
        }
    }
    Ok(reports)
}

/// Runs this program again for one scenario, which tells on the same standard error how far it is.
async fn again(program: &Path, scenario: Scenario, rounds: u32) -> Result<Output, BenchError> {
    let mut command = Command::new(program);
    let rounds = if scenario.takes_long() { 1 } else { rounds };
    command.args(["bench", &scenario.to_string(), "--json", "--rounds", &rounds.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let child = command.spawn().map_err(BenchError::system("cannot start this program again"))?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let output = child.wait_with_output();
    tokio::pin!(output);
    tokio::select! {
        ended = &mut output => ended.map_err(BenchError::system("cannot wait for a scenario")),
        interrupted = interruption() => {
            // It has a broker to end and data to remove. One that has ended needs no telling.
            let _ = id.map(|id| kill_process(id, Signal::TERM));
            let _ = output.await;
            Err(interruption_error(interrupted))
        }
    }
}

/// Does some work unless somebody wants the program to end. Dropping the work ends the broker and
/// removes its data.
async fn or_interrupted<T>(
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    tokio::select! {
        done = work => done,
        interrupted = interruption() => Err(interruption_error(interrupted)),
    }
}

fn interruption_error(interrupted: io::Result<()>) -> BenchError {
    match interrupted {
        Ok(()) => BenchError::Interrupted,
        Err(error) => BenchError::system("cannot listen for signals")(error),
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
        let args = BenchArgs { rate: vec![5], ..BenchArgs::new(Scenario::Oneway) };
        let error = run(args).await.unwrap_err().to_string();
        assert!(error.starts_with("--rate does not apply to oneway, which takes --in-flight"));
        let args = BenchArgs { payload: vec![31], ..BenchArgs::new(Scenario::Inproc) };
        let error = run(args).await.unwrap_err().to_string();
        assert_eq!(error, "--payload is 31, the range is 32 to 8388608");
    }
}
