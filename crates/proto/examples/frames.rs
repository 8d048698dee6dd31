//! What a message costs on its way to the wire and back, in nanoseconds: the least of many tries with
//! 256 of them in a frame, payloads of 256 bytes, on one thread.
//!
//! ```sh
//! cargo run --release -p trunkline-proto --example frames
//! ```

use bytes::{Bytes, BytesMut};
use prost::Message;
use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trunkline_proto::framed::{Kind as Piece, put};
use trunkline_proto::{server_frame, v1};
use trunkline_types::session::{ClientFrame, Delivery, Operation, SessionItem};
use trunkline_types::{
    Destination, Envelope, Epoch, InboxAddress, Kind, MessageId, Outcome, Partition, Payload,
    Publish, Settle, Token, WallTime,
};

const MESSAGES: u64 = 256;
const TRIES: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    writeln!(std::io::stdout(), "{:<12} {:>6} {:>8} {:>8}", "", "bytes", "write", "read")?;
    operations("publish", |number| Operation::Publish(publish(number)))?;
    operations("completion", |number| {
        let outcome = Outcome::Complete { reply: None };
        Operation::Settle(Settle { token: token(number), outcome })
    })?;
    let items: Vec<_> = (0..MESSAGES).map(delivery).collect();
    let bytes = Bytes::from(server_frame(&mut items.clone()).encode_to_vec());
    let write = least(
        || (items.clone(), room()),
        |(mut items, mut out)| {
            put(Piece::Frame, &server_frame(&mut items), &mut out);
            out
        },
    );
    let read = least(
        || bytes.clone(),
        |bytes| {
            let items = v1::ServerFrame::decode(bytes).expect("it was encoded").items.into_iter();
            items.map(SessionItem::try_from).collect::<Result<Vec<_>, _>>().expect("it is right")
        },
    );
    tell("delivery", bytes.len(), write, read)
}

fn operations(what: &str, operation: impl Fn(u64) -> Operation) -> Result<(), Box<dyn Error>> {
    let frame = || {
        let operations = (0..MESSAGES).map(&operation).collect();
        ClientFrame::Operations { first: 1, operations }
    };
    let bytes = Bytes::from(v1::ClientFrame::from(frame()).encode_to_vec());
    let write = least(
        || (frame(), room()),
        |(frame, mut out)| {
            put(Piece::Frame, &v1::ClientFrame::from(frame), &mut out);
            out
        },
    );
    let read = least(
        || bytes.clone(),
        |bytes| {
            let frame = v1::ClientFrame::decode(bytes).expect("it was encoded");
            ClientFrame::try_from(frame).expect("it is right")
        },
    );
    tell(what, bytes.len(), write, read)
}

fn tell(what: &str, bytes: usize, write: Duration, read: Duration) -> Result<(), Box<dyn Error>> {
    let each = |whole: Duration| whole.as_nanos() / u128::from(MESSAGES);
    let (bytes, write, read) = (bytes as u64 / MESSAGES, each(write), each(read));
    writeln!(std::io::stdout(), "{what:<12} {bytes:>6} {write:>5} ns {read:>5} ns")?;
    Ok(())
}

/// The least time that something takes, without what is made for it and what becomes of it.
fn least<T, R>(make: impl Fn() -> T, run: impl Fn(T) -> R) -> Duration {
    let tries = (0..TRIES).map(|_| {
        let made = make();
        let since = Instant::now();
        let result = run(made);
        let taken = since.elapsed();
        drop(black_box(result));
        taken
    });
    tries.min().unwrap_or_default()
}

fn room() -> BytesMut {
    BytesMut::with_capacity(1 << 20)
}

fn token(number: u64) -> Token {
    Token { epoch: Epoch(3), counter: number + 100_000 }
}

fn publish(number: u64) -> Arc<Publish> {
    let id = MessageId::from_parts(1_700_000_000_000, Partition(0), number);
    let to = Destination::agent("agent-0").expect("it is a name");
    let mut envelope = Envelope::new(id, Kind::Event, to, Payload::new("", vec![7; 256]));
    envelope.source = Some("sender-0".parse().expect("it is a name"));
    Arc::new(Publish::new(envelope))
}

fn delivery(number: u64) -> SessionItem {
    SessionItem::Delivery(Delivery {
        token: token(number),
        publish: publish(number),
        inbox: InboxAddress::Agent("agent-0".parse().expect("it is a name")),
        attempt: 1,
        accepted_at: WallTime(1_700_000_000_000),
        expires_at: None,
        backlog: 100,
        backlog_age: Duration::from_millis(3),
        messages: Vec::new(),
        number: number + 100_000,
        missed: Vec::new(),
        max_run: None,
    })
}
