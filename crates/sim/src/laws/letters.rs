//! A dead letter is sent again or deleted once, at somebody's word.

use super::facts::note_record;
use super::{outside, routing};
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
    let Redrive { letter: address, id, payload, destination, priority } = *asked;
    names(&address, letter, inbox)?;
    let envelope = &accepted.publish.envelope;
    ensure!(envelope.id == id, "letters", "{letter} is sent again as {}, not {id}", envelope.id);
    let old = model.book.sent.get(&letter).map(|sent| sent.publish.clone());
    let old = &old.expect("it lies there, so it was sent").envelope;
    let root = old.root_id.unwrap_or(letter);
    let from = (envelope.redriven_from, envelope.root_id);
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
    let cleared = model.book.cleared.contains(&(letter, inbox.clone()));
    ensure!(!cleared, "letters", "dead letter {letter} of {inbox} is cleared twice");
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
