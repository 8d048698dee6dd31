//! The settings of the broker.

use super::{BILLION, DAY, GIB, HOUR, KIB, MIB, SECOND, ms};
use crate::BrokerConfig;
use crate::settings::units::{exact_span, parse_span};
use crate::settings::{Setting, Slot, Takes};
use crate::{number_setting as number, span_setting as span};
use std::time::Duration;

/// The section `broker`.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting<BrokerConfig>] = &[
    span!("broker", "lease", engine.lease, 100, DAY, Reload,
        "how long a lease lasts unless a heartbeat renews it"),
    span!("broker", "resume_grace", engine.resume_grace, 1, HOUR, Reload,
        "how long a lost session may take to come back and keep its deliveries"),
    span!("broker", "backoff_base", engine.backoff_base, 1, HOUR, Reload,
        "first backoff of a retry; it doubles with each attempt"),
    span!("broker", "backoff_cap", engine.backoff_cap, 1, DAY, Reload,
        "longest backoff of a retry"),
    number!(Count, "broker", "losses", engine.losses, 0, 1_000_000, Reload,
        "how often a delivery may be lost before its handler began, until that counts as an attempt"),
    span!("broker", "absence_tolerance", engine.absence_tolerance, 10, HOUR, Reload,
        "how late its own timer may be until the broker extends all leases by that time"),
    Setting {
        section: "broker",
        key: "max_run",
        slot: Slot::Text { get: max_run, set: set_max_run, range: "none, or 1ms to 365d" },
        takes: Takes::Reload,
        doc: "how long a handler may run if its sender says nothing, however often it heartbeats",
    },
    Setting {
        section: "broker",
        key: "priority_weights",
        slot: Slot::Text { get: weights, set: set_weights, range: "LOW:NORMAL:HIGH:URGENT, each 1 to 255" },
        takes: Takes::Reload,
        doc: "deliveries of each priority in a round while all have work",
    },
    Setting {
        section: "broker",
        key: "routing",
        slot: Slot::Text {
            get: |settings| settings.engine.routing.to_string(),
            set: |settings, text| {
                settings.engine.routing = word(text, trunkline_types::Routing::ALL)?;
                Ok(())
            },
            range: "least-loaded, round-robin, weighted, consistent-hash or random",
        },
        takes: Takes::Reload,
        doc: "who gets what from the inbox of a skill that has no routing of its own",
    },
    number!(Count, "broker", "breaker_failures", engine.breaker_failures, 0, 1_000_000, Reload,
        "failures in a row within the window that open the circuit breaker between an agent and an inbox; 0 for none"),
    span!("broker", "breaker_window", engine.breaker_window, 10, DAY, Reload,
        "how far back failures count"),
    span!("broker", "breaker_open", engine.breaker_open, 10, DAY, Reload,
        "how long a circuit breaker stays open before it lets probes through"),
    number!(Count, "broker", "breaker_probes", engine.breaker_probes, 1, 4_096, Reload,
        "probes that must succeed, and may be under way, before it closes"),
    number!(Count, "broker", "inbox_ephemeral", engine.inbox_ephemeral, 1, BILLION, Reload,
        "most ephemeral envelopes in one inbox"),
    number!(Size, "broker", "inbox_ephemeral_bytes", engine.inbox_ephemeral_bytes, KIB, 1024 * GIB, Reload,
        "most bytes of ephemeral payloads in one inbox"),
    number!(Count, "broker", "inbox_logged", engine.inbox_logged, 1, 1_000 * BILLION, Reload,
        "most logged envelopes in one inbox"),
    Setting {
        section: "broker",
        key: "when_full",
        slot: Slot::Text {
            get: |settings| settings.engine.when_full.to_string(),
            set: |settings, text| {
                settings.engine.when_full = word(text, trunkline_types::WhenFull::ALL)?;
                Ok(())
            },
            range: "reject, wait or drop-oldest",
        },
        takes: Takes::Reload,
        doc: "what happens when an inbox is full that has no policy of its own",
    },
    span!("broker", "wait", engine.wait, 0, DAY, Reload,
        "how long a publish waits outside a full inbox that has no wait of its own"),
    number!(Count, "broker", "waiting_outside", engine.waiting_outside, 0, 1_000_000, Reload,
        "most publishes that wait outside one full inbox"),
    number!(Size, "broker", "waiting_outside_bytes", engine.waiting_outside_bytes, 1, 64 * GIB, Reload,
        "most bytes of the payloads that wait outside one full inbox"),
    number!(Size, "broker", "session_bytes", engine.session_bytes, 1, GIB, Reload,
        "most bytes that one session may hold, of deliveries and of unacknowledged events each"),
    span!("broker", "full_hint", engine.full_hint, 1, HOUR, Reload,
        "when a sender that is refused is told to come back, because an inbox is full or the log is behind"),
    number!(Count, "broker", "warning", engine.warning, 1, 100, Reload,
        "percentage of its bound from which an inbox puts pressure on its senders"),
    span!("broker", "pressure_pace", engine.pressure_pace, 0, 10 * SECOND, Reload,
        "pace that senders are told when an inbox is all but full"),
    number!(Count, "broker", "inboxes", engine.inboxes, 1, BILLION, Reload,
        "most inboxes in all"),
    number!(Count, "broker", "pending_events", engine.pending_events, 0, BILLION, Reload,
        "most events of one tenant that wait for their time or for a first subscriber"),
    number!(Size, "broker", "pending_event_bytes", engine.pending_event_bytes, 1, 1024 * GIB, Reload,
        "most bytes of those of them that are logged"),
    span!("broker", "key_window", engine.key_window, SECOND, 365 * DAY, Restart,
        "how long an idempotency key is remembered"),
    number!(Count, "broker", "keys", engine.keys, 1, BILLION, Reload,
        "most idempotency keys of one tenant"),
    number!(Count, "broker", "schedules", engine.schedules, 0, 1_000_000, Reload,
        "most schedules of one tenant"),
    number!(Size, "broker", "schedule_bytes", engine.schedule_bytes, 1, 64 * GIB, Reload,
        "most bytes of the schedules of one tenant"),
    number!(Count, "broker", "gather_agents", engine.gather_agents, 1, 10_000, Reload,
        "most agents that one request gathers answers from"),
    number!(Size, "broker", "gather_bytes", engine.gather_bytes, 1, 1024 * GIB, Reload,
        "most bytes of answers that the requests of one tenant hold which wait for more"),
    number!(Count, "broker", "logged_copies", engine.logged_copies, 1, 1_000_000, Reload,
        "most inboxes that one logged envelope goes to"),
    number!(Count, "broker", "watched_agents", engine.watched_agents, 1, BILLION, Reload,
        "most agents that one session may follow in the directory"),
    number!(Size, "broker", "payload_memory", engine.payload_memory, 0, 1024 * GIB, Reload,
        "most bytes of payloads of waiting logged work that stay in memory; more is on disk only"),
    number!(Count, "broker", "ended_tasks", engine.ended_tasks, 1, BILLION, Reload,
        "most ended tasks in memory; without a data directory the oldest are forgotten then"),
    number!(Count, "broker", "recent_tasks", engine.recent_tasks, 0, BILLION, Reload,
        "how many of the latest ended tasks stay in memory although they are on disk"),
    number!(Size, "broker", "ended_task_bytes", engine.ended_task_bytes, KIB, 1024 * GIB, Reload,
        "most bytes of ended tasks in memory; without a data directory the oldest are forgotten then"),
    number!(Size, "broker", "ended_task_disk_bytes", engine.ended_task_disk_bytes, KIB, 1024 * GIB,
        Reload, "about how many bytes of ended tasks are kept on disk; the oldest are forgotten"),
    span!("broker", "ended_task_keep", engine.ended_task_keep, SECOND, 3650 * DAY, Reload,
        "how long an ended task stays readable, if no bound on ended tasks is reached before"),
    number!(Count, "broker", "ended_messages", engine.ended_messages, 0, BILLION, Reload,
        "most ended messages, tasks apart, whose end is remembered"),
    number!(Count, "broker", "task_events", engine.task_events, 1, BILLION, Reload,
        "most events kept of one task"),
    number!(Size, "broker", "task_event_bytes", engine.task_event_bytes, KIB, 64 * GIB, Reload,
        "most bytes of events kept of one task"),
    number!(Count, "broker", "task_messages", engine.task_messages, 1, 65_536, Reload,
        "most messages that the caller of a paused task may send to it"),
    number!(Size, "broker", "task_message_bytes", engine.task_message_bytes, KIB, 4 * MIB, Reload,
        "most bytes of those messages"),
    number!(Count, "broker", "dead_letters", engine.dead_letters, 1, BILLION, Reload,
        "most dead letters in memory; without a data directory the oldest are forgotten then"),
    number!(Size, "broker", "dead_letter_bytes", engine.dead_letter_bytes, 1, 1024 * GIB, Reload,
        "most bytes of dead letters in memory, logged and ephemeral ones each, likewise"),
    number!(Size, "broker", "dead_letter_disk_bytes", engine.dead_letter_disk_bytes, KIB,
        1024 * GIB, Reload,
        "about how many bytes of dead letters are kept on disk; the oldest are forgotten"),
    span!("broker", "dead_letter_keep", engine.dead_letter_keep, SECOND, 3650 * DAY, Reload,
        "how long a dead letter is kept, if no bound on dead letters is reached before"),
    number!(Count, "broker", "sessions", engine.sessions, 1, BILLION, Reload,
        "most sessions, lost ones included"),
    span!("broker", "session_memory", engine.session_memory, SECOND, 30 * DAY, Reload,
        "how long the operations of a lost session are remembered"),
    number!(Count, "broker", "remembered_sessions", engine.remembered_sessions, 1, BILLION, Reload,
        "most sessions remembered after they were lost"),
];

/// One of a closed set's words; a misspelt one is refused with the nearest.
fn word<W: Copy + std::fmt::Display>(text: &str, words: &[W]) -> Result<W, String> {
    let text = text.trim();
    if let Some(&found) = words.iter().find(|word| word.to_string() == text) {
        return Ok(found);
    }
    let alike = |word: &W| strsim::normalized_damerau_levenshtein(text, &word.to_string());
    let nearest = words.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let all = words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(match nearest {
        Some(nearest) if alike(nearest) >= 0.5 => {
            format!("'{text}' is none of {all}; did you mean '{nearest}'?")
        }
        _ => format!("'{text}' is none of {all}"),
    })
}

fn max_run(settings: &BrokerConfig) -> String {
    settings.engine.max_run.map_or_else(|| "none".into(), exact_span)
}

fn set_max_run(settings: &mut BrokerConfig, text: &str) -> Result<(), String> {
    const MOST: Duration = Duration::from_hours(365 * 24);
    if text.trim() == "none" {
        settings.engine.max_run = None;
        return Ok(());
    }
    let span = parse_span(text).map_err(|error| format!("{error}, or none"))?;
    if !(ms(1)..=MOST).contains(&span) {
        return Err(format!("it is {}, the range is 1ms to 365d, or none", exact_span(span)));
    }
    settings.engine.max_run = Some(span);
    Ok(())
}

fn weights(settings: &BrokerConfig) -> String {
    let [low, normal, high, urgent] = settings.engine.priority_weights;
    format!("{low}:{normal}:{high}:{urgent}")
}

fn set_weights(settings: &mut BrokerConfig, text: &str) -> Result<(), String> {
    let wrong = || {
        format!(
            "'{text}' is not four numbers from 1 to 255, for low, normal, high and urgent; write \
             it like 1:2:4:8"
        )
    };
    let parts: Vec<&str> = text.trim().split(':').collect();
    let parts: [&str; 4] = parts.try_into().map_err(|_other_count| wrong())?;
    let mut weights = [0; 4];
    for (weight, part) in weights.iter_mut().zip(parts) {
        *weight = part.parse().ok().filter(|&weight| weight > 0).ok_or_else(wrong)?;
    }
    settings.engine.priority_weights = weights;
    Ok(())
}
