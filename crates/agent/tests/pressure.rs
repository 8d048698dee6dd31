//! How a session behaves towards inboxes under pressure, against a scripted broker.

use crate::common::{Line, Script, poll};
use std::future::IntoFuture;
use std::time::Duration;
use trunkline_agent::SessionOptions;
use trunkline_agent::prelude::*;
use trunkline_types::session::{Operation, Pressure, Reply, SessionItem};
use trunkline_types::{InboxAddress, Publish};

const PACE: Duration = Duration::from_secs(1);
/// A little more, because timers have a granularity.
const STEP: Duration = Duration::from_millis(1002);

fn skill() -> Destination {
    Destination::skill("s").unwrap()
}

fn other() -> Destination {
    Destination::agent("other").unwrap()
}

fn pressure(pace: Duration) -> Pressure {
    Pressure { inbox: InboxAddress::Skill("s".parse().unwrap()), percent: 90, pace }
}

fn press(line: &Line, pace: Duration) {
    line.say([SessionItem::Pressure(pressure(pace))]);
}

/// What the payloads published so far say, in order.
fn said(line: &Line) -> Vec<String> {
    let text = |operation| match operation {
        Operation::Publish(publish) => publish.envelope.payload.to_text().into_owned(),
        other => panic!("{other:?}"),
    };
    line.operations().into_iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn publishes_to_an_inbox_under_pressure_go_at_its_pace_and_in_order() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    let mut sends: Vec<_> =
        (0..4).map(|number| session.send(skill(), number.to_string()).into_future()).collect();
    for (sent, send) in sends.iter_mut().enumerate() {
        assert_eq!(poll(send.as_mut()).is_some(), sent == 0);
    }
    for sent in 1..4 {
        assert_eq!(said(&line).len(), sent);
        tokio::time::advance(STEP).await;
        // The last first: the turn is not of who looks first.
        for at in (sent..4).rev() {
            assert_eq!(poll(sends[at].as_mut()).is_some(), at == sent);
        }
    }
    assert_eq!(said(&line), ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn every_way_to_send_waits_its_turn_and_other_inboxes_do_not() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    session.send(skill(), "first").await.unwrap();
    let mut tell = session.tell(skill(), "tell").into_future();
    assert!(poll(tell.as_mut()).is_none());
    let request = session.request(skill(), "request");
    let (id, mut request) = (request.id(), request.into_future());
    assert!(poll(request.as_mut()).is_none());
    let mut gather = session.gather(skill(), "gather").into_future();
    assert!(poll(gather.as_mut()).is_none());
    session.send(other(), "elsewhere").await.unwrap();
    session.publish("t".parse().unwrap(), "event").await.unwrap();
    assert_eq!(said(&line), ["first", "elsewhere", "event"]);
    tokio::time::advance(STEP).await;
    tell.await.unwrap();
    tokio::time::advance(STEP).await;
    assert!(poll(request.as_mut()).is_none());
    line.say([SessionItem::Reply(Reply { request: id, agent: None, result: Ok("r".into()) })]);
    assert_eq!(request.await.unwrap().text(), "r");
    tokio::time::advance(STEP).await;
    assert!(poll(gather.as_mut()).is_none());
    assert_eq!(said(&line)[3..], ["tell", "request", "gather"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_counts_as_many_publishes_as_it_has() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    let batch = |to: &Destination| {
        let envelopes = (0..3).map(|_| session.envelope(Kind::Event, to.clone(), "b"));
        envelopes.map(Publish::new).collect::<Vec<_>>()
    };
    let ticket = session.publish_batch(batch(&skill())).await.unwrap();
    assert_eq!(ticket.await.unwrap().accepted, 3);
    let mut send = session.send(skill(), "after").into_future();
    assert!(poll(send.as_mut()).is_none());
    tokio::time::advance(PACE * 2).await;
    assert!(poll(send.as_mut()).is_none());
    tokio::time::advance(STEP).await;
    send.await.unwrap();
    let mut second = Box::pin(session.publish_batch(batch(&skill())));
    assert!(poll(second.as_mut()).is_none(), "a batch waits too");
    assert_eq!(said(&line).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_pressure_lets_everybody_go_in_order() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    session.send(skill(), "0").await.unwrap();
    let mut sends: Vec<_> =
        (1..4).map(|number| session.send(skill(), number.to_string()).into_future()).collect();
    for send in &mut sends {
        assert!(poll(send.as_mut()).is_none());
    }
    assert_eq!(session.pressure(&skill()), Some(pressure(PACE)));
    press(&line, Duration::ZERO);
    assert_eq!(session.pressure(&skill()), None);
    // One that comes now does not overtake those who wait.
    let mut late = session.send(skill(), "4").into_future();
    assert!(poll(late.as_mut()).is_none());
    for send in sends {
        send.await.unwrap();
    }
    late.await.unwrap();
    assert_eq!(said(&line), ["0", "1", "2", "3", "4"]);
    let before = tokio::time::Instant::now();
    session.send(skill(), "5").await.unwrap();
    session.send(skill(), "6").await.unwrap();
    assert_eq!(tokio::time::Instant::now(), before, "nobody waits any longer");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_leaves_the_turn_to_the_next() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    session.send(skill(), "0").await.unwrap();
    let mut gone = session.send(skill(), "gone").into_future();
    let mut next = session.send(skill(), "next").into_future();
    assert!(poll(gone.as_mut()).is_none());
    assert!(poll(next.as_mut()).is_none());
    drop(gone);
    assert!(poll(next.as_mut()).is_none());
    tokio::time::advance(STEP).await;
    next.await.unwrap();
    assert_eq!(said(&line), ["0", "next"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_obey_sends_at_once_and_can_still_look() {
    let script = Script::prompt();
    let options = SessionOptions { obey_pressure: false, ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    press(&script.line(0), PACE);
    for _ in 0..3 {
        let mut send = session.send(skill(), "x").into_future();
        assert!(poll(send.as_mut()).unwrap().is_ok());
    }
    assert_eq!(session.pressure(&skill()), Some(pressure(PACE)));
    let both = Destination::Agents(vec!["s".parse().unwrap()]);
    assert_eq!(session.pressure(&both), None, "agent 's' is not skill 's'");
}

#[tokio::test(start_paused = true)]
async fn an_agent_obeys_unless_told_otherwise() {
    for obey in [true, false] {
        let script = Script::prompt();
        let agent = script.agent("a").obey_pressure(obey).start().await.unwrap();
        press(&script.line(0), PACE);
        let session = agent.session();
        session.send(skill(), "0").await.unwrap();
        let mut send = session.send(skill(), "1").into_future();
        assert_eq!(poll(send.as_mut()).is_some(), !obey);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_and_the_end_of_the_session_end_the_waiting() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    let line = script.line(0);
    press(&line, PACE);
    session.send(skill(), "0").await.unwrap();
    let mut send = session.send(skill(), "1").into_future();
    assert!(poll(send.as_mut()).is_none());
    line.reconnected(&script.welcome());
    let before = tokio::time::Instant::now();
    send.await.unwrap();
    assert_eq!(tokio::time::Instant::now(), before);

    press(&line, PACE);
    session.send(skill(), "2").await.unwrap();
    let mut send = session.send(skill(), "3").into_future();
    assert!(poll(send.as_mut()).is_none());
    session.close();
    assert_eq!(send.await.unwrap_err().message, "the session was closed");
}
