//! The model itself: what it holds between observations.

use super::{Book, Fact, Moment, Rules, Session};
use crate::laws::breakers::Guard;
use crate::laws::choice::Choices;
use crate::laws::groups::Member;
use crate::laws::numbers::Numbers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trunkline_types::{
    AgentId, Durability, Filter, GatherRule, GroupName, InboxAddress, MessageId, Publish, Sequence,
    SessionId, SkillName, TaskEvent, Token, WallTime, WhenFull,
};

/// What the broker is handling while it makes records.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cause {
    /// Its own start, the log's progress, or something that concerns no session.
    #[default]
    Other,
    /// These operations of a session, each for the first time.
    Frame { session: SessionId, handled: Vec<u64> },
    /// A session introduces itself.
    Hello,
    /// A goodbye.
    Goodbye(SessionId),
    /// The passing of time.
    Tick,
}

/// A request to several agents.
#[derive(Clone, Debug)]
pub(crate) struct Gathering {
    pub(crate) asker: SessionId,
    /// The connection over which it was asked.
    pub(crate) connection: Option<u64>,
    /// Who is to be asked.
    pub(crate) asked: BTreeSet<AgentId>,
    /// Which of them may have left the directory right before.
    pub(crate) unsure: BTreeSet<AgentId>,
    pub(crate) rule: GatherRule,
    /// Most bytes of answers.
    pub(crate) reply_bytes: u64,
    pub(crate) told: bool,
}

/// Something that got into an inbox.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) inbox: InboxAddress,
    /// The place of its operation among all that came in; none if no session sent it.
    pub(crate) order: Option<u64>,
    /// Whether a record tells of it. Records are seen before what is told.
    pub(crate) logged: bool,
}

/// A delivery that was made.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) id: MessageId,
    pub(crate) inbox: InboxAddress,
    pub(crate) session: SessionId,
    pub(crate) connection: Option<u64>,
    /// The number of the entry if it is logged.
    pub(crate) entry: Option<u64>,
    /// How many attempts the entry had had then: what is told of it may be told after it was given
    /// back again.
    pub(crate) attempts: u32,
    /// When the lease began to run, was last renewed, or began anew with the broker.
    pub(crate) renewed: u64,
    /// How long the broker had been away in all by then.
    pub(crate) absent: u64,
    /// When it was granted, and how long the broker had been away in all by then.
    pub(crate) granted: (u64, u64),
    /// How long its handler had run before, as records tell, in an earlier life of the broker.
    pub(crate) before: u64,
    /// Whether it was held when the broker started, so that its handler's time runs.
    pub(crate) runs: bool,
    /// When it may have been renewed last.
    pub(crate) touched: u64,
    /// Whether something final was said about it.
    pub(crate) settled: bool,
    /// Whether its holder has given it up or ended it, and so has had it.
    pub(crate) heard: bool,
    /// Whether its holder has come back for it: what it told as missed may be told again, for it
    /// may have been lost before that.
    pub(crate) taken_up: bool,
    /// Whether it was called off because its handler ran for too long.
    pub(crate) overran: bool,
}

/// An ephemeral entry, of which no record tells.
#[derive(Clone, Debug)]
pub(crate) struct Fleeting {
    pub(crate) publish: Arc<Publish>,
    pub(crate) order: u64,
    pub(crate) accepted: bool,
    pub(crate) over: bool,
    pub(crate) latest: Option<Token>,
}

/// What was told of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) events: BTreeMap<u64, TaskEvent>,
}

/// The reference model.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) now: Moment,
    pub(crate) book: Book,
    /// Every fact so far that no crash has taken back.
    pub(crate) journal: Vec<(Sequence, Fact)>,
    /// What the broker has been told of the log.
    pub(crate) written: Sequence,
    pub(crate) synced: Sequence,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) connections: BTreeMap<u64, SessionId>,
    pub(crate) cause: Cause,
    /// How many things the broker has handled.
    pub(crate) command: u64,
    /// Whether other settings ever came into force.
    pub(crate) reconfigured: bool,
    /// How many deliveries somebody else could have had, as far as that can be told.
    pub(crate) chosen: u64,
    /// How many publishes waited outside a full inbox.
    pub(crate) waited: u64,
    /// How many events went to one member of a group.
    pub(crate) shared: u64,
    /// How many circuit breakers opened, as far as that can be told.
    pub(crate) opened: u64,
    /// How far the log had got before.
    pub(crate) before: (Sequence, Sequence),
    /// The latest record before.
    pub(crate) latest: Sequence,
    /// What was accepted while the present one is handled.
    pub(crate) admitted: Vec<Admitted>,
    /// The numbers that deliveries of each inbox have had since the broker started.
    pub(crate) numbers: BTreeMap<InboxAddress, Numbers>,
    /// How often each priority of an inbox was passed over while it had work.
    pub(crate) passed: BTreeMap<InboxAddress, [u32; 4]>,
    /// Whether a limit was ever set for an inbox.
    pub(crate) limited: bool,
    /// Whether events were ever to be dropped from a full inbox.
    pub(crate) drops: bool,
    /// When each inbox was last seen to hold as many logged envelopes as it may: the number of
    /// the command.
    pub(crate) full: BTreeMap<InboxAddress, u64>,
    /// The last command by which the settings of each inbox were changed, or all of the broker's.
    pub(crate) changed: BTreeMap<InboxAddress, u64>,
    /// The inboxes that have ever had a time to live of their own.
    pub(crate) fading: BTreeSet<InboxAddress>,
    pub(crate) configured: u64,
    /// The last command by which there were as many schedules as may be.
    pub(crate) all_scheduled: u64,
    /// Who is to be told, before the broker is done with what it is handling, that an inbox fills.
    pub(crate) pressing: BTreeSet<(SessionId, InboxAddress)>,
    /// Whether what is being handled has changed how agents or inboxes are set. What left no
    /// record may have been delivered before that.
    pub(crate) unsettled: bool,
    pub(crate) granted: BTreeMap<Token, Grant>,
    pub(crate) fleeting: BTreeMap<(MessageId, InboxAddress), Fleeting>,
    pub(crate) arrivals: u64,
    /// Everything that was ever sent.
    pub(crate) published: BTreeMap<MessageId, Arc<Publish>>,
    pub(crate) told: BTreeMap<MessageId, Told>,
    /// Tasks of which everything told was durable, so that no crash may change it.
    pub(crate) lasting: BTreeSet<MessageId>,
    /// Requests to several agents that the broker has taken in during its present life.
    pub(crate) gatherings: BTreeMap<MessageId, Gathering>,
    /// Who has completed which of them.
    pub(crate) completed: BTreeSet<(MessageId, AgentId)>,
    /// Whether everything that is sent is logged, so that records tell of all of it.
    pub(crate) pure: bool,
    /// Whether ended tasks go into an index.
    pub(crate) indexed: bool,
    /// What is known of circuit breakers.
    pub(crate) guards: BTreeMap<(AgentId, InboxAddress), Guard>,
    /// How deliveries of each inbox were shared out since the broker started.
    pub(crate) choices: BTreeMap<InboxAddress, Choices>,
    /// How much likelier other rules than the weights make what was drawn by them since the broker
    /// started, each as a power of e.
    pub(crate) weighed: [f64; 3],
    /// Tasks that their caller has continued in this life of the broker and that nobody got since,
    /// with the command by which that was and the record that tells of it.
    pub(crate) continued: BTreeMap<u64, (u64, Sequence)>,
    /// Keys with the agent that each fell to, and another that could have had it.
    pub(crate) falls: BTreeSet<(String, AgentId, AgentId)>,
    /// Who got an event on behalf of a group.
    pub(crate) grouped: BTreeMap<(MessageId, GroupName), Member>,
    /// Which filters were not evaluated on which events, and the number of the command then.
    pub(crate) costly: BTreeMap<(MessageId, Filter), u64>,
    /// The connection over which somebody says hello under an id of another principal.
    pub(crate) impostor: Option<u64>,
    /// Skills that an agent has ever served.
    pub(crate) served: BTreeSet<SkillName>,
    /// Payloads that were asked for and have not come, by the places of their records: of which
    /// entries of which inboxes, and how often those had been delivered.
    pub(crate) loading: BTreeMap<Sequence, (u64, InboxAddress, u32)>,
    /// The inboxes that waited for some when what is being handled came.
    pub(crate) loaded_before: BTreeSet<InboxAddress>,
    /// Entries whose payloads came back, and the latest record about each then.
    pub(crate) read: BTreeMap<u64, Sequence>,
    /// Entries whose payloads the broker is told that it cannot have.
    pub(crate) unread: BTreeSet<u64>,
    /// Who is to be told how a task ended, over which connection, once a record is on disk.
    pub(crate) owed_news: BTreeMap<(SessionId, MessageId), (u64, Sequence)>,
    /// Tasks that ended while what is being handled was, by the places of their records, and are
    /// to be handed over; and those that were in this life of the broker.
    pub(crate) to_hand: BTreeSet<Sequence>,
    pub(crate) handed: BTreeSet<Sequence>,
    /// Agents and subscriptions that went while what is being handled was.
    pub(crate) gone_now: usize,
    /// Holders that were told to stop.
    pub(crate) stopped: BTreeSet<(SessionId, Token)>,
    /// When entries ended.
    pub(crate) ended: BTreeMap<u64, WallTime>,
    /// Replies that connected requesters are owed.
    pub(crate) replies: BTreeSet<(SessionId, MessageId)>,
    /// Cancels that connected holders are owed.
    pub(crate) cancels: BTreeSet<(SessionId, Token)>,
    /// How long the broker was away in all, in nanoseconds, where that was long enough to tell.
    pub(crate) absent: u64,
    /// When it was back the last time, and how long it had been away in all by then.
    pub(crate) back: Option<(u64, u64)>,
    /// Whether the wall clock was ever set.
    pub(crate) jumped: bool,
    /// The latest time that the wall clock has shown.
    pub(crate) latest_wall: WallTime,
    /// How many operations had come in when the broker began its end in order, if it has.
    pub(crate) draining: Option<u64>,
    /// The connections over which sessions were sent away since then.
    pub(crate) sent_away: BTreeSet<u64>,
    /// Whether the broker was told that its log is as far behind as it may be.
    pub(crate) congested: bool,
    /// The last command while it was so.
    pub(crate) last_congested: u64,
    /// Whether the broker knows of room on the disk.
    pub(crate) ample: bool,
    /// Whether the broker was ever told that there is none.
    pub(crate) was_full: bool,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        let drops = rules.when_full == WhenFull::DropOldest;
        let book = Book { most_letters: rules.dead_letters, ..Book::default() };
        Self {
            rules,
            now: Moment::default(),
            book,
            journal: Vec::new(),
            written: Sequence(0),
            synced: Sequence(0),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            cause: Cause::Other,
            command: 0,
            reconfigured: false,
            chosen: 0,
            waited: 0,
            opened: 0,
            shared: 0,
            before: (Sequence(0), Sequence(0)),
            latest: Sequence(0),
            admitted: Vec::new(),
            numbers: BTreeMap::new(),
            passed: BTreeMap::new(),
            limited: false,
            drops,
            full: BTreeMap::new(),
            changed: BTreeMap::new(),
            fading: BTreeSet::new(),
            configured: 0,
            all_scheduled: 0,
            pressing: BTreeSet::new(),
            unsettled: false,
            granted: BTreeMap::new(),
            fleeting: BTreeMap::new(),
            arrivals: 0,
            published: BTreeMap::new(),
            told: BTreeMap::new(),
            lasting: BTreeSet::new(),
            gatherings: BTreeMap::new(),
            completed: BTreeSet::new(),
            pure: false,
            indexed: false,
            guards: BTreeMap::new(),
            choices: BTreeMap::new(),
            weighed: [0.0; 3],
            continued: BTreeMap::new(),
            falls: BTreeSet::new(),
            grouped: BTreeMap::new(),
            costly: BTreeMap::new(),
            impostor: None,
            served: BTreeSet::new(),
            loading: BTreeMap::new(),
            loaded_before: BTreeSet::new(),
            read: BTreeMap::new(),
            unread: BTreeSet::new(),
            owed_news: BTreeMap::new(),
            to_hand: BTreeSet::new(),
            handed: BTreeSet::new(),
            gone_now: 0,
            stopped: BTreeSet::new(),
            ended: BTreeMap::new(),
            replies: BTreeSet::new(),
            cancels: BTreeSet::new(),
            absent: 0,
            back: None,
            jumped: false,
            latest_wall: WallTime(0),
            draining: None,
            sent_away: BTreeSet::new(),
            congested: false,
            last_congested: 0,
            ample: true,
            was_full: false,
        }
    }

    /// Whether a record is as durable as a level promises.
    pub(crate) fn reached(&self, at: Sequence, level: Durability) -> bool {
        match level {
            Durability::Ephemeral => true,
            Durability::Buffered => at <= self.written,
            Durability::Synced => at <= self.synced,
        }
    }

    /// Whether a record was as durable as a level promises before what is being handled.
    pub(crate) fn had_reached(&self, at: Sequence, level: Durability) -> bool {
        let (written, synced) = self.before;
        match level {
            Durability::Ephemeral => true,
            Durability::Buffered => at <= written,
            Durability::Synced => at <= synced,
        }
    }

    /// The session behind a connection, if it is the session's present one.
    pub(crate) fn session_on(&self, connection: u64) -> Option<&Session> {
        let session = self.sessions.get(self.connections.get(&connection)?)?;
        (session.connection == Some(connection)).then_some(session)
    }

    /// How much of a lease has run since it was renewed, not counting the broker's absence.
    pub(crate) fn elapsed(&self, since: u64, absent: u64) -> u64 {
        self.now.mono.saturating_sub(since).saturating_sub(self.absent - absent)
    }
}
