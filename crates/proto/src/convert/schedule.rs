//! Schedules.

use crate::DecodeError;
use crate::decode::{all, each, id_bytes, message_id, name, optional_name, required, small_text};
use crate::v1;
use trunkline_types::{Refusal, Schedule, ScheduleFilter, ScheduleInfo, SchedulePage, WallTime};

impl From<Schedule> for v1::Schedule {
    fn from(Schedule { name, cron, zone, publish }: Schedule) -> Self {
        Self {
            name: name.to_string(),
            cron: cron.into(),
            zone: zone.into(),
            publish: Some((&*publish).into()),
        }
    }
}

impl TryFrom<v1::Schedule> for Schedule {
    type Error = DecodeError;
    fn try_from(schedule: v1::Schedule) -> Result<Self, DecodeError> {
        Ok(Self {
            name: name("schedule.name", &schedule.name)?,
            cron: small_text("schedule.cron", schedule.cron)?,
            zone: small_text("schedule.zone", schedule.zone)?,
            publish: required("schedule.publish", schedule.publish)?.try_into()?,
        })
    }
}

impl From<ScheduleInfo> for v1::ScheduleInfo {
    fn from(ScheduleInfo { schedule, next, fired, last, refused }: ScheduleInfo) -> Self {
        Self {
            schedule: Some(schedule.into()),
            next_at_ms: next.map(|at| at.0),
            fired,
            last: last.map(|(id, due)| v1::Firing { id: id_bytes(id), due_at_ms: due.0 }),
            refused: refused.map(Into::into),
        }
    }
}

impl TryFrom<v1::ScheduleInfo> for ScheduleInfo {
    type Error = DecodeError;
    fn try_from(info: v1::ScheduleInfo) -> Result<Self, DecodeError> {
        let last = info.last.map(|v1::Firing { id, due_at_ms }| {
            Ok((message_id("firing.id", &id)?, WallTime(due_at_ms)))
        });
        Ok(Self {
            schedule: required("schedule_info.schedule", info.schedule)?.try_into()?,
            next: info.next_at_ms.map(WallTime),
            fired: info.fired,
            last: last.transpose()?,
            refused: info.refused.map(Refusal::try_from).transpose()?,
        })
    }
}

impl From<ScheduleFilter> for v1::ListSchedulesRequest {
    fn from(ScheduleFilter { name, after, limit }: ScheduleFilter) -> Self {
        Self {
            name: name.as_ref().map(ToString::to_string),
            after: after.as_ref().map(ToString::to_string),
            limit,
        }
    }
}

impl TryFrom<v1::ListSchedulesRequest> for ScheduleFilter {
    type Error = DecodeError;
    fn try_from(request: v1::ListSchedulesRequest) -> Result<Self, DecodeError> {
        let v1::ListSchedulesRequest { name, after, limit } = request;
        Ok(Self {
            name: optional_name("list_schedules_request.name", name.as_deref())?,
            after: optional_name("list_schedules_request.after", after.as_deref())?,
            limit,
        })
    }
}

impl From<SchedulePage> for v1::ListSchedulesResponse {
    fn from(SchedulePage { schedules, next }: SchedulePage) -> Self {
        Self { schedules: each(schedules), next: next.as_ref().map(ToString::to_string) }
    }
}

impl TryFrom<v1::ListSchedulesResponse> for SchedulePage {
    type Error = DecodeError;
    fn try_from(response: v1::ListSchedulesResponse) -> Result<Self, DecodeError> {
        let next = optional_name("list_schedules_response.next", response.next.as_deref())?;
        Ok(Self { schedules: all(response.schedules)?, next })
    }
}
