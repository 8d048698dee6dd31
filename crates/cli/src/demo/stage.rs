//! The processes of the demo and their temporary directory.

use super::args::Role;
use crate::error::CliError;
use crate::exit::Exit;
use crate::torture::process::{Process, free_port};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// How long a lost worker may take to come back before its work goes to another. Shorter than the
/// broker's default, because nobody comes back here.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// How long a process may take to end in order.
const FAREWELL: Duration = Duration::from_secs(15);
/// Workers that count words.
const COUNTERS: u32 = 3;

/// The processes of the demo. Dropping it kills them and removes their directory.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where the broker listens.
    pub(super) url: String,
    broker: Process,
    agents: Vec<Process>,
    directory: TempDir,
    keep: bool,
}

/// What was left running.
#[derive(Debug)]
pub(super) struct Left {
    /// The processes, the broker last.
    pub(super) pids: Vec<u32>,
    /// Their data and logs.
    pub(super) directory: String,
}

impl Stage {
    /// Starts the broker and the agents.
    ///
    /// # Errors
    /// A process cannot be started or ended by itself.
    pub(super) async fn start(keep: bool) -> Result<Self, CliError> {
        let directory = tempfile::Builder::new().prefix("trunkline-demo-").tempdir()?;
        let address = free_port()?;
        let path = directory.path();
        let mut broker = Process::start("the broker", &path.join("broker.log"), |command| {
            command.arg("serve").arg("--listen").arg(address.to_string());
            command.arg("--data").arg(path.join("data"));
            command.env("TRUNKLINE_BROKER__RESUME_GRACE", format!("{}ms", GRACE.as_millis()));
        })?;
        broker.ready(address).await?;
        let url = format!("http://{address}");
        let mut agents = Vec::new();
        for (role, count) in [(Role::CountWords, COUNTERS), (Role::FindTodo, 1), (Role::Summary, 1)]
        {
            for number in 1..=count {
                agents.push(agent(role, number, &url, path, keep)?);
            }
        }
        Ok(Self { url, broker, agents, directory, keep })
    }

    /// How many agents were started.
    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Kills an agent without warning.
    ///
    /// # Errors
    /// None of this stage's agents has this id: no other process is ever killed.
    pub(super) async fn kill(&mut self, pid: u32) -> Result<(), CliError> {
        let known = self.agents.iter().position(|agent| agent.pid() == Some(pid));
        let index = known.ok_or_else(|| {
            CliError::new(Exit::General, format_args!("process {pid} is no agent of this demo"))
        })?;
        let mut agent = self.agents.remove(index);
        agent.kill().await
    }

    /// Waits until an agent ends, which none should.
    pub(super) async fn failure(&mut self) -> CliError {
        loop {
            for agent in self.agents.iter_mut().chain([&mut self.broker]) {
                if let Ok(Some(status)) = agent.child().try_wait() {
                    return agent.ended(status);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the agents, then the broker, in order, and removes their directory.
    ///
    /// # Errors
    /// A process does not end or the directory cannot be removed.
    pub(super) async fn stop(mut self) -> Result<(), CliError> {
        for agent in &mut self.agents {
            agent.stop(FAREWELL).await?;
        }
        self.broker.stop(FAREWELL).await?;
        Ok(self.directory.close()?)
    }

    /// Leaves everything running.
    pub(super) fn leave(self) -> Left {
        debug_assert!(self.keep, "agents that are tied to this process end with it");
        let processes: Vec<_> = self.agents.into_iter().chain([self.broker]).collect();
        let pids = processes.iter().filter_map(Process::pid).collect();
        processes.into_iter().for_each(Process::leave);
        Left { pids, directory: self.directory.keep().display().to_string() }
    }
}

fn agent(role: Role, number: u32, url: &str, path: &Path, keep: bool) -> Result<Process, CliError> {
    let id = format!("{}-{number}", role.word());
    Process::start(&id, &path.join(format!("{id}.log")), |command| {
        command.args(["demo", "--role", role.word(), "--broker", url]);
        command.args(["--number", &number.to_string()]);
        if keep {
            command.arg("--keep");
        } else {
            // Held open as long as this process lives.
            command.stdin(Stdio::piped());
        }
    })
}
