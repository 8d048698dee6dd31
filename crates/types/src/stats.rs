//! Counters and gauges.

use crate::InboxAddress;

/// What happened to inbox entries since the log began (logged ones) or since the broker started
/// (ephemeral ones). A fan-out makes one entry for each recipient; one that is left out because
/// its inbox is full counts as accepted and dropped there.
///
/// An event that waits for its time or for a first subscriber is one entry in a queue of its own.
/// It is accepted there when it comes and settled there when it is routed; the copies that its
/// recipients get then are accepted in their inboxes. If nobody is there when its time comes, and
/// it is not to be parked, it counts as dropped.
///
/// Conservation: `accepted = settled + dead_lettered + expired + canceled + dropped + lost` plus
/// the sum of all [`Gauges`], at every step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Entries taken in.
    pub accepted: u64,
    /// Entries that an agent completed, failed or rejected, acknowledged events, and events that
    /// waited and were routed.
    pub settled: u64,
    /// Entries that became dead letters.
    pub dead_lettered: u64,
    /// Entries whose time to live ended.
    pub expired: u64,
    /// Entries that were cancelled.
    pub canceled: u64,
    /// Entries dropped by rule: for a subscriber that left, was over its bound or has a filter that
    /// was not evaluated because there was too much work with the event, for a newer event, or
    /// because nobody was there when their time came.
    pub dropped: u64,
    /// Ephemeral entries that a stop of the broker took.
    pub lost: u64,
    /// Deliveries beyond the first of an entry. Not part of the conservation sum.
    pub redeliveries: u64,
}

impl Counters {
    /// Everything that has left: the right-hand side of conservation without the gauges.
    pub fn ended(&self) -> u64 {
        self.settled + self.dead_lettered + self.expired + self.canceled + self.dropped + self.lost
    }

    /// Adds another set of counters.
    pub fn add(&mut self, other: &Self) {
        let Self {
            accepted,
            settled,
            dead_lettered,
            expired,
            canceled,
            dropped,
            lost,
            redeliveries,
        } = other;
        self.accepted += accepted;
        self.settled += settled;
        self.dead_lettered += dead_lettered;
        self.expired += expired;
        self.canceled += canceled;
        self.dropped += dropped;
        self.lost += lost;
        self.redeliveries += redeliveries;
    }
}

/// Where entries are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Accepted, not yet as durable as promised.
    pub staged: u64,
    /// Waiting for a not-before time or for the delay of a retry.
    pub delayed: u64,
    /// Waiting for a session with credit.
    pub waiting: u64,
    /// Waiting while nobody serves the inbox.
    pub parked: u64,
    /// Waiting for their caller.
    pub paused: u64,
    /// Held by a session.
    pub leased: u64,
}

impl Gauges {
    /// How many entries there are in all.
    pub fn total(&self) -> u64 {
        self.staged + self.delayed + self.waiting + self.parked + self.paused + self.leased
    }

    /// Adds another set of gauges.
    pub fn add(&mut self, other: &Self) {
        let Self { staged, delayed, waiting, parked, paused, leased } = other;
        self.staged += staged;
        self.delayed += delayed;
        self.waiting += waiting;
        self.parked += parked;
        self.paused += paused;
        self.leased += leased;
    }
}

/// One inbox's figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboxStats {
    /// Whose inbox; `None` for the sum of what has no address: events of the subscriptions of
    /// sessions, and events that wait for their time or for a first subscriber.
    pub address: Option<InboxAddress>,
    /// What happened.
    pub counters: Counters,
    /// What is there.
    pub gauges: Gauges,
}

/// The log's figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// Records written since the start.
    pub records: u64,
    /// Bytes written since the start.
    pub bytes: u64,
    /// Flushes to disk since the start.
    pub flushes: u64,
    /// Records found at the start.
    pub recovered: u64,
    /// Whether new durable work is refused for want of disk space.
    pub disk_full: bool,
    /// Those of the bytes written since the start that cleaning wrote to say again what older
    /// records had told.
    pub carried_bytes: u64,
    /// Segments whose records are needed, the one being written to included.
    pub segments: u64,
    /// Bytes of all files of the log, prepared ones and those that wait to be used again included.
    pub disk_bytes: u64,
    /// About how many bytes of records all that is durable needs, as counted at the start or when
    /// the log was cleaned last.
    pub live_bytes: u64,
    /// Segments given up since the start.
    pub removed_segments: u64,
    /// Bytes of payloads in memory, of logged work for one agent or skill that has not ended.
    pub payload_memory_bytes: u64,
    /// Bytes of such payloads that are on disk only, until they are about to be delivered.
    pub payload_disk_bytes: u64,
    /// How many payloads are on disk only.
    pub payloads_on_disk: u64,
    /// How many were read back since the start.
    pub payload_loads: u64,
    /// In how many batches they were asked for ahead of their delivery.
    pub payload_load_batches: u64,
    /// Damaged places that were found at the start. What was there is lost to the broker, and a
    /// copy of it is in `quarantine/`.
    pub damaged_places: u64,
    /// Whole records that were left out at the start, because what they speak of was in a damaged
    /// place.
    pub records_left_out: u64,
    /// Rows of the index, ended tasks and dead letters, that were found damaged since the start and
    /// are lost unless the log tells of them at the next start: a copy of each is in `quarantine/`.
    /// They count as forgotten.
    pub index_rows_damaged: u64,
}

impl LogStats {
    /// How many records one flush put on disk on average; 0 before the first.
    pub fn records_per_flush(&self) -> f64 {
        per(self.records, self.flushes)
    }

    /// How often the log wrote everything on average: all bytes of its records over those that are no
    /// repeats, in percent. 100 while nothing was carried. What the index writes beside the log is
    /// not in it.
    pub fn amplification_percent(&self) -> u64 {
        let new = self.bytes.saturating_sub(self.carried_bytes);
        self.bytes.saturating_mul(100).checked_div(new).unwrap_or(100)
    }
}

/// How many of something came at a time on average; 0 if nothing came.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per(many: u64, times: u64) -> f64 {
    if times == 0 { 0.0 } else { many as f64 / times as f64 }
}

/// A broker's figures for one tenant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Sums over all inboxes.
    pub counters: Counters,
    /// Sums over all inboxes.
    pub gauges: Gauges,
    /// Publishes accepted (each once, however many recipients).
    pub messages_accepted: u64,
    /// Publishes refused.
    pub messages_refused: u64,
    /// Publishes on a topic that had no subscriber.
    pub messages_unrouted: u64,
    /// Publishes that were repeats and accepted only once.
    pub duplicates: u64,
    /// Replies whose requester was gone.
    pub replies_dropped: u64,
    /// Tasks that ended completed.
    pub tasks_completed: u64,
    /// Tasks that ended failed, expired and dead-lettered ones included.
    pub tasks_failed: u64,
    /// Tasks that ended cancelled or rejected.
    pub tasks_canceled: u64,
    /// Tasks that have not ended.
    pub tasks_open: u64,
    /// Ended tasks forgotten because their time was over, or because there were more, or more
    /// bytes of them, than may be.
    pub tasks_forgotten: u64,
    /// Events of tasks forgotten since the broker started because a task had more of them, or more
    /// bytes, than are kept; who watches from before is told of a gap.
    pub task_events_forgotten: u64,
    /// Ended tasks that can be read although they are no longer in memory: the index has them.
    pub tasks_indexed: u64,
    /// From when on the history is complete, in milliseconds since 1970: every logged task that
    /// ended at this time or later is known.
    pub history_since_ms: u64,
    /// Records that the index has not taken in yet; 0 if there is no index.
    pub records_unindexed: u64,
    /// Dead letters held now.
    pub dead_letters: u64,
    /// Those of them that are no longer in memory: the index has them.
    pub dead_letters_indexed: u64,
    /// Dead letters forgotten because their time was over, or because there were more, or more
    /// bytes of them, than may be.
    pub dead_letters_forgotten: u64,
    /// Dead letters that were sent again.
    pub redriven: u64,
    /// Dead letters that were deleted on request.
    pub purged: u64,
    /// Messages made by schedules.
    pub scheduled: u64,
    /// Idempotency keys remembered now.
    pub keys: u64,
    /// Those of them that are no longer in memory: the index has them.
    pub keys_indexed: u64,
    /// Publishes that wait outside a full inbox now.
    pub waiting_outside: u64,
    /// How often a circuit breaker opened.
    pub breakers_opened: u64,
    /// Handlers ended because they ran longer than they may.
    pub overran: u64,
    /// Turns of the whole broker since the start in which something was brought to the engine, by
    /// sessions or by the log. What gathers during one is the batch of the next.
    pub turns: u64,
    /// Operations of sessions that these took in.
    pub operations: u64,
    /// How often a session was handed all that there was for it.
    pub hand_overs: u64,
    /// Items that were handed over in these: deliveries, acceptances, ranges of confirmations.
    pub items: u64,
    /// Registered agents.
    pub agents: u64,
    /// Connected sessions.
    pub sessions: u64,
    /// Per inbox, busiest first, at most 1,000.
    pub inboxes: Vec<InboxStats>,
    /// How many inboxes took something in, those that are not listed included.
    pub inboxes_total: u64,
    /// The log, if there is one.
    pub log: Option<LogStats>,
    /// The broker's epoch.
    pub epoch: u32,
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
}

impl Stats {
    /// How many operations of sessions one turn took in on average; 0 before the first.
    pub fn operations_per_turn(&self) -> f64 {
        per(self.operations, self.turns)
    }

    /// How many items a session was handed at a time on average; 0 before the first.
    pub fn items_per_hand_over(&self) -> f64 {
        per(self.items, self.hand_overs)
    }
}
