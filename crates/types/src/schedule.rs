//! Schedules: messages that recur.

use crate::{MessageId, Publish, Refusal, ScheduleName, WallTime};
use smol_str::SmolStr;
use std::sync::Arc;

/// A message that is published whenever a cron expression is due. Each due time makes exactly one
/// message, also across restarts; times that were missed while the broker was away, or while the
/// message could not be published, make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// Its name, unique within the tenant; the same name again replaces it.
    pub name: ScheduleName,
    /// When: five fields (minute, hour, day of month, month, day of week) or six with the second
    /// in front.
    pub cron: SmolStr,
    /// The IANA time zone in which the expression is read, such as `Europe/Berlin`; `UTC` when
    /// empty.
    pub zone: SmolStr,
    /// What is published. Its id stands for nothing: each message gets one of its own. Where there
    /// is a log, the message is `synced` unless it says otherwise.
    pub publish: Arc<Publish>,
}

/// The name of the header by which a message tells which schedule made it.
pub const SCHEDULE_HEADER: &str = "trunkline-schedule";

/// The name of the header by which a scheduled message tells when it was due, in milliseconds
/// since the Unix epoch.
pub const DUE_HEADER: &str = "trunkline-due";

/// A schedule as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduleInfo {
    /// What was asked for.
    pub schedule: Schedule,
    /// When it is due next; `None` if never again.
    pub next: Option<WallTime>,
    /// How many messages it has made.
    pub fired: u64,
    /// The latest message it made and when that was due.
    pub last: Option<(MessageId, WallTime)>,
    /// Why the message that is due could not be published yet; it is tried again.
    pub refused: Option<Refusal>,
}
