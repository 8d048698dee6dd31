//! What cleaning writes reads back as what was written, and nothing that is read can do harm.

use crate::world::{World, config};
use std::time::Duration;
use trunkline_engine::{
    AgentRecord, Carried, CarriedEntry, CarriedLease, CarriedMarks, CarriedTally, CarriedTask,
    CarriedToken, EntryId, KeyRow, Part, PartOf, Record,
};
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentCard, AgentControl, ArtifactChunk, AttemptNote, Counters, Epoch, InboxSettings, Kind,
    MessageId, Partition, Payload, Sequence, SessionId, SkillSchemas, TaskEvent, TaskEventBody,
    TaskState, Token, WallTime,
};

fn event(number: u64, body: TaskEventBody) -> Part {
    Part::Event(TaskEvent { number, epoch: Epoch(3), at: WallTime(9), body })
}

/// An inbox with a time to live, of which there is a kind of its own.
fn fading_inbox() -> Carried {
    let settings = InboxSettings { ttl: Some(Duration::from_mins(1)), ..Default::default() };
    Carried::Inbox {
        tenant: "default".parse().unwrap(),
        inbox: Some("skill:s".parse().unwrap()),
        settings: Box::new(settings),
        counters: Counters::default(),
    }
}

/// An agent, whose card may have schemas: those have a kind of their own.
fn registered(schemas: Vec<SkillSchemas>) -> Carried {
    let card = AgentCard { schemas, ..AgentCard::new("a".parse().unwrap()) };
    let (tenant, owner) = ("default".parse().unwrap(), "me".to_owned());
    Carried::Agent {
        record: AgentRecord { tenant, owner, card, at: WallTime(3) },
        control: AgentControl { weight: 7, draining: true, healthy: true },
        subscriptions: 2,
    }
}

fn schemas() -> SkillSchemas {
    SkillSchemas {
        skill: "s".parse().unwrap(),
        input: Some("{}".parse().unwrap()),
        output: Some(r#"{"type":"array"}"#.parse().unwrap()),
    }
}

/// One of each kind, with every optional field filled.
fn samples() -> Vec<Carried> {
    let mut publish = World::new(config()).message(Kind::Request, "skill:s");
    publish.options.task = true;
    let payload = Payload::from("text");
    let (tenant, agent) = ("default".parse().unwrap(), "a".parse().unwrap());
    let token = Token { epoch: Epoch(2), counter: 300 };
    let task = CarriedTask {
        state: TaskState::InputRequired,
        reason: Some("why".to_owned()),
        agent: Some("a".parse().unwrap()),
        deliveries: 2,
        last_event: 9,
        created_at: WallTime(1),
        updated_at: WallTime(2),
    };
    let entry = CarriedEntry {
        entry: EntryId(7),
        inbox: Some("agent:a".parse().unwrap()),
        publish: publish.clone().into(),
        session: SessionId(5),
        accepted_at: WallTime(1),
        attempts: 1,
        deliveries: 2,
        losses: 3,
        due: WallTime(4),
        returned: true,
        rejoined: true,
        paused: false,
        lease: Some(CarriedLease {
            token,
            session: SessionId(6),
            agent: "a".parse().unwrap(),
            begun: true,
            called_off: false,
            ran: Duration::from_millis(1_500),
            held: true,
        }),
        task: Some(task),
        parts: 2,
    };
    let note = AttemptNote {
        attempt: 1,
        agent: Some("a".parse().unwrap()),
        at: WallTime(3),
        reason: "no".to_owned(),
    };
    let chunk =
        ArtifactChunk { name: "out".into(), append: true, last: false, payload: payload.clone() };
    let message = TaskEventBody::Message { from: None, payload: payload.clone() };
    let status = TaskEventBody::Status { state: TaskState::Working, reason: None };
    let row = KeyRow {
        id: MessageId::from_parts(1, Partition(0), 1),
        fingerprint: u64::MAX,
        expires_at: WallTime(8),
    };
    let used = CarriedToken { tenant, agent, token, used: 6 };
    let tenant = || "default".parse().unwrap();
    vec![
        Carried::Entry(entry),
        Carried::Parts {
            of: PartOf::Task(row.id),
            parts: vec![
                Part::Note(note.clone()),
                Part::Message(payload.clone()),
                Part::TaskNote(note),
                event(1, status),
                event(2, TaskEventBody::Artifact(chunk)),
                event(3, message),
                Part::Result(payload),
            ],
        },
        registered(Vec::new()),
        registered(vec![schemas()]),
        Carried::Subscribed {
            tenant: tenant(),
            agent: "a".parse().unwrap(),
            subscription: Subscription::new("a.>".parse().unwrap()),
        },
        Carried::Inbox {
            tenant: tenant(),
            inbox: None,
            settings: Box::new(InboxSettings::default()),
            counters: Counters { accepted: 5, settled: 4, redeliveries: 3, ..Counters::default() },
        },
        fading_inbox(),
        Carried::Tenant {
            tenant: tenant(),
            tally: CarriedTally { completed: 2, redriven: 3, ..CarriedTally::default() },
            keys: vec![(WallTime(5), 2)],
        },
        Carried::Window { session: SessionId(9), ranges: vec![(1, 5), (8, 8)], at: WallTime(7) },
        Carried::Key { tenant: tenant(), key: "k".parse().unwrap(), row },
        Carried::Tokens(vec![used]),
        Carried::Marks(CarriedMarks {
            epoch: Epoch(4),
            born: WallTime(1),
            next_entry: EntryId(900),
            oldest_task: Sequence(3),
            oldest_letter: Sequence(4),
        }),
    ]
}

#[test]
fn what_cleaning_writes_reads_back_as_it_was() {
    for carried in samples() {
        let record = Record::Carried(Box::new(carried));
        let mut body = Vec::new();
        record.encode(&mut body);
        assert!(record.is_carried());
        assert_eq!(Record::decode(record.tag(), &body), Ok(record));
    }
}

#[test]
fn what_a_sweep_writes_reads_back_and_every_shorter_body_is_refused() {
    for carried in samples() {
        let record = Record::Carried(Box::new(carried));
        let mut body = Vec::new();
        record.encode(&mut body);
        for length in 0..body.len() {
            assert!(Record::decode(record.tag(), &body[..length]).is_err(), "{record:?} {length}");
        }
        for place in 0..body.len() {
            // Whatever comes of it, it is no panic.
            let mut bad = body.clone();
            bad[place] ^= 0xFF;
            let _ = Record::decode(record.tag(), &bad);
        }
    }
}
