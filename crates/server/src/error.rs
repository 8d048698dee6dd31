//! Why a server cannot start.

use std::io;
use std::net::SocketAddr;

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can be reached from other machines and nobody allowed that.
    #[error(
        "refusing to listen on {address}: it can be reached from other machines, and callers are \
         not authenticated; listen on 127.0.0.1, or add --insecure to allow it"
    )]
    BeyondLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: the port is taken; choose another with --listen, for example \
         --listen {}:0 for a free one", bracketed(.address)
    )]
    PortTaken {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A setting is out of its range.
    #[error("{name} is {value}, the range is {range}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed: the least and the most.
        range: String,
    },
}

impl BindError {
    /// Tells a taken port from other troubles, because only then another port helps.
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::PortTaken { address }
        } else {
            Self::Listen { address, source }
        }
    }
}

/// The host part as it is written before a port.
fn bracketed(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}
