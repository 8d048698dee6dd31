//! What is done to a running broker and its load, and what must be true right after.

use super::fault::{Fault, Faults, History, Open};
use super::ledger::{Flow, Ledger};
use super::link::Link;
use super::load::Load;
use super::plan::Plan;
use super::process::Process;
use super::promise::{Promise, Tallies};
use super::proxy::{Proxy, Way};
use super::pulse::Pulse;
use super::script::Strike;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::now;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use trunkline_types::{MessageId, Outcome, RefusalCode, Token, WallTime};

/// How long anything may take that must happen. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Only leases as young as this many milliseconds are looked at over a pause: what was held for
/// longer may have been taken away before it, and not be handed out again until after it.
const YOUNG: u64 = 500;
/// A load that was itself away for longer than this says nothing about leases.
const AWAY: Duration = Duration::from_millis(400);
/// How often the broker is stopped for one pause at most, because nothing could be said of leases.
const PAUSES: usize = 3;
/// How long handlers are at work after a stopped broker has gone on: long enough for it to take
/// them for lost.
const ONWARDS: Duration = Duration::from_millis(100);
/// How often something is looked at that nobody tells of.
const PROBE: Duration = Duration::from_millis(5);

/// A broker under load, and what can be done to it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) broker: Process,
    pub(super) load: Load,
    pub(super) ledger: Arc<Ledger>,
    pub(super) history: History,
    pub(super) tallies: Tallies,
    /// The way from the load to the broker, if it is to be disturbed.
    pub(super) proxy: Option<Proxy>,
    /// What leads to the broker's own network, if it has one.
    pub(super) link: Option<Arc<Link>>,
    /// Holds how much room there is, if the disk is to run full.
    pub(super) room: Option<PathBuf>,
    flow: watch::Receiver<Flow>,
    pulse: Pulse,
    lasting: Vec<Lasting>,
}

/// A fault that goes on while other things happen.
#[derive(Debug)]
struct Lasting {
    /// The executable agent that is stopped; `None` when the network is late.
    agent: Option<usize>,
    until: Instant,
    open: Open,
}

impl Stage {
    pub(super) fn new(
        broker: Process,
        load: Load,
        ledger: Arc<Ledger>,
        (proxy, link): (Option<Proxy>, Option<Arc<Link>>),
        room: Option<PathBuf>,
    ) -> Self {
        let flow = ledger.flow();
        Self {
            broker,
            load,
            ledger,
            history: History::default(),
            tallies: Tallies::default(),
            proxy,
            link,
            room,
            flow,
            pulse: Pulse::start(),
            lasting: Vec::new(),
        }
    }

    /// Waits until work is accepted and settled again after a fault. Tells whether it is.
    pub(super) async fn flows(&mut self, after: Option<Fault>) -> bool {
        let before = *self.flow.borrow_and_update();
        let again = |now: &Flow| now.accepted > before.accepted && now.settled > before.settled;
        let again = tokio::time::timeout(PATIENCE, self.flow.wait_for(again)).await;
        let flows = matches!(again, Ok(Ok(_)));
        let met: Faults = after.into_iter().collect();
        self.tallies.check(Promise::ComesBack, met, flows, || {
            let fault = after.map_or("start", Fault::word);
            format!("no work was accepted and settled within {PATIENCE:?} of a {fault}")
        });
        flows
    }

    /// Lets something go wrong. Tells whether work flows again.
    ///
    /// # Errors
    /// A process ended by itself, or the system does not let it be done.
    pub(super) async fn strike(&mut self, strike: Strike) -> Result<bool, CliError> {
        self.lift(Instant::now())?;
        let fault = strike.fault();
        let open = self.history.begin(fault, now());
        let mut struck = true;
        match strike {
            Strike::DiskFull { held } => self.fill_disk(held).await?,
            Strike::Pause { held } => self.pause(held).await?,
            Strike::AgentKill { number } => {
                struck = self.load.kill_executable(number).await?;
                self.load.revive()?;
            }
            Strike::AgentPause { number, held } => {
                self.load.revive()?;
                struck = self.load.pause_executable(number)?;
                if struck {
                    self.last(Some(number), held, open);
                    return Ok(true);
                }
            }
            Strike::Hang => self.hang().await?,
            Strike::Cut { reset } => struck = self.cut(reset).await,
            Strike::Delay { late, held } => {
                self.delay(late)?;
                self.last(None, held, open);
                return Ok(true);
            }
            Strike::Stall { to_broker, held } => {
                let way = if to_broker { Way::There } else { Way::Back };
                self.network(|proxy| proxy.stall(Some(way)));
                tokio::time::sleep(held).await;
                self.network(|proxy| proxy.stall(None));
            }
            Strike::Partition { held } => {
                self.part(true)?;
                tokio::time::sleep(held).await;
                self.part(false)?;
            }
        }
        if !struck {
            self.history.withdraw(open);
        }
        // What struck nothing has left nothing to come back from.
        let flows = self.flows(struck.then_some(fault)).await;
        self.history.end(open, now());
        Ok(flows)
    }

    /// Ends what has lasted long enough by a time.
    ///
    /// # Errors
    /// The system does not let a stopped process go on.
    pub(super) fn lift(&mut self, by: Instant) -> Result<(), CliError> {
        let (due, rest): (Vec<_>, Vec<_>) =
            self.lasting.drain(..).partition(|lasting| lasting.until <= by);
        self.lasting = rest;
        for Lasting { agent, open, .. } in due {
            match agent {
                Some(number) => self.load.resume_executable(number)?,
                None => self.delay(Duration::ZERO)?,
            }
            self.history.end(open, now());
        }
        Ok(())
    }

    /// Waits until everything that lasts has lasted as long as it should, and ends it.
    ///
    /// # Errors
    /// As [`Self::lift`].
    pub(super) async fn lift_all(&mut self) -> Result<(), CliError> {
        if let Some(last) = self.lasting.iter().map(|lasting| lasting.until).max() {
            tokio::time::sleep_until(last.into()).await;
            self.lift(last)?;
        }
        Ok(())
    }

    /// Kills an executable agent in the moment in which its broker is killed, too.
    ///
    /// # Errors
    /// The system does not let it be killed.
    pub(super) async fn kill_with(&mut self, number: usize) -> Result<(), CliError> {
        if self.load.kill_executable(number).await? {
            let open = self.history.begin(Fault::AgentKill, now());
            self.history.end(open, now());
        }
        Ok(())
    }

    /// An episode is over, if there was one.
    pub(super) fn end(&mut self, open: Option<Open>) {
        if let Some(open) = open {
            self.history.end(open, now());
        }
    }

    fn last(&mut self, agent: Option<usize>, held: Duration, open: Open) {
        self.lasting.push(Lasting { agent, until: Instant::now() + held, open });
    }

    /// Breaks every connection. Tells whether there was one.
    async fn cut(&self, reset: bool) -> bool {
        let Some(proxy) = &self.proxy else { return false };
        tokio::time::timeout(PATIENCE, proxy.cut(reset)).await.unwrap_or(false)
    }

    fn network(&self, act: impl FnOnce(&Proxy)) {
        // Without a way to disturb, no script disturbs it.
        if let Some(proxy) = &self.proxy {
            act(proxy);
        }
    }

    /// Makes everything late, by the link if it can do that, else by the proxy.
    fn delay(&self, late: Duration) -> Result<(), CliError> {
        match &self.link {
            Some(link) if link.delays() => {
                link.late(late).map_err(|why| CliError::new(Exit::General, why))
            }
            _ => {
                self.network(|proxy| proxy.delay(late));
                Ok(())
            }
        }
    }

    /// Cuts the broker off, or ends that: by its link, else by the proxy.
    fn part(&self, apart: bool) -> Result<(), CliError> {
        match (&self.link, apart) {
            (Some(link), true) => link.down()?,
            (Some(link), false) => link.up()?,
            (None, _) => self.network(|proxy| proxy.stall(apart.then_some(Way::Both))),
        }
        Ok(())
    }

    async fn hang(&mut self) -> Result<(), CliError> {
        let mut ended = self.load.ended_handlers();
        let before = *ended.borrow_and_update();
        self.load.hang().await?;
        let more = tokio::time::timeout(PATIENCE, ended.wait_for(|now| *now > before)).await;
        let found = || format!("a handler hung and was not ended within {PATIENCE:?}");
        self.tallies.check(Promise::HungEnded, Fault::Hang, matches!(more, Ok(Ok(_))), found);
        Ok(())
    }

    async fn fill_disk(&mut self, held: Duration) -> Result<(), CliError> {
        let full = self.flow.borrow_and_update().full;
        self.give_room(0)?;
        let begun = Instant::now();
        let refused = |stage: &Self| stage.flow.borrow().full > full;
        while !refused(self) && begun.elapsed() < PATIENCE {
            match self.load.fill().await? {
                Err(refusal) if refusal.code != RefusalCode::DiskFull => {
                    tokio::time::sleep(refusal.retry_after.unwrap_or(PROBE)).await;
                }
                _ => {}
            }
        }
        let told = refused(self);
        self.tallies.check(Promise::FullTold, Fault::DiskFull, told, || {
            format!("nobody was refused within {PATIENCE:?} although the disk was full")
        });
        tokio::time::sleep(held).await;
        self.give_room(u64::MAX)
    }

    /// Says how many bytes the data may take.
    pub(super) fn give_room(&self, bytes: u64) -> Result<(), CliError> {
        let Some(room) = &self.room else { return Ok(()) };
        // In one piece, as the broker may read it at any moment.
        let new = room.with_extension("new");
        let put =
            std::fs::write(&new, bytes.to_string()).and_then(|()| std::fs::rename(&new, room));
        put.map_err(|error| {
            CliError::new(Exit::General, format_args!("cannot write {}: {error}", room.display()))
        })
    }

    /// Stops the broker while handlers are at work, again if the load itself was away.
    async fn pause(&mut self, held: Duration) -> Result<(), CliError> {
        for _ in 0..PAUSES {
            let tasks = self.load.hold().await?;
            if self.pause_at_work(&tasks, held).await? {
                break;
            }
        }
        Ok(())
    }

    /// Stops the broker while the handlers of some tasks, which are held, are at work. Tells
    /// whether the leases could be judged.
    async fn pause_at_work(
        &mut self,
        tasks: &BTreeSet<MessageId>,
        held: Duration,
    ) -> Result<bool, CliError> {
        let given = Instant::now();
        let at_work = |ledger: &Ledger| {
            let leases: BTreeSet<_> = ledger.leases(WallTime(0)).into_values().collect();
            tasks.is_subset(&leases)
        };
        while given.elapsed() < PATIENCE && !at_work(&self.ledger) {
            tokio::time::sleep(PROBE).await;
        }
        self.broker.pause()?;
        let from = now();
        let young = WallTime(from.0.saturating_sub(YOUNG));
        let mut leases = self.ledger.leases(young);
        // What was under way all through such a fault is older than its arrival says. The tasks
        // that are held were sent after it.
        if self.history.met(young, from).has_any(&[Fault::Stall, Fault::Partition]) {
            leases.retain(|_, task| tasks.contains(task));
        }
        tokio::time::sleep(held).await;
        // From here on the load must be alive for the broker to have no excuse.
        let _ = self.pulse.longest();
        self.broker.resume()?;
        tokio::time::sleep(ONWARDS).await;
        self.load.let_go();
        let begun = Instant::now();
        // What hangs is never settled.
        while begun.elapsed() < PATIENCE / 10
            && self.ledger.leases(young).keys().any(|token| leases.contains_key(token))
        {
            tokio::time::sleep(PROBE).await;
        }
        let alive = self.pulse.longest() < AWAY;
        let leases = self.ledger.of_latest_broker(leases);
        if alive {
            for token in leases.keys() {
                self.lease(*token, from);
            }
        }
        Ok(alive && leases.values().any(|task| tasks.contains(task)))
    }

    /// Judges a lease that was held while the broker was stopped.
    fn lease(&mut self, token: Token, from: WallTime) {
        let books = self.ledger.books();
        let Some(held) = books.deliveries.get(&token) else { return };
        let payload = books.sent.get(&held.id).map(|sent| &sent.publish.envelope.payload.data);
        if payload.is_none_or(|payload| Plan::of(payload) == Some(Plan::Hang)) {
            return;
        }
        let said = books.settles.get(&token);
        let again = said.is_some_and(|said| matches!(said.outcome, Outcome::Retry { .. }));
        let refused = said.and_then(|said| said.answer.as_ref()?.as_ref().err());
        let other = books.deliveries.iter().any(|(other, delivered)| {
            *other != token && delivered.id == held.id && delivered.at >= from
        });
        let kept = refused.is_none() && (again || !other);
        let age = from.0.saturating_sub(held.at.0);
        let since = format!("given {age} ms before it, the broker of then was {}", books.epoch.0);
        let found = match refused {
            Some(refusal) => {
                format!("what was held over a pause is refused ({since}): {}", refusal.message)
            }
            None => format!("{} was held over a pause and given to another ({since})", held.id),
        };
        drop(books);
        self.tallies.check(Promise::LeasesKept, Fault::Pause, kept, || found);
    }
}
