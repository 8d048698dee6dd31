//! The consumer of the directory.

use crate::session::Line;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{AgentNews, Refusal};

/// Who is there and what changes, in order. First every agent that is there comes as
/// [`present`](trunkline_types::AgentEvent::Present), then the news. Dropping it stops that.
///
/// When the connection was lost and made anew, a new snapshot comes, which
/// [`AgentWatch::snapshot`] tells: what is not in it is no longer there, although nothing was
/// said of its going. A consumer that falls more than 1,024 news behind gets only the latest of
/// each agent.
pub struct AgentWatch {
    line: Arc<Line>,
    snapshot: u64,
}

impl AgentWatch {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line, snapshot: 1 }
    }

    /// Waits for the next news; `None` when no more come, see [`AgentWatch::ended`].
    pub async fn next(&mut self) -> Option<AgentNews> {
        let (snapshot, news) = self.line.core.directory.next().await?;
        self.snapshot = snapshot;
        Some(news)
    }

    /// To which snapshot the last news belong: 1 for the first, and one more with each that came
    /// because the connection was lost.
    pub fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// Why no more news come, once that is so.
    pub fn ended(&self) -> Option<Refusal> {
        self.line.core.directory.ended()
    }
}

impl fmt::Debug for AgentWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentWatch").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}
