//! Where a run keeps its data, and the rounds that are made there.

use super::args::{Disk, TortureArgs};
use super::fault::Faults;
use super::round::Plan;
use super::site;
use crate::error::CliError;
use crate::exit::Exit;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// Where the brokers keep their data.
pub(super) enum Place {
    /// A directory that was asked for.
    Given(PathBuf, u32),
    /// One that goes when all is well.
    Temporary(Option<TempDir>, u32),
}

impl Place {
    pub(super) fn new(given: Option<&Path>) -> Result<Self, CliError> {
        let named = |path: &Path, error: std::io::Error| {
            CliError::new(Exit::General, format_args!("cannot use '{}': {error}", path.display()))
        };
        let Some(path) = given else {
            let directory = tempfile::Builder::new().prefix("trunkline-torture-").tempdir();
            let directory = directory.map_err(|error| named(&std::env::temp_dir(), error))?;
            return Ok(Self::Temporary(Some(directory), 0));
        };
        std::fs::create_dir_all(path).map_err(|error| named(path, error))?;
        let mut entries = std::fs::read_dir(path).map_err(|error| named(path, error))?;
        if entries.next().is_some() {
            let what = format!("'{}' is not empty; name a new directory", path.display());
            return Err(CliError::usage(what));
        }
        Ok(Self::Given(path.to_owned(), 0))
    }

    /// The next round.
    pub(super) fn plan(
        &mut self,
        args: &TortureArgs,
        (disk, faults): (Disk, Faults),
        steps: u32,
        seed: u64,
        until: Instant,
    ) -> Plan {
        let path = self.path().to_owned();
        let (Self::Given(_, number) | Self::Temporary(_, number)) = self;
        *number += 1;
        let mut rng = fastrand::Rng::with_seed(seed ^ u64::from(*number));
        Plan {
            disk,
            steps,
            faults,
            seed: rng.u64(..),
            rate: args.rate,
            config: args.config.clone(),
            directory: path.join(format!("round-{number}")),
            prefix: format!("r{number}"),
            apart: false,
            small: is_small(*number) && disk != Disk::NeverFlushed,
            until,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path, _) => path,
            Self::Temporary(Some(directory), _) => directory.path(),
            Self::Temporary(None, _) => Path::new(""),
        }
    }

    /// Keeps what there is, and says where.
    pub(super) fn keep(&mut self) -> PathBuf {
        match self {
            Self::Given(path, _) => path.clone(),
            Self::Temporary(directory, _) => {
                directory.take().map(TempDir::keep).unwrap_or_default()
            }
        }
    }
}

/// Whether a round has small bounds: every second one, so that each storage comes in turn, and the
/// first, which is over a file system unless something else is asked for.
fn is_small(number: u32) -> bool {
    (number / 2).is_multiple_of(2)
}

/// Removes what a round has left.
pub(super) fn clear(plan: &Plan) {
    // What cannot be removed now is removed with the whole, or stays where it was wanted.
    let _ = std::fs::remove_dir_all(&plan.directory);
    let _ = std::fs::remove_file(site::log_path(&plan.directory));
    if let Some(room) = site::room_path(plan) {
        let _ = std::fs::remove_file(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_of_each_storage_has_small_bounds() {
        let small: Vec<u32> = (1..=8).filter(|number| is_small(*number)).collect();
        assert_eq!(small, [1, 4, 5, 8]);
    }
}
