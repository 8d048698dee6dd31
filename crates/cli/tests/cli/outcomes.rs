//! What an executable can say besides its reply: how its work ends, questions, pieces of results.

use crate::harness::{Broker, Running, until};
use serde_json::Value;

fn agent(broker: &Broker, script: &str) -> Running {
    broker.agent(["--id", "worker", "--skill", "work", "--", "sh", "-c", script])
}

fn send(broker: &Broker) -> crate::harness::Finished {
    broker.run(["send", "--skill", "work", "--data", "x", "--wait"])
}

/// The only task there is.
fn task(broker: &Broker) -> Value {
    broker.run(["task", "list", "--json"]).json()["tasks"][0].clone()
}

#[test]
fn exit_code_65_declines_the_work() {
    let broker = Broker::start();
    let _agent = agent(&broker, "echo 'no such customer' >&2; exit 65");
    let stderr = send(&broker).fails(7);
    assert!(stderr.contains("the agent declined: no such customer"), "{stderr}");
    let task = task(&broker);
    assert_eq!((&task["state"], &task["attempts"]), (&"rejected".into(), &1.into()));
}

#[test]
fn a_command_can_fail_for_good_whatever_its_exit_code() {
    for (end, reason) in [
        (r#"{"outcome":"fail","reason":"the account is closed"}"#, "the account is closed"),
        (r#"{"outcome":"fail"}"#, "as stderr says"),
    ] {
        for code in [0, 1] {
            let broker = Broker::start();
            let script = format!("echo as stderr says >&2; echo '{end}' >&3; exit {code}");
            let _agent = agent(&broker, &script);
            let stderr = send(&broker).fails(6);
            assert!(stderr.contains(&format!("the task failed: {reason}\n")), "{stderr}");
            assert_eq!(task(&broker)["attempts"], 1);
        }
    }
}

#[test]
fn a_command_can_reject_its_work() {
    let broker = Broker::start();
    let _agent = agent(&broker, r#"echo '{"outcome":"reject","reason":"not mine"}' >&3"#);
    let stderr = send(&broker).fails(7);
    assert!(stderr.contains("the agent declined: not mine"), "{stderr}");
}

#[test]
fn a_command_can_name_when_it_is_to_be_tried_again() {
    // Without a delay of its own the second attempt would be an hour away, or some part of one.
    let broker = Broker::configured("[broker]\nbackoff_base = \"1h\"\nbackoff_cap = \"1h\"\n", []);
    let script = r#"if [ $TRUNKLINE_ATTEMPT = 1 ]; then
            echo '{"outcome":"retry","reason":"too many requests","delay_ms":1}' >&3
        else echo done; fi"#;
    let _agent = agent(&broker, script);
    assert_eq!(send(&broker).ok(), "done");
    let task = task(&broker);
    assert_eq!((&task["attempts"], &task["state"]), (&2.into(), &"completed".into()));
}

#[test]
fn a_command_can_make_its_work_a_dead_letter() {
    let broker = Broker::start();
    let _agent = agent(&broker, r#"echo '{"outcome":"dead-letter","reason":"poison"}' >&3"#);
    send(&broker).fails(10);
    let letters = broker.run(["dead", "list", "--json"]).json();
    let attempts = letters[0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["reason"], "poison");
}

#[test]
fn a_command_can_give_its_work_back_which_is_no_attempt() {
    let broker = Broker::start();
    let seen = broker.scratch().join("seen");
    let script = format!(
        "if [ -e {0} ]; then echo attempt $TRUNKLINE_ATTEMPT; exit; fi; touch {0}; \
         echo '{{\"outcome\":\"release\"}}' >&3",
        seen.display()
    );
    let _agent = agent(&broker, &script);
    let mut command = broker.command(["send", "--skill", "work", "--attempts", "1", "--wait"]);
    let sent = crate::harness::Finished::from(command.output().unwrap());
    assert_eq!(sent.ok(), "attempt 1");
}

#[test]
fn a_command_can_ask_its_caller_and_is_told_what_was_answered() {
    for how in ["input-required", "auth-required"] {
        let broker = Broker::start();
        let script = format!(
            "if [ -z \"$TRUNKLINE_MESSAGES\" ]; then \
                 echo 'which colour?'; echo '{{\"outcome\":\"{how}\"}}' >&3; \
             else \
                 echo \"$(cat) in $(cat $TRUNKLINE_MESSAGES/1)\"; ls $TRUNKLINE_MESSAGES; \
             fi"
        );
        let _agent = agent(&broker, &script);
        let id = broker.run(["send", "--skill", "work", "--data", "a car"]).ok();
        until("it asks", || (task(&broker)["state"] == how).then_some(()));
        let history = broker.run(["task", "get", &id, "--history", "5"]).ok();
        assert!(history.contains("which colour?"), "{history}");
        broker.run(["task", "continue", &id, "--data", "blue"]).ok();
        broker.run(["task", "watch", &id]).ok();
        let shown = broker.run(["task", "get", &id, "--json"]).json();
        assert_eq!(shown["result"]["text"], "a car in blue\n1\n", "{shown}");
    }
}

#[test]
fn a_command_can_send_results_piece_by_piece() {
    let broker = Broker::start();
    let script = r#"
        echo '{"artifact":"log","text":"one ","last":false}' >&3
        echo '{"artifact":"log","text":"two","append":true}' >&3
        echo '{"artifact":"picture","base64":"/wA=","content_type":"image/x"}' >&3
        echo done"#;
    let _agent = agent(&broker, script);
    let id = broker.run(["send", "--skill", "work"]).ok();
    let events = broker.run(["task", "watch", &id, "--json"]).ok();
    let pieces: Vec<_> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["artifact"].clone())
        .filter(Value::is_object)
        .map(|piece| {
            let payload = &piece["payload"];
            let data = payload["text"].as_str().or(payload["base64"].as_str()).unwrap();
            let kind = payload["content_type"].as_str().unwrap();
            format!("{} {} {} {data} {kind}", piece["name"], piece["append"], piece["last"])
        })
        .collect();
    let text = "text/plain; charset=utf-8";
    assert_eq!(
        pieces,
        [
            format!("\"log\" false false one  {text}"),
            format!("\"log\" true true two {text}"),
            "\"picture\" false true /wA= image/x".to_owned(),
        ]
    );
}

#[test]
fn what_cannot_be_done_as_it_was_said_fails_the_attempt_with_the_line() {
    for (line, why) in [
        (r#"{"outcome":"retri"}"#, "unknown variant `retri`"),
        (r#"{"outcome":"fail","reason":"it "broke""}"#, "a line on descriptor 3 is wrong"),
        (r#"{"artifact":"a"}"#, "either text or base64"),
    ] {
        let broker = Broker::start();
        let script = format!("echo '{line}' >&3; echo done");
        let _agent = agent(&broker, &script);
        let send = ["send", "--skill", "work", "--attempts", "1", "--wait"];
        let stderr = broker.run(send).fails(10);
        assert!(stderr.contains(why), "{line}: {stderr}");
    }
    // Of what is no task nobody could have the pieces.
    let broker = Broker::start();
    let _agent = agent(&broker, r#"echo '{"artifact":"a","text":"x"}' >&3; echo done"#);
    let stderr = broker.run(["request", "--skill", "work"]).fails(10);
    assert!(stderr.contains("artifact 'a' was refused"), "{stderr}");
}

#[test]
fn whoever_is_killed_has_not_had_its_last_word() {
    let broker = Broker::start();
    let script = r#"echo '{"outcome":"fail","reason":"x"}' >&3; kill -9 $$"#;
    let _agent = agent(&broker, script);
    let send = ["send", "--skill", "work", "--attempts", "1", "--wait"];
    let stderr = broker.run(send).fails(10);
    assert!(stderr.contains("killed by signal 9"), "{stderr}");
}
