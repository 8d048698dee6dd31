//! The broker's figures as JSON.

use super::metrics::ask;
use crate::hub::Hub;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use trunkline_types::{Counters, Gauges, InboxStats, LogStats, Stats};

/// The broker's figures.
pub(crate) async fn stats(State(hub): State<Arc<Hub>>) -> Response {
    match ask(&hub).await {
        Ok(stats) => Json(whole(&stats)).into_response(),
        Err(response) => response,
    }
}

fn whole(stats: &Stats) -> Value {
    let Stats {
        counters: entries,
        gauges,
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
        dead_letters,
        agents,
        sessions,
        inboxes,
        log: written,
        epoch,
        uptime_ms,
    } = stats;
    json!({
        "entries": counters(entries),
        "now": self::gauges(gauges),
        "messages_accepted": messages_accepted,
        "messages_refused": messages_refused,
        "messages_unrouted": messages_unrouted,
        "duplicates": duplicates,
        "replies_dropped": replies_dropped,
        "tasks_completed": tasks_completed,
        "tasks_failed": tasks_failed,
        "tasks_canceled": tasks_canceled,
        "tasks_open": tasks_open,
        "tasks_forgotten": tasks_forgotten,
        "dead_letters": dead_letters,
        "agents": agents,
        "sessions": sessions,
        "inboxes": inboxes.iter().map(inbox).collect::<Vec<_>>(),
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
    let LogStats { records, bytes, flushes, recovered, disk_full } = of;
    json!({
        "records": records,
        "bytes": bytes,
        "flushes": flushes,
        "recovered": recovered,
        "disk_full": disk_full,
    })
}
