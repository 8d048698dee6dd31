//! What clients ask for, entered into the model as the broker gets to it.

use super::reference::Fleeting;
use super::session::{Arrival, Fence};
use super::{Asked, Cause, Directory, Gathering, Model};
use crate::laws;
use crate::laws::nested::{self, Chain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trunkline_types::session::Operation;
use trunkline_types::{Destination, InboxAddress, Outcome, Publish, SessionId};

impl Model {
    /// A frame of operations reached the broker.
    pub(super) fn operations(&mut self, id: SessionId, first: u64, operations: &[Operation]) {
        let mut handled = Vec::new();
        let mut gone = Vec::new();
        let wall = self.now.wall;
        let latest = self.latest;
        for (number, operation) in (first..).zip(operations) {
            let wait = laws::waiting::allowed(self, operation);
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let next = session.next;
            let asked = session.asked.entry(number).or_insert_with(|| Asked::new(operation, wall));
            asked.copies += 1;
            if number > next {
                asked.early = true;
                continue;
            }
            if number < next {
                continue;
            }
            session.next += 1;
            self.arrivals += 1;
            let (command, order) = (self.command, self.arrivals);
            let (at, absent) = (self.now, self.absent);
            let arrival = |connection| Arrival { command, order, connection, at, absent, wait };
            asked.arrived = session.connection.map(arrival);
            if asked.refused {
                asked.refused = false;
                asked.handled = false;
            }
            if !asked.handled && asked.operation != *operation {
                // In the place of what was refused may come something else.
                asked.operation = operation.clone();
                asked.record = None;
                asked.recovered = false;
            }
            if std::mem::replace(&mut asked.handled, true) {
                // Asked for anew over each connection.
                if matches!(
                    operation,
                    Operation::Watch { .. }
                        | Operation::Unwatch { .. }
                        | Operation::WatchAgents(_)
                        | Operation::UnwatchAgents
                ) {
                    self.note(id, operation);
                }
                continue;
            }
            let before = asked.record.is_some() || asked.answers > 0;
            let fence = if before { Fence::Open } else { self.fence(id, operation, &handled) };
            let blocked = match operation {
                Operation::Publish(publish) => nested::chain(self, publish) != Chain::Free,
                _ => false,
            };
            if let Some(asked) = self.sessions.get_mut(&id).and_then(|s| s.asked.get_mut(&number)) {
                asked.fence = fence;
                asked.handled_at = wall;
                asked.behind = latest;
                asked.blocked = blocked;
            }
            handled.push(number);
            self.note(id, operation);
            if let (Operation::Publish(publish), true) = (operation, !gone.is_empty())
                && let Some(row) = self.gatherings.get_mut(&publish.envelope.id)
            {
                row.unsure.extend(gone.iter().cloned());
            }
            if let Operation::Unregister { agent } = operation {
                gone.push(agent.clone());
            }
        }
        self.cause = Cause::Frame { session: id, handled };
    }

    /// What must become of an operation, as far as it can be said before it is handled.
    fn fence(&self, id: SessionId, operation: &Operation, before: &[u64]) -> Fence {
        let Operation::Settle(settle) = operation else { return Fence::Open };
        let verdict = laws::fence::verdict(self, id, settle.token);
        let same = |number: &u64| {
            let asked = self.sessions.get(&id).and_then(|session| session.asked.get(number));
            asked.is_some_and(|asked| match &asked.operation {
                Operation::Settle(other) => other.token == settle.token,
                Operation::Cancel { .. } => true,
                _ => false,
            })
        };
        let pause = matches!(settle.outcome, Outcome::Pause { .. });
        if verdict == Fence::Good && (pause || before.iter().any(same)) {
            return Fence::Open;
        }
        verdict
    }

    /// What an operation changes in what the model expects.
    fn note(&mut self, id: SessionId, operation: &Operation) {
        match operation {
            Operation::Publish(publish) => {
                self.note_publish(publish);
                self.note_gathering(id, publish);
            }
            Operation::Subscribe(wanted) if !wanted.durable => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.note(wanted);
                }
            }
            Operation::Watch { task, after } => {
                laws::following::begins(self, id, *task, *after);
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.watches.entry(*task).or_default().push_back(after + 1);
                }
            }
            Operation::WatchAgents(filter) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    let filter = (**filter).clone();
                    let again = std::mem::replace(&mut session.followed, true);
                    session.directory = Some(Directory { filter, again, view: BTreeMap::new() });
                }
            }
            Operation::UnwatchAgents => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.directory = None;
                }
            }
            Operation::Unwatch { task } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.watches.remove(task);
                }
                laws::following::refused(self, id, *task);
            }
            Operation::Cancel { id: task, .. } => {
                for (key, fleeting) in &mut self.fleeting {
                    let root = fleeting.publish.envelope.root_id;
                    fleeting.over |= key.0 == *task || root == Some(*task);
                }
            }
            Operation::Settle(settle) => {
                if let Some(grant) = self.granted.get_mut(&settle.token)
                    && grant.entry.is_none()
                {
                    let key = (grant.id, grant.inbox.clone());
                    if let Some(fleeting) = self.fleeting.get_mut(&key) {
                        // Its place in the lane is unknown once it has left it.
                        fleeting.over = true;
                    }
                }
            }
            _ => {}
        }
    }

    fn note_gathering(&mut self, asker: SessionId, publish: &Publish) {
        let Some(gather) = &publish.options.gather else { return };
        let envelope = &publish.envelope;
        let registered = self.book.agents.iter();
        let asked = match &envelope.destination {
            Destination::Agents(ids) => ids.iter().cloned().collect(),
            Destination::All => registered
                .filter(|(id, _)| Some(*id) != envelope.source.as_ref())
                .map(|(id, _)| id.clone())
                .collect(),
            Destination::Skill(skill) => registered
                .filter(|(_, card)| card.skills.contains(skill))
                .map(|(id, _)| id.clone())
                .collect(),
            Destination::Agent(_) | Destination::Topic(_) => return,
        };
        let connection = self.sessions.get(&asker).and_then(|session| session.connection);
        let (rule, reply_bytes) = (gather.rule, u64::from(gather.reply_bytes));
        let unsure = BTreeSet::new();
        let row = Gathering { asker, connection, asked, unsure, rule, reply_bytes, told: false };
        self.gatherings.entry(envelope.id).or_insert(row);
    }

    fn note_publish(&mut self, publish: &Arc<Publish>) {
        self.published.entry(publish.envelope.id).or_insert_with(|| publish.clone());
        if publish.durability().is_logged() || publish.options.gather.is_some() {
            return;
        }
        let inbox = match &publish.envelope.destination {
            Destination::Agent(id) => InboxAddress::Agent(id.clone()),
            Destination::Skill(skill) => InboxAddress::Skill(skill.clone()),
            _ => return,
        };
        self.arrivals += 1;
        let order = self.arrivals;
        let publish = publish.clone();
        let fleeting = Fleeting { publish, order, accepted: false, over: false, latest: None };
        self.fleeting.entry((fleeting.publish.envelope.id, inbox)).or_insert(fleeting);
    }
}
