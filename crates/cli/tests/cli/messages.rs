//! Messages: how they are marked, whom they reach, what is known of them afterwards.

use crate::harness::{Broker, Finished, until};
use serde_json::Value;

/// The one copy of a message.
fn copy(broker: &Broker, id: &str) -> Value {
    let status = broker.run(["message", "get", id, "--json"]).json();
    assert_eq!(status["copies"].as_array().unwrap().len(), 1, "{status}");
    status["copies"][0].clone()
}

#[test]
fn a_message_is_held_until_its_time() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--", "cat"]);
    for later in ["--delay=1h", "--not-before=2100-01-01T00:00:00Z"] {
        let id = broker.run(["send", "--skill", "echo", later]).ok();
        let copy = copy(&broker, &id);
        assert_eq!((&copy["state"], &copy["inbox"]), (&"delayed".into(), &"skill:echo".into()));
        let shown = broker.run(["message", "get", &id]).ok();
        assert!(shown.contains("skill:echo") && shown.contains("delayed"), "{shown}");
    }
    let past = "--not-before=2000-01-01T00:00:00Z";
    broker.run(["send", "--skill", "echo", past, "--wait"]).ok();
}

#[test]
fn any_message_can_be_called_off_by_its_id() {
    let broker = Broker::start();
    let sent = ["send", "--to", "agent:nobody", "--kind", "status", "--data", "half way"];
    let id = broker.run(sent).ok();
    let status = broker.run(["message", "get", &id, "--json"]).json();
    assert_eq!(status["kind"], "status");
    assert_eq!(status["destination"], "agent:nobody");
    assert_eq!(copy(&broker, &id)["state"], "parked");
    broker.run(["task", "cancel", &id]).fails(5);
    let told = broker.run(["message", "cancel", &id, "--reason", "by mistake"]).ok();
    assert_eq!(told, format!("canceled {id}"));
    let again = broker.run(["message", "cancel", &id]).ok();
    assert_eq!(again, format!("canceled {id} already before"));
    assert_eq!(copy(&broker, &id)["state"], "canceled");
    let unknown = "0192f0c1-2d3e-7000-8000-00000000002a";
    broker.run(["message", "get", unknown]).fails(5);
    broker.run(["message", "cancel", unknown]).fails(5);
}

#[test]
fn who_waits_for_an_answer_is_told_at_once_that_nobody_is_there() {
    let broker = Broker::start();
    let mut request = broker.spawn(["request", "--skill", "echo", "--timeout", "1m", "--data=x"]);
    request.says("nobody serves its destination");
    let mut send = broker.spawn(["send", "--to", "agent:ann", "--wait", "--data=x"]);
    send.says("nobody serves its destination");
    let _agent = broker.agent(["--id", "ann", "--skill", "echo", "--", "cat"]);
    assert_eq!(request.finish().ok(), "x");
    assert_eq!(send.finish().ok(), "x");
    let served = broker.run(["request", "--skill", "echo", "--data=x"]);
    assert_eq!((served.stdout.as_str(), served.stderr.as_str()), ("x", ""));
}

#[test]
fn a_sender_is_told_how_many_of_several_do_not_get_it_now() {
    let broker = Broker::start();
    let _ann = broker.agent(["--id", "ann", "--", "sleep", "60"]);
    let bob = broker.agent(["--id", "bob", "--", "cat"]);
    bob.terminate();
    bob.finish().ok();
    let told = broker.run(["send", "--to", "agents:ann,bob", "--data=x"]).stderr;
    assert_eq!(told, "note: 1 of 2 recipients is not there; it waits for it\n");
    let told = broker.run(["send", "--to", "agents:bob,eve", "--data=x"]).stderr;
    assert_eq!(told, "note: 2 of 2 recipients are not there; it waits for them\n");
    broker.run(["inbox", "set", "agent:bob", "--limit", "1"]).ok();
    let told = broker.run(["send", "--to", "agents:ann,bob", "--data=x"]).stderr;
    assert_eq!(told, "note: 1 of 2 recipients had no room for it\n");
    for told in [broker.run(["send", "--topic", "a.b"]), broker.run(["publish", "a.b"])] {
        assert_eq!(told.stderr, "note: nobody subscribes to a.b\n");
    }
    // Who will subscribe by then, nobody knows.
    assert_eq!(broker.run(["publish", "a.b", "--delay", "1h"]).stderr, "");
}

#[test]
fn what_nobody_serves_is_parked_refused_or_discarded() {
    let broker = Broker::start();
    let parked = broker.run(["send", "--skill", "x", "--json"]).json();
    assert_eq!(parked["parked"], 1);
    let told = broker.run(["send", "--skill", "x", "--absent", "park"]);
    assert!(told.stderr.contains("nobody serves"), "{told:?}");
    broker.run(["send", "--skill", "x", "--absent", "fail"]).fails(4);
    broker.run(["publish", "a.b", "--absent", "fail"]).fails(4);
    let discarded = broker.run(["publish", "a.b", "--absent", "discard", "--json"]).json();
    assert_eq!((&discarded["targets"], &discarded["parked"]), (&0.into(), &0.into()));

    // A parked event needs an end, and goes to whoever subscribes first.
    broker.run(["publish", "a.b", "--absent", "park"]).fails(4);
    let waits = ["publish", "a.b", "--absent", "park", "--ttl", "1h", "--data", "early"];
    assert!(broker.run(waits).stderr.contains("waits for whoever does first"));
    let first = broker.run(["subscribe", "a.*", "--count", "1"]).ok();
    assert_eq!(first, "a.b\tearly");
}

#[test]
fn every_mark_travels_with_its_message() {
    let broker = Broker::start();
    let mut subscriber = broker.spawn(["subscribe", "a.b", "--json", "--count", "1"]);
    subscriber.says("subscribed to");
    let answered = "0192f0c1-2d3e-7000-8000-00000000002a";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut publish = broker.command(["publish", "a.b", "--kind", "status", "--context", "talk"]);
    publish.args(["--correlation", answered, "--traceparent", trace, "--header", "a=1"]);
    publish.args(["--header", "b=2", "--content-type", "application/json", "--data", "{}"]);
    assert!(publish.output().unwrap().status.success());
    let event: Value = serde_json::from_str(&subscriber.finish().ok()).unwrap();
    assert_eq!(event["kind"], "status");
    assert_eq!(event["context_id"], "talk");
    assert_eq!(event["correlation_id"], answered);
    assert_eq!(event["traceparent"], trace);
    assert_eq!(event["headers"], serde_json::json!([["a", "1"], ["b", "2"]]));
    assert_eq!(event["payload"]["content_type"], "application/json");
}

#[test]
fn a_handler_that_runs_too_long_is_ended_however_lively_it_is() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "slow", "--", "sleep", "600"]);
    let mut send = broker.command(["send", "--skill", "slow", "--wait", "--attempts", "1"]);
    let sent = send.args(["--max-run", "200ms", "--timeout", "1m"]).output().unwrap();
    assert_eq!(sent.status.code(), Some(10), "{sent:?}");
}

#[test]
fn a_compressed_payload_travels_small_and_is_read_as_it_was() {
    let broker = Broker::start();
    let text = "the same words again and again ".repeat(100);
    let _echo = broker.agent(["--skill", "echo", "--", "cat"]);
    let _fail = broker.agent(["--skill", "fail", "--", "false"]);
    for encoding in ["gzip", "zstd", "lz4"] {
        let mut echo = broker.command(["send", "--skill", "echo", "--wait", "--data", &text]);
        let reply = echo.args(["--compress", encoding]).output().unwrap();
        assert_eq!(String::from_utf8(reply.stdout).unwrap(), text, "{encoding}");
        let mut fail = broker.command(["send", "--skill", "fail", "--wait", "--data", &text]);
        fail.args(["--compress", encoding, "--attempts", "1"]).output().unwrap();
        let letters = broker.run(["dead", "list", "--limit", "1", "--json"]).json();
        assert_eq!(letters[0]["payload"]["encoding"], encoding);
        assert_eq!(letters[0]["payload"]["text"], text);
    }
    let short = broker.run(["send", "--skill", "echo", "--data", "x", "--compress", "gzip"]);
    assert!(short.stderr.contains("no smaller"), "{short:?}");
}

#[test]
fn several_agents_are_asked_at_once_and_who_is_missing_is_named() {
    let broker = Broker::start();
    let _ann = broker.agent(["--id", "ann", "--skill", "quote", "--", "sh", "-c", "echo yes"]);
    let _bob = broker.agent(["--id", "bob", "--skill", "quote", "--", "sh", "-c", "echo no"]);
    let both = broker.run(["request", "--to", "agents:ann,bob", "--data", "agreed?"]);
    assert_eq!(both.ok(), "ann\tyes\nbob\tno");
    let all = broker.run(["request", "--to", "all", "--json"]).json();
    assert_eq!(all["complete"], true);
    assert_eq!(all["parts"].as_array().unwrap().len(), 2);
    assert_eq!(all["parts"][0]["agent"], "ann");
    assert_eq!(all["parts"][0]["payload"]["text"], "yes\n");

    // One of the skill is enough; without --gather only one is asked at all.
    let first = broker.run(["request", "--skill", "quote", "--gather", "first", "--json"]).json();
    let answers = first["parts"].as_array().unwrap();
    assert!(answers.iter().any(|part| part["payload"].is_object()), "{first}");

    // However busy the machine is, some time is enough for the two.
    let mut spans = ["500ms", "2s", "10s", "40s"].into_iter();
    let with_eve = ["request", "--to", "agents:ann,bob,eve", "--timeout"];
    let some = until("two of three answer", || {
        let span = spans.next().unwrap();
        let some: Finished = broker.command(with_eve).arg(span).output().unwrap().into();
        (some.stdout == "ann\tyes\nbob\tno\n").then_some(some)
    });
    let stderr = some.fails(16);
    assert!(stderr.contains("eve: ") && stderr.contains("2 of 3 agents answered"), "{stderr}");
    let mut quorum = broker.command(with_eve);
    let quorum = quorum.args(["1m", "--gather", "quorum:2"]).output().unwrap();
    assert!(quorum.status.success(), "{quorum:?}");

    // "yes\n" and "no\n" have seven bytes together.
    let little = ["request", "--to", "agents:ann,bob", "--reply-bytes", "5"];
    let stderr = broker.run(little).fails(16);
    assert!(stderr.contains("left out"), "{stderr}");
    broker.run(["request", "--to", "agents:ann,bob", "--reply-bytes", "7"]).ok();
}

#[test]
fn an_urgent_message_overtakes_and_an_ordering_key_holds_its_place() {
    let broker = Broker::start();
    for (data, mark) in [("first", "--priority=low"), ("second", "--priority=urgent")] {
        broker.run(["send", "--skill", "log", "--data", data, mark]).ok();
    }
    for (data, mark) in [("third", "--priority=low"), ("fourth", "--priority=urgent")] {
        broker.run(["send", "--skill", "log", "--data", data, mark, "--ordering-key", "k"]).ok();
    }
    let file = broker.scratch().join("log");
    let script = format!("cat >> {0}; echo >> {0}", file.display());
    let _agent = broker.agent(["--skill", "log", "--", "sh", "-c", &script]);
    let lines = until("all are handled", || {
        let text = std::fs::read_to_string(&file).ok()?;
        // A line is there with its end.
        (text.matches('\n').count() == 4)
            .then(|| text.lines().map(str::to_owned).collect::<Vec<_>>())
    });
    let place = |text: &str| lines.iter().position(|line| line == text).unwrap();
    assert!(place("second") < place("first"), "{lines:?}");
    assert!(place("third") < place("fourth"), "{lines:?}");
}
