//! A scatter-gather ends once, names everybody who was asked, and tells what they said.

use crate::check::{Check, ensure};
use crate::model::{Gathering, Model};
use std::collections::BTreeSet;
use trunkline_types::session::Operation;
use trunkline_types::{
    AgentId, FailureCode, GatherRule, Gathered, GatheredPart, MessageId, Outcome, Payload,
    SessionId,
};

/// Checks what a session is told of its request to several.
pub(crate) fn told(model: &mut Model, session: SessionId, gathered: &Gathered) -> Check {
    let Gathered { request: id, complete, parts } = gathered;
    model.replies.remove(&(session, *id));
    let Some(Gathering { asker, asked, unsure, rule, told, .. }) = model.gatherings.get_mut(id)
    else {
        ensure!(false, "gathering", "answers to {id}, which nobody sent");
        return Ok(());
    };
    ensure!(*asker == session, "gathering", "the answers to {id} go to another session");
    ensure!(!std::mem::replace(told, true), "gathering", "the answers to {id} are told twice");
    let found: Vec<_> = parts.iter().map(|part| &part.agent).collect();
    let sorted = found.windows(2).all(|pair| pair[0] < pair[1]);
    ensure!(sorted, "gathering", "{id} asked {found:?}, not in order");
    let found: BTreeSet<_> = found.into_iter().cloned().collect();
    let right = found.is_subset(asked) && asked.difference(&found).all(|id| unsure.contains(id));
    ensure!(right, "gathering", "{id} asked {found:?} instead of {asked:?}");
    let answers = parts.iter().filter(|part| part.result.is_ok()).count();
    let enough = match *rule {
        GatherRule::First => 1,
        GatherRule::All => parts.len(),
        GatherRule::Quorum(count) => count as usize,
    };
    let right = *complete == (answers >= enough);
    ensure!(right, "gathering", "{id} has {answers} of {enough} answers, complete is {complete}");
    for part in parts {
        if let Ok(payload) = &part.result {
            let said = has_said(model, *id, &part.agent, payload);
            ensure!(said, "gathering", "{} never said {payload:?} to {id}", part.agent);
        }
    }
    if *complete {
        return Ok(());
    }
    // Nobody's answer is left out: whoever completed before the end is among the answers.
    let left_out = |part: &&GatheredPart| {
        part.result.as_ref().is_err_and(|failure| failure.code == FailureCode::LeftOut)
    };
    for part in parts.iter().filter(|part| part.result.is_err() && !left_out(part)) {
        let done = model.completed.contains(&(*id, part.agent.clone()));
        ensure!(!done, "gathering", "{} answered {id}, and is said not to: {part:?}", part.agent);
    }
    Ok(())
}

/// Whether a session of an agent completed the request with these words.
fn has_said(model: &Model, id: MessageId, agent: &AgentId, payload: &Payload) -> bool {
    let own = model.sessions.values().filter(|session| session.agent.as_ref() == Some(agent));
    own.flat_map(|session| session.asked.values()).any(|asked| match &asked.operation {
        Operation::Settle(settle) => {
            let of = model.granted.get(&settle.token).is_some_and(|grant| grant.id == id);
            matches!(&settle.outcome, Outcome::Complete { reply }
                if of && reply.clone().unwrap_or_default() == *payload)
        }
        _ => false,
    })
}
