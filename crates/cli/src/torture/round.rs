//! One round: a data directory, a load, some kills, and a verdict.

use super::args::Disk;
use super::evidence::{self, Evidence};
use super::ledger::{Flow, Ledger};
use super::load::{Load, Rest};
use super::process::Process;
use super::promise::{Promise, Tallies};
use super::verdict;
use super::witness::Witness;
use crate::error::CliError;
use fastrand::Rng;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use trunkline_agent::{Host, Session};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::{Durability, TaskState};

/// The longest time for which work flows between a restart and the next kill.
const FLOWING: Duration = Duration::from_millis(300);
/// The longest time after which a broker that is still starting is killed.
const STARTING: Duration = Duration::from_millis(80);
/// One kill in so many hits a broker that is still starting.
const WHILE_STARTING: u32 = 10;
/// At one kill in so many an agent is killed, too.
const WITH_AGENT: u32 = 5;
/// How long work may take to flow again after a restart.
const PATIENCE: Duration = Duration::from_secs(30);
/// Small segments, because every start of a broker prepares two, and what must fit into them. A
/// short grace and a short lease, because killed agents do not come back, and a broker that was
/// restarted gives them a lease's time.
const SETTINGS: [(&str, &str); 5] = [
    ("TRUNKLINE_LOG__SEGMENT_BYTES", "4MiB"),
    ("TRUNKLINE_LOG__MAX_BODY_BYTES", "2MiB"),
    // Little goes to many at once here, and the largest record must fit a small segment.
    ("TRUNKLINE_BROKER__LOGGED_COPIES", "100"),
    ("TRUNKLINE_BROKER__RESUME_GRACE", "1s"),
    ("TRUNKLINE_BROKER__LEASE", "3s"),
];

/// What a round is to do.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What is under the broker.
    pub(super) disk: Disk,
    /// How often it is killed.
    pub(super) kills: u32,
    /// Decides when, and what is sent.
    pub(super) seed: u64,
    /// Most publishes a second.
    pub(super) rate: u32,
    /// Where the broker keeps its data; made by the round.
    pub(super) directory: PathBuf,
    /// Makes serial numbers and keys unlike those of other rounds.
    pub(super) prefix: String,
    /// No more kills after this.
    pub(super) until: Instant,
}

/// What happened.
#[derive(Clone, Default, Debug)]
pub(super) struct Counts {
    /// Kills.
    pub(super) kills: u64,
    /// Kills that hit a broker that was still starting.
    pub(super) kills_while_starting: u64,
    /// Agents that were killed with the broker.
    pub(super) agents_killed: u64,
    /// Publishes accepted.
    pub(super) accepted: u64,
    /// Tasks accepted as `synced`, repeats not counted.
    pub(super) accepted_synced: u64,
    /// Publishes accepted as repeats.
    pub(super) duplicates: u64,
    /// Publishes refused.
    pub(super) refused: u64,
    /// Tasks completed.
    pub(super) completed: u64,
    /// Tasks failed, as planned.
    pub(super) failed: u64,
    /// Dead letters, as planned.
    pub(super) dead_letters: u64,
    /// Deliveries to agents in this process.
    pub(super) deliveries: u64,
    /// Deliveries beyond the first of an entry, by the broker's count.
    pub(super) redeliveries: u64,
    /// Tasks below `synced` that were accepted and are gone, as they may.
    pub(super) gone: u64,
    /// Sessions that came back.
    pub(super) returns: u64,
    /// Deliveries that were held over a kill and settled after it.
    pub(super) kept: u64,
    /// Requests answered.
    pub(super) answered: u64,
    /// Requests whose callers were told that a stop took them.
    pub(super) told_lost: u64,
    /// Events that came to the subscriber.
    pub(super) events: u64,
    /// Log records at the end of the round.
    pub(super) records: u64,
    /// How long each restart took to be ready, recovery included.
    pub(super) recoveries: Vec<Duration>,
}

/// What a round found.
#[derive(Clone, Default, Debug)]
pub(super) struct Found {
    /// How the promises fared.
    pub(super) tallies: Tallies,
    /// What happened.
    pub(super) counts: Counts,
}

impl Counts {
    /// Adds another round's.
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            kills,
            kills_while_starting,
            agents_killed,
            accepted,
            accepted_synced,
            duplicates,
            refused,
            completed,
            failed,
            dead_letters,
            deliveries,
            redeliveries,
            gone,
            returns,
            kept,
            answered,
            told_lost,
            events,
            records,
            recoveries,
        } = other;
        self.kills += kills;
        self.kills_while_starting += kills_while_starting;
        self.agents_killed += agents_killed;
        self.accepted += accepted;
        self.accepted_synced += accepted_synced;
        self.duplicates += duplicates;
        self.refused += refused;
        self.completed += completed;
        self.failed += failed;
        self.dead_letters += dead_letters;
        self.deliveries += deliveries;
        self.redeliveries += redeliveries;
        self.gone += gone;
        self.returns += returns;
        self.kept += kept;
        self.answered += answered;
        self.told_lost += told_lost;
        self.events += events;
        self.records += records;
        self.recoveries.extend(recoveries);
    }
}

/// Runs one round. `killed` is told after every kill.
///
/// # Errors
/// A broker cannot be started or ended by itself, or the load cannot begin.
pub(super) async fn run(
    plan: &Plan,
    address: SocketAddr,
    killed: impl Fn(),
) -> Result<Found, CliError> {
    let mut found = Found::default();
    let mut rng = Rng::with_seed(plan.seed);
    let log = log_path(&plan.directory);
    let url = format!("http://{address}");
    let mut broker = start(plan, address)?;
    broker.ready(address).await?;
    let ledger = Arc::new(Ledger::new());
    let client = Client::new(&ClientConfig {
        // A killed broker is back soon, and the load should be too.
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        ..ClientConfig::new(&url)
    })?;
    let witness = Witness::new(client.clone(), Arc::clone(&ledger));
    let mut load = Load::start(&witness, &url, &plan.prefix, rng.u64(..), plan.rate, &log).await?;
    let mut flow = ledger.flow();
    for kill in 0..plan.kills {
        if Instant::now() > plan.until {
            break;
        }
        let starting = kill > 0 && rng.u32(0..WHILE_STARTING) == 0;
        let delay = if starting { STARTING } else { FLOWING }.mul_f64(rng.f64());
        if starting {
            found.counts.kills_while_starting += 1;
        } else {
            if kill > 0 {
                ready(&mut broker, address, &mut found.counts).await?;
                load.revive()?;
            }
            if !flows(&mut flow, &mut found.tallies).await {
                break;
            }
        }
        // The deliberate moment of the kill.
        tokio::time::sleep(delay).await;
        if rng.u32(0..WITH_AGENT) == 0 {
            let killed = load.kill_executable(rng.usize(..)).await?;
            found.counts.agents_killed += u64::from(killed);
        }
        broker.kill().await?;
        found.counts.kills += 1;
        killed();
        broker = start(plan, address)?;
    }
    ready(&mut broker, address, &mut found.counts).await?;
    load.revive()?;
    flows(&mut flow, &mut found.tallies).await;
    let mut rest = load.rest().await;
    let session = client.session().await?;
    let tasks = verdict::accepted_tasks(&ledger.books());
    let evidence = Evidence::gather(&session, tasks, load.end(&mut rest)).await?;
    verdict::judge(plan.disk, &ledger.books(), &evidence, &mut found.tallies);
    told(&rest, &mut found);
    count(&ledger, &evidence, &mut found.counts);
    drop(session);

    // Once more, with nothing going on: what is on record must be the same after a recovery.
    broker.kill().await?;
    broker = start(plan, address)?;
    broker.ready(address).await?;
    let session: Session = client.session().await?;
    let again = evidence::list(&session).await?;
    verdict::compare(plan.disk, &ledger.books(), &evidence.listed, &again, &mut found.tallies);
    session.close();
    broker.kill().await?;
    Ok(found)
}

/// Where the processes of a round write what they have to say.
pub(super) fn log_path(directory: &Path) -> PathBuf {
    directory.with_extension("log")
}

fn start(plan: &Plan, address: SocketAddr) -> Result<Process, CliError> {
    Process::start("the broker", &log_path(&plan.directory), |command| {
        command.arg("serve").arg("--listen").arg(address.to_string());
        command.arg("--data").arg(&plan.directory).args(plan.disk.flags());
        command.envs(SETTINGS);
    })
}

async fn ready(
    broker: &mut Process,
    address: SocketAddr,
    counts: &mut Counts,
) -> Result<(), CliError> {
    let begun = Instant::now();
    broker.ready(address).await?;
    counts.recoveries.push(begun.elapsed());
    Ok(())
}

/// Waits until work is accepted and settled again.
async fn flows(flow: &mut watch::Receiver<Flow>, tallies: &mut Tallies) -> bool {
    let before = *flow.borrow();
    let again = flow.wait_for(|now| now.accepted > before.accepted && now.settled > before.settled);
    let flows = matches!(tokio::time::timeout(PATIENCE, again).await, Ok(Ok(_)));
    tallies.check(Promise::ComesBack, flows, || {
        format!("no work was accepted and settled within {PATIENCE:?} of a restart")
    });
    flows
}

/// Takes note of what the load saw by itself.
fn told(rest: &Rest, found: &mut Found) {
    let Rest { asked, heard, stuck } = rest;
    found.tallies.held(Promise::AllAnswered, asked.answered + asked.lost);
    for wrong in asked.wrong.iter().chain(stuck) {
        found.tallies.check(Promise::AllAnswered, false, || wrong.clone());
    }
    found.tallies.held(Promise::PayloadIntact, heard.events);
    for _ in 0..heard.altered {
        let altered = || "an event came with another text".to_owned();
        found.tallies.check(Promise::PayloadIntact, false, altered);
    }
    found.counts.answered = asked.answered;
    found.counts.told_lost = asked.lost;
    found.counts.events = heard.events;
}

fn count(ledger: &Ledger, evidence: &Evidence, counts: &mut Counts) {
    let books = ledger.books();
    let accepted = books.sent.values().filter(|sent| matches!(sent.answer, Some(Ok(_))));
    counts.accepted = accepted.count() as u64;
    counts.refused =
        books.sent.values().filter(|sent| matches!(sent.answer, Some(Err(_)))).count() as u64;
    for id in verdict::accepted_tasks(&books) {
        let level = books.sent.get(&id).map(|sent| sent.publish.durability());
        counts.accepted_synced += u64::from(level == Some(Durability::Synced));
        let gone = level != Some(Durability::Synced) && !evidence.listed.contains_key(&id);
        counts.gone += u64::from(gone);
    }
    counts.duplicates = books.duplicates;
    counts.deliveries = books.deliveries.len() as u64;
    counts.returns = books.returns;
    counts.kept = books.kept;
    let of = |state| evidence.listed.values().filter(|task| task.state == state).count() as u64;
    counts.completed = of(TaskState::Completed);
    counts.failed = of(TaskState::Failed);
    counts.dead_letters = evidence.stats.dead_letters;
    counts.redeliveries = evidence.stats.counters.redeliveries;
    counts.records = evidence.stats.log.map_or(0, |log| log.recovered + log.records);
}
