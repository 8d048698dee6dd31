//! `bench`: how fast messages are delivered and acknowledged.

use crate::descriptors;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use trunkline_bench::{
    BenchError, BenchReport, CrewArgs, Earlier, SerializerRow, SerializersReport, cli, common,
    sample, serializers, summary,
};

/// What `bench` takes.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true, subcommand_help_heading = "Besides")]
#[command(after_help = "\
Examples:
  trunkline bench inproc
  trunkline bench oneway --in-flight 256 --seconds 10
  trunkline bench durable --workers 1,3,5,10 --batch 1,100
  trunkline bench latency --json > before.json
  trunkline bench latency --compare before.json
  trunkline bench all
  trunkline bench serializers orders.json")]
pub(crate) struct BenchCommand {
    #[command(subcommand)]
    besides: Option<Besides>,
    #[command(flatten)]
    bench: Option<cli::BenchArgs>,
    /// What an earlier run printed with --json: shows ratios to it
    #[arg(long, value_name = "FILE", requires = "scenario")]
    compare: Option<PathBuf>,
}

/// What is measured besides one scenario.
#[derive(Subcommand, Debug)]
enum Besides {
    /// Run every scenario with its defaults, each in a process of its own: about an hour.
    #[command(after_help = "\
Examples:
  trunkline bench all
  trunkline bench all --json > before.json
  trunkline bench all --compare before.json

None is left out. Those that take seconds are run in rounds, of which the middle one is shown. Half
of the time is soak's. What is no default, such as --transport grpc and --topics, is measured by
naming the scenario.")]
    All {
        /// What an earlier run printed with --json: shows ratios to it
        #[arg(long, value_name = "FILE")]
        compare: Option<PathBuf>,
        /// How often the scenarios that take seconds are run
        #[arg(long, value_name = "N", default_value_t = 3)]
        rounds: u32,
    },
    /// Compare formats and compressions on your own data: size, and time to write and to read.
    #[command(after_help = "\
Examples:
  trunkline bench serializers orders.json
  trunkline bench serializers --json

A file that is JSON is compared as it is and, as a value, in JSON, MessagePack and protobuf; any
other only as it is, as text or as bytes. Each comes plain and with gzip, zstd and lz4. Times are
medians.")]
    Serializers {
        /// A JSON document or any bytes, at most 8 MiB; a built-in list of orders if not given.
        file: Option<PathBuf>,
    },
    /// The agents of another process's `failure`, which kills this one.
    #[command(hide = true)]
    Crew(CrewArgs),
}

impl BenchCommand {
    /// Whether it breaks connections on purpose.
    pub(crate) fn breaks_connections(&self) -> bool {
        self.bench.as_ref().is_some_and(cli::BenchArgs::breaks_connections)
    }

    /// How many threads the command should have; `None` for one on each core.
    pub(crate) fn threads(&self) -> Option<usize> {
        match &self.bench {
            Some(bench) if self.besides.is_none() => bench.threads(),
            _ => Some(1),
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: BenchCommand, output: &Output) -> Result<(), CliError> {
    // Some scenarios hold thousands of connections.
    descriptors::raise();
    let (reports, earlier) = match (args.besides, args.bench) {
        (Some(Besides::Serializers { file }), _) => return compare(file, output),
        (Some(Besides::Crew(args)), _) => {
            return Box::pin(cli::crew(args)).await.map_err(explain);
        }
        (Some(Besides::All { compare, rounds }), _) => {
            let earlier = earlier(compare.as_deref())?;
            (Box::pin(cli::all(rounds)).await.map_err(explain)?, earlier)
        }
        (None, Some(bench)) => {
            let earlier = earlier(args.compare.as_deref())?;
            let bench = cli::BenchArgs { commit: env!("BUILT_COMMIT"), ..bench };
            let runs = Box::pin(cli::run(bench)).await.map_err(explain)?;
            if let ([report], []) = (&runs.reports[..], &runs.failed[..]) {
                return one(report, earlier.as_ref(), output);
            }
            (runs.to_json(), earlier)
        }
        (None, None) => return Err(CliError::usage("no scenario; see `trunkline bench --help`")),
    };
    several(&reports, earlier.as_ref(), output)
}

fn earlier(file: Option<&Path>) -> Result<Option<Earlier>, CliError> {
    file.map(|path| Earlier::read(path).map_err(explain)).transpose()
}

fn one(report: &BenchReport, earlier: Option<&Earlier>, output: &Output) -> Result<(), CliError> {
    let value = report.to_json();
    if output.is_json() {
        output.value(&value)?;
    } else {
        let ratios = earlier.map(|earlier| earlier.ratios(&value));
        output.table(&output::fields(
            report.rows().into_iter().chain(ratios.into_iter().flatten()),
        ))?;
    }
    if report.passed() {
        return Ok(());
    }
    let message = match report.disagreements.as_slice() {
        [] => "a goal was not met".to_owned(),
        all => format!("the counts do not agree: {}", all.join(", ")),
    };
    Err(CliError::new(Exit::Mismatch, message))
}

fn several(reports: &[Value], earlier: Option<&Earlier>, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        output.value(&Value::from(reports))?;
    } else {
        let (header, rows) = summary(reports, earlier);
        let figures: Vec<usize> = (1..header.len()).collect();
        output.table(&output::rows(header, &figures, rows))?;
        output.table(&output::fields(common(reports)))?;
    }
    let failed: Vec<String> =
        reports.iter().filter(|report| report["pass"] != true).map(failure).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let count = format!("{} of {} runs did not pass", failed.len(), reports.len());
    Err(CliError::new(Exit::Mismatch, format!("{count}: {}", failed.join("; "))))
}

/// Which of several runs did not pass, and why.
fn failure(report: &Value) -> String {
    let scenario = report["scenario"].as_str().unwrap_or("a run");
    let disagreements: Vec<&str> = report["disagreements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let why = match report["error"].as_str() {
        Some(error) => error.to_owned(),
        None if disagreements.is_empty() => "a goal was not met".to_owned(),
        None => format!("the counts do not agree: {}", disagreements.join(", ")),
    };
    format!("{scenario}: {why}")
}

fn compare(file: Option<PathBuf>, output: &Output) -> Result<(), CliError> {
    let data = match &file {
        Some(path) => fs::read(path).map_err(|error| {
            CliError::new(Exit::Usage, format_args!("cannot read {}: {error}", path.display()))
        })?,
        None => sample(),
    };
    let report = serializers(data).map_err(explain)?;
    if output.is_json() {
        return output.value(&report.to_json());
    }
    let SerializersReport { bytes, rows, .. } = &report;
    let what = file.map_or_else(|| "the built-in sample".into(), |path| path.display().to_string());
    output.note(format_args!("{what}, {}", units::size(*bytes as u64)));
    let row = |row: &SerializerRow| {
        let SerializerRow { format, encoding, smaller, bytes, ratio, encode_us, decode_us, .. } =
            row;
        let encoding = match (*encoding, smaller) {
            ("identity", _) => String::new(),
            (encoding, true) => encoding.to_owned(),
            (encoding, false) => format!("{encoding} (no smaller)"),
        };
        [
            (*format).to_owned(),
            encoding,
            units::count(*bytes as u64),
            format!("{ratio:.2}"),
            format!("{encode_us:.1}"),
            format!("{decode_us:.1}"),
        ]
    };
    let header = ["FORMAT", "COMPRESSION", "BYTES", "RATIO", "ENCODE \u{b5}s", "DECODE \u{b5}s"];
    output.table(&output::rows(header, &[2, 3, 4, 5], rows.iter().map(row)))
}

fn explain(error: BenchError) -> CliError {
    match error {
        BenchError::Refused { what, refusal } => {
            let error = CliError::from(refusal);
            CliError { message: format!("{what}: {}", error.message), ..error }
        }
        error @ (BenchError::OptionOfOthers { .. }
        | BenchError::Range { .. }
        | BenchError::Topics { .. }
        | BenchError::TooFewTasks { .. }
        | BenchError::AtOnce { .. }
        | BenchError::NothingToDo { .. }
        | BenchError::NotHere(_)
        | BenchError::DataSize { .. }
        | BenchError::Runs { .. }
        | BenchError::Setting(_)
        | BenchError::WhichTransport
        | BenchError::Earlier { .. }
        | BenchError::NotDurable(_)
        | BenchError::NotOnDisk(_)) => CliError::usage(error),
        error @ (BenchError::System { .. }
        | BenchError::Broker { .. }
        | BenchError::Open(_)
        | BenchError::Late { .. }
        | BenchError::Interrupted
        | BenchError::Ended { .. }
        | BenchError::Serializer(_)
        | BenchError::Load(_)) => CliError::new(Exit::General, error),
    }
}

#[cfg(test)]
mod tests {
    use super::failure;
    use serde_json::json;

    #[test]
    fn a_run_that_did_not_pass_says_why() {
        let counts = json!({"scenario": "held", "disagreements": ["sent 3, settled 2", "left 1"]});
        assert_eq!(failure(&counts), "held: the counts do not agree: sent 3, settled 2, left 1");
        let goal = json!({"scenario": "burst", "disagreements": []});
        assert_eq!(failure(&goal), "burst: a goal was not met");
        let nothing = json!({"scenario": "idle", "error": "no port"});
        assert_eq!(failure(&nothing), "idle: no port");
    }
}
