//! The end of a server.

use super::bench::{Bench, config, hello, soon};
use tonic::Code;
use trunkline_types::session::SessionItem;

#[tokio::test]
async fn streams_get_what_waits_and_then_the_reason() {
    let (mut bench, _, mut script) = Bench::start(config());
    let mut session = bench.connect([hello().into()]).await.unwrap();
    let seen = script.session().await;
    let go_away = SessionItem::GoAway { reason: "shutdown".into(), reconnect: true };
    seen.tell([go_away.clone()]);
    bench.shutdown.cancel();
    let frame = soon(session.next()).await.unwrap().unwrap();
    assert_eq!(frame.items, vec![go_away.into()]);
    let status = soon(session.error()).await;
    assert_eq!(status.code(), Code::Unavailable);
    drop(session);
    soon(&mut bench.serving).await.unwrap();
    assert!(tokio::net::TcpStream::connect(bench.address).await.is_err());
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let mut bench = Bench::without_broker(config());
    bench.shutdown.cancel();
    soon(&mut bench.serving).await.unwrap();
}
