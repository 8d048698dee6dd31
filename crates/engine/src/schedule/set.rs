//! Setting and removing schedules.

use super::table::Row;
use crate::admission::NO_SESSION;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::{Record, ScheduledRecord};
use crate::table::SessionKey;
use trunkline_types::{
    Destination, Durability, Kind, Publish, Refusal, RefusalCode, Schedule, ScheduleName, WallTime,
};

impl Engine {
    /// Sets a schedule. Returns how durable it must be before that is confirmed.
    pub(crate) fn set_schedule(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        schedule: Schedule,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        let tenant = self.sessions[session].tenant;
        self.check_schedule(session, &schedule)?;
        let next = self.first_due(now, session, &schedule)?;
        let limit = self.config.schedules;
        let schedules = &self.tenants[tenant].schedules;
        if !schedules.contains(&schedule.name) && schedules.len() >= limit {
            let message = format!(
                "there are {} schedules already, the limit is {limit}; remove those that are no \
                 longer wanted",
                schedules.len()
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let (bytes, limit) = (schedules.bytes_with(&schedule), self.config.schedule_bytes);
        if bytes > limit {
            let message = format!(
                "with schedule '{}' the schedules would have {bytes} bytes, the limit is {limit}; \
                 remove those that are no longer wanted",
                schedule.name
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let row = &self.sessions[session];
        let record = ScheduledRecord {
            tenant: self.tenants[tenant].id.clone(),
            owner: row.owner.to_string(),
            schedule,
            next: Some(next),
            session: row.id,
            operation,
            at: now.wall,
        };
        if self.config.logged {
            self.check_log()?;
            self.emit(Record::Scheduled(Box::new(record.clone())), out);
        }
        self.apply_scheduled(record);
        Ok(self.settings_level())
    }

    /// Forgets a schedule. Returns how durable that must be before it is confirmed.
    pub(crate) fn remove_schedule(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        name: ScheduleName,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        let row = &self.sessions[session];
        let (tenant, id) = (row.tenant, row.id);
        if !self.tenants[tenant].schedules.contains(&name) {
            let message = format!("there is no schedule '{name}'");
            return Err(Refusal::new(RefusalCode::NotFound, message));
        }
        self.apply_unscheduled(tenant, &name);
        if self.config.logged {
            let tenant = self.tenants[tenant].id.clone();
            let at = now.wall;
            self.emit(Record::Unscheduled { tenant, name, session: id, operation, at }, out);
        }
        Ok(self.settings_level())
    }

    fn settings_level(&self) -> Durability {
        if self.config.logged { Durability::Synced } else { Durability::Ephemeral }
    }

    /// When a schedule is due first. One that is set again keeps what it is waiting for; and no
    /// due time comes twice, not even if the clock was set back.
    fn first_due(
        &self,
        now: Now,
        session: SessionKey,
        schedule: &Schedule,
    ) -> Result<WallTime, Refusal> {
        let row = &self.sessions[session];
        let known = self.tenants[row.tenant].schedules.get(&schedule.name);
        if let Some(known) = known
            && (&known.schedule.cron, &known.schedule.zone) == (&schedule.cron, &schedule.zone)
            && let Some(next) = known.next
        {
            // Unless the clock was ahead when that was found.
            return Ok(self.earlier_due(now, known).unwrap_or(next));
        }
        let after = known.map_or(now.wall, |known| known.not_before(now));
        let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message);
        let Schedule { name, cron, zone, .. } = schedule;
        let next = self.config.rules.next_due(cron, zone, after).map_err(|problem| {
            invalid(format!("the cron expression of schedule '{name}': {problem}"))
        })?;
        next.filter(|&next| next > after).ok_or_else(|| {
            invalid(format!(
                "schedule '{name}' never fires: '{cron}' names no time to come; name a day that \
                 its month has"
            ))
        })
    }

    /// The clock was set back: a schedule that waits for a time which was found when the clock was
    /// ahead waits for the next one from now on. No due time comes twice for that.
    pub(crate) fn rewind_schedules(&mut self, now: Now, out: &mut Output) {
        let mut changed = Vec::new();
        for (key, tenant) in self.tenants.iter() {
            for (_, row) in tenant.schedules.after(None) {
                let Some(next) = self.earlier_due(now, row) else { continue };
                changed.push(ScheduledRecord {
                    tenant: self.tenants[key].id.clone(),
                    owner: row.owner.clone(),
                    schedule: row.schedule.clone(),
                    next: Some(next),
                    session: NO_SESSION,
                    operation: 0,
                    at: now.wall,
                });
            }
        }
        for record in changed {
            if self.config.logged {
                self.emit(Record::Scheduled(Box::new(record.clone())), out);
            }
            self.apply_scheduled(record);
        }
    }

    /// When a schedule is due before the time that it waits for, or at all if it waits for none.
    fn earlier_due(&self, now: Now, row: &Row) -> Option<WallTime> {
        let next = row.next.unwrap_or(WallTime(u64::MAX));
        if next <= now.wall {
            return None;
        }
        let (cron, zone, after) = (&row.schedule.cron, &row.schedule.zone, row.not_before(now));
        let earlier = self.config.rules.next_due(cron, zone, after).ok().flatten();
        earlier.filter(|&earlier| earlier > after && earlier < next)
    }

    /// What a schedule publishes must be what a session could publish, time and again.
    fn check_schedule(&self, session: SessionKey, schedule: &Schedule) -> Result<(), Refusal> {
        let Schedule { name, publish, cron, zone } = schedule;
        let limit = self.config.limits.header_bytes;
        for (what, text) in [("cron expression", cron), ("time zone", zone)] {
            if text.len() > limit {
                let size = text.len();
                let message = format!(
                    "the {what} of schedule '{name}' has {size} bytes, the limit is {limit}"
                );
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
        }
        let Publish { envelope, options } = &**publish;
        for (what, is_set, why) in [
            ("a reply", options.reply, "nobody waits for it; let the handler send what it finds"),
            ("gathering", options.gather.is_some(), "nobody waits for the answers"),
            ("an idempotency key", envelope.idempotency_key.is_some(), "it would be sent once"),
            ("a not-before time", options.not_before.is_some(), "its due time says when"),
        ] {
            if is_set {
                let message = format!("schedule '{name}' has {what}; leave it out: {why}");
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        }
        let several =
            !matches!(envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if several && envelope.kind == Kind::Request {
            let message = format!(
                "schedule '{name}' sends a request to '{}'; a request of a schedule goes to one \
                 agent or one skill",
                envelope.destination
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        Self::check_headers(envelope)?;
        // With the id and the headers that each message will have.
        let id = trunkline_types::MessageId::from_parts(0, self.config.partition, 0);
        let message = self.scheduled_publish(schedule, id, WallTime(u64::MAX));
        self.check_publish(session, &message)
    }
}
