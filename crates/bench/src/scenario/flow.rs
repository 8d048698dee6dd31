//! One way with a full window: `inproc`, `inproc-agents`, `oneway`, `fanout` and `durable`.

use super::open::addresses;
use crate::broker::Target;
use crate::load::{
    Checker, Mix, SKILL, Stop, agent_name, described, latency, start_agents, stop_agents,
};
use crate::observe::{Observed, histogram};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Phase, Stage};
use crate::{BenchError, BenchReport, Config, Scenario, disk};
use std::sync::Arc;
use tokio::task::JoinSet;
use trunkline_agent::{Agent, Session};
use trunkline_types::{Destination, Kind, PublishOptions, Topic};

/// What the events of a fan-out are about.
pub(super) const TOPIC: &str = "bench.news";

/// `inproc`, `inproc-agents` and `oneway`: events to agents, in memory.
pub(super) async fn ephemeral(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = match stage.scenario {
        Scenario::Inproc | Scenario::InprocAgents => Target::here().await?,
        _ => stage.remote().await?,
    };
    let host = stage.host(&target);
    let delay = latency();
    let checker = stage.checker(Some(Arc::clone(&delay)), false);
    let (agents, targets) = if let Some(topics) = stage.config.topics {
        about(&stage, &host, &checker, topics).await?
    } else {
        let agents = start_agents(&host, &stage.config, None, &checker).await?;
        (agents, addresses(stage.config.agents)?.into())
    };
    let mix = Mix {
        targets,
        kind: Kind::Event,
        options: PublishOptions::default(),
        batch: stage.config.batch.unwrap_or(1),
        copies: 1,
    };
    let phase = measure(&stage, &target, &host, &mix, || *delay.lock() = histogram()).await?;
    let spread = LatencyMicros::of(&delay.lock());
    let measures = Measures { rate: "settled", latency: "sent until handled" };
    let report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    stop_agents(agents).await;
    Ok(report)
}

/// Agents that share some topics, each subscribed to its own by patterns that match one topic each;
/// and the topics.
async fn about(
    stage: &Stage,
    host: &Observed,
    checker: &Checker,
    topics: u32,
) -> Result<(Vec<Agent>, Arc<[Destination]>), BenchError> {
    let count = stage.config.agents;
    let mut agents = Vec::new();
    for number in 0..count {
        let agent = described(host, &stage.config, &agent_name(number));
        let own = (number..topics).step_by(count as usize);
        let agent = own.fold(agent, |agent, topic| {
            let pattern = format!("bench.{topic}.*");
            match stage.config.take.filter(|take| *take > 1) {
                Some(take) => agent.on_event(&pattern, checker.clone().for_several(take)),
                None => agent.on_event(&pattern, checker.clone()),
            }
        });
        agents.push(agent.start().await.map_err(BenchError::refused("cannot start an agent"))?);
    }
    let topic = |number| Topic::new(format!("bench.{number}.news")).map(Destination::Topic);
    let topics = (0..topics).map(topic).collect::<Result<_, _>>();
    Ok((agents, topics.map_err(|error| BenchError::Load(error.to_string()))?))
}

/// Events of which each goes to as many as there are agents.
pub(super) fn fanned_out(config: &Config) -> Result<Mix, BenchError> {
    let topic = Topic::new(TOPIC).map_err(|error| BenchError::Load(error.to_string()))?;
    Ok(Mix {
        targets: Arc::new([Destination::Topic(topic)]),
        kind: Kind::Event,
        options: PublishOptions::default(),
        batch: config.batch.unwrap_or(1),
        copies: config.agents,
    })
}

/// `fanout`: each event to every agent, in memory.
pub(super) async fn fanout(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let delay = latency();
    let mut agents = Vec::new();
    for number in 0..stage.config.agents {
        let taken = Some(Arc::clone(&delay));
        let checker = Checker { copy: u64::from(number), ..stage.checker(taken, false) };
        let agent = described(&host, &stage.config, &agent_name(number));
        let agent = agent.on_event(TOPIC, checker).start().await;
        agents.push(agent.map_err(BenchError::refused("cannot start an agent"))?);
    }
    let mix = fanned_out(&stage.config)?;
    let phase = measure(&stage, &target, &host, &mix, || *delay.lock() = histogram()).await?;
    let spread = LatencyMicros::of(&delay.lock());
    let measures = Measures { rate: "deliveries settled", latency: "sent until handled" };
    let report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    stop_agents(agents).await;
    Ok(report)
}

/// `durable`: tasks to a skill, on disk before they are accepted and when they are completed.
pub(super) async fn durable(stage: Stage) -> Result<BenchReport, BenchError> {
    let data = stage.data_directory()?;
    let limit = data.as_ref().map(|data| disk::measure(data.path())).transpose()?;
    let target = stage.durable(data.as_ref().map(tempfile::TempDir::path)).await?;
    let host = stage.host(&target);
    let checker = stage.checker(None, false);
    let agents = start_agents(&host, &stage.config, Some(SKILL), &checker).await?;
    let mix = tasks(stage.config.batch.unwrap_or(1))?;
    let phase = measure(&stage, &target, &host, &mix, || drop(stage.flow.take_latency())).await?;
    let spread = stage.flow.take_latency().as_ref().and_then(LatencyMicros::of);
    let measures = Measures {
        rate: "submitted, delivered and completed, synced",
        latency: "submitted until its completion is confirmed",
    };
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    report.disk = limit;
    stop_agents(agents).await;
    Ok(report)
}

/// Tasks for the skill of all agents.
///
/// # Errors
/// Never: the skill is a name.
pub(super) fn tasks(batch: u32) -> Result<Mix, BenchError> {
    let to = Destination::skill(SKILL).map_err(|error| BenchError::Load(error.to_string()))?;
    let options = PublishOptions { task: true, ..PublishOptions::default() };
    Ok(Mix { targets: Arc::new([to]), kind: Kind::Request, options, batch, copies: 1 })
}

/// Warms up, forgets what that measured, and measures.
async fn measure(
    stage: &Stage,
    target: &Target,
    host: &Observed,
    mix: &Mix,
    forget: impl FnOnce(),
) -> Result<Phase, BenchError> {
    let sessions = stage.sessions(host).await?;
    let warm_up = stage.phase(target, async |_: &Meter<'_>| {
        keep_full(stage, &sessions, mix, stage.warm_up()).await
    });
    stage.warmed(&warm_up.await?);
    forget();
    let _progress = stage.progress("measuring");
    stage
        .phase(target, async |_: &Meter<'_>| keep_full(stage, &sessions, mix, stage.stop()).await)
        .await
}

/// Has a sender on each session keep the window full until it is time to stop.
///
/// # Errors
/// A session ends.
pub(super) async fn keep_full(
    stage: &Stage,
    sessions: &[Session],
    mix: &Mix,
    stop: Stop,
) -> Result<(), BenchError> {
    let mut senders = JoinSet::new();
    for mut sender in stage.senders(sessions, mix) {
        let flow = Arc::clone(&stage.flow);
        senders.spawn(async move { sender.keep_full(&flow, stop).await });
    }
    join(senders).await
}

/// Waits for parts of the load.
///
/// # Errors
/// The first part's that fails.
pub(super) async fn join(mut parts: JoinSet<Result<(), BenchError>>) -> Result<(), BenchError> {
    while let Some(ended) = parts.join_next().await {
        ended.map_err(|error| BenchError::Load(error.to_string()))??;
    }
    Ok(())
}
