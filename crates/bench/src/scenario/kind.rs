//! What can be measured, with the defaults of each scenario.

use super::{accept, chatter, flow, idle, reconnect, recovery, request, stalled, up};
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
    /// Request and reply in process.
    InprocRequest,
    /// One way over gRPC: sent, handled and settled.
    Oneway,
    /// Request and reply over gRPC.
    Request,
    /// Tasks over gRPC, synced: submitted, delivered and completed on disk.
    Durable,
    /// How long the acceptance of a synced task takes over gRPC.
    DurableAccept,
    /// How long a killed broker takes until it is ready again with a million tasks waiting.
    Recovery,
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
            Self::InprocRequest => "inproc-request",
            Self::Oneway => "oneway",
            Self::Request => "request",
            Self::Durable => "durable",
            Self::DurableAccept => "durable-accept",
            Self::Recovery => "recovery",
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
            url: true,
            dir: false,
        };
        let pieces = Some(256);
        match self {
            Self::Inproc => Defaults { in_flight: Some(512), batch: pieces, url: false, ..base },
            Self::InprocRequest => Defaults { in_flight: Some(1), url: false, ..base },
            Self::Oneway => Defaults { in_flight: Some(2048), batch: pieces, ..base },
            Self::Request => Defaults { in_flight: Some(1), ..base },
            Self::Durable => Defaults { in_flight: Some(8192), batch: pieces, dir: true, ..base },
            Self::DurableAccept => Defaults { in_flight: Some(1), dir: true, ..base },
            Self::Recovery => Defaults {
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
            Self::Inproc | Self::Oneway => Box::pin(flow::ephemeral(stage)).await,
            Self::InprocRequest | Self::Request => Box::pin(request::run(stage)).await,
            Self::Durable => Box::pin(flow::durable(stage)).await,
            Self::DurableAccept => Box::pin(accept::run(stage)).await,
            Self::Recovery => Box::pin(recovery::run(stage)).await,
            Self::AgentsUp => Box::pin(up::run(stage)).await,
            Self::Chatter => Box::pin(chatter::run(stage)).await,
            Self::Idle => Box::pin(idle::run(stage)).await,
            Self::Reconnect => Box::pin(reconnect::run(stage)).await,
            Self::Stalled => Box::pin(stalled::run(stage)).await,
        }
    }
}
