//! Messages from a client: they begin a task, or answer what one waits for.

use super::{Call, Handler, Target, no_agent};
use crate::beside::Beside;
use crate::card;
use crate::check::Checked;
use crate::content::{add_metadata, to_payload};
use crate::downstream::PASSED;
use crate::fault::{Fault, FaultKind};
use crate::hash::stable;
use crate::task::{bare_answer, context, is_interrupted, messages_to_ask};
use crate::wire::{self, SendMessageRequest, SendMessageResponse, Struct, send_message_response};
use futures_util::StreamExt;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use trunkline_types::session::Operation;
use trunkline_types::{
    AgentFilter, AgentId, AgentInfo, AgentPage, Answer, ContextId, Destination, Envelope, Headers,
    IdempotencyKey, Kind, MessageId, Payload, Principal, Publish, Query, RefusalCode, Role,
    SkillName, TaskEvent, TaskEventBody, TaskSnapshot, TaskUpdate,
};

/// The header by which an agent learns which skill of its own is wanted.
const SKILL: &str = "a2a-skill";
/// The header with the media types that the client takes.
const OUTPUT_MODES: &str = "a2a-accepted-output-modes";
/// The header with the extensions that the client declares.
const EXTENSIONS: &str = "a2a-extensions";
/// The header with the names of what came as metadata of the request and not of the message, as a
/// list in JSON.
const OF_REQUEST: &str = "a2a-request-metadata";

/// A message that was taken in.
pub(super) struct Sent {
    pub(super) who: Principal,
    /// The task that it began or continued.
    pub(super) task: MessageId,
    /// The number of the last event before it, or before it was sent again.
    pub(super) after: u64,
    /// Whether it was sent again, and its task has ended or waits for another one.
    settled: bool,
}

impl Handler {
    /// Sends a message and waits, unless asked not to, until its task has ended or waits itself.
    pub(crate) async fn send(
        &self,
        call: &Call,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, Fault> {
        use send_message_response::Payload as Told;
        let configuration = request.configuration.clone().unwrap_or_default();
        let sent = self.take_in(call, request).await?;
        if !configuration.return_immediately {
            self.settled(&sent).await?;
        }
        let length = configuration.history_length;
        let snapshot = self.snapshot(&sent.who, sent.task, messages_to_ask(length)).await?;
        let bare = if configuration.return_immediately { None } else { bare_answer(&snapshot)? };
        let payload = match bare {
            Some(message) => Told::Message(message),
            None => Told::Task(self.whole(&sent.who, &snapshot, length).await?),
        };
        Ok(SendMessageResponse { payload: Some(payload) })
    }

    /// Waits until the task of a message has ended, or waits for another one.
    async fn settled(&self, sent: &Sent) -> Result<(), Fault> {
        if sent.settled {
            return Ok(());
        }
        let mut updates = self.gateway.watch(sent.who.clone(), sent.task, sent.after).await?;
        while let Some(update) = updates.next().await {
            if let TaskUpdate::Event(TaskEvent { body, .. }) = update?
                && let TaskEventBody::Status { state, .. } = body
                && (state.is_terminal() || is_interrupted(state))
            {
                break;
            }
        }
        Ok(())
    }

    /// Has a message carried.
    pub(super) async fn take_in(
        &self,
        call: &Call,
        request: SendMessageRequest,
    ) -> Result<Sent, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let target = self.target(&who, call).await?;
        let key = call.idempotency_key.as_ref().map(IdempotencyKey::new).transpose();
        let key = key.map_err(|error| Fault::field("Idempotency-Key", error.to_string()))?;
        let SendMessageRequest { tenant: _, message, configuration, mut metadata } = request;
        let configuration = configuration.unwrap_or_default();
        let push = configuration.task_push_notification_config;
        if let Some(push) = &push {
            self.check_webhook(push).await?;
        }
        let mut message = message.ok_or_else(|| Fault::field("message", "is required"))?;
        if let Target::Agent(agent) = &target {
            takes(agent, call, &message)?;
        }
        // Either place will do; what named the skill has done its work and is not told besides.
        let named = take_skill(&mut metadata)?.or(take_skill(&mut message.metadata)?);
        let of_request = add_metadata(&mut message, metadata);
        if !message.task_id.is_empty() {
            let modes = &configuration.accepted_output_modes;
            let key = key.as_ref().map(IdempotencyKey::as_str);
            let beside = Beside { of_request, ..Beside::new(key, &call.extensions, modes) };
            return self.answer((call, who), &target, (message, beside), push).await;
        }
        let context_id = match message.context_id.as_str() {
            "" => ContextId::new(self.gateway.next_id().to_string()),
            named => ContextId::new(named),
        };
        let context_id =
            context_id.map_err(|error| Fault::field("message.contextId", error.to_string()))?;
        let mut headers = Headers::new();
        let mut add = |name: &str, values: &[String]| {
            if !values.is_empty() {
                headers.push((name.into(), values.join(",").into()));
            }
        };
        add(OUTPUT_MODES, &configuration.accepted_output_modes);
        add(EXTENSIONS, &call.extensions);
        add(PASSED, call.via.as_slice());
        if !of_request.is_empty() {
            add(OF_REQUEST, &[Value::from(of_request).to_string()]);
        }
        let destination = match target {
            Target::Agent(agent) => {
                add(SKILL, named.map(|skill| skill.to_string()).as_slice());
                Destination::Agent(agent.card.id)
            }
            Target::Gone(id) => return Err(no_agent(&id)),
            Target::Broker => {
                let skill = self.skill(&who, named).await?;
                // Whoever of them is free gets it.
                for agent in self.all_agents(&who, Some(&skill)).await? {
                    takes(&agent, call, &message)?;
                }
                Destination::Skill(skill)
            }
        };
        let id = self.gateway.next_id();
        let envelope = Envelope {
            tenant: who.tenant.clone(),
            context_id: Some(context_id),
            idempotency_key: key,
            headers,
            ..Envelope::new(id, Kind::Request, destination, to_payload(message))
        };
        let mut publish = Publish::new(envelope);
        publish.options.task = true;
        let accepted = self.gateway.publish(who.clone(), Arc::new(publish)).await?;
        if let Some(push) = push {
            // Of a message that was sent again its webhook was too, unless that got lost.
            let again = accepted.id != id && self.has_push(accepted.id, &push).await?;
            if !again {
                self.set_push((call, &who), accepted.id, 0, push).await?;
            }
        }
        if accepted.id != id {
            let snapshot = self.snapshot(&who, accepted.id, Some(0)).await?;
            return Ok(Sent::again(who, &snapshot));
        }
        Ok(Sent { who, task: id, after: 0, settled: false })
    }

    /// Answers what a task waits for.
    async fn answer(
        &self,
        (call, who): (&Call, Principal),
        target: &Target,
        (message, beside): (wire::Message, Beside),
        push: Option<wire::TaskPushNotificationConfig>,
    ) -> Result<Sent, Fault> {
        let named = message.task_id.clone();
        let (_turn, messages) = match beside.key {
            Some(_) => (Some(self.answering(&named).lock().await), None),
            None => (None, Some(0)),
        };
        let snapshot = self.visible(&who, target, &named, messages).await?;
        let (task, state) = (snapshot.id, snapshot.state);
        let known = context(task, snapshot.context_id.as_ref());
        if !message.context_id.is_empty() && message.context_id != known {
            let why = format!("is not the context of task {task}, which is '{known}'");
            return Err(Fault::field("message.contextId", why));
        }
        if let (Target::Broker, Some(agent)) = (target, &snapshot.agent)
            && let Some(agent) = self.agent(&who, agent).await?
        {
            takes(&agent, call, &message)?;
        }
        let payload = beside.put_on(to_payload(message))?;
        if let Some(key) = beside.key
            && let Some(before) = with_key(&snapshot, key)
        {
            if *before != payload {
                let message = format!(
                    "task {task} was told something else under this Idempotency-Key; use another \
                     key for another answer"
                );
                return Err(Fault::new(FaultKind::KeyConflict, message));
            }
            if let Some(push) = push
                && !self.has_push(task, &push).await?
            {
                self.set_push((call, &who), task, snapshot.last_event, push).await?;
            }
            return Ok(Sent::again(who, &snapshot));
        }
        let unsupported = |what: String| {
            let message = format!("task {task} takes no message now: {what}");
            Fault::new(FaultKind::UnsupportedOperation, message).with("taskId", task.to_string())
        };
        if !is_interrupted(state) {
            return Err(unsupported(if state.is_terminal() {
                format!("it has ended and is {state}")
            } else {
                format!("it is {state}, and not waiting for input")
            }));
        }
        // Before it goes on, so that nothing of what comes is missed.
        if let Some(push) = push {
            self.set_push((call, &who), task, snapshot.last_event, push).await?;
        }
        match self.gateway.operate(who.clone(), Operation::Continue { task, payload }).await {
            Ok(()) => Ok(Sent { who, task, after: snapshot.last_event, settled: false }),
            Err(refusal) => Err(match refusal.code {
                RefusalCode::WrongState => unsupported(refusal.message),
                RefusalCode::NotFound => Fault::no_task(&named),
                _ => refusal.into(),
            }),
        }
    }

    /// The skill that the broker routes by: the one that is named, or the only one there is.
    async fn skill(&self, who: &Principal, named: Option<SkillName>) -> Result<SkillName, Fault> {
        let offered = self.skills(who).await?;
        if let Some(skill) = named {
            if offered.contains(&skill) {
                return Ok(skill);
            }
            let why = format!("no agent at this broker offers '{skill}'");
            return Err(Fault::field("metadata.skill", why));
        }
        let mut few = offered.iter();
        match (few.next(), few.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => {
                let message = "no agent at this broker offers a skill";
                Err(Fault::new(FaultKind::AgentNotFound, message))
            }
            (Some(_), Some(_)) => {
                let some: Vec<_> = offered.iter().take(16).map(SkillName::as_str).collect();
                let why = format!(
                    "is required here, where {} skills are offered, such as {}; or send to an \
                     agent's own endpoint",
                    offered.len(),
                    some.join(", ")
                );
                Err(Fault::field("metadata.skill", why))
            }
        }
    }

    /// Every skill that an agent offers.
    async fn skills(&self, who: &Principal) -> Result<BTreeSet<SkillName>, Fault> {
        let agents = self.all_agents(who, None).await?;
        Ok(agents.into_iter().flat_map(|agent| agent.card.skills).collect())
    }

    /// Every agent, or every one that offers a skill.
    pub(super) async fn all_agents(
        &self,
        who: &Principal,
        skill: Option<&SkillName>,
    ) -> Result<Vec<AgentInfo>, Fault> {
        let mut filter =
            AgentFilter { skill: skill.cloned(), limit: 1_000, ..AgentFilter::default() };
        let mut all = Vec::new();
        loop {
            let page = self.agents(who, filter.clone()).await?;
            all.extend(page.agents);
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// An agent, if there is one of this id.
    async fn agent(&self, who: &Principal, id: &AgentId) -> Result<Option<AgentInfo>, Fault> {
        let filter = AgentFilter { id: Some(id.clone()), limit: 1, ..AgentFilter::default() };
        Ok(self.agents(who, filter).await?.agents.into_iter().next())
    }

    async fn agents(&self, who: &Principal, filter: AgentFilter) -> Result<AgentPage, Fault> {
        match self.gateway.query(who.clone(), Query::Agents(filter)).await? {
            Answer::Agents(page) => Ok(page),
            _ => Err(super::mismatch()),
        }
    }

    /// What is held while an answer to a task is taken that has a key.
    fn answering(&self, task: &str) -> &tokio::sync::Mutex<()> {
        let place = stable(task.as_bytes()) % self.answering.len() as u64;
        &self.answering[usize::try_from(place).unwrap_or(0)]
    }
}

impl Sent {
    /// A message that was sent again, which did its work the first time.
    fn again(who: Principal, snapshot: &TaskSnapshot) -> Self {
        let TaskSnapshot { id: task, state, last_event: after, .. } = *snapshot;
        Self { who, task, after, settled: state.is_terminal() || is_interrupted(state) }
    }
}

/// What a task was told under a key, as long as it keeps that.
fn with_key(snapshot: &TaskSnapshot, key: u64) -> Option<&Payload> {
    let mut said = snapshot.history.messages.iter().filter(|said| said.role == Role::Caller);
    said.find(|said| Beside::of(&said.payload).key == Some(key)).map(|said| &said.payload)
}

/// Whether an agent takes a message that is sent so.
fn takes(agent: &AgentInfo, call: &Call, message: &wire::Message) -> Result<(), Fault> {
    card::check_extensions(&agent.card, &call.extensions)?;
    card::check_input(&agent.card, message)
}

/// The skill that metadata names, taken out of it.
fn take_skill(metadata: &mut Option<Struct>) -> Result<Option<SkillName>, Fault> {
    let Some(Struct(fields)) = metadata else { return Ok(None) };
    let Some(value) = fields.remove("skill") else { return Ok(None) };
    if fields.is_empty() {
        *metadata = None;
    }
    let text = value.as_str().ok_or_else(|| Fault::field("metadata.skill", "is no text"))?;
    SkillName::new(text)
        .map(Some)
        .map_err(|error| Fault::field("metadata.skill", error.to_string()))
}
