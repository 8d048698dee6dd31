//! The schedules of a tenant, and what a record says of them. Shared by live commands and replay.

use super::Firing;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::ScheduledRecord;
use crate::table::TenantKey;
use std::collections::BTreeMap;
use std::ops::Bound;
use trunkline_types::{MessageId, Refusal, Schedule, ScheduleName, Sequence, WallTime};

/// The schedules of one tenant, in the order of their names.
#[derive(Debug)]
pub(crate) struct Schedules {
    rows: BTreeMap<ScheduleName, Row>,
    /// How large they are together, see [`size`].
    bytes: u64,
}

/// One schedule. What it has made stays with its name when it is replaced.
#[derive(Debug)]
pub(crate) struct Row {
    /// The subject of the principal that set it.
    pub(crate) owner: String,
    pub(crate) schedule: Schedule,
    /// When it is due; overdue while its message cannot be published.
    pub(crate) next: Option<WallTime>,
    /// When it is looked at next, in wall time.
    pub(crate) wake: Option<u64>,
    pub(crate) fired: u64,
    pub(crate) last: Option<(MessageId, WallTime)>,
    /// The oldest record that a replay needs to rebuild it.
    pub(crate) base: Sequence,
    pub(super) refused: Option<Refusal>,
}

impl Row {
    /// The time after which it may be due: now, or the latest due time, whatever the clock says.
    pub(super) fn not_before(&self, now: Now) -> WallTime {
        self.last.map_or(now.wall, |(_, due)| due.max(now.wall))
    }
}

impl Row {
    /// A schedule that is said again at a place, with when it is due next, how often it was due,
    /// and its latest message.
    pub(crate) fn carried(
        owner: String,
        schedule: Schedule,
        (next, fired, last): (Option<WallTime>, u64, Option<(MessageId, WallTime)>),
        base: Sequence,
    ) -> Self {
        Self { owner, schedule, next, wake: None, fired, last, base, refused: None }
    }
}

impl Schedules {
    /// Sets or replaces one; whoever does so arms it.
    pub(crate) fn insert(&mut self, name: ScheduleName, row: Row) {
        self.bytes = self.bytes_with(&row.schedule);
        self.rows.insert(name, row);
    }

    pub(crate) const fn new() -> Self {
        Self { rows: BTreeMap::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How large they would be together if one were set.
    pub(crate) fn bytes_with(&self, schedule: &Schedule) -> u64 {
        let known = self.rows.get(&schedule.name).map_or(0, |row| size(&row.schedule));
        self.bytes - known + size(schedule)
    }

    /// Whether the bytes are those of the schedules that there are, for checks.
    pub(crate) fn is_consistent(&self) -> bool {
        self.bytes == self.rows.values().map(|row| size(&row.schedule)).sum::<u64>()
    }

    pub(crate) fn contains(&self, name: &ScheduleName) -> bool {
        self.rows.contains_key(name)
    }

    pub(crate) fn get(&self, name: &ScheduleName) -> Option<&Row> {
        self.rows.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &ScheduleName) -> Option<&mut Row> {
        self.rows.get_mut(name)
    }

    /// Those whose names come after one, in their order.
    pub(crate) fn after(
        &self,
        name: Option<&ScheduleName>,
    ) -> impl Iterator<Item = (&ScheduleName, &Row)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range::<ScheduleName, _>((from, Bound::Unbounded))
    }
}

impl Engine {
    /// A schedule is set, or replaced.
    pub(crate) fn apply_scheduled(&mut self, record: ScheduledRecord) {
        let ScheduledRecord { tenant, owner, schedule, next, .. } = record;
        let tenant = self.tenant_key(&tenant);
        let name = schedule.name.clone();
        self.disarm_schedule(tenant, &name);
        let schedules = &mut self.tenants[tenant].schedules;
        let known = schedules.rows.get(&name).map(|row| (row.fired, row.last, row.base));
        let (fired, last, base) = known.unwrap_or((0, None, self.sequence));
        let row = Row { owner, schedule, next, wake: None, fired, last, base, refused: None };
        schedules.insert(name.clone(), row);
        self.arm_schedule(tenant, &name, next);
    }

    /// A schedule is removed.
    pub(crate) fn apply_unscheduled(&mut self, tenant: TenantKey, name: &ScheduleName) {
        self.disarm_schedule(tenant, name);
        let schedules = &mut self.tenants[tenant].schedules;
        if let Some(row) = schedules.rows.remove(name) {
            schedules.bytes -= size(&row.schedule);
        }
    }

    /// A schedule has made a message.
    pub(crate) fn apply_fired(
        &mut self,
        tenant: TenantKey,
        name: &ScheduleName,
        message: MessageId,
        due: WallTime,
        next: Option<WallTime>,
    ) {
        self.disarm_schedule(tenant, name);
        self.tenants[tenant].tally.recorded.scheduled += 1;
        let Some(row) = self.tenants[tenant].schedules.get_mut(name) else { return };
        row.next = next;
        row.fired += 1;
        row.last = Some((message, due));
        row.refused = None;
        self.arm_schedule(tenant, name, next);
    }

    /// Has a schedule looked at when it is due; after a restart all are at once.
    pub(super) fn arm_schedule(
        &mut self,
        tenant: TenantKey,
        name: &ScheduleName,
        at: Option<WallTime>,
    ) {
        let (false, Some(at)) = (self.replaying, at) else { return };
        if let Some(row) = self.tenants[tenant].schedules.get_mut(name) {
            row.wake = Some(at.0);
            self.firings.insert(Firing { at, tenant, name: name.clone() });
        }
    }

    pub(super) fn disarm_schedule(&mut self, tenant: TenantKey, name: &ScheduleName) {
        let row = self.tenants[tenant].schedules.get_mut(name);
        if let Some(at) = row.and_then(|row| row.wake.take()) {
            self.firings.remove(&Firing { at: WallTime(at), tenant, name: name.clone() });
        }
    }

    /// Has all schedules looked at that replayed records have set.
    pub(crate) fn arm_schedules(&mut self) {
        let mut waiting = Vec::new();
        for (tenant, row) in self.tenants.iter() {
            let rows = row.schedules.rows.iter();
            waiting.extend(rows.map(|(name, row)| (tenant, name.clone(), row.next)));
        }
        for (tenant, name, next) in waiting {
            self.arm_schedule(tenant, &name, next);
        }
    }
}

/// Bytes of what a schedule publishes and of what it says about when.
fn size(schedule: &Schedule) -> u64 {
    let Schedule { name, cron, zone, publish } = schedule;
    let envelope = &publish.envelope;
    let headers = envelope.headers.iter().map(|(name, value)| name.len() + value.len());
    let texts = name.as_str().len() + cron.len() + zone.len() + headers.sum::<usize>();
    (envelope.payload.data.len() + texts) as u64
}
