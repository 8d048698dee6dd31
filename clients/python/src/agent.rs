//! An agent whose handlers are in Python.

use crate::bridge::Bridge;
use crate::fork::Guarded;
use crate::handler::PythonHandler;
use crate::host::{self, Host};
use crate::settings::{seconds, unknown};
use crate::shared::Finish;
use crate::speaker::{self, Speaker};
use crate::{errors, figures, runtime, spoken};
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use trunkline_agent::{AgentBuilder, AgentStats, Host as _, Profile, Session};
use trunkline_types::session::Subscription;
use trunkline_types::{JsonSchema, Refusal};

/// Most handlers of an agent that run at once.
const MOST_WORKERS: u32 = 4096;

/// A running agent. Dropping it ends it at once.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Agent {
    line: Guarded<Line>,
}

/// What there is of an agent while it runs.
struct Line {
    session: Session,
    stats: Box<dyn Fn() -> AgentStats + Send + Sync>,
    /// Tells it to finish what it holds and to leave.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    ended: watch::Receiver<Option<Ended>>,
    life: AbortHandle,
}

/// How an agent ended.
#[derive(Clone)]
enum Ended {
    /// It was told to stop, and everything that it held is settled.
    Stopped,
    /// Its session ended.
    Lost(Refusal),
}

/// A handler as Python describes it.
#[derive(FromPyObject)]
struct Description {
    /// `skill`, `event` or `message`.
    kind: String,
    /// Of its skill or topics.
    name: String,
    /// How many times it runs at once.
    concurrency: u32,
    /// The seconds that an attempt may take.
    timeout: Option<f64>,
    /// How many deliveries it has at once, at most.
    batch: u32,
    /// The seconds that fewer than those wait for more.
    linger: Option<f64>,
    /// Of its subscription.
    filter: Option<String>,
    /// Of its subscription.
    group: Option<String>,
}

#[pymethods]
impl Agent {
    /// Starts an agent, whose deliveries come to `bridge` with `number`.
    #[staticmethod]
    fn start(
        py: Python<'_>,
        bridge: &Bridge,
        host: &Host,
        number: u64,
        id: &str,
        card: &Bound<'_, PyDict>,
        handlers: Vec<Description>,
    ) -> PyResult<Py<PyAny>> {
        let mut builder = host.open(py)?.agent(id);
        let profile = if host.is_remote() { Profile::Remote } else { Profile::InProcess };
        builder = builder.profile(profile);
        builder = described(builder, card)?;
        let mut workers: u32 = 0;
        let batches = handlers.iter().any(|handler| handler.batch > 1);
        for (place, described) in handlers.into_iter().enumerate() {
            let Description { kind, name, concurrency, timeout, batch, linger, filter, group } =
                described;
            let handler = PythonHandler {
                bridge: Arc::downgrade(&bridge.shared),
                agent: number,
                place,
                concurrency,
                batch,
                linger: linger.map(|linger| seconds(py, linger)).transpose()?,
                timeout: timeout.map(|timeout| seconds(py, timeout)).transpose()?,
            };
            workers = workers.saturating_add(concurrency);
            builder = match kind.as_str() {
                "skill" => builder.skill(&name, handler),
                "message" => builder.on_message(handler),
                _ => {
                    let (filter, group) = (filter.as_deref(), group.as_deref());
                    let wanted: Subscription = host::subscription(py, &name, filter, group, false)?;
                    builder.on_event_with(wanted, handler)
                }
            };
        }
        // All of them from the beginning: a handler in Python mostly waits, and each that waits
        // has a worker that costs next to nothing.
        let workers = workers.clamp(1, MOST_WORKERS);
        let mut builder = builder.workers(workers..=workers);
        // Whole batches in process are worth a thread of their own, which works while Python does.
        let runtime = runtime::get(py)?.handle();
        if host.is_remote() {
            builder = builder.executor(|worker| spoken::drive(worker, runtime));
        } else if !batches {
            let shared = Arc::downgrade(&bridge.shared);
            builder = builder.executor(move |worker| {
                // A loop that is gone has nobody to run it, and nothing to handle.
                if let Some(shared) = shared.upgrade() {
                    shared.employ(worker, runtime);
                }
            });
        }
        bridge.start(py, async move {
            match builder.start().await {
                Ok(agent) => {
                    let agent = Self::lead(agent);
                    Box::new(move |py: Python<'_>| agent.into_py_any(py)) as Finish
                }
                Err(refusal) => speaker::nothing(Err(refusal)),
            }
        })
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
        Speaker::Agent(&self.line.session).speak(bridge, verb, to, data, content_type, said)
    }

    fn speak_all(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        payloads: &Bound<'_, PyList>,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        Speaker::Agent(&self.line.session).speak_all(bridge, verb, to, payloads, said)
    }

    /// Takes no new work, finishes what it holds, and leaves.
    fn stop(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<Py<PyAny>> {
        let stop = self.line.stop.lock().take();
        if let Some(stop) = stop {
            // One that has ended need not be told.
            let _ = stop.send(());
        }
        self.ended(py, bridge)
    }

    /// Ends at once: what it holds goes back.
    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        let Some(runtime) = runtime::to_end(py)? else { return Ok(()) };
        py.detach(|| {
            let _entered = runtime.enter();
            self.line.session.close();
            self.line.life.abort();
        });
        Ok(())
    }

    /// What it has done and is doing.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        figures::agent(py, &(self.line.stats)())
    }

    /// Waits until it has ended: `None` if it was stopped, else the refusal of its session.
    fn ended(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<Py<PyAny>> {
        let mut ended = self.line.ended.clone();
        bridge.start(py, async move {
            let how = ended.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
            Box::new(move |py: Python<'_>| match how {
                Some(Ended::Lost(refusal)) => {
                    Ok(errors::refused(py, &refusal).into_value(py).into_any())
                }
                // Killed, or stopped.
                Some(Ended::Stopped) | None => Ok(py.None()),
            }) as Finish
        })
    }
}

impl Agent {
    /// Leads an agent to its end. Called within the runtime.
    fn lead(agent: trunkline_agent::Agent) -> Self {
        let session = agent.session().clone();
        let stats = Box::new(agent.figures());
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = watch::channel(None);
        let life = tokio::spawn(async move {
            let lost = tokio::select! {
                refusal = agent.ended() => Some(refusal),
                told = stopped => {
                    // Not told, but dropped: it ends at once.
                    if told.is_err() {
                        return;
                    }
                    None
                }
            };
            let how = if let Some(refusal) = lost {
                Ended::Lost(refusal)
            } else {
                agent.stop().await;
                Ended::Stopped
            };
            end.send_replace(Some(how));
        });
        let (stop, life) = (Mutex::new(Some(stop)), life.abort_handle());
        Self { line: Guarded::new(Line { session, stats, stop, ended, life }) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.life.abort();
    }
}

/// The schemas of a skill, as texts.
type Schemas = (String, Option<String>, Option<String>);

fn described(mut builder: AgentBuilder, card: &Bound<'_, PyDict>) -> PyResult<AgentBuilder> {
    for (name, value) in card.iter() {
        builder = match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "name" => builder.name(value.extract::<String>()?),
            "description" => builder.description(value.extract::<String>()?),
            "region" => builder.region(value.extract::<String>()?),
            "version" => builder.version(value.extract::<String>()?),
            "types" => {
                value.extract::<Vec<String>>()?.into_iter().fold(builder, AgentBuilder::agent_type)
            }
            "capabilities" => {
                value.extract::<Vec<String>>()?.into_iter().fold(builder, AgentBuilder::capability)
            }
            "labels" => value
                .extract::<Vec<(String, String)>>()?
                .into_iter()
                .fold(builder, |builder, (key, value)| builder.label(key, value)),
            "schemas" => value.extract::<Vec<Schemas>>()?.into_iter().try_fold(
                builder,
                |builder, (skill, input, output)| {
                    let read = |of: &str, text: Option<String>| {
                        let read = text.map(JsonSchema::new).transpose();
                        read.map_err(|error| {
                            let message = format!("the {of} of skill '{skill}': {error}");
                            errors::invalid(card.py(), message)
                        })
                    };
                    let (input, output) = (read("input", input)?, read("output", output)?);
                    Ok::<_, PyErr>(builder.schemas(&skill, input, output))
                },
            )?,
            name => return Err(unknown(card.py(), name)),
        };
    }
    Ok(builder)
}
