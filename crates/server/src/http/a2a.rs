//! A2A behind the port: who calls, and the way from its operations to the broker.

use super::not_found;
use crate::backend::Readiness;
use crate::grpc::{named, watch_task};
use crate::hub::Hub;
use crate::push::check;
use crate::session::More;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use trunkline_a2a::wire::AgentSkill;
use trunkline_a2a::{A2a, A2aConfig, Fault, FaultKind, Gateway, Updates, VIA};
use trunkline_broker::{Broker, BrokerState};
use trunkline_proto::metadata::{PRINCIPAL, TENANT};
use trunkline_proto::status::to_refusal;
use trunkline_types::session::{Accepted, BoxFuture, Operation};
use trunkline_types::{AgentId, Answer, MessageId, Principal, Publish, Query, Refusal, TaskUpdate};

/// What the fallback of the routes needs.
#[derive(Clone)]
pub(crate) struct A2aEdge {
    hub: Arc<Hub>,
    /// `None` if A2A is switched off.
    a2a: Option<A2a>,
}

impl A2aEdge {
    /// A2A in front of the broker of `hub`, as its settings say.
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let settings = &hub.config;
        let a2a = settings.a2a.then(|| {
            let config = A2aConfig {
                agent: settings.a2a_agent.clone(),
                url: settings.a2a_url.clone(),
                body_bytes: body_bytes(settings.payload_bytes),
                earlier: settings.a2a_03,
                signing_key: settings.a2a_signing_key.clone(),
            };
            let a2a = A2a::new(Arc::new(Way(hub.clone())), config);
            hub.pushes.attach(a2a.clone());
            a2a
        });
        Self { hub: hub.clone(), a2a }
    }

    /// Whether a message that comes from another broker may pass this one: it must not have before.
    fn check_way(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let passed = headers.get_all(VIA).iter().filter_map(|via| via.to_str().ok());
        let passed: Vec<&str> = passed.flat_map(|via| via.split(',')).map(str::trim).collect();
        if passed.contains(&self.hub.ident.as_str()) {
            let message = "this is the broker that the message comes from: agents elsewhere that \
                           are called through it lead back to it";
            return Err(Fault::new(FaultKind::Loop, message));
        }
        if passed.len() > MOST_HOPS {
            let message = format!(
                "the message has passed {} brokers, the limit is {MOST_HOPS}",
                passed.len()
            );
            return Err(Fault::new(FaultKind::Loop, message));
        }
        Ok(())
    }

    /// Who calls, unless nobody is let in now.
    fn caller(&self, headers: &HeaderMap) -> Result<Principal, Fault> {
        if self.hub.readiness() == Readiness::Is(BrokerState::Draining) {
            return Err(Broker::draining().into());
        }
        self.check_way(headers)?;
        Ok(acting(headers)?)
    }
}

/// Most brokers that a message may pass.
const MOST_HOPS: usize = 16;

/// Whom the headers of a request name.
pub(super) fn acting(headers: &HeaderMap) -> Result<Principal, Refusal> {
    let value = |name| headers.get(name).map(HeaderValue::as_bytes);
    named(value(PRINCIPAL), value(TENANT))
}

/// Room for a message with the largest payload: its bytes may be written in base64 or as escapes,
/// and the rest of the message comes on top.
const fn body_bytes(payload_bytes: usize) -> usize {
    payload_bytes.saturating_mul(2).saturating_add(64 << 10)
}

/// Answers what no other route takes.
pub(crate) async fn a2a(State(edge): State<A2aEdge>, request: Request) -> Response {
    match &edge.a2a {
        // What is not there is told in the words of whoever asks.
        Some(a2a) if a2a.takes(request.method(), request.uri().path()) || speaks_a2a(&request) => {
            a2a.answer(edge.caller(request.headers()), request).await
        }
        _ => not_found(request).await,
    }
}

/// Whether a request for what is not there comes from a client of A2A: below an agent, or with
/// its version.
fn speaks_a2a(request: &Request) -> bool {
    let headers = request.headers();
    let kind = headers.get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let below = request.uri().path().starts_with("/agents/");
    !is_grpc && (below || headers.contains_key("a2a-version"))
}

/// The way to the broker.
pub(crate) struct Way(pub(crate) Arc<Hub>);

impl Gateway for Way {
    fn query(&self, who: Principal, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move { self.0.connector(who)?.query(query).await })
    }

    fn publish(
        &self,
        who: Principal,
        publish: Arc<Publish>,
    ) -> BoxFuture<'_, Result<Accepted, Refusal>> {
        Box::pin(async move { self.0.calls(who).await?.get()?.publish(publish).await })
    }

    fn operate(&self, who: Principal, operation: Operation) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            match self.0.calls(who).await?.get()?.operate(operation).await? {
                More::Nothing | More::Accepted(_) | More::Canceled(_) => Ok(()),
            }
        })
    }

    fn watch(
        &self,
        who: Principal,
        task: MessageId,
        after: u64,
    ) -> BoxFuture<'_, Result<Updates, Refusal>> {
        Box::pin(async move {
            let connector = self.0.connector(who)?;
            let place = (task, after);
            let news = watch_task::<TaskUpdate>(&self.0, connector.as_ref(), place, None).await?;
            Ok(news.map_err(|status| to_refusal(&status)).boxed())
        })
    }

    fn webhook<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            check(&self.0.config.a2a_push_allow, url)?;
            self.0.pushes.start(&self.0).await
        })
    }

    fn skills(&self, agent: &AgentId) -> Vec<AgentSkill> {
        self.0.proxies.skills(agent)
    }

    fn next_id(&self) -> MessageId {
        self.0.ids.message()
    }
}
