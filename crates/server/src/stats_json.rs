//! The JSON shape of the broker's figures: what HTTP answers and what the command line prints.

use serde_json::{Value, json};
use trunkline_types::{Counters, Gauges, InboxStats, LogStats, Stats};

/// The broker's figures as JSON. What scripts rely on stands at the top level, sums over all
/// inboxes named `messages_settled`, `messages_expired` and `redeliveries` included; `entries`
/// has all those sums and counts per recipient, `now` says where entries are. `inboxes` lists the
/// busiest ones, `inboxes_total` counts all; `batches` says how much was done at a time. `log` is null without a log.
pub fn stats_json(stats: &Stats) -> Value {
    let Stats {
        counters: entries,
        gauges: now,
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
        turns,
        operations,
        hand_overs,
        items,
        agents,
        sessions,
        inboxes,
        inboxes_total,
        log: written,
        epoch,
        uptime_ms,
    } = stats;
    json!({
        "messages_accepted": messages_accepted,
        "messages_settled": entries.settled,
        "messages_expired": entries.expired,
        "messages_refused": messages_refused,
        "messages_unrouted": messages_unrouted,
        "redeliveries": entries.redeliveries,
        "duplicates": duplicates,
        "replies_dropped": replies_dropped,
        "tasks_open": tasks_open,
        "tasks_completed": tasks_completed,
        "tasks_failed": tasks_failed,
        "tasks_canceled": tasks_canceled,
        "tasks_forgotten": tasks_forgotten,
        "task_events_forgotten": task_events_forgotten,
        "tasks_indexed": tasks_indexed,
        "history_since_ms": history_since_ms,
        "records_unindexed": records_unindexed,
        "dead_letters": dead_letters,
        "dead_letters_indexed": dead_letters_indexed,
        "dead_letters_forgotten": dead_letters_forgotten,
        "redriven": redriven,
        "purged": purged,
        "scheduled": scheduled,
        "keys": keys,
        "keys_indexed": keys_indexed,
        "waiting_outside": waiting_outside,
        "breakers_opened": breakers_opened,
        "overran": overran,
        "batches": {
            "turns": turns,
            "operations": operations,
            "operations_per_turn": stats.operations_per_turn(),
            "hand_overs": hand_overs,
            "items": items,
            "items_per_hand_over": stats.items_per_hand_over(),
        },
        "agents": agents,
        "sessions": sessions,
        "entries": counters(entries),
        "now": gauges(now),
        "inboxes": inboxes.iter().map(inbox).collect::<Vec<_>>(),
        "inboxes_total": inboxes_total,
        "log": written.as_ref().map(log),
        "epoch": epoch,
        "uptime_ms": uptime_ms,
    })
}

fn counters(of: &Counters) -> Value {
    let Counters {
        accepted,
        settled,
        dead_lettered,
        expired,
        canceled,
        dropped,
        lost,
        redeliveries,
    } = of;
    json!({
        "accepted": accepted,
        "settled": settled,
        "dead_lettered": dead_lettered,
        "expired": expired,
        "canceled": canceled,
        "dropped": dropped,
        "lost": lost,
        "redeliveries": redeliveries,
    })
}

fn gauges(of: &Gauges) -> Value {
    let Gauges { staged, delayed, waiting, parked, paused, leased } = of;
    json!({
        "staged": staged,
        "delayed": delayed,
        "waiting": waiting,
        "parked": parked,
        "paused": paused,
        "leased": leased,
    })
}

fn inbox(of: &InboxStats) -> Value {
    let InboxStats { address, counters: entries, gauges: now } = of;
    json!({
        "inbox": address.as_ref().map(ToString::to_string),
        "entries": counters(entries),
        "now": gauges(now),
    })
}

fn log(of: &LogStats) -> Value {
    let LogStats {
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
    } = of;
    json!({
        "records": records,
        "bytes": bytes,
        "flushes": flushes,
        "records_per_flush": of.records_per_flush(),
        "recovered": recovered,
        "disk_full": disk_full,
        "carried_bytes": carried_bytes,
        "amplification_percent": of.amplification_percent(),
        "segments": segments,
        "disk_bytes": disk_bytes,
        "live_bytes": live_bytes,
        "removed_segments": removed_segments,
        "payload_memory_bytes": payload_memory_bytes,
        "payload_disk_bytes": payload_disk_bytes,
        "payloads_on_disk": payloads_on_disk,
        "payload_loads": payload_loads,
        "payload_load_batches": payload_load_batches,
        "damaged_places": damaged_places,
        "records_left_out": records_left_out,
        "index_rows_damaged": index_rows_damaged,
    })
}
