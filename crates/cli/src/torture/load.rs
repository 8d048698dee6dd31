//! The load of one round: agents that work, senders that send, others that ask and listen.
//!
//! Made with the public interface of the agent runtime alone. All of it lives through every kill
//! of the round; what it was promised and told is in the ledger.

use super::plan::{ECHO, Plan, UPPER, WORK, digest};
use super::process::Process;
use super::traffic::{ATTEMPTS, Asked, Lane, Pace};
use super::witness::Witness;
use crate::error::CliError;
use crate::exit::Exit;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use trunkline_agent::{Agent, Events, HandlerError, Host, Session, Task};
use trunkline_types::{Destination, MessageId, Payload, Refusal};

/// Sessions that send.
const SENDERS: u64 = 4;
/// Publishes that each of them has on its way at once.
const LANES: u64 = 8;
/// Agents in this process.
const WORKERS: usize = 3;
/// Executables as agents.
const EXECUTABLES: usize = 2;
/// The longest run of what hangs. Long enough for the attempt after it on a busy machine.
const LONGEST_RUN: Duration = Duration::from_secs(1);
/// Handlers that are held at once.
const HELD: usize = WORKERS;
/// Words of a payload that fills a disk: about 240 KB.
const LARGE: usize = 40_000;
/// What the executables run. The first attempt at what is marked so stops itself.
const COMMAND: &str = r#"case "$TRUNKLINE_ATTEMPT$TRUNKLINE_HEADER_TORTURE_STOP" in
1yes) kill -STOP $$ ;;
esac
exec tr a-z A-Z"#;
/// How long the load may take to come to rest after the last kill.
const REST: Duration = Duration::from_mins(1);

/// The load of one round.
#[derive(Debug)]
pub(super) struct Load {
    agents: Vec<Agent>,
    executables: Vec<Executable>,
    url: String,
    log: PathBuf,
    prefix: String,
    /// Serial number of what is sent beside the lanes.
    extra: u64,
    signals: Signals,
    sessions: Vec<Session>,
    lanes: JoinSet<Asked>,
    listener: JoinHandle<Heard>,
    listening: Session,
    stop: Arc<AtomicBool>,
}

/// What the handlers of this process and the load tell each other.
#[derive(Clone, Default, Debug)]
struct Signals {
    /// How many handlers hung and were ended.
    ended: watch::Sender<u64>,
    /// Whether handlers that are to be held are.
    holding: watch::Sender<bool>,
}

/// An agent in a process of its own.
#[derive(Debug)]
struct Executable {
    process: Process,
    /// Whether it was stopped and has not gone on.
    paused: bool,
}

/// What the subscriber heard.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Heard {
    /// Events that came.
    pub(super) events: u64,
    /// Events that it was told it has missed.
    pub(super) missed: u64,
    /// Events that were not what anybody sent.
    pub(super) altered: u64,
}

/// What is left when the load has come to rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// What became of the requests.
    pub(super) asked: Asked,
    /// What became of the events.
    pub(super) heard: Heard,
    /// What did not come to rest.
    pub(super) stuck: Vec<String>,
}

impl Load {
    /// Starts everything. `prefix` makes serial numbers and keys of this round unlike others.
    ///
    /// # Errors
    /// The broker refuses a session, or an executable cannot be started.
    pub(super) async fn start(
        witness: &Witness,
        url: &str,
        prefix: &str,
        seed: u64,
        rate: u32,
        log: &Path,
    ) -> Result<Self, CliError> {
        let mut agents = Vec::new();
        let signals = Signals::default();
        for number in 0..WORKERS {
            agents.push(worker(witness, number, &signals).await?);
        }
        agents.push(echo(witness).await?);
        let mut executables = Vec::new();
        for number in 0..EXECUTABLES {
            executables.push(start(url, number, log)?);
        }
        let listening = witness.session().await?;
        let pattern = "torture.>".parse().map_err(mistake)?;
        let listener = tokio::spawn(listen(listening.subscribe(pattern).await?));
        let stop = Arc::new(AtomicBool::new(false));
        let pace = Pace::new(rate, SENDERS * LANES);
        let mut lanes = JoinSet::new();
        let mut sessions = Vec::new();
        for sender in 0..SENDERS {
            let session = witness.session().await?;
            for lane in 0..LANES {
                let number = sender * LANES + lane;
                let lane = Lane::new(session.clone(), prefix, number, seed, Arc::clone(&stop));
                lanes.spawn(lane.run(pace));
            }
            sessions.push(session);
        }
        let (url, log, prefix) = (url.to_owned(), log.to_owned(), prefix.to_owned());
        Ok(Self {
            agents,
            executables,
            url,
            log,
            prefix,
            extra: 0,
            signals,
            sessions,
            lanes,
            listener,
            listening,
            stop,
        })
    }

    /// Sends one task to a handler that hangs and one to an executable that stops itself.
    ///
    /// # Errors
    /// The broker refuses them and does not say when to come back.
    pub(super) async fn hang(&mut self) -> Result<(), CliError> {
        for plan in [Plan::Hang, Plan::Stop] {
            self.give(plan).await?;
        }
        Ok(())
    }

    /// Sends tasks whose handlers run until they are let go, and tells their ids.
    ///
    /// # Errors
    /// The broker refuses them and does not say when to come back.
    pub(super) async fn hold(&mut self) -> Result<BTreeSet<MessageId>, CliError> {
        self.signals.holding.send_replace(true);
        let mut held = BTreeSet::new();
        for _ in 0..HELD {
            held.insert(self.give(Plan::Hold).await?);
        }
        Ok(held)
    }

    /// Lets the handlers go that are held.
    pub(super) fn let_go(&self) {
        self.signals.holding.send_replace(false);
    }

    /// Sends a task until it is accepted, or refused for good.
    async fn give(&mut self, plan: Plan) -> Result<MessageId, CliError> {
        loop {
            let payload = plan.payload(&self.serial(), 2);
            let to = Destination::skill(plan.skill()).map_err(mistake)?;
            let mut task = self.sessions[0].send(to, payload).attempts(ATTEMPTS);
            match plan {
                Plan::Hang => task = task.max_run(LONGEST_RUN),
                Plan::Stop => task = task.header("torture-stop", "yes").max_run(LONGEST_RUN),
                _ => {}
            }
            match task.await {
                Ok(accepted) => return Ok(accepted.id),
                Err(Refusal { retry_after: Some(span), .. }) => tokio::time::sleep(span).await,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }

    /// How many handlers of this process hung and were ended.
    pub(super) fn ended_handlers(&self) -> watch::Receiver<u64> {
        self.signals.ended.subscribe()
    }

    /// Sends one task that takes much room, and says whether it was accepted.
    ///
    /// # Errors
    /// A mistake in this program.
    pub(super) async fn fill(&mut self) -> Result<Result<(), Refusal>, CliError> {
        let payload = Plan::Answer.payload(&self.serial(), LARGE);
        let to = Destination::skill(Plan::Answer.skill()).map_err(mistake)?;
        Ok(self.sessions[0].send(to, payload).attempts(ATTEMPTS).await.map(drop))
    }

    fn serial(&mut self) -> String {
        self.extra += 1;
        format!("{}-extra-{}", self.prefix, self.extra)
    }

    /// Kills an executable agent: nobody comes back for what it held. Tells whether there was one
    /// to kill.
    ///
    /// # Errors
    /// The system does not let it be killed.
    pub(super) async fn kill_executable(&mut self, number: usize) -> Result<bool, CliError> {
        let Executable { process, .. } = &mut self.executables[number % EXECUTABLES];
        let runs = process.is_running()?;
        if runs {
            process.kill().await?;
        }
        Ok(runs)
    }

    /// Stops an executable agent where it is. Tells whether there was one to stop.
    ///
    /// # Errors
    /// The system does not let it be stopped.
    pub(super) fn pause_executable(&mut self, number: usize) -> Result<bool, CliError> {
        let Executable { process, paused } = &mut self.executables[number % EXECUTABLES];
        let runs = process.is_running()? && !*paused;
        if runs {
            process.pause()?;
            *paused = true;
        }
        Ok(runs)
    }

    /// Lets an executable agent that was stopped go on, if it was not killed meanwhile.
    ///
    /// # Errors
    /// The system does not let it go on.
    pub(super) fn resume_executable(&mut self, number: usize) -> Result<(), CliError> {
        let Executable { process, paused } = &mut self.executables[number % EXECUTABLES];
        if std::mem::take(paused) && process.is_running()? {
            process.resume()?;
        }
        Ok(())
    }

    /// Starts the executable agents that were killed, and those that were started while there was
    /// no broker, anew.
    ///
    /// # Errors
    /// One cannot be started.
    pub(super) fn revive(&mut self) -> Result<(), CliError> {
        for (number, executable) in self.executables.iter_mut().enumerate() {
            if !executable.process.is_running()? {
                *executable = start(&self.url, number, &self.log)?;
            }
        }
        Ok(())
    }

    /// Sends nothing more and waits until every publish and request is answered.
    pub(super) async fn rest(&mut self) -> Rest {
        self.stop.store(true, Ordering::Relaxed);
        let mut rest = Rest::default();
        let lanes = async {
            while let Some(asked) = self.lanes.join_next().await {
                match asked {
                    Ok(asked) => rest.asked.add(&asked),
                    Err(error) => rest.stuck.push(format!("a sender ended: {error}")),
                }
            }
        };
        if tokio::time::timeout(REST, lanes).await.is_err() {
            rest.stuck
                .push(format!("{} publishes have no answer after {REST:?}", self.lanes.len()));
        }
        for session in &self.sessions {
            if tokio::time::timeout(REST, session.settled()).await.is_err() {
                rest.stuck.push(format!("a session has unanswered operations after {REST:?}"));
            }
        }
        rest
    }

    /// Ends the agents, after the last task has ended, and the subscription.
    pub(super) async fn end(self, rest: &mut Rest) {
        let Self { agents, mut executables, sessions, listener, listening, .. } = self;
        for agent in agents {
            let name = agent.id().to_string();
            if tokio::time::timeout(REST, agent.stop()).await.is_err() {
                rest.stuck.push(format!("agent {name} does not end after {REST:?}"));
            }
        }
        drop(sessions);
        listening.close();
        match listener.await {
            Ok(heard) => rest.heard = heard,
            Err(error) => rest.stuck.push(format!("the subscriber ended: {error}")),
        }
        for Executable { process, .. } in &mut executables {
            if let Err(error) = process.stop(Duration::from_secs(5)).await {
                rest.stuck.push(format!("an executable agent does not end: {error}"));
            }
        }
    }
}

/// Marks runs of handlers, so that no two say the same.
fn mark() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

async fn worker(witness: &Witness, number: usize, signals: &Signals) -> Result<Agent, Refusal> {
    let signals = signals.clone();
    let work = move |task| work(task, signals.clone());
    witness
        .agent(&format!("torture-worker-{number}"))
        .skill(WORK, work)
        .workers(1..=8)
        .start()
        .await
}

/// Counts a handler that hangs when it is dropped, which is the only end that it has.
struct Hung(watch::Sender<u64>);

impl Drop for Hung {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

async fn work(task: Task, signals: Signals) -> Result<Payload, HandlerError> {
    let payload = task.payload().data.clone();
    let mark = mark();
    // Most work is over at once; some is at work when the broker is killed.
    if fastrand::u8(0..8) == 0 {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
    }
    match Plan::of(&payload) {
        Some(Plan::Retry) if task.attempt() == 1 => {
            return Err(HandlerError::retry_after("planned retry", Duration::from_millis(1)));
        }
        Some(Plan::Fail) => return Err(HandlerError::fail("planned failure")),
        Some(Plan::Dead) => return Err(HandlerError::dead_letter("planned dead letter")),
        Some(Plan::Nested) => {
            let echo = Destination::skill(ECHO)?;
            let reply = task.request(echo, payload.clone()).timeout(REST).await?;
            if reply.payload.data != payload {
                return Err(HandlerError::fail("the reply is not what was asked"));
            }
        }
        Some(Plan::Hang) if task.attempt() == 1 => {
            let _hung = Hung(signals.ended);
            std::future::pending::<()>().await;
        }
        // It fails when the load is over.
        Some(Plan::Hold) => drop(signals.holding.subscribe().wait_for(|holding| !holding).await),
        Some(Plan::Answer | Plan::Retry | Plan::Hang) => {}
        Some(Plan::Upper | Plan::Stop) | None => {
            return Err(HandlerError::fail("not for this agent"));
        }
    }
    Ok(format!("{}#{mark}", digest(&payload)).into())
}

async fn echo(witness: &Witness) -> Result<Agent, Refusal> {
    let echo = |task: Task| async move { Ok::<_, HandlerError>(task.payload().data.clone()) };
    witness.agent("torture-echo").skill(ECHO, echo).workers(1..=4).start().await
}

fn start(url: &str, number: usize, log: &Path) -> Result<Executable, CliError> {
    let process = Process::start("an executable agent", log, |command| {
        let id = format!("torture-executable-{number}");
        command.args(["agent", "--url", url, "--skill", UPPER, "--id", &id]);
        command.args(["--concurrency", "2", "--grace", "100ms", "--", "sh", "-c", COMMAND]);
    })?;
    Ok(Executable { process, paused: false })
}

async fn listen(mut events: Events) -> Heard {
    let mut heard = Heard::default();
    while let Some(event) = events.next().await {
        heard.events += 1;
        heard.missed += event.missed;
        let topic = event.topic().map(ToString::to_string).unwrap_or_default();
        let says = event.payload().to_text().starts_with(&format!("{topic} "));
        heard.altered += u64::from(!says);
    }
    heard
}

/// An error that only a mistake in this program can make.
fn mistake(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::General, error)
}
