//! Schedules as they are shown.

use super::table::Row;
use crate::engine::Engine;
use crate::stats::page::{self, Room};
use crate::table::TenantKey;
use trunkline_types::{Refusal, ScheduleFilter, ScheduleInfo, SchedulePage};

impl Engine {
    /// The schedules of a tenant in order of their names.
    pub(crate) fn list_schedules(
        &self,
        tenant: TenantKey,
        filter: &ScheduleFilter,
    ) -> Result<SchedulePage, Refusal> {
        let mut room = Room::new(filter.limit)?;
        let mut page = SchedulePage::default();
        let wanted = self.tenants[tenant].schedules.after(filter.after.as_ref());
        let wanted = wanted.filter(|(name, _)| filter.name.as_ref().is_none_or(|it| it == *name));
        for (_, row) in wanted {
            let info = row.info();
            if !room.take(page::schedule(&info)) {
                page.next = page.schedules.last().map(|info| info.schedule.name.clone());
                break;
            }
            page.schedules.push(info);
        }
        Ok(page)
    }
}

impl Row {
    fn info(&self) -> ScheduleInfo {
        ScheduleInfo {
            schedule: self.schedule.clone(),
            next: self.next,
            fired: self.fired,
            last: self.last,
            refused: self.refused.clone(),
        }
    }
}
