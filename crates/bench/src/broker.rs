//! The broker under test: in this process, in a process of its own, or one that runs already.

use crate::machine::Process;
use crate::{BenchError, Scenario};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_client::{Client, ClientConfig, Transport};
use trunkline_types::session::Connector;
use trunkline_types::{Answer, Query, Stats};

/// How long a broker may take until it is ready.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often a starting broker is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// The row of its metrics that counts connections.
const CONNECTIONS: &str = "trunkline_connections_accepted_total ";
/// How often a running broker is looked at.
const WATCH: Duration = Duration::from_millis(200);

/// What the variables of the environment begin with that a broker takes settings from.
const PREFIX: &str = "TRUNKLINE_";

/// A setting of a broker as its environment names it, and the value.
pub(crate) type Setting = (Cow<'static, str>, String);

/// The setting that a text such as `log.pending_bytes=1MiB` says; `None` if it says none.
pub(crate) fn setting(text: &str) -> Option<Setting> {
    let (name, value) = text.split_once('=')?;
    let (section, key) = name.split_once('.')?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    let variable = format!("{PREFIX}{section}__{key}").to_ascii_uppercase();
    (is_word(section) && is_word(key)).then(|| (variable.into(), value.to_owned()))
}

/// The most bytes of payloads that wait in memory, see `broker.payload_memory`.
pub(crate) const PAYLOAD_MEMORY: &str = "TRUNKLINE_BROKER__PAYLOAD_MEMORY";

/// The broker under test.
pub(crate) struct Target {
    connector: Arc<dyn Connector>,
    /// Where it listens; `None` if it is in this process.
    url: Option<String>,
    serving: Option<Serving>,
    place: Place,
    transport: Transport,
    /// The settings of its process, which another one in its place is to have too.
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    Child,
    Elsewhere,
}

impl Target {
    /// A broker in this process that keeps everything in memory.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) async fn here() -> Result<Self, BenchError> {
        let broker = Broker::open(BrokerConfig::ephemeral()).await?;
        Ok(Self {
            connector: Arc::new(broker),
            url: None,
            serving: None,
            place: Place::Here,
            transport: Transport::Auto,
            settings: Vec::new(),
        })
    }

    /// A broker that runs already.
    ///
    /// # Errors
    /// The URL is none.
    pub(crate) fn elsewhere(url: &str, transport: Transport) -> Result<Self, BenchError> {
        let connector = client(url, transport)?;
        let url = Some(url.to_owned());
        Ok(Self {
            connector,
            url,
            serving: None,
            place: Place::Elsewhere,
            transport,
            settings: Vec::new(),
        })
    }

    /// A broker in a process of its own, in memory or with a data directory. What its settings do not
    /// say has its default, whatever the environment says.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn child(
        data: Option<&Path>,
        transport: Transport,
        settings: Vec<Setting>,
    ) -> Result<Self, BenchError> {
        Self::child_at(data, 0, transport, settings).await
    }

    /// The same on a port that is kept: a broker after it can have it too, because no outgoing
    /// connection takes it meanwhile.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn child_on_kept_port(
        data: &Path,
        transport: Transport,
        settings: Vec<Setting>,
    ) -> Result<Self, BenchError> {
        Self::child_at(Some(data), kept_port()?, transport, settings).await
    }

    async fn child_at(
        data: Option<&Path>,
        port: u16,
        transport: Transport,
        settings: Vec<Setting>,
    ) -> Result<Self, BenchError> {
        let serving = Serving::start(data, port, &settings).await?;
        let connector = client(&serving.url, transport)?;
        let url = Some(serving.url.clone());
        let (serving, place) = (Some(serving), Place::Child);
        Ok(Self { connector, url, serving, place, transport, settings })
    }

    /// Kills its process and starts another on the same data and port. Returns once that one is
    /// ready.
    ///
    /// # Errors
    /// It has no process, or the other does not start.
    pub(crate) async fn restart(&mut self, data: &Path) -> Result<(), BenchError> {
        let port = self.serving.take().and_then(|serving| port_of(&serving.url));
        let port = port.ok_or_else(|| BenchError::Load("the broker has no process".into()))?;
        self.serving = Some(Serving::start(Some(data), port, &self.settings).await?);
        Ok(())
    }

    /// A connection of its own to it.
    ///
    /// # Errors
    /// It is in this process.
    pub(crate) fn connect(&self) -> Result<Arc<dyn Connector>, BenchError> {
        client(self.url()?, self.transport)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// It is in this process.
    pub(crate) fn url(&self) -> Result<&str, BenchError> {
        let nowhere = || BenchError::Load("the broker listens nowhere".into());
        self.url.as_deref().ok_or_else(nowhere)
    }

    /// The port that it listens on; `None` if it is in this process, or its URL names none.
    pub(crate) fn port(&self) -> Option<u16> {
        self.url.as_deref().and_then(port_of)
    }

    /// How many connections its process has accepted since its start.
    ///
    /// # Errors
    /// It does not tell.
    pub(crate) async fn connections_accepted(&self) -> Result<u64, BenchError> {
        let port = self.port().unwrap_or(0);
        let page = get(port, "/metrics")
            .await
            .map_err(BenchError::system("cannot read the broker's metrics"))?;
        let row = page.lines().find_map(|line| line.strip_prefix(CONNECTIONS));
        row.and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| BenchError::Load("the broker's metrics have no connections".into()))
    }

    /// The way to it.
    pub(crate) fn connector(&self) -> Arc<dyn Connector> {
        Arc::clone(&self.connector)
    }

    /// Its figures.
    ///
    /// # Errors
    /// It does not tell.
    pub(crate) async fn stats(&self) -> Result<Stats, BenchError> {
        match self.connector.query(Query::Stats).await {
            Ok(Answer::Stats(stats)) => Ok(*stats),
            Ok(_) => Err(BenchError::Load("the broker answered another question".into())),
            Err(refusal) => {
                Err(BenchError::refused("cannot ask for the broker's figures")(refusal))
            }
        }
    }

    /// Waits until its process has ended, which is not meant to happen: for ever, if it has none
    /// or is not ours.
    pub(crate) async fn ended(&self) -> BenchError {
        let Some(serving) = &self.serving else { return std::future::pending().await };
        loop {
            if let Err(why) = serving.alive() {
                return BenchError::Ended { why, output: said(&serving.output) };
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// CPU seconds that its own process has used; `None` if it has none or is not ours.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        self.serving.as_ref()?.process().cpu_seconds()
    }

    /// The memory that its own process has now; `None` if it has none or is not ours.
    pub(crate) fn rss_bytes(&self) -> Option<u64> {
        self.serving.as_ref()?.process().rss_bytes()
    }

    /// How many descriptors its own process has open; `None` if it has none or is not ours.
    pub(crate) fn descriptors(&self) -> Option<u64> {
        self.serving.as_ref()?.process().descriptors()
    }

    /// The most memory that the process it is in ever had; `None` if that is not ours.
    pub(crate) fn peak_rss_bytes(&self) -> Option<u64> {
        match self.place {
            Place::Here => Process::this().peak_rss_bytes(),
            Place::Child => self.serving.as_ref()?.process().peak_rss_bytes(),
            Place::Elsewhere => None,
        }
    }

    /// How long its process took from its start until it said that it is ready.
    pub(crate) fn ready_after(&self) -> Option<Duration> {
        self.serving.as_ref().map(|serving| serving.ready_after)
    }
}

/// A way to the broker at a URL.
///
/// # Errors
/// The URL is none.
pub(crate) fn client(url: &str, transport: Transport) -> Result<Arc<dyn Connector>, BenchError> {
    let client = Client::new(&ClientConfig::new(url).transport(transport));
    Ok(Arc::new(client.map_err(BenchError::refused("cannot reach the broker"))?))
}

/// A place on a disk for a data directory, gone with the value.
///
/// # Errors
/// It cannot be made, or it is in memory.
pub(crate) fn data_directory(scenario: Scenario, parent: &Path) -> Result<TempDir, BenchError> {
    if crate::disk::is_in_memory(parent) {
        return Err(BenchError::NotOnDisk(parent.to_path_buf()));
    }
    let prefix = format!("trunkline-bench-{scenario}-");
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).map_err(BenchError::system(
        format!("cannot make a data directory in '{}'", parent.display()),
    ))
}

/// A broker in a process of its own, killed with the value.
struct Serving {
    /// Looked at while others read its figures.
    child: Mutex<Child>,
    id: u32,
    url: String,
    ready_after: Duration,
    /// What it writes to its standard error.
    output: PathBuf,
    /// Holds the port file and what the process says.
    _notes: TempDir,
}

impl Serving {
    async fn start(
        data: Option<&Path>,
        port: u16,
        settings: &[Setting],
    ) -> Result<Self, BenchError> {
        let notes = tempfile::tempdir().map_err(BenchError::system("cannot make a directory"))?;
        let port_file = notes.path().join("port");
        let output = notes.path().join("output");
        let log = fs::File::create(&output).map_err(BenchError::system("cannot make a file"))?;
        let program = std::env::current_exe()
            .map_err(BenchError::system("cannot tell what program this is"))?;
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--port-file"]);
        command.arg(&port_file);
        match data {
            Some(directory) => command.arg("--data").arg(directory),
            None => command.arg("--ephemeral"),
        };
        // Settings of whoever runs the benchmark are not this broker's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(PREFIX) {
                command.env_remove(name);
            }
        }
        command.envs(settings.iter().map(|(name, value)| (&**name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let begun = Instant::now();
        let child = command
            .spawn()
            .map_err(BenchError::system(format!("cannot start '{} serve'", program.display())))?;
        let mut serving = Self {
            id: child.id(),
            child: Mutex::new(child),
            url: String::new(),
            ready_after: Duration::ZERO,
            output,
            _notes: notes,
        };
        let waiting = serving.get_ready(&port_file);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(BenchError::Broker { why, output: said(&serving.output) }),
            Err(_) => {
                let why = format!("it took longer than {PATIENCE:?}");
                return Err(BenchError::Broker { why, output: said(&serving.output) });
            }
        }
        serving.ready_after = begun.elapsed();
        Ok(serving)
    }

    /// Waits until it listens and `/readyz` answers 200.
    async fn get_ready(&mut self, port_file: &Path) -> Result<(), String> {
        let port = loop {
            if let Some(port) = read_port(port_file) {
                break port;
            }
            self.look().await?;
        };
        self.url = format!("http://127.0.0.1:{port}");
        while !is_ready(port).await {
            self.look().await?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), String> {
        self.alive()?;
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    fn alive(&self) -> Result<(), String> {
        match self.child.lock().try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("its process ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn process(&self) -> Process {
        Process::new(self.id)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn said(output: &Path) -> String {
    fs::read_to_string(output).unwrap_or_default()
}

/// The port in a port file, whatever stands before it.
fn read_port(file: &Path) -> Option<u16> {
    let text = fs::read_to_string(file).ok()?;
    // Without its line end it may be half written.
    port_of(text.strip_suffix('\n')?)
}

/// The port at the end of an address.
fn port_of(address: &str) -> Option<u16> {
    address.trim_end_matches('/').rsplit(':').next()?.parse().ok()
}

/// A free port that the system gives to no outgoing connection by its defaults.
fn kept_port() -> Result<u16, BenchError> {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..30_000))
        .take(100)
        .find(is_free)
        .ok_or_else(|| BenchError::Load("found no free port from 10000 to 29999".into()))
}

async fn is_ready(port: u16) -> bool {
    get(port, "/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer to a request, with its head.
async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_told_to_the_broker_by_its_environment() {
        let told = ("TRUNKLINE_LOG__PENDING_BYTES".into(), "1=MiB".to_owned());
        assert_eq!(setting("log.pending_bytes=1=MiB"), Some(told));
        let told = ("TRUNKLINE_SERVER__A2A_PUSH_TIMEOUT".into(), "9s".to_owned());
        assert_eq!(setting("server.a2a_push_timeout=9s"), Some(told));
        for text in ["log.pending_bytes", "pending_bytes=1", ".x=1", "log.=1", "log.a.b=1", ""] {
            assert_eq!(setting(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_is_read_alone_or_behind_an_address_once_it_is_wholly_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("port");
        assert_eq!(read_port(&file), None);
        for (text, port) in [
            ("7420\n", Some(7420)),
            ("127.0.0.1:80\n", Some(80)),
            ("http://127.0.0.1:81/\n", Some(81)),
            ("74", None),
            ("x\n", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read_port(&file), port, "{text:?}");
        }
    }
}
