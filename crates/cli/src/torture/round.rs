//! One round: a data directory, a load, what goes wrong, and a verdict.

use super::args::Disk;
use super::counts::{Count, Counts};
use super::damage;
use super::evidence::Evidence;
use super::fault::{Fault, Faults};
use super::ledger::Ledger;
use super::load::{Load, Rest};
use super::process::Process;
use super::promise::{Promise, Tallies};
use super::proxy::Proxy;
use super::rot;
use super::script;
use super::site::{Site, client, list, log_path, room_path, start};
use super::strike::Stage;
use super::verdict;
use super::witness::Witness;
use crate::error::CliError;
use crate::output::units::now;
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trunkline_agent::{Host, Session};
use trunkline_client::Client;
use trunkline_types::{Durability, MessageId, TaskSnapshot, TaskState};

/// The large tasks that are sent before each kill where bounds are small: about 1 MiB.
const FATTER: usize = 4;
/// How long a broker that is about to be killed is asked for a figure.
const ASKED: Duration = Duration::from_secs(1);
/// The most tasks that are sent to close a segment: more than three segments full.
const FILLERS: usize = 64;
/// What a round is to do.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What is under the broker.
    pub(super) disk: Disk,
    /// How many steps there are, each of which ends in a kill if there are kills.
    pub(super) steps: u32,
    /// What goes wrong.
    pub(super) faults: Faults,
    /// Decides when, and what is sent.
    pub(super) seed: u64,
    /// Most publishes a second.
    pub(super) rate: u32,
    /// Settings of the broker.
    pub(super) config: Option<PathBuf>,
    /// Where the broker keeps its data; made by the round.
    pub(super) directory: PathBuf,
    /// Makes serial numbers and keys unlike those of other rounds.
    pub(super) prefix: String,
    /// Whether the broker has a network of its own.
    pub(super) apart: bool,
    /// Whether the broker has small bounds, so that it cleans and spills.
    pub(super) small: bool,
    /// No more steps after this.
    pub(super) until: Instant,
}

/// What a round found.
#[derive(Clone, Default, Debug)]
pub(super) struct Found {
    /// How the promises fared.
    pub(super) tallies: Tallies,
    /// What happened.
    pub(super) counts: Counts,
    /// How often each fault struck.
    pub(super) faults: BTreeMap<Fault, u64>,
    /// Steps that were made.
    pub(super) steps: u32,
}

impl Found {
    /// Adds another round's.
    pub(super) fn add(&mut self, other: Self) {
        let Self { tallies, counts, faults, steps } = other;
        self.tallies.add(tallies);
        self.counts.add(counts);
        for (fault, times) in faults {
            *self.faults.entry(fault).or_default() += times;
        }
        self.steps += steps;
    }

    /// How often the broker was killed under load.
    pub(super) fn kills(&self) -> u64 {
        [Fault::Kill, Fault::Unflushed].iter().filter_map(|fault| self.faults.get(fault)).sum()
    }
}

/// Runs one round. `progress` is told what is being done, and whether that ends a step.
///
/// # Errors
/// A broker cannot be started or ended by itself, or the load cannot begin.
pub(super) async fn run(
    plan: &Plan,
    address: SocketAddr,
    progress: impl Fn(Fault, bool),
) -> Result<Found, CliError> {
    let mut rng = Rng::with_seed(plan.seed);
    let mut found = Found::default();
    let site = &Site::new(address, plan.apart)?;
    found.counts.more(Count::Apart, u64::from(plan.apart));
    let mut stage = set(plan, site, &mut rng).await?;
    let script = script::draw(&mut rng, plan.steps, plan.faults);
    play(plan, site, script, &mut stage, &mut found, progress).await?;
    if plan.faults.has(Fault::BitFlip) {
        close_segment(plan, &mut stage).await?;
    }
    let client = client(site.address)?;
    let Left { mut broker, ledger, listed } = judge(plan, &client, stage, &mut found).await?;

    // It keeps what it has from here on.
    let plan = &Plan { small: false, ..plan.clone() };
    // Once more, with nothing going on: what is on record must be the same after a recovery.
    broker.kill().await?;
    broker = start(plan, site)?;
    broker.ready(site.address).await?;
    let again = list(&client).await?;
    verdict::compare(plan.disk, &ledger.books(), &listed, &again, &mut found.tallies);
    let again = if plan.faults.has(Fault::IndexFlip) {
        rot::flip_index(plan, site, &mut broker, again, &mut rng, &mut found).await?
    } else {
        again
    };
    if plan.faults.has(Fault::BitFlip) {
        rot::flip(plan, site, broker, &again, &mut rng, &mut found).await?;
    } else {
        broker.kill().await?;
    }
    Ok(found)
}

/// Starts a broker and a load on it.
async fn set(plan: &Plan, site: &Site, rng: &mut Rng) -> Result<Stage, CliError> {
    let room = room_path(plan);
    if let Some(room) = &room {
        std::fs::write(room, u64::MAX.to_string())?;
    }
    let mut broker = start(plan, site)?;
    broker.ready(site.address).await?;
    let disturbed = plan.faults.has_any(&Fault::NETWORK);
    let proxy = if disturbed { Some(site.proxy().await?) } else { None };
    let way = proxy.as_ref().map_or(site.address, Proxy::address);
    let ledger = Arc::new(Ledger::new());
    let witness = Witness::new(client(way)?, Arc::clone(&ledger));
    let (url, log) = (format!("http://{way}"), log_path(&plan.directory));
    let load = Load::start(&witness, &url, &plan.prefix, rng.u64(..), plan.rate, &log).await?;
    Ok(Stage::new(broker, load, ledger, (proxy, site.link.clone()), room))
}

/// Plays a script, as far as there is time.
async fn play(
    plan: &Plan,
    site: &Site,
    script: Vec<script::Step>,
    stage: &mut Stage,
    found: &mut Found,
    progress: impl Fn(Fault, bool),
) -> Result<(), CliError> {
    let fault = plan.disk.fault();
    // The kill after which work has not been seen to flow again.
    let mut killed = None;
    let mut flows = stage.flows(None).await;
    let last = script.len().saturating_sub(1);
    // Where the small bounds are to have been felt: before the last kill of a broker at work.
    let at_work = |step: &script::Step| step.kill.is_some_and(|kill| !kill.starting);
    let felt = if plan.small { script.iter().rposition(at_work) } else { None };
    for (number, step) in script.into_iter().enumerate() {
        if Instant::now() > plan.until || !flows {
            break;
        }
        let starting = step.kill.is_some_and(|kill| kill.starting);
        if killed.is_some() && !starting {
            ready(stage, site.address, &mut found.counts).await?;
            flows = stage.flows(Some(fault)).await;
            stage.end(killed.take());
        }
        for strike in step.strikes {
            progress(strike.fault(), false);
            flows = flows && stage.strike(strike).await?;
        }
        stage.lift(Instant::now())?;
        if let Some(kill) = step.kill {
            progress(fault, false);
            if plan.small && !starting {
                fatten(stage).await?;
                found.counts.more(Count::ReadBack, read_back(site).await);
            }
            if felt == Some(number) {
                feel(plan, site, stage, &mut found.counts).await?;
            }
            // The deliberate moment of the kill.
            tokio::time::sleep(kill.after).await;
            if let Some(number) = kill.with_agent {
                stage.kill_with(number).await?;
            }
            found.counts.more(Count::WhileStarting, u64::from(starting));
            stage.end(killed.take());
            killed = Some(stage.history.begin(fault, now()));
            stage.broker.kill().await?;
            // From here on nothing may be cleaned away that is to be damaged.
            let small = plan.small && number < last;
            stage.broker = start(&Plan { small, ..plan.clone() }, site)?;
        }
        found.steps += 1;
        progress(fault, true);
    }
    if killed.is_some() {
        ready(stage, site.address, &mut found.counts).await?;
        stage.flows(Some(fault)).await;
        stage.end(killed.take());
    }
    stage.lift_all().await?;
    stage.load.revive()
}

/// Sends large tasks, so that the log has what can be cleaned and payloads leave memory.
async fn fatten(stage: &mut Stage) -> Result<(), CliError> {
    for _ in 0..FATTER {
        // One that is refused makes nothing fatter, and the next one is tried.
        let _ = stage.load.fill().await?;
    }
    Ok(())
}

/// Sends large tasks until the broker has cleaned a segment and read a payload back, and takes note
/// if it has not.
async fn feel(
    plan: &Plan,
    site: &Site,
    stage: &mut Stage,
    counts: &mut Counts,
) -> Result<(), CliError> {
    counts.more(Count::Small, 1);
    let (mut cleaned, mut read) = (0, counts.of(Count::ReadBack));
    for _ in 0..FILLERS {
        cleaned = damage::given_up(&plan.directory)?;
        if read == 0 {
            read = read_back(site).await;
            counts.more(Count::ReadBack, read);
        }
        if cleaned > 0 && read > 0 {
            break;
        }
        // One that is refused fills nothing, and the next one is tried.
        let _ = stage.load.fill().await?;
    }
    counts.more(Count::Uncleaned, u64::from(cleaned == 0));
    counts.more(Count::Unspilled, u64::from(read == 0));
    Ok(())
}

/// How many payloads the broker has read back from the log since its start.
async fn read_back(site: &Site) -> u64 {
    let asked = async {
        let session: Session = client(site.address).ok()?.session().await.ok()?;
        let stats = session.stats().await.ok();
        session.close();
        stats?.log.map(|log| log.payload_loads)
    };
    // Only a figure: what happens to the broker meanwhile is judged elsewhere.
    tokio::time::timeout(ASKED, asked).await.ok().flatten().unwrap_or_default()
}

/// Sends large tasks until there is a closed segment.
async fn close_segment(plan: &Plan, stage: &mut Stage) -> Result<(), CliError> {
    for _ in 0..FILLERS {
        if damage::has_closed(&plan.directory)? {
            break;
        }
        // One that is refused fills nothing, and the next one is tried.
        let _ = stage.load.fill().await?;
    }
    Ok(())
}

/// What there is of a round after its load has gone.
struct Left {
    broker: Process,
    ledger: Arc<Ledger>,
    /// Every task on record.
    listed: HashMap<MessageId, TaskSnapshot>,
}

/// Brings the load to rest, follows everything to its end and compares.
async fn judge(
    plan: &Plan,
    client: &Client,
    stage: Stage,
    found: &mut Found,
) -> Result<Left, CliError> {
    // The proxy lives until the load has ended.
    let Stage { broker, mut load, ledger, history, tallies, proxy, .. } = stage;
    found.tallies.add(tallies);
    let mut rest = load.rest().await;
    let session = client.session().await?;
    let tasks = verdict::accepted_tasks(&ledger.books());
    let evidence = Evidence::gather(&session, tasks, load.end(&mut rest)).await?;
    drop(proxy);
    verdict::judge(plan.disk, &history, &ledger.books(), &evidence, &mut found.tallies);
    told(&rest, history.all(), found);
    found.counts.more(Count::Cleaned, damage::given_up(&plan.directory)?);
    count(&ledger, &evidence, &mut found.counts);
    found.faults = history.counts();
    Ok(Left { broker, ledger, listed: evidence.listed })
}

async fn ready(
    stage: &mut Stage,
    address: SocketAddr,
    counts: &mut Counts,
) -> Result<(), CliError> {
    let begun = Instant::now();
    stage.broker.ready(address).await?;
    counts.recoveries.push(begun.elapsed());
    stage.load.revive()
}

/// Takes note of what the load saw by itself.
fn told(rest: &Rest, met: Faults, found: &mut Found) {
    let Rest { asked, heard, stuck } = rest;
    found.tallies.held(Promise::AllAnswered, Faults::NONE, asked.answered + asked.lost);
    for wrong in asked.wrong.iter().chain(stuck) {
        found.tallies.check(Promise::AllAnswered, met, false, || wrong.clone());
    }
    found.tallies.held(Promise::PayloadIntact, Faults::NONE, heard.events);
    for _ in 0..heard.altered {
        let altered = || "an event came with another text".to_owned();
        found.tallies.check(Promise::PayloadIntact, met, false, altered);
    }
    found.counts.more(Count::Answered, asked.answered);
    found.counts.more(Count::ToldLost, asked.lost);
    found.counts.more(Count::Events, heard.events);
}

fn count(ledger: &Ledger, evidence: &Evidence, counts: &mut Counts) {
    let books = ledger.books();
    for sent in books.sent.values() {
        let count = match sent.answer {
            Some(Ok(_)) => Count::Accepted,
            Some(Err(_)) => Count::Refused,
            None => continue,
        };
        counts.more(count, 1);
    }
    for id in verdict::accepted_tasks(&books) {
        let level = books.sent.get(&id).map(|sent| sent.publish.durability());
        if level == Some(Durability::Synced) {
            counts.more(Count::AcceptedSynced, 1);
        } else if !evidence.listed.contains_key(&id) {
            counts.more(Count::Gone, 1);
        }
    }
    let of = |state| evidence.listed.values().filter(|task| task.state == state).count() as u64;
    let stats = &evidence.stats;
    for (count, by) in [
        (Count::RefusedFull, ledger.flow().borrow().full),
        (Count::Duplicates, books.duplicates),
        (Count::Deliveries, books.deliveries.len() as u64),
        (Count::Returns, books.returns),
        (Count::Kept, books.kept),
        (Count::Completed, of(TaskState::Completed)),
        (Count::Failed, of(TaskState::Failed)),
        (Count::DeadLetters, stats.dead_letters),
        (Count::Redeliveries, stats.counters.redeliveries),
        (Count::Records, stats.log.map_or(0, |log| log.recovered + log.records)),
    ] {
        counts.more(count, by);
    }
}
