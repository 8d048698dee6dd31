//! What a scenario is run with: the defaults of each, what may be changed, and the ranges.

use crate::plan::Wanted;
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
/// Most bytes of payloads in flight at all.
const AT_ONCE: u64 = 4 << 30;
/// How many deliveries a tuned agent holds ready: enough for the windows used here.
const PREFETCH: u32 = 2048;
/// How many operations of a tuned session may be without an answer.
const OUTSTANDING: u32 = 1 << 16;

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
    /// Most messages, warming up included.
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
        let usual = Some(defaults.payload);
        let payload = options.number("payload", args.payload, usual, payload::LEAST, 8 << 20)?;
        let payload = payload.unwrap_or(defaults.payload);
        let senders = options.number("senders", args.senders, defaults.senders, 1, 256)?;
        let agents = options
            .number("agents", args.agents, Some(defaults.agents), 1, 100_000)?
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
        let fitting = u32::try_from(WINDOW / payload).unwrap_or(u32::MAX);
        let fitting = fitting.max(copies.saturating_mul(2 * senders.unwrap_or(1)));
        let usual = defaults.in_flight.map(|usual| usual.min(fitting));
        let in_flight = options.number("in-flight", args.in_flight, usual, 1, 1 << 20)?;
        let bytes = u64::from(in_flight.unwrap_or(1) / copies) * payload as u64;
        if bytes > AT_ONCE {
            let in_flight = in_flight.unwrap_or(1);
            return Err(BenchError::AtOnce { in_flight, payload, bytes, most: AT_ONCE });
        }
        let room = in_flight.unwrap_or(1) / senders.unwrap_or(1);
        if in_flight.is_some() && room < copies {
            let least = u64::from(copies) * u64::from(senders.unwrap_or(1));
            return Err(out_of_range("in-flight", in_flight.unwrap_or(0), least, 1 << 20));
        }
        let most = (room / copies).clamp(1, 1024);
        let share = (room / copies / 2).max(1);
        let usual = defaults.batch.map(|usual| usual.min(share));
        let batch = options.number("batch", args.batch, usual, 1, most)?;
        let url = options.applies("url", args.url.clone(), defaults.url)?;
        // A broker that is there already has its data where it has it.
        let dir = match (&url, options.applies("dir", args.dir.clone(), defaults.dir)?) {
            (None, dir) if defaults.dir => Some(dir.unwrap_or_else(disk)),
            (_, dir) => dir,
        };
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
            count: options.number("count", args.count, defaults.count, 1, MOST)?,
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
    fn names(&self, scenario: Scenario) -> String {
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
        ];
        let names: Vec<String> = names
            .into_iter()
            .filter(|(_, applies)| *applies)
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
                takes: self.takes.names(self.scenario),
            });
        }
        Ok(given)
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

/// Where a disk is likely: the place for temporary files unless that is in memory, otherwise the
/// current directory.
fn disk() -> PathBuf {
    let temporary = std::env::temp_dir();
    if crate::disk::is_in_memory(&temporary) { PathBuf::from(".") } else { temporary }
}
