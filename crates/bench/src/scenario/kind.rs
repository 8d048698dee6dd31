//! What can be measured, with the defaults of each scenario.

use super::{
    a2a, accept, burst, chatter, deep, failure, flow, idle, mix, open, reconnect, recovery,
    request, sessions, soak, stalled, up,
};
use crate::stage::Stage;
use crate::{BenchError, BenchReport};
use serde::Serialize;
use std::fmt;

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One way in process: sent, handled and settled.
    Inproc,
    /// One way in process, from four senders to a thousand agents.
    InprocAgents,
    /// Request and reply in process.
    InprocRequest,
    /// One way over the network: sent, handled and settled.
    Oneway,
    /// Request and reply over the network.
    Request,
    /// Messages of A2A over HTTP, each waiting for its task, then streams.
    A2a,
    /// Each event to a hundred agents over the network, in memory.
    Fanout,
    /// Each event to the subscriptions of a hundred sessions, which acknowledge what they took together.
    FanoutSessions,
    /// Requests, events, broadcasts and tasks at the same time over the network.
    Mix,
    /// How long messages take at a given rate, whether or not earlier ones have arrived.
    Latency,
    /// 10,000 messages a second for a minute: the rate is held, none is lost.
    Held,
    /// Agents at a distance: what 10 to 100 ms more each way add to how long messages take.
    Delay,
    /// Tasks over the network, synced: submitted, delivered and completed on disk.
    Durable,
    /// The same from a deep queue, on disk and cleaned meanwhile, beside a short one in turns.
    Deep,
    /// How long the acceptance of a synced task takes over the network.
    DurableAccept,
    /// Half of the agents are killed under load: how long until what they held is done by others.
    Failure,
    /// How long a killed broker takes until it is ready again with a million tasks waiting.
    Recovery,
    /// What a million waiting tasks cost: memory, disk, and the time of a restart.
    Waiting,
    /// What memory a broker keeps of a burst of a million waiting tasks once they are done.
    Burst,
    /// Half an hour of tasks at a steady rate: memory and descriptors do not grow.
    Soak,
    /// 100 agents up in under a second, each in under 10 ms.
    AgentsUp,
    /// 100 agents exchanging 10,000 messages a second, none lost, 95 of 100 in under 10 ms.
    Chatter,
    /// What agents cost that do nothing: 100,000 registered, 10,000 connected.
    Idle,
    /// 10,000 agents, each with a connection of its own, come back to a broker that was killed.
    Reconnect,
    /// Events for 1,000 agents, of which one hangs in every other turn while its inbox fills and
    /// spills: what that costs the rest.
    Stalled,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inproc => "inproc",
            Self::InprocAgents => "inproc-agents",
            Self::InprocRequest => "inproc-request",
            Self::Oneway => "oneway",
            Self::Request => "request",
            Self::A2a => "a2a",
            Self::Fanout => "fanout",
            Self::FanoutSessions => "fanout-sessions",
            Self::Mix => "mix",
            Self::Latency => "latency",
            Self::Held => "held",
            Self::Delay => "delay",
            Self::Durable => "durable",
            Self::Deep => "deep",
            Self::DurableAccept => "durable-accept",
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Waiting => "waiting",
            Self::Burst => "burst",
            Self::Soak => "soak",
            Self::AgentsUp => "agents-up",
            Self::Chatter => "chatter",
            Self::Idle => "idle",
            Self::Reconnect => "reconnect",
            Self::Stalled => "stalled",
        })
    }
}

impl Scenario {
    /// The rates that it has if none is named, where it has several.
    pub(crate) fn usual_rates(self) -> &'static [u32] {
        if self == Self::Latency { &[100, 1_000, 10_000, 100_000] } else { &[] }
    }

    /// How many may be in flight if nothing is said, where that is several numbers.
    pub(crate) fn usual_windows(self) -> &'static [u32] {
        if self == Self::A2a { &[1, 64, 256] } else { &[] }
    }

    /// The delays that it has if none is named, where it has several.
    pub(crate) fn usual_delays(self) -> &'static [u32] {
        if self == Self::Delay { &[10, 50, 100] } else { &[] }
    }

    /// Whether its messages go over the network.
    pub(crate) fn is_remote(self) -> bool {
        !matches!(self, Self::Inproc | Self::InprocAgents | Self::InprocRequest)
    }

    /// Whether its latency ends with the confirmed settlement.
    pub(crate) fn times_settlement(self) -> bool {
        matches!(self, Self::Durable | Self::Deep)
    }

    /// The fewest agents of which some do what it is about: where one half dies, or one hangs, others
    /// live.
    pub(crate) fn fewest_agents(self) -> u32 {
        if matches!(self, Self::Failure | Self::Stalled) { 2 } else { 1 }
    }

    /// The fewest messages in flight that so many senders can have.
    pub(crate) fn least_in_flight(self, senders: u32) -> u32 {
        match self {
            // One for each in the turns that are not deep.
            Self::Deep => deep::DEEPER * senders,
            // A caller of each kind.
            Self::Mix => 3,
            _ => 1,
        }
    }

    /// Which of the options that bound a run elsewhere say here how much there is to do, so that a
    /// run with another number is other work.
    pub(crate) fn work(self) -> &'static [&'static str] {
        match self {
            Self::Recovery | Self::Waiting | Self::Burst => &["count"],
            Self::Stalled => &["count", "seconds"],
            _ => &[],
        }
    }

    /// Whether it takes about a minute or longer with its defaults, so that few would run it again.
    pub(crate) fn takes_long(self) -> bool {
        matches!(
            self,
            Self::Held
                | Self::Recovery
                | Self::Waiting
                | Self::Burst
                | Self::Soak
                | Self::Chatter
                | Self::Idle
                | Self::Reconnect
                | Self::Stalled
        )
    }

    /// Runs it.
    ///
    /// # Errors
    /// It does not come to a report.
    pub(crate) async fn run(self, stage: Stage) -> Result<BenchReport, BenchError> {
        match self {
            Self::Inproc | Self::InprocAgents | Self::Oneway => {
                Box::pin(flow::ephemeral(stage)).await
            }
            Self::Fanout => Box::pin(flow::fanout(stage)).await,
            Self::FanoutSessions => Box::pin(sessions::fanout(stage)).await,
            Self::Mix => Box::pin(mix::run(stage)).await,
            Self::Latency | Self::Held | Self::Delay => Box::pin(open::run(stage)).await,
            Self::Failure => Box::pin(failure::run(stage)).await,
            Self::InprocRequest | Self::Request => Box::pin(request::run(stage)).await,
            Self::A2a => Box::pin(a2a::run(stage)).await,
            Self::Durable => Box::pin(flow::durable(stage)).await,
            Self::Deep => Box::pin(deep::run(stage)).await,
            Self::DurableAccept => Box::pin(accept::run(stage)).await,
            Self::Recovery | Self::Waiting => Box::pin(recovery::run(stage)).await,
            Self::Burst => Box::pin(burst::run(stage)).await,
            Self::Soak => Box::pin(soak::run(stage)).await,
            Self::AgentsUp => Box::pin(up::run(stage)).await,
            Self::Chatter => Box::pin(chatter::run(stage)).await,
            Self::Idle => Box::pin(idle::run(stage)).await,
            Self::Reconnect => Box::pin(reconnect::run(stage)).await,
            Self::Stalled => Box::pin(stalled::run(stage)).await,
        }
    }
}
