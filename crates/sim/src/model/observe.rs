//! What the broker is told and what it writes, entered into the model.

use super::rules::nanos;
use super::{Asked, Cause, Fact, Model, Moment, Place, Rules, Session};
use crate::check::Check;
use crate::laws;
use crate::laws::bounds;
use crate::laws::breakers::Guard;
use crate::laws::choice::Choices;
use trunkline_types::session::{ClientFrame, Hello, Operation};
use trunkline_types::{InboxAddress, Sequence, SessionId, Token, WhenFull};

impl Model {
    /// The time at which the next thing happens.
    pub(crate) fn at(&mut self, now: Moment) {
        self.now = now;
        self.book.now = now;
        self.latest_wall = self.latest_wall.max(now.wall);
        self.cause = Cause::Other;
        self.unsettled = false;
        self.command += 1;
        if self.congested {
            self.last_congested = self.command;
        }
        self.before = (self.written, self.synced);
        self.latest = self.journal.last().map_or(Sequence(0), |(at, _)| *at);
        self.admitted.clear();
        self.gone_now = 0;
        self.loaded_before = self.loading.values().map(|(_, inbox, _)| inbox.clone()).collect();
        laws::numbers::pass(self);
    }

    /// The broker was away, and can tell so.
    pub(crate) fn was_absent(&mut self, span: std::time::Duration) {
        self.absent += nanos(span);
        self.back = Some((self.now.mono, self.absent));
    }

    /// The wall clock is about to be set. What is due already stays so, and so does when a delay is
    /// over.
    pub(crate) fn jumping(&mut self) {
        let wall = self.now.wall;
        self.jumped = true;
        let named = self.book.entries.values_mut().filter(|entry| entry.delay.is_none());
        for entry in named.filter(|entry| entry.due <= wall) {
            entry.due = trunkline_types::WallTime(0);
        }
    }

    /// Other settings are in force from now on.
    pub(crate) fn configure(&mut self, rules: Rules) {
        self.drops |= rules.when_full == WhenFull::DropOldest;
        self.rules = rules;
        self.reconfigured = true;
        self.configured = self.command;
        // What opens a breaker has changed in between, and so have the shares of a round.
        self.guards.values_mut().for_each(Guard::blur);
        self.passed.clear();
        // With less room payloads may leave memory that came back.
        self.read.clear();
        self.choices.values_mut().for_each(Choices::forget_turns);
        self.unsettled = true;
    }

    /// The broker begins its end in order.
    pub(crate) fn drains(&mut self) {
        self.draining.get_or_insert(self.arrivals);
    }

    pub(crate) fn ticking(&mut self) {
        self.cause = Cause::Tick;
    }

    pub(crate) fn space(&mut self, ample: bool) {
        self.ample = ample;
        self.was_full |= !ample;
    }

    pub(crate) fn congest(&mut self, congested: bool) {
        self.congested = congested;
        self.last_congested = self.command;
    }

    /// The log has got further, and the broker is told so.
    pub(crate) fn horizon(&mut self, written: Sequence, synced: Sequence) {
        self.written = self.written.max(written);
        self.synced = self.synced.max(synced);
    }

    /// A session introduces itself.
    pub(crate) fn connecting(&mut self, connection: u64, hello: &Hello, steady: bool) {
        let id = hello.session;
        self.cause = Cause::Hello;
        let session = self.sessions.entry(id).or_insert_with(|| Session::new(id));
        session.agent = hello.card.as_ref().map(|card| card.id.clone());
        session.steady = steady;
        session.lease = self.rules.lease;
        session.credit = hello.credit;
        session.draining = false;
        session.eased = self.command;
        session.welcomed = false;
        session.dismissed = false;
        for subscription in hello.subscriptions.iter().filter(|wanted| !wanted.durable) {
            session.note(subscription);
        }
        if let Some(old) = session.connection.replace(connection) {
            self.connections.remove(&old);
        }
        session.watches.clear();
        session.directory = None;
        session.followed = false;
        session.pressed.clear();
        session.next = hello.next_operation;
        session.lost_at = None;
        session.restarted = false;
        self.connections.insert(connection, id);
        self.choices.values_mut().for_each(Choices::forget_turns);
        self.forgive(id);
        for token in &hello.held {
            if let Some(grant) = self.granted.get_mut(token).filter(|grant| grant.session == id) {
                grant.connection = Some(connection);
                grant.touched = self.now.mono;
            }
        }
    }

    /// A connection broke, or the broker forgot it.
    pub(crate) fn disconnected(&mut self, connection: u64) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let back_for = self.back.map(|(mono, absent)| self.elapsed(mono, absent));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.connection == Some(connection) {
            session.connection = None;
            session.lost_at = Some(self.now);
            session.lost_absent = self.absent;
            session.back_for = back_for;
            session.restarted = false;
            session.watches.clear();
            session.directory = None;
            session.followed = false;
            session.pressed.clear();
            self.choices.values_mut().for_each(Choices::forget_turns);
            self.forgive(id);
        }
    }

    /// A frame reached the broker.
    pub(crate) fn frame(&mut self, connection: u64, frame: &ClientFrame) {
        let Some(id) = self.session_on(connection).map(|session| session.id) else { return };
        match frame {
            ClientFrame::Operations { first, operations } => {
                self.operations(id, *first, operations);
            }
            ClientFrame::Heartbeat { tokens } => self.heartbeat(id, tokens),
            ClientFrame::Credit(credit) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.credit = *credit;
                    session.eased = self.command;
                }
            }
            ClientFrame::Acknowledge { through } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    let events = &mut session.events;
                    events.acknowledged = events.acknowledged.max(*through).min(events.last());
                }
            }
            ClientFrame::Drain => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.draining = true;
                }
            }
            ClientFrame::Goodbye => {
                self.forgive(id);
                self.choices.values_mut().for_each(Choices::forget_turns);
                self.cause = Cause::Goodbye(id);
            }
        }
    }

    /// The broker wrote a record down. Every law that concerns it is checked first.
    pub(crate) fn fact(&mut self, at: Sequence, fact: Fact) -> Check {
        laws::fact(self, at, &fact)?;
        self.ease(&fact);
        laws::schedules::note_all(self);
        bounds::note_full(self, &fact);
        if let Fact::Ended { entry, .. } = &fact {
            self.ended.insert(*entry, self.now.wall);
        }
        laws::handing::ended(self, at, &fact);
        self.book.enter(at, &fact);
        bounds::note_full(self, &fact);
        laws::schedules::note_all(self);
        self.unsettled |= matches!(
            fact,
            Fact::AgentSet { .. } | Fact::AgentGone { .. } | Fact::InboxSet { .. } | Fact::Agent(_)
        );
        match &fact {
            // What the broker makes of itself was published by nobody.
            Fact::Fired { accepted, .. } | Fact::Redriven { accepted, .. } => {
                let publish = &accepted.publish;
                self.published.insert(publish.envelope.id, publish.clone());
            }
            Fact::Agent(card) => self.served.extend(card.skills.iter().cloned()),
            Fact::Unsubscribed { .. } => self.gone_now += 1,
            Fact::AgentGone { agent, .. } => {
                self.gone_now += 1;
                for (_, guard) in self.guards.iter_mut().filter(|((who, _), _)| who == agent) {
                    guard.renew();
                }
                let own = |session: &&mut Session| session.agent.as_ref() == Some(agent);
                self.sessions.values_mut().filter(own).for_each(|session| session.dismissed = true);
            }
            Fact::Accepted(accepted) => laws::pressure::owed(self, accepted),
            Fact::InboxSet { inbox, settings, .. } => {
                self.changed.insert(inbox.clone(), self.command);
                self.unsettle_waits(inbox);
                if settings.ttl.is_some() {
                    self.fading.insert(inbox.clone());
                }
                self.drops |= settings.when_full == Some(WhenFull::DropOldest);
            }
            Fact::Continued { entry, .. } => {
                self.continued.insert(*entry, (self.command, at));
            }
            _ => {}
        }
        self.journal.push((at, fact));
        Ok(())
    }

    /// What came together with a change of its inbox may wait for as long as was set before, or after.
    fn unsettle_waits(&mut self, inbox: &InboxAddress) {
        let command = self.command;
        let all = self.sessions.values_mut().flat_map(|session| session.asked.values_mut());
        for Asked { operation, arrived, .. } in all {
            if let (Operation::Publish(publish), Some(arrived)) = (operation, arrived)
                && arrived.command == command
                && laws::answers::only_inbox(publish).as_ref() == Some(inbox)
            {
                arrived.wait = None;
            }
        }
    }

    /// Whoever holds something less from now on can take more.
    fn ease(&mut self, fact: &Fact) {
        let (Fact::Ended { entry, .. } | Fact::Paused { entry }) = fact else {
            let Fact::Returned(back) = fact else { return };
            return self.ease_holder(back.entry);
        };
        self.ease_holder(*entry);
    }

    fn ease_holder(&mut self, entry: u64) {
        let entry = self.book.entries.get(&entry).filter(|entry| entry.place == Place::Leased);
        let holder = entry.and_then(|entry| entry.holder);
        if let Some(holder) = holder.and_then(|id| self.sessions.get_mut(&id)) {
            holder.eased = self.command;
        }
    }

    /// What a session was owed over a connection that is no more.
    fn forgive(&mut self, id: SessionId) {
        self.replies.retain(|(session, _)| *session != id);
        self.cancels.retain(|(session, _)| *session != id);
        self.owed_news.retain(|(session, _), _| *session != id);
    }

    fn heartbeat(&mut self, id: SessionId, tokens: &[Token]) {
        let (now, absent) = (self.now.mono, self.absent);
        for token in tokens {
            if let Some(grant) = self.granted.get_mut(token).filter(|grant| grant.session == id) {
                grant.renewed = now;
                grant.touched = now;
                grant.absent = absent;
            }
        }
    }
}
