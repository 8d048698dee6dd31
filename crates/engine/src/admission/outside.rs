//! Publishes that wait outside a full inbox: unanswered, in order of arrival, until there is room
//! or their time is over.
//!
//! One that waits is neither done nor refused. It ends with its connection; the session sends it
//! again over the next one.

use super::frame::Answered;
use super::origin::Origin;
use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::table::{InboxKey, SessionKey};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{Durability, Publish, Refusal, RefusalCode, WallTime, WhenFull};

/// Who waits for room in an inbox, and who was told that it fills.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// In order of arrival.
    pub(crate) outside: VecDeque<Waiter>,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// The sessions that were told to slow down, and the percentage that they were told last.
    pub(crate) pressed: BTreeMap<SessionKey, u8>,
    /// Whether it is noted already that there is room.
    pub(crate) noted: bool,
}

/// A publish that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) session: SessionKey,
    /// The session's connection: the session leaves the queue when it loses that.
    pub(crate) connection: ConnectionKey,
    /// The number of its operation.
    pub(crate) operation: u64,
    /// When it came, from which its time to live counts.
    pub(crate) came: WallTime,
    pub(crate) publish: Arc<Publish>,
}

impl Waiter {
    fn size(&self) -> u64 {
        self.publish.envelope.payload.data.len() as u64
    }
}

impl Crowd {
    /// Takes out one that waits.
    fn remove(&mut self, at: usize) -> Option<Waiter> {
        let waiter = self.outside.remove(at)?;
        self.bytes -= waiter.size();
        Some(waiter)
    }
}

/// What a session has waiting outside: until when, in the engine's own time, which operation,
/// where. The one whose time is over first in front.
pub(crate) type Outside = BTreeSet<(Mono, u64, InboxKey)>;

impl Engine {
    /// How many publishes wait outside an inbox.
    pub(crate) fn outside_count(&self, inbox: InboxKey) -> usize {
        self.inboxes[inbox].crowd.as_ref().map_or(0, |crowd| crowd.outside.len())
    }

    /// What bounds those who wait outside an inbox, if one more of that size is too many.
    pub(crate) fn over_outside(&self, inbox: InboxKey, size: u64) -> Option<String> {
        let bytes = self.inboxes[inbox].crowd.as_ref().map_or(0, |crowd| crowd.bytes);
        let (most, most_bytes) = (self.config.waiting_outside, self.config.waiting_outside_bytes);
        if self.outside_count(inbox) >= most {
            return Some(format!("{most} wait outside, which is the limit"));
        }
        (bytes + size > most_bytes).then(|| {
            format!("with it {} bytes would wait outside, the limit is {most_bytes}", bytes + size)
        })
    }

    /// Whether what comes now must wait behind others.
    pub(crate) fn is_queued_outside(&self, inbox: InboxKey) -> bool {
        self.outside_count(inbox) > 0 && !self.planted(Defect::WaiterOvertaken)
    }

    /// Lets a publish wait outside an inbox.
    pub(crate) fn wait_outside(
        &mut self,
        now: Now,
        inbox: InboxKey,
        session: SessionKey,
        origin: &Origin,
        publish: &Arc<Publish>,
    ) -> Result<Answered, Refusal> {
        let (operation, came) = (origin.operation, origin.at);
        let wait = self.inboxes[inbox].settings().wait.unwrap_or(self.config.wait);
        let left = |ttl| Duration::from_millis(came.after(ttl).0.saturating_sub(now.wall.0));
        let wait = self.ttl_in(inbox, publish).map_or(wait, |ttl| left(ttl).min(wait));
        let Some(connection) = self.sessions[session].connection else {
            return Err(self.waited_in_vain(publish));
        };
        if wait.is_zero() {
            return Err(self.waited_in_vain(publish));
        }
        let wait = if self.planted(Defect::WaitCutShort) { wait / 2 } else { wait };
        let until = self.present(now).after(wait);
        let waiter = Waiter { session, connection, operation, came, publish: publish.clone() };
        let overtakes = self.planted(Defect::WaiterOvertaken);
        let crowd = self.inboxes[inbox].crowd.get_or_insert_default();
        crowd.bytes += waiter.size();
        if overtakes {
            crowd.outside.push_front(waiter);
        } else {
            crowd.outside.push_back(waiter);
        }
        self.sessions[session].outside.insert((until, operation, inbox));
        self.arm_session(session);
        Ok(Answered::Later)
    }

    /// Whether what has waited outside is still of use.
    fn check_outside(
        &self,
        now: Now,
        inbox: InboxKey,
        came: WallTime,
        publish: &Publish,
    ) -> Result<(), Refusal> {
        let over = |ttl| came.after(ttl) <= now.wall;
        if !self.ttl_in(inbox, publish).is_some_and(over) {
            return Ok(());
        }
        let message = format!(
            "the envelope's time to live has ended while it waited outside the full inbox of '{}'",
            publish.envelope.destination
        );
        Err(Refusal::new(RefusalCode::InboxFull, message))
    }

    fn waited_in_vain(&self, publish: &Publish) -> Refusal {
        let to = &publish.envelope.destination;
        let message = format!("the inbox of '{to}' was full for as long as the envelope may wait");
        Refusal::new(RefusalCode::InboxFull, message).retry_after(self.config.full_hint)
    }

    /// Something left an inbox: if anybody waits for room or was told to slow down, that is seen
    /// to before the call returns.
    pub(crate) fn room_made(&mut self, inbox: InboxKey) {
        if let Some(crowd) = &mut self.inboxes[inbox].crowd
            && !std::mem::replace(&mut crowd.noted, true)
        {
            self.roomy.push_back(inbox);
        }
    }

    /// Bounds may have changed: there may be room wherever somebody waits.
    pub(crate) fn room_made_anywhere(&mut self) {
        let crowded = self.inboxes.iter().filter(|(_, inbox)| inbox.crowd.is_some());
        for inbox in crowded.map(|(key, _)| key).collect::<Vec<_>>() {
            self.room_made(inbox);
        }
    }

    /// Sees to an inbox in which room was made.
    pub(crate) fn use_room(&mut self, now: Now, inbox: InboxKey, out: &mut Output) {
        if let Some(crowd) = &mut self.inboxes[inbox].crowd {
            crowd.noted = false;
        }
        self.admit_outside(now, inbox, out);
        self.ease_pressure(inbox, out);
        self.disperse(inbox);
    }

    /// Admits those who wait outside for as long as there is room; all of them, or refuses them,
    /// if the inbox is no longer one to wait for.
    fn admit_outside(&mut self, now: Now, inbox: InboxKey, out: &mut Output) {
        // Each is tried once: one that goes elsewhere by now may have to wait there.
        for _ in 0..self.outside_count(inbox) {
            let crowd = self.inboxes[inbox].crowd.as_ref();
            let Some(first) = crowd.and_then(|crowd| crowd.outside.front()) else { return };
            let size = first.publish.envelope.payload.data.len() as u64;
            let durability = first.publish.durability();
            let level = if self.config.logged { durability } else { Durability::Ephemeral };
            // Where nobody waits any more, everybody is admitted or refused.
            let waits = self.when_full(inbox) == WhenFull::Wait;
            if waits && self.over_bound(inbox, level, size).is_some() {
                return;
            }
            let crowd = self.inboxes[inbox].crowd.as_mut();
            let Some(waiter) = crowd.and_then(|crowd| crowd.remove(0)) else { return };
            let Waiter { session, connection, operation, came, publish } = waiter;
            self.sessions[session].outside.retain(|&(_, number, _)| number != operation);
            let latest = self.sequence;
            let result = match self.check_outside(now, inbox, came, &publish) {
                Ok(()) => self.publish_in_turn(now, session, (operation, came), &publish, out),
                Err(refusal) => {
                    let tenant = self.sessions[session].tenant;
                    self.tenants[tenant].tally.refused += 1;
                    Err(refusal)
                }
            };
            self.remember(session, operation, latest, &result);
            self.answer(now, connection, operation, result, out);
        }
    }

    /// Refuses what a session has had waiting for as long as it may.
    pub(crate) fn expire_outside(&mut self, now: Now, session: SessionKey, out: &mut Output) {
        let present = self.present(now);
        while let Some(&(until, operation, inbox)) = self.sessions[session].outside.first() {
            if until > present {
                return;
            }
            self.sessions[session].outside.pop_first();
            let Some(crowd) = &mut self.inboxes[inbox].crowd else { continue };
            let mine = |waiter: &Waiter| waiter.session == session && waiter.operation == operation;
            let at = crowd.outside.iter().position(mine);
            let Some(waiter) = at.and_then(|at| crowd.remove(at)) else { continue };
            let refusal = self.waited_in_vain(&waiter.publish);
            let tenant = self.sessions[session].tenant;
            self.tenants[tenant].tally.refused += 1;
            self.answer(now, waiter.connection, operation, Err(refusal), out);
            // Behind one that waits for a bound of its own there may be some that need not.
            self.room_made(inbox);
        }
    }

    /// A session has lost its connection: what it has waiting is sent again over the next one.
    pub(crate) fn leave_outside(&mut self, session: SessionKey) {
        let outside = std::mem::take(&mut self.sessions[session].outside);
        let inboxes: BTreeSet<InboxKey> = outside.into_iter().map(|(.., inbox)| inbox).collect();
        for inbox in inboxes {
            if let Some(crowd) = &mut self.inboxes[inbox].crowd {
                crowd.outside.retain(|waiter| waiter.session != session);
                crowd.bytes = crowd.outside.iter().map(Waiter::size).sum();
            }
            self.room_made(inbox);
        }
    }

    /// Forgets a crowd that nobody is in.
    pub(crate) fn disperse(&mut self, inbox: InboxKey) {
        let row = &mut self.inboxes[inbox];
        let empty =
            |crowd: &Crowd| crowd.outside.is_empty() && crowd.pressed.is_empty() && !crowd.noted;
        if row.crowd.as_deref().is_some_and(empty) {
            row.crowd = None;
        }
    }
}
