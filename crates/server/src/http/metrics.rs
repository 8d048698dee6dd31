//! The broker's figures as Prometheus reads them.
//!
//! Nothing is counted here: each scrape asks the broker and writes what it answers, besides the
//! few counts of the server itself.

use crate::hub::Hub;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trunkline_types::{Answer, Counters, Gauges, InboxStats, Principal, Query, Stats};

/// The media type of the text that is written.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers a scrape.
pub(crate) async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    let stats = match ask(&hub).await {
        Ok(stats) => stats,
        Err(response) => return response,
    };
    let mut registry = Registry::with_prefix("trunkline");
    registry.register_collector(Box::new(Scrape { stats, edge: EdgeCounts::of(&hub) }));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Asks the broker for its figures, or says in HTTP why there are none.
pub(crate) async fn ask(hub: &Hub) -> Result<Box<Stats>, Response> {
    let unavailable = |text: String| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    let connector = hub
        .connector(Principal::default())
        .map_err(|refusal| unavailable(format!("{refusal}\n")))?;
    match connector.query(Query::Stats).await {
        Ok(Answer::Stats(stats)) => Ok(stats),
        Ok(_) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        Err(refusal) => Err(unavailable(format!("{refusal}\n"))),
    }
}

/// The counts of the server itself.
#[derive(Debug)]
struct EdgeCounts {
    connections: u64,
    connections_accepted: u64,
    connections_refused: u64,
    streams: u64,
    overflows: u64,
    welcomes_waiting: u64,
    put_off: u64,
}

impl EdgeCounts {
    fn of(hub: &Hub) -> Self {
        Self {
            connections: hub.connections.load(Ordering::Relaxed) as u64,
            connections_accepted: hub.connections_accepted.load(Ordering::Relaxed),
            connections_refused: hub.connections_refused.load(Ordering::Relaxed),
            streams: hub.streams.count() as u64,
            overflows: hub.streams.overflows(),
            welcomes_waiting: hub.welcomes.waiting() as u64,
            put_off: hub.welcomes.put_off(),
        }
    }
}

/// What one scrape writes.
#[derive(Debug)]
struct Scrape {
    stats: Box<Stats>,
    edge: EdgeCounts,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = &*self.stats;
        let mut page = Page { encoder: &mut encoder };
        let counters = [
            ("messages_accepted", "Publishes accepted", stats.messages_accepted),
            ("messages_refused", "Publishes refused", stats.messages_refused),
            (
                "messages_unrouted",
                "Publishes on a topic without subscriber",
                stats.messages_unrouted,
            ),
            ("duplicates", "Publishes that were repeats", stats.duplicates),
            ("replies_dropped", "Replies whose requester was gone", stats.replies_dropped),
            ("tasks_completed", "Tasks that ended completed", stats.tasks_completed),
            ("tasks_failed", "Tasks that ended failed", stats.tasks_failed),
            ("tasks_canceled", "Tasks that ended cancelled or rejected", stats.tasks_canceled),
            ("tasks_forgotten", "Ended tasks no longer readable", stats.tasks_forgotten),
            (
                "task_events_forgotten",
                "Events of tasks over the bounds",
                stats.task_events_forgotten,
            ),
            (
                "dead_letters_forgotten",
                "Dead letters over the bounds",
                stats.dead_letters_forgotten,
            ),
            ("redriven", "Dead letters sent again", stats.redriven),
            ("purged", "Dead letters deleted on request", stats.purged),
            ("scheduled", "Messages made by schedules", stats.scheduled),
            ("breakers_opened", "Circuit breakers that opened", stats.breakers_opened),
            ("overran", "Handlers ended because they ran too long", stats.overran),
            ("turns", "Turns of the engine with something to do", stats.turns),
            ("operations", "Operations of sessions in them", stats.operations),
            ("hand_overs", "Times a session was handed what there was", stats.hand_overs),
            ("items", "Items in these", stats.items),
            ("connections_accepted", "Connections served", self.edge.connections_accepted),
            ("connections_refused", "Connections over the limit", self.edge.connections_refused),
            ("sessions_put_off", "Sessions told to come back later", self.edge.put_off),
            ("streams_cut", "Streams ended because the client did not read", self.edge.overflows),
        ];
        for (name, help, value) in counters {
            page.counter(name, help, value)?;
        }
        let gauges = [
            ("tasks_open", "Tasks that have not ended", stats.tasks_open),
            ("tasks_indexed", "Ended tasks on disk only", stats.tasks_indexed),
            (
                "history_since_milliseconds",
                "Since when every task that ended is known, since 1970",
                stats.history_since_ms,
            ),
            ("records_unindexed", "Records not indexed yet", stats.records_unindexed),
            ("dead_letters", "Dead letters held", stats.dead_letters),
            ("dead_letters_indexed", "Dead letters on disk only", stats.dead_letters_indexed),
            ("keys", "Idempotency keys remembered", stats.keys),
            ("keys_indexed", "Idempotency keys on disk only", stats.keys_indexed),
            ("waiting_outside", "Publishes outside a full inbox", stats.waiting_outside),
            ("inboxes", "Inboxes that took something in, listed or not", stats.inboxes_total),
            ("agents", "Registered agents", stats.agents),
            ("sessions", "Connected sessions", stats.sessions),
            ("connections", "Open connections", self.edge.connections),
            ("streams", "Open gRPC streams", self.edge.streams),
            ("welcomes_waiting", "Sessions that wait to be welcomed", self.edge.welcomes_waiting),
            ("epoch", "Starts of the broker on its data", u64::from(stats.epoch)),
            ("uptime_milliseconds", "Time since the broker started", stats.uptime_ms),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help, value)?;
        }
        page.entries(stats)?;
        page.log(stats)
    }
}

/// Writes metrics one after the other.
struct Page<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Page<'_, '_> {
    fn start<'s>(
        &'s mut self,
        name: &'s str,
        help: &'s str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.encoder.encode_descriptor(name, help, None, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.start(name, help, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.start(name, help, MetricType::Gauge)?)
    }

    fn log(&mut self, stats: &Stats) -> fmt::Result {
        let Some(log) = &stats.log else { return Ok(()) };
        self.counter("log_records", "Records written", log.records)?;
        self.counter("log_bytes", "Bytes written", log.bytes)?;
        self.counter("log_flushes", "Flushes to disk", log.flushes)?;
        self.gauge("log_recovered_records", "Records found at the start", log.recovered)?;
        self.counter("log_carried_bytes", "Bytes written by cleaning", log.carried_bytes)?;
        self.counter("log_removed_segments", "Segments given up", log.removed_segments)?;
        self.gauge("log_segments", "Segments needed", log.segments)?;
        self.gauge("log_disk_bytes", "Bytes of all files of the log", log.disk_bytes)?;
        self.gauge("log_live_bytes", "Bytes of what is durable, roughly", log.live_bytes)?;
        self.gauge("payload_memory_bytes", "Payloads in memory", log.payload_memory_bytes)?;
        self.gauge("payload_disk_bytes", "Payloads on disk only", log.payload_disk_bytes)?;
        self.gauge("payloads_on_disk", "How many are on disk only", log.payloads_on_disk)?;
        self.counter("payload_loads", "Payloads read back", log.payload_loads)?;
        self.counter("payload_load_batches", "Batches of them", log.payload_load_batches)?;
        self.gauge("log_damaged_places", "Damaged places found", log.damaged_places)?;
        self.gauge("log_records_left_out", "Records that rest on them", log.records_left_out)?;
        let rows = log.index_rows_damaged;
        self.counter("index_rows_damaged", "Rows of the index found damaged", rows)?;
        self.gauge("disk_full", "Whether durable work is refused", u64::from(log.disk_full))
    }

    /// The inbox entries: sums under the inbox `all`, then one line for each inbox.
    fn entries(&mut self, stats: &Stats) -> fmt::Result {
        let rows: Vec<(String, &Counters, &Gauges)> =
            std::iter::once(("all".to_owned(), &stats.counters, &stats.gauges))
                .chain(stats.inboxes.iter().map(row))
                .collect();
        let mut family =
            self.start("entries", "Inbox entries by what became of them", MetricType::Counter)?;
        for (inbox, counters, _) in &rows {
            for (what, value) in ends(counters) {
                let labels = [("inbox", inbox.as_str()), ("end", what)];
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family =
            self.start("entries_now", "Inbox entries by where they are", MetricType::Gauge)?;
        for (inbox, _, gauges) in &rows {
            for (place, value) in places(gauges) {
                let labels = [("inbox", inbox.as_str()), ("place", place)];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn row(inbox: &InboxStats) -> (String, &Counters, &Gauges) {
    let InboxStats { address, counters, gauges } = inbox;
    let name = address.as_ref().map_or_else(|| "subscriptions".to_owned(), ToString::to_string);
    (name, counters, gauges)
}

fn ends(counters: &Counters) -> [(&'static str, u64); 8] {
    let Counters {
        accepted,
        settled,
        dead_lettered,
        expired,
        canceled,
        dropped,
        lost,
        redeliveries,
    } = *counters;
    [
        ("accepted", accepted),
        ("settled", settled),
        ("dead-lettered", dead_lettered),
        ("expired", expired),
        ("canceled", canceled),
        ("dropped", dropped),
        ("lost", lost),
        ("redelivered", redeliveries),
    ]
}

fn places(gauges: &Gauges) -> [(&'static str, u64); 6] {
    let Gauges { staged, delayed, waiting, parked, paused, leased } = *gauges;
    [
        ("staged", staged),
        ("delayed", delayed),
        ("waiting", waiting),
        ("parked", parked),
        ("paused", paused),
        ("leased", leased),
    ]
}
