//! A rival's server: started on a free port of loopback with its data in a directory of its own,
//! and killed by its process group when it is no longer needed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::install::Programs;
use crate::row::{Flush, Rival};

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    processes: Vec<Group>,
    pub(crate) port: u16,
    /// Removed after them.
    data: TempDir,
}

/// A process and whatever it started, killed with the value.
#[derive(Debug)]
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts the server of a rival that has one, with its data below `dir`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(rival: Rival, programs: &Programs, dir: &Path) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("trunkline-compare-").tempdir_in(dir);
        let data = data.with_context(|| format!("cannot make a directory in {}", dir.display()))?;
        let port = free_port()?;
        let mut processes = Vec::new();
        let mut command = match rival {
            // This program is its own server.
            Rival::Tonic(_) => Command::new(std::env::current_exe()?),
            _ => Command::new(programs.server(rival)?),
        };
        match rival {
            Rival::Nats => {
                command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
            }
            Rival::JetStream(flush) => {
                let config = data.path().join("nats.conf");
                fs::write(&config, jetstream_config(port, flush, data.path()))?;
                command.arg("--config").arg(config);
            }
            Rival::Redis(flush) => {
                command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--save", "", "--appendonly", "yes", "--appendfsync"]);
                command.arg(if flush == Flush::Always { "always" } else { "everysec" });
                command.arg("--dir").arg(data.path());
            }
            Rival::RabbitMq => {
                let names = free_port()?;
                // It would start one of its own that outlives it.
                let mut epmd = Command::new("epmd");
                epmd.args(["-address", "127.0.0.1", "-port", &names.to_string()]);
                processes.push(start(epmd, data.path(), "epmd")?);
                rabbitmq(&mut command, port, names, free_port()?, data.path());
            }
            Rival::Tonic(_) => {
                command.args(["echo", "--port", &port.to_string()]);
            }
            Rival::Channel | Rival::Kameo | Rival::Ractor => bail!("it has no server"),
        }
        processes.insert(0, start(command, data.path(), "server")?);
        let mut server = Self { processes, port, data };
        server.listens().await?;
        Ok(server)
    }

    async fn listens(&mut self) -> Result<()> {
        let late = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.processes[0].0.try_wait()?;
            if ended.is_some() || Instant::now() > late {
                let output = fs::read_to_string(self.data.path().join("server.log"));
                let output = output.unwrap_or_default();
                let said = output.lines().last().unwrap_or("nothing");
                bail!("the server does not listen; it said: {said}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn start(mut command: Command, data: &Path, name: &str) -> Result<Group> {
    let log = fs::File::create(data.join(name).with_extension("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let child = command.spawn();
    let program = command.get_program().to_string_lossy().into_owned();
    Ok(Group(child.with_context(|| format!("cannot start {program}"))?))
}

fn jetstream_config(port: u16, flush: Flush, data: &Path) -> String {
    let sync = if flush == Flush::Always { "  sync_interval: always\n" } else { "" };
    let store = data.join("jetstream");
    format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: \"{}\"\n{sync}}}\n",
        store.display()
    )
}

fn rabbitmq(command: &mut Command, port: u16, names: u16, distribution: u16, data: &Path) {
    let plugins = data.join("enabled_plugins");
    command
        .env("HOME", data)
        .env("RABBITMQ_NODENAME", format!("trunkline{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", data.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", data.join("log"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
        .env("RABBITMQ_CONFIG_FILE", data.join("rabbitmq"))
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", names.to_string());
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_to_flush_always_says_so() {
        let config = |flush| jetstream_config(42, flush, Path::new("/data"));
        assert!(config(Flush::Always).contains("sync_interval: always"));
        assert!(!config(Flush::Later).contains("sync_interval"));
        assert!(config(Flush::Later).contains("\"127.0.0.1:42\""));
    }

    #[test]
    fn a_group_is_gone_with_what_it_started() {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let group = start(command, data.path(), "server").unwrap();
        let started = loop {
            let text = fs::read_to_string(data.path().join("server.log")).unwrap();
            if let Some(id) = text.strip_suffix('\n') {
                break id.parse::<u32>().unwrap();
            }
        };
        drop(group);
        // It may take a moment to die, and then wait for its reaper.
        let late = Instant::now() + PATIENCE;
        let runs = || {
            let stat = fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        while runs() {
            assert!(Instant::now() < late, "{started} still runs");
            std::thread::yield_now();
        }
    }
}
