//! What an agent has on disk for its children: a directory that only this user may enter, with
//! the socket by which they lend their permits and what callers said to paused tasks. An agent
//! that is killed leaves it behind, for the next one of the same user to remove.

use super::lender::{Lender, Registered};
use crate::Task;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// With what the names of these directories begin.
const PREFIX: &str = "trunkline-agent-";
/// The file in it that is locked for as long as its agent lives.
const LOCK: &str = "lock";
/// How old a directory is before it can be one that was left: its agent has locked it by then.
const SETTLED: Duration = Duration::from_mins(1);
/// How many of the system's temporary files are looked at for such directories.
const MOST_LOOKED_AT: usize = 10_000;

/// See the module. Its directory is removed with it.
pub(super) struct Workplace {
    lender: Lender,
    directory: TempDir,
    _lock: File,
}

/// What one run has of the workplace, for as long as this lives.
pub(super) struct Desk {
    /// Where what its caller said lies; empty if that is nothing.
    pub(super) messages: String,
    /// How its child lends its permit; empty if it cannot.
    pub(super) lend: String,
    _registered: Registered,
    _messages: Option<TempDir>,
}

impl Workplace {
    /// Makes the directory among the system's temporary ones.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open() -> io::Result<Self> {
        let ours = fs::Permissions::from_mode(0o700);
        sweep(&std::env::temp_dir(), SETTLED);
        let directory = tempfile::Builder::new().prefix(PREFIX).permissions(ours).tempdir()?;
        if directory.path().to_str().is_none() {
            return Err(io::Error::other("the path of the temporary directory is no UTF-8"));
        }
        let lock = File::create(directory.path().join(LOCK))?;
        lock.lock()?;
        let lender = Lender::listen(directory.path())?;
        Ok(Self { lender, directory, _lock: lock })
    }

    /// Prepares a run.
    ///
    /// # Errors
    /// What was said to its task cannot be written down.
    pub(super) fn desk(&self, task: &Task) -> io::Result<Desk> {
        let said = task.messages();
        let mut place = None;
        if !said.is_empty() {
            let folder =
                tempfile::Builder::new().prefix("messages-").tempdir_in(&self.directory)?;
            for (number, message) in (1..).zip(said) {
                fs::write(folder.path().join(number.to_string()), &message.data)?;
            }
            place = Some(folder);
        }
        let messages = place.as_ref().map(|folder| folder.path().display().to_string());
        let (registered, lend) = self.lender.register(task);
        Ok(Desk {
            messages: messages.unwrap_or_default(),
            lend,
            _registered: registered,
            _messages: place,
        })
    }
}

/// Removes what agents have left that were killed.
fn sweep(temporary: &Path, settled: Duration) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten().take(MOST_LOOKED_AT) {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if named && was_left(&entry.path(), settled) {
            // Another agent may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a directory is this user's, and the agent that made it is gone.
fn was_left(directory: &Path, settled: Duration) -> bool {
    let Ok(about) = fs::symlink_metadata(directory) else { return false };
    let age = about.modified().ok().and_then(|at| at.elapsed().ok());
    about.is_dir()
        && about.uid() == rustix::process::geteuid().as_raw()
        && age.is_some_and(|age| age >= settled)
        && File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_agent_has_left_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let path = temporary.path().join(name);
            fs::create_dir(&path).unwrap();
            let file = lock.then(|| File::create(path.join(LOCK)).unwrap());
            (path, file)
        };
        let (left, _) = make("trunkline-agent-left", true);
        let (alive, lock) = make("trunkline-agent-alive", true);
        lock.as_ref().unwrap().lock().unwrap();
        let (begun, _) = make("trunkline-agent-begun", false);
        let (other, _) = make("other", true);
        sweep(temporary.path(), SETTLED);
        assert!(left.exists(), "it may not be locked yet");
        sweep(temporary.path(), Duration::ZERO);
        assert!(!left.exists());
        for path in [alive, begun, other] {
            assert!(path.exists(), "{}", path.display());
        }
    }
}
