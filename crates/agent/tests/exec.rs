//! Executables as handlers, against a scripted broker. The programs are small shell scripts.

use crate::common::{Line, Script, reply_text, retry_reason};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use trunkline_agent::Agent;
use trunkline_agent::exec::{Exec, ExecOptions};
use trunkline_agent::prelude::*;
use trunkline_types::session::{Operation, SessionItem, UpdateBody};
use trunkline_types::{Outcome, Progress, Token, WallTime};

fn shell(script: &str) -> ExecOptions {
    ExecOptions::new("/bin/sh", ["-c", script])
}

async fn agent(options: ExecOptions) -> (Agent, Arc<Line>) {
    let script = Script::prompt();
    let agent = script.agent("a").skill("s", Exec::new(options)).start().await.unwrap();
    (agent, script.line(0))
}

async fn run(options: ExecOptions, payload: impl Into<Payload>) -> Outcome {
    let (_agent, line) = agent(options).await;
    let token = line.deliver("s", payload);
    line.outcome_of(token).await
}

#[tokio::test]
async fn stdout_is_the_reply_to_what_is_on_stdin() {
    assert_eq!(reply_text(run(shell("wc -w"), "one two three").await).trim(), "3");
}

#[tokio::test]
async fn payload_and_reply_flow_at_once_however_large() {
    let payload = vec![b'x'; 900_000];
    let Outcome::Complete { reply: Some(reply) } = run(shell("cat"), payload.clone()).await else {
        panic!("not completed");
    };
    assert_eq!(reply.data, payload);
}

#[tokio::test]
async fn a_program_need_not_read_its_payload() {
    let options = ExecOptions::new("true", [""; 0]);
    let outcome = run(options, vec![b'x'; 900_000]).await;
    assert!(matches!(outcome, Outcome::Complete { reply: Some(reply) } if reply.data.is_empty()));
}

#[tokio::test]
async fn another_exit_code_is_a_failed_attempt_with_the_end_of_stderr() {
    let mut options =
        shell("echo begin >&2; head -c 100000 /dev/zero >&2; echo the end >&2; exit 3");
    options.stderr_bytes = 8;
    assert_eq!(retry_reason(run(options, "").await), "exit code 3: the end");
    let outcome = run(shell("kill -9 $$"), "").await;
    assert_eq!(retry_reason(outcome), "killed by signal 9");
    let outcome = run(ExecOptions::new("/no/such/program", [""; 0]), "").await;
    let reason = retry_reason(outcome);
    assert!(reason.starts_with("cannot run '/no/such/program': "), "{reason}");
}

#[tokio::test]
async fn a_reply_over_its_bound_fails_the_attempt() {
    let mut options = shell("cat /dev/zero");
    options.reply_bytes = 1000;
    let reason = retry_reason(run(options, "").await);
    assert_eq!(reason, "the reply is over the limit of 1000 bytes");
}

#[tokio::test]
async fn a_reply_and_a_question_are_of_the_media_type_that_is_named() {
    let mut options = shell("echo '{}'");
    options.content_type = "application/json".into();
    let Outcome::Complete { reply: Some(reply) } = run(options, "").await else { panic!() };
    assert_eq!(reply, Payload::new("application/json", "{}\n"));
    let asks = |content_type: &str, said: &str| ExecOptions {
        content_type: content_type.into(),
        ..shell(&format!(r#"printf '{said}'; echo '{{"outcome":"input-required"}}' >&3"#))
    };
    for (said, content_type, question) in [
        ("1", "application/json", Payload::new("application/json", "1")),
        ("\\377", "image/png", Payload::new("image/png", vec![255])),
        ("1", "", Payload::text("1")),
        ("\\377", "", Payload::from(vec![255])),
    ] {
        let Outcome::Pause { message, .. } = run(asks(content_type, said), "").await else {
            panic!()
        };
        assert_eq!(message, Some(question));
    }
}

#[tokio::test]
async fn the_environment_describes_the_delivery() {
    let (_agent, line) = agent(shell("env")).await;
    let mut envelope = crate::common::request("s", "");
    envelope.source = Some("caller".parse().unwrap());
    envelope.headers = vec![("x-tone".into(), "ki\0nd".into())];
    let mut delivery = line.delivery_of(envelope, "skill:s".parse().unwrap());
    delivery.expires_at = Some(WallTime(99_999_999_999_999));
    delivery.attempt = 2;
    delivery.backlog = 7;
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    let environment = reply_text(line.outcome_of(token).await);
    for line in [
        "TRUNKLINE_TASK_ID=00000000-0001-7000-8000-000000000007",
        "TRUNKLINE_ATTEMPT=2",
        "TRUNKLINE_DEADLINE_MS=99999999999999",
        "TRUNKLINE_SOURCE=caller",
        "TRUNKLINE_SKILL=s",
        "TRUNKLINE_CONTEXT_ID=",
        "TRUNKLINE_KIND=request",
        "TRUNKLINE_CAUSATION_ID=",
        "TRUNKLINE_ROOT_ID=00000000-0001-7000-8000-000000000007",
        "TRUNKLINE_MESSAGES=",
        "TRUNKLINE_BACKLOG=7",
        "TRACEPARENT=",
        "TRUNKLINE_HEADER_X_TONE=kind",
    ] {
        assert!(environment.lines().any(|it| it == line), "{line} is not in\n{environment}");
    }
}

#[tokio::test]
async fn lines_on_descriptor_3_are_progress() {
    let script = r#"
        echo '{"percent":10,"text":"begun"}' >&3
        echo '{"broken' >&3
        echo 'nearly there' >&3
        printf '{"percent":90}' >&3
    "#;
    let (_agent, line) = agent(shell(script)).await;
    // Of what is no task nobody could see the progress.
    let plain = line.deliver("s", "");
    assert!(matches!(line.outcome_of(plain).await, Outcome::Complete { .. }));
    let mut delivery = line.delivery("s", "");
    let token = delivery.token;
    Arc::make_mut(&mut delivery.publish).options.task = true;
    line.say([SessionItem::Delivery(delivery)]);
    assert!(matches!(line.outcome_of(token).await, Outcome::Complete { .. }));
    let updates: Vec<_> = line
        .operations()
        .into_iter()
        .filter_map(|operation| match operation {
            Operation::Update(update) => Some(update.body),
            _ => None,
        })
        .skip(1)
        .collect();
    let progress =
        |percent, text: &str| UpdateBody::Progress(Progress { percent, text: text.into() });
    let expected = [
        UpdateBody::Started,
        progress(10, "begun"),
        progress(10, "nearly there"),
        progress(90, ""),
    ];
    assert_eq!(updates, expected);
}

/// Starts a script that writes its process number to a file once it is ready, and waits for it.
async fn begun(script: &str, options: impl FnOnce(&mut ExecOptions)) -> Begun {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut exec = shell(&format!("{script}; echo $$ > pid.new; mv pid.new pid; {TAIL}"));
    exec.directory = Some(directory.path().to_owned());
    options(&mut exec);
    let (agent, line) = agent(exec).await;
    let token = line.deliver("s", "");
    let pid = line.wait(move |_| read(&file)).await;
    Begun { agent, line, token, pid, directory }
}

/// Waits without using the processor, and goes on when a signal handler returns.
const TAIL: &str = "while :; do sleep 1000 & wait $!; done";

struct Begun {
    agent: Agent,
    line: Arc<Line>,
    token: Token,
    pid: String,
    directory: tempfile::TempDir,
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

impl Begun {
    /// Waits until the child is gone, or is a zombie that nobody has collected yet.
    async fn gone(&self) {
        let pid = self.pid.clone();
        let gone = move |_: &Line| {
            let output =
                std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid]).output();
            let state = String::from_utf8(output.unwrap().stdout).unwrap();
            (state.trim().is_empty() || state.trim().starts_with('Z')).then_some(())
        };
        self.line.wait(gone).await;
    }
}

#[tokio::test]
async fn a_cancelled_child_is_asked_to_end() {
    let run = begun("trap 'echo bye >&2; exit 0' TERM", |_| {}).await;
    run.line.say([SessionItem::Cancel { token: run.token, reason: "enough".into() }]);
    assert_eq!(run.line.outcome_of(run.token).await, Outcome::Release);
    run.gone().await;
}

#[tokio::test]
async fn what_a_child_does_within_its_grace_is_awaited() {
    let script = "trap 'echo saved > work; exit 0' TERM";
    let run = begun(script, |options| options.grace = Duration::from_mins(1)).await;
    run.line.say([SessionItem::Cancel { token: run.token, reason: "enough".into() }]);
    assert_eq!(run.line.outcome_of(run.token).await, Outcome::Release);
    let work = read(&run.directory.path().join("work"));
    assert_eq!(work.as_deref(), Some("saved"), "it was killed before it had ended its work");
    for grace in [Duration::ZERO, Duration::from_mins(1), Duration::MAX / 2] {
        let mut options = shell("");
        options.grace = grace;
        assert!(Exec::new(options).cancel_grace() > grace, "there is no time left to kill it");
    }
}

#[tokio::test]
async fn a_child_that_ignores_the_request_is_killed() {
    let ignoring = begun("trap '' TERM", |options| options.grace = Duration::from_millis(50)).await;
    ignoring.line.say([SessionItem::Cancel { token: ignoring.token, reason: "enough".into() }]);
    assert_eq!(ignoring.line.outcome_of(ignoring.token).await, Outcome::Release);
    ignoring.gone().await;
}

#[tokio::test]
async fn a_run_over_its_time_fails_the_attempt() {
    let mut options = shell("echo so far >&2; exec sleep 1000");
    options.timeout = Some(Duration::from_millis(200));
    let reason = retry_reason(run(options, "").await);
    assert!(reason.starts_with("timed out after 200ms"), "{reason}");
}

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let (_agent, line) = agent(shell("sleep 1000 & echo $!")).await;
    let token = line.deliver("s", "");
    let pid = reply_text(line.outcome_of(token).await).trim().to_owned();
    let gone = move |_: &Line| {
        let output = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid]).output();
        let state = String::from_utf8(output.unwrap().stdout).unwrap();
        (state.trim().is_empty() || state.trim().starts_with('Z')).then_some(())
    };
    line.wait(gone).await;
}

#[tokio::test]
async fn no_child_outlives_its_agent() {
    let mut run = begun("trap '' TERM", |options| options.grace = Duration::ZERO).await;
    let script = Script::prompt();
    let other = script.agent("b").start().await.unwrap();
    drop(std::mem::replace(&mut run.agent, other));
    run.gone().await;
}

/// How a child that runs says that it waits.
struct Lending {
    token: String,
    socket: PathBuf,
}

impl Lending {
    /// That of a child that has written down what it was told of it.
    fn of(run: &Begun) -> Self {
        let text = read(&run.directory.path().join("lend")).unwrap();
        let (token, socket) = text.split_once(':').unwrap();
        Self { token: token.to_owned(), socket: socket.into() }
    }

    async fn connect(&self, token: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(format!("{token}\n").as_bytes()).await.unwrap();
        stream
    }

    async fn lend(&self) -> UnixStream {
        let mut stream = self.connect(&self.token).await;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"lent\n");
        stream
    }
}

/// A child that may lend its permit and runs until it is ended.
async fn lending() -> (Begun, Lending) {
    let run = begun("printf %s \"$TRUNKLINE_LEND\" > lend", |_| {}).await;
    let lending = Lending::of(&run);
    (run, lending)
}

/// Reads to the end of a connection.
async fn closed(mut stream: UnixStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

#[tokio::test]
async fn a_permit_is_lent_while_a_child_is_connected_and_taken_back_when_it_is_not() {
    let (run, lending) = lending().await;
    let lent = || run.agent.stats().lent;
    assert_eq!(lent(), 0);
    let (first, mut second) = (lending.lend().await, lending.lend().await);
    assert_eq!(lent(), 1, "a handler has one permit however many answers it awaits");
    drop(first);
    second.shutdown().await.unwrap();
    assert_eq!(closed(second).await, b"", "closed from the other side once it has its permit");
    assert_eq!(lent(), 0);
    let third = lending.lend().await;
    assert_eq!(lent(), 1);
    run.line.say([SessionItem::Cancel { token: run.token, reason: "enough".into() }]);
    assert_eq!(run.line.outcome_of(run.token).await, Outcome::Release);
    assert_eq!(closed(third).await, b"", "nothing is lent beyond the end of the run");
    let begun = std::time::Instant::now();
    while lent() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "it is never taken back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(closed(lending.connect(&lending.token).await).await, b"", "the run is over");
}

#[tokio::test]
async fn nothing_is_lent_to_whoever_names_no_run() {
    let (run, lending) = lending().await;
    let zeros = "0".repeat(32);
    for token in [&*zeros, &"x".repeat(32), "lend me your ears, and what else you have there"] {
        assert_eq!(closed(lending.connect(token).await).await, b"", "{token}");
    }
    assert_eq!(run.agent.stats().lent, 0);
}

#[tokio::test]
async fn what_is_closed_lends_nothing_and_works_on() {
    let exec = Exec::new(shell("printf %s \"$TRUNKLINE_LEND\""));
    exec.close();
    let script = Script::prompt();
    let _agent = script.agent("a").skill("s", exec).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "");
    assert_eq!(reply_text(line.outcome_of(token).await), "");
}
