//! Figures.

use crate::decode::{all, each};
use crate::{DecodeError, v1};
use trunkline_types::{Counters, Gauges, InboxAddress, InboxStats, LogStats, Stats};

/// Structs whose fields are plain numbers with the same names on both sides.
macro_rules! same_fields {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl From<$type> for v1::$type {
            fn from($type { $($field),+ }: $type) -> Self {
                Self { $($field),+ }
            }
        }

        impl From<v1::$type> for $type {
            fn from(v1::$type { $($field),+ }: v1::$type) -> Self {
                Self { $($field),+ }
            }
        }
    };
}

same_fields!(Counters {
    accepted,
    settled,
    dead_lettered,
    expired,
    canceled,
    dropped,
    lost,
    redeliveries,
});
same_fields!(Gauges { staged, delayed, waiting, parked, paused, leased });
same_fields!(LogStats {
    records,
    bytes,
    flushes,
    recovered,
    disk_full,
    carried_bytes,
    segments,
    disk_bytes,
    live_bytes,
    removed_segments,
    payload_memory_bytes,
    payload_disk_bytes,
    payloads_on_disk,
    payload_loads,
    payload_load_batches,
    damaged_places,
    records_left_out,
    index_rows_damaged,
});

impl From<InboxStats> for v1::InboxStats {
    fn from(InboxStats { address, counters, gauges }: InboxStats) -> Self {
        Self {
            address: address.map(Into::into),
            counters: Some(counters.into()),
            gauges: Some(gauges.into()),
        }
    }
}

impl TryFrom<v1::InboxStats> for InboxStats {
    type Error = DecodeError;
    fn try_from(stats: v1::InboxStats) -> Result<Self, DecodeError> {
        Ok(Self {
            address: stats.address.map(InboxAddress::try_from).transpose()?,
            counters: stats.counters.map(Counters::from).unwrap_or_default(),
            gauges: stats.gauges.map(Gauges::from).unwrap_or_default(),
        })
    }
}

/// Names the numbers of [`Stats`] once, so that none is forgotten in one direction.
macro_rules! stats {
    ($($field:ident),+ $(,)?) => {
        impl From<Stats> for v1::Stats {
            fn from(stats: Stats) -> Self {
                let Stats { counters, gauges, inboxes, log, $($field),+ } = stats;
                Self {
                    counters: Some(counters.into()),
                    gauges: Some(gauges.into()),
                    inboxes: each(inboxes),
                    log: log.map(Into::into),
                    $($field),+
                }
            }
        }

        impl TryFrom<v1::Stats> for Stats {
            type Error = DecodeError;
            fn try_from(stats: v1::Stats) -> Result<Self, DecodeError> {
                let v1::Stats { counters, gauges, inboxes, log, $($field),+ } = stats;
                Ok(Self {
                    counters: counters.map(Counters::from).unwrap_or_default(),
                    gauges: gauges.map(Gauges::from).unwrap_or_default(),
                    inboxes: all(inboxes)?,
                    log: log.map(LogStats::from),
                    $($field),+
                })
            }
        }
    };
}

stats!(
    messages_accepted,
    messages_refused,
    messages_unrouted,
    duplicates,
    replies_dropped,
    tasks_completed,
    tasks_failed,
    tasks_canceled,
    tasks_open,
    tasks_forgotten,
    task_events_forgotten,
    tasks_indexed,
    history_since_ms,
    records_unindexed,
    dead_letters,
    dead_letters_indexed,
    dead_letters_forgotten,
    redriven,
    purged,
    scheduled,
    keys,
    keys_indexed,
    waiting_outside,
    breakers_opened,
    overran,
    agents,
    sessions,
    epoch,
    uptime_ms,
    inboxes_total,
    turns,
    operations,
    hand_overs,
    items,
);
