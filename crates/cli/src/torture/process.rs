//! Brokers as processes: start, wait until ready, kill, stop.
//!
//! Only ever signals processes that it started itself. A process that is dropped is killed.

use crate::error::CliError;
use crate::exit::Exit;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a broker may take to be ready before it is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is asked whether it is ready.
const PROBE: Duration = Duration::from_millis(2);
/// How much of a process's last words is shown.
const LAST_WORDS: u64 = 2_000;

/// A process that this one started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Where it writes its stderr.
    log: PathBuf,
}

impl Process {
    /// Starts this binary with other arguments, in a process group of its own so that a Ctrl-C
    /// at the terminal is ours to handle. Its stderr is appended to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(
        name: &str,
        log: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, CliError> {
        Self::start_within(&[], name, log, prepare)
    }

    /// The same, by a command line that ends as the process that it is given.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_within(
        within: &[OsString],
        name: &str,
        log: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, CliError> {
        let failed = |error: io::Error| {
            CliError::new(Exit::General, format_args!("cannot start {name}: {error}"))
        };
        let stderr = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
        let this = std::env::current_exe().map_err(failed)?;
        let mut command = match within {
            [] => Command::new(this),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(this);
                command
            }
        };
        // Settings of the caller are not meant for these.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("TRUNKLINE_") && name != "TRUNKLINE_LOG" {
                command.env_remove(key);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        command.process_group(0).kill_on_drop(true);
        prepare(&mut command);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Whether it was not seen to end.
    ///
    /// # Errors
    /// The system does not say.
    pub(crate) fn is_running(&mut self) -> Result<bool, CliError> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Its id, as long as it was not seen to end.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The process itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it without warning (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// It had ended before by itself.
    pub(crate) async fn kill(&mut self) -> Result<(), CliError> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        self.child.start_kill()?;
        let status = self.child.wait().await?;
        #[cfg(unix)]
        if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
            return Err(self.ended(status));
        }
        Ok(())
    }

    /// Stops it where it is (SIGSTOP).
    ///
    /// # Errors
    /// It has ended, or the system does not let it be stopped.
    pub(crate) fn pause(&mut self) -> Result<(), CliError> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// It has ended, or the system does not let it go on.
    pub(crate) fn resume(&mut self) -> Result<(), CliError> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), CliError> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let sent = pid.map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|error| CliError::from(io::Error::from(error)))
    }

    /// Asks it to end (SIGTERM), waits for so long, then kills it.
    pub(crate) async fn stop(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may end at this moment by itself, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            return status;
        }
        self.child.start_kill()?;
        self.child.wait().await
    }

    /// Leaves it running when this process ends.
    pub(crate) fn leave(self) {
        // `kill_on_drop` acts when the child is dropped.
        std::mem::forget(self.child);
    }

    /// An error that tells what it said last.
    pub(crate) fn ended(&self, status: ExitStatus) -> CliError {
        let words = last_words(&self.log).unwrap_or_default();
        let what = format!("{} ended by itself ({status}): {}", self.name, words.trim());
        CliError::new(Exit::General, what)
    }

    /// Waits until the broker that it is answers on `/readyz` with 200.
    ///
    /// # Errors
    /// It ended, or is not ready within a minute.
    pub(crate) async fn ready(&mut self, address: SocketAddr) -> Result<(), CliError> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended(status));
            }
            if is_ready(address).await.unwrap_or(false) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let words = last_words(&self.log).unwrap_or_default();
                let what = format!("{} is not ready after {PATIENCE:?}: {words}", self.name);
                return Err(CliError::new(Exit::General, what));
            }
            tokio::time::sleep(PROBE).await;
        }
    }
}

/// Whether a broker answers on `/readyz` with 200.
async fn is_ready(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}

/// How much processes have written to their log so far.
pub(crate) fn words(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |log| log.len())
}

/// What they have written to it after that much.
///
/// # Errors
/// It cannot be read.
pub(crate) fn words_since(log: &Path, before: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(before))?;
    let mut words = Vec::new();
    file.read_to_end(&mut words)?;
    Ok(String::from_utf8_lossy(&words).into_owned())
}

fn last_words(log: &Path) -> io::Result<String> {
    words_since(log, words(log).saturating_sub(LAST_WORDS))
}

/// A free port of this machine outside the range from which the system takes the ports of
/// outgoing connections. From within that range a client that tries to reach a broker which is
/// away may be given the broker's own port and hold it.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> Result<SocketAddr, CliError> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let port =
        std::iter::repeat_with(|| fastrand::u16(15_000..30_000)).take(200).find(|p| free(*p));
    let port = port.ok_or_else(|| CliError::new(Exit::General, "no port is free"))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
