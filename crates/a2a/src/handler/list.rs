//! Listing tasks, latest change first.
//!
//! The broker lists by age. What changed last is found by looking at every task that a filter
//! fits, a page at a time, keeping no more than one page of the answer; so a list costs as much as
//! there are tasks, and a conversation is the narrowest filter.

use super::{Call, Handler, Target};
use crate::check::Checked;
use crate::fault::{Fault, FaultKind};
use crate::task::{is_interrupted, messages_to_ask, own_state, task};
use crate::wire::{self, ListTasksRequest, ListTasksResponse};
use std::collections::BTreeMap;
use trunkline_types::{
    Answer, ContextId, MessageId, Principal, Query, TaskFilter, TaskSnapshot, WallTime,
};

/// How many tasks a page has when nothing is said.
const PAGE: i32 = 50;

/// A place in the list: when a task changed last, and which one it is.
type Key = (WallTime, MessageId);

impl Handler {
    /// A page of tasks with how many there are in all.
    pub(crate) async fn list(
        &self,
        call: &Call,
        request: ListTasksRequest,
    ) -> Result<ListTasksResponse, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let target = self.target(&who, call).await?;
        let page_size = request.page_size.unwrap_or(PAGE);
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(read_token(token)?),
        };
        let context_id = match request.context_id.as_str() {
            "" => None,
            text => match ContextId::new(text) {
                Ok(context) => Some(context),
                // What cannot be a conversation here has no tasks.
                Err(_) => return Ok(ListTasksResponse { page_size, ..Default::default() }),
            },
        };
        let filter = TaskFilter {
            states: own_state(request.status()).into_iter().collect(),
            agent: match &target {
                Target::Agent(agent) => Some(agent.card.id.clone()),
                Target::Broker => None,
            },
            context_id,
            limit: 1_000,
            ..TaskFilter::default()
        };
        let since = request.status_timestamp_after.map(wire::Timestamp::wall_time);
        let wanted = usize::try_from(page_size).unwrap_or(1);
        let (found, total) = self.latest(&who, filter, since, before, wanted).await?;
        let more = found.len() > wanted;
        let page: Vec<_> = found.into_values().rev().take(wanted).collect();
        let last = page.last().filter(|_| more);
        let next_page_token =
            last.map_or_else(String::new, |task| token((task.updated_at, task.id)));
        let mut tasks = Vec::with_capacity(page.len());
        for snapshot in page {
            tasks.push(self.listed(&who, snapshot, &request).await?);
        }
        let total_size = i32::try_from(total).unwrap_or(i32::MAX);
        Ok(ListTasksResponse { tasks, next_page_token, page_size, total_size })
    }

    /// The tasks that changed last before a place, one more than wanted if there are more, and how
    /// many the filter fits in all.
    async fn latest(
        &self,
        who: &Principal,
        mut filter: TaskFilter,
        since: Option<WallTime>,
        before: Option<Key>,
        wanted: usize,
    ) -> Result<(BTreeMap<Key, TaskSnapshot>, u64), Fault> {
        let mut found = BTreeMap::new();
        let mut total = 0;
        loop {
            let query = Query::Tasks(filter.clone());
            let Answer::Tasks(page) = self.gateway.query(who.clone(), query).await? else {
                return Err(super::mismatch());
            };
            for task in page.tasks {
                if super::is_internal(&task) || since.is_some_and(|since| task.updated_at < since) {
                    continue;
                }
                total += 1;
                let key = (task.updated_at, task.id);
                if before.is_none_or(|before| key < before) {
                    found.insert(key, task);
                }
                if found.len() > wanted + 1 {
                    found.pop_first();
                }
            }
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return Ok((found, total)),
            }
        }
    }

    /// A task as a list shows it: without its messages unless they are asked for. One whose agent
    /// answered with nonsense is shown without that, so that the others are shown at all.
    async fn listed(
        &self,
        who: &Principal,
        mut snapshot: TaskSnapshot,
        request: &ListTasksRequest,
    ) -> Result<wire::Task, Fault> {
        let length = request.history_length.unwrap_or(0);
        if length > 0 || is_interrupted(snapshot.state) {
            let asked = messages_to_ask(Some(length));
            match self.snapshot(who, snapshot.id, asked).await {
                Ok(known) => snapshot = known,
                // Forgotten just now: what the list had of it will do.
                Err(fault) if fault.kind == FaultKind::TaskNotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        let shown = if request.include_artifacts() {
            self.whole(who, &snapshot, Some(length)).await
        } else {
            task(&snapshot, Vec::new(), Some(length))
        };
        shown.or_else(|_nonsense| {
            snapshot.result = None;
            snapshot.history.messages.clear();
            task(&snapshot, Vec::new(), Some(0))
        })
    }
}

/// The cursor behind a place in the list.
fn token((WallTime(at), id): Key) -> String {
    format!("{at:x}.{id}")
}

fn read_token(text: &str) -> Result<Key, Fault> {
    let read = || {
        let (at, id) = text.split_once('.')?;
        Some((WallTime(u64::from_str_radix(at, 16).ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Fault::field("pageToken", "was not given out by this broker"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::Partition;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_others_are_refused() {
        let key = (WallTime(1_761_647_400_042), MessageId::from_parts(1, Partition(0), 7));
        assert_eq!(read_token(&token(key)), Ok(key));
        for text in ["x", ".", "1.2", "zz.0192f0c1-2d3e-7abc-8000-00000000002a"] {
            assert!(read_token(text).is_err(), "{text}");
        }
    }
}
