//! Agents that ask each other through executables: what causes what, whose place is lent, and what
//! could never be answered.

use crate::harness::{Broker, Finished, Running, trunkline, until};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An agent with one place whose script says `$BIN` for the binary under test.
fn agent(broker: &Broker, id: &str, script: &str) -> Running {
    let mut command = broker.command(["agent", "--id", id, "--skill", id, "--", "sh", "-c"]);
    // A variable that begins like ours would be refused.
    command.arg(script).env("BIN", env!("CARGO_BIN_EXE_trunkline"));
    let mut agent = Running::start(&mut command);
    agent.says("connected to");
    agent
}

/// Prints what a child is told of where its work comes from.
const TELL: &str = "echo task=$TRUNKLINE_TASK_ID kind=$TRUNKLINE_KIND cause=$TRUNKLINE_CAUSATION_ID \
                    root=$TRUNKLINE_ROOT_ID correlation=$TRUNKLINE_CORRELATION_ID \
                    context=$TRUNKLINE_CONTEXT_ID trace=$TRACEPARENT";

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER_TRACE: &str = "00-11111111111111111111111111111111-2222222222222222-00";

/// A word that a child was told.
fn told<'a>(line: &'a str, name: &str) -> &'a str {
    let word = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
    line.split_whitespace().find_map(word).unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn what_a_command_sends_is_caused_by_its_task_down_to_the_child_of_its_child() {
    let broker = Broker::start();
    let _leaf = agent(&broker, "leaf", TELL);
    let middle = format!("{TELL}; \"$BIN\" request --skill leaf --data x");
    let _middle = agent(&broker, "middle", &middle);
    let top = format!("{TELL}; \"$BIN\" send --skill middle --data x --wait");
    let _top = agent(&broker, "top", &top);
    let about = "0192f0c1-2d3e-7000-8000-00000000002a";
    let mut send = broker.command(["send", "--skill", "top", "--wait", "--context", "talk"]);
    send.args(["--correlation", about, "--traceparent", TRACE]);
    let lines = Finished::from(send.output().unwrap()).ok();
    let lines: Vec<_> = lines.lines().collect();
    let [top, middle, leaf] = lines[..] else { panic!("{lines:?}") };
    let first = told(top, "task");
    assert_eq!((told(top, "cause"), told(top, "correlation")), ("", about));
    assert_eq!(told(middle, "cause"), first);
    assert_eq!(told(leaf, "cause"), told(middle, "task"));
    for line in &lines {
        assert_eq!(told(line, "root"), first);
        assert_eq!((told(line, "context"), told(line, "trace")), ("talk", TRACE));
        assert_eq!(told(line, "kind"), "request");
    }
    assert_eq!(told(middle, "correlation"), "", "what is sent answers nothing by itself");
    let page = broker.run(["task", "list", "--root", first, "--json"]).json();
    let ids: Vec<_> = page["tasks"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [told(middle, "task"), first], "the request of the middle is no task");
}

#[test]
fn what_is_named_goes_before_what_is_inherited_and_without_a_cause_nothing_is() {
    let broker = Broker::start();
    let _leaf = agent(&broker, "leaf", TELL);
    let ask = "\"$BIN\" request --skill leaf --data x";
    let script = format!(
        "{ask} --context other --traceparent {OTHER_TRACE}; {ask} --no-cause; \
         TRUNKLINE_TASK_ID=7 {ask} --no-cause"
    );
    let _top = agent(&broker, "top", &script);
    let mut send = broker.command(["send", "--skill", "top", "--wait", "--context", "talk"]);
    let lines = Finished::from(send.args(["--traceparent", TRACE]).output().unwrap()).ok();
    let lines: Vec<_> = lines.lines().collect();
    let [named, without, broken] = lines[..] else { panic!("{lines:?}") };
    assert_eq!((told(named, "context"), told(named, "trace")), ("other", OTHER_TRACE));
    assert_ne!(told(named, "cause"), "");
    for line in [without, broken] {
        assert_eq!((told(line, "cause"), told(line, "root")), ("", told(line, "task")));
        assert_eq!((told(line, "context"), told(line, "trace")), ("", ""));
    }
}

#[test]
fn what_a_command_says_of_its_task_names_it() {
    let broker = Broker::start();
    let file = broker.scratch().join("heard");
    let _hears = agent(&broker, "hears", &format!("{TELL} >> {}", file.display()));
    let _event = {
        let script = format!("{TELL} >> {}", file.display());
        let mut agent = broker.command(["agent", "--id", "log", "--on-topic", "done.>"]);
        agent.args(["--", "sh", "-c", &script]);
        let mut agent = Running::start(&mut agent);
        agent.says("connected to");
        agent
    };
    let script = "for kind in status error response; do \
                      \"$BIN\" send --to agent:hears --kind $kind || exit 1; \
                  done; \"$BIN\" publish done.it; echo $TRUNKLINE_TASK_ID";
    let _tells = agent(&broker, "tells", script);
    let out = broker.run(["send", "--skill", "tells", "--wait"]).ok();
    let id = out.lines().last().unwrap();
    let heard = until("all are heard", || {
        let heard = std::fs::read_to_string(&file).ok()?;
        (heard.matches('\n').count() == 4).then_some(heard)
    });
    for line in heard.lines() {
        let about = if told(line, "kind") == "event" { "" } else { id };
        assert_eq!((told(line, "cause"), told(line, "correlation")), (id, about), "{line}");
    }
    for kind in ["status", "error", "response", "event"] {
        assert!(heard.contains(&format!("kind={kind} ")), "{heard}");
    }
}

#[test]
fn what_a_command_sends_goes_to_the_broker_of_its_agent_in_its_name() {
    let broker = Broker::start();
    let _leaf = agent(&broker, "leaf", "cat");
    let url = format!("http://{}", broker.address());
    let script = "echo \"$(\"$BIN\" request --skill leaf --data heard) for $TRUNKLINE_PRINCIPAL\"";
    let mut command = trunkline();
    command.args(["agent", "--skill", "top", "--url", &url, "--principal", "ann"]);
    command.args(["--", "sh", "-c", script]).env("BIN", env!("CARGO_BIN_EXE_trunkline"));
    let mut top = Running::start(&mut command);
    top.says("connected to");
    assert_eq!(broker.run(["request", "--skill", "top"]).ok(), "heard for ann");
}

#[test]
fn what_no_agent_could_have_set_is_refused_with_its_name_and_value() {
    let broker = Broker::start();
    for (variable, value) in [
        ("TRUNKLINE_TASK_ID", "7"),
        ("TRUNKLINE_ROOT_ID", "eight"),
        ("TRUNKLINE_CONTEXT_ID", "a b"),
        ("TRUNKLINE_LEND", "nine"),
    ] {
        let mut request = broker.command(["request", "--skill", "x", "--absent", "fail"]);
        request.env("TRUNKLINE_TASK_ID", "0192f0c1-2d3e-7000-8000-00000000002a");
        let finished = request.env(variable, value).output().unwrap();
        let stderr = Finished::from(finished).fails(2);
        assert!(stderr.contains(&format!("{variable} is '{value}'")), "{stderr}");
        assert!(stderr.contains("hint: an agent sets it"), "{stderr}");
    }
}

/// Counts down by asking the other, so that each works on several requests at once.
fn passes_on(broker: &Broker, name: &str, other: &str, how: &str) -> Running {
    let script = format!(
        "left=$(cat); if [ $left = 0 ]; then echo {name}; exit; fi; \
         answer=$(\"$BIN\" {how} --timeout 40s --skill {other} --data $((left - 1))) || exit 1; \
         echo {name} $answer"
    );
    agent(broker, name, &script)
}

#[test]
fn commands_ask_each_other_again_and_again_with_one_place_each() {
    for (how, expected) in [
        ("request", "a b a b a"),
        ("send --wait", "a b a b a"),
        // Who answered stands in front of what it answered.
        ("request --gather first", "a b b a a b b a a"),
    ] {
        let broker = Broker::start();
        let _a = passes_on(&broker, "a", "b", how);
        let _b = passes_on(&broker, "b", "a", how);
        let asked = ["request", "--skill", "a", "--data", "4", "--timeout", "50s"];
        assert_eq!(broker.run(asked).ok(), expected, "{how}");
    }
}

#[test]
fn a_request_that_would_wait_for_itself_is_refused_with_the_chain_of_agents() {
    let broker = Broker::start();
    let _top = agent(&broker, "top", "exec \"$BIN\" request --skill deeper --data x");
    let again = "\"$BIN\" request --skill top --ordering-key k --data x 2>&1; echo code $?";
    let _deeper = agent(&broker, "deeper", again);
    let asked = ["request", "--skill", "top", "--ordering-key", "k", "--timeout", "50s"];
    let told = broker.run(asked).ok();
    assert!(told.contains("code 4"), "{told}");
    let chain = told.split("would wait for itself: ").nth(1).unwrap_or_else(|| panic!("{told}"));
    let (holder, rest) = chain.split_once(") holds the key → ").unwrap();
    assert!(holder.starts_with("top (") && rest.starts_with("deeper ("), "{told}");
    assert!(told.contains("hint: send it without the key"), "{told}");
}

#[test]
fn a_request_goes_on_without_an_agent_that_would_lend() {
    let broker = Broker::start();
    let _echo = broker.agent(["--skill", "echo", "--", "cat"]);
    let mut request = broker.command(["request", "--skill", "echo", "--data", "x"]);
    let lend = format!("{}:{}", "0f".repeat(16), broker.scratch().join("gone").display());
    let finished = request.env("TRUNKLINE_LEND", lend).output().unwrap();
    let finished = Finished::from(finished);
    assert!(finished.stderr.contains("note: the agent around this process"), "{finished:?}");
    assert_eq!(finished.ok(), "x");
}

#[test]
fn what_an_agent_has_on_disk_is_its_users_alone_and_goes_with_it() {
    let broker = Broker::start();
    for signals in [1, 2] {
        let begun = broker.scratch().join(format!("begun-{signals}"));
        let script = format!(
            "echo $TRUNKLINE_LEND > {0}.new; mv {0}.new {0}; [ $(cat) = end ] || exec sleep 600",
            begun.display()
        );
        let mut agent = agent(&broker, "tells", &script);
        let data = if signals == 1 { "end" } else { "stay" };
        broker.run(["send", "--skill", "tells", "--data", data]).ok();
        let lend = until("it is told", || std::fs::read_to_string(&begun).ok());
        let directory = Path::new(lend.trim().split_once(':').unwrap().1).parent().unwrap();
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        agent.terminate();
        if signals == 2 {
            agent.says("finishes what it holds");
            agent.terminate();
            agent.finish().fails(130);
        } else {
            agent.finish().ok();
        }
        assert!(!directory.exists());
    }
}
