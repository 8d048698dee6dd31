//! Why a benchmark did not come to a report.

use std::io;
use std::path::PathBuf;
use std::time::Duration;
use trunkline_types::Refusal;

/// Why a benchmark did not come to a report. Counts that do not agree are no such error: they
/// are in the report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An option does not belong to the scenario.
    #[error("--{option} does not apply to {scenario}, which takes {takes}")]
    OptionOfOthers {
        /// Which option, without its dashes.
        option: &'static str,
        /// Which scenario.
        scenario: String,
        /// What the scenario does take.
        takes: String,
    },
    /// An option is out of its range.
    #[error("--{option} is {value}, the range is {least} to {most}")]
    Range {
        /// Which option, without its dashes.
        option: &'static str,
        /// What was given.
        value: String,
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
    /// There are topics without an agent, or agents with more than they may subscribe to.
    #[error(
        "--topics is {topics}, the range is {least} to {most}: of each of the {agents} of --agents \
         from 1 to {each}; name other numbers of either"
    )]
    Topics {
        /// How many topics.
        topics: u32,
        /// How many agents.
        agents: u32,
        /// Most topics of one agent.
        each: u32,
        /// The fewest topics of so many agents.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A process that is killed would not have tasks in its hands.
    #[error(
        "{tasks} tasks, --rate times --seconds, are too few for --agents {agents}, which want {least} \
         at least, so that those that are killed have some in hand; name more of the two or fewer agents"
    )]
    TooFewTasks {
        /// How many tasks.
        tasks: u64,
        /// How many agents.
        agents: u32,
        /// The fewest tasks of so many agents.
        least: u64,
    },
    /// More is asked to be in flight than the load should hold.
    #[error(
        "--in-flight {in_flight} of --payload {payload} are {bytes} bytes at once, the most is \
         {most}; name fewer or smaller ones"
    )]
    AtOnce {
        /// How many messages.
        in_flight: u32,
        /// How large each is, in bytes.
        payload: usize,
        /// How many bytes that is.
        bytes: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// What waits at first is all there may be.
    #[error(
        "--count is {count}, but as many as --in-flight says, {in_flight}, wait before any work \
         begins; name a larger --count or a smaller --in-flight"
    )]
    NothingToDo {
        /// Most messages.
        count: u64,
        /// How many wait at first.
        in_flight: u32,
    },
    /// A broker is too far for a way that is made before it.
    #[error(
        "--url is '{0}', but delay makes the way longer to a broker on 127.0.0.1 only; start one \
         there or leave --url out"
    )]
    NotHere(String),
    /// A setting of the broker is not written as one.
    #[error(
        "--set is '{0}', but a setting is written SECTION.KEY=VALUE, such as log.pending_bytes=1MiB"
    )]
    Setting(String),
    /// A figure says which transport it is of.
    #[error("--transport is auto, which may be either; name framed or grpc")]
    WhichTransport,
    /// The options list too many numbers.
    #[error("the lists make {many} runs, the most is {most}; name fewer numbers")]
    Runs {
        /// How many runs that would be.
        many: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// An earlier run cannot be compared with.
    #[error("cannot compare with '{}': {why}", .path.display())]
    Earlier {
        /// The file that was named.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is too little or too much data to compare formats on.
    #[error("the data has {bytes} bytes, the range is 1 to {most}, the largest payload")]
    DataSize {
        /// How much there is.
        bytes: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A format or compression does not do what it should.
    #[error("{0}")]
    Serializer(String),
    /// The broker refused something.
    #[error("{what}: {refusal}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        refusal: Refusal,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The broker's process ended or did not get ready.
    #[error("the broker did not get ready: {why}{}", shown(.output))]
    Broker {
        /// What happened.
        why: String,
        /// What it wrote to its standard error.
        output: String,
    },
    /// The broker's process ended while it was measured.
    #[error("the broker is gone: {why}{}", shown(.output))]
    Ended {
        /// How it ended.
        why: String,
        /// What it wrote to its standard error.
        output: String,
    },
    /// The broker in this process did not open.
    #[error(transparent)]
    Open(#[from] trunkline_broker::OpenError),
    /// Something did not happen in time.
    #[error("{what} took longer than {limit:?}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The broker keeps nothing on disk, so that a durable figure would be none.
    #[error("the broker keeps nothing on disk; start it with --data to measure '{0}'")]
    NotDurable(String),
    /// There is no disk to measure on.
    #[error("'{}' is in memory; name a directory on a disk with --dir", .0.display())]
    NotOnDisk(PathBuf),
    /// Somebody ended it before it was done.
    #[error("interrupted before there was anything to report")]
    Interrupted,
    /// A task of the benchmark itself failed.
    #[error("a part of the load failed: {0}")]
    Load(String),
}

impl BenchError {
    /// For `map_err`: the broker refused this.
    pub(crate) fn refused(what: &'static str) -> impl FnOnce(Refusal) -> Self {
        move |refusal| Self::Refused { what, refusal }
    }

    /// For `map_err`: the system refused this.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what: what.into(), error }
    }
}

fn shown(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!("; it said: {output}") }
}
