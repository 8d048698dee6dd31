//! Schedules that are due.

use crate::admission::{Cause, NO_SESSION, Origin};
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::table::TenantKey;
use smol_str::{SmolStr, ToSmolStr};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    DUE_HEADER, Durability, MessageId, Publish, Refusal, RefusalCode, SCHEDULE_HEADER, Schedule,
    ScheduleName, WallTime,
};

/// How long after a refusal the message of a schedule is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// When a schedule is to be looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Firing {
    pub(crate) at: WallTime,
    pub(crate) tenant: TenantKey,
    pub(crate) name: ScheduleName,
}

impl Engine {
    /// When a schedule is to be looked at next.
    pub(crate) fn next_firing(&self) -> Option<WallTime> {
        self.firings.first().map(|firing| firing.at)
    }

    /// Publishes the messages of all schedules that are due.
    pub(crate) fn fire_schedules(&mut self, now: Now, out: &mut Output) {
        while self.next_firing().is_some_and(|at| at <= now.wall) {
            let Some(Firing { tenant, name, .. }) = self.firings.pop_first() else { return };
            let Some(row) = self.tenants[tenant].schedules.get_mut(&name) else { continue };
            row.wake = None;
            let Some(due) = row.next else { continue };
            if due > now.wall {
                // The clock was set back while it was being tried again.
                self.arm_schedule(tenant, &name, Some(due));
                continue;
            }
            self.fire(now, tenant, &name, due, out);
        }
    }

    /// Publishes the message of a schedule that is due, or notes why that cannot be.
    fn fire(
        &mut self,
        now: Now,
        tenant: TenantKey,
        name: &ScheduleName,
        due: WallTime,
        out: &mut Output,
    ) {
        let Some(row) = self.tenants[tenant].schedules.get(name) else { return };
        let Schedule { cron, zone, .. } = &row.schedule;
        // What else was due until now is made up for by this one message.
        let next = self.config.rules.next_due(cron, zone, now.wall);
        let (next, ended) = match next {
            Ok(next) => (next.filter(|&next| next > now.wall), None),
            Err(problem) => (None, Some(Refusal::new(RefusalCode::Invalid, problem))),
        };
        if self.planted(Defect::LostFiring) && self.rng.u8(..) < 64 {
            if let Some(row) = self.tenants[tenant].schedules.get_mut(name) {
                row.next = next;
            }
            self.arm_schedule(tenant, name, next);
            return;
        }
        let id = self.scheduled_id(name, due);
        let Some(row) = self.tenants[tenant].schedules.get(name) else { return };
        let publish = Arc::new(self.scheduled_publish(&row.schedule, id, due));
        let cause = Cause::Schedule { name: name.clone(), due, next };
        let origin = Origin {
            tenant,
            session: NO_SESSION,
            operation: 0,
            at: now.wall,
            sender: None,
            in_turn: false,
            cause,
        };
        let checked = publish.check(&self.config.limits);
        let result = checked.and_then(|()| self.admit(now, &origin, &publish, out));
        let refused = match result {
            Ok(_) => {
                self.apply_fired(tenant, name, id, due, next);
                ended
            }
            Err(refusal) => {
                self.arm_schedule(tenant, name, Some(now.wall.after(TRY_AGAIN)));
                Some(refusal)
            }
        };
        if let Some(row) = self.tenants[tenant].schedules.get_mut(name) {
            row.refused = refused;
        }
    }

    /// What a schedule publishes for a due time.
    pub(super) fn scheduled_publish(
        &self,
        schedule: &Schedule,
        id: MessageId,
        due: WallTime,
    ) -> Publish {
        let mut publish = Publish::clone(&schedule.publish);
        publish.envelope.id = id;
        let headers = &mut publish.envelope.headers;
        let name = SmolStr::new(schedule.name.as_str());
        headers.push((SmolStr::new_static(SCHEDULE_HEADER), name));
        headers.push((SmolStr::new_static(DUE_HEADER), due.0.to_smolstr()));
        // It will not be made again, so it is kept unless its schedule says otherwise.
        if self.config.logged {
            publish.options.durability.get_or_insert(Durability::Synced);
        }
        publish
    }

    /// An id that no other message has: chance alone starts over with the seed after a restart,
    /// but epochs do not.
    fn scheduled_id(&mut self, name: &ScheduleName, due: WallTime) -> MessageId {
        let mut hasher = foldhash::quality::FixedState::with_seed(self.rng.u64(..)).build_hasher();
        hasher.write_u32(self.epoch.0);
        hasher.write(name.as_str().as_bytes());
        MessageId::from_parts(due.0, self.config.partition, hasher.finish())
    }
}
