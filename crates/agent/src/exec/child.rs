//! One run of an executable: from the payload on its stdin to how the delivery ends.

use super::environment;
use super::options::{ExecOptions, Shared};
use super::said::{self, Said};
use super::workplace::Desk;
use crate::Task;
use crate::handler::cut;
use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Notify, watch};
use trunkline_types::{Outcome, Payload};

/// The file descriptor on which a child says how far it is, and more.
const SAYING_FD: i32 = 3;

/// The exit code of a child that declines its work: `EX_DATAERR` of `sysexits.h`.
const DECLINED: i32 = 65;

/// The most of stderr that fits into a reason beside what the runtime says.
const MOST_STDERR: usize = 7 << 10;

/// Runs the executable for one delivery.
pub(super) async fn run(shared: Arc<Shared>, task: Task) -> Outcome {
    // Before the spawn, so that work which may have begun is never taken for work which has not.
    task.started();
    let options = &shared.options;
    let desk = match shared.desk(&task) {
        Ok(desk) => desk,
        Err(error) => return retry(format!("cannot write down what was said: {error}")),
    };
    let program = options.program.to_string_lossy();
    match Run::spawn(options, &task, desk) {
        Err(error) => retry(format!("cannot run '{program}': {error}")),
        Ok(run) => run.finish(options, &task).await,
    }
}

struct Run {
    child: Child,
    group: Group,
    saying: pipe::Receiver,
    /// What the child has of the agent's workplace while it runs.
    desk: Option<Desk>,
}

/// What a run has given.
struct Output {
    status: io::Result<ExitStatus>,
    stdout: Stdout,
    stderr: Vec<u8>,
    said: Said,
}

/// What came of reading the reply.
enum Stdout {
    Whole(Vec<u8>),
    /// It was over the bound.
    TooMuch,
    /// Something that left the process group holds the pipe.
    Open,
}

/// Why a run is ended before it ends by itself.
enum Stop {
    CalledOff,
    TimedOut(Duration),
    TooMuch,
}

impl Run {
    fn spawn(options: &ExecOptions, task: &Task, desk: Option<Desk>) -> io::Result<Self> {
        let (messages, lend) =
            desk.as_ref().map_or(("", ""), |desk| (&*desk.messages, &*desk.lend));
        let (ours, theirs) = io::pipe()?;
        let mut command = Command::new(&options.program);
        command
            .args(&options.arguments)
            .envs(options.variables.iter().map(|(name, value)| (name, value)))
            .envs(environment::variables(task, messages, lend))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &options.directory {
            command.current_dir(directory);
        }
        let mapping = FdMapping { parent_fd: theirs.into(), child_fd: SAYING_FD };
        command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = Group(Mutex::new(leader));
        // The command holds this process's copy of the child's end until it is dropped.
        drop(command);
        let saying = pipe::Receiver::from_owned_fd(ours.into())?;
        Ok(Self { child, group, saying, desk })
    }

    async fn finish(self, options: &ExecOptions, task: &Task) -> Outcome {
        // Its desk is cleared once it has ended.
        let Self { mut child, group, saying, desk: _desk } = self;
        let too_much = Notify::new();
        let (end, ended) = watch::channel(false);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let pipes = async {
            let ((), stdout, stderr) = tokio::join!(
                feed(stdin, &task.payload().data),
                read_reply(stdout, options.reply_bytes, &too_much),
                read_tail(stderr, options.stderr_bytes.min(MOST_STDERR)),
            );
            (stdout, stderr)
        };
        let exit = async {
            let status = child.wait().await;
            // What the child left behind ends with it; then its pipes are closed.
            group.end();
            end.send_replace(true);
            status
        };
        let work = async {
            let (status, read, said) = tokio::join!(
                exit,
                unless_held(pipes, ended.clone()),
                said::follow(BufReader::new(saying), task, ended.clone()),
            );
            let (stdout, stderr) = match read {
                Some((Some(stdout), stderr)) => (Stdout::Whole(stdout), stderr),
                Some((None, stderr)) => (Stdout::TooMuch, stderr),
                None => (Stdout::Open, Vec::new()),
            };
            Output { status, stdout, stderr, said }
        };
        tokio::pin!(work);
        let stop = tokio::select! {
            output = &mut work => return output.outcome(options),
            () = task.cancelled() => Stop::CalledOff,
            span = timeout(options.timeout) => Stop::TimedOut(span),
            () = too_much.notified() => Stop::TooMuch,
        };
        group.signal(Signal::TERM);
        let in_time = tokio::time::timeout(options.grace, &mut work).await;
        let output = if let Ok(output) = in_time {
            output
        } else {
            group.signal(Signal::KILL);
            work.await
        };
        match stop {
            Stop::CalledOff => Outcome::Release,
            Stop::TimedOut(span) => retry(output.tell(&format!("timed out after {span:?}"))),
            Stop::TooMuch => output.outcome(options),
        }
    }
}

impl Output {
    fn outcome(mut self, options: &ExecOptions) -> Outcome {
        let status = match &self.status {
            Ok(status) => *status,
            Err(error) => return retry(format!("cannot learn how the program ended: {error}")),
        };
        let stdout = match std::mem::replace(&mut self.stdout, Stdout::Open) {
            Stdout::TooMuch => {
                let limit = options.reply_bytes;
                return retry(self.tell(&format!("the reply is over the limit of {limit} bytes")));
            }
            // Whoever was killed has not had its last word.
            _ if status.code().is_none() => return retry(self.tell(&how(status))),
            Stdout::Open if status.success() => {
                return retry(
                    "the program ended, but something it left behind holds its stdout".into(),
                );
            }
            Stdout::Open => Vec::new(),
            Stdout::Whole(stdout) => stdout,
        };
        let Said { ending, fault } = std::mem::take(&mut self.said);
        match (fault, ending, status.code()) {
            (Some(fault), _, _) => retry(self.tell(&fault)),
            (None, Some(ending), _) => {
                ending.outcome(|| self.told(&how(status)), stdout, &options.content_type)
            }
            (None, None, Some(0)) => {
                Outcome::Complete { reply: Some(Payload::new(&options.content_type, stdout)) }
            }
            (None, None, Some(DECLINED)) => {
                Outcome::Reject { reason: cut(self.told(&how(status))) }
            }
            (None, None, _) => retry(self.tell(&how(status))),
        }
    }

    /// What the program said on stderr; what happened if that is nothing.
    fn told(&self, how: &str) -> String {
        match String::from_utf8_lossy(&self.stderr).trim() {
            "" => how.to_owned(),
            stderr => stderr.to_owned(),
        }
    }

    /// What happened, with the end of stderr.
    fn tell(&self, how: &str) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        match stderr.trim() {
            "" => how.to_owned(),
            stderr => format!("{how}: {stderr}"),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A child's process group, killed when this is dropped; none once the child has ended, for its
/// number may become another's.
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = *self.0.lock() {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// The child has just ended, so that its number cannot be another's yet: numbers come round
    /// only after all others.
    fn end(&self) {
        self.signal(Signal::KILL);
        *self.0.lock() = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// What the pipes give, unless something that has left the child's process group holds them open
/// after its end.
async fn unless_held<T>(
    pipes: impl Future<Output = T>,
    mut ended: watch::Receiver<bool>,
) -> Option<T> {
    tokio::select! {
        read = pipes => Some(read),
        () = said::lingered(&mut ended) => None,
    }
}

/// Writes the payload and closes the pipe; a child that does not read it all is fine.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(payload).await;
    }
}

/// Reads the reply up to its bound; what is beyond is told and thrown away, so that the child
/// does not hang in its write.
async fn read_reply(
    stdout: Option<impl AsyncRead + Unpin>,
    most: usize,
    too_much: &Notify,
) -> Option<Vec<u8>> {
    let mut stdout = stdout?;
    let mut reply = Vec::new();
    let mut over = false;
    let mut chunk = vec![0; 16 << 10];
    while let Ok(read @ 1..) = stdout.read(&mut chunk).await {
        if over {
            continue;
        }
        if reply.len() + read > most {
            over = true;
            reply = Vec::new();
            too_much.notify_one();
        } else {
            reply.extend_from_slice(&chunk[..read]);
        }
    }
    (!over).then_some(reply)
}

/// Reads to the end and keeps the last bytes.
async fn read_tail(stderr: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let Some(mut stderr) = stderr else { return Vec::new() };
    let mut tail = VecDeque::new();
    let mut chunk = vec![0; 4 << 10];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        tail.extend(&chunk[..read]);
        let over = tail.len().saturating_sub(most);
        tail.drain(..over);
    }
    tail.into()
}

/// Done when the span is over; never if there is none.
async fn timeout(span: Option<Duration>) -> Duration {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
    span.unwrap_or_default()
}

fn retry(reason: String) -> Outcome {
    Outcome::Retry { reason: cut(reason), delay: None }
}
