//! Which laws look at which fact, before it is entered in the book.

use super::{ending, leases, letters, overrun, returns, routing, schedules};
use crate::check::{Check, ensure};
use crate::model::{Fact, Model, Place};
use trunkline_types::session::Operation;
use trunkline_types::{AgentChange, AgentControl, InboxChange, Outcome, Sequence, SessionId};

/// Checks a fact against every law that concerns it.
pub(crate) fn fact(model: &mut Model, at: Sequence, fact: &Fact) -> Check {
    if let Some((last, _)) = model.journal.last() {
        ensure!(at.0 == last.0 + 1, "2 replay", "record {} follows record {}", at.0, last.0);
    }
    match fact {
        Fact::Boot { epoch } => {
            let before = model.book.epoch;
            ensure!(*epoch > before, "5 fencing", "epoch {} follows epoch {}", epoch.0, before.0);
            Ok(())
        }
        Fact::Accepted(accepted) => routing::accepted(model, at, accepted),
        Fact::Leased { entry, token, session } => leases::leased(model, *entry, *token, *session),
        Fact::Returned(returned) => returns::returned(model, at, *returned),
        Fact::Ended { entry, how, .. } => ending::ended(model, at, *entry, how),
        Fact::Paused { entry } => {
            let number = returns::settle_of(model, *entry, |o| matches!(o, Outcome::Pause { .. }));
            ensure!(
                number.is_some(),
                "5 fencing",
                "entry {entry} is paused by nobody who holds it"
            );
            returns::credit(model, number, at);
            Ok(())
        }
        Fact::Continued { entry, session, operation } => {
            let paused = model.book.entries.get(entry).is_some_and(|e| e.place == Place::Paused);
            ensure!(paused, "9 tasks", "entry {entry} goes on although it was not paused");
            note_record(model, *session, *operation, at);
            Ok(())
        }
        Fact::Begun { entry } => {
            let open = model.book.entries.get(entry).is_some_and(|e| e.token.is_some());
            ensure!(open, "5 fencing", "entry {entry} begins although nobody may speak for it");
            Ok(())
        }
        Fact::Artifact { session, operation, .. } => {
            note_record(model, *session, *operation, at);
            Ok(())
        }
        Fact::Scheduled { schedule, next, session, operation } => {
            note_record(model, *session, *operation, at);
            schedules::scheduled(model, schedule, *next)
        }
        Fact::Fired { name, due, next, accepted } => {
            schedules::fired(model, name, *due, *next, accepted)
        }
        Fact::Redriven { letter, inbox, accepted } => {
            letters::redriven(model, at, *letter, inbox, accepted)
        }
        Fact::Purged { letter, inbox, session, operation } => {
            letters::purged(model, at, *letter, inbox, *session, *operation)
        }
        Fact::Unscheduled { name, session, operation } => {
            let known = model.book.schedules.contains_key(name);
            ensure!(known, "schedules", "{name} is removed, but was not there");
            note_record(model, *session, *operation, at);
            Ok(())
        }
        Fact::AgentSet { agent, control, session, operation } => {
            let before = model.book.controls.get(agent).copied().unwrap_or_default();
            let leads = |change: &AgentChange| {
                let weight = change.weight.unwrap_or(before.weight);
                let draining = change.draining.unwrap_or(before.draining);
                let healthy = change.healthy.unwrap_or(before.healthy);
                *control == AgentControl { weight, draining, healthy }
            };
            let found = matches!(
                asked(model, *session, *operation),
                Some(Operation::SetAgent { agent: own, change }) if own == agent && leads(change)
            );
            note_record(model, *session, *operation, at);
            // Also one that changes nothing is written, so that it is done once.
            ensure!(found, "control", "{agent} is set to {control:?}, was {before:?}");
            Ok(())
        }
        Fact::AgentGone { agent, session, operation } => {
            let known = model.book.agents.contains_key(agent);
            ensure!(known, "directory", "{agent} is unregistered, but was not there");
            note_record(model, *session, *operation, at);
            Ok(())
        }
        Fact::InboxSet { inbox, settings, session, operation } => {
            let before = model.book.settings.get(inbox).cloned().unwrap_or_default();
            let leads = |change: &InboxChange| before.clone().changed(change) == **settings;
            let found = matches!(
                asked(model, *session, *operation),
                Some(Operation::SetInbox { inbox: own, change }) if own == inbox && leads(change)
            );
            note_record(model, *session, *operation, at);
            ensure!(found, "control", "{inbox} is set to {settings:?}, was {before:?}");
            Ok(())
        }
        Fact::Routed { entry, inboxes, .. } => routing::routed(model, *entry, inboxes),
        Fact::Ran { entry, ran } => overrun::ran(model, *entry, *ran),
        Fact::Agent(_)
        | Fact::Subscribed { .. }
        | Fact::Unsubscribed { .. }
        | Fact::Lost
        | Fact::Elsewhere
        | Fact::Carried { .. } => Ok(()),
    }
}

/// An operation that the broker has handled and that has led to no record yet.
fn asked(model: &Model, session: SessionId, operation: u64) -> Option<&Operation> {
    let asked = model.sessions.get(&session)?.asked.get(&operation)?;
    (asked.handled && asked.record.is_none()).then_some(&asked.operation)
}

/// An operation led to a record.
pub(super) fn note_record(model: &mut Model, session: SessionId, operation: u64, at: Sequence) {
    let asked = model.sessions.get_mut(&session).and_then(|s| s.asked.get_mut(&operation));
    if let Some(asked) = asked {
        asked.record = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Fact;
    use crate::model::testing::{Scene, WORKERS, broken};
    use trunkline_types::{Epoch, Sequence};

    #[test]
    fn records_have_no_gaps_and_epochs_increase() {
        let mut scene = Scene::new();
        broken(scene.fact(Fact::Boot { epoch: Epoch(1) }), "5 fencing", "follows epoch 1");
        let check = scene.model.fact(Sequence(99), Fact::Lost);
        broken(check, "2 replay", "record 99 follows");
    }

    #[test]
    fn only_a_holder_pauses_and_only_what_is_paused_goes_on() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        broken(scene.fact(Fact::Begun { entry: 1 }), "5 fencing", "nobody may speak");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        broken(scene.fact(Fact::Paused { entry: 1 }), "5 fencing", "is paused by nobody");
        let mut scene = Scene::new();
        scene.accept_synced(1);
        let session = WORKERS[0];
        let continued = Fact::Continued { entry: 1, session, operation: 1 };
        broken(scene.fact(continued), "9 tasks", "was not paused");
    }
}
