//! Strategies for every value that travels.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Delivery, EventDelivery, Hello, Operation, Reply, SessionItem,
    Subscription, Update, UpdateBody, Welcome,
};
use trunkline_types::{
    Absent, AgentCard, AgentFilter, AgentId, AgentInfo, AgentPage, ArtifactChunk, AttemptNote,
    ContextId, Counters, DeadLetter, DeadLetterFilter, DeadLetterPage, Destination, Durability,
    Envelope, Epoch, Failure, FailureCode, Gauges, IdempotencyKey, InboxAddress, InboxStats, Kind,
    Limits, LogStats, MessageId, OrderingKey, Outcome, Partition, PauseReason, Payload, Presence,
    Priority, Progress, Publish, PublishOptions, Refusal, RefusalCode, SessionId, Settle,
    SkillName, Stats, TaskEvent, TaskEventBody, TaskFilter, TaskPage, TaskSnapshot, TaskState,
    TaskUpdate, TenantId, Token, Topic, TopicPattern, WallTime,
};

const NAME: &str = "[A-Za-z0-9._:-]{1,128}";

macro_rules! names {
    ($($function:ident: $type:ident),+ $(,)?) => { $(
        pub(crate) fn $function() -> impl Strategy<Value = $type> {
            NAME.prop_map(|text| $type::new(text).unwrap())
        }
    )+ };
}
names!(
    agent: AgentId,
    skill: SkillName,
    tenant: TenantId,
    ordering_key: OrderingKey,
    idempotency_key: IdempotencyKey,
    context: ContextId,
);

fn topic() -> impl Strategy<Value = Topic> {
    "[a-z0-9_-]{1,7}(\\.[a-z0-9_-]{1,7}){0,15}".prop_map(|text| Topic::new(text).unwrap())
}

fn pattern() -> impl Strategy<Value = TopicPattern> {
    "([a-z]{1,4}|\\*)(\\.([a-z]{1,4}|\\*)){0,13}(\\.>)?"
        .prop_map(|text| TopicPattern::new(text).unwrap())
}

fn small() -> impl Strategy<Value = SmolStr> {
    ".{0,40}".prop_map(SmolStr::from)
}

fn text() -> impl Strategy<Value = String> {
    ".{0,80}"
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn time() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime)
}

fn word<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

pub(crate) fn id() -> impl Strategy<Value = MessageId> {
    (any::<u64>(), 0_u16..4096, any::<u64>()).prop_map(|(millis, partition, unique)| {
        MessageId::from_parts(millis, Partition(partition), unique)
    })
}

pub(crate) fn token() -> impl Strategy<Value = Token> {
    (any::<u32>(), any::<u64>()).prop_map(|(epoch, counter)| Token { epoch: Epoch(epoch), counter })
}

pub(crate) fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        agent().prop_map(Destination::Agent),
        skill().prop_map(Destination::Skill),
        topic().prop_map(Destination::Topic),
        Just(Destination::All),
        vec(agent(), 1..4).prop_map(Destination::Agents),
    ]
}

fn inbox() -> impl Strategy<Value = InboxAddress> {
    prop_oneof![agent().prop_map(InboxAddress::Agent), skill().prop_map(InboxAddress::Skill)]
}

pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    (small(), vec(any::<u8>(), 0..300))
        .prop_map(|(content_type, data)| Payload { content_type, data: Bytes::from(data) })
}

fn labels() -> impl Strategy<Value = Vec<(SmolStr, SmolStr)>> {
    vec((small(), small()), 0..4)
}

prop_compose! {
    fn addressed()(
        id in id(),
        tenant in prop_oneof![Just(TenantId::default()), tenant()],
        kind in word(Kind::ALL),
        source in of(agent()),
        destination in destination(),
        priority in word(Priority::ALL),
        payload in payload(),
    ) -> Envelope {
        Envelope { tenant, source, priority, ..Envelope::new(id, kind, destination, payload) }
    }
}

prop_compose! {
    pub(crate) fn envelope()(
        base in addressed(),
        ttl in of(span()),
        ordering_key in of(ordering_key()),
        idempotency_key in of(idempotency_key()),
        (correlation_id, causation_id, root_id) in (of(id()), of(id()), of(id())),
        context_id in of(context()),
        traceparent in of(small()),
        headers in labels(),
    ) -> Envelope {
        Envelope {
            ttl,
            ordering_key,
            idempotency_key,
            correlation_id,
            causation_id,
            root_id,
            context_id,
            traceparent,
            headers,
            ..base
        }
    }
}

prop_compose! {
    fn options()(
        task in any::<bool>(),
        reply in any::<bool>(),
        durability in of(word(Durability::ALL)),
        attempts in of(any::<u32>()),
        delay in of(span()),
        absent in select(vec![Absent::Park, Absent::Fail]),
    ) -> PublishOptions {
        PublishOptions { task, reply, durability, attempts, delay, absent }
    }
}

pub(crate) fn publish() -> impl Strategy<Value = Publish> {
    let options = prop_oneof![Just(PublishOptions::default()), options()];
    (envelope(), options).prop_map(|(envelope, options)| Publish { envelope, options })
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        of(payload()).prop_map(|reply| Outcome::Complete { reply }),
        text().prop_map(|reason| Outcome::Fail { reason }),
        text().prop_map(|reason| Outcome::Reject { reason }),
        (text(), of(span())).prop_map(|(reason, delay)| Outcome::Retry { reason, delay }),
        Just(Outcome::Release),
        (word(PauseReason::ALL), of(payload()))
            .prop_map(|(reason, message)| Outcome::Pause { reason, message }),
        text().prop_map(|reason| Outcome::DeadLetter { reason }),
    ]
}

fn progress() -> impl Strategy<Value = Progress> {
    (0_u8..=100, text()).prop_map(|(percent, text)| Progress { percent, text })
}

fn artifact() -> impl Strategy<Value = ArtifactChunk> {
    (small(), any::<bool>(), any::<bool>(), payload())
        .prop_map(|(name, append, last, payload)| ArtifactChunk { name, append, last, payload })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    (pattern(), any::<bool>()).prop_map(|(pattern, durable)| Subscription { pattern, durable })
}

fn update_body() -> impl Strategy<Value = UpdateBody> {
    prop_oneof![
        Just(UpdateBody::Started),
        progress().prop_map(UpdateBody::Progress),
        artifact().prop_map(UpdateBody::Artifact),
    ]
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        publish().prop_map(|publish| Operation::Publish(Arc::new(publish))),
        (token(), outcome())
            .prop_map(|(token, outcome)| Operation::Settle(Settle { token, outcome })),
        (token(), update_body())
            .prop_map(|(token, body)| Operation::Update(Update { token, body })),
        subscription().prop_map(Operation::Subscribe),
        subscription().prop_map(Operation::Unsubscribe),
        (id(), any::<u64>()).prop_map(|(task, after)| Operation::Watch { task, after }),
        id().prop_map(|task| Operation::Unwatch { task }),
        (id(), text()).prop_map(|(task, reason)| Operation::Cancel { task, reason }),
        (id(), payload()).prop_map(|(task, payload)| Operation::Continue { task, payload }),
    ]
}

fn credit() -> impl Strategy<Value = Credit> {
    (any::<u32>(), any::<u32>()).prop_map(|(deliveries, events)| Credit { deliveries, events })
}

pub(crate) fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        (1..u64::MAX, vec(operation(), 0..4))
            .prop_map(|(first, operations)| ClientFrame::Operations { first, operations }),
        vec(token(), 0..4).prop_map(|tokens| ClientFrame::Heartbeat { tokens }),
        credit().prop_map(ClientFrame::Credit),
        any::<u64>().prop_map(|through| ClientFrame::Acknowledge { through }),
        Just(ClientFrame::Drain),
        Just(ClientFrame::Goodbye),
    ]
}

prop_compose! {
    pub(crate) fn card()(
        id in agent(),
        (name, description) in (text(), text()),
        types in vec(small(), 0..3),
        skills in vec(skill(), 0..3),
        capabilities in vec(small(), 0..3),
        labels in labels(),
        (region, version) in (small(), small()),
    ) -> AgentCard {
        AgentCard { id, name, description, types, skills, capabilities, labels, region, version }
    }
}

prop_compose! {
    pub(crate) fn hello()(
        session in any::<u128>(),
        card in of(card()),
        credit in credit(),
        subscriptions in vec(subscription(), 0..3),
        next_operation in 1..u64::MAX,
        held in vec(token(), 0..3),
    ) -> Hello {
        Hello { session: SessionId(session), card, credit, subscriptions, next_operation, held }
    }
}

prop_compose! {
    fn limits()(
        sizes in any::<[u32; 8]>(),
        credit in any::<u32>(),
        longest_span in span(),
        attempts in any::<u32>(),
    ) -> Limits {
        let size = |at: usize| usize::try_from(sizes[at]).unwrap();
        Limits {
            payload_bytes: size(0),
            headers: size(1),
            header_bytes: size(2),
            destinations: size(3),
            operations_per_frame: size(4).max(1),
            subscriptions: size(5),
            card_entries: size(6),
            credit,
            longest_span,
            attempts,
            reason_bytes: size(7),
        }
    }
}

prop_compose! {
    pub(crate) fn welcome()(
        epoch in any::<u32>(),
        resumed in any::<bool>(),
        lease in span(),
        revoked in vec(token(), 0..3),
        limits in limits(),
        now in any::<u64>(),
    ) -> Welcome {
        let now = WallTime(now);
        Welcome { epoch: Epoch(epoch), resumed, lease, revoked, limits, now }
    }
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    (word(RefusalCode::ALL), text(), of(span())).prop_map(|(code, message, retry_after)| Refusal {
        code,
        message,
        retry_after,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    (word(FailureCode::ALL), text()).prop_map(|(code, reason)| Failure { code, reason })
}

prop_compose! {
    fn delivery()(
        token in token(),
        publish in publish(),
        inbox in inbox(),
        (attempt, backlog) in (any::<u32>(), any::<u32>()),
        accepted_at in time(),
        expires_at in of(time()),
        messages in vec(payload(), 0..3),
    ) -> Delivery {
        let publish = Arc::new(publish);
        Delivery { token, publish, inbox, attempt, accepted_at, expires_at, backlog, messages }
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let result = prop_oneof![payload().prop_map(Ok), failure().prop_map(Err)];
    (id(), of(agent()), result).prop_map(|(request, agent, result)| Reply {
        request,
        agent,
        result,
    })
}

fn event_body() -> impl Strategy<Value = TaskEventBody> {
    prop_oneof![
        (word(TaskState::ALL), of(text()))
            .prop_map(|(state, reason)| TaskEventBody::Status { state, reason }),
        artifact().prop_map(TaskEventBody::Artifact),
        (of(agent()), payload())
            .prop_map(|(from, payload)| TaskEventBody::Message { from, payload }),
    ]
}

pub(crate) fn task_update() -> impl Strategy<Value = TaskUpdate> {
    prop_oneof![
        (any::<u64>(), any::<u32>(), time(), event_body()).prop_map(|(number, epoch, at, body)| {
            TaskUpdate::Event(TaskEvent { number, epoch: Epoch(epoch), at, body })
        }),
        progress().prop_map(TaskUpdate::Progress),
        any::<(u64, u64)>().prop_map(|(first, last)| TaskUpdate::Gap { first, last }),
    ]
}

fn accepted() -> impl Strategy<Value = Accepted> {
    (any::<u64>(), id(), any::<bool>(), any::<u32>(), any::<u32>()).prop_map(
        |(operation, id, duplicate, targets, dropped)| Accepted {
            operation,
            id,
            duplicate,
            targets,
            dropped,
        },
    )
}

pub(crate) fn item() -> impl Strategy<Value = SessionItem> {
    prop_oneof![
        any::<(u64, u64)>()
            .prop_map(|(a, b)| SessionItem::Done { first: a.min(b), last: a.max(b) }),
        accepted().prop_map(SessionItem::Accepted),
        (any::<u64>(), refusal())
            .prop_map(|(operation, refusal)| SessionItem::Refused { operation, refusal }),
        delivery().prop_map(SessionItem::Delivery),
        (any::<u64>(), publish(), any::<u64>()).prop_map(|(number, publish, missed)| {
            SessionItem::Event(EventDelivery { number, publish: Arc::new(publish), missed })
        }),
        reply().prop_map(SessionItem::Reply),
        (id(), task_update()).prop_map(|(task, update)| SessionItem::Task { task, update }),
        (token(), text()).prop_map(|(token, reason)| SessionItem::Cancel { token, reason }),
        (text(), any::<bool>())
            .prop_map(|(reason, reconnect)| SessionItem::GoAway { reason, reconnect }),
    ]
}

fn note() -> impl Strategy<Value = AttemptNote> {
    (any::<u32>(), of(agent()), time(), text())
        .prop_map(|(attempt, agent, at, reason)| AttemptNote { attempt, agent, at, reason })
}

prop_compose! {
    pub(crate) fn snapshot()(
        (id, destination, source) in (id(), destination(), of(agent())),
        (context_id, causation_id, root_id) in (of(context()), of(id()), of(id())),
        (state, reason, agent) in (word(TaskState::ALL), of(text()), of(agent())),
        (attempts, last_event) in any::<(u32, u64)>(),
        notes in vec(note(), 0..3),
        (progress, result) in (of(progress()), of(payload())),
        (created_at, updated_at) in (time(), time()),
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
        }
    }
}

pub(crate) fn task_filter() -> impl Strategy<Value = TaskFilter> {
    let named = (of(skill()), of(agent()), of(context()));
    (of(word(TaskState::ALL)), named, of(id()), any::<u32>()).prop_map(
        |(state, (skill, agent, context_id), before, limit)| TaskFilter {
            state,
            skill,
            agent,
            context_id,
            before,
            limit,
        },
    )
}

pub(crate) fn task_page() -> impl Strategy<Value = TaskPage> {
    (vec(snapshot(), 0..3), of(id())).prop_map(|(tasks, next)| TaskPage { tasks, next })
}

pub(crate) fn agent_filter() -> impl Strategy<Value = AgentFilter> {
    (of(agent()), of(skill()), of(agent()), any::<u32>())
        .prop_map(|(id, skill, after, limit)| AgentFilter { id, skill, after, limit })
}

pub(crate) fn agent_page() -> impl Strategy<Value = AgentPage> {
    (vec(agent_info(), 0..3), of(agent())).prop_map(|(agents, next)| AgentPage { agents, next })
}

prop_compose! {
    fn agent_info()(
        card in card(),
        owner in small(),
        presence in word(Presence::ALL),
        (sessions, in_flight, credit, waiting) in any::<(u32, u32, u32, u64)>(),
        registered_at in time(),
    ) -> AgentInfo {
        AgentInfo { card, owner, presence, sessions, in_flight, credit, waiting, registered_at }
    }
}

pub(crate) fn dead_letter_filter() -> impl Strategy<Value = DeadLetterFilter> {
    (of(id()), of(inbox()), any::<Option<u64>>(), any::<u32>())
        .prop_map(|(id, inbox, before, limit)| DeadLetterFilter { id, inbox, before, limit })
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
    any::<(u64, u64, u64, u64, bool)>().prop_map(
        |(records, bytes, flushes, recovered, disk_full)| LogStats {
            records,
            bytes,
            flushes,
            recovered,
            disk_full,
        },
    )
}

prop_compose! {
    pub(crate) fn stats()(
        (counters, gauges) in (counters(), gauges()),
        n in any::<[u64; 15]>(),
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
            dead_letters: n[10],
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
