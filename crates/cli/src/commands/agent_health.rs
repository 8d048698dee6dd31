//! Whether an agent is fit for work, by the exit code of a command.

use crate::output::units::{parse_span, shown};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Runs the check once, where the agent's command runs too. What it leaves behind ends with it,
/// also when it is given up.
pub(super) async fn check(command: String, directory: Option<PathBuf>) -> Result<(), String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(directory) = directory {
        shell.current_dir(directory);
    }
    let failed = |error| format!("the health check cannot be run: {error}");
    let mut child = shell.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
    let _group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let status = child.wait().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("the health check ended with {status}")) }
}

/// A process group, killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // A group that is gone already is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// How often: 1 ms or longer.
pub(super) fn parse_every(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    if span < Duration::from_millis(1) {
        return Err(format!("'{}' is too often; the range begins at 1ms", shown(text)));
    }
    Ok(span)
}
