//! What is told on stderr: how much, in which color, and to nobody.

use crate::harness::{Broker, Finished, trunkline};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn as_much_is_told_as_is_asked_for_and_the_variable_chooses_in_detail() {
    let broker = Broker::start();
    let told = |flags: &[&str], chosen: Option<&str>| {
        let mut stats = trunkline();
        stats.args(flags).args(["stats", "--url", &format!("http://{}", broker.address())]);
        stats.envs(chosen.map(|chosen| ("TRUNKLINE_LOG", chosen)));
        let finished = Finished::from(stats.output().unwrap());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stderr
    };
    assert_eq!(told(&[], None), "");
    let (more, still_more) = (told(&["-vv"], None), told(&["-vvv"], None));
    assert!(more.contains("DEBUG") && !more.contains("TRACE"), "{more}");
    assert!(still_more.contains("TRACE"), "{still_more}");
    assert_eq!(told(&["-vvv"], Some("error")), "");
    let chosen = told(&[], Some("h2=debug"));
    let of_h2 = chosen.lines().filter(|line| line.contains(" h2::"));
    assert!(!chosen.is_empty() && of_h2.count() == chosen.lines().count(), "{chosen}");

    let mut wrong = trunkline();
    let wrong = wrong.args(["stats"]).env("TRUNKLINE_LOG", "a=b=c!!").output().unwrap();
    let stderr = Finished::from(wrong).fails(2);
    assert!(stderr.contains("TRUNKLINE_LOG is 'a=b=c!!'"), "{stderr}");
}

#[test]
fn there_is_no_color_where_none_is_wanted() {
    let told = |flags: &[&str], variable: Option<&str>| {
        let mut send = trunkline();
        // A terminal would have color; this has what comes to the same.
        send.args(flags).args(["send", "--data", "x"]).env("CLICOLOR_FORCE", "1");
        send.envs(variable.map(|name| (name, "1")));
        Finished::from(send.output().unwrap()).fails(2)
    };
    assert!(told(&[], None).contains("\u{1b}["));
    assert!(!told(&["--no-color"], None).contains('\u{1b}'));
    assert!(!told(&[], Some("NO_COLOR")).contains('\u{1b}'));
}

#[test]
fn an_agent_comes_back_to_its_broker_though_nobody_reads_what_it_says() {
    let mut broker = Broker::start();
    let mut agent = broker.command(["agent", "--skill", "echo", "--", "cat"]);
    let mut agent = agent.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(agent.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("connected to"), "{line}");
    drop(said);
    broker.kill();
    broker.restart();
    let work = ["send", "--skill", "echo", "--data", "there", "--wait", "--timeout", "1m"];
    let reply = broker.run(work);
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(reply.ok(), "there");
}

#[test]
fn a_sender_is_told_whom_it_did_not_reach() {
    let broker = Broker::start();
    let told = |arguments: &[&str]| {
        let sent = broker.command(["send", "--data", "x"]).args(arguments).output().unwrap();
        let finished = Finished::from(sent);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stderr.trim().to_owned()
    };
    let nowhere = "note: nobody serves its destination; it went nowhere";
    let discard = ["--kind", "event", "--absent", "discard"];
    for to in ["agent:n", "skill:n", "agents:a,b"] {
        assert_eq!(told(&[&["--to", to], &discard[..]].concat()), nowhere, "{to}");
    }
    assert_eq!(told(&["--to", "all"]), "note: nobody is there; it went nowhere");
    assert_eq!(
        told(&["--to", "all", "--absent", "park", "--ttl", "1m"]),
        "note: nobody is there yet; it waits for whoever comes first"
    );
    let _agent = broker.agent(["--id", "ann", "--", "cat"]);
    assert_eq!(
        told(&[&["--to", "agents:ann,bob"], &discard[..]].concat()),
        "note: of 2, 1 recipient is not there; it goes no further for these"
    );
    assert_eq!(told(&[&["--to", "agents:ann"], &discard[..]].concat()), "");
    for (flags, range) in [
        (["inbox", "set", "skill:x", "--limit", "-1"], "from 1 to the highest of the broker's"),
        (["inbox", "set", "topic:a.b", "--limit", "1"], "an inbox is agent:ID or skill:NAME"),
        (["send", "--skill", "x", "--attempts", "0"], "from 1 to the broker's limits.attempts"),
    ] {
        let stderr = Finished::from(trunkline().args(flags).output().unwrap()).fails(2);
        assert!(stderr.contains(range), "{stderr}");
    }
}
