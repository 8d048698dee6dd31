//! Questions and answers of the unary calls.

use crate::convert::words;
use crate::decode::{
    all, each, id_bytes, message_id, name, optional_id, optional_name, optional_small_text,
    optional_text, required, text,
};
use crate::{DecodeError, v1};
use trunkline_types::{
    AgentFilter, AgentPage, Change, DeadLetter, DeadLetterFilter, DeadLetterPage, InboxAddress,
    TaskFilter, TaskPage, WallTime,
};

impl From<TaskFilter> for v1::ListTasksRequest {
    fn from(filter: TaskFilter) -> Self {
        let TaskFilter { states, skill, agent, context_id, root_id, since, until, .. } = &filter;
        let TaskFilter { changed_since, except, by_change, changed_before, before, limit, .. } =
            filter.clone();
        let states = states.iter().map(|&state| v1::TaskState::from(state).into());
        Self {
            states: states.collect(),
            skill: skill.as_ref().map(ToString::to_string),
            agent: agent.as_ref().map(ToString::to_string),
            context_id: context_id.as_ref().map(ToString::to_string),
            before: before.map(id_bytes),
            limit,
            root_id: root_id.map(id_bytes),
            since_at_ms: since.map(|at| at.0),
            until_at_ms: until.map(|at| at.0),
            changed_since_ms: changed_since.map(|at| at.0),
            except: except.iter().map(ToString::to_string).collect(),
            by_change,
            changed_before: changed_before.map(Into::into),
        }
    }
}

impl From<Change> for v1::TaskChange {
    fn from(Change { at, task }: Change) -> Self {
        Self { at_ms: at.0, task: id_bytes(task) }
    }
}

impl TryFrom<v1::TaskChange> for Change {
    type Error = DecodeError;
    fn try_from(change: v1::TaskChange) -> Result<Self, DecodeError> {
        let task = message_id("task_change.task", &change.task)?;
        Ok(Self { at: WallTime(change.at_ms), task })
    }
}

impl TryFrom<v1::ListTasksRequest> for TaskFilter {
    type Error = DecodeError;
    fn try_from(request: v1::ListTasksRequest) -> Result<Self, DecodeError> {
        let v1::ListTasksRequest {
            states,
            skill,
            agent,
            context_id,
            before,
            limit,
            root_id,
            since_at_ms,
            until_at_ms,
            changed_since_ms,
            except,
            by_change,
            changed_before,
        } = request;
        let state = |state| words::task_state("list_tasks_request.states", state);
        Ok(Self {
            states: states.into_iter().map(state).collect::<Result<_, _>>()?,
            skill: optional_name("list_tasks_request.skill", skill.as_deref())?,
            agent: optional_name("list_tasks_request.agent", agent.as_deref())?,
            context_id: optional_name("list_tasks_request.context_id", context_id.as_deref())?,
            root_id: optional_id("list_tasks_request.root_id", root_id.as_ref())?,
            since: since_at_ms.map(WallTime),
            until: until_at_ms.map(WallTime),
            before: optional_id("list_tasks_request.before", before.as_ref())?,
            limit,
            changed_since: changed_since_ms.map(WallTime),
            except: except
                .iter()
                .map(|agent| name("list_tasks_request.except", agent))
                .collect::<Result<_, _>>()?,
            by_change,
            changed_before: changed_before.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<TaskPage> for v1::ListTasksResponse {
    fn from(TaskPage { tasks, next, next_change, total }: TaskPage) -> Self {
        let next_change = next_change.map(Into::into);
        Self { tasks: each(tasks), next: next.map(id_bytes), next_change, total }
    }
}

impl TryFrom<v1::ListTasksResponse> for TaskPage {
    type Error = DecodeError;
    fn try_from(response: v1::ListTasksResponse) -> Result<Self, DecodeError> {
        let next = optional_id("list_tasks_response.next", response.next.as_ref())?;
        let next_change = response.next_change.map(TryInto::try_into).transpose()?;
        Ok(Self { tasks: all(response.tasks)?, next, next_change, total: response.total })
    }
}

impl From<AgentFilter> for v1::ListAgentsRequest {
    fn from(filter: AgentFilter) -> Self {
        let AgentFilter { id, skill, agent_type, capability, labels, presence, after, limit } =
            filter;
        Self {
            id: id.as_ref().map(ToString::to_string),
            skill: skill.as_ref().map(ToString::to_string),
            after: after.as_ref().map(ToString::to_string),
            limit,
            agent_type: agent_type.map(Into::into),
            capability: capability.map(Into::into),
            labels: each(labels),
            presence: presence.map_or(v1::Presence::Unspecified, Into::into).into(),
        }
    }
}

impl TryFrom<v1::ListAgentsRequest> for AgentFilter {
    type Error = DecodeError;
    fn try_from(request: v1::ListAgentsRequest) -> Result<Self, DecodeError> {
        let v1::ListAgentsRequest {
            id,
            skill,
            after,
            limit,
            agent_type,
            capability,
            labels,
            presence,
        } = request;
        let presence = match presence {
            0 => None,
            presence => Some(words::presence("list_agents_request.presence", presence)?),
        };
        Ok(Self {
            id: optional_name("list_agents_request.id", id.as_deref())?,
            skill: optional_name("list_agents_request.skill", skill.as_deref())?,
            agent_type: optional_small_text("list_agents_request.agent_type", agent_type)?,
            capability: optional_small_text("list_agents_request.capability", capability)?,
            labels: all(labels)?,
            presence,
            after: optional_name("list_agents_request.after", after.as_deref())?,
            limit,
        })
    }
}

impl From<AgentPage> for v1::ListAgentsResponse {
    fn from(AgentPage { agents, next }: AgentPage) -> Self {
        Self { agents: each(agents), next: next.as_ref().map(ToString::to_string) }
    }
}

impl TryFrom<v1::ListAgentsResponse> for AgentPage {
    type Error = DecodeError;
    fn try_from(response: v1::ListAgentsResponse) -> Result<Self, DecodeError> {
        let next = optional_name("list_agents_response.next", response.next.as_deref())?;
        Ok(Self { agents: all(response.agents)?, next })
    }
}

impl From<DeadLetterFilter> for v1::ListDeadLettersRequest {
    fn from(filter: DeadLetterFilter) -> Self {
        let DeadLetterFilter { id, inbox, agent, reason, since, until, before, limit } = filter;
        Self {
            id: id.map(id_bytes),
            inbox: inbox.map(Into::into),
            limit,
            before,
            agent: agent.as_ref().map(ToString::to_string),
            reason,
            since_at_ms: since.map(|at| at.0),
            until_at_ms: until.map(|at| at.0),
        }
    }
}

impl TryFrom<v1::ListDeadLettersRequest> for DeadLetterFilter {
    type Error = DecodeError;
    fn try_from(request: v1::ListDeadLettersRequest) -> Result<Self, DecodeError> {
        Ok(Self {
            id: optional_id("list_dead_letters_request.id", request.id.as_ref())?,
            inbox: request.inbox.map(InboxAddress::try_from).transpose()?,
            agent: optional_name("list_dead_letters_request.agent", request.agent.as_deref())?,
            reason: optional_text("list_dead_letters_request.reason", request.reason)?,
            since: request.since_at_ms.map(WallTime),
            until: request.until_at_ms.map(WallTime),
            before: request.before,
            limit: request.limit,
        })
    }
}

impl From<DeadLetter> for v1::DeadLetter {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { publish, inbox, reason, at, accepted_at, attempts } = letter;
        Self {
            publish: Some((&*publish).into()),
            inbox: Some(inbox.into()),
            reason,
            dead_at_ms: at.0,
            accepted_at_ms: accepted_at.0,
            attempts: each(attempts),
        }
    }
}

impl TryFrom<v1::DeadLetter> for DeadLetter {
    type Error = DecodeError;
    fn try_from(letter: v1::DeadLetter) -> Result<Self, DecodeError> {
        Ok(Self {
            publish: required("dead_letter.publish", letter.publish)?.try_into()?,
            inbox: required("dead_letter.inbox", letter.inbox)?.try_into()?,
            reason: text("dead_letter.reason", letter.reason)?,
            at: WallTime(letter.dead_at_ms),
            accepted_at: WallTime(letter.accepted_at_ms),
            attempts: all(letter.attempts)?,
        })
    }
}

impl From<DeadLetterPage> for v1::ListDeadLettersResponse {
    fn from(DeadLetterPage { letters, next }: DeadLetterPage) -> Self {
        Self { dead_letters: each(letters), next }
    }
}

impl TryFrom<v1::ListDeadLettersResponse> for DeadLetterPage {
    type Error = DecodeError;
    fn try_from(response: v1::ListDeadLettersResponse) -> Result<Self, DecodeError> {
        Ok(Self { letters: all(response.dead_letters)?, next: response.next })
    }
}
