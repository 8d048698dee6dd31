//! One run of an executable: from the payload on its stdin to how the delivery ends.

use super::environment;
use super::options::ExecOptions;
use super::progress;
use crate::Task;
use crate::handler::cut;
use command_fds::{CommandFdExt, FdMapping};
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
use tokio::sync::Notify;
use trunkline_types::{Outcome, Payload};

/// The file descriptor on which a child writes its progress.
const PROGRESS_FD: i32 = 3;

/// The most of stderr that fits into a reason beside what the runtime says.
const MOST_STDERR: usize = 7 << 10;

/// How long the pipes of a child that has ended may stay open, held by something that left its
/// process group.
const LINGER: Duration = Duration::from_secs(1);

/// Runs the executable for one delivery.
pub(super) async fn run(options: Arc<ExecOptions>, task: Task) -> Outcome {
    // Before the spawn, so that work which may have begun is never taken for work which has not.
    task.started();
    let program = options.program.to_string_lossy();
    match Run::spawn(&options, &task) {
        Err(error) => retry(format!("cannot run '{program}': {error}")),
        Ok(run) => run.finish(&options, &task).await,
    }
}

struct Run {
    child: Child,
    group: Group,
    progress: pipe::Receiver,
}

/// What a run has given.
struct Output {
    status: io::Result<ExitStatus>,
    stdout: Stdout,
    stderr: Vec<u8>,
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
    fn spawn(options: &ExecOptions, task: &Task) -> io::Result<Self> {
        let (ours, theirs) = io::pipe()?;
        let mut command = Command::new(&options.program);
        command
            .args(&options.arguments)
            .envs(environment::variables(task))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &options.directory {
            command.current_dir(directory);
        }
        let mapping = FdMapping { parent_fd: theirs.into(), child_fd: PROGRESS_FD };
        command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
        let child = command.spawn()?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        // The command holds this process's copy of the child's end until it is dropped.
        drop(command);
        let progress = pipe::Receiver::from_owned_fd(ours.into())?;
        Ok(Self { child, group, progress })
    }

    async fn finish(self, options: &ExecOptions, task: &Task) -> Outcome {
        let Self { mut child, mut group, progress } = self;
        let too_much = Notify::new();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let pipes = async {
            let ((), stdout, stderr, ()) = tokio::join!(
                feed(stdin, &task.payload().data),
                read_reply(stdout, options.reply_bytes, &too_much),
                read_tail(stderr, options.stderr_bytes.min(MOST_STDERR)),
                progress::follow(BufReader::new(progress), task),
            );
            (stdout, stderr)
        };
        let leader = group.0;
        let work = async {
            tokio::pin!(pipes);
            let mut early = None;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    read = &mut pipes, if early.is_none() => early = Some(read),
                }
            };
            // What the child left behind ends with it; then its pipes are closed. The leader's
            // number cannot be another's yet: numbers come round only after all others.
            drop(Group(leader));
            let read = match early {
                Some(read) => Some(read),
                None => tokio::time::timeout(LINGER, pipes).await.ok(),
            };
            let (stdout, stderr) = match read {
                Some((Some(stdout), stderr)) => (Stdout::Whole(stdout), stderr),
                Some((None, stderr)) => (Stdout::TooMuch, stderr),
                None => (Stdout::Open, Vec::new()),
            };
            Output { status, stdout, stderr }
        };
        tokio::pin!(work);
        let stop = tokio::select! {
            output = &mut work => {
                group.disarm();
                return output.outcome(options);
            }
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
        group.disarm();
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
        match std::mem::replace(&mut self.stdout, Stdout::Open) {
            Stdout::TooMuch => {
                let limit = options.reply_bytes;
                retry(self.tell(&format!("the reply is over the limit of {limit} bytes")))
            }
            Stdout::Open if status.success() => {
                retry("the program ended, but something it left behind holds its stdout".into())
            }
            Stdout::Whole(stdout) if status.success() => {
                Outcome::Complete { reply: Some(Payload::from(stdout)) }
            }
            Stdout::Whole(_) | Stdout::Open => retry(self.tell(&how(status))),
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

/// A child's process group, killed when this is dropped unless the child has ended before.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(leader, signal);
        }
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
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
