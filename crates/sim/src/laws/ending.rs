//! An entry ends once, for a reason, and for the right one.

use super::returns::{self, counts, losses, settle_of};
use super::{breakers, choice, drops, family, numbers, shares};
use crate::check::{Check, ensure};
use crate::model::{Cause, Ending, Entry, Model, Place, pending};
use trunkline_types::session::Operation;
use trunkline_types::{Outcome, Sequence};

/// Checks that an entry may end as the record says.
pub(crate) fn ended(model: &mut Model, at: Sequence, number: u64, how: &Ending) -> Check {
    let Some(entry) = model.book.entries.get(&number) else {
        ensure!(false, "5 fencing", "entry {number} ends as {how:?}, but was never accepted");
        return Ok(());
    };
    let id = entry.id();
    ensure!(entry.is_open(), "5 fencing", "{id} ends as {how:?} after {:?}", entry.end);
    let last = entry.attempts + 1 >= entry.publish.attempts();
    let wanted = |outcome: &Outcome| match (how, outcome) {
        (Ending::Completed(reply), Outcome::Complete { reply: given }) => reply == given,
        (Ending::DeadLettered, Outcome::Retry { .. }) => last,
        (Ending::Failed, Outcome::Fail { .. })
        | (Ending::Rejected, Outcome::Reject { .. })
        | (Ending::DeadLettered, Outcome::DeadLetter { .. }) => true,
        _ => false,
    };
    let settle = settle_of(model, number, wanted);
    let right = settle.is_some()
        || match how {
            Ending::DeadLettered => model.unread.contains(&number) || exhausted(model, entry)?,
            Ending::Expired => entry.expires_at().is_some_and(|end| end <= model.now.wall),
            Ending::Canceled => canceled(model, entry),
            Ending::Dropped => drops::right(model, entry)?,
            Ending::Completed(_) | Ending::Failed | Ending::Rejected => false,
        };
    let law = if *how == Ending::Expired { "timers" } else { "5 fencing" };
    ensure!(
        right,
        law,
        "{id} ends as {how:?} at {:?} after {} attempts without a reason",
        model.now.wall,
        entry.attempts
    );
    let owed = entry.place == Place::Leased && matches!(how, Ending::Expired | Ending::Canceled);
    if let (true, Some(holder), Some(token)) = (owed, entry.holder, entry.token)
        && model.sessions.get(&holder).is_some_and(|holder| holder.connection.is_some())
    {
        model.cancels.insert((holder, token));
    }
    let entry = entry.clone();
    if entry.place == Place::Leased {
        match how {
            Ending::Completed(_) => breakers::succeeded(model, &entry),
            Ending::Failed => breakers::failed(model, &entry),
            Ending::DeadLettered if settle.is_some() => breakers::failed(model, &entry),
            Ending::DeadLettered => breakers::lost(model, &entry),
            _ => {}
        }
    }
    if *how == Ending::Expired {
        // Its turn may have come when it was found to be too late.
        shares::served(model, &entry.inbox, entry.priority());
        choice::skipped(model, &entry.inbox);
    }
    if *how == Ending::Dropped && entry.inbox != pending() {
        numbers::dropped(model, &entry.inbox);
    }
    let (sender, token) = (entry.sender, entry.token);
    if entry.publish.options.reply
        && model.sessions.get(&sender).is_some_and(|sender| sender.connection.is_some())
    {
        model.replies.insert((sender, id));
    }
    if let Some(grant) = token.and_then(|token| model.granted.get_mut(&token)) {
        grant.settled = true;
        grant.heard |= settle.is_some() && entry.place == Place::Leased;
    }
    if let Ending::Canceled = how {
        note_cancels(model, id, at);
    } else {
        returns::credit(model, settle, at);
    }
    Ok(())
}

/// Whether the loss of this delivery was the last attempt.
fn exhausted(model: &Model, entry: &Entry) -> Result<bool, crate::check::Violation> {
    if entry.place != Place::Leased {
        return Ok(false);
    }
    let losses = losses(model, entry)?;
    let mut counted = losses.into_iter().flat_map(|loss| counts(model, entry, loss));
    Ok(counted.any(|(attempts, _)| attempts >= entry.publish.attempts()))
}

/// Whether one of the operations being handled calls the entry off.
fn canceled(model: &Model, entry: &Entry) -> bool {
    let Cause::Frame { session, handled } = &model.cause else { return false };
    let Some(session) = model.sessions.get(session) else { return false };
    handled.iter().filter_map(|number| session.asked.get(number)).any(|asked| {
        match &asked.operation {
            Operation::Cancel { id, descendants, .. } => {
                *id == entry.id() || (*descendants && family::is_below(model, entry, *id))
            }
            _ => false,
        }
    })
}

fn note_cancels(model: &mut Model, id: trunkline_types::MessageId, at: Sequence) {
    let Cause::Frame { session, handled } = &model.cause else { return };
    let Some(session) = model.sessions.get_mut(session) else { return };
    for number in handled {
        if let Some(asked) = session.asked.get_mut(number)
            && matches!(&asked.operation, Operation::Cancel { id: of, .. } if *of == id)
        {
            asked.record = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::testing::{Scene, WORKERS, broken};
    use crate::model::{Ending, Fact};
    use trunkline_types::Outcome;

    fn leased() -> Scene {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene
    }

    #[test]
    fn an_entry_ends_once_and_at_its_holders_word() {
        let end = || Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 };
        let mut scene = leased();
        broken(scene.fact(end()), "5 fencing", "without a reason");
        let mut scene = leased();
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: None });
        assert_eq!(scene.fact(end()), Ok(()));
        broken(scene.fact(end()), "5 fencing", "after Some(Completed(None))");
    }

    #[test]
    fn nothing_expires_early_nor_dies_with_attempts_left() {
        let mut scene = leased();
        let expired = Fact::Ended { entry: 1, how: Ending::Expired, said: 0 };
        broken(scene.fact(expired), "timers", "without a reason");
        let mut scene = leased();
        let retry = Outcome::Retry { reason: String::new(), delay: None };
        scene.settle(WORKERS[0], 1, retry);
        let dead = Fact::Ended { entry: 1, how: Ending::DeadLettered, said: 0 };
        assert!(scene.fact(dead).is_err(), "two attempts are left");
        let mut scene = leased();
        let canceled = Fact::Ended { entry: 1, how: Ending::Canceled, said: 0 };
        broken(scene.fact(canceled), "5 fencing", "without a reason");
    }
}
