//! A broker that is away while a handler runs for longer than a lease: held up, or killed and
//! started again. The handler goes on, and its delivery stays its own.

use crate::harness::{Broker, Running, until};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How long the broker is away: some leases.
const AWAY: Duration = Duration::from_millis(3200);

/// A task whose handler is at work until it is let go.
struct AtWork {
    broker: Broker,
    agent: Running,
    task: String,
    begun: PathBuf,
    go: PathBuf,
}

impl AtWork {
    fn start() -> Self {
        let broker = Broker::configured("[broker]\nlease = \"1s\"\n", []);
        let (begun, go) = (broker.scratch().join("begun"), broker.scratch().join("go"));
        let script = format!(
            "echo once >> '{}'; while [ ! -e '{}' ]; do sleep 0.05; done; echo done",
            begun.display(),
            go.display()
        );
        let agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
        let task = broker.run(["send", "--skill", "slow", "--data", "x"]).ok();
        until("the handler begins", || begun.exists().then_some(()));
        Self { broker, agent, task, begun, go }
    }

    /// Lets the handler end: its first and only attempt completes the task.
    fn ends_in_one_attempt(&self) {
        std::fs::write(&self.go, "").unwrap();
        self.broker.run(["task", "watch", &self.task]).ok();
        let task = self.broker.run(["task", "get", &self.task, "--json"]).json();
        assert_eq!(task["state"], "completed");
        assert_eq!(task["attempts"], 1, "{task}");
        assert_eq!(task["result"]["text"].as_str().unwrap().trim(), "done");
        assert_eq!(self.broker.figure("redeliveries"), 0);
        assert_eq!(std::fs::read_to_string(&self.begun).unwrap(), "once\n");
    }
}

#[test]
fn a_broker_that_is_stopped_for_some_leases_and_goes_on_delivers_nothing_again() {
    let mut work = AtWork::start();
    let process = work.broker.take();
    process.signal("STOP");
    thread::sleep(AWAY);
    process.signal("CONT");
    until("the broker is back", || (work.broker.get("/readyz") == Some(200)).then_some(()));
    work.ends_in_one_attempt();
}

#[test]
fn a_broker_that_is_killed_and_away_for_some_leases_delivers_nothing_again() {
    let mut work = AtWork::start();
    work.broker.kill();
    thread::sleep(AWAY);
    work.broker.restart();
    work.agent.says("reconnected to");
    work.ends_in_one_attempt();
}
