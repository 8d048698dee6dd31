//! What a webhook is told, and when: in the order of the task's events, each once it has happened.
//!
//! Owns neither a connection nor a clock. Whoever mounts A2A runs the agent [`PUSHER`], which gets
//! an order for each webhook, asks [`A2a::webhook`](crate::A2a::webhook) for what is to be told
//! next, posts it, and keeps the number of what was delivered as the artifact [`SENT`] of the
//! order, so that a restart goes on behind it.

use crate::compat::{self, Form};
use crate::fault::{Fault, FaultKind};
use crate::fold::Fold;
use crate::handler::{Handler, TaskStream};
use crate::wire::{self, StreamResponse, part::Content, stream_response};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use trunkline_types::{MessageId, Payload, Principal, TenantId};

/// The agent that calls webhooks.
pub const PUSHER: &str = "a2a-push";
/// The artifact of an order that says which event was delivered last.
pub const SENT: &str = "sent";

/// What is to be told to a webhook, as the broker keeps it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) tenant: String,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) has_authentication: bool,
    pub(crate) scheme: String,
    pub(crate) credentials: String,
    /// The number of the last event before it was set.
    pub(crate) after: u64,
    /// Whether it was set by a client of version 0.3, which is told the task itself.
    pub(crate) in_03: bool,
    /// Whether it says that the webhook of this id was deleted, and tells nobody anything.
    #[serde(default)]
    pub(crate) deleted: bool,
}

impl Order {
    /// An order, if that is what a payload is.
    pub(crate) fn read(payload: &Payload) -> Option<Self> {
        serde_json::from_slice(&payload.data).ok()
    }

    /// What says that a webhook was deleted whose order has ended and cannot be called off.
    pub(crate) fn deleting(self) -> Self {
        Self {
            url: String::new(),
            token: String::new(),
            has_authentication: false,
            scheme: String::new(),
            credentials: String::new(),
            deleted: true,
            ..self
        }
    }
}

/// One thing that a webhook is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The number of the task's event.
    pub number: u64,
    /// What is posted.
    pub body: String,
}

/// A webhook with what it is still to be told.
pub struct Webhook {
    handler: Arc<Handler>,
    order: Order,
    who: Principal,
    task: MessageId,
    stream: TaskStream,
    /// What a webhook is told that was set after its task had ended.
    ended: Option<Notice>,
    /// The last number that was told.
    told: u64,
}

impl Webhook {
    /// What an order is about, behind what was delivered already by it or the one before it;
    /// `None` if it only says that a webhook was deleted.
    pub(crate) async fn open(
        handler: &Arc<Handler>,
        orders: &[MessageId],
        payload: &Payload,
    ) -> Result<Option<Self>, Fault> {
        let nonsense = || Fault::new(FaultKind::InvalidParams, "this is no order for a webhook");
        let order = Order::read(payload).ok_or_else(nonsense)?;
        if order.deleted {
            return Ok(None);
        }
        let task: MessageId = order.task.parse().map_err(|_no_id| nonsense())?;
        let tenant = TenantId::new(&order.tenant).map_err(|_no_name| nonsense())?;
        let who = Principal { tenant, ..Principal::default() };
        let mut sent = None;
        for &by in orders {
            match delivered(handler, by).await {
                Ok(known) => sent = sent.max(known),
                // An order is forgotten some time after it has ended.
                Err(fault) if fault.kind == FaultKind::TaskNotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        let told = sent.unwrap_or(order.after);
        let snapshot = handler.snapshot(&who, task, None).await?;
        let told = told.min(snapshot.last_event);
        let is_over = snapshot.state.is_terminal() && told == snapshot.last_event;
        let ended = (is_over && sent.is_none()).then_some(snapshot.last_event);
        let stream = handler.told(who.clone(), snapshot, Some(told), None).await?.only_news();
        let mut webhook =
            Self { handler: handler.clone(), order, who, task, stream, ended: None, told };
        if let Some(number) = ended {
            let body = webhook.as_it_stands().await?;
            webhook.ended = Some(Notice { number, body });
        }
        Ok(Some(webhook))
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.order.url
    }

    /// The headers that it wants, besides the media type of the body.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let Order { token, scheme, credentials, .. } = &self.order;
        let kind = if self.order.in_03 { "application/json" } else { "application/a2a+json" };
        let mut headers = vec![("content-type", kind.to_owned())];
        if !token.is_empty() {
            headers.push(("x-a2a-notification-token", token.clone()));
        }
        if !scheme.is_empty() && !credentials.is_empty() {
            headers.push(("authorization", format!("{scheme} {credentials}")));
        }
        headers
    }

    /// What comes next; `None` once the task has ended and that was told.
    ///
    /// # Errors
    /// A [`Fault`]: the task was forgotten, the broker is not there, or the agent said something
    /// that cannot be told.
    pub async fn next(&mut self) -> Option<Result<Notice, Fault>> {
        if let Some(ended) = self.ended.take() {
            return Some(Ok(ended));
        }
        loop {
            let item = match self.stream.next().await? {
                Ok(item) => item,
                Err(fault) => return Some(Err(fault)),
            };
            // Progress is not numbered: it may be missed, and would be told twice.
            let Some(number) = item.number.filter(|number| *number > self.told) else { continue };
            self.told = number;
            let body =
                if self.order.in_03 { self.as_it_stands().await } else { Ok(text(&item.response)) };
            return Some(body.map(|body| Notice { number, body }));
        }
    }

    /// The task itself, as a webhook of either version is told of it.
    async fn as_it_stands(&mut self) -> Result<String, Fault> {
        let snapshot = self.handler.snapshot(&self.who, self.task, None).await?;
        let task = self.handler.whole(&self.who, &snapshot, None).await?;
        Ok(if self.order.in_03 {
            compat::task(Form::Kinds, &task).to_string()
        } else {
            text(&StreamResponse { payload: Some(stream_response::Payload::Task(task)) })
        })
    }
}

fn text(response: &StreamResponse) -> String {
    serde_json::to_string(response).expect("news are made of what JSON has")
}

/// The number of the last event that an order delivered.
async fn delivered(handler: &Handler, by: MessageId) -> Result<Option<u64>, Fault> {
    let ourselves = Principal::default;
    let snapshot = handler.snapshot(&ourselves(), by, Some(0)).await?;
    let mut updates = handler.gateway.watch(ourselves(), by, 0).await?;
    let mut fold = Fold::default();
    while fold.last < snapshot.last_event {
        let Some(update) = updates.next().await else { break };
        fold.take(&update?)?;
    }
    let sent = fold.artifacts.into_iter().find(|artifact| artifact.artifact_id == SENT);
    Ok(sent.and_then(|sent| match sent.parts.into_iter().next_back()?.content {
        Some(Content::Data(wire::Value(number))) => number.as_u64(),
        _ => None,
    }))
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what it is called with: that is a secret.
        f.debug_struct("Webhook").field("task", &self.task).finish_non_exhaustive()
    }
}
