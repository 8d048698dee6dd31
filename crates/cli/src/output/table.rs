//! Tables without lines, so that they read well on a terminal and pass well through a pipe.

use super::units::{count, exact_time, size, span};
use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table};
use std::time::Duration;
use trunkline_types::{Counters, Gauges, LogStats, Stats, WallTime};

/// A table with a header and rows; columns given in `right` are aligned to the right.
pub(crate) fn rows(
    header: impl Into<Row>,
    right: &[usize],
    rows: impl IntoIterator<Item = impl Into<Row>>,
) -> Table {
    let mut table = plain();
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    flush_left(&mut table);
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table of names and values.
pub(crate) fn fields(fields: impl IntoIterator<Item = (impl Into<String>, String)>) -> Table {
    let mut table = plain();
    for (name, value) in fields {
        table.add_row([name.into(), value]);
    }
    flush_left(&mut table);
    table
}

/// Without lines around it, the first column needs no distance from them.
fn flush_left(table: &mut Table) {
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    let arrangement = arrangement(table.width());
    table.load_style(NOTHING).set_content_arrangement(arrangement);
    table
}

/// How a table goes into the width of the terminal. One that does not know its size says 0, and
/// gets every line as long as it is instead of a column of single letters.
fn arrangement(width: Option<u16>) -> ContentArrangement {
    match width {
        Some(0) => ContentArrangement::Disabled,
        _ => ContentArrangement::Dynamic,
    }
}

/// The broker's figures.
pub(crate) fn stats_table(stats: &Stats) -> Table {
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        let value = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), value]);
    };
    row("up for", span(Duration::from_millis(stats.uptime_ms)));
    row("agents", count(stats.agents));
    row("sessions", count(stats.sessions));
    row("messages accepted", count(stats.messages_accepted));
    row("messages refused", count(stats.messages_refused));
    row("messages without subscriber", count(stats.messages_unrouted));
    row("repeats accepted once", count(stats.duplicates));
    row("replies without requester", count(stats.replies_dropped));
    row("tasks open", count(stats.tasks_open));
    row("tasks completed", count(stats.tasks_completed));
    row("tasks failed", count(stats.tasks_failed));
    row("tasks cancelled or rejected", count(stats.tasks_canceled));
    row("tasks forgotten", count(stats.tasks_forgotten));
    row("events of tasks forgotten", count(stats.task_events_forgotten));
    row("tasks on disk only", count(stats.tasks_indexed));
    row("every ended task known since", exact_time(WallTime(stats.history_since_ms)));
    row("records not indexed yet", count(stats.records_unindexed));
    row("dead letters", count(stats.dead_letters));
    row("dead letters on disk only", count(stats.dead_letters_indexed));
    row("dead letters forgotten", count(stats.dead_letters_forgotten));
    row("dead letters sent again", count(stats.redriven));
    row("dead letters deleted", count(stats.purged));
    row("messages sent by schedules", count(stats.scheduled));
    row("idempotency keys", count(stats.keys));
    row("idempotency keys on disk only", count(stats.keys_indexed));
    row("publishes waiting outside", count(stats.waiting_outside));
    row("circuit breakers opened", count(stats.breakers_opened));
    row("handlers that ran too long", count(stats.overran));
    row("operations in a turn of the engine", format!("{:.1}", stats.operations_per_turn()));
    row("items in a batch to a session", format!("{:.1}", stats.items_per_hand_over()));
    row("inboxes", count(stats.inboxes_total));
    for (name, value) in counters(&stats.counters).into_iter().chain(gauges(&stats.gauges)) {
        row(&format!("entries {name}"), count(value));
    }
    if let Some(log) = stats.log {
        let LogStats { records, bytes, flushes, recovered, disk_full, .. } = log;
        row("log records written", count(records));
        row("log bytes written", size(bytes));
        row("log flushes", count(flushes));
        row("log records in a flush", format!("{:.1}", log.records_per_flush()));
        row("log records recovered", count(recovered));
        row("log bytes carried forward", size(log.carried_bytes));
        row("log write amplification", format!("{} %", log.amplification_percent()));
        row("log segments", count(log.segments));
        row("log segments given up", count(log.removed_segments));
        row("log bytes on disk", size(log.disk_bytes));
        row("log bytes live", size(log.live_bytes));
        row("payload bytes in memory", size(log.payload_memory_bytes));
        row("payload bytes on disk only", size(log.payload_disk_bytes));
        row("payloads on disk only", count(log.payloads_on_disk));
        row("payloads read back", count(log.payload_loads));
        row("batches of them", count(log.payload_load_batches));
        if log.damaged_places > 0 {
            let text = format!("{}, see `trunkline verify`", count(log.damaged_places));
            row("damaged places found at the start", text);
            row("records left out for them", count(log.records_left_out));
        }
        if log.index_rows_damaged > 0 {
            let text = format!("{}, see quarantine/", count(log.index_rows_damaged));
            row("damaged rows of the index", text);
        }
        if disk_full {
            row("disk", "full: new durable work is refused".into());
        }
    } else {
        row("log", "none: everything is in memory".into());
    }
    flush_left(&mut table);
    table
}

fn counters(of: &Counters) -> [(&'static str, u64); 8] {
    let &Counters {
        accepted,
        settled,
        dead_lettered,
        expired,
        canceled,
        dropped,
        lost,
        redeliveries,
    } = of;
    [
        ("accepted", accepted),
        ("settled", settled),
        ("dead-lettered", dead_lettered),
        ("expired", expired),
        ("cancelled", canceled),
        ("dropped", dropped),
        ("lost", lost),
        ("redelivered", redeliveries),
    ]
}

fn gauges(of: &Gauges) -> [(&'static str, u64); 6] {
    let &Gauges { staged, delayed, waiting, parked, paused, leased } = of;
    [
        ("staged now", staged),
        ("delayed now", delayed),
        ("waiting now", waiting),
        ("parked now", parked),
        ("paused now", paused),
        ("leased now", leased),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_does_not_know_its_width_breaks_no_line() {
        let table = |width| {
            let mut table = fields([("description", "counts the words of a text".to_owned())]);
            table.set_width(width).set_content_arrangement(arrangement(Some(width)));
            table.trim_fmt()
        };
        assert_eq!(table(0), "description  counts the words of a text");
        assert!(table(20).lines().count() > 1, "{}", table(20));
    }
}
