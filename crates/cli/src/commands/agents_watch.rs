//! `agents watch`: who is there, and then what changes.

use super::agents::{is_news, joined, state};
use super::signals::Signals;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output};
use std::collections::HashMap;
use trunkline_agent::AgentWatch;
use trunkline_types::{
    AgentEvent, AgentFilter, AgentId, AgentInfo, AgentNews, BreakerInfo, Refusal, RefusalCode,
};

/// Runs the command.
pub(super) async fn run(
    reach: &Reach,
    filter: AgentFilter,
    count: Option<u64>,
    output: &Output,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let link = Link::new(reach)?;
    let session = link.open().await?;
    let mut watch = session.watch_agents(filter).await?;
    output.note(format_args!("watching the agents at {}", link.url()));
    let result = tokio::select! {
        result = print(&mut watch, count.unwrap_or(u64::MAX), output) => result,
        // Nobody needs to be told that he ended it.
        () = signals.next() => Err(CliError::new(Exit::Interrupted, "")),
    };
    drop(watch);
    session.close();
    link.farewell().await;
    result
}

async fn print(watch: &mut AgentWatch, count: u64, output: &Output) -> Result<(), CliError> {
    let mut snapshot = 1;
    // Who is there as last told, to say what is different; the broker bounds how many it tells of.
    let mut known: HashMap<AgentId, AgentInfo> = HashMap::new();
    for _ in 0..count {
        let Some(news) = watch.next().await else {
            let gone = || Refusal::new(RefusalCode::Unavailable, "the broker ended the session");
            return Err(watch.ended().unwrap_or_else(gone).into());
        };
        if watch.snapshot() != snapshot {
            snapshot = watch.snapshot();
            output.note("note: the connection was lost; who is there is told anew");
        }
        if output.is_json() {
            output.value(&output::agent_news(&news, snapshot))?;
        } else {
            output.line(line(&news, known.get(&news.agent.card.id)))?;
        }
        let AgentNews { event, agent } = news;
        if event == AgentEvent::Gone {
            known.remove(&agent.card.id);
        } else {
            known.insert(agent.card.id.clone(), agent);
        }
    }
    Ok(())
}

fn line(news: &AgentNews, before: Option<&AgentInfo>) -> String {
    let AgentNews { event, agent } = news;
    let skills = joined(agent.card.skills.iter());
    let what = match before {
        Some(before) if *event == AgentEvent::Changed => changes(before, agent),
        _ => String::new(),
    };
    let line = format!("{event:8} {}\t{}\t{skills}\t{what}", agent.card.id, state(agent));
    line.trim_end().to_owned()
}

/// What is different about an agent, apart from its figures.
fn changes(before: &AgentInfo, after: &AgentInfo) -> String {
    let named = |value: String| if value.is_empty() { "none".to_owned() } else { value };
    let both = facts(before).into_iter().zip(facts(after));
    let changed = both.filter_map(|((what, old), (_, new))| {
        (old != new).then(|| format!("{what}: {} -> {}", named(old), named(new)))
    });
    changed.collect::<Vec<_>>().join("; ")
}

/// What news of an agent can be about.
fn facts(agent: &AgentInfo) -> [(&'static str, String); 6] {
    let AgentInfo { card, control, breakers, .. } = agent;
    let labels = card.labels.iter().map(|(key, value)| format!("{key}={value}"));
    // How long a breaker stays open is no change of it.
    let breakers = breakers.iter().filter(|it| is_news(it));
    let breakers = breakers.map(|BreakerInfo { inbox, state, .. }| format!("{inbox} {state}"));
    [
        ("presence", state(agent)),
        ("weight", control.weight.to_string()),
        ("told to drain", if control.draining { "yes" } else { "no" }.to_owned()),
        ("skills", joined(card.skills.iter())),
        ("labels", joined(labels)),
        ("breakers", joined(breakers)),
    ]
}
