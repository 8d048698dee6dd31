//! What each scenario is run with when nothing else is said.

use super::Scenario;
use crate::settings::Defaults;

/// One at a time.
const ONE: Option<u32> = Some(1);
/// Most messages that a sender hands over in one piece.
const PIECE: Option<u32> = Some(256);

const BASE: Defaults = Defaults {
    in_flight: None,
    payload: 256,
    seconds: Some(5.0),
    count: Some(100_000_000),
    agents: 1,
    topics: false,
    senders: Some(1),
    rate: None,
    batch: None,
    workers: false,
    delay: None,
    copies: false,
    url: true,
    dir: false,
};

impl Scenario {
    /// What a scenario is run with when nothing else is said.
    pub(crate) fn defaults(self) -> Defaults {
        match self {
            Self::Inproc
            | Self::InprocAgents
            | Self::Oneway
            | Self::Fanout
            | Self::FanoutSessions
            | Self::Durable
            | Self::Deep => self.full(),
            Self::InprocRequest => Defaults { in_flight: ONE, url: false, ..BASE },
            Self::Request => Defaults { in_flight: ONE, ..BASE },
            Self::A2a => Defaults { in_flight: ONE, senders: None, ..BASE },
            Self::DurableAccept => Defaults { in_flight: ONE, dir: true, ..BASE },
            Self::Mix
            | Self::Latency
            | Self::Held
            | Self::Delay
            | Self::Failure
            | Self::Soak
            | Self::Chatter
            | Self::Stalled => self.paced(),
            Self::Recovery
            | Self::Waiting
            | Self::Burst
            | Self::AgentsUp
            | Self::Idle
            | Self::Reconnect => self.once(),
        }
    }

    /// Those with a full window. In process it is small enough to stay in the processor's caches;
    /// over gRPC the CPU time per message does not depend on it, and it covers a few turns of the
    /// broker; on disk it covers several flushes.
    fn full(self) -> Defaults {
        let full = Defaults { batch: PIECE, workers: true, ..BASE };
        match self {
            Self::Inproc => Defaults { in_flight: Some(512), topics: true, url: false, ..full },
            Self::InprocAgents => Defaults {
                in_flight: Some(2048),
                agents: 1_000,
                senders: Some(4),
                url: false,
                ..full
            },
            Self::Fanout | Self::FanoutSessions => Defaults {
                in_flight: Some(8192),
                agents: 100,
                workers: false,
                copies: true,
                ..full
            },
            Self::Durable => Defaults { in_flight: Some(8192), dir: true, ..full },
            Self::Deep => Defaults {
                in_flight: Some(100_000),
                seconds: Some(3.0),
                url: false,
                dir: true,
                ..full
            },
            _ => Defaults { in_flight: Some(2048), topics: true, ..full },
        }
    }

    /// Those with a rate.
    fn paced(self) -> Defaults {
        let paced = Defaults { rate: Some(1_000), count: None, ..BASE };
        let many = Defaults { senders: None, ..paced.clone() };
        match self {
            Self::Mix => {
                Defaults { in_flight: Some(64), agents: 10, rate: Some(10), dir: true, ..paced }
            }
            Self::Held => {
                Defaults { rate: Some(10_000), workers: true, seconds: Some(60.0), ..paced }
            }
            Self::Delay => Defaults { workers: true, delay: Some(10), ..paced },
            Self::Failure => Defaults { workers: true, agents: 10, url: false, dir: true, ..paced },
            Self::Soak => Defaults { seconds: Some(1_800.0), ..Self::Failure.paced() },
            Self::Chatter => {
                Defaults { seconds: Some(60.0), agents: 100, rate: Some(10_000), ..many }
            }
            Self::Stalled => Defaults {
                seconds: Some(2.0),
                agents: 1_000,
                rate: Some(10),
                count: Some(2_000),
                url: false,
                dir: true,
                ..many
            },
            _ => Defaults { workers: true, ..paced },
        }
    }

    /// Those that do something once, however long it takes.
    fn once(self) -> Defaults {
        let once = Defaults { seconds: None, count: None, senders: None, ..BASE };
        let own =
            Defaults { in_flight: Some(64), agents: 10_000, url: false, dir: true, ..once.clone() };
        match self {
            Self::AgentsUp => Defaults { in_flight: Some(4), agents: 100, ..once },
            Self::Idle => Defaults { seconds: Some(10.0), ..own },
            Self::Reconnect => own,
            _ => Defaults { count: Some(1_000_000), url: false, dir: true, ..once },
        }
    }
}
