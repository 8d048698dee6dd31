//! Every record reads back as what was written, and nothing that is read can do harm.

use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{
    AcceptedRecord, AgentRecord, End, EntryId, Record, ReturnedRecord, ScheduledRecord,
};
use trunkline_types::session::Subscription;
use trunkline_types::{
    Absent, AgentCard, AgentControl, AgentId, ArtifactChunk, AttemptNote, Binding, Destination,
    Durability, Envelope, Epoch, InboxAddress, InboxSettings, JsonSchema, Kind, MessageId,
    Partition, PauseReason, Payload, Priority, Publish, PublishOptions, Routing, Schedule,
    SessionId, SkillName, SkillSchemas, TenantId, Token, TopicPattern, WallTime, WhenFull,
};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{1,40}"
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,30}"
}

fn agent_id() -> impl Strategy<Value = AgentId> {
    name().prop_map(|text| AgentId::new(text).unwrap())
}

fn tenant() -> impl Strategy<Value = TenantId> {
    name().prop_map(|text| TenantId::new(text).unwrap())
}

fn payload() -> impl Strategy<Value = Payload> {
    (text(), proptest::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(content_type, data)| Payload::new(content_type, data))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (any::<u64>(), 0..4096_u16, any::<u64>()).prop_map(|(millis, partition, low)| {
        MessageId::from_parts(millis, Partition(partition), low)
    })
}

fn note() -> impl Strategy<Value = AttemptNote> {
    (any::<u32>(), proptest::option::of(agent_id()), any::<u64>(), text()).prop_map(
        |(attempt, agent, at, reason)| AttemptNote { attempt, agent, at: WallTime(at), reason },
    )
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        agent_id().prop_map(Destination::Agent),
        name().prop_map(|text| Destination::Skill(SkillName::new(text).unwrap())),
        "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,5}"
            .prop_map(|text| Destination::Topic(text.parse().unwrap())),
        Just(Destination::All),
        proptest::collection::vec(agent_id(), 1..4).prop_map(Destination::Agents),
    ]
}

fn pick<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(move |index| all[index])
}

fn publish() -> impl Strategy<Value = Publish> {
    let ids = (
        message_id(),
        proptest::option::of(message_id()),
        proptest::option::of(message_id()),
        proptest::option::of(message_id()),
        proptest::option::of(message_id()),
    );
    let keys = (
        proptest::option::of(name()),
        proptest::option::of(name()),
        proptest::option::of(name()),
        proptest::option::of(agent_id()),
    );
    let rest = (
        pick(Kind::ALL),
        pick(Priority::ALL),
        proptest::option::of(1..u64::from(u32::MAX)),
        proptest::collection::vec((text(), text()), 0..4),
        proptest::option::of(text()),
    );
    let options = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(pick(Durability::ALL)),
        proptest::option::of(any::<u32>()),
        proptest::option::of(0..u64::from(u32::MAX)),
        proptest::option::of(any::<u64>()),
        proptest::option::of(0..u64::from(u32::MAX)),
        proptest::option::of(pick(&[Absent::Park, Absent::Fail, Absent::Discard])),
    );
    (ids, keys, rest, options, destination(), payload(), tenant()).prop_map(
        |(ids, keys, rest, options, destination, payload, tenant)| {
            let mut envelope = Envelope::new(ids.0, rest.0, destination, payload);
            envelope.tenant = tenant;
            envelope.correlation_id = ids.1;
            envelope.causation_id = ids.2;
            envelope.root_id = ids.3;
            envelope.redriven_from = ids.4.map(Box::new);
            envelope.ordering_key = keys.0.map(|text| text.parse().unwrap());
            envelope.idempotency_key = keys.1.map(|text| text.parse().unwrap());
            envelope.context_id = keys.2.map(|text| text.parse().unwrap());
            envelope.source = keys.3;
            envelope.priority = rest.1;
            envelope.ttl = rest.2.map(Duration::from_millis);
            envelope.headers =
                rest.3.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            envelope.traceparent = rest.4.map(Into::into);
            let options = PublishOptions {
                task: options.0,
                reply: options.1,
                durability: options.2,
                attempts: options.3,
                delay: options.4.map(Duration::from_millis),
                not_before: options.5.map(WallTime),
                max_run: options.6.map(Duration::from_millis),
                gather: None,
                absent: options.7,
            };
            Publish { envelope, options }
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        proptest::option::of(payload()).prop_map(|reply| End::Completed { reply }),
        text().prop_map(|reason| End::Failed { reason }),
        text().prop_map(|reason| End::Rejected { reason }),
        Just(End::Expired),
        Just(End::Dropped),
        text().prop_map(|reason| End::Canceled { reason }),
        (text(), proptest::option::of(note()))
            .prop_map(|(reason, note)| End::DeadLettered { reason, note }),
    ]
}

fn schema() -> impl Strategy<Value = Option<JsonSchema>> {
    let text = "[a-zäöü ]{0,30}".prop_map(|text| format!(r#"{{"title":"{text}"}}"#));
    proptest::option::of(text.prop_map(|text| text.parse().unwrap()))
}

fn card() -> impl Strategy<Value = AgentCard> {
    let schemas = proptest::collection::vec((name(), schema(), schema()), 0..3);
    (agent_id(), text(), proptest::collection::vec(name(), 0..4), schemas, text()).prop_map(
        |(id, name, skills, schemas, region)| {
            let mut card = AgentCard::new(id);
            card.description = format!("what {name} does");
            card.types = vec![name.as_str().into()];
            card.capabilities = vec!["a".into(), "b".into()];
            card.labels = vec![(region.as_str().into(), name.as_str().into())];
            card.skills = skills.into_iter().map(|text| text.parse().unwrap()).collect();
            card.schemas = schemas
                .into_iter()
                .map(|(skill, input, output)| {
                    let skill = skill.parse().unwrap();
                    SkillSchemas { skill, input, output }
                })
                .collect();
            card.region = region.into();
            card.version = "1.2.3".into();
            card.name = name;
            card
        },
    )
}

fn accepted() -> impl Strategy<Value = AcceptedRecord> {
    let inboxes = proptest::collection::vec(agent_id().prop_map(InboxAddress::Agent), 0..4);
    let numbers = (any::<u128>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>());
    (publish(), numbers, inboxes).prop_map(
        |(publish, (session, operation, at, first, pending), inboxes)| AcceptedRecord {
            publish: Arc::new(publish),
            session: SessionId(session),
            operation,
            at: WallTime(at),
            first_entry: EntryId(first),
            inboxes,
            pending,
        },
    )
}

/// A schedule that is set, removed or fires.
fn scheduled() -> impl Strategy<Value = Record> {
    let texts = (name(), text(), text(), text());
    let numbers = (any::<u64>(), any::<u128>(), any::<u64>(), proptest::option::of(any::<u64>()));
    (0..3, texts, numbers, accepted()).prop_map(
        |(which, (name, cron, zone, owner), (at, session, operation, next), accepted)| {
            let (name, at, next) = (name.parse().unwrap(), WallTime(at), next.map(WallTime));
            let tenant = accepted.publish.envelope.tenant.clone();
            let session = SessionId(session);
            match which {
                0 => {
                    let (cron, zone, publish) = (cron.into(), zone.into(), accepted.publish);
                    let schedule = Schedule { name, cron, zone, publish };
                    Record::Scheduled(Box::new(ScheduledRecord {
                        tenant,
                        owner,
                        schedule,
                        next,
                        session,
                        operation,
                        at,
                    }))
                }
                1 => Record::Unscheduled { tenant, name, session, operation, at },
                _ => Record::Fired { name, due: at, next, accepted: Box::new(accepted) },
            }
        },
    )
}

/// A dead letter that is redriven or purged.
fn letter() -> impl Strategy<Value = Record> {
    let numbers = (any::<u128>(), any::<u64>(), any::<u64>());
    (any::<bool>(), message_id(), name(), numbers, accepted()).prop_map(
        |(redriven, letter, name, (session, operation, at), accepted)| {
            let inbox = InboxAddress::Skill(SkillName::new(name).unwrap());
            let tenant = accepted.publish.envelope.tenant.clone();
            let (session, at) = (SessionId(session), WallTime(at));
            if redriven {
                Record::Redriven { letter, inbox, accepted: Box::new(accepted) }
            } else {
                Record::Purged { tenant, letter, inbox, session, operation, at }
            }
        },
    )
}

fn returned() -> impl Strategy<Value = Record> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    (numbers, any::<bool>(), proptest::option::of(note())).prop_map(
        |((entry, attempts, losses, due, at), token_stays, note)| {
            Record::Returned(Box::new(ReturnedRecord {
                entry: EntryId(entry),
                attempts,
                losses,
                due: WallTime(due),
                token_stays,
                called_off: token_stays && losses % 2 == 0,
                note,
                at: WallTime(at),
            }))
        },
    )
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let pattern = pick(&["a.*.>", "b", ">", "x.y.z"]);
    let (filter, group) = (proptest::option::of("\\PC{0,30}x"), proptest::option::of(name()));
    (pattern, any::<bool>(), filter, group, pick(WhenFull::ALL)).prop_map(
        |(pattern, durable, filter, group, when_full)| Subscription {
            pattern: TopicPattern::new(pattern).unwrap(),
            durable,
            filter: filter.map(|text| text.parse().unwrap()),
            group: group.map(|text| text.parse().unwrap()),
            when_full,
        },
    )
}

fn routed() -> impl Strategy<Value = Record> {
    let inboxes = proptest::collection::vec(agent_id().prop_map(InboxAddress::Agent), 0..4);
    (any::<u64>(), any::<u64>(), inboxes, any::<u64>()).prop_map(|(entry, first, inboxes, at)| {
        let (entry, first_entry, at) = (EntryId(entry), EntryId(first), WallTime(at));
        Record::Routed { entry, first_entry, inboxes, at }
    })
}

fn small() -> impl Strategy<Value = Record> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u128>(), any::<u32>());
    let whose = (tenant(), agent_id(), subscription());
    (0..10, numbers, whose, payload(), end(), text()).prop_map(
        move |(which, (entry, at, session, epoch), whose, payload, end, text)| {
            let (tenant, agent, subscription) = whose;
            let (entry, at, session) = (EntryId(entry), WallTime(at), SessionId(session));
            let (epoch, operation) = (Epoch(epoch), at.0 ^ entry.0);
            match which {
                0 => Record::Boot { epoch, at },
                1 => Record::Subscribed { tenant, agent, subscription },
                2 => Record::Unsubscribed { tenant, agent, subscription },
                3 => {
                    let token = Token { epoch, counter: operation };
                    Record::Leased { entry, token, session, agent, at }
                }
                4 => Record::Begun { entry },
                5 => {
                    Record::Paused { entry, reason: PauseReason::Auth, message: Some(payload), at }
                }
                6 => {
                    Record::Continued { entry, payload, from: Some(agent), session, operation, at }
                }
                7 => Record::Settled { entry, end, at },
                8 => Record::Ran { entry, ran: Duration::from_millis(operation) },
                _ => {
                    let chunk =
                        ArtifactChunk { name: text.into(), append: true, last: false, payload };
                    Record::Artifact { entry, session, operation, chunk, at }
                }
            }
        },
    )
}

fn control() -> impl Strategy<Value = Record> {
    let flags = (any::<u32>(), any::<bool>(), any::<bool>());
    (tenant(), agent_id(), flags, any::<u64>(), any::<u128>()).prop_map(
        |(tenant, agent, (weight, draining, healthy), at, session)| {
            let (operation, session, at) = (at ^ 7, SessionId(session), WallTime(at));
            if session.0 % 4 == 0 {
                return Record::AgentGone { tenant, agent, session, operation, at };
            }
            let control = AgentControl { weight, draining, healthy };
            Record::AgentSet { tenant, agent, control, session, operation, at }
        },
    )
}

fn inbox_set() -> impl Strategy<Value = Record> {
    let binding = (pick(Priority::ALL), text(), text()).prop_map(|(priority, key, value)| {
        Binding { priority, key: key.into(), value: value.into() }
    });
    let settings = (
        proptest::option::of(pick(WhenFull::ALL)),
        proptest::option::of(0..u64::from(u32::MAX)),
        proptest::option::of(any::<u32>()),
        proptest::option::of(1..u64::from(u32::MAX)),
        proptest::option::of(pick(Routing::ALL)),
        proptest::collection::vec(binding, 0..4),
    );
    let inbox = prop_oneof![
        agent_id().prop_map(InboxAddress::Agent),
        name().prop_map(|text| InboxAddress::Skill(SkillName::new(text).unwrap())),
    ];
    (tenant(), inbox, settings, any::<u64>(), any::<u128>()).prop_map(
        |(tenant, inbox, (when_full, wait, limit, ttl, routing, bindings), at, session)| {
            let (session, operation, at) = (SessionId(session), at ^ 5, WallTime(at));
            let (wait, ttl) = (wait.map(Duration::from_millis), ttl.map(Duration::from_millis));
            let settings = InboxSettings { when_full, wait, limit, ttl, routing, bindings };
            let settings = Box::new(settings);
            Record::InboxSet { tenant, inbox, settings, session, operation, at }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let agent = (tenant(), text(), card(), any::<u64>()).prop_map(|(tenant, owner, card, at)| {
        Record::Agent(Box::new(AgentRecord { tenant, owner, card, at: WallTime(at) }))
    });
    let lost = (tenant(), proptest::option::of(agent_id()), any::<u64>()).prop_map(
        |(tenant, agent, count)| Record::Lost {
            tenant,
            inbox: agent.map(InboxAddress::Agent),
            count,
        },
    );
    let accepted = accepted().prop_map(|record| Record::Accepted(Box::new(record)));
    // Boxed, because all of them side by side are too much for a test's stack.
    prop_oneof![
        accepted.boxed(),
        returned().boxed(),
        small().boxed(),
        agent.boxed(),
        lost.boxed(),
        control().boxed(),
        inbox_set().boxed(),
        scheduled().boxed(),
        letter().boxed(),
        routed().boxed()
    ]
}

proptest! {
    #[test]
    fn a_record_reads_back_as_what_was_written(record in record()) {
        let mut body = Vec::new();
        record.encode(&mut body);
        prop_assert_eq!(Record::decode(record.tag(), &body), Ok(record));
    }

    #[test]
    fn a_shortened_or_lengthened_body_is_refused(record in record(), cut in 1_usize..20) {
        let mut body = Vec::new();
        record.encode(&mut body);
        let shorter = &body[..body.len().saturating_sub(cut)];
        if shorter.len() < body.len() {
            prop_assert!(Record::decode(record.tag(), shorter).is_err());
        }
        body.push(0);
        prop_assert!(Record::decode(record.tag(), &body).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(tag in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(tag, &body);
    }
}

#[test]
fn a_number_of_more_than_64_bits_is_refused_and_not_cut() {
    let begun = |last: u8| Record::decode(7, &[&[0xFF; 9][..], &[last]].concat());
    assert_eq!(begun(1), Ok(Record::Begun { entry: EntryId(u64::MAX) }));
    for last in [2, 0x7F, 0x81] {
        let error = begun(last).unwrap_err().to_string();
        assert!(error.contains("more than 64 bits"), "{error}");
    }
}

#[test]
fn only_a_card_with_schemas_has_the_kind_of_record_that_is_for_them() {
    let agent = |schemas: Vec<SkillSchemas>| {
        let card = AgentCard { schemas, ..AgentCard::new("a".parse().unwrap()) };
        let (tenant, owner) = (TenantId::default(), "me".to_owned());
        Record::Agent(Box::new(AgentRecord { tenant, owner, card, at: WallTime(7) }))
    };
    let body = |record: &Record| {
        let mut body = Vec::new();
        record.encode(&mut body);
        body
    };
    let (skill, input) = ("s".parse().unwrap(), Some("{}".parse().unwrap()));
    let (bare, with) =
        (agent(Vec::new()), agent(vec![SkillSchemas { skill, input, output: None }]));
    assert_eq!((bare.tag(), with.tag()), (2, 25));
    // What one without schemas says is what it said before there were any.
    assert_eq!(body(&with), [&body(&bare)[..], b"\x01\x01s\x01\x02{}\x00"].concat());
    assert!(Record::decode(25, &[&body(&bare)[..], b"\x00"].concat()).is_err());
    let no_schema = [&body(&bare)[..], b"\x01\x01s\x01\x02[]\x00"].concat();
    let error = Record::decode(25, &no_schema).unwrap_err().to_string();
    assert!(error.contains("input schema is malformed"), "{error}");
}
