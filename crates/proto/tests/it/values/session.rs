//! What sessions and brokers tell each other.

use super::*;
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Delivery, EventDelivery, Hello, LetterAddress, NumberRange,
    Operation, Pressure, Redrive, Reply, SessionItem, Subscription, Update, UpdateBody, Welcome,
};
use trunkline_types::{
    Filter, Gathered, GatheredPart, Limits, SessionId, Settle, TaskEvent, TaskEventBody, TaskState,
    TaskUpdate, WhenFull,
};

fn subscription() -> impl Strategy<Value = Subscription> {
    let filter = "[a-z(=\" ]{0,40}x".prop_map(|text| Filter::new(text).unwrap());
    (pattern(), any::<bool>(), of(filter), of(group()), word(WhenFull::ALL)).prop_map(
        |(pattern, durable, filter, group, when_full)| Subscription {
            pattern,
            durable,
            filter,
            group,
            when_full,
        },
    )
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
        (id(), text(), any::<bool>()).prop_map(|(id, reason, descendants)| Operation::Cancel {
            id,
            reason,
            descendants,
        }),
        (id(), payload()).prop_map(|(task, payload)| Operation::Continue { task, payload }),
        request_of_operators(),
    ]
}

fn request_of_operators() -> BoxedStrategy<Operation> {
    prop_oneof![
        redrive().prop_map(|redrive| Operation::Redrive(Box::new(redrive))),
        letter().prop_map(Operation::Purge),
        (agent(), agent_change()).prop_map(|(agent, change)| Operation::SetAgent { agent, change }),
        agent().prop_map(|agent| Operation::Unregister { agent }),
        (inbox(), inbox_change())
            .prop_map(|(inbox, change)| Operation::SetInbox { inbox, change: Box::new(change) }),
        schedule().prop_map(|schedule| Operation::SetSchedule(Box::new(schedule))),
        schedule_name().prop_map(|name| Operation::RemoveSchedule { name }),
        watch_filter().prop_map(|filter| Operation::WatchAgents(Box::new(filter))),
        Just(Operation::UnwatchAgents),
    ]
    .boxed()
}

pub(crate) fn letter() -> impl Strategy<Value = LetterAddress> {
    (id(), of(inbox())).prop_map(|(id, inbox)| LetterAddress { id, inbox })
}

prop_compose! {
    pub(crate) fn redrive()(
        letter in letter(),
        id in id(),
        payload in of(payload()),
        destination in of(destination()),
        priority in of(word(Priority::ALL)),
    ) -> Redrive {
        Redrive { letter, id, payload, destination, priority }
    }
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
        sizes in any::<[u32; 10]>(),
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
            schema_bytes: size(8),
            card_schema_bytes: size(9),
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

prop_compose! {
    fn delivery()(
        token in token(),
        publish in publish(),
        inbox in inbox(),
        (attempt, backlog, backlog_age) in (any::<u32>(), any::<u32>(), span()),
        accepted_at in time(),
        expires_at in of(time()),
        messages in vec(payload(), 0..3),
        (number, missed, max_run) in (any::<u64>(), vec(range(), 0..3), of(span())),
    ) -> Delivery {
        Delivery {
            token,
            publish: Arc::new(publish),
            inbox,
            attempt,
            accepted_at,
            expires_at,
            backlog,
            backlog_age,
            messages,
            number,
            missed,
            max_run,
        }
    }
}

fn range() -> impl Strategy<Value = NumberRange> {
    any::<(u64, u64)>().prop_map(|(a, b)| NumberRange { first: a.min(b), last: a.max(b) })
}

fn pressure() -> impl Strategy<Value = Pressure> {
    (inbox(), any::<u8>(), any::<u64>()).prop_map(|(inbox, percent, pace)| Pressure {
        inbox,
        percent,
        pace: Duration::from_micros(pace),
    })
}

pub(crate) fn gathered() -> BoxedStrategy<Gathered> {
    let result = prop_oneof![payload().prop_map(Ok), failure().prop_map(Err)];
    let part = (agent(), result).prop_map(|(agent, result)| GatheredPart { agent, result });
    (id(), any::<bool>(), vec(part, 0..4))
        .prop_map(|(request, complete, parts)| Gathered { request, complete, parts })
        .boxed()
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

prop_compose! {
    fn accepted()(
        (operation, id) in (any::<u64>(), id()),
        duplicate in any::<bool>(),
        (targets, dropped, parked) in any::<(u32, u32, u32)>(),
    ) -> Accepted {
        Accepted { operation, id, duplicate, targets, dropped, parked }
    }
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
        gathered().prop_map(SessionItem::Gathered),
        pressure().prop_map(SessionItem::Pressure),
        agent_news().prop_map(|news| SessionItem::Agent(Box::new(news))),
        text().prop_map(|reason| SessionItem::Drain { reason }),
        (text(), any::<bool>())
            .prop_map(|(reason, reconnect)| SessionItem::GoAway { reason, reconnect }),
    ]
}
