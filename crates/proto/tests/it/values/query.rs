//! Questions and answers.

use super::*;
use trunkline_types::{
    Binding, Change, ContextSnapshot, CopyState, CopyStatus, Counters, DeadLetter,
    DeadLetterFilter, DeadLetterPage, Gauges, History, HistoryMessage, InboxChange, InboxEffective,
    InboxInfo, InboxSettings, InboxStats, LogStats, MessageStatus, Role, Routing, Schedule,
    ScheduleFilter, ScheduleInfo, SchedulePage, Stats, TaskFilter, TaskPage, TaskSnapshot,
    TaskState, WhenFull,
};

prop_compose! {
    pub(crate) fn snapshot()(
        (id, destination, source) in (id(), destination(), of(agent())),
        (context_id, causation_id, root_id) in (of(context()), of(id()), of(id())),
        (state, reason, agent) in (word(TaskState::ALL), of(text()), of(agent())),
        (attempts, last_event) in any::<(u32, u64)>(),
        notes in vec(note(), 0..3),
        (progress, result) in (of(progress()), of(payload())),
        (created_at, updated_at) in (time(), time()),
        history in history(),
    ) -> TaskSnapshot {
        TaskSnapshot {
            id,
            destination,
            source,
            context_id,
            causation_id,
            root_id,
            state,
            reason,
            agent,
            attempts,
            notes,
            progress,
            result,
            last_event,
            created_at,
            updated_at,
            history,
        }
    }
}

prop_compose! {
    fn history_message()(
        (task, role, from) in (id(), word(Role::ALL), of(agent())),
        (at, payload) in (time(), payload()),
    ) -> HistoryMessage {
        HistoryMessage { task, role, from, at, payload }
    }
}

fn history() -> impl Strategy<Value = History> {
    (vec(history_message(), 0..3), any::<bool>())
        .prop_map(|(messages, more)| History { messages, more })
}

prop_compose! {
    pub(crate) fn context_snapshot()(
        id in context(),
        (tasks, tasks_open) in any::<(u64, u64)>(),
        history in history(),
    ) -> ContextSnapshot {
        ContextSnapshot { id, tasks, tasks_open, history }
    }
}

prop_compose! {
    pub(crate) fn task_filter()(
        states in vec(word(TaskState::ALL), 0..3),
        (skill, agent, context_id) in (of(skill()), of(agent()), of(context())),
        (root_id, since, until) in (of(id()), of(time()), of(time())),
        (before, limit) in (of(id()), any::<u32>()),
        (changed_since, except, by_change, changed_before) in
            (of(time()), vec(agent(), 0..3), any::<bool>(), of(change())),
    ) -> TaskFilter {
        TaskFilter {
            states,
            skill,
            agent,
            context_id,
            root_id,
            since,
            until,
            before,
            limit,
            changed_since,
            except,
            by_change,
            changed_before,
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    (time(), id()).prop_map(|(at, task)| Change { at, task })
}

pub(crate) fn task_page() -> impl Strategy<Value = TaskPage> {
    (vec(snapshot(), 0..3), of(id()), of(change()), of(any::<u64>()))
        .prop_map(|(tasks, next, next_change, total)| TaskPage { tasks, next, next_change, total })
}

prop_compose! {
    pub(crate) fn dead_letter_filter()(
        (id, inbox, agent) in (of(id()), of(inbox()), of(agent())),
        reason in of(text()),
        (since, until) in (of(time()), of(time())),
        before in any::<Option<u64>>(),
        limit in any::<u32>(),
    ) -> DeadLetterFilter {
        DeadLetterFilter { id, inbox, agent, reason, since, until, before, limit }
    }
}

pub(crate) fn dead_letter_page() -> impl Strategy<Value = DeadLetterPage> {
    (vec(dead_letter(), 0..3), any::<Option<u64>>())
        .prop_map(|(letters, next)| DeadLetterPage { letters, next })
}

prop_compose! {
    fn dead_letter()(
        publish in publish(),
        inbox in inbox(),
        reason in text(),
        (at, accepted_at) in (time(), time()),
        attempts in vec(note(), 0..3),
    ) -> DeadLetter {
        DeadLetter { publish: Arc::new(publish), inbox, reason, at, accepted_at, attempts }
    }
}

fn counters() -> impl Strategy<Value = Counters> {
    any::<[u64; 8]>().prop_map(
        |[accepted, settled, dead_lettered, expired, canceled, dropped, lost, redeliveries]| {
            Counters {
                accepted,
                settled,
                dead_lettered,
                expired,
                canceled,
                dropped,
                lost,
                redeliveries,
            }
        },
    )
}

fn gauges() -> impl Strategy<Value = Gauges> {
    any::<[u64; 6]>().prop_map(|[staged, delayed, waiting, parked, paused, leased]| Gauges {
        staged,
        delayed,
        waiting,
        parked,
        paused,
        leased,
    })
}

fn inbox_stats() -> impl Strategy<Value = InboxStats> {
    (of(inbox()), counters(), gauges()).prop_map(|(address, counters, gauges)| InboxStats {
        address,
        counters,
        gauges,
    })
}

fn log_stats() -> impl Strategy<Value = LogStats> {
    any::<((u64, u64, u64, u64, bool), [u64; 5], [u64; 8])>().prop_map(
        |((records, bytes, flushes, recovered, disk_full), cleaning, payloads)| LogStats {
            records,
            bytes,
            flushes,
            recovered,
            disk_full,
            carried_bytes: cleaning[0],
            segments: cleaning[1],
            disk_bytes: cleaning[2],
            live_bytes: cleaning[3],
            removed_segments: cleaning[4],
            payload_memory_bytes: payloads[0],
            payload_disk_bytes: payloads[1],
            payloads_on_disk: payloads[2],
            payload_loads: payloads[3],
            payload_load_batches: payloads[4],
            damaged_places: payloads[5],
            records_left_out: payloads[6],
            index_rows_damaged: payloads[7],
        },
    )
}

prop_compose! {
    pub(crate) fn stats()(
        (counters, gauges) in (counters(), gauges()),
        (n, batches) in any::<([u64; 29], [u64; 4])>(),
        inboxes in vec(inbox_stats(), 0..3),
        log in of(log_stats()),
        epoch in any::<u32>(),
    ) -> Stats {
        Stats {
            counters,
            gauges,
            messages_accepted: n[0],
            messages_refused: n[1],
            messages_unrouted: n[2],
            duplicates: n[3],
            replies_dropped: n[4],
            tasks_completed: n[5],
            tasks_failed: n[6],
            tasks_canceled: n[7],
            tasks_open: n[8],
            tasks_forgotten: n[9],
            task_events_forgotten: n[28],
            tasks_indexed: n[23],
            history_since_ms: n[25],
            records_unindexed: n[24],
            dead_letters: n[10],
            dead_letters_indexed: n[26],
            dead_letters_forgotten: n[22],
            redriven: n[15],
            purged: n[16],
            scheduled: n[17],
            keys: n[18],
            keys_indexed: n[27],
            waiting_outside: n[19],
            breakers_opened: n[20],
            overran: n[21],
            turns: batches[0],
            operations: batches[1],
            hand_overs: batches[2],
            items: batches[3],
            agents: n[11],
            sessions: n[12],
            inboxes,
            inboxes_total: n[14],
            log,
            epoch,
            uptime_ms: n[13],
        }
    }
}

fn binding() -> impl Strategy<Value = Binding> {
    (word(Priority::ALL), small(), small()).prop_map(|(priority, key, value)| Binding {
        priority,
        key,
        value,
    })
}

prop_compose! {
    fn inbox_settings()(
        (when_full, routing) in (of(word(WhenFull::ALL)), of(word(Routing::ALL))),
        (wait, limit, ttl) in (of(span()), any::<Option<u32>>(), of(span())),
        bindings in vec(binding(), 0..3),
    ) -> InboxSettings {
        InboxSettings { when_full, wait, limit, ttl, routing, bindings }
    }
}

prop_compose! {
    pub(crate) fn inbox_change()(
        (when_full, routing) in (of(word(WhenFull::ALL)), of(word(Routing::ALL))),
        (wait, limit, ttl) in (of(span()), any::<Option<u32>>(), of(span())),
        bindings in of(vec(binding(), 0..3)),
        reset in any::<bool>(),
    ) -> InboxChange {
        InboxChange { when_full, wait, limit, ttl, routing, bindings, reset }
    }
}

pub(crate) fn inbox_info() -> impl Strategy<Value = InboxInfo> {
    let settings = prop_oneof![Just(InboxSettings::default()), inbox_settings()];
    let effective = (word(WhenFull::ALL), span(), any::<(u32, u64)>(), of(word(Routing::ALL)));
    let effective = effective.prop_map(|(when_full, wait, (ephemeral, logged), routing)| {
        InboxEffective { when_full, wait, ephemeral, logged, routing }
    });
    (settings, effective, inbox_stats(), any::<(u32, u32)>()).prop_map(
        |(settings, effective, stats, (waiting_outside, servers))| InboxInfo {
            settings,
            effective,
            stats,
            waiting_outside,
            servers,
        },
    )
}

pub(crate) fn message_status() -> impl Strategy<Value = MessageStatus> {
    let copy = (of(inbox()), word(CopyState::ALL), any::<u32>(), of(agent()))
        .prop_map(|(inbox, state, attempts, agent)| CopyStatus { inbox, state, attempts, agent });
    let known = (of(word(Kind::ALL)), of(destination()), of(time()));
    (id(), known, vec(copy, 0..3)).prop_map(|(id, (kind, destination, accepted_at), copies)| {
        MessageStatus { id, kind, destination, accepted_at, copies }
    })
}

pub(crate) fn schedule() -> impl Strategy<Value = Schedule> {
    (schedule_name(), small(), small(), publish()).prop_map(|(name, cron, zone, publish)| {
        Schedule { name, cron, zone, publish: Arc::new(publish) }
    })
}

pub(crate) fn schedule_filter() -> impl Strategy<Value = ScheduleFilter> {
    (of(schedule_name()), of(schedule_name()), any::<u32>())
        .prop_map(|(name, after, limit)| ScheduleFilter { name, after, limit })
}

prop_compose! {
    fn schedule_info()(
        schedule in schedule(),
        next in of(time()),
        fired in any::<u64>(),
        last in of((id(), time())),
        refused in of(refusal()),
    ) -> ScheduleInfo {
        ScheduleInfo { schedule, next, fired, last, refused }
    }
}

pub(crate) fn schedule_page() -> impl Strategy<Value = SchedulePage> {
    (vec(schedule_info(), 0..3), of(schedule_name()))
        .prop_map(|(schedules, next)| SchedulePage { schedules, next })
}
