//! Following the directory. A session follows it once, with one filter, so each call has a
//! session of its own.

use super::watch::{Followed, WatchStream};
use crate::hub::Hub;
use std::time::Duration;
use trunkline_proto::v1;
use trunkline_types::session::{Connector, Operation, SessionItem};
use trunkline_types::{AgentFilter, AgentNews, Refusal};

/// The directory, as it is followed.
pub(crate) struct FollowedAgents;

/// Follows the agents that a filter wants, from who is there on.
pub(crate) async fn watch_agents(
    hub: &Hub,
    connector: &dyn Connector,
    filter: AgentFilter,
    time_left: Option<Duration>,
) -> Result<WatchStream<FollowedAgents>, Refusal> {
    let watch = Some(Operation::WatchAgents(Box::new(filter)));
    WatchStream::open(hub, connector, FollowedAgents, watch, time_left).await
}

impl Followed for FollowedAgents {
    type News = AgentNews;
    type Wire = v1::AgentNews;

    fn news(item: SessionItem) -> Option<AgentNews> {
        match item {
            SessionItem::Agent(news) => Some(*news),
            _ => None,
        }
    }

    /// There is no end to it.
    fn is_last(&self, _news: &AgentNews) -> bool {
        false
    }
}
