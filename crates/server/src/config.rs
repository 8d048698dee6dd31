//! What can be set about the edges, and what must hold between the settings.

use crate::BindError;
use crate::proxy::LetPrivate;
use crate::push::Allowed;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;
use trunkline_a2a::SigningKey;
use trunkline_proto::FRAME_BYTES;
use trunkline_types::{AgentId, Limits};

/// The port that clients try when nothing else is said.
const PORT: u16 = 7420;

/// What a frame with the largest payload has besides it: the rest of a usual envelope.
const BESIDES: usize = 16 << 10;

/// The settings of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:7420`.
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback although nobody proves who he is, and to believe the
    /// names that callers give themselves there. Default false.
    pub insecure: bool,
    /// Largest gRPC message from a client in bytes, 64 KiB to 16 MiB, which is what the
    /// protocol allows and the default. It must have room for `payload_bytes` and 16 KiB besides.
    pub max_frame_bytes: usize,
    /// Largest payload in bytes that the broker behind the server takes
    /// ([`Limits::payload_bytes`]), which the server itself does not enforce. Default 1 MiB.
    pub payload_bytes: usize,
    /// Most connections at a time, 1 to 1,000,000. One more is closed at once. Default 20,000.
    pub max_connections: usize,
    /// Most streams and calls at a time over one connection, 1 to 1,000,000. Default 1,024.
    pub max_streams: u32,
    /// Most sessions that are welcomed at the same time, 1 to 1,000,000; others wait in the order
    /// in which they came. Default 256.
    pub welcomes: usize,
    /// Most sessions that wait to be welcomed, at most 1,000,000. One more is told to come back in
    /// about a second. Default 20,000.
    pub welcomes_waiting: usize,
    /// Most bytes that may wait for one session whose client does not read, 64 KiB to 64 GiB.
    /// After that its stream is ended. Default 64 MiB.
    pub max_waiting_bytes: usize,
    /// How long a client may take to introduce itself after it opened a stream, 10 ms to 1 hour.
    /// Default 10 s.
    pub hello_deadline: Duration,
    /// Whether clients of `Agent2Agent` are served. Default true.
    pub a2a: bool,
    /// The agent that stands at the root for them; without one the broker does, which routes by
    /// skill. Default none.
    pub a2a_agent: Option<AgentId>,
    /// Where they reach the server, as agent cards say it: an absolute URL. Default `http://` and
    /// the host that a request names.
    pub a2a_url: Option<String>,
    /// Whether version 0.3 of the protocol is spoken besides, which is what clients speak that
    /// say no version. Default true.
    pub a2a_03: bool,
    /// The key that agent cards are signed with. Default none.
    pub a2a_signing_key: Option<SigningKey>,
    /// What webhooks may lead to besides public addresses. Default nothing.
    pub a2a_push_allow: Vec<Allowed>,
    /// How long a webhook may take to answer, 10 ms to 1 hour. Default 10 s.
    pub a2a_push_timeout: Duration,
    /// How often a webhook is called for one event until that is a dead letter, 1 to 1,000, with
    /// pauses from half a second to a minute in between. Default 10.
    pub a2a_push_attempts: u32,
    /// What agents elsewhere may lead to besides public addresses. Default nothing.
    pub a2a_proxy_allow: Vec<Allowed>,
    /// When whoever adds an agent elsewhere may let it be at a private address. Default while the
    /// server listens on loopback.
    pub a2a_proxy_private: LetPrivate,
    /// How long an agent elsewhere may take to answer anything but a message, and how long its
    /// stream may be silent until the task is asked for, 10 ms to 1 hour. Default 30 s.
    pub a2a_proxy_timeout: Duration,
    /// How long to wait at shutdown for held work to end, at most 1 day. Default 10 s.
    pub drain_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            insecure: false,
            max_frame_bytes: FRAME_BYTES,
            payload_bytes: Limits::default().payload_bytes,
            max_connections: 20_000,
            max_streams: 1_024,
            welcomes: 256,
            welcomes_waiting: 20_000,
            max_waiting_bytes: 64 << 20,
            hello_deadline: Duration::from_secs(10),
            a2a: true,
            a2a_agent: None,
            a2a_url: None,
            a2a_03: true,
            a2a_signing_key: None,
            a2a_push_allow: Vec::new(),
            a2a_push_timeout: Duration::from_secs(10),
            a2a_push_attempts: 10,
            a2a_proxy_allow: Vec::new(),
            a2a_proxy_private: LetPrivate::default(),
            a2a_proxy_timeout: Duration::from_secs(30),
            drain_grace: Duration::from_secs(10),
        }
    }
}

impl ServerConfig {
    /// Whether clients may let agents elsewhere be at private addresses.
    pub(crate) fn lets_be_private(&self) -> bool {
        match self.a2a_proxy_private {
            LetPrivate::Loopback => self.listen.ip().is_loopback(),
            LetPrivate::Always => true,
            LetPrivate::Never => false,
        }
    }

    /// Checks what can be checked without a socket.
    pub(crate) fn check(&self) -> Result<(), BindError> {
        if !self.listen.ip().is_loopback() && !self.insecure {
            return Err(BindError::BeyondLoopback { address: self.listen });
        }
        let least_frame = self.payload_bytes.saturating_add(BESIDES).max(64 << 10);
        within("payload_bytes", self.payload_bytes, 0..=FRAME_BYTES - BESIDES)?;
        within("max_frame_bytes", self.max_frame_bytes, least_frame..=FRAME_BYTES)?;
        within("max_waiting_bytes", self.max_waiting_bytes, 64 << 10..=64 << 30)?;
        within("max_connections", self.max_connections, 1..=1_000_000)?;
        within("max_streams", self.max_streams, 1..=1_000_000)?;
        within("welcomes", self.welcomes, 1..=1_000_000)?;
        within("welcomes_waiting", self.welcomes_waiting, 0..=1_000_000)?;
        let patience = Duration::from_millis(10)..=Duration::from_hours(1);
        within("hello_deadline", self.hello_deadline, patience.clone())?;
        within("a2a_push_timeout", self.a2a_push_timeout, patience.clone())?;
        within("a2a_proxy_timeout", self.a2a_proxy_timeout, patience)?;
        within("a2a_push_attempts", self.a2a_push_attempts, 1..=1_000)?;
        if let Some(url) = &self.a2a_url {
            check_url(url)?;
        }
        within("drain_grace", self.drain_grace, Duration::ZERO..=Duration::from_hours(24))
    }
}

/// Checks where clients are told to reach the server.
fn check_url(url: &str) -> Result<(), BindError> {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
    };
    if rest.is_some_and(is_plain) {
        return Ok(());
    }
    let range = "http:// or https:// and a host, without a query".to_owned();
    Err(BindError::Setting { name: "a2a_url", value: format!("'{url}'"), range })
}

fn within<T: Copy + PartialOrd + fmt::Debug>(
    name: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), BindError> {
    if range.contains(&value) {
        return Ok(());
    }
    let range = format!("{:?} to {:?}", range.start(), range.end());
    Err(BindError::Setting { name, value: format!("{value:?}"), range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_permission_and_everything_else_does() {
        assert!(ServerConfig::default().check().is_ok());
        let v6 = ServerConfig { listen: "[::1]:0".parse().unwrap(), ..ServerConfig::default() };
        assert!(v6.check().is_ok());

        let mut open =
            ServerConfig { listen: "0.0.0.0:7420".parse().unwrap(), ..ServerConfig::default() };
        let text = open.check().unwrap_err().to_string();
        assert!(text.contains("0.0.0.0:7420") && text.contains("--insecure"), "{text}");
        open.insecure = true;
        assert!(open.check().is_ok());
    }

    #[test]
    fn clients_open_private_addresses_only_where_they_are_on_the_same_machine() {
        let lets = |listen: &str, a2a_proxy_private| {
            let listen = listen.parse().unwrap();
            ServerConfig { listen, a2a_proxy_private, ..ServerConfig::default() }.lets_be_private()
        };
        for (word, at_home, beyond) in
            [("loopback", true, false), ("always", true, true), ("never", false, false)]
        {
            let word: LetPrivate = word.parse().unwrap();
            assert_eq!(lets("[::1]:1", word), at_home, "{word}");
            assert_eq!(lets("0.0.0.0:1", word), beyond, "{word}");
        }
        assert!("sometimes".parse::<LetPrivate>().is_err());
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_its_range() {
        let good = ServerConfig::default();
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        let second = Duration::from_secs(1);
        for (config, text) in [
            (
                ServerConfig { max_connections: 0, ..good.clone() },
                "max_connections is 0, the range is 1 to 1000000",
            ),
            (
                ServerConfig { max_streams: 1_000_001, ..good.clone() },
                "max_streams is 1000001, the range is 1 to 1000000",
            ),
            (
                ServerConfig { welcomes: 0, ..good.clone() },
                "welcomes is 0, the range is 1 to 1000000",
            ),
            (
                ServerConfig { welcomes_waiting: 1_000_001, ..good.clone() },
                "welcomes_waiting is 1000001, the range is 0 to 1000000",
            ),
            (
                ServerConfig { max_waiting_bytes: 1, ..good.clone() },
                "max_waiting_bytes is 1, the range is 65536 to 68719476736",
            ),
            (
                ServerConfig { hello_deadline: Duration::ZERO, ..good.clone() },
                "hello_deadline is 0ns, the range is 10ms to 3600s",
            ),
            (
                ServerConfig { hello_deadline: hour + second, ..good.clone() },
                "hello_deadline is 3601s, the range is 10ms to 3600s",
            ),
            (
                ServerConfig { drain_grace: day + second, ..good.clone() },
                "drain_grace is 86401s, the range is 0ns to 86400s",
            ),
            (
                ServerConfig { a2a_push_timeout: Duration::ZERO, ..good.clone() },
                "a2a_push_timeout is 0ns, the range is 10ms to 3600s",
            ),
            (
                ServerConfig { a2a_proxy_timeout: Duration::ZERO, ..good.clone() },
                "a2a_proxy_timeout is 0ns, the range is 10ms to 3600s",
            ),
            (
                ServerConfig { a2a_push_attempts: 0, ..good.clone() },
                "a2a_push_attempts is 0, the range is 1 to 1000",
            ),
            (
                ServerConfig { a2a_url: Some("ftp://host".into()), ..good.clone() },
                "a2a_url is 'ftp://host', the range is http:// or https:// and a host, without a \
                 query",
            ),
            (
                ServerConfig { payload_bytes: 16 << 20, ..good.clone() },
                "payload_bytes is 16777216, the range is 0 to 16760832",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_frame_has_room_for_the_largest_payload() {
        let mut config = ServerConfig {
            max_frame_bytes: 1 << 20,
            payload_bytes: 1 << 20,
            ..ServerConfig::default()
        };
        let text = config.check().unwrap_err().to_string();
        assert_eq!(text, "max_frame_bytes is 1048576, the range is 1064960 to 16777216");
        config.payload_bytes = 512 << 10;
        assert!(config.check().is_ok());
        config.max_frame_bytes = 10;
        config.payload_bytes = 1;
        let text = config.check().unwrap_err().to_string();
        assert_eq!(text, "max_frame_bytes is 10, the range is 65536 to 16777216");
    }
}
