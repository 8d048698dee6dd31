//! The side that starts the process, listens to it, and kills it.

use super::told::{Told, Word};
use super::work::numbers;
use crate::BenchError;
use crate::machine::Process;
use crate::stage::Stage;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long it may take until it does what is asked of it.
const PATIENCE: Duration = Duration::from_mins(1);
/// The signal that cannot be caught.
const SIGKILL: i32 = 9;

/// A process with every second agent of a run; killed with the value.
#[derive(Debug)]
pub(crate) struct Crew {
    child: Child,
    asking: ChildStdin,
    told: watch::Receiver<Told>,
    listening: JoinHandle<Result<(), String>>,
    agents: usize,
}

impl Crew {
    /// Starts this program again with every second agent of the run, at the broker with this URL.
    /// Returns once all of them are there.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(stage: &Stage, url: &str) -> Result<Self, BenchError> {
        let program = std::env::current_exe()
            .map_err(BenchError::system("cannot tell what program this is"))?;
        let config = &stage.config;
        let mut command = Command::new(program);
        command.args(["bench", "crew", "--url", url]);
        command.args(["--transport", stage.transport().as_str()]);
        command.args(["--run", &stage.ledger.run().to_string()]);
        command.args(["--payload", &config.payload.to_string()]);
        command.args(["--agents", &config.agents.to_string()]);
        if let Some(workers) = config.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        if config.tuned {
            command.arg("--tuned");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let started = command.spawn();
        let mut child = started.map_err(BenchError::system("cannot start the agents' process"))?;
        let (Some(asking), Some(saying)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::Load("the agents' process has no pipes".into()));
        };
        let (sender, told) = watch::channel(Told::default());
        let listening = tokio::spawn(listen(saying, sender));
        let agents = numbers(config.agents).count();
        let mut crew = Self { child, asking, told, listening, agents };
        crew.until("are there", |told| told.ready).await?;
        Ok(crew)
    }

    /// How many agents it has.
    pub(crate) fn agents(&self) -> usize {
        self.agents
    }

    /// CPU seconds that it has used.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        Process::new(self.child.id()?).cpu_seconds()
    }

    /// Has it hold some tasks from now on. Returns when it holds as many as it has agents.
    ///
    /// # Errors
    /// It has ended, or gets no tasks.
    pub(crate) async fn hold(&mut self) -> Result<(), BenchError> {
        let asked = self.asking.write_all(b"hold\n").await;
        asked.map_err(BenchError::system("cannot ask the agents' process"))?;
        let agents = self.agents as u64;
        self.until("hold as many tasks as they are", |told| told.held >= agents).await
    }

    /// Kills it, and returns all that it had said.
    ///
    /// # Errors
    /// It ended in another way, or said what is no word.
    pub(crate) async fn kill(mut self) -> Result<Told, BenchError> {
        let killed = async {
            self.child.start_kill()?;
            self.child.wait().await
        };
        let status = killed.await.map_err(BenchError::system("cannot kill the agents' process"))?;
        if status.signal() != Some(SIGKILL) {
            return Err(BenchError::Load(format!("the agents' process ended with {status}")));
        }
        let heard = self.listening.await.map_err(|error| error.to_string()).flatten();
        heard.map_err(BenchError::Load)?;
        Ok(self.told.borrow().clone())
    }

    async fn until(
        &mut self,
        what: &str,
        is_so: impl FnMut(&Told) -> bool,
    ) -> Result<(), BenchError> {
        match tokio::time::timeout(PATIENCE, self.told.wait_for(is_so)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(BenchError::Load("the agents' process ended by itself".into())),
            Err(_) => {
                let what = format!("waiting until the agents to be killed {what}");
                Err(BenchError::Late { what, limit: PATIENCE })
            }
        }
    }
}

/// Takes in what it says until it ends.
async fn listen(saying: ChildStdout, told: watch::Sender<Told>) -> Result<(), String> {
    let mut saying = BufReader::new(saying);
    let mut line = String::new();
    let broken = |error: io::Error| format!("cannot read what the agents' process says: {error}");
    while saying.read_line(&mut line).await.map_err(broken)? > 0 {
        let word: Word = line.trim_end().parse()?;
        told.send_modify(|told| told.take(word));
        line.clear();
    }
    Ok(())
}
