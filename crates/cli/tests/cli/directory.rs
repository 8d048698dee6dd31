//! The directory: who is there, what is set about agents, and how inboxes are run.

use crate::harness::{Broker, until};
use serde_json::{Value, json};
use trunkline_agent::{HandlerResult, Host, Task};
use trunkline_client::{Client, ClientConfig};

/// The ids that `agents list` gives with these options.
fn listed<const N: usize>(broker: &Broker, options: [&str; N]) -> Vec<String> {
    let mut command = broker.command(["agents", "list", "--json"]);
    let output = command.args(options).output().unwrap();
    let agents: Value = serde_json::from_slice(&output.stdout).unwrap();
    agents.as_array().unwrap().iter().map(|agent| agent["id"].as_str().unwrap().into()).collect()
}

fn agent(broker: &Broker, id: &str) -> Value {
    broker.run(["agents", "get", id, "--json"]).json()
}

#[test]
fn every_filter_of_the_list_chooses() {
    let broker = Broker::start();
    let mut ann = broker.command(["agent", "--id", "ann", "--skill", "bill", "--type", "biller"]);
    ann.args(["--capability", "refunds", "--label", "tier=gold", "--label", "zone=a"]);
    let mut ann = crate::harness::Running::start(ann.args(["--weight", "7", "--", "cat"]));
    ann.says("connected to");
    let bob = broker.agent(["--id", "bob", "--skill", "quote", "--", "cat"]);
    assert_eq!(agent(&broker, "ann")["weight"], 7);
    assert_eq!(listed(&broker, []), ["ann", "bob"]);
    assert_eq!(listed(&broker, ["--skill", "quote"]), ["bob"]);
    assert_eq!(listed(&broker, ["--type", "biller"]), ["ann"]);
    assert_eq!(listed(&broker, ["--capability", "refunds"]), ["ann"]);
    assert_eq!(listed(&broker, ["--label", "tier=gold", "--label", "zone=a"]), ["ann"]);
    assert!(listed(&broker, ["--label", "tier=gold", "--label", "zone=b"]).is_empty());
    assert_eq!(listed(&broker, ["--after", "ann"]), ["bob"]);
    assert_eq!(listed(&broker, ["--limit", "1"]), ["ann"]);
    let page = broker.run(["agents", "list", "--limit", "1"]);
    assert!(page.stderr.contains("--after ann"), "{page:?}");
    bob.terminate();
    bob.finish().ok();
    until("bob is offline", || {
        (listed(&broker, ["--presence", "offline"]) == ["bob"]).then_some(())
    });
    assert_eq!(listed(&broker, ["--presence", "ready"]), ["ann"]);
}

#[test]
fn what_skills_take_and_give_is_shown_and_outlives_a_kill() {
    async fn nothing(_: Task) -> HandlerResult<()> {
        Ok(())
    }
    let mut broker = Broker::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = format!("http://{}", broker.address());
    runtime.block_on(async {
        let client = Client::new(&ClientConfig::new(url)).unwrap();
        let agent = client.agent("typed").skill("count", nothing).skill("plain", nothing);
        let agent = agent.skill("sum", nothing).schemas("sum", None, Some("{}".parse().unwrap()));
        let (input, output) = (r#"{"type":"array"}"#, r#"{"minimum":0.5,"type":"number"}"#);
        let (input, output) = (input.parse().unwrap(), output.parse().unwrap());
        agent.schemas("count", Some(input), Some(output)).start().await.unwrap().stop().await;
    });
    let shown = broker.run(["agents", "get", "typed"]).ok();
    assert!(shown.contains("sum (output), count (input and output)"), "{shown}");
    let expected = json!({
        "count": {"input": {"type": "array"}, "output": {"minimum": 0.5, "type": "number"}},
        "sum": {"input": null, "output": {}},
    });
    assert_eq!(agent(&broker, "typed")["schemas"], expected);
    broker.kill();
    broker.restart();
    let listed = broker.run(["agents", "list", "--json"]).json();
    assert_eq!(listed[0]["schemas"], expected);
}

#[test]
fn an_agent_that_is_drained_leaves_and_gets_no_work_until_it_is_resumed() {
    let broker = Broker::start();
    let mut first = broker.agent(["--id", "ann", "--skill", "echo", "--", "cat"]);
    let set = broker.run(["agents", "set", "ann", "--drain", "--json"]).json();
    assert_eq!(set["draining"], true);
    first.says("agent ann left");
    first.finish().ok();

    let _second = broker.agent(["--id", "bob", "--skill", "echo", "--", "cat"]);
    broker.run(["agents", "set", "bob", "--unhealthy"]).ok();
    assert_eq!(agent(&broker, "bob")["healthy"], false);
    let waits = ["send", "--skill", "echo", "--wait", "--timeout", "300ms"];
    broker.run(waits).fails(11);
    broker.run(["agents", "set", "bob", "--healthy"]).ok();
    broker.run(["send", "--skill", "echo", "--data", "x", "--wait"]).ok();

    broker.run(["agents", "set", "ann", "--resume", "--weight", "300"]).ok();
    let ann = agent(&broker, "ann");
    assert_eq!((&ann["draining"], &ann["weight"]), (&false.into(), &300.into()));
    let _third = broker.agent(["--id", "ann", "--skill", "other", "--", "cat"]);
    broker.run(["send", "--skill", "other", "--data", "x", "--wait"]).ok();
    broker.run(["agents", "set", "nobody", "--weight", "1"]).fails(5);
}

#[test]
fn an_unregistered_agent_is_gone_and_a_watcher_is_told_of_everything() {
    let broker = Broker::start();
    let before = broker.agent(["--id", "ann", "--skill", "echo", "--", "cat"]);
    let mut watch = broker.spawn(["agents", "watch", "--json", "--skill", "echo", "--count", "4"]);
    watch.says("watching the agents");
    let _other = broker.agent(["--id", "eve", "--skill", "other", "--", "cat"]);
    let _joins = broker.agent(["--id", "bob", "--skill", "echo", "--", "cat"]);
    broker.run(["agents", "set", "bob", "--weight", "5"]).ok();
    broker.run(["agents", "unregister", "ann"]).ok();
    broker.run(["agents", "get", "ann"]).fails(5);
    broker.run(["agents", "unregister", "ann"]).fails(5);
    let lines = watch.finish().ok();
    let news: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(String, String)> = news
        .iter()
        .map(|news| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&news["event"]), text(&news["agent"]["id"]))
        })
        .collect();
    assert_eq!(told[0], ("present".into(), "ann".into()));
    assert!(told.contains(&("joined".into(), "bob".into())), "{told:?}");
    assert!(told.contains(&("changed".into(), "bob".into())), "{told:?}");
    assert!(told.iter().all(|(_, id)| id != "eve"), "{told:?}");
    drop(before);
}

#[test]
fn a_watcher_is_told_what_changed() {
    let broker = Broker::start();
    let _ann = broker.agent(["--id", "ann", "--skill", "echo", "--", "cat"]);
    let mut watch = broker.spawn(["agents", "watch", "--count", "2"]);
    watch.says("watching the agents");
    let told = watch.stdout();
    let mut told = std::io::BufRead::lines(told).map(Result::unwrap);
    assert_eq!(told.next().unwrap(), "present  ann\tready\techo");
    broker.run(["agents", "set", "ann", "--weight", "300", "--unhealthy"]).ok();
    let changed = told.next().unwrap();
    assert!(changed.starts_with("changed  ann\tready, unhealthy\techo\t"), "{changed}");
    assert!(changed.contains("presence: ready -> ready, unhealthy"), "{changed}");
    assert!(changed.contains("weight: 100 -> 300"), "{changed}");
}

#[test]
fn only_breakers_that_are_not_closed_are_shown() {
    let settings = "[broker]\nbreaker_failures = 2\nbreaker_open = \"1h\"\n";
    let broker = Broker::configured(settings, []);
    let _agent = broker.agent(["--id", "a", "--skill", "break", "--", "false"]);
    let shown = || broker.run(["agents", "get", "a"]).ok();
    let send = ["send", "--skill", "break", "--attempts", "1", "--wait"];
    broker.run(send).fails(10);
    assert!(!shown().contains("breakers"), "{}", shown());
    broker.run(send).fails(10);
    assert!(shown().contains("skill:break open (2 failures"), "{}", shown());
}

#[test]
fn an_inbox_shows_what_is_set_and_goes_back_to_the_defaults() {
    let broker = Broker::start();
    let mut set = broker.command(["inbox", "set", "skill:bill", "--when-full", "wait", "--json"]);
    set.args(["--wait", "2s", "--limit", "5", "--routing", "round-robin"]);
    set.args(["--bind", "urgent=tier:gold", "--bind", "high=tier:silver"]);
    let set: Value = serde_json::from_slice(&set.output().unwrap().stdout).unwrap();
    assert_eq!(set["when_full"], "wait");
    assert_eq!(set["wait_ms"], 2000);
    assert_eq!(set["limit"], 5);
    assert_eq!(set["routing"], "round-robin");
    assert_eq!(set["bindings"][0]["label"], "tier");
    assert_eq!(set["bindings"].as_array().unwrap().len(), 2);
    let shown = broker.run(["inbox", "get", "skill:bill"]).ok();
    assert!(shown.contains("urgent=tier:gold") && shown.contains("round-robin"), "{shown}");
    let unbound = broker.run(["inbox", "set", "skill:bill", "--unbind", "--json"]).json();
    assert!(unbound["bindings"].as_array().unwrap().is_empty());
    assert_eq!(unbound["limit"], 5, "what is not named stays");
    let reset = broker.run(["inbox", "set", "skill:bill", "--reset", "--json"]).json();
    assert!(reset["limit"].is_null() && reset["routing"].is_null(), "{reset}");
    broker.run(["inbox", "set", "agent:a", "--routing", "random"]).fails(4);
}

#[test]
fn a_full_inbox_refuses_waits_or_drops_as_it_is_set() {
    let broker = Broker::with(["--ephemeral"]);
    let event = ["send", "--to", "agent:clerk", "--kind", "event", "--data", "x"];
    broker.run(["inbox", "set", "agent:clerk", "--limit", "1"]).ok();
    broker.run(event).ok();
    let full = broker.run(event).fails(4);
    assert!(full.contains("agent:clerk"), "{full}");
    let wait = ["inbox", "set", "agent:clerk", "--when-full", "wait", "--wait", "100ms"];
    broker.run(wait).ok();
    broker.run(event).fails(4);
    broker.run(["inbox", "set", "agent:clerk", "--wait", "1m"]).ok();
    let waiting = broker.spawn(event);
    until("it waits outside", || {
        let inbox = broker.run(["inbox", "get", "agent:clerk", "--json"]).json();
        (inbox["waiting_outside"] == 1).then_some(())
    });
    let _clerk = broker.agent(["--id", "clerk", "--skill", "x", "--", "cat"]);
    waiting.finish().ok();
    until("both are handled", || {
        let inbox = broker.run(["inbox", "get", "agent:clerk", "--json"]).json();
        (inbox["settled"] == 2).then_some(())
    });

    let drops = ["inbox", "set", "agent:lazy", "--when-full", "drop-oldest", "--limit", "1"];
    broker.run(drops).ok();
    for _ in 0..3 {
        broker.run(["send", "--to", "agent:lazy", "--kind", "event", "--data", "x"]).ok();
    }
    let lazy = broker.run(["inbox", "get", "agent:lazy", "--json"]).json();
    assert_eq!((&lazy["dropped"], &lazy["parked"]), (&2.into(), &1.into()));
}

#[test]
fn a_bound_priority_goes_only_to_agents_with_the_label() {
    let broker = Broker::start();
    let _plain = broker.agent(["--id", "plain", "--skill", "bill", "--", "cat"]);
    broker.run(["inbox", "set", "skill:bill", "--bind", "urgent=tier:gold"]).ok();
    let urgent = ["send", "--skill", "bill", "--priority", "urgent", "--wait", "--json"];
    let mut waits = broker.command(urgent);
    assert_eq!(waits.args(["--timeout", "300ms"]).output().unwrap().status.code(), Some(11));
    assert_eq!(
        broker.run(["send", "--skill", "bill", "--wait", "--json"]).json()["agent"],
        "plain"
    );
    let _gold =
        broker.agent(["--id", "gold", "--skill", "bill", "--label", "tier=gold", "--", "cat"]);
    assert_eq!(broker.run(urgent).json()["agent"], "gold");
}

#[test]
fn weighted_routing_gives_nothing_to_a_weight_of_zero() {
    let broker = Broker::start();
    let _idle = broker.agent(["--id", "idle", "--skill", "bill", "--weight", "0", "--", "cat"]);
    let _busy = broker.agent(["--id", "busy", "--skill", "bill", "--", "cat"]);
    broker.run(["inbox", "set", "skill:bill", "--routing", "weighted"]).ok();
    for _ in 0..6 {
        let reply = broker.run(["send", "--skill", "bill", "--wait", "--json"]).json();
        assert_eq!(reply["agent"], "busy");
    }
}
