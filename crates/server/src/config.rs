//! What can be set about the edges, and what must hold between the settings.

use crate::BindError;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use trunkline_proto::FRAME_BYTES;

/// The port that clients try when nothing else is said.
const PORT: u16 = 7420;

/// The settings of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:7420`.
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback although nobody proves who he is, and to believe the
    /// names that callers give themselves there. Default false.
    pub insecure: bool,
    /// Largest gRPC message from a client in bytes, 64 KiB to 16 MiB, which is what the
    /// protocol allows and the default. It must have room for the largest payload.
    pub max_frame_bytes: usize,
    /// Most connections at a time, from 1. One more is closed at once. Default 20,000.
    pub max_connections: usize,
    /// Most streams and calls at a time over one connection, from 1. Default 1,024.
    pub max_streams: u32,
    /// Most bytes that may wait for one session whose client does not read, 64 KiB or more. After
    /// that its stream is ended. Default 64 MiB.
    pub max_waiting_bytes: usize,
    /// How long a client may take to introduce itself after it opened a stream. Default 10 s.
    pub hello_deadline: Duration,
    /// How long to wait at shutdown for held work to end. Default 10 s.
    pub drain_grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            insecure: false,
            max_frame_bytes: FRAME_BYTES,
            max_connections: 20_000,
            max_streams: 1_024,
            max_waiting_bytes: 64 << 20,
            hello_deadline: Duration::from_secs(10),
            drain_grace: Duration::from_secs(10),
        }
    }
}

impl ServerConfig {
    /// Checks what can be checked without a socket.
    pub(crate) fn check(&self) -> Result<(), BindError> {
        if !self.listen.ip().is_loopback() && !self.insecure {
            return Err(BindError::BeyondLoopback { address: self.listen });
        }
        let sizes = [
            ("max_frame_bytes", self.max_frame_bytes, 64 << 10, FRAME_BYTES),
            ("max_waiting_bytes", self.max_waiting_bytes, 64 << 10, usize::MAX),
            ("max_connections", self.max_connections, 1, usize::MAX),
            ("max_streams", self.max_streams as usize, 1, usize::MAX),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return Err(BindError::Setting { name, value, least, most });
            }
        }
        Ok(())
    }
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
    fn a_setting_out_of_range_is_named_with_its_range() {
        let config = ServerConfig { max_frame_bytes: 10, ..ServerConfig::default() };
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("max_frame_bytes is 10") && text.contains("65536"), "{text}");
    }
}
