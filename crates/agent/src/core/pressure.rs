//! Inboxes under pressure: how fast the session may send to each, and whose turn it is.
//!
//! A publish waits its turn before it gets its number, so that what goes to one inbox keeps the
//! order in which its senders began to wait. While no inbox is under pressure a sender pays for
//! one look at a flag.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;
use trunkline_types::session::Pressure;
use trunkline_types::{Destination, InboxAddress};

/// Most inboxes whose pressure is kept. A broker that tells of more is heard when others are over.
const MOST: usize = 4096;

/// The slowest pace that is obeyed.
const SLOWEST: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Pressures {
    /// Whether senders slow down; told to readers either way.
    obey: bool,
    /// Whether there is anything in `inboxes`.
    any: AtomicBool,
    /// Short and only taken under pressure.
    inboxes: Mutex<HashMap<InboxAddress, Arc<Gauge>, foldhash::fast::RandomState>>,
}

/// One inbox under pressure, or one that senders still wait for.
struct Gauge {
    /// What the broker said last; `None` once the pressure is over.
    told: watch::Sender<Option<Pressure>>,
    /// Held by the sender whose turn it is until its publish has a number. Fair, so that the
    /// order is that of the senders.
    turn: Arc<tokio::sync::Mutex<Sent>>,
}

/// When something was sent to the inbox, and how many publishes that were; `None` before.
type Sent = Option<(Instant, u32)>;

/// A sender's turn at every inbox that its publish goes to.
pub(crate) struct Turn<'a> {
    pressures: &'a Pressures,
    gauges: Vec<(Arc<Gauge>, u32)>,
    held: Vec<OwnedMutexGuard<Sent>>,
}

impl Pressures {
    pub(super) fn new(obey: bool) -> Self {
        Self { obey, any: AtomicBool::new(false), inboxes: Mutex::default() }
    }

    /// Whether senders slow down.
    pub(super) fn obeyed(&self) -> bool {
        self.obey
    }

    /// The pressure on what a destination names: the slowest pace, if it names several.
    pub(crate) fn of(&self, to: &Destination) -> Option<Pressure> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let inboxes = self.inboxes.lock();
        let told = named(to)
            .into_iter()
            .filter_map(|inbox| inboxes.get(&inbox).and_then(|gauge| gauge.told.borrow().clone()));
        told.max_by_key(|pressure| pressure.pace)
    }

    /// Waits until it is a sender's turn at every inbox to which some publishes go.
    pub(crate) async fn turn<'a>(
        &self,
        destinations: impl IntoIterator<Item = &'a Destination>,
    ) -> Turn<'_> {
        let mut turn = Turn { pressures: self, gauges: Vec::new(), held: Vec::new() };
        if !self.obey || !self.any.load(Ordering::Acquire) {
            return turn;
        }
        turn.gauges = self.gauges(destinations);
        for (gauge, _) in &turn.gauges {
            turn.held.push(gauge.wait().await);
        }
        turn
    }

    /// The inboxes under pressure among those that are named, with how often each is. In order of
    /// their addresses, so that two senders never wait for each other.
    fn gauges<'a>(
        &self,
        destinations: impl IntoIterator<Item = &'a Destination>,
    ) -> Vec<(Arc<Gauge>, u32)> {
        let inboxes = self.inboxes.lock();
        let mut counts: BTreeMap<InboxAddress, u32> = BTreeMap::new();
        for inbox in destinations.into_iter().flat_map(named) {
            if inboxes.contains_key(&inbox) {
                *counts.entry(inbox).or_default() += 1;
            }
        }
        let counts = counts.into_iter();
        counts
            .filter_map(|(inbox, count)| Some((Arc::clone(inboxes.get(&inbox)?), count)))
            .collect()
    }

    /// The broker tells how full an inbox is.
    pub(super) fn tell(&self, pressure: Pressure) {
        let mut inboxes = self.inboxes.lock();
        let over = pressure.pace.is_zero();
        match inboxes.get(&pressure.inbox) {
            Some(gauge) => {
                gauge.told.send_replace((!over).then_some(pressure));
            }
            None if over => {}
            None if inboxes.len() >= MOST => {
                tracing::debug!(inbox = %pressure.inbox, "too many inboxes are under pressure");
            }
            None => {
                let inbox = pressure.inbox.clone();
                let told = watch::Sender::new(Some(pressure));
                inboxes.insert(inbox, Arc::new(Gauge { told, turn: Arc::default() }));
                self.any.store(true, Ordering::Release);
            }
        }
        if over {
            self.tidy(&mut inboxes);
        }
    }

    /// What was told holds no longer: the broker tells it again, or the session has ended.
    pub(super) fn forget(&self) {
        let mut inboxes = self.inboxes.lock();
        for gauge in inboxes.values() {
            gauge.told.send_replace(None);
        }
        self.tidy(&mut inboxes);
    }

    /// Forgets the inboxes whose pressure is over and for which nobody waits. Forgotten earlier,
    /// new senders would overtake those who do.
    fn tidy(&self, inboxes: &mut HashMap<InboxAddress, Arc<Gauge>, foldhash::fast::RandomState>) {
        inboxes.retain(|_, gauge| gauge.told.borrow().is_some() || Arc::strong_count(gauge) > 1);
        self.any.store(!inboxes.is_empty(), Ordering::Release);
    }
}

impl Gauge {
    /// Waits for the senders before, and then until the pace allows the next publish.
    async fn wait(&self) -> OwnedMutexGuard<Sent> {
        let sent = Arc::clone(&self.turn).lock_owned().await;
        let mut told = self.told.subscribe();
        loop {
            let pace = told.borrow_and_update().as_ref().map(|pressure| pressure.pace);
            let (Some(pace), Some((at, count))) = (pace, *sent) else { return sent };
            let due = at + pace.min(SLOWEST).saturating_mul(count).min(SLOWEST * 60);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => return sent,
                // Never an error, because the gauge has the sender.
                _ = told.changed() => {}
            }
        }
    }
}

impl Turn<'_> {
    /// What waited for its turn has its number now.
    pub(crate) fn sent(mut self) {
        for (sent, (_, count)) in self.held.iter_mut().zip(&self.gauges) {
            **sent = Some((Instant::now(), *count));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let over = self.gauges.iter().any(|(gauge, _)| gauge.told.borrow().is_none());
        self.held.clear();
        self.gauges.clear();
        if over {
            self.pressures.tidy(&mut self.pressures.inboxes.lock());
        }
    }
}

/// The inboxes that a destination names. Those behind a topic or all are the broker's to know.
fn named(to: &Destination) -> Vec<InboxAddress> {
    match to {
        Destination::Agent(id) => vec![InboxAddress::Agent(id.clone())],
        Destination::Skill(name) => vec![InboxAddress::Skill(name.clone())],
        Destination::Agents(ids) => ids.iter().cloned().map(InboxAddress::Agent).collect(),
        Destination::Topic(_) | Destination::All => Vec::new(),
    }
}
