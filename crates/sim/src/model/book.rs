//! The book: the facts of the records, folded. It checks nothing; laws look at it before a fact
//! is entered. After a crash it is made anew from the facts that survived.

use super::entry::Sent;
use super::{AcceptedFact, Entry, Fact, Place, ReturnedFact};
use std::collections::{BTreeMap, BTreeSet};
use trunkline_types::{
    AgentId, Epoch, IdempotencyKey, InboxAddress, MessageId, Sequence, SkillName, Token,
    TopicPattern, WallTime,
};

/// What the records say, folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) epoch: Epoch,
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) sent: BTreeMap<MessageId, Sent>,
    /// The entries of each inbox that have not ended, in order of acceptance.
    pub(crate) open: BTreeMap<InboxAddress, BTreeSet<u64>>,
    /// The envelope that came first under each idempotency key.
    pub(crate) keys: BTreeMap<IdempotencyKey, MessageId>,
    pub(crate) agents: BTreeMap<AgentId, Vec<SkillName>>,
    /// Tokens with which a delivery was settled.
    pub(crate) used: BTreeSet<Token>,
    pub(crate) subscriptions: BTreeSet<(AgentId, TopicPattern)>,
}

impl Book {
    pub(crate) fn enter(&mut self, at: Sequence, fact: &Fact) {
        match fact {
            Fact::Boot { epoch } => self.epoch = *epoch,
            Fact::Agent { agent, skills } => {
                self.agents.insert(agent.clone(), skills.clone());
            }
            Fact::Subscribed { agent, pattern } => {
                self.subscriptions.insert((agent.clone(), pattern.clone()));
            }
            Fact::Unsubscribed { agent, pattern } => {
                self.subscriptions.remove(&(agent.clone(), pattern.clone()));
            }
            Fact::Accepted(fact) => self.accept(at, fact),
            Fact::Leased { entry, token, session } => self.change(at, *entry, |entry| {
                entry.place = Place::Leased;
                entry.token = Some(*token);
                entry.last_token = Some(*token);
                entry.holder = Some(*session);
                entry.begun = false;
                entry.leases += 1;
            }),
            Fact::Begun { entry } => self.change(at, *entry, |entry| entry.begun = true),
            Fact::Returned(fact) => self.give_back(at, *fact),
            Fact::Paused { entry } => self.change(at, *entry, |entry| {
                entry.place = Place::Paused;
                entry.was_paused = true;
                entry.token = None;
            }),
            Fact::Continued { entry, .. } => self.change(at, *entry, |entry| {
                entry.place = Place::Waiting;
                entry.due = WallTime(0);
                // It goes on from wherever it is put; lane order is not promised of it.
                entry.delayed = true;
            }),
            Fact::Ended { entry, how } => {
                self.change(at, *entry, |entry| {
                    entry.place = Place::Ended;
                    entry.token = None;
                    entry.end = Some(how.clone());
                });
                if let Some(ended) = self.entries.get(entry)
                    && let Some(open) = self.open.get_mut(&ended.inbox)
                {
                    open.remove(entry);
                }
            }
            Fact::Artifact { .. } | Fact::Lost => {}
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
        let ReturnedFact { entry, attempts, losses, due, token_stays } = fact;
        self.change(at, entry, |entry| {
            entry.place = Place::Waiting;
            entry.attempts = attempts;
            entry.losses = losses;
            entry.due = due;
            entry.delayed = true;
            if !token_stays {
                entry.token = None;
            }
        });
    }

    fn accept(&mut self, at: Sequence, fact: &AcceptedFact) {
        let AcceptedFact { publish, session, at: accepted_at, first_entry, inboxes, .. } = fact;
        let id = publish.envelope.id;
        let due = publish.options.delay.map(|delay| accepted_at.after(delay));
        let sent = Sent { at, publish: publish.clone(), entries: Vec::new() };
        let sent = self.sent.entry(id).or_insert(sent);
        for (number, inbox) in (*first_entry..).zip(inboxes) {
            let entry = Entry {
                number,
                publish: publish.clone(),
                inbox: inbox.clone(),
                sender: *session,
                accepted_at: *accepted_at,
                accepted: at,
                latest: at,
                place: Place::Waiting,
                attempts: 0,
                losses: 0,
                due: due.unwrap_or_default(),
                delayed: due.is_some(),
                token: None,
                last_token: None,
                holder: None,
                begun: false,
                was_paused: false,
                leases: 0,
                end: None,
            };
            self.entries.insert(number, entry);
            self.open.entry(inbox.clone()).or_default().insert(number);
            sent.entries.push(number);
        }
        if let Some(key) = &publish.envelope.idempotency_key {
            self.keys.entry(key.clone()).or_insert(id);
        }
    }
}
