//! Where a round's broker is, how it is started, and how it is asked.

use super::evidence;
use super::fault::Fault;
use super::link::Link;
use super::process::Process;
use super::proxy::Proxy;
use super::round::Plan;
use crate::error::CliError;
use crate::exit::Exit;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trunkline_agent::{Host, Session};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::{MessageId, TaskSnapshot};

/// Small segments, because every start of a broker prepares two, and what must fit into them. A
/// short grace and a short lease, because killed agents do not come back, and a broker that was
/// restarted gives them a lease's time.
const SETTINGS: [(&str, &str); 6] = [
    ("TRUNKLINE_LOG__SEGMENT_BYTES", "4MiB"),
    ("TRUNKLINE_LOG__MAX_BODY_BYTES", "2MiB"),
    ("TRUNKLINE_LOG__RETRY_SPACE_AFTER", "100ms"),
    // Little goes to many at once here, and the largest record must fit a small segment.
    ("TRUNKLINE_BROKER__LOGGED_COPIES", "100"),
    ("TRUNKLINE_BROKER__RESUME_GRACE", "1s"),
    ("TRUNKLINE_BROKER__LEASE", "3s"),
];

/// What makes a broker clean, spill and use its index under the little that is sent here.
const SMALL: [(&str, &str); 7] = [
    ("TRUNKLINE_LOG__SEGMENT_BYTES", "1280KiB"),
    ("TRUNKLINE_LOG__MAX_BODY_BYTES", "1200KiB"),
    ("TRUNKLINE_LIMITS__CARD_SCHEMA_BYTES", "64KiB"),
    ("TRUNKLINE_LOG__CLEAN_MIN_BYTES", "0"),
    ("TRUNKLINE_LOG__CLEAN_PERCENT", "150"),
    ("TRUNKLINE_BROKER__PAYLOAD_MEMORY", "0"),
    ("TRUNKLINE_BROKER__RECENT_TASKS", "10"),
];

/// Where a round's broker is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Its address there.
    pub(super) address: SocketAddr,
    /// What leads there, if it has a network of its own.
    pub(super) link: Option<Arc<Link>>,
}

impl Site {
    /// A place for a broker at a port of this host, or at the same port of a network of its own.
    ///
    /// # Errors
    /// The network cannot be made.
    pub(super) fn new(address: SocketAddr, apart: bool) -> Result<Self, CliError> {
        if !apart {
            return Ok(Self { address, link: None });
        }
        let link = Link::make().map_err(|why| CliError::new(Exit::General, why))?;
        let address = link.address(address.port());
        Ok(Self { address, link: Some(Arc::new(link)) })
    }

    /// A way to the broker that can be disturbed.
    ///
    /// # Errors
    /// There is no port for it, or the network cannot be entered.
    pub(super) async fn proxy(&self) -> Result<Proxy, CliError> {
        let Some(link) = &self.link else { return Proxy::start(self.address).await };
        // Nobody else is in there, so that the port beside the broker's is free.
        let beside = link.address(self.address.port() ^ 1);
        Proxy::start_inside(link.door()?, self.address, beside).await
    }
}

/// Starts a round's broker, which is not ready yet.
///
/// # Errors
/// It cannot be started.
pub(super) fn start(plan: &Plan, site: &Site) -> Result<Process, CliError> {
    let within = site.link.as_ref().map(|link| link.within()).unwrap_or_default();
    Process::start_within(&within, "the broker", &log_path(&plan.directory), |command| {
        command.arg("serve").arg("--listen").arg(site.address.to_string());
        if site.link.is_some() {
            // Nobody reaches that network from outside.
            command.arg("--insecure");
        }
        command.arg("--data").arg(&plan.directory).args(plan.disk.flags());
        if let Some(room) = room_path(plan) {
            command.arg("--room").arg(room);
        }
        if let Some(config) = &plan.config {
            command.arg("--config").arg(config);
        }
        command.envs(SETTINGS);
        if plan.small {
            command.envs(SMALL);
        }
    })
}

/// A client that comes back soon.
///
/// # Errors
/// The address is none.
pub(super) fn client(address: SocketAddr) -> Result<Client, CliError> {
    let config = ClientConfig {
        // A killed broker is back soon, and the load should be too.
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        ..ClientConfig::new(format!("http://{address}"))
    };
    Ok(Client::new(&config)?)
}

/// Every task on record.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn list(client: &Client) -> Result<HashMap<MessageId, TaskSnapshot>, CliError> {
    let session: Session = client.session().await?;
    let listed = evidence::list(&session).await?;
    session.close();
    Ok(listed)
}

/// Where the room of a round's disk is written, if the disk is to run full.
pub(super) fn room_path(plan: &Plan) -> Option<PathBuf> {
    plan.faults.has(Fault::DiskFull).then(|| plan.directory.with_extension("room"))
}

/// Where the processes of a round write what they have to say.
pub(super) fn log_path(directory: &Path) -> PathBuf {
    directory.with_extension("log")
}
