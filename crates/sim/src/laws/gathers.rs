//! A scatter-gather ends once, names everybody who was asked, and tells what they said.

use crate::check::{Check, ensure};
use crate::model::{Gathering, Grant, Model, Session, nanos};
use std::collections::BTreeSet;
use trunkline_types::session::Operation;
use trunkline_types::{
    AgentId, FailureCode, GatherRule, Gathered, GatheredPart, MessageId, Outcome, Payload,
    SessionId, Token,
};

/// Checks what a session is told of its request to several.
pub(crate) fn told(model: &mut Model, session: SessionId, gathered: &Gathered) -> Check {
    let Gathered { request: id, complete, parts } = gathered;
    model.replies.remove(&(session, *id));
    let most = model.rules.gather_agents;
    let Some(Gathering { asker, asked, unsure, rule, told, reply_bytes, .. }) =
        model.gatherings.get_mut(id)
    else {
        ensure!(false, "gathering", "answers to {id}, which nobody sent");
        return Ok(());
    };
    ensure!(*asker == session, "gathering", "the answers to {id} go to another session");
    ensure!(!std::mem::replace(told, true), "gathering", "the answers to {id} are told twice");
    let (reply_bytes, count) = (*reply_bytes, parts.len());
    ensure!(count <= most, "10 bounds", "{id} asked {count} agents, {most} at most");
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
    within_bytes(model, *id, parts, reply_bytes)?;
    if *complete {
        owed_to_the_rest(model, *id, parts);
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

/// Checks that the answers are together no larger than they may be, and that whose answer is left
/// out has given one for which there is no room.
fn within_bytes(model: &Model, id: MessageId, parts: &[GatheredPart], most: u64) -> Check {
    let size = |payload: &Payload| payload.data.len() as u64;
    let bytes: u64 = parts.iter().filter_map(|part| part.result.as_ref().ok()).map(size).sum();
    ensure!(bytes <= most, "10 bounds", "{id} has {bytes} bytes of answers, {most} at most");
    let left_out = |part: &&GatheredPart| {
        part.result.as_ref().is_err_and(|failure| failure.code == FailureCode::LeftOut)
    };
    for GatheredPart { agent, .. } in parts.iter().filter(left_out) {
        let said = words(model, id, agent);
        let largest = said.map(|reply| reply.as_ref().map_or(0, size)).max();
        ensure!(
            largest.is_some_and(|largest| bytes + largest > most),
            "gathering",
            "the {largest:?} bytes that {agent} answered to {id} are left out, {bytes} of {most} came"
        );
    }
    Ok(())
}

/// Whether a request that was refused asks more agents than one may.
pub(super) fn asks_too_many(model: &Model, id: MessageId) -> bool {
    model.gatherings.get(&id).is_some_and(|row| row.asked.len() > model.rules.gather_agents)
}

/// Enough has come: whoever certainly holds the request still is to be told to stop.
fn owed_to_the_rest(model: &mut Model, id: MessageId, parts: &[GatheredPart]) {
    let called_off = |part: &&GatheredPart| {
        part.result.as_ref().is_err_and(|failure| failure.code == FailureCode::Canceled)
    };
    let agents: BTreeSet<_> = parts.iter().filter(called_off).map(|part| &part.agent).collect();
    let certain = |(token, grant): (&Token, &Grant)| {
        let row = model.sessions.get(&grant.session).filter(|row| row.welcomed)?;
        let asked = row.agent.as_ref().is_some_and(|agent| agents.contains(agent));
        let here = row.connection.is_some() && grant.connection == row.connection;
        let runs = model.elapsed(grant.renewed, grant.absent) < nanos(row.lease) / 2;
        let key = (row.id, *token);
        let held = asked && here && runs && !said(row, *token) && !model.stopped.contains(&key);
        // What an earlier life of the broker handed out is forgotten.
        let lives = token.epoch == model.book.epoch;
        (grant.id == id && held && lives).then_some(key)
    };
    let owed: Vec<_> = model.granted.iter().filter_map(certain).collect();
    model.cancels.extend(owed);
}

/// Whether a session has said anything final about a delivery.
fn said(row: &Session, token: Token) -> bool {
    row.asked.values().any(|asked| match &asked.operation {
        Operation::Settle(settle) => settle.token == token && asked.handled,
        _ => false,
    })
}

/// Checks that nobody is handed a request to several that has ended.
pub(crate) fn goes_on(model: &Model, id: MessageId) -> Check {
    let over = model.gatherings.get(&id).is_some_and(|row| row.told);
    ensure!(!over, "gathering", "{id} is delivered after its answers were told");
    Ok(())
}

/// Whether a session of an agent completed the request with these words.
fn has_said(model: &Model, id: MessageId, agent: &AgentId, payload: &Payload) -> bool {
    words(model, id, agent).any(|reply| reply.clone().unwrap_or_default() == *payload)
}

/// With which words sessions of an agent have completed the request.
fn words<'a>(
    model: &'a Model,
    id: MessageId,
    agent: &'a AgentId,
) -> impl Iterator<Item = &'a Option<Payload>> {
    let own = model.sessions.values().filter(move |row| row.agent.as_ref() == Some(agent));
    own.flat_map(|session| session.asked.values()).filter_map(move |asked| {
        let Operation::Settle(settle) = &asked.operation else { return None };
        let of = model.granted.get(&settle.token).is_some_and(|grant| grant.id == id);
        match &settle.outcome {
            Outcome::Complete { reply } if of => Some(reply),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::check::Check;
    use crate::laws::answers::refused;
    use crate::model::Model;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id, publish};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{
        AgentId, Destination, Durability, Failure, FailureCode, Gather, GatherRule, Gathered,
        GatheredPart, Outcome, Payload, Refusal, RefusalCode,
    };

    fn agent(id: &str) -> AgentId {
        AgentId::new(id).expect("a name")
    }

    /// The sender has asked both workers.
    fn asked(rule: GatherRule) -> Scene {
        let mut scene = Scene::new();
        let mut request = publish(1);
        request.envelope.destination = Destination::Agents(vec![agent("a2"), agent("a3")]);
        request.options.gather = Some(Gather::new(rule));
        request.options.durability = Some(Durability::Ephemeral);
        scene.operate(SENDER, Operation::Publish(Arc::new(request)));
        scene
    }

    fn none(id: &str, code: FailureCode) -> GatheredPart {
        let result = Err(Failure { code, reason: String::new() });
        GatheredPart { agent: agent(id), result }
    }

    fn tell(model: &mut Model, complete: bool, parts: &[GatheredPart]) -> Check {
        told(model, SENDER, &Gathered { request: id(1), complete, parts: parts.to_vec() })
    }

    fn nobody() -> [GatheredPart; 2] {
        [none("a2", FailureCode::Expired), none("a3", FailureCode::Expired)]
    }

    #[test]
    fn a_gathering_ends_once_and_for_who_asked() {
        let mut scene = Scene::new();
        broken(tell(&mut scene.model, false, &nobody()), "gathering", "which nobody sent");
        let mut scene = asked(GatherRule::All);
        let gathered = Gathered { request: id(1), complete: false, parts: nobody().to_vec() };
        let check = told(&mut scene.model, WORKERS[0], &gathered);
        broken(check, "gathering", "go to another session");
        assert_eq!(tell(&mut scene.model, false, &nobody()), Ok(()));
        broken(tell(&mut scene.model, false, &nobody()), "gathering", "are told twice");
    }

    #[test]
    fn everybody_who_was_asked_is_named_in_order() {
        let mut scene = asked(GatherRule::All);
        broken(tell(&mut scene.model, false, &nobody()[..1]), "gathering", "instead of");
        let mut scene = asked(GatherRule::All);
        let [one, two] = nobody();
        broken(tell(&mut scene.model, false, &[two, one]), "gathering", "not in order");
        let mut scene = asked(GatherRule::All);
        let [one, _] = nobody();
        let wrong = [one, none("a9", FailureCode::Expired)];
        broken(tell(&mut scene.model, false, &wrong), "gathering", "instead of");
    }

    #[test]
    fn it_is_complete_exactly_if_its_rule_says_so() {
        for rule in [GatherRule::First, GatherRule::All, GatherRule::Quorum(1)] {
            let mut scene = asked(rule);
            broken(tell(&mut scene.model, true, &nobody()), "gathering", "0 of");
        }
    }

    #[test]
    fn an_answer_is_what_its_agent_said_and_none_is_left_out() {
        let mut scene = asked(GatherRule::First);
        let said = GatheredPart { agent: agent("a2"), result: Ok(Payload::text("yes")) };
        let parts = [said, none("a3", FailureCode::Canceled)];
        broken(tell(&mut scene.model, true, &parts), "gathering", "never said");
        let mut scene = asked(GatherRule::All);
        scene.model.completed.insert((id(1), agent("a3")));
        broken(tell(&mut scene.model, false, &nobody()), "gathering", "is said not to");
    }

    /// One of the workers has answered, and may have so many bytes of answers.
    fn answered(most: u64) -> Scene {
        let mut scene = asked(GatherRule::All);
        let inbox = trunkline_types::InboxAddress::Agent(agent("a3"));
        let token = crate::model::testing::token(7);
        crate::laws::leases::grant(&mut scene.model, token, id(1), inbox, WORKERS[1], None)
            .expect("a new token");
        scene.settle(WORKERS[1], 7, Outcome::Complete { reply: Some(Payload::text("yes")) });
        scene.model.gatherings.get_mut(&id(1)).expect("it is there").reply_bytes = most;
        scene
    }

    #[test]
    fn answers_are_within_their_bound_and_only_what_exceeds_it_is_left_out() {
        let said = || GatheredPart { agent: agent("a3"), result: Ok(Payload::text("yes")) };
        let [one, _] = nobody();
        let parts = [one.clone(), said()];
        broken(tell(&mut answered(2).model, false, &parts), "10 bounds", "3 bytes of answers");
        assert_eq!(tell(&mut answered(3).model, false, &parts), Ok(()));
        let parts = [one, none("a3", FailureCode::LeftOut)];
        broken(tell(&mut answered(3).model, false, &parts), "gathering", "are left out");
        assert_eq!(tell(&mut answered(2).model, false, &parts), Ok(()), "it was too large");
        let check = tell(&mut asked(GatherRule::All).model, false, &parts);
        broken(check, "gathering", "are left out");
    }

    #[test]
    fn a_request_asks_no_more_agents_than_it_may_and_is_not_refused_before() {
        let refuse = |most| {
            let mut scene = asked(GatherRule::All);
            scene.model.rules.gather_agents = most;
            let refusal = Refusal::new(RefusalCode::TooLarge, "many");
            refused(&mut scene.model, SENDER, 1, &refusal)
        };
        broken(refuse(2), "refusals", "without a reason");
        assert_eq!(refuse(1), Ok(()));
        let mut scene = asked(GatherRule::All);
        scene.model.rules.gather_agents = 1;
        broken(tell(&mut scene.model, false, &nobody()), "10 bounds", "asked 2 agents");
    }

    #[test]
    fn once_enough_have_answered_the_others_are_told_to_stop() {
        let holding = || {
            let mut scene = asked(GatherRule::First);
            for (counter, worker, name) in [(7, WORKERS[0], "a2"), (8, WORKERS[1], "a3")] {
                let inbox = trunkline_types::InboxAddress::Agent(agent(name));
                let token = crate::model::testing::token(counter);
                crate::laws::leases::grant(&mut scene.model, token, id(1), inbox, worker, None)
                    .expect("a new token");
            }
            scene.settle(WORKERS[0], 7, Outcome::Complete { reply: Some(Payload::text("yes")) });
            scene
        };
        let said = GatheredPart { agent: agent("a2"), result: Ok(Payload::text("yes")) };
        let parts = [said, none("a3", FailureCode::Canceled)];
        let owed = (WORKERS[1], crate::model::testing::token(8));
        let mut scene = holding();
        assert_eq!(tell(&mut scene.model, true, &parts), Ok(()));
        assert!(scene.model.cancels.contains(&owed), "and silence will tell");
        broken(super::goes_on(&scene.model, id(1)), "gathering", "after its answers were told");
        let mut scene = holding();
        scene.model.stopped.insert(owed);
        assert_eq!(tell(&mut scene.model, true, &parts), Ok(()));
        assert!(scene.model.cancels.is_empty(), "it was told before");
        let mut scene = holding();
        scene.settle(WORKERS[1], 8, Outcome::Release);
        assert_eq!(tell(&mut scene.model, true, &parts), Ok(()));
        assert!(scene.model.cancels.is_empty(), "it has given it up");
    }

    #[test]
    fn what_was_said_under_the_delivery_counts() {
        let mut scene = asked(GatherRule::First);
        let skill = trunkline_types::InboxAddress::Agent(agent("a2"));
        let token = crate::model::testing::token(7);
        crate::laws::leases::grant(&mut scene.model, token, id(1), skill, WORKERS[0], None)
            .expect("a new token");
        scene.settle(WORKERS[0], 7, Outcome::Complete { reply: Some(Payload::text("yes")) });
        let said = GatheredPart { agent: agent("a2"), result: Ok(Payload::text("yes")) };
        let parts = [said, none("a3", FailureCode::Canceled)];
        assert_eq!(tell(&mut scene.model, true, &parts), Ok(()));
    }
}
