//! The directory as a session follows it: news that its consumer has not taken yet.

use super::connection::Core;
use super::waiter::{Entry, Waiter};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use tokio::sync::{Notify, oneshot};
use trunkline_types::session::Operation;
use trunkline_types::{AgentFilter, AgentNews, Refusal};

/// How many news wait for a slow consumer before only the latest of each agent is kept.
const BOUND: usize = 1024;

/// See the module.
pub(crate) struct Directory {
    state: Mutex<State>,
    filled: Notify,
}

struct State {
    /// Which agents are followed, once that was asked for.
    filter: Option<AgentFilter>,
    /// News with the number of the snapshot that they follow.
    news: VecDeque<(u64, AgentNews)>,
    /// At how many news the next look for superseded ones is worth it.
    crowded: usize,
    snapshot: u64,
    ended: Option<Refusal>,
}

impl Default for Directory {
    fn default() -> Self {
        let news = VecDeque::new();
        let state = State { filter: None, news, crowded: BOUND, snapshot: 1, ended: None };
        Self { state: Mutex::new(state), filled: Notify::new() }
    }
}

impl Directory {
    /// The next news and the snapshot that they follow; `None` when no more come.
    pub(crate) async fn next(&self) -> Option<(u64, AgentNews)> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state.lock();
                if let Some(news) = state.news.pop_front() {
                    return Some(news);
                }
                if state.ended.is_some() {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Why no more come, once that is so.
    pub(crate) fn ended(&self) -> Option<Refusal> {
        self.state.lock().ended.clone()
    }

    pub(super) fn put(&self, news: AgentNews) {
        let mut state = self.state.lock();
        if state.filter.is_none() {
            return;
        }
        let snapshot = state.snapshot;
        state.news.push_back((snapshot, news));
        if state.news.len() > state.crowded {
            state.keep_latest();
        }
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn close(&self, refusal: &Refusal) {
        self.state.lock().ended.get_or_insert_with(|| refusal.clone());
        self.filled.notify_one();
    }

    /// What was told before the connection was lost is superseded by the snapshot to come.
    pub(super) fn begin_anew(&self) {
        let mut state = self.state.lock();
        state.snapshot += 1;
        state.news.clear();
    }

    fn filter(&self) -> Option<AgentFilter> {
        let state = self.state.lock();
        state.filter.clone().filter(|_| state.ended.is_none())
    }
}

impl State {
    /// Keeps the latest news of each agent, so that they are bounded by the number of agents.
    fn keep_latest(&mut self) {
        let mut seen = HashSet::new();
        let latest = std::mem::take(&mut self.news).into_iter().rev();
        let mut latest: VecDeque<_> =
            latest.filter(|(_, news)| seen.insert(news.agent.card.id.clone())).collect();
        latest.make_contiguous().reverse();
        self.news = latest;
        self.crowded = BOUND.max(2 * self.news.len());
    }
}

impl Core {
    /// Follows the directory.
    ///
    /// # Errors
    /// The broker's refusal, or that the session has ended.
    pub(crate) async fn follow(&self, filter: AgentFilter) -> Result<(), Refusal> {
        self.places(1).await?;
        self.directory.state.lock().filter = Some(filter.clone());
        let (sender, answer) = oneshot::channel();
        let entry = Entry { bounded: true, waiter: Waiter::Done(sender), reply: None };
        self.submit([Operation::WatchAgents(Box::new(filter))], entry)?;
        self.answered(answer).await
    }

    /// Asks again for the directory if it is followed: the broker forgets that with the
    /// connection, whether or not it knows the session.
    pub(super) fn follow_again(&self) {
        let Some(filter) = self.directory.filter() else { return };
        let entry = Entry { bounded: false, waiter: Waiter::Directory, reply: None };
        // A session that has ended has told its consumers so.
        let _ = self.submit([Operation::WatchAgents(Box::new(filter))], entry);
    }
}
