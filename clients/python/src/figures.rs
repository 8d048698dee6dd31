//! Figures of a broker, of its inboxes and of an agent, by the names of their fields.

use crate::values::seconds;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trunkline_agent::{AgentStats, WorkerStats};
use trunkline_types::{
    Binding, Counters, Gauges, InboxEffective, InboxInfo, InboxSettings, InboxStats, LogStats,
    Routing, Stats, WallTime, WhenFull,
};

/// A dictionary of the plain fields of a struct; what stands behind the semicolon is left to the
/// block, so that a new field has to be thought of.
macro_rules! fields {
    ($py:expr, $said:ident = $kind:ident { $($field:ident),* $(; $($rest:ident),*)? } = $value:expr,
     $more:block) => {{
        let $kind { $($field),* $(, $($rest),*)? } = $value;
        let $said = PyDict::new($py);
        $($said.set_item(stringify!($field), $field)?;)*
        $more
        $said
    }};
}

/// The broker's figures.
pub(crate) fn stats<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(py, said = Stats {
        messages_accepted, messages_refused, messages_unrouted, duplicates, replies_dropped,
        tasks_completed, tasks_failed, tasks_canceled, tasks_open, tasks_forgotten,
        task_events_forgotten, tasks_indexed, records_unindexed, dead_letters,
        dead_letters_indexed, dead_letters_forgotten, redriven, purged, scheduled, keys,
        keys_indexed, waiting_outside, breakers_opened, overran, turns, operations, hand_overs, items, agents, sessions, inboxes_total,
        epoch;
        counters, gauges, history_since_ms, inboxes, log, uptime_ms
    } = stats, {
        said.set_item("counters", counted(py, counters)?)?;
        said.set_item("gauges", gauged(py, gauges)?)?;
        said.set_item("history_since", seconds(WallTime(*history_since_ms)))?;
        let inboxes = inboxes.iter().map(|InboxStats { address, counters, gauges }| {
            let address = address.as_ref().map(ToString::to_string);
            Ok((address, counted(py, counters)?, gauged(py, gauges)?))
        });
        said.set_item("inboxes", inboxes.collect::<PyResult<Vec<_>>>()?)?;
        said.set_item("log", log.as_ref().map(|log| logged(py, log)).transpose()?)?;
        said.set_item("uptime", seconds(WallTime(*uptime_ms)))?;
    }))
}

/// An inbox as it stands.
pub(crate) fn inbox<'py>(py: Python<'py>, inbox: &InboxInfo) -> PyResult<Bound<'py, PyDict>> {
    Ok(
        fields!(py, said = InboxInfo { waiting_outside, servers; settings, effective, stats } = inbox, {
            let InboxSettings { when_full, wait, limit, ttl, routing, bindings } = settings;
            said.set_item("inbox", stats.address.as_ref().map(ToString::to_string))?;
            said.set_item("when_full", when_full.map(WhenFull::as_str))?;
            said.set_item("wait", wait.map(|wait| wait.as_secs_f64()))?;
            said.set_item("limit", limit)?;
            said.set_item("ttl", ttl.map(|ttl| ttl.as_secs_f64()))?;
            said.set_item("routing", routing.map(Routing::as_str))?;
            let bound = PyDict::new(py);
            for Binding { priority, key, value } in bindings {
                bound.set_item(priority.as_str(), (key.as_str(), value.as_str()))?;
            }
            said.set_item("bindings", bound)?;
            let effective = fields!(py, said = InboxEffective {
                ephemeral, logged; when_full, wait, routing
            } = effective, {
                said.set_item("when_full", when_full.as_str())?;
                said.set_item("wait", wait.as_secs_f64())?;
                said.set_item("routing", routing.map(Routing::as_str))?;
            });
            said.set_item("effective", effective)?;
            said.set_item("counters", counted(py, &stats.counters)?)?;
            said.set_item("gauges", gauged(py, &stats.gauges)?)?;
        }),
    )
}

/// An agent's figures but those of what can happen in Rust only.
pub(crate) fn agent<'py>(py: Python<'py>, stats: &AgentStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(py, said = AgentStats {
        handled, completed, failed, retried, dead_lettered, released, batches, restarts, queued,
        idle, lent, credit;
        workers, handler_time, panics, blocked, healthy
    } = stats, {
        let _ = (panics, blocked, healthy);
        said.set_item("handler_time", handler_time.as_secs_f64())?;
        let workers = workers.iter().map(|worker| worked(py, worker));
        said.set_item("workers", workers.collect::<PyResult<Vec<_>>>()?)?;
    }))
}

fn worked<'py>(py: Python<'py>, worker: &WorkerStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(py, said = WorkerStats {
        number, messages, batches, errors, restarts; busy, age
    } = worker, {
        said.set_item("busy", busy.as_secs_f64())?;
        said.set_item("age", age.as_secs_f64())?;
    }))
}

fn counted<'py>(py: Python<'py>, counters: &Counters) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(
        py,
        said = Counters {
            accepted,
            settled,
            dead_lettered,
            expired,
            canceled,
            dropped,
            lost,
            redeliveries
        } = counters,
        {}
    ))
}

fn gauged<'py>(py: Python<'py>, gauges: &Gauges) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(py, said = Gauges { staged, delayed, waiting, parked, paused, leased } = gauges, {}))
}

fn logged<'py>(py: Python<'py>, log: &LogStats) -> PyResult<Bound<'py, PyDict>> {
    Ok(fields!(
        py,
        said = LogStats {
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
            index_rows_damaged
        } = log,
        {}
    ))
}
