//! What a session must tell a broker again: what it holds, what it wants, what it asked.

use crate::session::ledger::Ledger;
use std::collections::{HashMap, HashSet};
use trunkline_types::session::{Operation, Subscription, Welcome};
use trunkline_types::{MessageId, Refusal, RefusalCode, Token};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Deliveries that were handed to the sink, until their settlement is answered.
    held: HashSet<Token, foldhash::fast::RandomState>,
    /// Requests that want a reply and have none.
    requests: HashMap<MessageId, Request, foldhash::fast::RandomState>,
    /// Tasks whose outcome is to be looked up, found since they were last taken.
    stray: Vec<MessageId>,
    /// As the broker knows them: changed when the operation that changes them is answered.
    subscriptions: Vec<Subscription>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// The number of its operation on the wire.
    wire: u64,
    /// Whether its outcome can be looked up.
    task: bool,
    /// Whether it was sent to a broker that has forgotten the session since. That one may have
    /// accepted it and said so to nobody; then it has ended, or ends before the session is back,
    /// and its reply is said to nobody either.
    again: bool,
}

/// Requests whose reply a broker that forgot the session will not send.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Orphans {
    /// They are gone with the broker's memory.
    pub(super) lost: Vec<MessageId>,
    /// Their outcome can be looked up.
    pub(super) tasks: Vec<MessageId>,
}

impl Memory {
    pub(super) fn new(subscriptions: Vec<Subscription>, held: &[Token]) -> Self {
        let held = held.iter().copied().collect();
        Self { held, requests: HashMap::default(), stray: Vec::new(), subscriptions }
    }

    /// What to name in a hello, in a stable order.
    pub(super) fn held(&self) -> Vec<Token> {
        let mut held: Vec<Token> = self.held.iter().copied().collect();
        held.sort_unstable();
        held
    }

    pub(super) fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// A delivery goes to the sink.
    pub(super) fn delivered(&mut self, token: Token) {
        self.held.insert(token);
    }

    /// A delivery is no longer the session's.
    pub(super) fn revoked(&mut self, token: Token) {
        self.held.remove(&token);
    }

    /// An operation is on its way.
    pub(super) fn asked(&mut self, wire: u64, operation: &Operation) {
        if let Operation::Publish(publish) = operation
            && publish.options.reply
        {
            let request = Request { wire, task: publish.is_task(), again: false };
            self.requests.insert(publish.envelope.id, request);
        }
    }

    /// An operation is done.
    pub(super) fn done(&mut self, operation: Operation) {
        match operation {
            Operation::Settle(settle) => self.revoked(settle.token),
            Operation::Subscribe(subscription) => {
                match self.subscriptions.iter_mut().find(|other| other.same_place(&subscription)) {
                    Some(other) => *other = subscription,
                    None => self.subscriptions.push(subscription),
                }
            }
            Operation::Unsubscribe(subscription) => {
                self.subscriptions.retain(|other| !other.same_place(&subscription));
            }
            Operation::Publish(publish) => {
                let id = publish.envelope.id;
                self.stray.extend(self.requests.get(&id).filter(|sent| sent.again).map(|_| id));
            }
            _ => {}
        }
    }

    /// A publish was a repeat: the reply goes to whoever sent it first.
    pub(super) fn repeated(&mut self, operation: &Operation) {
        if let Operation::Publish(publish) = operation {
            self.requests.remove(&publish.envelope.id);
        }
    }

    /// An operation is refused.
    pub(super) fn refused(&mut self, operation: &Operation, refusal: &Refusal) {
        match operation {
            // Any other refusal leaves the delivery with the session, to be settled again.
            Operation::Settle(settle)
                if matches!(refusal.code, RefusalCode::StaleToken | RefusalCode::NotFound) =>
            {
                self.revoked(settle.token);
            }
            Operation::Publish(publish) => {
                self.requests.remove(&publish.envelope.id);
            }
            _ => {}
        }
    }

    /// Tasks to be looked up although the broker was asked for them again: it may have had them
    /// already. Each is given out once.
    pub(super) fn take_stray(&mut self) -> Vec<MessageId> {
        std::mem::take(&mut self.stray)
    }

    /// A request has its reply. Tells whether it had none before.
    pub(super) fn replied(&mut self, request: MessageId) -> bool {
        self.requests.remove(&request).is_some()
    }

    /// A broker welcomes the session again.
    pub(super) fn welcomed(&mut self, welcome: &Welcome, ledger: &Ledger) -> Orphans {
        for &token in &welcome.revoked {
            self.revoked(token);
        }
        let mut orphans = Orphans::default();
        if !welcome.resumed {
            // They are among the orphans again.
            self.stray.clear();
            for (&id, request) in &mut self.requests {
                if ledger.is_unanswered(request.wire) {
                    // It is sent again, and looked up when it is accepted.
                    request.again = request.task && ledger.was_told(request.wire);
                } else {
                    if request.task { &mut orphans.tasks } else { &mut orphans.lost }.push(id);
                }
            }
            orphans.lost.sort_unstable();
            orphans.tasks.sort_unstable();
            for id in &orphans.lost {
                self.requests.remove(id);
            }
        }
        orphans
    }
}
