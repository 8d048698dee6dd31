//! How a client behaves.

use std::str::FromStr;
use std::time::Duration;
use trunkline_types::{Refusal, RefusalCode, TenantId};

/// The largest backoff that is taken, a day: what is longer is taken for a mistake in the unit.
const LONGEST_BACKOFF: Duration = Duration::from_hours(24);

/// Most operations of one session that may be unanswered.
const MOST_OUTSTANDING: usize = 1 << 24;

/// What carries a session's frames. Queries always go over gRPC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// Framed if the broker speaks that, else gRPC.
    #[default]
    Auto,
    /// A plain TCP stream: faster, and less memory at the broker.
    Framed,
    /// HTTP/2, which passes through proxies.
    Grpc,
}

impl Transport {
    /// The word used on the command line and in the docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Framed => "framed",
            Self::Grpc => "grpc",
        }
    }
}

impl FromStr for Transport {
    type Err = Refusal;

    fn from_str(word: &str) -> Result<Self, Refusal> {
        match word {
            "auto" => Ok(Self::Auto),
            "framed" => Ok(Self::Framed),
            "grpc" => Ok(Self::Grpc),
            _ => {
                let message = format!("transport '{word}' is none of auto, framed, grpc");
                Err(Refusal::new(RefusalCode::Invalid, message))
            }
        }
    }
}

/// How a client behaves. Make one with [`ClientConfig::new`] and change what should differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientConfig {
    /// Where the broker listens, such as `http://127.0.0.1:7420`.
    pub url: String,
    /// Who to say is speaking, for a broker that takes a caller's word; `None` leaves it to the
    /// broker. Visible ASCII only.
    pub principal: Option<String>,
    /// For which tenant it acts: agents, messages and everything else of other tenants are not
    /// there for it. What it sends is of this tenant. Default `default`.
    pub tenant: TenantId,
    /// What carries a session's frames. Default [`Transport::Auto`].
    pub transport: Transport,
    /// How long one attempt to connect may take, the broker's welcome included, from 1 ms.
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// The bound of the random delay before the first attempt to reconnect, from 1 ms up to
    /// `backoff_max`. Default 100 ms. Each further attempt doubles it.
    pub backoff_min: Duration,
    /// The largest bound that doubling leads to, at most a day. Default 10 s.
    pub backoff_max: Duration,
    /// How many operations of one session may be unanswered; further ones are refused on the
    /// spot with a hint when to try again. Settlements are exempt, because they are bounded by
    /// what the session holds. 1 to 16,777,216, default 65,536. Costs memory for as many envelopes while the
    /// broker is away.
    pub max_outstanding: usize,
}

impl ClientConfig {
    /// The defaults, for a broker at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            principal: None,
            tenant: TenantId::default(),
            transport: Transport::Auto,
            connect_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            max_outstanding: 65_536,
        }
    }

    /// Checks what is no URL and no principal.
    ///
    /// # Errors
    /// A [`Refusal`] with code `invalid` that names the field, its value and its range.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let invalid = |message| Err(Refusal::new(RefusalCode::Invalid, message));
        let Self { connect_timeout, backoff_min, backoff_max, max_outstanding, .. } = self;
        if *connect_timeout < Duration::from_millis(1) {
            return invalid(format!("connect_timeout is {connect_timeout:?}, the least is 1ms"));
        }
        if *backoff_max > LONGEST_BACKOFF {
            return invalid(format!(
                "backoff_max is {backoff_max:?}, the most is {LONGEST_BACKOFF:?}"
            ));
        }
        if *backoff_min < Duration::from_millis(1) || backoff_min > backoff_max {
            return invalid(format!(
                "backoff_min is {backoff_min:?}, the range is 1ms to backoff_max, which is \
                 {backoff_max:?}"
            ));
        }
        if !(1..=MOST_OUTSTANDING).contains(max_outstanding) {
            return invalid(format!(
                "max_outstanding is {max_outstanding}, the range is 1 to {MOST_OUTSTANDING}"
            ));
        }
        Ok(())
    }

    /// The same, over a transport.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The same, for a tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// The same, with a principal.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }
}
