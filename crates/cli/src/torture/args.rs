//! What can be said on the command line.

use super::fault::{Fault, Faults};
use clap::Args;
use std::path::{Path, PathBuf};

/// How often the broker is killed when nothing else is said.
const KILLS: u32 = 30;
/// Minutes after which a run with a number of kills is given up when nothing else is said.
const MINUTES: u32 = 20;

/// Options of `trunkline torture`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  trunkline torture
  trunkline torture --minutes 10 --data /mnt/disk/torture --config trunkline.toml
  trunkline torture --kills 1000 --faults kill,unflushed
  trunkline torture --kills 3 --never-flush --expect-loss")]
pub(crate) struct TortureArgs {
    /// How often the broker is killed [default: 30, or as often as fits into --minutes]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kills: Option<u32>,
    /// Go on for so many minutes; with --kills: a run that takes longer is cut short and fails
    /// [default: 20 with --kills]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: Option<u32>,
    /// What goes wrong; several, separated by commas [default: everything]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT")]
    faults: Vec<Fault>,
    /// Decides what goes wrong when, and what is sent; drawn and printed when not given
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Where the brokers keep their data, on the disk that is to be tried; kept when the run fails
    /// [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Give the brokers these settings; segments, leases and the resume grace are the test's own
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Most publishes a second
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub(super) rate: u32,
    /// How many kills are survived on one data directory before its work is checked and another
    /// one is begun
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) round: u32,
    /// The control experiment alone: every broker acknowledges without ever flushing, and loses
    /// what was not flushed when it is killed
    #[arg(long)]
    pub(super) never_flush: bool,
    /// Succeed if accepted work was lost, fail if not
    #[arg(long)]
    pub(super) expect_loss: bool,
}

impl TortureArgs {
    /// How many kills are to be made; `None` if as many as there is time for.
    pub(super) fn kills(&self) -> Option<u32> {
        match (self.kills, self.minutes) {
            (None, Some(_)) => None,
            (kills, _) => Some(kills.unwrap_or(KILLS)),
        }
    }

    /// After how many minutes it ends.
    pub(super) fn minutes(&self) -> u32 {
        self.minutes.unwrap_or(MINUTES)
    }

    /// What goes wrong.
    pub(super) fn faults(&self) -> Faults {
        if self.never_flush {
            return Fault::Unflushed.into();
        }
        if self.faults.is_empty() {
            return Fault::ALL.into_iter().collect();
        }
        self.faults.iter().copied().collect()
    }

    /// The command line that does the same with a seed.
    pub(super) fn command(&self, seed: u64) -> String {
        let mut command = format!("trunkline torture --seed {seed}");
        let mut flag = |text: String| {
            command.push_str(" --");
            command.push_str(&text);
        };
        for (name, value) in [("kills", self.kills()), ("minutes", self.minutes)] {
            if let Some(value) = value {
                flag(format!("{name} {value}"));
            }
        }
        if !self.faults.is_empty() {
            let words: Vec<&str> = self.faults().each().map(Fault::word).collect();
            flag(format!("faults {}", words.join(",")));
        }
        for (name, path) in [("config", &self.config), ("data", &self.data)] {
            if let Some(path) = path {
                flag(format!("{name} {}", quoted(path)));
            }
        }
        for (name, value, default) in [("rate", self.rate, 1500), ("round", self.round, 25)] {
            if value != default {
                flag(format!("{name} {value}"));
            }
        }
        for (name, set) in [("never-flush", self.never_flush), ("expect-loss", self.expect_loss)] {
            if set {
                flag(name.to_owned());
            }
        }
        command
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
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

    /// What a kill over it is.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Plain => Fault::Kill,
            Self::Unflushed | Self::NeverFlushed => Fault::Unflushed,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TortureArgs,
    }

    fn args(line: &str) -> TortureArgs {
        Line::parse_from(std::iter::once("torture").chain(line.split_whitespace())).args
    }

    #[test]
    fn a_run_has_a_number_of_kills_or_a_time() {
        let bounds = |line| (args(line).kills(), args(line).minutes());
        assert_eq!(bounds(""), (Some(30), 20));
        assert_eq!(bounds("--kills 7"), (Some(7), 20));
        assert_eq!(bounds("--minutes 3"), (None, 3));
        assert_eq!(bounds("--kills 7 --minutes 3"), (Some(7), 3));
    }

    #[test]
    fn the_faults_are_all_or_those_that_are_named() {
        let words = |line| args(line).faults().each().map(Fault::word).collect::<Vec<_>>();
        assert_eq!(words("").len(), Fault::ALL.len());
        assert_eq!(words("--faults stall,disk-full"), ["disk-full", "stall"]);
        assert_eq!(words("--faults stall --never-flush"), ["unflushed"]);
    }

    #[test]
    fn the_command_to_repeat_a_run_says_all_that_decides_it() {
        assert_eq!(args("").command(5), "trunkline torture --seed 5 --kills 30");
        let line = "--minutes 2 --faults cut --config c.toml --data /mnt/a --rate 99 --round 3 \
                    --expect-loss";
        assert_eq!(args(line).command(6), format!("trunkline torture --seed 6 {line}"));
        let mut odd = args("--kills 1");
        odd.config = Some("/my own/c.toml".into());
        odd.data = Some("it's".into());
        let paths = r"--config '/my own/c.toml' --data 'it'\''s'";
        assert_eq!(odd.command(7), format!("trunkline torture --seed 7 --kills 1 {paths}"));
    }
}
