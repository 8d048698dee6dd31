//! The engine itself: its tables, its entry points and its clock.

use crate::admission::Remembered;
use crate::carry::{Origins, Sweep};
use crate::command::{Command, ConnectionKey, Verdict};
use crate::config::EngineConfig;
use crate::defect::Defect;
use crate::dispatch::{Alarm, Session};
use crate::effect::Output;
use crate::gate::Held;
use crate::gather::Gathering;
use crate::map::{Map, map};
use crate::now::{Deadline, Mono, Now};
use crate::past::{Following, Handed};
use crate::queue::{Entry, Inbox, Lease, Messages};
use crate::record::{EntryId, Record};
use crate::route::{Agent, Targets, Tenant};
use crate::schedule::Firing;
use crate::settle::{DeadLetters, UsedTokens};
use crate::spill::Spill;
use crate::table::{
    AgentKey, EntryKey, GatherKey, InboxKey, LeaseKey, SessionKey, Table, TenantKey,
};
use crate::task::Tasks;
use crate::timer::Timers;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use trunkline_types::{Durability, Epoch, Filter, Sequence, SessionId, TenantId, Token, WallTime};

/// How far back the wall clock must step to count as set back: callers that read it at about the
/// same time may come in another order.
const SET_BACK: Duration = Duration::from_secs(1);

/// One partition's broker, without clocks, threads or sockets.
///
/// The driver's contract:
/// 1. Make one with [`Engine::new`]; hand it every record of the log with [`Engine::replay`], in
///    order; call [`Engine::start`] and make its record durable before anything else.
/// 2. Hand it commands with [`Engine::handle`]. Append the records of the [`Output`] to the log
///    in order; perform the effects at once, in order: those that must wait are held back.
/// 3. Whenever the log has got further, say so with [`Engine::durable`], and treat its output
///    likewise. If [`Output::flush`] is set, something waits for the next flush.
/// 4. Call [`Engine::tick`] at [`Engine::deadline`], or later, but before handling anything that
///    came in after it; and again and again, between other things, while
///    [`Engine::is_spilling`].
///
/// ```
/// use trunkline_engine::{Engine, EngineConfig, Now, Output};
/// let mut engine = Engine::new(EngineConfig { logged: false, ..EngineConfig::default() });
/// let mut out = Output::default();
/// engine.start(Now::default(), &mut out);
/// assert!(out.records.is_empty(), "without a log there is nothing to write");
/// ```
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) rng: fastrand::Rng,
    pub(crate) epoch: Epoch,
    pub(crate) started_at: WallTime,
    /// Whether records are being replayed: nothing is then recorded, told or delivered.
    pub(crate) replaying: bool,

    /// The latest record's place.
    pub(crate) sequence: Sequence,
    pub(crate) written: Sequence,
    pub(crate) synced: Sequence,
    /// What waits for the log to have written so far, in order.
    pub(crate) until_written: VecDeque<(Sequence, Held)>,
    /// What waits for the log to have flushed so far, in order.
    pub(crate) until_synced: VecDeque<(Sequence, Held)>,
    /// Entries that nothing blocks any longer, to be let go before the call returns.
    pub(crate) unblocked: VecDeque<(Durability, EntryKey, EntryId)>,
    /// Inboxes that somebody may take work from who could not before, to be looked at before the
    /// call returns.
    pub(crate) stirred: VecDeque<InboxKey>,
    /// Inboxes in which room was made that somebody may wait for, to be seen to before the call
    /// returns.
    pub(crate) roomy: VecDeque<InboxKey>,
    /// Empty lists of recipients, for the next envelope to fill. Boxed because they are handed on
    /// several times on their way.
    pub(crate) spare_targets: Option<Box<Targets>>,
    /// What the driver found out about filters for the operation being handled.
    pub(crate) verdicts: Vec<(Filter, Verdict)>,
    /// Whether the log has room for new work.
    pub(crate) ample: bool,
    /// Whether the log is as far behind as it may be.
    pub(crate) congested: bool,
    /// While the broker drains, the connections whose sessions were sent away.
    pub(crate) sent_away: Option<BTreeSet<ConnectionKey>>,

    pub(crate) tenants: Table<TenantKey, Tenant>,
    pub(crate) tenant_keys: Map<TenantId, TenantKey>,
    pub(crate) agents: Table<AgentKey, Agent>,
    pub(crate) inboxes: Table<InboxKey, Inbox>,
    pub(crate) entries: Table<EntryKey, Entry>,
    /// The latest leases of entries.
    pub(crate) leases: Table<LeaseKey, Lease>,
    pub(crate) next_entry: EntryId,
    /// Finds the copies of a message.
    pub(crate) messages: Messages,
    /// Finds entries while records are replayed; live, tokens and keys do.
    pub(crate) replay_ids: Map<EntryId, EntryKey>,

    pub(crate) sessions: Table<SessionKey, Session>,
    pub(crate) session_keys: Map<SessionId, SessionKey>,
    pub(crate) connections: Map<ConnectionKey, SessionKey>,
    pub(crate) windows: Map<SessionId, Remembered>,
    /// When sessions that are gone were heard of last, in the order in which they are forgotten.
    pub(crate) forgetting: VecDeque<(WallTime, SessionId)>,

    pub(crate) tokens: Map<Token, EntryKey>,
    pub(crate) next_token: u64,
    /// Tokens that replayed records say were used up: what a session sends again about them
    /// after a restart has been done.
    pub(crate) used_tokens: UsedTokens,

    pub(crate) tasks: Tasks,
    pub(crate) dead_letters: DeadLetters,
    /// Requests to several agents that wait for answers.
    pub(crate) gathers: Table<GatherKey, Gathering>,
    /// When schedules are to be looked at: for their due time or for another try.
    pub(crate) firings: BTreeSet<Firing>,
    /// What is known of payloads that have left memory.
    pub(crate) spill: Spill,
    /// Up to where the index has what it is to have.
    pub(crate) indexed: Sequence,
    /// Whether the index takes in what is over.
    pub(crate) following: Following,
    /// What is over and is to be handed to the driver.
    pub(crate) handed: Vec<Handed>,

    pub(crate) wall_timers: Timers<(EntryId, EntryKey)>,
    pub(crate) session_timers: Timers<(u64, SessionKey)>,
    /// When delays are over, on the monotonic clock.
    pub(crate) delays: Timers<(EntryId, EntryKey)>,
    /// Longest runs of handlers and circuit breakers, in the engine's own time.
    pub(crate) alarms: Timers<Alarm>,
    /// Numbers the times at which circuit breakers became half-open.
    pub(crate) probe_round: u32,
    /// When something was handled last.
    pub(crate) last_seen: Mono,
    /// The latest time that the wall clock has shown since it was set back last.
    pub(crate) latest_wall: WallTime,
    /// How long the broker was away in all: its own time runs that far behind the clock.
    pub(crate) away: Duration,
    /// When it was back the last time, in its own time.
    pub(crate) back_at: Option<Mono>,
    pub(crate) next_serial: u64,

    /// The sweep that is under way.
    pub(crate) sweep: Option<Box<Sweep>>,
    /// About how many bytes of records all that is durable would need, when that was counted
    /// last.
    pub(crate) live_bytes: u64,
    /// What is known of the log's beginning.
    pub(crate) origins: Origins,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(config: EngineConfig) -> Self {
        let seed = config.seed;
        Self {
            rng: fastrand::Rng::with_seed(seed),
            epoch: Epoch(0),
            started_at: WallTime(0),
            replaying: true,
            sequence: Sequence(0),
            written: Sequence(0),
            synced: Sequence(0),
            until_written: VecDeque::new(),
            until_synced: VecDeque::new(),
            unblocked: VecDeque::new(),
            stirred: VecDeque::new(),
            roomy: VecDeque::new(),
            spare_targets: None,
            verdicts: Vec::new(),
            ample: true,
            congested: false,
            sent_away: None,
            tenants: Table::new(),
            tenant_keys: map(seed),
            agents: Table::new(),
            inboxes: Table::new(),
            entries: Table::new(),
            leases: Table::new(),
            next_entry: EntryId(1),
            messages: Messages::new(seed),
            replay_ids: map(seed),
            sessions: Table::new(),
            session_keys: map(seed),
            connections: map(seed),
            windows: map(seed),
            forgetting: VecDeque::new(),
            tokens: map(seed),
            next_token: 1,
            used_tokens: UsedTokens::new(seed),
            tasks: Tasks::new(),
            dead_letters: DeadLetters::default(),
            gathers: Table::new(),
            firings: BTreeSet::new(),
            spill: Spill::default(),
            indexed: Sequence(0),
            following: Following::Yes,
            handed: Vec::new(),
            wall_timers: Timers::new(),
            session_timers: Timers::new(),
            delays: Timers::new(),
            alarms: Timers::new(),
            probe_round: 0,
            last_seen: Mono(0),
            latest_wall: WallTime(0),
            away: Duration::ZERO,
            back_at: None,
            next_serial: 1,
            sweep: None,
            live_bytes: 0,
            origins: Origins::default(),
            config,
        }
    }

    /// Handles one command.
    pub fn handle(&mut self, now: Now, command: Command, out: &mut Output) {
        self.observe(now);
        self.observe_wall(now, out);
        match command {
            Command::Connect { connection, principal, hello } => {
                self.connect(now, connection, principal, *hello, out);
            }
            Command::Frame { connection, frame, verdicts } => {
                self.frame(now, connection, frame, verdicts, out);
            }
            Command::Configure(config) => {
                self.config = *config;
                self.spill_over();
                self.stir_all();
                self.room_made_anywhere();
            }
            Command::Disconnect { connection } => self.disconnect(now, connection, out),
            Command::Ask { query, principal, question } => {
                self.ask(now, query, &principal, *question, out);
            }
            Command::Space { ample } => self.ample = ample,
            Command::Congestion { congested } => self.set_congested(now, congested, out),
            Command::Indexed { through } => self.indexed(through),
            Command::IndexStopped => self.index_stopped(),
            Command::Loaded { payloads } => self.loaded(now, payloads, out),
            Command::Clean { before } => self.clean(now, before, out),
            Command::Drain => self.drain(now, out),
            Command::Stop => self.stop(now, out),
        }
        self.work_off_unblocked(now, out);
        self.tell_handed(out);
    }

    /// Notes how far the log has got: all records up to `written` are in the file, all up to
    /// `synced` are on disk. Releases what waited for that.
    pub fn durable(&mut self, now: Now, written: Sequence, synced: Sequence, out: &mut Output) {
        self.observe(now);
        self.written = self.written.max(written);
        self.synced = self.synced.max(synced);
        self.release_held(now, out);
        self.spill_written();
        self.work_off_unblocked(now, out);
        self.tell_handed(out);
    }

    /// Handles everything whose time has come.
    pub fn tick(&mut self, now: Now, out: &mut Output) {
        self.observe(now);
        self.observe_wall(now, out);
        self.fire_session_timers(now, out);
        self.fire_alarms(now, out);
        self.fire_delays(now, out);
        self.fire_wall_timers(now, out);
        self.fire_schedules(now, out);
        self.spill_on();
        self.work_off_unblocked(now, out);
        self.forget_windows(now);
        self.forget_past(now.wall);
        self.tell_handed(out);
    }

    /// When [`Self::tick`] wants to be called next.
    pub fn deadline(&self) -> Deadline {
        Deadline {
            mono: self.next_timer(),
            wall: self
                .wall_timers
                .next()
                .map(WallTime)
                .into_iter()
                .chain(self.next_firing())
                .chain(self.next_forgetting())
                .min(),
        }
    }

    /// The broker's epoch: how often it has been started on its log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place of the latest record.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Concludes from the lateness of its own timer that the broker was away, and stops its own
    /// time for as long. It may have been gone since it was last seen, so leases get back all
    /// that they had left then. A timer that was set for a time that was over already, such as that
    /// of a handler that had run too long when its broker came back, is late only from then on.
    fn observe(&mut self, now: Now) {
        if let Some(at) = self.next_timer() {
            let due = at.max(self.last_seen);
            let tolerated = due.after(self.config.absence_tolerance);
            if now.mono > tolerated && !self.planted(Defect::CountedAbsence) {
                self.away += Duration::from_nanos(now.mono.0.saturating_sub(self.last_seen.0));
                self.back_at = Some(self.present(now));
            }
        }
        self.last_seen = self.last_seen.max(now.mono);
    }

    /// When the next timer on the monotonic clock goes off. Delays run on while the broker is away.
    fn next_timer(&self) -> Option<Mono> {
        let alarm = self.next_alarm().map(|at| Mono(at).after(self.away));
        alarm.into_iter().chain(self.delays.next().map(Mono)).min()
    }

    /// Notes that the wall clock was set back, which what waits for a due time must know.
    fn observe_wall(&mut self, now: Now, out: &mut Output) {
        if now.wall.after(SET_BACK) < self.latest_wall {
            self.latest_wall = now.wall;
            self.rewind_schedules(now, out);
        }
        self.latest_wall = self.latest_wall.max(now.wall);
    }

    /// The engine's own time, which stands still while the broker is away.
    pub(crate) fn present(&self, now: Now) -> Mono {
        let away = u64::try_from(self.away.as_nanos()).unwrap_or(u64::MAX);
        Mono(now.mono.0.saturating_sub(away))
    }

    /// Takes note of a decision that is to be written.
    pub(crate) fn emit(&mut self, record: Record, out: &mut Output) {
        debug_assert!(!self.replaying, "replay writes nothing");
        self.sequence = self.sequence.next();
        out.records.push((self.sequence, record));
    }

    /// Whether a defect is planted. Without the feature `defects` none ever is.
    #[cfg(feature = "defects")]
    pub(crate) fn planted(&self, defect: Defect) -> bool {
        self.config.defect == Some(defect)
    }

    /// Whether a defect is planted. Without the feature `defects` none ever is.
    #[cfg(not(feature = "defects"))]
    #[allow(clippy::unused_self, reason = "the other variant needs it")]
    pub(crate) const fn planted(&self, _: Defect) -> bool {
        false
    }
}
