//! Who sends: a client, an agent, or the handler of a delivery.

use crate::bridge::Bridge;
use crate::shared::Finish;
use crate::{errors, options, payload, runtime, settings, values};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::future::Future;
use std::sync::Arc;
use trunkline_agent::{
    Acceptance, BatchOutcome, GatherBuilder, Host as _, MessageBuilder, Reply, RequestBuilder,
    RequestError, SendBuilder, Session, Task,
};
use trunkline_types::session::Connector;
use trunkline_types::{Destination, GatherRule, Gathered, Payload, Publish, Refusal, RefusalCode};

/// See the module.
pub(crate) enum Speaker<'a> {
    /// The session that the calls of a client share.
    Host(&'a Arc<dyn Connector>),
    /// An agent's own session.
    Agent(&'a Session),
    /// A handler at work.
    Task(&'a Task),
}

impl Speaker<'_> {
    /// Sends something and starts the call for what comes of it: by `verb` a request and its
    /// reply, a request to several agents and their answers, a task and its acceptance or its
    /// result, or a message and its acceptance.
    pub(crate) fn speak(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = data.py();
        let to: Destination = settings::parsed(py, to)?;
        let payload = payload::taken(data, content_type);
        let timeout = match verb {
            "request" | "wait" | "gather" => options::taken(said, "timeout")?,
            _ => None,
        };
        let timeout = timeout.map(|timeout| settings::span(&timeout)).transpose()?;
        match verb {
            "request" => {
                let mut request = options::apply(self.request(to, payload), said)?;
                if let Some(span) = timeout {
                    request = request.timeout(span);
                }
                bridge.start(py, async move { replied(request.await) })
            }
            "wait" => {
                let mut send = options::apply(self.send(to, payload), said)?;
                if let Some(span) = timeout {
                    send = send.wait_at_most(span);
                }
                bridge.start(py, async move { replied(send.wait().await) })
            }
            "gather" => {
                let wanted = options::taken(said, "wanted")?;
                let wanted = wanted.map(|wanted| wanted.extract::<u32>()).transpose()?;
                let mut gather = options::apply(self.gather(to, payload), said)?;
                gather = gather.rule(wanted.map_or(GatherRule::All, GatherRule::Quorum));
                if let Some(span) = timeout {
                    gather = gather.timeout(span);
                }
                bridge.start(py, async move { gathered(gather.await) })
            }
            "send" => {
                let send = options::apply(self.send(to, payload), said)?;
                bridge.start(py, async move { accepted(send.await) })
            }
            _ => {
                let kind = options::taken(said, "kind")?;
                let mut message = options::apply(self.tell(to, payload), said)?;
                if let Some(kind) = kind {
                    message = message.kind(settings::text(&kind)?);
                }
                bridge.start(py, async move { accepted(message.await) })
            }
        }
    }

    /// Sends many tasks or messages to one destination and starts the call for what comes of them.
    pub(crate) fn speak_all(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        payloads: &Bound<'_, PyList>,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = payloads.py();
        let to: Destination = settings::parsed(py, to)?;
        let nothing = Payload::default();
        let payloads = payloads.iter().map(|payload| payload::of_pair(&payload));
        let payloads: Vec<Payload> = payloads.collect::<PyResult<_>>()?;
        let publishes = match verb {
            "send" => options::apply(self.send(to, nothing), said)?.into_publishes(payloads),
            _ => options::apply(self.tell(to, nothing), said)?.into_publishes(payloads),
        };
        let sent = self.publishing(publishes);
        // Beside the loop, which may handle what comes of it meanwhile.
        let sent = runtime::get(py)?.spawn(sent);
        bridge.start(py, async move {
            let ended = sent.await.map_err(|_gone| {
                Refusal::new(RefusalCode::Unavailable, "the batch was given up while it was sent")
            });
            done(ended.flatten(), |py, outcome| values::batch_outcome(py, &outcome))
        })
    }

    fn publishing(
        &self,
        publishes: Vec<Arc<Publish>>,
    ) -> impl Future<Output = Result<BatchOutcome, Refusal>> + Send + use<> {
        enum Over {
            Later(Arc<dyn Connector>),
            Session(Session),
            Task(Task),
        }
        let over = match *self {
            Self::Host(host) => Over::Later(Arc::clone(host)),
            Self::Agent(session) => Over::Session(session.clone()),
            Self::Task(task) => Over::Task(task.clone()),
        };
        async move {
            let ticket = match over {
                Over::Later(host) => host.shared_session().await?.publish_batch(publishes).await?,
                Over::Session(session) => session.publish_batch(publishes).await?,
                Over::Task(task) => task.publish_batch(publishes).await?,
            };
            ticket.await
        }
    }

    fn request(&self, to: Destination, payload: Payload) -> RequestBuilder {
        match self {
            Self::Host(host) => host.request(to, payload),
            Self::Agent(session) => session.request(to, payload),
            Self::Task(task) => task.request(to, payload),
        }
    }

    fn send(&self, to: Destination, payload: Payload) -> SendBuilder {
        match self {
            Self::Host(host) => host.send(to, payload),
            Self::Agent(session) => session.send(to, payload),
            Self::Task(task) => task.send(to, payload),
        }
    }

    fn gather(&self, to: Destination, payload: Payload) -> GatherBuilder {
        match self {
            Self::Host(host) => host.gather(to, payload),
            Self::Agent(session) => session.gather(to, payload),
            Self::Task(task) => task.gather(to, payload),
        }
    }

    fn tell(&self, to: Destination, payload: Payload) -> MessageBuilder {
        match self {
            Self::Host(host) => host.tell(to, payload),
            Self::Agent(session) => session.tell(to, payload),
            Self::Task(task) => task.tell(to, payload),
        }
    }
}

/// A reply, or why there is none.
pub(crate) fn replied(result: Result<Reply, RequestError>) -> Finish {
    Box::new(move |py| match result {
        Ok(reply) => values::reply(py, &reply),
        Err(error) => Err(errors::unanswered(py, &error)),
    })
}

fn gathered(result: Result<Gathered, RequestError>) -> Finish {
    Box::new(move |py| match result {
        Ok(gathered) => values::gathered(py, &gathered),
        Err(error) => Err(errors::unanswered(py, &error)),
    })
}

fn accepted(result: Result<Acceptance, Refusal>) -> Finish {
    done(result, |py, acceptance| values::acceptance(py, &acceptance))
}

/// What a call came to, or its refusal.
pub(crate) fn done<T: Send + 'static>(
    result: Result<T, Refusal>,
    value: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> Finish {
    Box::new(move |py| match result {
        Ok(it) => value(py, it),
        Err(refusal) => Err(errors::refused(py, &refusal)),
    })
}

/// That a call is done, or its refusal.
pub(crate) fn nothing(result: Result<(), Refusal>) -> Finish {
    done(result, |py, ()| Ok(py.None()))
}
