//! Webhooks of a task: set, read, listed, deleted.
//!
//! Each is a task of the broker itself for [`PUSHER`], in a conversation of its own for the task
//! that it tells of. So it is as durable as any task, what cannot be delivered is a dead letter,
//! and to delete it is to call it off. An order that has ended cannot be called off: a later one
//! says that its webhook was deleted, and is kept at least as long.

use super::{Call, Handler};
use crate::check::Checked;
use crate::fault::{Fault, FaultKind};
use crate::push::{Order, PUSHER};
use crate::wire::{
    AuthenticationInfo, DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest, ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse, TaskPushNotificationConfig,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use trunkline_types::session::Operation;
use trunkline_types::{
    AgentId, Answer, ContextId, Destination, Envelope, Kind, MessageId, Payload, Principal,
    Publish, Query, RefusalCode, TaskFilter, TaskState,
};

/// Most webhooks of one task.
const MOST: usize = 32;
/// How often following a task may be taken up again after the broker was killed.
const ATTEMPTS: u32 = 100;
/// The longest id, URL, token or credentials.
const LONGEST: usize = 8 << 10;

/// A webhook that was set.
struct Set {
    by: MessageId,
    state: TaskState,
    order: Order,
}

impl Set {
    /// Whether it was set last, and was not deleted since.
    fn is_set(&self) -> bool {
        self.state != TaskState::Canceled && !self.order.deleted
    }
}

impl Handler {
    /// Sets a webhook; one with the same id is replaced.
    pub(crate) async fn create_push(
        &self,
        call: &Call,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, Fault> {
        config.check()?;
        let who = call.who(&config.tenant)?;
        let target = self.target(&who, call).await?;
        let task = self.visible(&who, &target, &config.task_id, Some(0)).await?;
        self.check_webhook(&config).await?;
        self.set_push((call, &who), task.id, task.last_event, config).await
    }

    /// A webhook that was set.
    pub(crate) async fn get_push(
        &self,
        call: &Call,
        request: GetTaskPushNotificationConfigRequest,
    ) -> Result<TaskPushNotificationConfig, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let task = self.named(call, &who, &request.task_id).await?;
        let found = self.set_for(task).await?.into_iter().find(|set| set.order.id == request.id);
        found.map(|set| shown(set.order)).ok_or_else(|| {
            let id: String = request.id.chars().take(128).collect();
            let message = format!("task {task} has no push notification config '{id}'");
            Fault::new(FaultKind::TaskNotFound, message).with("configId", id)
        })
    }

    /// The webhooks of a task, the oldest first. There are so few that all are on one page.
    pub(crate) async fn list_push(
        &self,
        call: &Call,
        request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let task = self.named(call, &who, &request.task_id).await?;
        let configs = self.set_for(task).await?.into_iter().map(|set| shown(set.order)).collect();
        Ok(ListTaskPushNotificationConfigsResponse { configs, next_page_token: String::new() })
    }

    /// Deletes a webhook. One that is not there is as deleted as can be.
    pub(crate) async fn delete_push(
        &self,
        call: &Call,
        request: DeleteTaskPushNotificationConfigRequest,
    ) -> Result<(), Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let task = self.named(call, &who, &request.task_id).await?;
        let orders = self.orders_for(task).await?;
        let mut named = orders.into_iter().filter(|set| set.order.id == request.id);
        let Some(last) = named.next().filter(Set::is_set) else { return Ok(()) };
        let called_off = self.unset(&last).await?;
        // Of the earlier ones a dead letter may be left, with which one could be set again.
        for earlier in named {
            self.unset(&earlier).await?;
        }
        if !called_off {
            self.order(task, &last.order.deleting()).await?;
        }
        Ok(())
    }

    /// Whether a webhook can be called at all.
    pub(super) async fn check_webhook(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Result<(), Fault> {
        let auth = config.authentication.clone().unwrap_or_default();
        for (field, text) in [
            ("id", &config.id),
            ("url", &config.url),
            ("token", &config.token),
            ("authentication.scheme", &auth.scheme),
            ("authentication.credentials", &auth.credentials),
        ] {
            if text.len() > LONGEST {
                let why = format!("has {} bytes, the limit is {LONGEST}", text.len());
                return Err(Fault::field(field, why));
            }
            // They become headers.
            if text.chars().any(char::is_control) || (field != "id" && !text.is_ascii()) {
                return Err(Fault::field(field, "has a character that a header cannot have"));
            }
        }
        self.gateway.webhook(&config.url).await.map_err(|why| Fault::field("url", why))
    }

    /// Whether a task has this webhook already.
    pub(super) async fn has_push(
        &self,
        task: MessageId,
        config: &TaskPushNotificationConfig,
    ) -> Result<bool, Fault> {
        let is_same = |set: &Set| {
            let Order { id, url, token, .. } = &set.order;
            (url, token) == (&config.url, &config.token)
                && (config.id.is_empty() || *id == config.id)
        };
        Ok(self.set_for(task).await?.iter().any(is_same))
    }

    /// Sets a webhook that may be called, for the events after a number.
    pub(super) async fn set_push(
        &self,
        (call, who): (&Call, &Principal),
        task: MessageId,
        after: u64,
        config: TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, Fault> {
        let known = self.set_for(task).await?;
        let id = match config.id.as_str() {
            "" => self.gateway.next_id().to_string(),
            named => named.to_owned(),
        };
        let (replaced, others): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|set| set.order.id == id);
        if others.len() >= MOST {
            let message = format!("task {task} has {MOST} push notification configs, the limit");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        let auth = config.authentication;
        let order = Order {
            id,
            task: task.to_string(),
            tenant: who.tenant.to_string(),
            url: config.url,
            token: config.token,
            has_authentication: auth.is_some(),
            scheme: auth.as_ref().map(|auth| auth.scheme.clone()).unwrap_or_default(),
            credentials: auth.map(|auth| auth.credentials).unwrap_or_default(),
            after,
            in_03: call.in_03,
            deleted: false,
        };
        self.order(task, &order).await?;
        for set in &replaced {
            self.unset(set).await?;
        }
        Ok(shown(order))
    }

    /// Has an order carried.
    async fn order(&self, task: MessageId, order: &Order) -> Result<(), Fault> {
        let data = serde_json::to_vec(order).expect("an order is made of what JSON has");
        let to = AgentId::new(PUSHER).expect("the name is one");
        let envelope = Envelope {
            context_id: Some(conversation(task)?),
            ..Envelope::new(
                self.gateway.next_id(),
                Kind::Request,
                Destination::Agent(to),
                Payload::new("application/json", data),
            )
        };
        let mut publish = Publish::new(envelope);
        publish.options.task = true;
        publish.options.attempts = Some(ATTEMPTS);
        let ourselves = Principal::default;
        let mut set = self.gateway.publish(ourselves(), Arc::new(publish.clone())).await;
        if set.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::Invalid) {
            // The operator allows fewer.
            publish.options.attempts = None;
            set = self.gateway.publish(ourselves(), Arc::new(publish)).await;
        }
        set?;
        Ok(())
    }

    async fn named(&self, call: &Call, who: &Principal, id: &str) -> Result<MessageId, Fault> {
        let target = self.target(who, call).await?;
        Ok(self.visible(who, &target, id, Some(0)).await?.id)
    }

    /// Sees to it that an order tells nothing any more; says whether it was called off, and had
    /// not ended before.
    async fn unset(&self, set: &Set) -> Result<bool, Fault> {
        let ourselves = Principal::default;
        if !set.state.is_terminal() {
            let reason = "deleted by its owner".to_owned();
            let operation = Operation::Cancel { id: set.by, reason, descendants: false };
            match self.gateway.operate(ourselves(), operation).await {
                // It has ended just now.
                Err(refusal) if refusal.code == RefusalCode::WrongState => {}
                done => return Ok(done.map(|()| true)?),
            }
        }
        if set.state != TaskState::Canceled {
            // It could be redriven.
            match self.gateway.operate(ourselves(), Operation::Purge(set.by.into())).await {
                Err(refusal) if refusal.code == RefusalCode::NotFound => {}
                done => done?,
            }
        }
        Ok(false)
    }

    /// The webhooks of a task, the oldest first. One that has told all stays until its task is
    /// forgotten, unless it was deleted.
    async fn set_for(&self, task: MessageId) -> Result<Vec<Set>, Fault> {
        let mut set = self.orders_for(task).await?;
        // An order that was redriven is there twice, and the later one counts.
        let mut seen = BTreeSet::new();
        set.retain(|known: &Set| seen.insert(known.order.id.clone()) && known.is_set());
        set.reverse();
        Ok(set)
    }

    /// Every order for a webhook of a task that is still known, the newest first.
    async fn orders_for(&self, task: MessageId) -> Result<Vec<Set>, Fault> {
        let ourselves = Principal::default;
        let mut filter = TaskFilter {
            context_id: Some(conversation(task)?),
            limit: 1_000,
            ..TaskFilter::default()
        };
        let mut set = Vec::new();
        loop {
            let query = Query::Tasks(filter.clone());
            let Answer::Tasks(page) = self.gateway.query(ourselves(), query).await? else {
                return Err(super::mismatch());
            };
            for found in page.tasks.into_iter().filter(super::is_internal) {
                let whole = self.snapshot(&ourselves(), found.id, None).await?;
                let first = whole.history.messages.first().map(|said| &said.payload);
                if let Some(order) = first.and_then(Order::read) {
                    set.push(Set { by: found.id, state: whole.state, order });
                }
            }
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return Ok(set),
            }
        }
    }
}

/// The conversation of all webhooks of a task.
fn conversation(task: MessageId) -> Result<ContextId, Fault> {
    ContextId::new(format!("{PUSHER}:{task}"))
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))
}

fn shown(order: Order) -> TaskPushNotificationConfig {
    let Order { scheme, credentials, .. } = order;
    TaskPushNotificationConfig {
        id: order.id,
        task_id: order.task,
        url: order.url,
        token: order.token,
        authentication: order
            .has_authentication
            .then_some(AuthenticationInfo { scheme, credentials }),
        ..TaskPushNotificationConfig::default()
    }
}
