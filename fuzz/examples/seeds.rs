//! Makes the inputs from which the targets for binary formats start, out of what the project's own
//! code writes: records of a played engine, a written log, frames. To be run again when one of
//! these formats changes: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.

use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunkline_broker::fuzzing::Rows;
use trunkline_content::{Compression, Json, MsgPack, compress};
use trunkline_engine::{DiedLetter, EndedTask};
use trunkline_fuzz::{commands, image, row};
use trunkline_log::{Log, LogConfig, MemoryDisk};
use trunkline_proto::{server_frame, v1};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation, SessionItem, Subscription};
use trunkline_types::{
    AgentCard, AttemptNote, CopyState, DeadLetter, Destination, Encoding, Envelope, Epoch, History,
    Kind, MessageId, Outcome, Partition, Progress, Publish, Refusal, RefusalCode, Sequence,
    SessionId, Settle, TaskEvent, TaskEventBody, TaskSnapshot, TaskState, Token, WallTime,
};

/// Everything that can be put right is, and the segment has room: see [`image::Repair`].
const WHOLE: u8 = 0b0_1111;
const TWO: u8 = 0b1_1111;

fn main() -> io::Result<()> {
    let played = played();
    for (tag, body) in records(&played) {
        keep("record_decode", &format!("tag-{tag:02}"), &[&[tag], &body[..]].concat())?;
    }
    for (number, input) in played.iter().take(4).enumerate() {
        keep("task_transitions", &format!("any-{number}"), input)?;
    }
    for (name, input) in logs() {
        keep("log_recovery", name, &input)?;
    }
    for (name, which, message) in frames() {
        keep("frames", name, &[&[which], &message[..]].concat())?;
    }
    for (name, input) in payloads() {
        keep("content", name, &input)?;
    }
    for (name, input) in rows() {
        keep("index_rows", name, &input)?;
    }
    Ok(())
}

fn keep(target: &str, name: &str, input: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), input)
}

/// Inputs for the engine without a plan; the same every time.
fn played() -> Vec<Vec<u8>> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    // The first byte, even, says that there is a log.
    (0..200).map(|_| (0..600).map(|place| if place == 0 { 0 } else { byte() }).collect()).collect()
}

/// The shortest record of each kind that some of the inputs lead to.
fn records(played: &[Vec<u8>]) -> BTreeMap<u8, Vec<u8>> {
    let mut found: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for input in played {
        for (_, record) in commands::play(input).records {
            let mut body = Vec::new();
            record.encode(&mut body);
            let known = found.entry(record.tag()).or_insert_with(|| body.clone());
            if body.len() < known.len() {
                *known = body;
            }
        }
    }
    found
}

/// Logs as they are written, without their headers, which are made anew.
fn logs() -> Vec<(&'static str, Vec<u8>)> {
    let disk = MemoryDisk::new();
    let config = LogConfig {
        segment_bytes: 64 << 10,
        max_body_bytes: 1 << 10,
        salt: 7,
        ..Default::default()
    };
    let (mut log, _) =
        Log::open(Arc::new(disk.clone()), config, |_| Ok(())).expect("an empty disk is a log");
    for first in [1, 3] {
        let mut batch = log.config().batch();
        for sequence in first..first + 2 {
            batch
                .push(sequence as u16 % 2, sequence, 5, |body| body.extend_from_slice(b"record"))
                .expect("it is short");
        }
        log.write(&mut batch).expect("the disk works");
        log.sync().expect("the disk works");
    }
    let read = || disk.read_file(&format!("{:020}.log", 1)).expect("there is a segment");
    let open = trimmed(&read());
    log.close().expect("the disk works");
    let closed = trimmed(&read());
    // A seal looks like a closing batch but for its kind, which stands four bytes before its end.
    let mut sealed = closed.clone();
    let kind = sealed.len() - 4;
    sealed[kind] = 3;
    let cut = u16::try_from(sealed.len()).expect("it is short").to_le_bytes();
    let second = &open[64..];
    vec![
        ("open", [&[WHOLE, 0, 0], &open[..]].concat()),
        ("closed", [&[WHOLE, 0, 0], &closed[..]].concat()),
        ("two-segments", [&[TWO, cut[0], cut[1]], &sealed[..], second].concat()),
    ]
}

/// The batches of a segment.
fn trimmed(file: &[u8]) -> Vec<u8> {
    let end = file.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    file[image::SEGMENT_HEADER..end.next_multiple_of(8)].to_vec()
}

fn publish() -> Publish {
    let id = MessageId::from_parts(1_700_000_000_000, Partition(0), 7);
    let to = Destination::skill("s").expect("it is a name");
    let mut publish = Publish::new(Envelope::new(id, Kind::Request, to, "text".into()));
    let envelope = &mut publish.envelope;
    envelope.source = "a".parse().ok();
    envelope.ttl = Some(Duration::from_secs(1));
    envelope.ordering_key = "k".parse().ok();
    envelope.idempotency_key = "i".parse().ok();
    envelope.headers = vec![("n".into(), "1".into())];
    envelope.traceparent = Some("00-1-2-01".into());
    publish.options.task = true;
    publish.options.delay = Some(Duration::from_millis(5));
    publish
}

fn frames() -> Vec<(&'static str, u8, Vec<u8>)> {
    let token = Token { epoch: Epoch(1), counter: 2 };
    let hello = Hello {
        session: SessionId(9),
        card: Some(AgentCard::new("a".parse().expect("it is a name"))),
        credit: Credit { deliveries: 3, events: 4 },
        subscriptions: vec![Subscription::new("t.*".parse().expect("it is a pattern"))],
        next_operation: 1,
        held: vec![token],
    };
    let operations = vec![
        Operation::Publish(Arc::new(publish())),
        Operation::Settle(Settle { token, outcome: Outcome::Fail { reason: "no".into() } }),
        Operation::Cancel { id: publish().envelope.id, reason: "no".into(), descendants: true },
    ];
    let refusal = Refusal::new(RefusalCode::InboxFull, "it is full");
    let mut items = vec![
        SessionItem::Done { first: 1, last: 2 },
        SessionItem::Refused { operation: 3, refusal },
        SessionItem::GoAway { reason: "bye".into(), reconnect: true },
    ];
    let operation = v1::Operation::from(operations[0].clone()).encode_to_vec();
    let frame = ClientFrame::Operations { first: 1, operations };
    let send = v1::SendRequest { publish: Some((&publish()).into()) };
    vec![
        ("hello", 0, v1::ClientFrame::from(hello).encode_to_vec()),
        ("operations", 0, v1::ClientFrame::from(frame).encode_to_vec()),
        ("items", 1, server_frame(&mut items).encode_to_vec()),
        ("send", 2, send.encode_to_vec()),
        ("operation", 3, operation),
    ]
}

/// A task and a letter as the index has them.
fn rows() -> [(&'static str, Vec<u8>); 2] {
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let task = ended();
    task.encode_head(&mut head);
    task.encode_rest(&mut rest);
    let task = row::Input::input(false, 9, &head, &rest);
    let letter = died();
    (head, rest) = Default::default();
    letter.encode_head(&mut head);
    letter.encode_rest(&mut rest);
    let letter = row::Input::input(true, 9, &head, &rest);
    let rows = Rows::default();
    let row = |input| row::Input::of(input).expect("it is a row");
    let (is_task, is_letter) = (row(&task), row(&letter));
    rows.task(Sequence(9), &is_task.head, &is_task.rest).expect("it is a task");
    rows.letter(Sequence(9), &is_letter.head, &is_letter.rest).expect("it is a letter");
    [("task", task), ("letter", letter)]
}

fn attempt() -> AttemptNote {
    AttemptNote { attempt: 1, agent: "a".parse().ok(), at: WallTime(3), reason: "once".into() }
}

fn ended() -> EndedTask {
    let envelope = publish().envelope;
    let task = TaskSnapshot {
        id: envelope.id,
        destination: envelope.destination,
        source: envelope.source,
        context_id: "c".parse().ok(),
        causation_id: None,
        root_id: Some(envelope.id),
        state: TaskState::Failed,
        reason: Some("no".to_owned()),
        agent: "a".parse().ok(),
        attempts: 2,
        notes: vec![attempt()],
        progress: Some(Progress { percent: 50, text: "half".to_owned() }),
        result: Some("text".into()),
        last_event: 2,
        created_at: WallTime(1),
        updated_at: WallTime(4),
        history: History::default(),
    };
    let status = TaskEventBody::Status { state: TaskState::Failed, reason: Some("no".to_owned()) };
    let said = TaskEventBody::Message { from: "a".parse().ok(), payload: "which?".into() };
    let numbered = (1..).zip([said, status]);
    let events = numbered
        .map(|(number, body)| TaskEvent { number, epoch: Epoch(1), at: WallTime(2), body })
        .collect();
    let inbox = "skill:s".parse().expect("it is an inbox");
    let tenant = "default".parse().expect("it is a name");
    let ended = Some((inbox, CopyState::DeadLettered));
    let (place, payload) = (Sequence(9), envelope.payload);
    EndedTask { place, tenant, kind: Kind::Request, task, payload, ended, events }
}

fn died() -> DiedLetter {
    let letter = DeadLetter {
        publish: Arc::new(publish()),
        inbox: "skill:s".parse().expect("it is an inbox"),
        reason: "out of attempts".to_owned(),
        at: WallTime(4),
        accepted_at: WallTime(1),
        attempts: vec![attempt()],
    };
    let tenant = "default".parse().expect("it is a name");
    DiedLetter { place: Sequence(9), tenant, letter }
}

fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let value = serde_json::json!({"a": [1, 2.5, null, true, "text"], "b": {"c": "d".repeat(64)}});
    let json = Json(&value).encode().expect("it is JSON");
    let packed = |encoding: Encoding| {
        let place = Encoding::ALL.iter().position(|&other| other == encoding).unwrap_or_default();
        let data = compress(json.clone(), &Compression { encoding, above: 0 }).data;
        [&[place as u8, 0, 1], &data[..]].concat()
    };
    let msgpack = MsgPack(&value).encode().expect("it is MessagePack");
    vec![
        ("json", packed(Encoding::Identity)),
        ("gzip", packed(Encoding::Gzip)),
        ("zstd", packed(Encoding::Zstd)),
        ("lz4", packed(Encoding::Lz4)),
        ("msgpack", [&[0, 0, 1], &msgpack.data[..]].concat()),
    ]
}
