//! Sessions over plain streams.

use super::bench::{Bench, config, hello, operations, soon};
use super::scripted::Ended;
use crate::ServerConfig;
use bytes::BytesMut;
use prost::Message;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use trunkline_proto::framed::{self, Kind, PREFACE, Pieces, put, put_empty};
use trunkline_proto::{CarriedItem, v1};
use trunkline_types::Principal;
use trunkline_types::session::{ClientFrame, SessionItem};

/// A client that says what a test tells it to.
struct Wire {
    socket: TcpStream,
    pieces: Pieces,
}

impl Wire {
    /// A connection that has said who it is.
    async fn dial(bench: &Bench, principal: &str) -> Self {
        Self::dial_for(bench, principal, "").await
    }

    /// The same for a tenant.
    async fn dial_for(bench: &Bench, principal: &str, tenant: &str) -> Self {
        let mut wire = Self::bare(bench, &PREFACE).await;
        let (principal, tenant) = (principal.to_owned(), tenant.to_owned());
        wire.piece(Kind::Opening, &v1::Opening { principal, tenant }).await;
        wire
    }

    async fn bare(bench: &Bench, first: &[u8]) -> Self {
        let mut socket = TcpStream::connect(bench.address).await.unwrap();
        socket.write_all(first).await.unwrap();
        Self { socket, pieces: Pieces::default() }
    }

    async fn piece(&mut self, kind: Kind, message: &impl Message) {
        let mut out = BytesMut::new();
        put(kind, message, &mut out);
        self.socket.write_all(&out).await.unwrap();
    }

    async fn frame(&mut self, frame: impl Into<v1::ClientFrame>) {
        self.piece(Kind::Frame, &frame.into()).await;
    }

    /// Waits for the preface and the welcome.
    async fn welcomed(&mut self) -> v1::Welcome {
        self.preface().await;
        self.said().await.welcome.unwrap()
    }

    async fn preface(&mut self) {
        while !self.pieces.take_preface().unwrap() {
            assert_ne!(soon(self.socket.read_buf(self.pieces.room())).await.unwrap(), 0);
        }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<(Kind, bytes::Bytes)> {
        loop {
            if let Some(piece) = self.pieces.take(1 << 20).unwrap() {
                return Some(piece);
            }
            if soon(self.socket.read_buf(self.pieces.room())).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn said(&mut self) -> v1::ServerFrame {
        let (kind, body) = self.next().await.unwrap();
        assert_eq!(kind, Kind::Frame);
        v1::ServerFrame::decode(body).unwrap()
    }

    /// How it ends, after whatever comes before.
    async fn ended(&mut self) -> Status {
        loop {
            let (kind, body) = self.next().await.expect("the end is said");
            if kind == Kind::Ended {
                assert_eq!(self.next().await, None, "nothing follows the end");
                return framed::status(v1::Ended::decode(body).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn frames_reach_the_broker_over_a_plain_stream_and_items_come_back() {
    let (bench, _, mut script) = Bench::start(config());
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    assert_eq!(wire.welcomed().await.epoch, 3);
    let mut seen = script.session().await;
    assert_eq!((&seen.hello, &seen.principal), (&hello(), &Principal::default()));

    wire.frame(operations(1, 2)).await;
    assert_eq!(soon(seen.frame()).await, operations(1, 2));
    seen.tell([SessionItem::Done { first: 1, last: 2 }]);
    let expected: Vec<CarriedItem> = vec![SessionItem::Done { first: 1, last: 2 }.into()];
    assert_eq!(wire.said().await.items, expected);

    wire.frame(ClientFrame::Goodbye).await;
    assert_eq!(wire.ended().await.code(), Code::Ok);
    assert_eq!(soon(seen.ended()).await, Ended::Closed);
}

#[tokio::test]
async fn a_lost_plain_stream_loses_its_session() {
    let (bench, _, mut script) = Bench::start(config());
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    let seen = script.session().await;
    drop(wire);
    assert_eq!(soon(seen.ended()).await, Ended::Lost);
}

#[tokio::test]
async fn who_dials_a_plain_stream_is_who_it_says() {
    let (bench, _, mut script) = Bench::start(config());
    let mut wire = Wire::dial(&bench, "ann").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    assert_eq!(script.session().await.principal, Principal::named("ann"));

    let mut wire = Wire::dial_for(&bench, "ann", "acme").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    let tenant = "acme".parse().unwrap();
    assert_eq!(script.session().await.principal, Principal { tenant, ..Principal::named("ann") });

    let mut wire = Wire::dial(&bench, "a b").await;
    wire.preface().await;
    let status = wire.ended().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("the name 'a b'"), "{status}");
}

#[tokio::test]
async fn who_asks_for_a_sign_of_life_gets_one() {
    let (bench, _, _script) = Bench::start(config());
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    let mut out = BytesMut::new();
    put_empty(Kind::Ping, &mut out);
    wire.socket.write_all(&out).await.unwrap();
    assert_eq!(wire.next().await.unwrap(), (Kind::Pong, bytes::Bytes::new()));
}

#[tokio::test]
async fn whatever_is_not_understood_ends_a_plain_stream_with_a_reason() {
    let (bench, _, _script) = Bench::start(ServerConfig {
        max_frame_bytes: 64 << 10,
        payload_bytes: 1 << 10,
        ..config()
    });
    let cases: [(&[u8], Code, &str); 4] = [
        (&[2, 0, 0, 0, 1, 0xff], Code::InvalidArgument, "malformed frame"),
        (&[9, 0, 0, 0, 0], Code::InvalidArgument, "the kind 9, which is none"),
        (&[5, 0, 0, 0, 0], Code::InvalidArgument, "no piece of the kind Pong"),
        (&[2, 0, 1, 0, 1], Code::ResourceExhausted, "over the limit of 65536 bytes"),
    ];
    for (bytes, code, reason) in cases {
        let mut wire = Wire::dial(&bench, "").await;
        wire.frame(hello()).await;
        wire.welcomed().await;
        // What comes behind it is not read, and must not keep the client from reading why.
        wire.socket.write_all(&[bytes, &[7; 1_000]].concat()).await.unwrap();
        let status = wire.ended().await;
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(reason), "{status}");
    }
}

#[tokio::test]
async fn a_plain_stream_begins_with_its_preface_and_who_dials() {
    let (bench, _, _script) = Bench::start(config());
    let mut wire = Wire::bare(&bench, b"\0another").await;
    let mut said = Vec::new();
    soon(wire.socket.read_to_end(&mut said)).await.unwrap();
    assert!(said.is_empty(), "a stranger is told nothing: {said:?}");

    let mut wire = Wire::bare(&bench, &PREFACE).await;
    wire.frame(hello()).await;
    wire.preface().await;
    let status = wire.ended().await;
    assert!(status.message().contains("no piece of the kind Frame here"), "{status}");
}

#[tokio::test]
async fn whoever_dials_a_plain_stream_introduces_itself_in_time() {
    let (bench, _, _script) =
        Bench::start(ServerConfig { hello_deadline: Duration::from_millis(10), ..config() });
    let mut wire = Wire::bare(&bench, &PREFACE).await;
    wire.preface().await;
    let status = wire.ended().await;
    assert!(status.message().contains("no opening came within 10ms"), "{status}");

    let mut wire = Wire::dial(&bench, "").await;
    wire.preface().await;
    let status = wire.ended().await;
    assert!(status.message().contains("nothing came within 10ms"), "{status}");
}

#[tokio::test]
async fn a_plain_stream_whose_client_does_not_read_is_cut_off() {
    let (bench, _, mut script) =
        Bench::start(ServerConfig { max_waiting_bytes: 64 << 10, ..config() });
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    let seen = script.session().await;
    seen.tell((1..=1_000).map(|number| SessionItem::Done { first: number, last: number }));
    let status = wire.ended().await;
    assert!(status.message().contains("the limit is 65536"), "{status}");
}

#[tokio::test]
async fn plain_streams_are_told_that_the_broker_shuts_down() {
    let (bench, _, _script) =
        Bench::start(ServerConfig { drain_grace: Duration::ZERO, ..config() });
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    wire.welcomed().await;
    bench.shutdown.cancel();
    assert_eq!(wire.ended().await.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_plain_stream_that_shows_no_life_is_closed() {
    let (bench, _, mut script) = Bench::start(config());
    let mut wire = Wire::dial(&bench, "").await;
    wire.frame(hello()).await;
    wire.preface().await;
    let seen = script.session().await;
    assert_eq!(seen.ended().await, Ended::Lost);
}
