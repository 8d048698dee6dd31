//! How a client behaves.

use std::time::Duration;

/// How a client behaves. Make one with [`ClientConfig::new`] and change what should differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientConfig {
    /// Where the broker listens, such as `http://127.0.0.1:7420`.
    pub url: String,
    /// Who to say is speaking, for a broker that takes a caller's word; `None` leaves it to the
    /// broker. Visible ASCII only.
    pub principal: Option<String>,
    /// How long one attempt to connect may take, the broker's welcome included. Default 5 s.
    pub connect_timeout: Duration,
    /// The bound of the random delay before the first attempt to reconnect. Default 100 ms. Each
    /// further attempt doubles it.
    pub backoff_min: Duration,
    /// The largest bound that doubling leads to. Default 10 s.
    pub backoff_max: Duration,
    /// How many operations of one session may be unanswered; further ones are refused on the
    /// spot with a hint when to try again. Settlements are exempt, because they are bounded by
    /// what the session holds. Default 65,536. Costs memory for as many envelopes while the
    /// broker is away.
    pub max_outstanding: usize,
}

impl ClientConfig {
    /// The defaults, for a broker at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            principal: None,
            connect_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            max_outstanding: 65_536,
        }
    }

    /// The same, with a principal.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }
}
