//! `failure`: worker processes are killed under load. Half of the agents are in a process of their own,
//! which SIGKILL ends with work in its hands and settlements on their way. The figure is the time from
//! then until everything that was accepted before is done by the others; nothing may be lost.
//!
//! What the killed had settled without hearing of it is known by the broker's own count alone. A task
//! whose settlement was lost in the kill is handled once more by right: the only ones that may be, and
//! no more of them than were not settled.

use super::open::Talk;
use crate::broker::Target;
use crate::clock::Clock;
use crate::crew::{Crew, Told};
use crate::load::{Checker, SKILL, agent_name, described, latency, stop_agents};
use crate::observe::Observed;
use crate::pace::{Pace, Wait};
use crate::payload::Stamp;
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, progress};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trunkline_agent::{Agent, Handler, HandlerFuture, Task};
use trunkline_types::{Destination, Kind, PublishOptions};

/// Most seconds until everything that was there when they were killed is done. For five of them
/// the broker keeps the place of who was cut off, as its `resume_grace` says when nothing is said.
const RECOVERED: f64 = 10.0;
/// How long that may take before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_millis(10);

/// An agent that lives.
struct Living {
    checker: Checker,
    before: Arc<Before>,
}

/// What was sent before the kill.
#[derive(Debug, Default)]
struct Before {
    /// Below which its numbers are; none of them before there was a kill.
    limit: AtomicU64,
    /// When those who live had the last of it, on the load's clock.
    last: AtomicU64,
}

impl Before {
    fn note(&self, payload: &[u8], clock: Clock) {
        let limit = self.limit.load(Ordering::SeqCst);
        if Stamp::peek(payload).is_some_and(|stamp| stamp.number < limit) {
            self.last.fetch_max(clock.nanos(), Ordering::SeqCst);
        }
    }
}

impl Handler for Living {
    fn handle(&self, task: Task) -> HandlerFuture {
        self.before.note(&task.payload().data, self.checker.clock);
        self.checker.handle(task)
    }
}

/// What became of the tasks that the killed had handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Account {
    handled: u64,
    /// Settled, and confirmed to them.
    heard: u64,
    /// Settled by the broker's count without their hearing of it.
    unheard: u64,
    /// Handled again by others.
    again: u64,
}

impl Account {
    /// `settled` is the broker's count, `lived` what of it was confirmed to those who live.
    fn of(told: &Told, again: u64, settled: u64, lived: u64) -> Self {
        let unheard = settled.saturating_sub(lived + told.confirmed);
        Self { handled: told.whole.len() as u64, heard: told.confirmed, unheard, again }
    }

    /// What does not agree, with how many tasks the broker delivered again. Empty when all is well.
    fn disagreements(&self, redeliveries: u64) -> Vec<String> {
        let Self { handled, heard, unheard, again } = *self;
        let mut found = Vec::new();
        if handled != heard + unheard + again {
            found.push(format!(
                "handled by the killed {handled}, of these settled and confirmed to them {heard}, settled \
                 by the broker's count without that {unheard}, handled again by others {again}"
            ));
        }
        if again > redeliveries {
            found.push(format!(
                "handled by the killed and again by others {again}, delivered again by the broker's count \
                 {redeliveries}"
            ));
        }
        found
    }
}

/// The fewest tasks for each agent: twice what those to be killed are to hold, of what they get.
const FOR_AN_AGENT: u64 = 8;

/// What the kill came to.
#[derive(Clone, Copy, Debug)]
struct Killed {
    account: Account,
    /// Until all that was sent before was done.
    recovery: Option<Duration>,
    /// What their process had used of the processor since the phase began.
    cpu: Option<f64>,
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    check(
        stage.config.rate.unwrap_or(1),
        stage.config.seconds.unwrap_or(1.0),
        stage.config.agents,
    )?;
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let target = stage.durable(Some(data.path())).await?;
    let host = stage.host(&target);
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let before = Arc::new(Before::default());
    let crew = Crew::start(&stage, target.url()?).await?;
    let mut living = Vec::new();
    for number in (0..stage.config.agents).step_by(2) {
        let handler = Living { checker: checker.clone(), before: Arc::clone(&before) };
        living.push(alive(&host, &stage, &agent_name(number), handler).await?);
    }
    let talk = Talk {
        sessions: stage.sessions(&host).await?,
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Request,
        options: PublishOptions { task: true, ..PublishOptions::default() },
    };
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let agents = crew.agents();
    let mut killed = None;
    let mut phase = {
        let _progress = stage.progress("by those that live");
        stage
            .phase(&target, async |_: &Meter<'_>| {
                let pace = Pace::new(stage.clock, stage.config.rate.unwrap_or(1), Wait::Exact);
                let sending = tokio::spawn(send(talk, pace, pace.count(seconds))?);
                tokio::time::sleep(Duration::from_secs_f64(seconds / 2.0)).await;
                let (at, cpu, told) = kill(&stage, crew, &before).await?;
                sending.await.map_err(|error| BenchError::Load(error.to_string()))??;
                let settled = all_settled(&stage, &target).await?;
                let again = stage.ledger.join(told.whole.iter().copied(), &told.arrived);
                let account = Account::of(&told, again, settled, stage.flow.confirmed());
                stage.flow.refuse(told.refused);
                stage.flow.confirm(account.heard + account.unheard);
                let last = before.last.load(Ordering::SeqCst);
                let recovery = last.checked_sub(at).map(Duration::from_nanos);
                killed = Some(Killed { account, recovery, cpu });
                Ok(())
            })
            .await?
    };
    let killed = killed.ok_or_else(|| BenchError::Load("nobody was killed".into()))?;
    phase.cpu.load = phase.cpu.load.zip(killed.cpu).map(|(ours, theirs)| ours + theirs);
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures {
        rate: "tasks completed, synced",
        latency: "due to be sent until handled by those that live",
    };
    let done = phase.counts.confirmed;
    let mut report = stage.report(&target, &phase, done, spread, measures);
    stop_agents(living).await;
    let in_hand = phase.broker.redeliveries;
    progress::tell(&format!("  {agents} agents were killed, with {in_hand} tasks in hand"));
    let found = killed.account.disagreements(in_hand);
    if !found.is_empty() {
        report.disagreements.extend(found);
        report.pass = false;
        report.rate_per_s = None;
        report.latency_us = None;
    }
    let ended = phase.broker.settled + phase.broker.dead_lettered + phase.broker.expired;
    report.figures = vec![
        Figure::count("messages lost", phase.counts.sent.saturating_sub(ended)),
        Figure::count("tasks in hand of the killed", in_hand),
        Figure::count("of these handled, but not settled", killed.account.again),
        Figure::count("settled by the killed without their hearing of it", killed.account.unheard),
    ];
    let recovery = killed.recovery.filter(|_| in_hand > 0).map(|span| span.as_secs_f64());
    let what = "seconds from the kill until all accepted before it was done";
    Ok(report.with_goals(vec![Goal::below(what, recovery, RECOVERED)]))
}

async fn alive(
    host: &Observed,
    stage: &Stage,
    name: &str,
    handler: Living,
) -> Result<Agent, BenchError> {
    let agent = described(host, &stage.config, name).skill(SKILL, handler).start().await;
    agent.map_err(BenchError::refused("cannot start an agent"))
}

/// Tasks to the skill, by the clock.
fn send(
    talk: Talk,
    pace: Pace,
    count: u64,
) -> Result<impl Future<Output = Result<(), BenchError>>, BenchError> {
    let to = Destination::skill(SKILL).map_err(|error| BenchError::Load(error.to_string()))?;
    let sessions = talk.sessions.len();
    let choose = move |number: u64| (usize::try_from(number).unwrap_or(0) % sessions, to.clone());
    Ok(talk.send(pace, count, choose))
}

/// Kills the process when it has work in its hands. Returns when that was, what it had used of the
/// processor, and what it had said.
async fn kill(
    stage: &Stage,
    mut crew: Crew,
    before: &Before,
) -> Result<(u64, Option<f64>, Told), BenchError> {
    crew.hold().await?;
    let cpu = crew.cpu_seconds();
    before.limit.store(stage.ledger.sent(), Ordering::SeqCst);
    let at = stage.clock.nanos();
    Ok((at, cpu, crew.kill().await?))
}

/// Waits until the broker has nothing left and those who live have heard of all that they settled; what
/// is not so by then is missing in the counts. Returns how many are settled by the broker's count.
async fn all_settled(stage: &Stage, target: &Target) -> Result<u64, BenchError> {
    let late = Instant::now() + PATIENCE;
    loop {
        let stats = target.stats().await?;
        let is_quiet =
            stats.gauges.total() == 0 && stage.flow.confirmed() == stage.ledger.counts().handled;
        if is_quiet || Instant::now() > late {
            return Ok(stats.counters.settled);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Refuses so few tasks that those to be killed would not get as many as they are to hold: half of
/// all come after they are asked to, they get half of these and hold every second.
fn check(rate: u32, seconds: f64, agents: u32) -> Result<(), BenchError> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounds down, above 0"
    )]
    let tasks = (f64::from(rate) * seconds) as u64;
    let least = u64::from(agents) * FOR_AN_AGENT;
    if tasks < least {
        return Err(BenchError::TooFewTasks { tasks, agents, least });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_few_tasks_that_the_killed_would_hold_none_are_refused() {
        assert!(check(1_000, 5.0, 10).is_ok());
        assert!(check(80, 1.0, 10).is_ok());
        let told = check(10, 1.0, 10).unwrap_err().to_string();
        assert!(told.contains("10 tasks") && told.contains("want 80 at least"), "{told}");
        assert!(check(1_000, 1.0, 1_000).is_err());
    }
    use crate::ledger::{Counts, Ledger, disagreements};
    use trunkline_types::{Counters, Gauges};

    const SIZE: usize = 64;

    /// Ten tasks were sent. The killed had some of them and heard of so many settlements, others had
    /// some, and the broker counts as settled what it does, having delivered so many again: all that
    /// disagrees.
    fn after(killed: &[u64], heard: u64, others: &[u64], settled: u64, again: u64) -> Vec<String> {
        let ledger = Ledger::new(1, SIZE);
        for number in ledger.draw(10, 10) {
            ledger.note_accepted(1);
            let payload = ledger.stamp(number, 0).payload(SIZE);
            let times = others.iter().filter(|other| **other == number).count();
            for _ in 0..times {
                ledger.see(&payload, 0);
            }
        }
        let mut told = Told { confirmed: heard, ..Told::default() };
        for number in killed {
            told.arrived.doubled += u64::from(!told.whole.insert(*number));
        }
        let both = ledger.join(told.whole.iter().copied(), &told.arrived);
        let account = Account::of(&told, both, settled, others.len() as u64);
        let confirmed = others.len() as u64 + account.heard + account.unheard;
        let counts = Counts { confirmed, ..ledger.counts() };
        let broker = Counters { accepted: 10, settled, redeliveries: again, ..Counters::default() };
        let mut found = disagreements(&counts, &broker, &Gauges::default(), None);
        found.extend(account.disagreements(again));
        found
    }

    #[test]
    fn whatever_a_kill_does_to_settlements_is_accounted_for() {
        let none: [String; 0] = [];
        // All heard of; one of them held, and done by others.
        assert_eq!(after(&[0, 1, 2], 3, &[3, 4, 5, 6, 7, 8, 9], 10, 1), none);
        // One settled without the killed hearing of it.
        assert_eq!(after(&[0, 1, 2], 2, &[3, 4, 5, 6, 7, 8, 9], 10, 0), none);
        // One whose settlement was lost, and that is handled again.
        assert_eq!(after(&[0, 1, 2], 2, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 1), none);
        // Both.
        assert_eq!(after(&[0, 1, 2], 1, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 4), none);
    }

    #[test]
    fn what_no_kill_does_is_damage() {
        // Settled, and handled again all the same.
        let found = after(&[0, 1, 2], 3, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 1);
        assert!(found.iter().any(|it| it.starts_with("handled by the killed 3,")), "{found:?}");
        // Handled twice by others.
        let found = after(&[0, 1, 2], 2, &[2, 3, 3, 4, 5, 6, 7, 8, 9], 10, 1);
        assert!(found.iter().any(|it| it.ends_with("reached a handler twice")), "{found:?}");
        // Handled twice by the killed.
        let found = after(&[0, 1, 1], 2, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 0);
        assert!(found.iter().any(|it| it.ends_with("reached a handler twice")), "{found:?}");
        // Handled by both, and the broker delivered nothing again.
        let found = after(&[0, 1, 2], 2, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 0);
        assert_eq!(
            found,
            [
                "handled by the killed and again by others 1, delivered again by the broker's count 0"
            ]
        );
        // Never sent.
        let found = after(&[0, 1, 10], 3, &[2, 3, 4, 5, 6, 7, 8, 9], 10, 0);
        assert!(found.iter().any(|it| it.ends_with("never sent")), "{found:?}");
        // Lost: settled by nobody.
        let found = after(&[0, 1], 2, &[3, 4, 5, 6, 7, 8, 9], 9, 0);
        assert_eq!(found[0], "sent 10, settled, dead and expired together 9");
    }

    #[test]
    fn only_what_was_sent_before_the_kill_is_waited_for() {
        let (before, clock) = (Before::default(), Clock::new());
        let note = |number| {
            let payload = Stamp { run: 1, number, at: 0 }.payload(SIZE);
            before.note(&payload, clock);
            before.last.load(Ordering::SeqCst)
        };
        assert_eq!(note(3), 0, "nobody was killed yet");
        before.limit.store(5, Ordering::SeqCst);
        assert_eq!(note(5), 0);
        assert!(note(4) > 0);
    }
}
