//! What can be measured, with the defaults of each scenario.

use super::{
    accept, chatter, failure, flow, idle, mix, open, reconnect, recovery, request, stalled, up,
};
use crate::settings::Defaults;
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
    /// One way over gRPC: sent, handled and settled.
    Oneway,
    /// Request and reply over gRPC.
    Request,
    /// Each event to a hundred agents over gRPC, in memory.
    Fanout,
    /// Requests, events, broadcasts and tasks at the same time over gRPC.
    Mix,
    /// How long messages take at a given rate, whether or not earlier ones have arrived.
    Latency,
    /// 10,000 messages a second for a minute: the rate is held, none is lost.
    Held,
    /// Agents at a distance: what 10 to 100 ms more each way add to how long messages take.
    Delay,
    /// Tasks over gRPC, synced: submitted, delivered and completed on disk.
    Durable,
    /// How long the acceptance of a synced task takes over gRPC.
    DurableAccept,
    /// Half of the agents are killed under load: how long until what they held is done by others.
    Failure,
    /// How long a killed broker takes until it is ready again with a million tasks waiting.
    Recovery,
    /// What a million waiting tasks cost: memory, disk, and the time of a restart.
    Waiting,
    /// 100 agents up in under a second, each in under 10 ms.
    AgentsUp,
    /// 100 agents exchanging 10,000 messages a second, none lost, 95 of 100 in under 10 ms.
    Chatter,
    /// What agents cost that do nothing: 100,000 registered, 10,000 connected.
    Idle,
    /// 10,000 agents, each with a connection of its own, come back to a broker that was killed.
    Reconnect,
    /// Events for 1,000 agents, of which one hangs in every other turn: what that costs the rest.
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
            Self::Fanout => "fanout",
            Self::Mix => "mix",
            Self::Latency => "latency",
            Self::Held => "held",
            Self::Delay => "delay",
            Self::Durable => "durable",
            Self::DurableAccept => "durable-accept",
            Self::Failure => "failure",
            Self::Recovery => "recovery",
            Self::Waiting => "waiting",
            Self::AgentsUp => "agents-up",
            Self::Chatter => "chatter",
            Self::Idle => "idle",
            Self::Reconnect => "reconnect",
            Self::Stalled => "stalled",
        })
    }
}

impl Scenario {
    /// What a scenario is run with when nothing else is said. In process the window is small
    /// enough to stay in the processor's caches; over gRPC the CPU time per message does not
    /// depend on it, and it covers a few turns of the broker; on disk it covers several flushes.
    pub(crate) fn defaults(self) -> Defaults {
        let base = Defaults {
            in_flight: None,
            payload: 256,
            seconds: Some(5.0),
            count: Some(100_000_000),
            agents: 1,
            senders: Some(1),
            rate: None,
            batch: None,
            workers: None,
            delay: None,
            copies: false,
            url: true,
            dir: false,
        };
        let (pieces, one) = (Some(256), Some(1));
        match self {
            Self::Inproc => Defaults {
                in_flight: Some(512),
                batch: pieces,
                workers: one,
                url: false,
                ..base
            },
            Self::InprocAgents => Defaults {
                in_flight: Some(2048),
                batch: pieces,
                workers: one,
                agents: 1_000,
                senders: Some(4),
                url: false,
                ..base
            },
            Self::InprocRequest => Defaults { in_flight: Some(1), url: false, ..base },
            Self::Oneway => {
                Defaults { in_flight: Some(2048), batch: pieces, workers: one, ..base }
            }
            Self::Request => Defaults { in_flight: Some(1), ..base },
            Self::Fanout => Defaults {
                in_flight: Some(8192),
                batch: pieces,
                agents: 100,
                copies: true,
                ..base
            },
            Self::Mix => Defaults {
                in_flight: Some(64),
                agents: 10,
                rate: Some(10),
                dir: true,
                count: None,
                ..base
            },
            Self::Latency => Defaults { rate: Some(1_000), workers: one, count: None, ..base },
            Self::Held => Defaults {
                rate: Some(10_000),
                workers: one,
                seconds: Some(60.0),
                count: None,
                ..base
            },
            Self::Delay => Defaults {
                rate: Some(1_000),
                workers: one,
                delay: Some(10),
                count: None,
                ..base
            },
            Self::Failure => Defaults {
                rate: Some(1_000),
                workers: one,
                agents: 10,
                count: None,
                url: false,
                dir: true,
                ..base
            },
            Self::Durable => Defaults {
                in_flight: Some(8192),
                batch: pieces,
                workers: one,
                dir: true,
                ..base
            },
            Self::DurableAccept => Defaults { in_flight: Some(1), dir: true, ..base },
            Self::Recovery | Self::Waiting => Defaults {
                seconds: None,
                count: Some(1_000_000),
                senders: None,
                url: false,
                dir: true,
                ..base
            },
            Self::AgentsUp => Defaults {
                in_flight: Some(4),
                seconds: None,
                count: None,
                agents: 100,
                senders: None,
                ..base
            },
            Self::Chatter => Defaults {
                seconds: Some(60.0),
                count: None,
                agents: 100,
                senders: None,
                rate: Some(10_000),
                ..base
            },
            Self::Idle => Defaults {
                in_flight: Some(64),
                seconds: Some(10.0),
                count: None,
                agents: 10_000,
                senders: None,
                url: false,
                dir: true,
                ..base
            },
            Self::Reconnect => Defaults {
                in_flight: Some(64),
                seconds: None,
                count: None,
                agents: 10_000,
                senders: None,
                url: false,
                dir: true,
                ..base
            },
            Self::Stalled => Defaults {
                seconds: Some(2.0),
                senders: None,
                count: None,
                agents: 1_000,
                rate: Some(10),
                ..base
            },
        }
    }

    /// The rates that it has if none is named, where it has several.
    pub(crate) fn usual_rates(self) -> &'static [u32] {
        if self == Self::Latency { &[100, 1_000, 10_000, 100_000] } else { &[] }
    }

    /// The delays that it has if none is named, where it has several.
    pub(crate) fn usual_delays(self) -> &'static [u32] {
        if self == Self::Delay { &[10, 50, 100] } else { &[] }
    }

    /// Whether its latency ends with the confirmed settlement.
    pub(crate) fn times_settlement(self) -> bool {
        self == Self::Durable
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
            Self::Mix => Box::pin(mix::run(stage)).await,
            Self::Latency | Self::Held | Self::Delay => Box::pin(open::run(stage)).await,
            Self::Failure => Box::pin(failure::run(stage)).await,
            Self::InprocRequest | Self::Request => Box::pin(request::run(stage)).await,
            Self::Durable => Box::pin(flow::durable(stage)).await,
            Self::DurableAccept => Box::pin(accept::run(stage)).await,
            Self::Recovery | Self::Waiting => Box::pin(recovery::run(stage)).await,
            Self::AgentsUp => Box::pin(up::run(stage)).await,
            Self::Chatter => Box::pin(chatter::run(stage)).await,
            Self::Idle => Box::pin(idle::run(stage)).await,
            Self::Reconnect => Box::pin(reconnect::run(stage)).await,
            Self::Stalled => Box::pin(stalled::run(stage)).await,
        }
    }
}
