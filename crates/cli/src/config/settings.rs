//! What can be set, as the crates below take it, and what must hold between settings.

use crate::error::CliError;
use crate::output::units::exact_size;
use std::env;
use std::path::{Path, PathBuf};
use trunkline_broker::BrokerConfig;
use trunkline_server::ServerConfig;

/// What the headers of a protocol or a record may add to the largest envelope, in bytes.
const ENVELOPE_REST: u64 = 64 << 10;
/// What a segment needs besides the longest record.
const SEGMENT_REST: u64 = 12 << 10;

/// Everything that can be set about a broker and its edges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The edges.
    pub(crate) server: ServerConfig,
    /// The broker. Where it keeps its work follows from the two below.
    pub(crate) broker: BrokerConfig,
    /// The data directory, if one was named.
    pub(crate) data: Option<PathBuf>,
    /// Whether everything is kept in memory.
    pub(crate) ephemeral: bool,
}

impl Settings {
    /// The data directory; `None` if everything is kept in memory.
    pub(crate) fn data(&self) -> Result<Option<PathBuf>, CliError> {
        match (&self.data, self.ephemeral) {
            (_, true) => Ok(None),
            (Some(path), false) => Ok(Some(path.clone())),
            (None, false) => default_data().map(Some),
        }
    }

    /// Checks what no setting can say for itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { server, broker: BrokerConfig { engine, log, .. }, .. } = self;
        // What the broker itself would refuse, before it is started.
        trunkline_broker::check(engine, log).map_err(|error| error.to_string())?;
        let limits = &engine.limits;
        let largest = limits.payload_bytes + limits.headers * limits.header_bytes;
        let largest = largest as u64 + ENVELOPE_REST;
        let room = [
            ("server.max_frame_bytes", server.max_frame_bytes as u64, largest),
            ("log.segment_bytes", log.segment_bytes, log.max_body_bytes as u64 + SEGMENT_REST),
        ];
        for (name, value, needed) in room {
            if value < needed {
                return Err(format!(
                    "{name} is {}, but the largest envelope that the limits allow, or the record \
                     it becomes, needs {needed} bytes; raise it, or lower limits.payload_bytes, \
                     limits.headers or log.max_body_bytes",
                    exact_size(value)
                ));
            }
        }
        Ok(())
    }

    /// Checks what a flag of `serve` may still allow.
    pub(super) fn check_listen(&self) -> Result<(), String> {
        let ServerConfig { listen, insecure, .. } = self.server;
        if listen.ip().is_loopback() || insecure {
            return Ok(());
        }
        Err(format!(
            "server.listen is {listen}, beyond loopback, where callers are not authenticated; set \
             server.insecure = true if that is wanted, or listen on 127.0.0.1"
        ))
    }
}

fn default_data() -> Result<PathBuf, CliError> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(Path::new(".local/share"))));
    base.map(|base| base.join("trunkline")).ok_or_else(|| {
        CliError::usage("neither XDG_DATA_HOME nor HOME names a directory; choose one with --data")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together_and_a_frame_too_small_does_not() {
        assert_eq!(Settings::default().check(), Ok(()));
        let mut settings = Settings::default();
        settings.server.max_frame_bytes = 1 << 20;
        let text = settings.check().unwrap_err();
        assert!(text.contains("server.max_frame_bytes is 1MiB"), "{text}");
    }
}
