//! The book: the facts of the records, folded. It checks nothing; laws look at it before a fact
//! is entered. After a crash it is made anew from the facts that survived.

use super::entry::Sent;
use super::{AcceptedFact, Ending, Entry, Fact, Moment, Place, ReturnedFact};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentCard, AgentControl, AgentId, Epoch, IdempotencyKey, InboxAddress, InboxSettings,
    MessageId, Publish, Schedule, ScheduleName, Sequence, SessionId, SkillName, Token, WallTime,
};

/// What the records say, folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) epoch: Epoch,
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) sent: BTreeMap<MessageId, Sent>,
    /// The entries of each inbox that have not ended, in order of acceptance.
    pub(crate) open: BTreeMap<InboxAddress, BTreeSet<u64>>,
    /// The envelopes that were accepted under each idempotency key, and when.
    pub(crate) keys: BTreeMap<IdempotencyKey, Vec<(MessageId, WallTime)>>,
    pub(crate) agents: BTreeMap<AgentId, AgentCard>,
    /// Tokens with which a delivery was settled.
    pub(crate) used: BTreeSet<Token>,
    pub(crate) subscriptions: Vec<(AgentId, Subscription)>,
    /// What operators have set about agents.
    pub(crate) controls: BTreeMap<AgentId, AgentControl>,
    /// Schedules, and when they are due.
    pub(crate) schedules: BTreeMap<ScheduleName, Recurring>,
    /// Dead letters that were sent again or deleted.
    pub(crate) cleared: BTreeSet<(MessageId, InboxAddress)>,
    /// Those that their bounds leave, in the order in which they died. Some may be gone because
    /// their time was over.
    pub(crate) letters: VecDeque<Letter>,
    /// How many went for newer ones.
    pub(crate) letters_gone: u64,
    /// Most dead letters, and most bytes of them.
    pub(crate) most_letters: (usize, u64),
    /// The record of the broker's latest start.
    pub(crate) boot: Sequence,
    /// How inboxes are run.
    pub(crate) settings: BTreeMap<InboxAddress, InboxSettings>,
    /// The time at which delays begin.
    pub(crate) now: Moment,
}

/// A dead letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Letter {
    pub(crate) id: MessageId,
    pub(crate) inbox: InboxAddress,
    pub(crate) entry: u64,
    /// Bytes of what it keeps of what others said.
    pub(crate) bytes: u64,
}

/// A schedule, and when it is due.
#[derive(Clone, Debug)]
pub(crate) struct Recurring {
    pub(crate) schedule: Schedule,
    pub(crate) next: Option<WallTime>,
    /// The latest due time for which it has made a message.
    pub(crate) last: Option<WallTime>,
    /// How many messages it has made.
    pub(crate) fired: u64,
}

impl Book {
    pub(crate) fn enter(&mut self, at: Sequence, fact: &Fact) {
        match fact {
            Fact::Boot { epoch } => (self.epoch, self.boot) = (*epoch, at),
            Fact::Agent(card) => {
                self.agents.insert(card.id.clone(), (**card).clone());
            }
            Fact::Subscribed { agent, subscription } => {
                self.unsubscribe(agent, subscription);
                self.subscriptions.push((agent.clone(), subscription.clone()));
            }
            Fact::Unsubscribed { agent, subscription } => self.unsubscribe(agent, subscription),
            Fact::Accepted(fact) => self.accept(at, fact),
            Fact::Leased { entry, token, session } => self.change(at, *entry, |entry| {
                if entry.token != Some(*token) {
                    entry.ran = Duration::ZERO;
                }
                entry.called_off = false;
                entry.place = Place::Leased;
                entry.token = Some(*token);
                entry.last_token = Some(*token);
                entry.holder = Some(*session);
                entry.begun = false;
                entry.leases += 1;
            }),
            Fact::Begun { entry } => self.change(at, *entry, |entry| entry.begun = true),
            Fact::Ran { entry, ran } => self.change(at, *entry, |entry| entry.ran = *ran),
            Fact::Returned(fact) => self.give_back(at, *fact),
            Fact::Paused { entry } => self.change(at, *entry, |entry| {
                entry.place = Place::Paused;
                entry.was_paused = true;
                entry.token = None;
            }),
            Fact::Continued { entry, .. } => self.change(at, *entry, |entry| {
                entry.place = Place::Waiting;
                (entry.due, entry.delay) = (WallTime(0), None);
                // It goes on from wherever it is put; lane order is not promised of it.
                entry.delayed = true;
            }),
            Fact::Ended { entry, how, said } => {
                self.change(at, *entry, |entry| {
                    entry.place = Place::Ended;
                    entry.token = None;
                    entry.end = Some(how.clone());
                    entry.said += said;
                });
                if let Some(ended) = self.entries.get(entry).cloned() {
                    self.leave(&ended);
                    if *how == Ending::DeadLettered {
                        self.died(&ended);
                    }
                }
            }
            Fact::AgentSet { agent, control, .. } => {
                self.controls.insert(agent.clone(), *control);
            }
            Fact::AgentGone { agent, .. } => {
                self.agents.remove(agent);
                self.controls.remove(agent);
                self.subscriptions.retain(|(owner, _)| owner != agent);
            }
            Fact::InboxSet { inbox, settings, .. } => {
                self.settings.insert(inbox.clone(), (**settings).clone());
            }
            Fact::Scheduled { schedule, next, .. } => {
                let known = self.schedules.get(&schedule.name);
                let (last, fired) = known.map_or((None, 0), |known| (known.last, known.fired));
                let (schedule, next) = ((**schedule).clone(), *next);
                let recurring = Recurring { schedule, next, last, fired };
                self.schedules.insert(recurring.schedule.name.clone(), recurring);
            }
            Fact::Unscheduled { name, .. } => {
                self.schedules.remove(name);
            }
            Fact::Fired { name, due, next, accepted } => {
                if let Some(known) = self.schedules.get_mut(name) {
                    known.next = *next;
                    known.last = Some(*due);
                    known.fired += 1;
                }
                self.accept(at, accepted);
            }
            Fact::Redriven { letter, inbox, accepted } => {
                self.clear(*letter, inbox);
                self.accept(at, accepted);
            }
            Fact::Purged { letter, inbox, .. } => {
                self.clear(*letter, inbox);
            }
            Fact::Routed { entry, first_entry, inboxes } => {
                self.change(at, *entry, |entry| entry.place = Place::Ended);
                let Some(pending) = self.entries.get(entry).cloned() else { return };
                self.leave(&pending);
                let (sender, accepted_at) = (pending.sender, pending.accepted_at);
                self.place(at, &pending.publish, sender, accepted_at, *first_entry, inboxes);
                self.end_waiting((*first_entry..).take(inboxes.len()));
            }
            Fact::Carried { entry } => self.say_again(at, *entry),
            Fact::Artifact { .. } | Fact::Lost | Fact::Elsewhere => {}
        }
    }

    /// The entries of an envelope.
    pub(crate) fn entries_of(&self, id: MessageId) -> impl Iterator<Item = &Entry> {
        let numbers = self.sent.get(&id).into_iter().flat_map(|sent| &sent.entries);
        numbers.filter_map(|number| self.entries.get(number))
    }

    /// The entries that have not ended.
    pub(crate) fn open_entries(&self) -> impl Iterator<Item = &Entry> {
        self.open.values().flatten().filter_map(|number| self.entries.get(number))
    }

    fn unsubscribe(&mut self, agent: &AgentId, subscription: &Subscription) {
        let same = |(owner, known): &(AgentId, Subscription)| {
            owner == agent && known.same_place(subscription)
        };
        self.subscriptions.retain(|row| !same(row));
    }

    fn change(&mut self, at: Sequence, number: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&number) {
            let token = entry.token;
            change(entry);
            entry.latest = at;
            if entry.token.is_none() {
                self.used.extend(token);
            }
        }
    }

    fn give_back(&mut self, at: Sequence, fact: ReturnedFact) {
        let ReturnedFact { entry, attempts, losses, due, at: from, .. } = fact;
        let ReturnedFact { token_stays, called_off, said, .. } = fact;
        let now = self.now;
        self.change(at, entry, |entry| {
            entry.place = Place::Waiting;
            entry.attempts = attempts;
            entry.losses = losses;
            entry.due = due;
            entry.delay = (due.0 > 0).then(|| due.since(from));
            entry.begin_delay(now);
            entry.delayed = true;
            entry.called_off = called_off;
            entry.said += said;
            if !token_stays {
                entry.token = None;
            }
        });
    }

    /// An entry was said again, if that was one.
    fn say_again(&mut self, at: Sequence, number: Option<u64>) {
        if let Some(entry) = number.and_then(|number| self.entries.get_mut(&number)) {
            entry.older = Some(entry.base);
            entry.base = at;
        }
    }

    /// An entry became a dead letter, for which older ones go if there are too many.
    fn died(&mut self, entry: &Entry) {
        let headers = entry.publish.envelope.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        let bytes = entry.size() + entry.said + headers as u64;
        let (id, inbox, entry) = (entry.id(), entry.inbox.clone(), entry.number);
        self.letters.push_back(Letter { id, inbox, entry, bytes });
        let (most, most_bytes) = self.most_letters;
        let bytes = |letters: &VecDeque<Letter>| letters.iter().map(|it| it.bytes).sum::<u64>();
        while self.letters.len() > 1
            && (self.letters.len() > most || bytes(&self.letters) > most_bytes)
        {
            self.letters.pop_front();
            self.letters_gone += 1;
        }
    }

    /// A dead letter was sent again or deleted.
    fn clear(&mut self, id: MessageId, inbox: &InboxAddress) {
        self.cleared.insert((id, inbox.clone()));
        self.letters.retain(|letter| (letter.id, &letter.inbox) != (id, inbox));
    }

    /// An entry has left its inbox.
    fn leave(&mut self, entry: &Entry) {
        if let Some(open) = self.open.get_mut(&entry.inbox) {
            open.remove(&entry.number);
        }
    }

    fn accept(&mut self, at: Sequence, fact: &AcceptedFact) {
        let AcceptedFact { publish, session, at: accepted_at, first_entry, inboxes, .. } = fact;
        let waiting = [pending()];
        let inboxes = if fact.pending { &waiting[..] } else { &inboxes[..] };
        self.place(at, publish, *session, *accepted_at, *first_entry, inboxes);
        if let Some(key) = &publish.envelope.idempotency_key {
            let first = (publish.envelope.id, *accepted_at);
            self.keys.entry(key.clone()).or_default().push(first);
        }
    }

    /// The time of entries has come.
    fn end_waiting(&mut self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            if let Some(entry) = self.entries.get_mut(&number) {
                (entry.due, entry.delay) = (WallTime(0), None);
            }
        }
    }

    fn place(
        &mut self,
        at: Sequence,
        publish: &Arc<Publish>,
        session: SessionId,
        accepted_at: WallTime,
        first_entry: u64,
        inboxes: &[InboxAddress],
    ) {
        let id = publish.envelope.id;
        let due = Some(publish.due(accepted_at)).filter(|due| due.0 > 0);
        let of_delay = |delay: &Duration| Some(accepted_at.after(*delay)) == due;
        let delay = publish.options.delay.filter(of_delay);
        let sent = Sent { at, publish: publish.clone(), entries: Vec::new() };
        let sent = self.sent.entry(id).or_insert(sent);
        for (number, inbox) in (first_entry..).zip(inboxes) {
            let mut entry = Entry {
                number,
                publish: publish.clone(),
                inbox: inbox.clone(),
                sender: session,
                accepted_at,
                accepted: at,
                latest: at,
                base: at,
                older: None,
                said: 0,
                place: Place::Waiting,
                attempts: 0,
                losses: 0,
                due: due.unwrap_or_default(),
                delay,
                over: 0,
                delayed: due.is_some(),
                token: None,
                last_token: None,
                holder: None,
                begun: false,
                ran: Duration::ZERO,
                called_off: false,
                was_paused: false,
                leases: 0,
                end: None,
            };
            entry.begin_delay(self.now);
            self.entries.insert(number, entry);
            self.open.entry(inbox.clone()).or_default().insert(number);
            sent.entries.push(number);
        }
    }
}

/// Stands for the queue, which nobody can address, of events that wait for their time or for
/// somebody to be there.
pub(crate) fn pending() -> InboxAddress {
    InboxAddress::Skill(SkillName::new("pending-events").expect("letters are a name"))
}
