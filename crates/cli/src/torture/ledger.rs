//! What was promised: everything that crossed the border between the load and the broker.
//!
//! Filled by the witnesses while the broker is being killed, read by the verdict when all is
//! quiet. It draws no conclusions but those that must be drawn on the spot.

use crate::output::units::now;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use trunkline_types::session::{Accepted, Delivery, Welcome};
use trunkline_types::{
    Epoch, IdempotencyKey, MessageId, Outcome, Publish, Refusal, RefusalCode, Settle, Token,
    WallTime,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// How much has flowed, for those who wait until it flows again.
    flow: watch::Sender<Flow>,
}

/// How much has flowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flow {
    /// Publishes accepted.
    pub(super) accepted: u64,
    /// Settlements confirmed.
    pub(super) settled: u64,
    /// Publishes refused because the disk is full.
    pub(super) full: u64,
}

/// The ledger's contents.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Every publish, by the id of its envelope.
    pub(super) sent: HashMap<MessageId, Sent>,
    /// What was accepted under each idempotency key.
    pub(super) keys: BTreeMap<IdempotencyKey, Keyed>,
    /// Every delivery, by its token.
    pub(super) deliveries: HashMap<Token, Delivered>,
    /// Tokens that came twice.
    pub(super) repeated: Vec<Token>,
    /// Deliveries whose payload is not what was sent.
    pub(super) altered: Vec<MessageId>,
    /// Every settlement, by its token.
    pub(super) settles: HashMap<Token, Said>,
    /// How many operations were said.
    pub(super) operations: u64,
    /// When each of those that were answered was said, and when answered.
    pub(super) answered: Vec<(WallTime, WallTime)>,
    /// Acceptances that were repeats under a key.
    pub(super) duplicates: u64,
    /// Deliveries with an attempt above the first.
    pub(super) retries: u64,
    /// Sessions that came back.
    pub(super) returns: u64,
    /// The latest epoch that a session was welcomed in, or that a delivery was of.
    pub(super) epoch: Epoch,
    /// Settlements confirmed by a broker that was started after the delivery.
    pub(super) kept: u64,
    /// Why sessions ended that should not have.
    pub(super) dismissed: Vec<String>,
}

/// A publish.
#[derive(Debug)]
pub(super) struct Sent {
    /// What was sent.
    pub(super) publish: Arc<Publish>,
    /// When.
    pub(super) at: WallTime,
    /// What the broker said.
    pub(super) answer: Option<Result<MessageId, Refusal>>,
}

/// What was accepted under one idempotency key.
#[derive(Debug)]
pub(super) struct Keyed {
    /// Which ids.
    pub(super) ids: BTreeSet<MessageId>,
    /// When the first that was accepted was sent.
    pub(super) from: WallTime,
    /// When the last was accepted.
    pub(super) until: WallTime,
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Delivered {
    /// What was delivered.
    pub(super) id: MessageId,
    /// When.
    pub(super) at: WallTime,
    /// Whether it is a task, which outlives its broker.
    pub(super) is_task: bool,
}

/// A settlement.
#[derive(Debug)]
pub(super) struct Said {
    /// What it was about.
    pub(super) id: Option<MessageId>,
    /// How it was to end.
    pub(super) outcome: Outcome,
    /// What the broker said.
    pub(super) answer: Option<Result<(), Refusal>>,
    /// When it said so.
    pub(super) answered: Option<WallTime>,
}

impl Ledger {
    /// An empty ledger.
    pub(super) fn new() -> Self {
        Self { books: Mutex::default(), flow: watch::Sender::default() }
    }

    /// What is written in it.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }

    /// How much has flowed.
    pub(super) fn flow(&self) -> watch::Receiver<Flow> {
        self.flow.subscribe()
    }

    /// A publish leaves.
    pub(super) fn published(&self, publish: &Arc<Publish>) {
        let sent = Sent { publish: Arc::clone(publish), at: now(), answer: None };
        self.books().sent.insert(publish.envelope.id, sent);
    }

    /// A settlement leaves.
    pub(super) fn settling(&self, settle: &Settle) {
        let mut books = self.books();
        let id = books.deliveries.get(&settle.token).map(|delivered| delivered.id);
        let said = Said { id, outcome: settle.outcome.clone(), answer: None, answered: None };
        books.settles.insert(settle.token, said);
    }

    /// Operations leave.
    pub(super) fn said(&self, operations: usize) {
        self.books().operations += operations as u64;
    }

    /// An operation was answered that was said at that time.
    pub(super) fn answered(&self, said: WallTime) {
        self.books().answered.push((said, now()));
    }

    /// A publish was accepted.
    pub(super) fn accepted(&self, id: MessageId, more: Option<&Accepted>) {
        let mut books = self.books();
        let accepted = more.map_or(id, |more| more.id);
        books.duplicates += u64::from(more.is_some_and(|more| more.duplicate));
        if let Some(sent) = books.sent.get_mut(&id) {
            sent.answer = Some(Ok(accepted));
            if let Some(key) = sent.publish.envelope.idempotency_key.clone() {
                let (from, until) = (sent.at, now());
                let fresh = || Keyed { ids: BTreeSet::new(), from, until };
                let keyed = books.keys.entry(key).or_insert_with(fresh);
                keyed.ids.insert(accepted);
                keyed.from = keyed.from.min(from);
                keyed.until = until;
            }
        }
        drop(books);
        self.flow.send_modify(|flow| flow.accepted += 1);
    }

    /// A publish was refused.
    pub(super) fn refused(&self, id: MessageId, refusal: &Refusal) {
        if let Some(sent) = self.books().sent.get_mut(&id) {
            sent.answer = Some(Err(refusal.clone()));
        }
        if refusal.code == RefusalCode::DiskFull {
            self.flow.send_modify(|flow| flow.full += 1);
        }
    }

    /// A settlement was answered.
    pub(super) fn settled(&self, token: Token, answer: Result<(), Refusal>) {
        let confirmed = answer.is_ok();
        let mut books = self.books();
        books.kept += u64::from(confirmed && token.epoch < books.epoch);
        if let Some(said) = books.settles.get_mut(&token) {
            said.answer = Some(answer);
            said.answered = Some(now());
        }
        drop(books);
        if confirmed {
            self.flow.send_modify(|flow| flow.settled += 1);
        }
    }

    /// A delivery came.
    pub(super) fn delivered(&self, delivery: &Delivery) {
        let Delivery { token, publish, attempt, .. } = delivery;
        let id = publish.envelope.id;
        let mut books = self.books();
        books.epoch = books.epoch.max(token.epoch);
        let delivered = Delivered { id, at: now(), is_task: publish.is_task() };
        if books.deliveries.insert(*token, delivered).is_some() {
            books.repeated.push(*token);
        }
        books.retries += u64::from(*attempt > 1);
        let altered = books
            .sent
            .get(&id)
            .is_some_and(|sent| sent.publish.envelope.payload != publish.envelope.payload);
        if altered {
            books.altered.push(id);
        }
    }

    /// The leases on tasks under which agents of this process are at work, given since a time by
    /// the latest broker that anybody has heard, each with its task. Those whose settlement is on
    /// its way are among them.
    pub(super) fn leases(&self, since: WallTime) -> BTreeMap<Token, MessageId> {
        let books = self.books();
        let open = |(token, _): &(&Token, &Delivered)| {
            let said = books.settles.get(token);
            token.epoch == books.epoch && said.is_none_or(|said| said.answer.is_none())
        };
        let young = |delivered: &Delivered| delivered.is_task && delivered.at >= since;
        let tasks = books.deliveries.iter().filter(|(_, delivered)| young(delivered));
        tasks.filter(open).map(|(token, delivered)| (*token, delivered.id)).collect()
    }

    /// Those of some leases that the latest broker gave. What a broker said just before it was
    /// killed may arrive when the next one runs already and has been heard by nobody yet: such a
    /// lease it need not know, if what told of it was never flushed.
    pub(super) fn of_latest_broker(
        &self,
        mut leases: BTreeMap<Token, MessageId>,
    ) -> BTreeMap<Token, MessageId> {
        let epoch = self.books().epoch;
        leases.retain(|token, _| token.epoch == epoch);
        leases
    }

    /// A session came back.
    pub(super) fn reconnected(&self, welcome: &Welcome) {
        let mut books = self.books();
        books.returns += 1;
        books.epoch = books.epoch.max(welcome.epoch);
    }

    /// A session was ended by the broker.
    pub(super) fn dismissed(&self, reason: &str) {
        self.books().dismissed.push(reason.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Destination, Envelope, Epoch, InboxAddress, Kind, Partition, WallTime};

    fn publish(unique: u64, text: &str) -> Arc<Publish> {
        let id = MessageId::from_parts(1, Partition(0), unique);
        let to = Destination::skill("s").unwrap();
        Arc::new(Publish::new(Envelope::new(id, Kind::Request, to, text.into())))
    }

    fn delivery(counter: u64, publish: &Arc<Publish>) -> Delivery {
        Delivery {
            token: Token { epoch: Epoch(1), counter },
            publish: Arc::clone(publish),
            inbox: InboxAddress::Skill("s".parse().unwrap()),
            attempt: 1,
            accepted_at: WallTime(0),
            expires_at: None,
            backlog: 0,
            backlog_age: std::time::Duration::ZERO,
            messages: Vec::new(),
            number: 1,
            missed: Vec::new(),
            max_run: None,
        }
    }

    #[test]
    fn leases_are_those_of_young_tasks_that_are_not_settled_at_the_latest_broker() {
        let ledger = Ledger::new();
        let task = |unique| {
            let mut publish = (*publish(unique, "one")).clone();
            publish.options.task = true;
            Arc::new(publish)
        };
        let token = |epoch, counter| Token { epoch: Epoch(epoch), counter };
        for (epoch, counter, publish) in [
            (1, 1, task(1)),
            (2, 2, task(2)),
            (2, 3, task(3)),
            // No task: it dies with its broker.
            (2, 4, publish(4, "one")),
        ] {
            let delivery = Delivery { token: token(epoch, counter), ..delivery(counter, &publish) };
            ledger.delivered(&delivery);
        }
        let outcome = Outcome::Complete { reply: None };
        ledger.settling(&Settle { token: token(2, 2), outcome });
        let id = |unique| task(unique).envelope.id;
        let all = BTreeMap::from([(token(2, 2), id(2)), (token(2, 3), id(3))]);
        assert_eq!(ledger.leases(WallTime(0)), all);
        ledger.settled(token(2, 2), Ok(()));
        assert_eq!(ledger.leases(WallTime(0)), BTreeMap::from([(token(2, 3), id(3))]));
        assert_eq!(ledger.leases(now().after(std::time::Duration::from_mins(1))), BTreeMap::new());
    }

    #[test]
    fn leases_of_a_broker_that_was_killed_are_not_those_of_the_one_that_runs() {
        let ledger = Ledger::new();
        let mut task = (*publish(1, "one")).clone();
        task.options.task = true;
        let task = Arc::new(task);
        ledger.delivered(&delivery(1, &task));
        let leases = ledger.leases(WallTime(0));
        let token = Token { epoch: Epoch(1), counter: 1 };
        let of_now = ledger.of_latest_broker(leases.clone());
        assert_eq!(of_now, BTreeMap::from([(token, task.envelope.id)]));
        // The next broker is heard only after the leases were looked up.
        let next = Token { epoch: Epoch(2), counter: 2 };
        ledger.delivered(&Delivery { token: next, ..delivery(2, &task) });
        assert_eq!(ledger.of_latest_broker(leases), BTreeMap::new());
    }

    #[test]
    fn repeated_tokens_and_altered_payloads_are_noticed() {
        let ledger = Ledger::new();
        let sent = publish(1, "one");
        ledger.published(&sent);
        ledger.delivered(&delivery(1, &sent));
        ledger.delivered(&delivery(2, &publish(1, "two")));
        ledger.delivered(&delivery(2, &sent));
        let books = ledger.books();
        assert_eq!(books.altered, [sent.envelope.id]);
        assert_eq!(books.repeated, [Token { epoch: Epoch(1), counter: 2 }]);
    }

    #[test]
    fn what_flows_is_told_to_those_who_wait() {
        let ledger = Ledger::new();
        let flow = ledger.flow();
        let sent = publish(1, "one");
        ledger.published(&sent);
        ledger.accepted(sent.envelope.id, None);
        assert_eq!(*flow.borrow(), Flow { accepted: 1, settled: 0, full: 0 });
        assert_eq!(ledger.books().sent[&sent.envelope.id].answer, Some(Ok(sent.envelope.id)));
    }
}
