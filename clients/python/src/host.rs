//! A broker in this process or a way to one elsewhere, and everything that is asked of it.

use crate::bridge::Bridge;
use crate::fork::Guarded;
use crate::settings::{parsed, seconds};
use crate::shared::Finish;
use crate::speaker::{self, Speaker};
use crate::streams::{Events, News, Updates};
use crate::{asking, errors, operating, options, payload, runtime, spoken, tuning};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trunkline_agent::{Host as _, Session};
use trunkline_broker::{Broker, BrokerConfig, OpenError};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::session::{Connector, Subscription};
use trunkline_types::{Destination, MessageId, Schedule, ScheduleName, TenantId, TopicPattern};

/// See the module.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Host {
    connector: Guarded<Arc<dyn Connector>>,
    /// The broker, if it is in this process.
    broker: Guarded<Option<Broker>>,
    closed: AtomicBool,
}

impl Host {
    /// The way to the broker.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn open(&self, py: Python<'_>) -> PyResult<&Arc<dyn Connector>> {
        if self.closed.load(Ordering::Relaxed) {
            let what = if self.broker.is_some() { "broker" } else { "client" };
            let message = format!("this {what} was closed; make another to go on");
            return Err(errors::of_kind(py, "ClosedError", &message));
        }
        Ok(&self.connector)
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.broker.is_none()
    }

    /// Starts a call over the session that all calls share.
    pub(crate) fn ask<F, W>(&self, py: Python<'_>, bridge: &Bridge, what: F) -> PyResult<Py<PyAny>>
    where
        F: FnOnce(Session) -> W + Send + 'static,
        W: Future<Output = Finish> + Send + 'static,
    {
        let connector = Arc::clone(self.open(py)?);
        bridge.start(py, async move {
            match connector.shared_session().await {
                Ok(session) => what(session).await,
                Err(refusal) => speaker::nothing(Err(refusal)),
            }
        })
    }
}

#[pymethods]
impl Host {
    /// Opens a broker in this process, in memory or in a data directory.
    #[staticmethod]
    fn broker(data: Option<PathBuf>, settings: &Bound<'_, PyDict>) -> PyResult<Self> {
        let py = settings.py();
        let runtime = runtime::get(py)?;
        let mut config = data.map_or_else(BrokerConfig::ephemeral, BrokerConfig::durable);
        tuning::apply(&mut config, settings)?;
        let opened = py.detach(|| runtime.block_on(Broker::open(config)));
        let broker = opened.map_err(|error| match error {
            OpenError::Setting(_) => errors::invalid(py, error),
            error => errors::of_kind(py, "OpenError", &error.to_string()),
        })?;
        let connector: Arc<dyn Connector> = Arc::new(broker.clone());
        Ok(Self {
            connector: Guarded::new(connector),
            broker: Guarded::new(Some(broker)),
            closed: AtomicBool::new(false),
        })
    }

    /// Makes a way to a broker elsewhere. Nothing is dialled yet.
    #[staticmethod]
    fn client(
        py: Python<'_>,
        url: &str,
        principal: Option<String>,
        tenant: Option<&str>,
        transport: &str,
    ) -> PyResult<Self> {
        let runtime = runtime::get(py)?.handle();
        let mut config = ClientConfig::new(url);
        config.principal = principal;
        if let Some(tenant) = tenant {
            config.tenant = parsed::<TenantId>(py, tenant)?;
        }
        config.transport = parsed(py, transport)?;
        let client = Client::new(&config).map_err(|refusal| errors::refused(py, &refusal))?;
        let connector: Arc<dyn Connector> =
            Arc::new(client.executor(|session| spoken::drive(session, runtime)));
        Ok(Self {
            connector: Guarded::new(connector),
            broker: Guarded::new(None),
            closed: AtomicBool::new(false),
        })
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Takes nothing more. A broker is shut down in order, its sessions given `grace` seconds.
    fn close(&self, py: Python<'_>, bridge: &Bridge, grace: f64) -> PyResult<Py<PyAny>> {
        let grace = seconds(py, grace)?;
        let first = !self.closed.swap(true, Ordering::Relaxed);
        let (broker, connector) = (self.broker.clone(), Arc::clone(&self.connector));
        bridge.start(py, async move {
            match broker {
                Some(broker) => {
                    // On its own, so that it comes to its end also if nobody waits for it.
                    let drained = tokio::spawn(async move { broker.drain(grace).await });
                    let _ = drained.await;
                }
                None if first => {
                    if let Ok(session) = connector.shared_session().await {
                        session.close();
                    }
                }
                None => {}
            }
            speaker::nothing(Ok(()))
        })
    }

    /// As [`Host::close`] for a broker, for a process that is about to end.
    fn close_now(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = seconds(py, grace)?;
        self.closed.store(true, Ordering::Relaxed);
        let Some(runtime) = runtime::to_end(py)? else { return Ok(()) };
        if let Some(broker) = &*self.broker {
            py.detach(|| runtime.block_on(broker.drain(grace)));
        }
        Ok(())
    }

    /// Puts the clocks of a broker forward by so many seconds.
    fn skip(&self, py: Python<'_>, span: f64) -> PyResult<()> {
        let span = seconds(py, span)?;
        let runtime = runtime::get(py)?;
        if let Some(broker) = &*self.broker {
            py.detach(|| {
                let _entered = runtime.enter();
                broker.skip(span);
            });
        }
        Ok(())
    }

    /// In how many seconds a broker has something to do by itself; `None` for never.
    fn due_in(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let runtime = runtime::get(py)?;
        let due = self.broker.as_ref().and_then(|broker| {
            py.detach(|| {
                let _entered = runtime.enter();
                broker.due_in()
            })
        });
        Ok(due.map(|span| span.as_secs_f64()))
    }

    fn speak(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let host = self.open(data.py())?;
        Speaker::Host(host).speak(bridge, verb, to, data, content_type, said)
    }

    fn speak_all(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        payloads: &Bound<'_, PyList>,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        Speaker::Host(self.open(payloads.py())?).speak_all(bridge, verb, to, payloads, said)
    }

    fn subscribe(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        pattern: &str,
        filter: Option<&str>,
        group: Option<&str>,
        drop_oldest: bool,
    ) -> PyResult<Py<PyAny>> {
        let subscription = subscription(py, pattern, filter, group, drop_oldest)?;
        self.ask(py, bridge, |session| async move {
            speaker::done(session.subscribe_with(subscription).await, |py, events| {
                Events::new(events).into_py_any(py)
            })
        })
    }

    /// What is listed or looked up; see [`asking`].
    fn query(
        &self,
        bridge: &Bridge,
        what: &str,
        wanted: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        asking::query(self, bridge, what, wanted)
    }

    /// What is changed, sent again or deleted; see [`operating`].
    fn operate(
        &self,
        bridge: &Bridge,
        what: &str,
        name: &str,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        operating::operate(self, bridge, what, name, said)
    }

    /// Has something published whenever it is due, and says how the schedule stands.
    #[allow(clippy::too_many_arguments, reason = "they are what Python says by position")]
    fn set_schedule(
        &self,
        bridge: &Bridge,
        name: &str,
        cron: &str,
        zone: &str,
        to: &str,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = data.py();
        let name: ScheduleName = parsed(py, name)?;
        let to: Destination = parsed(py, to)?;
        let payload = payload::taken(data, content_type);
        let publish = options::apply(self.open(py)?.send(to, payload), said)?.into_publish();
        let (cron, zone) = (cron.into(), zone.into());
        let schedule = Schedule { name, cron, zone, publish: Arc::new(publish) };
        self.ask(py, bridge, |session| async move {
            speaker::nothing(session.set_schedule(schedule).await)
        })
    }

    /// Follows the directory.
    fn watch_agents(&self, bridge: &Bridge, wanted: &Bound<'_, PyDict>) -> PyResult<Py<PyAny>> {
        let filter = asking::agent_filter(wanted)?;
        self.ask(wanted.py(), bridge, |session| async move {
            speaker::done(session.watch_agents(filter).await, |py, news| {
                News::new(news).into_py_any(py)
            })
        })
    }

    fn wait(&self, py: Python<'_>, bridge: &Bridge, id: &str) -> PyResult<Py<PyAny>> {
        let id: MessageId = parsed(py, id)?;
        self.ask(py, bridge, move |session| async move { speaker::replied(session.wait(id).await) })
    }

    fn watch(&self, py: Python<'_>, bridge: &Bridge, id: &str, after: u64) -> PyResult<Py<PyAny>> {
        let id: MessageId = parsed(py, id)?;
        self.ask(py, bridge, move |session| async move {
            speaker::done(session.watch(id, after).await, |py, updates| {
                Updates::new(updates).into_py_any(py)
            })
        })
    }

    fn cancel(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        id: &str,
        reason: String,
        descendants: bool,
    ) -> PyResult<Py<PyAny>> {
        let id: MessageId = parsed(py, id)?;
        self.ask(py, bridge, move |session| async move {
            let called_off = if descendants {
                session.cancel_with_descendants(id, reason).await
            } else {
                session.cancel(id, reason).await.map(|()| 1)
            };
            // A bare number would be taken for that of a call.
            speaker::done(called_off, |py, messages| (messages,).into_py_any(py))
        })
    }

    fn continue_task(
        &self,
        bridge: &Bridge,
        id: &str,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
    ) -> PyResult<Py<PyAny>> {
        let py = data.py();
        let id: MessageId = parsed(py, id)?;
        let payload = payload::taken(data, content_type);
        self.ask(py, bridge, move |session| async move {
            speaker::nothing(session.continue_task(id, payload).await)
        })
    }
}

/// A subscription to some events of topics.
pub(crate) fn subscription(
    py: Python<'_>,
    pattern: &str,
    filter: Option<&str>,
    group: Option<&str>,
    drop_oldest: bool,
) -> PyResult<Subscription> {
    let pattern: TopicPattern =
        TopicPattern::new(pattern).map_err(|error| errors::invalid(py, error))?;
    let mut subscription = Subscription::new(pattern);
    if let Some(filter) = filter {
        subscription = subscription.filter(parsed(py, filter)?);
    }
    if let Some(group) = group {
        subscription = subscription.group(parsed(py, group)?);
    }
    Ok(if drop_oldest { subscription.drop_oldest() } else { subscription })
}
