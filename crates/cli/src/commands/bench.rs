//! `bench`: how fast messages are delivered and acknowledged.

use crate::descriptors;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use std::fs;
use std::path::PathBuf;
use trunkline_bench::{
    BenchError, BenchReport, SerializerRow, SerializersReport, cli, sample, serializers,
};

/// What `bench` takes.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true, subcommand_help_heading = "Besides")]
#[command(after_help = "\
Examples:
  trunkline bench inproc
  trunkline bench oneway --in-flight 256 --seconds 10
  trunkline bench durable --json
  trunkline bench serializers orders.json")]
pub(crate) struct BenchCommand {
    #[command(subcommand)]
    besides: Option<Besides>,
    #[command(flatten)]
    bench: Option<cli::BenchArgs>,
}

/// What is measured without a broker.
#[derive(Subcommand, Debug)]
enum Besides {
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
    let bench = match (args.besides, args.bench) {
        (Some(Besides::Serializers { file }), _) => return compare(file, output),
        (None, Some(bench)) => bench,
        (None, None) => return Err(CliError::usage("no scenario; see `trunkline bench --help`")),
    };
    let report = Box::pin(cli::run(bench)).await.map_err(explain)?;
    if output.is_json() {
        output.value(&report.to_json())?;
    } else {
        output.table(&output::fields(report.rows()))?;
    }
    if report.passed() {
        return Ok(());
    }
    let BenchReport { disagreements, .. } = report;
    let message = match disagreements.as_slice() {
        [] => "a goal was not met".to_owned(),
        all => format!("the counts do not agree: {}", all.join(", ")),
    };
    Err(CliError::new(Exit::Mismatch, message))
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
        | BenchError::DataSize { .. }
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
