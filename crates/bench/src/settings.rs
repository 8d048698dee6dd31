//! What a scenario is run with: the defaults of each, what may be changed, and the ranges.

use crate::broker::setting;
use crate::plan::Wanted;
use crate::scenario::deep::short_of;
use crate::seen::MOST;
use crate::{BenchError, Scenario, payload};
use serde::{Serialize, Serializer};
use std::fmt::Display;
use std::path::PathBuf;
use trunkline_agent::{Profile, SessionOptions};
use trunkline_client::Transport;

/// Most bytes of payloads in flight when nobody says how many messages: half of what an inbox holds
/// in memory when nothing is said.
const WINDOW: usize = 32 << 20;
/// The same where each is on its way to the broker's disk: half of what may be so before new work is
/// refused, when nothing is said.
const TO_DISK: usize = 16 << 20;
/// Most bytes of payloads in flight at all.
const AT_ONCE: u64 = 4 << 30;
/// How many deliveries a tuned agent holds ready: enough for the windows used here.
const PREFETCH: u32 = 2048;
/// How many operations of a tuned session may be without an answer.
const OUTSTANDING: u32 = 1 << 16;

/// Most deliveries to one session's subscriptions that may be on their way: fewer than a broker keeps
/// for it before it drops some when nothing is said, because those that are taken count there until
/// they are acknowledged.
const FOR_A_SESSION: u32 = 8192;

/// Most patterns of one agent, as a broker has it when nothing is said.
const SUBSCRIPTIONS: u32 = 1024;

/// What a scenario was run with. What does not apply to it is `None`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Config {
    /// Messages that are sent and not yet settled, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Bytes of each payload.
    pub payload: usize,
    /// For how long load is offered, after warming up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Most messages, warming up included, where somebody says how many; or how many there are to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Agents that handle them.
    pub agents: u32,
    /// Topics that they are about, if they are sent to topics: of each agent its share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<u32>,
    /// Sessions that send them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub senders: Option<u32>,
    /// Messages a second that are offered, whether or not earlier ones are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Most messages that a sender hands over in one piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Most messages that a worker takes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take: Option<u32>,
    /// Workers of each agent, where it is said how many; otherwise the library decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Whether agents and sessions have more room than the library gives when nothing is said.
    pub tuned: bool,
    /// Deliveries that an agent may hold ready.
    pub prefetch: u32,
    /// Operations of a session that may be without an answer.
    pub outstanding: u32,
    /// Milliseconds that each way between broker and agents is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
    /// What carries sessions, if they go over the network.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "word")]
    pub transport: Option<Transport>,
    /// The broker, if it was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the data directory was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Settings of the broker that are not its defaults, as they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// Threads of the load.
    pub load_threads: usize,
}

impl Config {
    /// The settings of a scenario: its defaults and what was asked for.
    ///
    /// # Errors
    /// An option that does not apply to the scenario or is out of its range.
    pub(crate) fn new(scenario: Scenario, args: &Wanted) -> Result<Self, BenchError> {
        let defaults = scenario.defaults();
        let options = Options { scenario, takes: &defaults };
        let url = options.applies("url", args.url.clone(), defaults.url)?;
        if let Some(url) = &url {
            options.beside_url(args, url)?;
        }
        let usual = Some(defaults.payload);
        let payload = options.number("payload", args.payload, usual, payload::LEAST, 8 << 20)?;
        let payload = payload.unwrap_or(defaults.payload);
        let senders = options.number("senders", args.senders, defaults.senders, 1, 256)?;
        let agents = options
            .number(
                "agents",
                args.agents,
                Some(defaults.agents),
                scenario.fewest_agents(),
                100_000,
            )?
            .unwrap_or(defaults.agents);
        let topics = options.applies("topics", args.topics, defaults.topics)?;
        // So that each agent has one, and none more than it may subscribe to.
        let (least, most) = (agents, agents.saturating_mul(SUBSCRIPTIONS));
        if let Some(topics) = topics.filter(|topics| !(least..=most).contains(topics)) {
            let each = SUBSCRIPTIONS;
            return Err(BenchError::Topics { topics, agents, each, least, most });
        }
        // Each message takes room for each of its copies.
        let copies = if defaults.copies { agents } else { 1 };
        // Larger payloads have fewer in flight unless somebody says how many.
        let window = if scenario == Scenario::Durable { TO_DISK } else { WINDOW };
        let fitting = u32::try_from(window / payload).unwrap_or(u32::MAX);
        let fitting = fitting.max(copies.saturating_mul(2 * senders.unwrap_or(1)));
        // Where it is agents that come at once there are no more than there are, and what a session is
        // not to miss has to wait for it.
        let most = match scenario {
            Scenario::AgentsUp | Scenario::Idle | Scenario::Reconnect => agents,
            Scenario::FanoutSessions => agents.saturating_mul(FOR_A_SESSION).min(1 << 20),
            _ => 1 << 20,
        };
        let usual = defaults.in_flight.map(|usual| usual.min(fitting).min(most));
        let least = scenario.least_in_flight(senders.unwrap_or(1));
        let in_flight = options.number("in-flight", args.in_flight, usual, least, most)?;
        let bytes = u64::from(in_flight.unwrap_or(1) / copies) * payload as u64;
        if bytes > AT_ONCE {
            let in_flight = in_flight.unwrap_or(1);
            return Err(BenchError::AtOnce { in_flight, payload, bytes, most: AT_ONCE });
        }
        // Where turns with fewer in flight alternate with others, both hand over the same pieces.
        let smallest = in_flight.map(|in_flight| match scenario {
            Scenario::Deep => short_of(in_flight),
            _ => in_flight,
        });
        let room = smallest.unwrap_or(1) / senders.unwrap_or(1);
        if in_flight.is_some() && room < copies {
            let least = u64::from(copies) * u64::from(senders.unwrap_or(1));
            return Err(out_of_range("in-flight", in_flight.unwrap_or(0), least, 1 << 20));
        }
        let most = (room / copies).clamp(1, 1024);
        let share = (room / copies / 2).max(1);
        let usual = defaults.batch.map(|usual| usual.min(share));
        let batch = options.number("batch", args.batch, usual, 1, most)?;
        let count = options.count(args, in_flight)?;
        // A broker that is there already has its data where it has it.
        let dir = match (&url, options.applies("dir", args.dir.clone(), defaults.dir)?) {
            (None, dir) if defaults.dir => Some(dir.unwrap_or_else(disk)),
            (_, dir) => dir,
        };
        let set = options.set(args)?;
        let transport = options.applies("transport", args.transport, scenario.is_remote())?;
        let transport = scenario.is_remote().then(|| transport.unwrap_or(Transport::Framed));
        if transport == Some(Transport::Auto) {
            return Err(BenchError::WhichTransport);
        }
        let workers = options.applies("workers", args.workers, defaults.workers)?;
        if let Some(workers) = workers.filter(|workers| !(1..=1024).contains(workers)) {
            return Err(out_of_range("workers", workers, 1, 1024));
        }
        let (prefetch, outstanding) = if args.tuned {
            (PREFETCH, OUTSTANDING)
        } else {
            (Profile::default().prefetch(), SessionOptions::default().outstanding)
        };
        Ok(Self {
            in_flight,
            payload,
            seconds: options.number("seconds", args.seconds, defaults.seconds, 0.05, 86_400.0)?,
            count,
            agents,
            topics,
            senders,
            rate: options.number("rate", args.rate, defaults.rate, 1, 10_000_000)?,
            batch,
            take: args.batch.filter(|_| defaults.workers),
            workers,
            tuned: args.tuned,
            prefetch,
            outstanding,
            delay: options.number("delay", args.delay, defaults.delay, 0, 10_000)?,
            transport,
            url,
            dir,
            set,
            load_threads: tokio::runtime::Handle::current().metrics().num_workers(),
        })
    }
}

/// The defaults of a scenario; what is `None` or `false` does not apply to it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each tells whether an option applies")]
pub(crate) struct Defaults {
    pub(crate) in_flight: Option<u32>,
    pub(crate) payload: usize,
    pub(crate) seconds: Option<f64>,
    pub(crate) count: Option<u64>,
    pub(crate) agents: u32,
    /// Whether messages may go to topics.
    pub(crate) topics: bool,
    pub(crate) senders: Option<u32>,
    pub(crate) rate: Option<u32>,
    pub(crate) batch: Option<u32>,
    /// Whether agents may be told how many workers they have.
    pub(crate) workers: bool,
    pub(crate) delay: Option<u32>,
    /// Whether every agent gets a copy of every message.
    pub(crate) copies: bool,
    pub(crate) url: bool,
    pub(crate) dir: bool,
}

impl Defaults {
    /// Its options but for some, as a user types them.
    fn names(&self, scenario: Scenario, without: &[&str]) -> String {
        let names = [
            ("in-flight", self.in_flight.is_some()),
            ("payload", true),
            ("seconds", self.seconds.is_some()),
            ("count", self.count.is_some()),
            ("agents", true),
            ("topics", self.topics),
            ("senders", self.senders.is_some()),
            ("rate", self.rate.is_some()),
            ("batch", self.batch.is_some()),
            ("workers", self.workers),
            ("delay", self.delay.is_some()),
            ("tuned", true),
            ("transport", scenario.is_remote()),
            ("url", self.url),
            ("dir", self.dir),
            ("set", scenario.is_remote()),
        ];
        let names: Vec<String> = names
            .into_iter()
            .filter(|(name, applies)| *applies && !without.contains(name))
            .map(|(name, _)| format!("--{name}"))
            .collect();
        names.join(", ")
    }
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn word<S: Serializer>(transport: &Option<Transport>, to: S) -> Result<S::Ok, S::Error> {
    transport.map(Transport::as_str).serialize(to)
}

struct Options<'a> {
    scenario: Scenario,
    takes: &'a Defaults,
}

impl Options<'_> {
    fn applies<T>(
        &self,
        option: &'static str,
        given: Option<T>,
        applies: bool,
    ) -> Result<Option<T>, BenchError> {
        if given.is_some() && !applies {
            let scenario = self.scenario.to_string();
            return Err(BenchError::OptionOfOthers {
                option,
                scenario,
                takes: self.takes.names(self.scenario, &[]),
            });
        }
        Ok(given)
    }

    /// Refuses what says nothing to a broker that is there already.
    fn beside_url(&self, args: &Wanted, url: &str) -> Result<(), BenchError> {
        let given = match self.scenario {
            // Any server will do, with agents of its own, and only messages go to it.
            Scenario::A2a => vec![
                ("agents", args.agents.is_some()),
                ("tuned", args.tuned),
                ("transport", args.transport.is_some()),
                ("set", !args.set.is_empty()),
            ],
            _ => vec![("dir", args.dir.is_some()), ("set", !args.set.is_empty())],
        };
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            let without: Vec<&str> = given.iter().map(|(option, _)| *option).collect();
            let scenario = format!("{} with --url", self.scenario);
            let takes = self.takes.names(self.scenario, &without);
            return Err(BenchError::OptionOfOthers { option, scenario, takes });
        }
        match self.scenario {
            Scenario::Delay if !is_here(url) => Err(BenchError::NotHere(url.to_owned())),
            _ => Ok(()),
        }
    }

    /// How many messages there are at most. Where that only bounds a run it does so if somebody says it,
    /// so that a fast one has all its seconds.
    fn count(&self, args: &Wanted, in_flight: Option<u32>) -> Result<Option<u64>, BenchError> {
        let count = self.number("count", args.count, self.takes.count, 1, MOST)?;
        let is_work = self.scenario.work().contains(&"count");
        let count = count.filter(|_| is_work || args.count.is_some());
        match (self.scenario, count, in_flight) {
            (Scenario::Deep, Some(count), Some(in_flight)) if count <= u64::from(in_flight) => {
                Err(BenchError::NothingToDo { count, in_flight })
            }
            _ => Ok(count),
        }
    }

    /// The settings of a broker that is started.
    fn set(&self, args: &Wanted) -> Result<Vec<String>, BenchError> {
        let given = Some(args.set.clone()).filter(|set| !set.is_empty());
        let set = self.applies("set", given, self.scenario.is_remote())?.unwrap_or_default();
        match set.iter().find(|text| setting(text).is_none()) {
            Some(wrong) => Err(BenchError::Setting(wrong.clone())),
            None => Ok(set),
        }
    }

    fn number<T: PartialOrd + Display + Copy>(
        &self,
        option: &'static str,
        given: Option<T>,
        default: Option<T>,
        least: T,
        most: T,
    ) -> Result<Option<T>, BenchError> {
        let given = self.applies(option, given, default.is_some())?;
        match given {
            Some(value) if !(least..=most).contains(&value) => {
                Err(out_of_range(option, value, least, most))
            }
            Some(value) => Ok(Some(value)),
            None => Ok(default),
        }
    }
}

fn out_of_range(
    option: &'static str,
    value: impl Display,
    least: impl Display,
    most: impl Display,
) -> BenchError {
    BenchError::Range {
        option,
        value: value.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    }
}

/// Whether a URL is of this machine's loopback.
fn is_here(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    matches!(host, "127.0.0.1" | "localhost")
}

/// Where a disk is likely: the place for temporary files unless that is in memory, otherwise the
/// current directory.
fn disk() -> PathBuf {
    let temporary = std::env::temp_dir();
    if crate::disk::is_in_memory(&temporary) { PathBuf::from(".") } else { temporary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "made where it is called")]
    fn refusal(scenario: Scenario, wanted: Wanted) -> String {
        Config::new(scenario, &wanted).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_says_nothing_to_a_server_that_is_there_is_refused_by_name() {
        let there = || Wanted { url: Some("http://127.0.0.1:1/".to_owned()), ..Wanted::default() };
        for (option, wanted) in [
            ("tuned", Wanted { tuned: true, ..there() }),
            ("agents", Wanted { agents: Some(1), ..there() }),
            ("transport", Wanted { transport: Some(Transport::Grpc), ..there() }),
            ("set", Wanted { set: vec!["a.b=1".to_owned()], ..there() }),
        ] {
            let told = refusal(Scenario::A2a, wanted);
            let takes = "--in-flight, --payload, --seconds, --count, --url";
            let expected =
                format!("--{option} does not apply to a2a with --url, which takes {takes}");
            assert_eq!(told, expected);
        }
        let told = refusal(Scenario::Durable, Wanted { dir: Some(".".into()), ..there() });
        assert!(told.starts_with("--dir does not apply to durable with --url, which"), "{told}");
        assert!(!told.ends_with("--dir"), "{told}");
        // Each of them does something where nothing is there before.
        for wanted in [
            Wanted { tuned: true, ..Wanted::default() },
            Wanted { agents: Some(2), ..Wanted::default() },
            Wanted { transport: Some(Transport::Grpc), ..Wanted::default() },
        ] {
            Config::new(Scenario::A2a, &wanted).unwrap();
        }
    }

    #[tokio::test]
    async fn a_longer_way_is_made_to_a_broker_on_this_machine_only() {
        let at = |url: &str| Wanted { url: Some(url.to_owned()), ..Wanted::default() };
        for url in ["http://127.0.0.1:7420", "http://localhost:7420/"] {
            Config::new(Scenario::Delay, &at(url)).unwrap();
        }
        let told = refusal(Scenario::Delay, at("http://10.0.0.7:7420"));
        assert!(told.starts_with("--url is 'http://10.0.0.7:7420', but delay"), "{told}");
        Config::new(Scenario::Oneway, &at("http://10.0.0.7:7420")).unwrap();
    }

    #[tokio::test]
    async fn a_deep_queue_leaves_something_to_do_and_has_the_pieces_of_the_short_one() {
        let depth = |in_flight, count| Wanted { in_flight, count, ..Wanted::default() };
        let told = refusal(Scenario::Deep, depth(Some(4000), Some(4000)));
        assert!(
            told.starts_with("--count is 4000, but as many as --in-flight says, 4000"),
            "{told}"
        );
        let told = refusal(Scenario::Deep, depth(None, Some(9)));
        assert!(
            told.starts_with("--count is 9, but as many as --in-flight says, 100000"),
            "{told}"
        );
        Config::new(Scenario::Deep, &depth(Some(4000), Some(4001))).unwrap();
        let told = refusal(Scenario::Deep, depth(Some(7), None));
        assert_eq!(told, "--in-flight is 7, the range is 8 to 1048576");
        // 125 in flight in the turns that are not deep.
        let config = Config::new(Scenario::Deep, &depth(Some(1000), None)).unwrap();
        assert_eq!(config.batch, Some(62));
        let wanted = Wanted { batch: Some(126), ..depth(Some(1000), None) };
        assert_eq!(refusal(Scenario::Deep, wanted), "--batch is 126, the range is 1 to 125");
    }

    #[tokio::test]
    async fn a_setting_is_for_a_broker_that_is_started_and_is_written_as_one() {
        let with = |text: &str| Wanted { set: vec![text.to_owned()], ..Wanted::default() };
        let config = Config::new(Scenario::Oneway, &with("broker.lease=1m")).unwrap();
        assert_eq!(config.set, ["broker.lease=1m"]);
        let told = refusal(Scenario::Oneway, with("lease=1m"));
        assert!(
            told.starts_with("--set is 'lease=1m', but a setting is written SECTION."),
            "{told}"
        );
        let told = refusal(Scenario::Inproc, with("broker.lease=1m"));
        assert!(told.starts_with("--set does not apply to inproc, which takes "), "{told}");
    }

    #[tokio::test]
    async fn only_who_says_a_count_has_a_run_end_before_its_seconds() {
        let count = |scenario, seconds, count| {
            let wanted = Wanted { seconds, count, ..Wanted::default() };
            Config::new(scenario, &wanted).unwrap().count
        };
        for seconds in [None, Some(600.0)] {
            assert_eq!(count(Scenario::Inproc, seconds, None), None);
            assert_eq!(count(Scenario::Durable, seconds, Some(5)), Some(5));
            // Here it is the work.
            assert_eq!(count(Scenario::Stalled, seconds, None), Some(2_000));
        }
        assert_eq!(count(Scenario::Recovery, None, None), Some(1_000_000));
    }

    #[tokio::test]
    async fn no_more_are_on_their_way_to_a_session_than_wait_for_it() {
        let wanted = |in_flight| Wanted { agents: Some(2), in_flight, ..Wanted::default() };
        Config::new(Scenario::FanoutSessions, &wanted(Some(16_384))).unwrap();
        let told = refusal(Scenario::FanoutSessions, wanted(Some(16_385)));
        assert_eq!(told, "--in-flight is 16385, the range is 1 to 16384");
    }

    #[tokio::test]
    async fn a_number_that_would_not_be_kept_to_is_refused() {
        let few = || Wanted { agents: Some(1), ..Wanted::default() };
        for scenario in [Scenario::Failure, Scenario::Stalled] {
            let told = refusal(scenario, few());
            assert_eq!(told, "--agents is 1, the range is 2 to 100000");
        }
        let told = refusal(Scenario::Mix, Wanted { in_flight: Some(2), ..Wanted::default() });
        assert_eq!(told, "--in-flight is 2, the range is 3 to 1048576");
        for scenario in [Scenario::AgentsUp, Scenario::Idle, Scenario::Reconnect] {
            let wanted = |in_flight| Wanted { agents: Some(2), in_flight, ..Wanted::default() };
            assert_eq!(Config::new(scenario, &wanted(None)).unwrap().in_flight, Some(2));
            let told = refusal(scenario, wanted(Some(3)));
            assert_eq!(told, "--in-flight is 3, the range is 1 to 2");
        }
    }

    #[tokio::test]
    async fn what_goes_to_disk_has_half_of_what_may_be_on_its_way_there() {
        let large = || Wanted { payload: Some(1 << 20), ..Wanted::default() };
        let in_flight = |scenario| Config::new(scenario, &large()).unwrap().in_flight;
        assert_eq!(in_flight(Scenario::Durable), Some(16));
        assert_eq!(in_flight(Scenario::Oneway), Some(32));
    }
}
