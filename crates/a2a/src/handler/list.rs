//! Listing tasks, latest change first, as the broker lists and counts them.

use super::{Call, Handler, Target, no_agent};
use crate::check::Checked;
use crate::fault::{Fault, FaultKind};
use crate::own_agents;
use crate::task::{is_interrupted, messages_to_ask, own_state, task};
use crate::wire::{self, ListTasksRequest, ListTasksResponse};
use trunkline_types::{
    AgentId, Answer, Change, ContextId, Principal, Query, TaskFilter, TaskPage, TaskSnapshot,
    WallTime,
};

/// How many tasks a page has when nothing is said.
const PAGE: i32 = 50;

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
        let wanted = usize::try_from(page_size).unwrap_or(1);
        let filter = TaskFilter {
            states: own_state(request.status()).into_iter().collect(),
            agent: match &target {
                Target::Agent(agent) => Some(agent.card.id.clone()),
                Target::Gone(id) => Some(id.clone()),
                Target::Broker => None,
            },
            except: own_agents(),
            context_id,
            changed_since: request.status_timestamp_after.map(wire::Timestamp::wall_time),
            by_change: true,
            changed_before: before,
            limit: u32::try_from(wanted).unwrap_or(1),
            ..TaskFilter::default()
        };
        let TaskPage { tasks: page, next_change, total, .. } =
            self.latest(&who, filter, wanted).await?;
        let next_page_token = next_change.map_or_else(String::new, token);
        let mut tasks = Vec::with_capacity(page.len());
        for snapshot in page {
            tasks.push(self.listed(&who, snapshot, &request).await?);
        }
        let total_size = i32::try_from(total.unwrap_or(0)).unwrap_or(i32::MAX);
        if let Target::Gone(id) = &target
            && total_size == 0
            && !self.has_tasks(&who, id).await?
        {
            return Err(no_agent(id));
        }
        Ok(ListTasksResponse { tasks, next_page_token, page_size, total_size })
    }

    /// Whether there is any task of an agent: one without never was there for all that is known.
    async fn has_tasks(&self, who: &Principal, agent: &AgentId) -> Result<bool, Fault> {
        let filter = TaskFilter {
            agent: Some(agent.clone()),
            except: own_agents(),
            by_change: true,
            limit: 1,
            ..TaskFilter::default()
        };
        Ok(!self.latest(who, filter, 1).await?.tasks.is_empty())
    }

    /// As many tasks as are wanted, if there are so many, and how many there are in all. The broker
    /// ends a page early when it had to look at many tasks for it.
    async fn latest(
        &self,
        who: &Principal,
        mut filter: TaskFilter,
        wanted: usize,
    ) -> Result<TaskPage, Fault> {
        let mut all = TaskPage::default();
        loop {
            let query = Query::Tasks(filter.clone());
            let Answer::Tasks(page) = self.gateway.query(who.clone(), query).await? else {
                return Err(super::mismatch());
            };
            all.total = all.total.or(page.total);
            all.tasks.extend(page.tasks);
            all.next_change = page.next_change;
            let left = wanted.saturating_sub(all.tasks.len());
            if left == 0 || page.next_change.is_none() {
                return Ok(all);
            }
            filter.changed_before = page.next_change;
            filter.limit = u32::try_from(left).unwrap_or(1);
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
fn token(Change { at: WallTime(at), task }: Change) -> String {
    format!("{at:x}.{task}")
}

fn read_token(text: &str) -> Result<Change, Fault> {
    let read = || {
        let (at, task) = text.split_once('.')?;
        let at = WallTime(u64::from_str_radix(at, 16).ok()?);
        Some(Change { at, task: task.parse().ok()? })
    };
    read().ok_or_else(|| Fault::field("pageToken", "was not given out by this broker"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{MessageId, Partition};

    #[test]
    fn a_cursor_comes_back_as_it_was_and_others_are_refused() {
        let task = MessageId::from_parts(1, Partition(0), 7);
        let change = Change { at: WallTime(1_761_647_400_042), task };
        assert_eq!(read_token(&token(change)), Ok(change));
        for text in ["x", ".", "1.2", "zz.0192f0c1-2d3e-7abc-8000-00000000002a"] {
            assert!(read_token(text).is_err(), "{text}");
        }
    }
}
