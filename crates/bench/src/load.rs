//! The load: agents that check what they are handed, and senders that keep a window full.

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::observe::{Flow, Note, Observed, histogram};
use crate::{BenchError, Config};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;
use trunkline_agent::{
    Agent, AgentBuilder, BatchOutcome, Handler, HandlerFuture, Host, Session, Task, Ticket,
};
use trunkline_types::{Destination, Kind, Outcome, Publish, PublishOptions, Refusal};

/// The name of the agent with this number.
pub(crate) fn agent_name(number: u32) -> String {
    format!("bench-{number}")
}

/// The skill that all agents of a durable benchmark offer.
pub(crate) const SKILL: &str = "bench";

/// A histogram that handlers and senders share.
pub(crate) type Latency = Arc<Mutex<Histogram<u64>>>;

/// An empty one, in nanoseconds.
pub(crate) fn latency() -> Latency {
    Arc::new(Mutex::new(histogram()))
}

/// What an agent does with what it is handed: checks it, and completes it.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Clock,
    /// Where the time since sending goes, if it is wanted.
    pub(crate) latency: Option<Latency>,
    /// Whether the payload is sent back as the reply.
    pub(crate) echo: bool,
    /// Which copy of each payload this one sees.
    pub(crate) copy: u64,
}

impl Checker {
    /// Checks the payload of a message, of which this is the copy with that number.
    pub(crate) fn see(&self, task: &Task, copy: u64) {
        self.see_payload(&task.payload().data, copy);
    }

    /// Checks a payload, of which this is the copy with that number.
    pub(crate) fn see_payload(&self, payload: &[u8], copy: u64) {
        let stamp = self.ledger.see(payload, copy);
        if let (Some(stamp), Some(latency)) = (stamp, &self.latency) {
            latency.lock().note(self.clock.nanos().saturating_sub(stamp.at));
        }
    }

    /// The same for several messages at once, without replies.
    pub(crate) fn for_several(self, most: u32) -> impl Handler {
        trunkline_agent::batch(most, move |tasks: Vec<Task>| {
            let results = tasks.iter().map(|task| {
                self.see(task, self.copy);
                Ok(())
            });
            std::future::ready(results.collect::<Vec<_>>())
        })
    }
}

impl Handler for Checker {
    fn handle(&self, task: Task) -> HandlerFuture {
        self.see(&task, self.copy);
        let reply = self.echo.then(|| task.payload().clone());
        Box::pin(std::future::ready(Outcome::Complete { reply }))
    }
}

/// Starts the agents of a configuration one after another. With a skill they offer it, otherwise
/// each handles what is sent to itself.
///
/// # Errors
/// The broker refuses one.
pub(crate) async fn start_agents(
    host: &Observed,
    config: &Config,
    skill: Option<&str>,
    checker: &Checker,
) -> Result<Vec<Agent>, BenchError> {
    let mut agents = Vec::new();
    for number in 0..config.agents {
        agents.push(start_agent(host, config, &agent_name(number), skill, checker).await?);
    }
    Ok(agents)
}

/// Starts one of them.
///
/// # Errors
/// The broker refuses it.
pub(crate) async fn start_agent(
    host: &Observed,
    config: &Config,
    name: &str,
    skill: Option<&str>,
    checker: &Checker,
) -> Result<Agent, BenchError> {
    let agent = described(host, config, name);
    let checker = checker.clone();
    let agent = match (config.take.filter(|take| *take > 1), skill) {
        (Some(take), Some(skill)) => agent.skill(skill, checker.for_several(take)),
        (Some(take), None) => agent.on_message(checker.for_several(take)),
        (None, Some(skill)) => agent.skill(skill, checker),
        (None, None) => agent.on_message(checker),
    };
    agent.start().await.map_err(BenchError::refused("cannot start an agent"))
}

/// The description of an agent: as the library makes it, but for what is asked for.
pub(crate) fn described(host: &Observed, config: &Config, name: &str) -> AgentBuilder {
    let agent = host.agent(name);
    let agent = match config.workers {
        Some(workers) => agent.workers(workers..=workers),
        None => agent,
    };
    // What is not asked for is not set, so that the figure is that of a user who sets nothing.
    if config.tuned { agent.prefetch(config.prefetch) } else { agent }
}

/// How long something that is done in milliseconds may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends agents in order; one that does not come to an end is dropped.
pub(crate) async fn stop_agents(agents: Vec<Agent>) {
    for agent in agents {
        let _ = tokio::time::timeout(PATIENCE, agent.stop()).await;
    }
}

/// When senders stop: at a time, or when this many messages are sent in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) at: Instant,
    pub(crate) count: u64,
}

/// What is sent, to whom, in what pieces.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) targets: Arc<[Destination]>,
    pub(crate) kind: Kind,
    pub(crate) options: PublishOptions,
    pub(crate) batch: u32,
    /// How many agents get each message.
    pub(crate) copies: u32,
}

impl Mix {
    /// What a whole batch takes of the window.
    fn room(&self) -> u32 {
        self.batch * self.copies
    }
}

/// One session that sends in batches.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) session: Session,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Clock,
    pub(crate) mix: Mix,
    /// Batches whose acceptance is not yet seen, in order.
    pieces: VecDeque<Piece>,
    /// What the broker had no room for and wants to be sent again later.
    refused: Vec<Arc<Publish>>,
    /// When it wants that.
    again_at: Instant,
    /// Since when it had room for nothing.
    stuck_since: Option<Instant>,
}

/// A batch that is on its way.
#[derive(Debug)]
struct Piece {
    ticket: Ticket,
    publishes: Vec<Arc<Publish>>,
}

impl Sender {
    /// One that has sent nothing yet.
    pub(crate) fn new(session: Session, ledger: Arc<Ledger>, clock: Clock, mix: Mix) -> Self {
        Self {
            session,
            ledger,
            clock,
            mix,
            pieces: VecDeque::new(),
            refused: Vec::new(),
            again_at: Instant::now(),
            stuck_since: None,
        }
    }

    /// Keeps the flow's window full until it is time to stop, then waits for the acceptances.
    ///
    /// # Errors
    /// The session ends.
    pub(crate) async fn keep_full(&mut self, flow: &Flow, stop: Stop) -> Result<(), BenchError> {
        while Instant::now() < stop.at {
            let Some(permits) = self.permits(flow, stop.at).await? else { break };
            let sent = self.send(stop.count).await?;
            // Settlements give the permits back. Those of a last, smaller batch stay here.
            permits.forget();
            flow.window.add_permits((self.mix.room() - sent) as usize);
            if sent == 0 {
                break;
            }
        }
        self.accepted(0, flow).await
    }

    /// Sends until the count is reached, however many are settled; only acceptances are waited
    /// for, so that at most `pieces` batches are on their way.
    ///
    /// # Errors
    /// The session ends.
    pub(crate) async fn fill(
        &mut self,
        flow: &Flow,
        count: u64,
        pieces: usize,
    ) -> Result<(), BenchError> {
        while self.send(count).await? > 0 {
            self.accepted(pieces, flow).await?;
        }
        self.accepted(0, flow).await
    }

    /// Room for a batch; `None` when the time is up. Meanwhile acceptances are looked at, because
    /// a refused publish is not settled before it is sent again, if ever.
    async fn permits<'f>(
        &mut self,
        flow: &'f Flow,
        until: Instant,
    ) -> Result<Option<SemaphorePermit<'f>>, BenchError> {
        loop {
            self.let_go(flow).await?;
            self.send_again().await?;
            if let Ok(permits) = flow.window.try_acquire_many(self.mix.room()) {
                return Ok(Some(permits));
            }
            // Nothing else may be given up half done: what is sent would be sent once more.
            let wait = flow.window.acquire_many(self.mix.room());
            let wait = tokio::time::timeout_at(until.into(), wait);
            let room = |permits: Result<Result<_, _>, _>| Ok(permits.ok().and_then(Result::ok));
            let Some(piece) = self.pieces.front_mut() else { return room(wait.await) };
            tokio::select! {
                biased;
                permits = wait => return room(permits),
                outcome = &mut piece.ticket => {
                    if let Some(Piece { publishes, .. }) = self.pieces.pop_front() {
                        self.answered(outcome, &publishes, flow)?;
                    }
                }
            }
        }
    }

    /// Looks at the acceptances that are there, without waiting: what is accepted need not be kept,
    /// and with large payloads that is most of the load's memory.
    async fn let_go(&mut self, flow: &Flow) -> Result<(), BenchError> {
        while let Some(piece) = self.pieces.front_mut() {
            let outcome = tokio::select! {
                biased;
                outcome = &mut piece.ticket => outcome,
                () = std::future::ready(()) => break,
            };
            if let Some(Piece { publishes, .. }) = self.pieces.pop_front() {
                self.answered(outcome, &publishes, flow)?;
            }
        }
        Ok(())
    }

    /// Sends one batch. Returns how many deliveries it makes; none when the count is reached.
    async fn send(&mut self, count: u64) -> Result<u32, BenchError> {
        let Mix { targets, kind, options, copies, .. } = &self.mix;
        let copies = u64::from(*copies);
        // Whole messages only.
        let numbers = self.ledger.draw(u64::from(self.mix.room()), count / copies * copies);
        let sent = u32::try_from(numbers.end - numbers.start).unwrap_or(u32::MAX);
        if sent == 0 {
            return Ok(0);
        }
        let (at, size) = (self.clock.nanos(), self.ledger.payload_size());
        let publishes: Vec<Arc<Publish>> = numbers
            .step_by(usize::try_from(copies).unwrap_or(1))
            .map(|number| {
                let payload = self.ledger.stamp(number, at).payload(size);
                let target = usize::try_from(number / copies).unwrap_or(0) % targets.len();
                let envelope = self.session.envelope(*kind, targets[target].clone(), payload);
                Arc::new(Publish { envelope, options: options.clone() })
            })
            .collect();
        self.send_piece(publishes).await?;
        Ok(sent)
    }

    async fn send_piece(&mut self, publishes: Vec<Arc<Publish>>) -> Result<(), BenchError> {
        let ticket = self.session.publish_batch(publishes.iter().cloned()).await;
        let ticket = ticket.map_err(BenchError::refused("cannot send a batch"))?;
        self.pieces.push_back(Piece { ticket, publishes });
        Ok(())
    }

    /// Sends what was refused again, when that is wanted; nothing new is sent before.
    async fn send_again(&mut self) -> Result<(), BenchError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        tokio::time::sleep_until(self.again_at.into()).await;
        let publishes = std::mem::take(&mut self.refused);
        self.send_piece(publishes).await
    }

    /// Waits for acceptances until at most so many batches are without, and nothing is left that
    /// was refused and is to be sent again.
    async fn accepted(&mut self, pieces: usize, flow: &Flow) -> Result<(), BenchError> {
        loop {
            while self.pieces.len() > pieces {
                let Some(Piece { ticket, publishes }) = self.pieces.pop_front() else { break };
                let outcome = tokio::time::timeout(PATIENCE, ticket).await;
                let late = |_| BenchError::Late {
                    what: "the acceptance of a batch".to_owned(),
                    limit: PATIENCE,
                };
                self.answered(outcome.map_err(late)?, &publishes, flow)?;
            }
            if self.refused.is_empty() {
                return Ok(());
            }
            self.send_again().await?;
        }
    }

    /// Takes in the answer to a batch. What is refused with a hint when to come back is kept until
    /// then, unless nothing was accepted for so long that more of it would be no use.
    fn answered(
        &mut self,
        outcome: Result<BatchOutcome, Refusal>,
        publishes: &[Arc<Publish>],
        flow: &Flow,
    ) -> Result<(), BenchError> {
        let outcome = outcome.map_err(BenchError::refused("a batch was not answered"))?;
        let now = Instant::now();
        if outcome.accepted > 0 {
            self.stuck_since = None;
        }
        let is_stuck = self.stuck_since.is_some_and(|since| now - since > PATIENCE);
        let copies = self.mix.copies;
        self.ledger.answered(&outcome, copies);
        for (place, refusal) in outcome.refused {
            match refusal.retry_after {
                Some(hint) if !is_stuck => {
                    self.stuck_since.get_or_insert(now);
                    self.again_at = self.again_at.max(now + hint);
                    self.refused.push(Arc::clone(&publishes[place]));
                    self.ledger.note_again(copies);
                }
                _ => {
                    self.ledger.note_refusals(copies, &refusal);
                    flow.window.add_permits(copies as usize);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;
    use crate::broker::Target;
    use crate::plan::Wanted;
    use crate::stage::Stage;
    use trunkline_broker::{Broker, BrokerConfig};

    /// The workers of an agent with three of them, and the batches in which it took 100 messages
    /// that were sent at once.
    async fn worked(batch: u32) -> (usize, u64) {
        let wanted = Wanted { workers: Some(3), batch: Some(batch), ..Wanted::default() };
        let config = Config::new(Scenario::Inproc, &wanted).unwrap();
        let stage = Stage::new(Scenario::Inproc, config);
        let target = Target::here().await.unwrap();
        let host = stage.host(&target);
        let checker = stage.checker(None, false);
        let agents = start_agents(&host, &stage.config, None, &checker).await.unwrap();
        let session = stage.sessions(&host).await.unwrap().remove(0);
        let to = Destination::agent(&agent_name(0)).unwrap();
        let publish = |number| {
            let payload = stage.ledger.stamp(number, 0).payload(stage.config.payload);
            Publish::new(session.envelope(Kind::Event, to.clone(), payload))
        };
        let publishes: Vec<_> = stage.ledger.draw(100, 100).map(publish).collect();
        session.publish_batch(publishes).await.unwrap().await.unwrap();
        assert!(stage.flow.reach(100, PATIENCE).await);
        let stats = agents[0].stats();
        (stats.workers.len(), stats.workers.iter().map(|worker| worker.batches).sum())
    }

    #[tokio::test]
    async fn what_is_refused_until_later_is_sent_again_then_and_counts_as_sent_once() {
        let wanted = Wanted { batch: Some(10), ..Wanted::default() };
        let config = Config::new(Scenario::Inproc, &wanted).unwrap();
        let stage = Stage::new(Scenario::Inproc, config);
        let mut broker = BrokerConfig::ephemeral();
        broker.engine.inbox_ephemeral = 4;
        broker.engine.full_hint = Duration::from_millis(1);
        let broker = Broker::open(broker).await.unwrap();
        let host = Observed::new(Arc::new(broker), Arc::clone(&stage.flow));
        let sessions = stage.sessions(&host).await.unwrap();
        let mix = Mix {
            targets: Arc::new([Destination::agent(&agent_name(0)).unwrap()]),
            kind: Kind::Event,
            options: PublishOptions::default(),
            batch: 10,
            copies: 1,
        };
        let mut sender = stage.senders(&sessions, &mix).remove(0);
        let come = async {
            // Nobody takes any of them before most were refused.
            while stage.ledger.counts().again < 6 {
                tokio::task::yield_now().await;
            }
            start_agents(&host, &stage.config, None, &stage.checker(None, false)).await
        };
        let (sent, agents) = tokio::join!(sender.fill(&stage.flow, 30, 2), come);
        sent.unwrap();
        assert!(stage.flow.reach(30, PATIENCE).await);
        let counts = stage.ledger.counts();
        assert_eq!((counts.sent, counts.accepted, counts.handled), (30, 30, 30));
        assert_eq!((counts.refused, counts.doubled), (0, 0));
        assert_eq!(agents.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn agents_have_the_workers_that_are_asked_for_and_take_as_many_at_once() {
        // Only what is handed out several at a time counts as a batch.
        assert_eq!(worked(1).await, (3, 0));
        let (workers, batches) = worked(50).await;
        assert_eq!(workers, 3);
        assert!((1..100).contains(&batches), "{batches} batches");
    }
}
