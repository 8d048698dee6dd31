//! A dead letter is sent again or deleted once, at somebody's word.

use super::facts::note_record;
use super::{draining, outside, routing};
use crate::check::{Check, ensure};
use crate::model::{AcceptedFact, Ending, Model};
use trunkline_types::session::{LetterAddress, Operation, Redrive};
use trunkline_types::{InboxAddress, MessageId, Sequence, SessionId};

/// Checks that a dead letter may be sent again as the record says.
pub(crate) fn redriven(
    model: &mut Model,
    at: Sequence,
    letter: MessageId,
    inbox: &InboxAddress,
    accepted: &AcceptedFact,
) -> Check {
    lies_there(model, letter, inbox)?;
    let (session, operation) = (accepted.session, accepted.operation);
    let Some(Operation::Redrive(asked)) = asked(model, session, operation) else {
        ensure!(false, "answers", "{letter} is sent again, operation {operation} did not ask");
        return Ok(());
    };
    draining::takes_in_nothing(model, session, operation)?;
    let Redrive { letter: address, id, payload, destination, priority } = *asked;
    names(&address, letter, inbox)?;
    let envelope = &accepted.publish.envelope;
    ensure!(envelope.id == id, "letters", "{letter} is sent again as {}, not {id}", envelope.id);
    let old = model.book.sent.get(&letter).map(|sent| sent.publish.clone());
    let old = &old.expect("it lies there, so it was sent").envelope;
    let root = old.root_id.unwrap_or(letter);
    let from = (envelope.redriven_from.as_deref().copied(), envelope.root_id);
    ensure!(from == (Some(letter), Some(root)), "letters", "{letter} sent again is of {from:?}");
    let said = payload.as_ref().unwrap_or(&old.payload);
    ensure!(envelope.payload == *said, "letters", "{letter} sent again says something else");
    let urgency = priority.unwrap_or(old.priority);
    ensure!(
        envelope.priority == urgency,
        "letters",
        "{letter} is sent again with another priority"
    );
    let wanted = destination.map_or_else(|| inbox.to_string(), |to| to.to_string());
    let found = envelope.destination.to_string();
    ensure!(found == wanted, "letters", "{letter} is sent again to {found} instead of {wanted}");
    outside::admitted(model, None, &accepted.inboxes, true)?;
    routing::new_message(model, accepted)?;
    note_record(model, session, operation, at);
    Ok(())
}

/// Checks that a dead letter may be deleted as the record says.
pub(crate) fn purged(
    model: &mut Model,
    at: Sequence,
    letter: MessageId,
    inbox: &InboxAddress,
    session: SessionId,
    operation: u64,
) -> Check {
    lies_there(model, letter, inbox)?;
    let Some(Operation::Purge(address)) = asked(model, session, operation) else {
        ensure!(false, "answers", "{letter} is deleted, operation {operation} did not ask");
        return Ok(());
    };
    names(&address, letter, inbox)?;
    note_record(model, session, operation, at);
    Ok(())
}

fn lies_there(model: &Model, letter: MessageId, inbox: &InboxAddress) -> Check {
    let entry = model.book.entries_of(letter).find(|entry| entry.inbox == *inbox);
    let dead = entry.is_some_and(|entry| entry.end == Some(Ending::DeadLettered));
    ensure!(dead, "letters", "{letter} of {inbox} is no dead letter: {entry:?}");
    let over = entry
        .and_then(|entry| model.ended.get(&entry.number))
        .filter(|at| at.after(model.rules.dead_letter_keep) <= model.now.wall);
    let late = over.is_some() && !model.jumped;
    ensure!(!late, "letters", "dead letter {letter} of {inbox} is there, dead since {over:?}");
    let cleared = model.book.cleared.contains(&(letter, inbox.clone()));
    ensure!(!cleared, "letters", "dead letter {letter} of {inbox} is cleared twice");
    let there = model.book.letters.iter().any(|it| it.id == letter && it.inbox == *inbox);
    ensure!(there, "letters", "dead letter {letter} of {inbox} went for newer ones, and is there");
    Ok(())
}

fn names(address: &LetterAddress, letter: MessageId, inbox: &InboxAddress) -> Check {
    let right = address.id == letter && address.inbox.as_ref().is_none_or(|own| own == inbox);
    ensure!(right, "letters", "{letter} of {inbox} is cleared, {address:?} was asked for");
    Ok(())
}

fn asked(model: &Model, session: SessionId, operation: u64) -> Option<Operation> {
    let asked = model.sessions.get(&session)?.asked.get(&operation)?;
    asked.handled.then(|| asked.operation.clone())
}

#[cfg(test)]
mod tests {
    use crate::check::Check;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id, publish, skill};
    use crate::model::{AcceptedFact, Ending, Fact};
    use std::sync::Arc;
    use trunkline_types::session::{LetterAddress, Operation, Redrive};
    use trunkline_types::{InboxAddress, Outcome, Payload, Priority, Publish};

    fn inbox() -> InboxAddress {
        InboxAddress::Skill(skill())
    }

    /// The first task is a dead letter, the second is not.
    fn dead() -> Scene {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.accept_synced(2);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::DeadLetter { reason: String::new() });
        scene.fact(Fact::Ended { entry: 1, how: Ending::DeadLettered, said: 0 }).unwrap();
        scene
    }

    fn ask(scene: &mut Scene, letter: u64, change: impl FnOnce(&mut Redrive)) -> u64 {
        let letter = LetterAddress::from(id(letter));
        let mut redrive =
            Redrive { letter, id: id(9), payload: None, destination: None, priority: None };
        change(&mut redrive);
        scene.operate(SENDER, Operation::Redrive(Box::new(redrive)))
    }

    fn redriven(
        scene: &mut Scene,
        (letter, operation): (u64, u64),
        change: impl FnOnce(&mut Publish),
    ) -> Check {
        let mut publish = publish(9);
        publish.envelope.redriven_from = Some(Box::new(id(letter)));
        publish.envelope.root_id = Some(id(letter));
        change(&mut publish);
        let accepted = AcceptedFact {
            publish: Arc::new(publish),
            session: SENDER,
            operation,
            at: scene.model.now.wall,
            first_entry: 9,
            inboxes: vec![inbox()],
            pending: false,
        };
        let (letter, accepted) = (id(letter), Box::new(accepted));
        scene.fact(Fact::Redriven { letter, inbox: inbox(), accepted })
    }

    fn purged(scene: &mut Scene, letter: u64, operation: u64) -> Check {
        let (letter, inbox, session) = (id(letter), inbox(), SENDER);
        scene.fact(Fact::Purged { letter, inbox, session, operation })
    }

    #[test]
    fn only_a_dead_letter_is_sent_again_and_only_once() {
        let mut scene = dead();
        let asked = ask(&mut scene, 2, |_| ());
        broken(redriven(&mut scene, (2, asked), |_| ()), "letters", "is no dead letter");
        let asked = ask(&mut scene, 1, |_| ());
        assert_eq!(redriven(&mut scene, (1, asked), |_| ()), Ok(()));
        broken(redriven(&mut scene, (1, asked), |_| ()), "letters", "cleared twice");
        let asked = scene.operate(SENDER, Operation::Purge(id(1).into()));
        broken(purged(&mut scene, 1, asked), "letters", "cleared twice");
    }

    #[test]
    fn a_dead_letter_is_there_for_as_long_as_it_is_kept() {
        let mut scene = dead();
        scene.at(2000);
        let asked = ask(&mut scene, 1, |_| ());
        broken(redriven(&mut scene, (1, asked), |_| ()), "letters", "dead since");
        scene.at(1999);
        assert_eq!(redriven(&mut scene, (1, asked), |_| ()), Ok(()));
    }

    #[test]
    fn somebody_has_asked_for_what_becomes_of_a_dead_letter() {
        let mut scene = dead();
        broken(redriven(&mut scene, (1, 1), |_| ()), "answers", "did not ask");
        broken(purged(&mut scene, 1, 1), "answers", "did not ask");
        let asked = scene.operate(SENDER, Operation::Purge(id(2).into()));
        broken(purged(&mut scene, 1, asked), "letters", "was asked for");
        let asked = scene.operate(SENDER, Operation::Purge(id(1).into()));
        assert_eq!(purged(&mut scene, 1, asked), Ok(()));
    }

    #[test]
    fn what_is_sent_again_is_the_letter_as_it_was_edited() {
        let mut scene = dead();
        let asked = ask(&mut scene, 1, |redrive| redrive.priority = Some(Priority::Urgent));
        let mut wrong = |change: fn(&mut Publish), part: &str| {
            broken(redriven(&mut scene, (1, asked), change), "letters", part);
        };
        wrong(|publish| publish.envelope.id = id(8), "not 0000");
        wrong(|publish| publish.envelope.root_id = None, "is of");
        wrong(|publish| publish.envelope.payload = Payload::text("other"), "says something else");
        wrong(|_| (), "with another priority");
        let to_other = |publish: &mut Publish| {
            publish.envelope.priority = Priority::Urgent;
            publish.envelope.destination = "agent:a2".parse().expect("a destination");
        };
        broken(redriven(&mut scene, (1, asked), to_other), "letters", "instead of");
    }
}
