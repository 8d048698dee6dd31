//! A broker that is away while a handler runs for longer than a lease: held up, or killed and
//! started again. The handler goes on, and its delivery stays its own.

use crate::harness::{Broker, Running, until};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long the broker is away: some leases.
const AWAY: Duration = Duration::from_millis(3200);
/// Longer than a client waits for a sign of life before it gives its connection up, which is 30 s.
const GIVEN_UP: Duration = Duration::from_secs(42);

/// Tasks whose handlers are at work until they are let go, and as many agents.
struct AtWork {
    broker: Broker,
    agents: Vec<Running>,
    tasks: Vec<String>,
    begun: PathBuf,
    go: PathBuf,
}

impl AtWork {
    fn start(config: &str, agents: usize) -> Self {
        Self::at_levels(config, &vec!["synced"; agents])
    }

    /// An agent and a task for each durability.
    fn at_levels(config: &str, levels: &[&str]) -> Self {
        let broker = Broker::configured(config, []);
        let (begun, go) = (broker.scratch().join("begun"), broker.scratch().join("go"));
        let script = format!(
            "echo once >> '{}'; while [ ! -e '{}' ]; do sleep 0.05; done; echo done",
            begun.display(),
            go.display()
        );
        let agent = |_| broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
        let agents: Vec<_> = (0..levels.len()).map(agent).collect();
        let task = |level: &&str| {
            let what = ["send", "--skill", "slow", "--data", "x", "--durability", level];
            broker.run(what).ok()
        };
        let tasks: Vec<_> = levels.iter().map(task).collect();
        until("the handlers begin", || (lines(&begun) == tasks.len()).then_some(()));
        Self { broker, agents, tasks, begun, go }
    }

    /// Lets the handlers end: the first and only attempt of each completes its task.
    fn end_in_one_attempt(&self) {
        std::fs::write(&self.go, "").unwrap();
        for task in &self.tasks {
            self.broker.run(["task", "watch", task]).ok();
            let task = self.broker.run(["task", "get", task, "--json"]).json();
            assert_eq!(task["state"], "completed");
            assert_eq!(task["attempts"], 1, "{task}");
            assert_eq!(task["result"]["text"].as_str().unwrap().trim(), "done");
        }
        assert_eq!(self.broker.figure("redeliveries"), 0);
        assert_eq!(lines(&self.begun), self.tasks.len());
    }

    /// Holds the broker up.
    fn stop_broker(&mut self, span: Duration) -> Running {
        let process = self.broker.take();
        process.signal("STOP");
        thread::sleep(span);
        process.signal("CONT");
        until("the broker is back", || (self.broker.get("/readyz") == Some(200)).then_some(()));
        process
    }
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

const SHORT_LEASE: &str = "[broker]\nlease = \"1s\"\n";

#[test]
fn a_broker_that_is_stopped_for_some_leases_and_goes_on_delivers_nothing_again() {
    let mut work = AtWork::at_levels(SHORT_LEASE, &["synced", "buffered", "ephemeral"]);
    let _process = work.stop_broker(AWAY);
    work.end_in_one_attempt();
}

#[test]
fn agents_that_gave_up_a_broker_that_was_stopped_keep_what_they_hold() {
    let mut work = AtWork::start("", 5);
    let _process = work.stop_broker(GIVEN_UP);
    for agent in &mut work.agents {
        agent.says("reconnected to");
    }
    work.end_in_one_attempt();
}

#[test]
fn a_broker_that_is_killed_and_away_for_some_leases_delivers_nothing_again() {
    let mut work = AtWork::start(SHORT_LEASE, 1);
    work.broker.kill();
    thread::sleep(AWAY);
    work.broker.restart();
    work.agents[0].says("reconnected to");
    work.end_in_one_attempt();
}
