//! What carries a session's frames.

use crate::broker::{FakeBroker, hello, welcome};
use crate::sink::{Told, sink};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trunkline_client::{Client, ClientConfig, Transport};
use trunkline_proto::framed::{Kind, PREFACE, put};
use trunkline_proto::v1;
use trunkline_types::RefusalCode;
use trunkline_types::session::Connector;

/// What a client of this configuration says first to whom it dials.
async fn first_word(transport: Transport) -> ([u8; 8], TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&ClientConfig::new(url).transport(transport)).unwrap();
    let (sink, _ear) = sink();
    tokio::spawn(async move { client.connect(hello(), sink).await.map(|_| ()) });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut word = [0; 8];
    socket.read_exact(&mut word).await.unwrap();
    (word, socket)
}

#[tokio::test]
async fn a_session_is_carried_as_it_is_told() {
    assert_eq!(first_word(Transport::Framed).await.0, PREFACE);
    assert_eq!(first_word(Transport::Auto).await.0, PREFACE);
    assert_eq!(&first_word(Transport::Grpc).await.0, b"PRI * HT");
}

#[tokio::test]
async fn grpc_is_taken_by_itself_where_nothing_else_is_spoken() {
    let mut broker = FakeBroker::start().await;
    let config = ClientConfig { transport: Transport::Auto, ..broker.config() };
    let (_connection, mut ear, conversation) = broker.session(&config).await;
    conversation.fail(tonic::Status::unavailable("away"));
    let again = broker.accept().await;
    again.welcome(&welcome());
    assert_eq!(ear.next().await, Told::Reconnected(welcome()));
}

#[tokio::test]
async fn a_broker_without_framed_connections_is_named_if_nothing_else_will_do() {
    let broker = FakeBroker::start().await;
    let config = ClientConfig { transport: Transport::Framed, ..broker.config() };
    let (sink, _ear) = sink();
    let refusal =
        Client::new(&config).unwrap().connect(hello(), sink).await.map(|_| ()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    assert!(refusal.message.contains("no framed transport: what comes begins with"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_shows_no_life_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&ClientConfig::new(url).transport(Transport::Framed)).unwrap();
    let (sink, _ear) = sink();
    let connecting = tokio::spawn(async move { client.connect(hello(), sink).await });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut out = BytesMut::from(&PREFACE[..]);
    put(Kind::Frame, &v1::ServerFrame::from(welcome()), &mut out);
    socket.write_all(&out).await.unwrap();
    let _connected = connecting.await.unwrap().unwrap();
    // The end of what it says: it has hung up. Before that it asked, once.
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[heard.len() - 5..], [4, 0, 0, 0, 0]);
    // And it comes back.
    listener.accept().await.unwrap();
}
