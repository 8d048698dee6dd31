//! Strategies for every value that travels: what is carried, and what all the others share.

mod directory;
mod query;
mod session;

pub(crate) use directory::*;
pub(crate) use query::*;
pub(crate) use session::*;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use smol_str::SmolStr;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{
    Absent, AgentId, ArtifactChunk, AttemptNote, ContextId, Destination, Durability, Encoding,
    Envelope, Epoch, Failure, FailureCode, Gather, GatherRule, GroupName, IdempotencyKey,
    InboxAddress, Kind, MessageId, OrderingKey, Outcome, Partition, PauseReason, Payload, Priority,
    Progress, Publish, PublishOptions, Refusal, RefusalCode, ScheduleName, SkillName, TenantId,
    Token, Topic, TopicPattern, WallTime,
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
    group: GroupName,
    schedule_name: ScheduleName,
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

pub(crate) fn inbox() -> impl Strategy<Value = InboxAddress> {
    prop_oneof![agent().prop_map(InboxAddress::Agent), skill().prop_map(InboxAddress::Skill)]
}

pub(crate) fn payload() -> impl Strategy<Value = Payload> {
    let encoding = prop_oneof![Just(Encoding::Identity), word(Encoding::ALL)];
    (small(), encoding, vec(any::<u8>(), 0..300)).prop_map(|(content_type, encoding, data)| {
        Payload { content_type, encoding, data: Bytes::from(data) }
    })
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
        redriven_from in of(id()).prop_map(|id| id.map(Box::new)),
        context_id in of(context()),
        traceparent in of(small()).prop_map(|text| text.map(|text| text.as_str().into())),
        headers in labels(),
    ) -> Envelope {
        Envelope {
            ttl,
            ordering_key,
            idempotency_key,
            correlation_id,
            causation_id,
            root_id,
            redriven_from,
            context_id,
            traceparent,
            headers,
            ..base
        }
    }
}

fn gather() -> impl Strategy<Value = Gather> {
    let rule = prop_oneof![
        Just(GatherRule::First),
        Just(GatherRule::All),
        any::<u32>().prop_map(GatherRule::Quorum),
    ];
    (rule, any::<u32>()).prop_map(|(rule, reply_bytes)| Gather { rule, reply_bytes })
}

prop_compose! {
    fn options()(
        task in any::<bool>(),
        reply in any::<bool>(),
        durability in of(word(Durability::ALL)),
        attempts in of(any::<u32>()),
        (delay, not_before, max_run) in (of(span()), of(time()), of(span())),
        gather in of(gather()),
        absent in of(select(vec![Absent::Park, Absent::Fail, Absent::Discard])),
    ) -> PublishOptions {
        PublishOptions {
            task,
            reply,
            durability,
            attempts,
            delay,
            not_before,
            max_run,
            gather,
            absent,
        }
    }
}

/// Boxed, like all that much else is made of: nested strategies outgrow a test's stack.
pub(crate) fn publish() -> BoxedStrategy<Publish> {
    let options = prop_oneof![Just(PublishOptions::default()), options()];
    (envelope(), options).prop_map(|(envelope, options)| Publish { envelope, options }).boxed()
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

fn note() -> impl Strategy<Value = AttemptNote> {
    (any::<u32>(), of(agent()), time(), text())
        .prop_map(|(attempt, agent, at, reason)| AttemptNote { attempt, agent, at, reason })
}
