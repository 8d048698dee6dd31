//! Processes under test. Each is killed when it is dropped, and only by its own id.

use serde_json::Value;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// How long anything may take before the test is given up. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// The command with nothing of the caller's environment that could change what it does.
pub(crate) fn trunkline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRUNKLINE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("COLUMNS").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Finished {
    /// What is on stdout of a command that must have succeeded, without the last line's end.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// The JSON on stdout of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// What is on stderr of a command that must have ended with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

/// Runs a command that needs no broker.
pub(crate) fn run<const N: usize>(arguments: [&str; N]) -> Finished {
    trunkline().args(arguments).output().unwrap().into()
}

/// Tries until there is something, and gives up in the end.
#[track_caller]
pub(crate) fn until<T>(what: impl Debug, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what:?} did not come true");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process whose lines on stderr can be waited for.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, heard: Vec::new() }
    }

    /// Waits for a line on stderr.
    #[track_caller]
    pub(crate) fn says(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => self.heard.push(line),
                Err(error) => {
                    panic!("{error}: it did not say '{part}', but {:?}", self.heard)
                }
            }
        }
    }

    /// Its stdout, to be read while it runs.
    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    /// Its stdin, if that was to be a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([format!("-{name}"), id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let status = until("the process ends", || self.child.try_wait().unwrap());
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.heard.extend(self.lines.iter());
        let stderr = self.heard.join("\n");
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A broker on a port of its own with a data directory of its own.
pub(crate) struct Broker {
    process: Option<Running>,
    address: String,
    directory: TempDir,
    extra: Vec<String>,
    _port: Option<TcpSocket>,
}

/// Keeps a free port from everybody but a process that is told its number, so that a broker which
/// is away for a while finds it free again. Whoever asks for any port gets another one.
///
/// Only Linux lets a second socket listen where a first is merely bound.
fn kept_port() -> Option<TcpSocket> {
    cfg!(target_os = "linux").then(|| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        socket
    })
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with([])
    }

    pub(crate) fn with<const N: usize>(extra: [&str; N]) -> Self {
        Self::configured("", extra)
    }

    /// One with a configuration file.
    pub(crate) fn configured<const N: usize>(settings: &str, extra: [&str; N]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut extra = extra.map(str::to_owned).to_vec();
        if !settings.is_empty() {
            let file = directory.path().join("trunkline.toml");
            std::fs::write(&file, settings).unwrap();
            extra.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        let port = kept_port();
        let address = port.as_ref().map(|port| port.local_addr().unwrap().to_string());
        let address = address.unwrap_or_else(|| "127.0.0.1:0".into());
        let mut broker = Self { process: None, address, directory, extra, _port: port };
        broker.restart();
        broker
    }

    /// Starts it again on the same address and data.
    pub(crate) fn restart(&mut self) {
        let port_file = self.directory.path().join("port");
        let _ = std::fs::remove_file(&port_file);
        let mut command = trunkline();
        command.args(["serve", "--listen", &self.address, "--port-file"]).arg(&port_file);
        if !self.extra.iter().any(|argument| argument == "--ephemeral") {
            command.arg("--data").arg(self.data());
        }
        self.process = Some(Running::start(command.args(&self.extra)));
        self.address = until("the address is written", || {
            std::fs::read_to_string(&port_file).ok().map(|text| text.trim().to_owned())
        });
        until("the broker is ready", || (self.get("/readyz") == Some(200)).then_some(()));
    }

    pub(crate) fn kill(&mut self) {
        self.process.as_mut().unwrap().kill();
    }

    pub(crate) fn take(&mut self) -> Running {
        self.process.take().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A directory for what a test needs besides.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The status of an HTTP answer, if there is one.
    pub(crate) fn get(&self, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let host = &self.address;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// A command that talks to this broker.
    pub(crate) fn command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = trunkline();
        command.env("TRUNKLINE_URL", format!("http://{}", self.address)).args(arguments);
        command
    }

    pub(crate) fn run<const N: usize>(&self, arguments: [&str; N]) -> Finished {
        self.command(arguments).output().unwrap().into()
    }

    /// Starts a command that takes its time.
    pub(crate) fn spawn<const N: usize>(&self, arguments: [&str; N]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Starts an agent and waits until it is connected.
    pub(crate) fn agent<const N: usize>(&self, arguments: [&str; N]) -> Running {
        let mut command = self.command(["agent"]);
        let mut agent = Running::start(command.args(arguments));
        agent.says("connected to");
        agent
    }

    /// One of the broker's figures.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.run(["stats", "--json"]).json()[name].as_u64().unwrap()
    }
}
