//! How an actor speaks the session protocol: connects, numbers its operations, sends again what
//! is not answered, keeps its leases.

use super::person::{Pending, State, subscription};
use crate::totals::Count;
use crate::world::{Event, Link, ToBroker, ToClient, World, principal};
use trunkline_types::session::{
    ClientFrame, Credit, Hello, Operation, SessionItem, Subscription, Welcome,
};
use trunkline_types::{
    MessageId, Outcome, Partition, Refusal, RefusalCode, SessionId, Settle, TaskUpdate,
    TopicPattern,
};

impl World {
    /// An actor tries to connect, and soon tries again if nothing comes of it.
    pub(crate) fn connect(&mut self, number: usize) {
        let time = self.clock.time;
        let retry = crate::model::nanos(self.plan.engine.resume_grace) / 8;
        let actor = &self.actors[number];
        if actor.link().is_some() {
            return;
        }
        if actor.away_until > time {
            let at = actor.away_until;
            self.calendar.plan(at, Event::Connect(number));
            return;
        }
        // A hello that waits in the socket of a paused broker is not repeated.
        let waiting = match actor.state {
            State::Waiting(link) => self.links.get(&link).is_some_and(|row| row.broker_open),
            State::Away | State::Up(_) => false,
        };
        self.calendar.plan(time + retry, Event::Connect(number));
        if waiting || self.broker_is_down() {
            return;
        }
        self.connections += 1;
        let link = self.connections;
        self.links.insert(link, Link::new(number));
        let actor = &mut self.actors[number];
        actor.state = State::Waiting(link);
        let hello = Hello {
            session: actor.session,
            card: actor.card.clone(),
            credit: Credit { deliveries: actor.credit, events: 8 },
            subscriptions: actor.subscriptions.clone(),
            next_operation: actor.first,
            held: actor.held.keys().copied().collect(),
        };
        let principal = principal(actor.tenant);
        self.send(link, ToBroker::Hello(Box::new(hello), principal));
    }

    /// A packet reaches a client.
    pub(crate) fn at_client(&mut self, link: u64, packet: ToClient) {
        let Some(row) = self.links.get(&link).copied().filter(|row| row.client_open) else {
            return;
        };
        let number = row.actor;
        let own = match self.actors[number].state {
            State::Waiting(own) | State::Up(own) => own == link,
            State::Away => false,
        };
        if !own {
            return;
        }
        match packet {
            ToClient::Welcome(Ok(welcome)) => self.welcomed(number, link, &welcome),
            // It tries again when it has planned to: who is refused must not come ever more often.
            ToClient::Welcome(Err(_)) => {
                self.links.remove(&link);
                self.actors[number].state = State::Away;
            }
            ToClient::Gone => {
                self.links.remove(&link);
                self.lost(number);
            }
            ToClient::Item(item) => self.item(number, item),
        }
    }

    /// The connection is no more; the session is kept.
    pub(crate) fn lost(&mut self, number: usize) {
        self.actors[number].state = State::Away;
        let soon = crate::model::nanos(self.plan.engine.resume_grace) / 16;
        self.calendar.plan(self.clock.time + self.rng.u64(0..=soon), Event::Connect(number));
    }

    /// A session of its own, as after a start of its process.
    pub(crate) fn new_session(&mut self, number: usize) {
        let id = SessionId(self.rng.u128(..));
        let actor = &mut self.actors[number];
        actor.session = id;
        actor.first = 1;
        actor.resent = 1;
        actor.pending.clear();
        actor.held.clear();
        actor.event = 0;
        actor.followed.clear();
    }

    fn welcomed(&mut self, number: usize, link: u64, welcome: &Welcome) {
        let actor = &mut self.actors[number];
        actor.state = State::Up(link);
        actor.lease = crate::model::nanos(welcome.lease);
        actor.draining = false;
        if !welcome.resumed {
            actor.event = 0;
        }
        for token in &welcome.revoked {
            actor.held.remove(token);
            actor.old_tokens.push(*token);
        }
        self.resend(number);
        self.heartbeat(number);
        // A connection follows nothing until it is asked to; what was sent again has asked.
        let actor = &self.actors[number];
        let asked = |id: MessageId| {
            let watches = |pending: &Pending| matches!(pending.operation, Operation::Watch { task, .. } if task == id);
            actor.pending.iter().any(watches)
        };
        let followed = actor.followed.iter().filter(|(task, _)| !asked(**task));
        let followed: Vec<_> = followed.map(|(task, after)| (*task, *after)).collect();
        for (task, after) in followed {
            self.operate(number, vec![Operation::Watch { task, after }]);
        }
    }

    /// Sends operations under the next numbers; while there is no connection they wait.
    pub(crate) fn operate(&mut self, number: usize, operations: Vec<Operation>) {
        let actor = &mut self.actors[number];
        let first = actor.first + actor.pending.len() as u64;
        for operation in &operations {
            actor.pending.push_back(Pending { operation: operation.clone(), answered: false });
        }
        if let Some(link) = actor.link() {
            self.send(link, ToBroker::Frame(ClientFrame::Operations { first, operations }));
        }
    }

    /// Sends everything again from the first operation that is not answered. The numbers must
    /// have no gaps, and what was refused must not be done after all: in its place goes something
    /// that does nothing.
    pub(crate) fn resend(&mut self, number: usize) {
        let actor = &mut self.actors[number];
        let Some(link) = actor.link() else { return };
        let first = actor.first;
        actor.resent = first + actor.pending.len() as u64;
        let operations: Vec<_> =
            actor.pending.iter().map(|pending| pending.operation.clone()).collect();
        if !operations.is_empty() {
            self.send(link, ToBroker::Frame(ClientFrame::Operations { first, operations }));
        }
    }

    fn item(&mut self, number: usize, item: SessionItem) {
        match item {
            SessionItem::Done { first, last } => {
                for operation in first..=last {
                    self.answer(number, operation, true);
                }
            }
            SessionItem::Accepted(accepted) => self.answer(number, accepted.operation, true),
            SessionItem::Canceled(canceled) => self.answer(number, canceled.operation, true),
            SessionItem::Refused { operation, refusal } => {
                self.refused(number, operation, &refusal);
            }
            SessionItem::Delivery(delivery) => self.delivered(number, delivery),
            SessionItem::Event(event) => {
                let actor = &mut self.actors[number];
                actor.event = actor.event.max(event.number);
                let through = actor.event;
                if self.chance(400) || self.quiet {
                    self.frame(number, ClientFrame::Acknowledge { through });
                }
            }
            SessionItem::Task { task, update } => self.news(number, task, &update),
            SessionItem::Cancel { token, .. } => {
                let actor = &mut self.actors[number];
                if actor.held.remove(&token).is_some() {
                    actor.old_tokens.push(token);
                }
            }
            SessionItem::Reply(_)
            | SessionItem::Gathered(_)
            | SessionItem::Pressure(_)
            | SessionItem::Agent(_)
            | SessionItem::Drain { .. }
            | SessionItem::GoAway { reconnect: false, .. } => {}
            SessionItem::GoAway { reconnect: true, .. } => {
                if let Some(link) = self.actors[number].link() {
                    self.cut(link);
                    self.lost(number);
                }
            }
        }
    }

    fn news(&mut self, number: usize, task: MessageId, update: &TaskUpdate) {
        let last = match update {
            TaskUpdate::Event(event) => event.number,
            TaskUpdate::Gap { last, .. } => *last,
            TaskUpdate::Progress(_) => return,
        };
        if let Some(seen) = self.actors[number].followed.get_mut(&task) {
            *seen = last.max(*seen);
        }
        if let TaskUpdate::Event(event) = update
            && let trunkline_types::TaskEventBody::Status { state, .. } = event.body
        {
            let waits = matches!(
                state,
                trunkline_types::TaskState::InputRequired
                    | trunkline_types::TaskState::AuthRequired
            );
            if waits {
                self.answer_pause(number, task);
            }
            if state.is_terminal() {
                self.actors[number].followed.remove(&task);
            }
        }
    }

    fn refused(&mut self, number: usize, operation: u64, refusal: &Refusal) {
        if refusal.code == RefusalCode::OutOfOrder {
            // What was sent again meanwhile is on its way, and comes in order.
            if operation >= self.actors[number].resent {
                self.resend(number);
            }
            return;
        }
        let actor = &mut self.actors[number];
        let place = operation.checked_sub(actor.first).and_then(|at| usize::try_from(at).ok());
        let pending = place.and_then(|at| actor.pending.get_mut(at));
        let mut instead = None;
        if let Some(pending) = pending {
            if let (Operation::Settle(settle), RefusalCode::Invalid) =
                (&pending.operation, refusal.code)
            {
                // The delivery is still its own, and is to end all the same.
                let outcome = Outcome::Fail { reason: "it cannot wait".into() };
                instead = Some(Operation::Settle(Settle { token: settle.token, outcome }));
            }
            if let Operation::Watch { task, .. } = pending.operation {
                actor.followed.remove(&task);
            }
            let nothing = MessageId::from_parts(0, Partition(0), 0);
            pending.operation = Operation::Unwatch { task: nothing };
        }
        self.answer(number, operation, false);
        if let Some(operation) = instead {
            self.operate(number, vec![operation]);
        }
    }

    fn answer(&mut self, number: usize, operation: u64, done: bool) {
        let actor = &mut self.actors[number];
        let place = operation.checked_sub(actor.first).and_then(|at| usize::try_from(at).ok());
        if let Some(pending) = place.and_then(|at| actor.pending.get_mut(at)) {
            pending.answered = true;
            if let (true, Operation::Publish(publish)) = (done, &pending.operation) {
                actor.sent.push(publish.envelope.id);
            }
        }
        while actor.pending.front().is_some_and(|pending| pending.answered) {
            actor.pending.pop_front();
            actor.first += 1;
        }
    }

    pub(crate) fn frame(&mut self, number: usize, frame: ClientFrame) {
        if let Some(link) = self.actors[number].link() {
            self.send(link, ToBroker::Frame(frame));
        }
    }

    /// Renews the leases of what an actor works on.
    pub(crate) fn heartbeat(&mut self, number: usize) {
        let held = self.actors[number].held.iter().filter(|(_, held)| !held.stalled);
        let tokens: Vec<_> = held.map(|(token, _)| *token).collect();
        if !tokens.is_empty() {
            self.frame(number, ClientFrame::Heartbeat { tokens });
        }
        if !std::mem::replace(&mut self.actors[number].beating, true) {
            self.plan_beat(number);
        }
    }

    /// Plans the next heartbeat, in time for the lease that the actor was told.
    pub(crate) fn plan_beat(&mut self, number: usize) {
        let at = self.clock.time + self.actors[number].lease / 4;
        self.calendar.plan(at, Event::Beat(number));
    }

    /// It is time to renew leases.
    pub(crate) fn beat(&mut self, number: usize) {
        self.actors[number].beating = false;
        if !self.actors[number].held.is_empty() {
            self.heartbeat(number);
        }
    }

    /// Adds or removes a subscription at run time.
    pub(crate) fn resubscribe(&mut self, number: usize) {
        let agent = self.actors[number].card.is_some();
        let pattern = ["t.*", "t.a", "t.>", "t.b.*"][self.rng.usize(..4)];
        let pattern = pattern.parse().expect("the patterns are valid");
        let durable = agent && self.rng.bool();
        let subscription = self.subscription(pattern, durable);
        let leave = self.rng.bool();
        let own = &mut self.actors[number].subscriptions;
        let known = own.iter().any(|other| other.same_place(&subscription));
        own.retain(|other| !other.same_place(&subscription));
        let operation = if known && leave {
            Operation::Unsubscribe(subscription)
        } else {
            own.push(subscription.clone());
            Operation::Subscribe(subscription)
        };
        self.operate(number, vec![operation]);
    }

    fn subscription(&mut self, pattern: TopicPattern, durable: bool) -> Subscription {
        let (filters, groups) = (self.plan.traffic.filters, self.plan.traffic.groups);
        subscription(&mut self.rng, (filters, groups), pattern, durable)
    }

    /// Counts what an actor did on purpose.
    pub(crate) fn did(&mut self, count: Count) {
        self.totals.add(count);
    }
}
