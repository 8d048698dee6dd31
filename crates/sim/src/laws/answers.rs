//! Every operation is answered once for each time it is sent, always alike, and not before what
//! it led to is as durable as promised (law 1). A refusal has a reason.

use super::bounds;
use super::copies;
use super::fading;
use super::family;
use super::following;
use super::gathers;
use super::keys;
use super::mortuary;
use super::nested::{self, Chain};
use super::outside;
use super::schedules;
use super::tasks;
use super::waiting;
use crate::check::{Check, ensure};
use crate::model::{Asked, Fence, Gathering, Model};
use trunkline_types::session::{Accepted, Operation, UpdateBody};
use trunkline_types::{
    Absent, Destination, Durability, Gather, GatherRule, InboxAddress, MessageId, Outcome, Publish,
    Refusal, RefusalCode, SessionId, Token,
};

/// An operation is said to be done.
pub(crate) fn done(
    model: &mut Model,
    session: SessionId,
    number: u64,
    accepted: Option<&Accepted>,
) -> Check {
    let asked = answer(model, session, number)?;
    ensure!(!asked.refused, "answers", "operation {number} is done after it was refused");
    let operation = asked.operation.clone();
    ensure!(
        asked.fence != Fence::Stale,
        "5 fencing",
        "operation {number} is done although its token is stale: {operation:?}"
    );
    let level = level(model, &operation);
    match &operation {
        Operation::Publish(publish) => {
            let id = publish.envelope.id;
            let repeat = accepted.filter(|accepted| accepted.duplicate);
            if let Some(first) = repeat {
                keys::repeated(model, number, &asked, first.id, publish)?;
            } else if level.is_logged() {
                let several = matches!(
                    publish.envelope.destination,
                    Destination::Topic(_) | Destination::All
                ) || publish.absent() == Absent::Discard;
                ensure!(
                    asked.record.is_some() || several,
                    "1 durable",
                    "{id} is accepted, but no record tells of it"
                );
            }
        }
        Operation::Settle(settle) => {
            let wanted = asked.fence == Fence::Good && level.is_logged();
            ensure!(
                asked.record.is_some() || !wanted,
                "1 durable",
                "operation {number} settled {}, but no record tells of it",
                settle.token
            );
        }
        Operation::Cancel { id, descendants: true, .. } => {
            family::all_called_off(model, &asked, *id)?;
        }
        Operation::Cancel { id, .. } => tasks::called_off(model, &asked, *id)?,
        _ => {}
    }
    if let Some(at) = asked.record {
        ensure!(
            model.reached(at, level),
            "1 durable",
            "operation {number} is confirmed before its record {} is {level}: {operation:?}",
            at.0
        );
    }
    if let Operation::Publish(publish) = &operation
        && !level.is_logged()
        && !asked.done
        && publish.options.gather.is_none()
        && accepted.is_none_or(|accepted| accepted.targets == 1)
        && let Some(inbox) = only_inbox(publish)
    {
        bounds::room_for_fleeting(model, &inbox)?;
        outside::admitted(model, Some((session, number)), &[inbox], false)?;
    }
    settle_up(model, session, number, &operation);
    Ok(())
}

/// The inbox of the only one that an envelope goes to.
pub(crate) fn only_inbox(publish: &Publish) -> Option<InboxAddress> {
    match &publish.envelope.destination {
        Destination::Agent(id) => Some(InboxAddress::Agent(id.clone())),
        Destination::Skill(skill) => Some(InboxAddress::Skill(skill.clone())),
        Destination::Agents(_) | Destination::Topic(_) | Destination::All => None,
    }
}

/// An operation is refused.
pub(crate) fn refused(
    model: &mut Model,
    session: SessionId,
    number: u64,
    refusal: &Refusal,
) -> Check {
    if refusal.code == RefusalCode::OutOfOrder {
        let asked = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&number));
        let early = asked.is_some_and(|asked| asked.early);
        ensure!(early, "answers", "operation {number} is refused, but it came in order");
        return Ok(());
    }
    let asked = answer(model, session, number)?;
    // What follows a task is a connection: it is asked for anew over each one.
    let anew = matches!(
        asked.operation,
        Operation::Watch { .. }
            | Operation::Unwatch { .. }
            | Operation::WatchAgents(_)
            | Operation::UnwatchAgents
    );
    ensure!(!asked.done || anew, "answers", "operation {number} is refused after it was done");
    // Called off in an earlier life of the broker: that it is over already, or over and
    // forgotten, says as much.
    let forgotten = asked.recovered
        && matches!(refusal.code, RefusalCode::WrongState | RefusalCode::NotFound)
        && matches!(asked.operation, Operation::Cancel { .. });
    ensure!(
        asked.record.is_none() || forgotten,
        "answers",
        "operation {number} is refused ({refusal}), but a record says it was done: {:?}",
        asked.operation
    );
    let dismissed = model.sessions.get(&session).is_some_and(|session| session.dismissed);
    let orphan =
        dismissed && matches!(asked.operation, Operation::Subscribe(_) | Operation::Unsubscribe(_));
    let right =
        has_reason(model, &asked, refusal.code) || (orphan && refusal.code == RefusalCode::Invalid);
    ensure!(
        right,
        "refusals",
        "operation {number} is refused without a reason ({}: {refusal}): {:?}",
        refusal.code,
        asked.operation
    );
    if let Operation::Watch { task, .. } = &asked.operation {
        following::refused(model, session, *task);
    }
    if let Operation::Publish(publish) = &asked.operation {
        let id = publish.envelope.id;
        model.gatherings.remove(&id);
        model.fleeting.retain(|key, _| key.0 != id);
    }
    if let Some(asked) = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&number)) {
        asked.refused = true;
    }
    Ok(())
}

/// Counts an answer and hands out what is known of its operation.
fn answer(
    model: &mut Model,
    session: SessionId,
    number: u64,
) -> Result<Asked, crate::check::Violation> {
    let asked = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&number));
    let Some(asked) = asked.filter(|asked| asked.handled) else {
        ensure!(false, "answers", "operation {number} is answered, but it was not its turn");
        unreachable!("returned above")
    };
    asked.answers += 1;
    let (answers, copies) = (asked.answers, asked.copies);
    ensure!(
        answers <= copies,
        "answers",
        "operation {number} came {copies} times and is answered for the {answers}th time"
    );
    Ok(asked.clone())
}

/// How durable the record of an operation must be before it is confirmed.
fn level(model: &Model, operation: &Operation) -> Durability {
    let of = |id: MessageId| {
        model.published.get(&id).map_or(Durability::Ephemeral, |publish| publish.durability())
    };
    let of_token = |token: &Token| {
        model.granted.get(token).map_or(Durability::Ephemeral, |grant| of(grant.id))
    };
    match operation {
        Operation::Publish(publish) => publish.durability(),
        Operation::Settle(settle) => of_token(&settle.token),
        Operation::Update(update) => match update.body {
            UpdateBody::Artifact(_) => of_token(&update.token).min(Durability::Buffered),
            UpdateBody::Started | UpdateBody::Progress(_) => Durability::Ephemeral,
        },
        Operation::Cancel { id, .. } | Operation::Continue { task: id, .. } => of(*id),
        Operation::SetAgent { .. }
        | Operation::Unregister { .. }
        | Operation::SetInbox { .. }
        | Operation::Purge(_)
        | Operation::SetSchedule(_)
        | Operation::RemoveSchedule { .. } => Durability::Synced,
        Operation::Redrive(redrive) => of(redrive.letter.id),
        Operation::Subscribe(_)
        | Operation::Unsubscribe(_)
        | Operation::Watch { .. }
        | Operation::Unwatch { .. }
        | Operation::WatchAgents(_)
        | Operation::UnwatchAgents => Durability::Ephemeral,
    }
}

fn settle_up(model: &mut Model, session: SessionId, number: u64, operation: &Operation) {
    if let Some(asked) = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&number)) {
        asked.done = true;
    }
    if let Operation::Settle(settle) = operation
        && matches!(settle.outcome, Outcome::Complete { .. })
        && let Some(grant) = model.granted.get(&settle.token)
        && model.gatherings.get(&grant.id).is_some_and(|row| !row.told)
        && let Some(agent) = model.sessions.get(&session).and_then(|session| session.agent.clone())
    {
        model.completed.insert((grant.id, agent));
    }
    if let Operation::Publish(publish) = operation {
        let id = publish.envelope.id;
        let range = model.fleeting.iter_mut().filter(|(key, _)| key.0 == id);
        for (_, fleeting) in range {
            fleeting.accepted = true;
        }
        // It may have ended before its acceptance was told.
        let connection = model.sessions.get(&session).and_then(|session| session.connection);
        let here = |row: &Gathering| !row.told && row.connection == connection;
        if connection.is_some() && model.gatherings.get(&id).is_some_and(here) {
            model.replies.insert((session, id));
        }
    }
}

/// Whether an envelope may have found its inbox full since it came. Where everything is logged
/// that is certain.
fn full(model: &Model, asked: &Asked, publish: &Publish) -> bool {
    let (inbox, since) = (only_inbox(publish), asked.arrived.map(|arrived| arrived.command));
    match inbox.zip(since).filter(|_| model.pure) {
        Some((inbox, since)) => bounds::was_full(model, &inbox, since),
        None => bounds::are_tight(model),
    }
}

/// Whether a refusal of this class can be right.
fn has_reason(model: &Model, asked: &Asked, code: RefusalCode) -> bool {
    match (&asked.operation, code) {
        (Operation::Publish(publish), RefusalCode::KeyReused) => {
            keys::is_reused(model, asked, publish)
        }
        (Operation::Publish(_) | Operation::Redrive(_), RefusalCode::Draining) => {
            model.draining.is_some()
        }
        (Operation::Publish(publish), RefusalCode::DiskFull) => {
            publish.durability().is_logged() && model.was_full
        }
        (Operation::Publish(publish), RefusalCode::Invalid) => {
            // A quorum of more agents than there are, or a life too short to become due.
            // Its inbox may have been set anew since.
            let (ttl, delay) = (publish.envelope.ttl, publish.options.delay);
            matches!(publish.options.gather, Some(Gather { rule: GatherRule::Quorum(_), .. }))
                || ttl.is_some_and(|ttl| delay.is_some_and(|delay| ttl <= delay))
                || (delay.is_some() && fading::is_fading(model, publish))
        }
        (
            Operation::Update(_)
            | Operation::Continue { .. }
            | Operation::Subscribe(_)
            | Operation::Redrive(_)
            | Operation::SetAgent { .. }
            | Operation::Unregister { .. }
            | Operation::SetInbox { .. }
            | Operation::Purge(_)
            | Operation::SetSchedule(_)
            | Operation::RemoveSchedule { .. },
            RefusalCode::DiskFull,
        ) => model.was_full,
        // Whatever a record tells of is put off while the log is as far behind as it may be.
        (_, RefusalCode::Unavailable) => {
            let since = asked.arrived.map_or(0, |arrived| arrived.command);
            model.last_congested >= since && model.last_congested > 0
        }
        (Operation::Redrive(redrive), RefusalCode::NobodyThere) => {
            let letter = model.published.get(&redrive.letter.id);
            letter.is_some_and(|letter| letter.absent() == Absent::Fail)
        }
        (Operation::Publish(publish), RefusalCode::Deadlock) => {
            asked.blocked || nested::chain(model, publish) != Chain::Free
        }
        (Operation::Publish(publish), RefusalCode::InboxFull) => {
            full(model, asked, publish) && waiting::in_vain(model, asked, publish)
        }
        (Operation::Publish(publish), RefusalCode::TooLarge) => {
            gathers::asks_too_many(model, publish.envelope.id)
                || copies::may_be_many(model, publish)
        }
        (Operation::SetSchedule(_), RefusalCode::TooLarge) => schedules::are_all(model),
        (Operation::Redrive(_), RefusalCode::InboxFull) => bounds::are_tight(model),
        (Operation::Publish(publish), RefusalCode::KeyCap) => keys::are_many(model, asked, publish),
        (Operation::Publish(publish), RefusalCode::NobodyThere) => {
            publish.absent() == Absent::Fail || publish.options.gather.is_some()
        }
        (Operation::Settle(settle), RefusalCode::Invalid) => {
            matches!(settle.outcome, Outcome::Pause { .. })
        }
        (Operation::Settle(_), RefusalCode::StaleToken) => asked.fence != Fence::Good,
        // A crash may take events of a task that was not synced, or all of it: sent again under
        // its id, it has fewer than its follower saw. Of a synced one nothing told is ever lost.
        (Operation::Watch { task, .. }, RefusalCode::Invalid) => !model.lasting.contains(task),
        // Cleared before, by somebody else or in an earlier life, or gone for a newer one.
        (Operation::Redrive(redrive), RefusalCode::NotFound) => {
            mortuary::may_be_gone(model, &redrive.letter)
        }
        (Operation::Purge(letter), RefusalCode::NotFound) => mortuary::may_be_gone(model, letter),
        // Dead in several inboxes.
        (Operation::Redrive(_) | Operation::Purge(_), RefusalCode::Invalid)
        | (
            Operation::SetAgent { .. }
            | Operation::Unregister { .. }
            | Operation::RemoveSchedule { .. },
            RefusalCode::NotFound,
        )
        | (Operation::Update(_), RefusalCode::StaleToken | RefusalCode::Invalid)
        | (
            Operation::Watch { .. }
            | Operation::Unwatch { .. }
            | Operation::Cancel { .. }
            | Operation::Continue { .. },
            RefusalCode::NotFound | RefusalCode::WrongState,
        ) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{done, refused};
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, publish};
    use crate::model::{Ending, Fact};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{Outcome, Refusal, RefusalCode};

    #[test]
    fn an_acceptance_needs_its_record_on_disk() {
        let mut scene = Scene::new();
        scene.operate(SENDER, Operation::Publish(Arc::new(publish(9))));
        broken(done(&mut scene.model, SENDER, 1, None), "1 durable", "no record tells");
        let mut scene = Scene::new();
        scene.accept(1, |_| ()).unwrap();
        broken(done(&mut scene.model, SENDER, 1, None), "1 durable", "confirmed before");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        assert_eq!(done(&mut scene.model, SENDER, 1, None), Ok(()));
        broken(done(&mut scene.model, SENDER, 1, None), "answers", "for the 2th time");
        broken(done(&mut scene.model, SENDER, 2, None), "answers", "not its turn");
    }

    #[test]
    fn a_stale_token_does_nothing_and_a_good_one_is_not_refused() {
        let stale = Refusal::new(RefusalCode::StaleToken, "stale");
        let complete = || Outcome::Complete { reply: None };
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let number = scene.settle(WORKERS[0], 1, complete());
        broken(done(&mut scene.model, WORKERS[0], number, None), "5 fencing", "token is stale");
        scene.lease(1, 1, WORKERS[0]).unwrap();
        let number = scene.settle(WORKERS[0], 1, complete());
        broken(
            refused(&mut scene.model, WORKERS[0], number, &stale),
            "refusals",
            "without a reason",
        );
        let number = scene.settle(WORKERS[0], 1, complete());
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 }).unwrap();
        broken(refused(&mut scene.model, WORKERS[0], number, &stale), "answers", "a record says");
    }

    #[test]
    fn nothing_is_put_off_but_while_the_log_is_behind() {
        let later = Refusal::new(RefusalCode::Unavailable, "later");
        let mut scene = Scene::new();
        let number = scene.operate(SENDER, Operation::Publish(Arc::new(publish(9))));
        let check = refused(&mut scene.model, SENDER, number, &later);
        broken(check, "refusals", "without a reason");
        scene.model.congest(true);
        let number = scene.operate(SENDER, Operation::Publish(Arc::new(publish(9))));
        assert_eq!(refused(&mut scene.model, SENDER, number, &later), Ok(()));
    }

    #[test]
    fn a_gap_is_refused_only_where_there_is_one() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let gap = Refusal::new(RefusalCode::OutOfOrder, "gap");
        broken(refused(&mut scene.model, SENDER, 1, &gap), "answers", "came in order");
    }
}
