//! What can be said on the command line.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `trunkline torture`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  trunkline torture
  trunkline torture --kills 1000 --data /mnt/disk/torture
  trunkline torture --kills 3 --never-flush --expect-loss")]
pub(crate) struct TortureArgs {
    /// How often the broker is killed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) kills: u32,
    /// Which storage is under the broker while it is killed
    #[arg(long, value_enum, default_value_t = Mode::Both)]
    pub(super) mode: Mode,
    /// Decides when the broker is killed and what is sent; drawn and printed when not given
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Where the brokers keep their data, on the disk that is to be tried; kept when the run fails
    /// [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Most publishes a second
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub(super) rate: u32,
    /// How many kills are survived on one data directory before its work is checked and another
    /// one is begun
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) round: u32,
    /// Stop killing after this many minutes; a run that was cut short fails
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) minutes: u32,
    /// The control experiment alone: every broker acknowledges without ever flushing, and loses
    /// what was not flushed when it is killed
    #[arg(long)]
    pub(super) never_flush: bool,
    /// Succeed if accepted work was lost, fail if not
    #[arg(long)]
    pub(super) expect_loss: bool,
}

/// Which storage is under the broker while it is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Mode {
    /// A file system: a killed process leaves what it has written in the page cache
    Kill,
    /// A file system under a layer that holds every byte back until it is flushed, so that a kill
    /// takes along what was not flushed, as a power failure does
    Unflushed,
    /// Half of the kills over each
    Both,
}

/// What is under one round's broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    /// A file system.
    Plain,
    /// One that loses what was not flushed.
    Unflushed,
    /// The same under a broker that never flushes: the control experiment.
    NeverFlushed,
}

impl Disk {
    /// The flags of `serve` that make it so.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Unflushed => &["--unflushed-lost"],
            Self::NeverFlushed => &["--never-flush"],
        }
    }

    /// How it is called in what is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "file system",
            Self::Unflushed => "unflushed bytes lost",
            Self::NeverFlushed => "never flushed",
        }
    }
}
