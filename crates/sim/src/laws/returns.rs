//! An entry comes back because its holder said so, its lease ran out, or its session was lost;
//! law 6: never because the broker was away. Attempts count as the design says, and backoff stays
//! within its bounds.
//!
//! A steady session never loses a lease by silence, with one exception: it renews no more what it
//! has said to be over. If the wire brings that out of its turn the broker has not heard it, and
//! then the lease runs out like any other.

use super::breakers;
use super::facts::note_record;
use crate::check::{Check, ensure};
use crate::model::{Asked, Cause, Entry, Model, Place, ReturnedFact, Session, nanos};
use std::time::Duration;
use trunkline_types::session::Operation;
use trunkline_types::{Outcome, Sequence, SessionId};

/// Why a delivery is over without its holder having said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// Nobody renewed the lease of a connected session, or of a lost one.
    Lapsed,
    /// The session was lost, said goodbye or came back without it.
    Lost,
    /// It ran for as long as it may.
    Overran,
}

/// Checks that an entry comes back for a reason, and with the right count.
pub(crate) fn returned(model: &mut Model, at: Sequence, fact: ReturnedFact) -> Check {
    let Some(entry) = model.book.entries.get(&fact.entry) else {
        ensure!(false, "5 fencing", "entry {} comes back, but was never accepted", fact.entry);
        return Ok(());
    };
    let (id, wall) = (entry.id(), model.now.wall);
    ensure!(entry.place == Place::Leased, "5 fencing", "{id} comes back while {:?}", entry.place);
    let back = |outcome: &Outcome| matches!(outcome, Outcome::Retry { .. } | Outcome::Release);
    let settle = settle_of(model, fact.entry, back);
    match settle.and_then(|(session, number)| outcome(model, session, number)) {
        Some(Outcome::Retry { delay, .. }) => {
            let count = (entry.attempts + 1, entry.losses);
            ensure!((fact.attempts, fact.losses) == count, "attempts", "{id} is retried: {fact:?}");
            let most = delay.unwrap_or_else(|| model.rules.backoff(fact.attempts));
            let least = delay.unwrap_or(Duration::ZERO);
            let right = (wall.after(least)..=wall.after(most)).contains(&fact.due);
            ensure!(right, "attempts", "{id} is due {:?}, {least:?} to {most:?} allowed", fact.due);
            ensure!(
                !fact.token_stays,
                "5 fencing",
                "{id} was given back, yet its token stays good"
            );
        }
        Some(Outcome::Release) => {
            let count = (entry.attempts, entry.losses);
            ensure!(
                (fact.attempts, fact.losses) == count,
                "attempts",
                "{id} is released: {fact:?}"
            );
            ensure!(fact.due <= wall, "attempts", "{id} was released, but is due {:?}", fact.due);
        }
        _ => {
            let losses = losses(model, entry)?;
            let right = losses
                .into_iter()
                .any(|loss| counts(model, entry, loss).contains(&(fact.attempts, fact.losses)));
            ensure!(
                right,
                "attempts",
                "{id} had {} attempts, {} losses, is lost: {fact:?}",
                entry.attempts,
                entry.losses
            );
        }
    }
    let entry = entry.clone();
    let causes = if settle.is_none() { losses(model, &entry)? } else { Vec::new() };
    let may = causes.contains(&Loss::Overran);
    let right = if fact.called_off { may } else { causes != [Loss::Overran] };
    ensure!(right, "timers", "{id} is lost by {causes:?}, called off: {}", fact.called_off);
    if let Some(grant) = entry.token.and_then(|token| model.granted.get_mut(&token)) {
        grant.overran |= fact.called_off;
    }
    if let Some(grant) = entry.token.and_then(|token| model.granted.get_mut(&token)) {
        grant.heard |= settle.is_some();
    }
    match settle.and_then(|(session, number)| outcome(model, session, number)) {
        Some(Outcome::Retry { .. }) => breakers::failed(model, &entry),
        Some(_) => {}
        None => breakers::lost(model, &entry),
    }
    credit(model, settle, at);
    Ok(())
}

/// The operation, among those being handled, that settles an entry so with its latest token.
pub(crate) fn settle_of(
    model: &Model,
    entry: u64,
    wanted: impl Fn(&Outcome) -> bool,
) -> Option<(SessionId, u64)> {
    let token = model.book.entries.get(&entry)?.token?;
    let Cause::Frame { session, handled } = &model.cause else { return None };
    let asked = &model.sessions.get(session)?.asked;
    let settles = |number: &&u64| match asked.get(number).map(|asked| &asked.operation) {
        Some(Operation::Settle(settle)) => settle.token == token && wanted(&settle.outcome),
        _ => false,
    };
    handled.iter().find(settles).map(|&number| (*session, number))
}

/// Notes which record an operation led to.
pub(crate) fn credit(model: &mut Model, operation: Option<(SessionId, u64)>, at: Sequence) {
    if let Some((session, number)) = operation {
        note_record(model, session, number, at);
    }
}

/// What a settlement says.
pub(crate) fn outcome(model: &Model, session: SessionId, number: u64) -> Option<Outcome> {
    match &model.sessions.get(&session)?.asked.get(&number)?.operation {
        Operation::Settle(settle) => Some(settle.outcome.clone()),
        _ => None,
    }
}

/// The attempts and losses that may count after a delivery was lost.
pub(crate) fn counts(model: &Model, entry: &Entry, loss: Loss) -> Vec<(u32, u32)> {
    let attempt = (entry.attempts + 1, entry.losses);
    if matches!(loss, Loss::Lapsed | Loss::Overran)
        || entry.begun
        || entry.losses >= model.rules.losses
    {
        vec![attempt]
    } else {
        vec![(entry.attempts, entry.losses + 1)]
    }
}

/// The ways in which a delivery can have been lost just now.
///
/// # Errors
/// Law 6 if there is none: its holder was neither silent nor away for long enough.
pub(crate) fn losses(model: &Model, entry: &Entry) -> Result<Vec<Loss>, crate::check::Violation> {
    let (id, rules) = (entry.id(), &model.rules);
    let holder = entry.holder.and_then(|id| model.sessions.get(&id));
    let grant = entry.token.and_then(|token| model.granted.get(&token));
    let (Some(holder), Some(grant)) = (holder, grant) else {
        ensure!(false, "5 fencing", "{id} comes back although nobody holds it");
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let silent = model.elapsed(grant.renewed, grant.absent);
    let goodbye = matches!(&model.cause, Cause::Goodbye(session) if *session == holder.id);
    let without = holder.connection.is_some() && grant.connection != holder.connection;
    let grace = match holder.back_for {
        _ if holder.restarted => holder.lease,
        // Well within the time in which whoever gave the broker up has a whole lease.
        Some(span) if span < nanos(holder.lease) / 2 => holder.lease.max(rules.resume_grace),
        _ => rules.resume_grace,
    };
    let away = holder.lost_at.map(|at| model.elapsed(at.mono, holder.lost_absent));
    let gone = away.is_some_and(|away| away >= nanos(grace));
    if goodbye || without || gone || holder.dismissed {
        found.push(Loss::Lost);
    }
    let there = holder.connection.is_some() && !without;
    let steady = holder.steady && there && !said_out_of_turn(holder, entry);
    let heard = holder.connection.is_none() || holder.welcomed;
    if heard && silent >= nanos(holder.lease) && !(steady && found == [Loss::Lost]) {
        ensure!(!steady, "6 absence", "{id}: the lease of a steady session ran out");
        found.push(Loss::Lapsed);
    }
    let ran = grant.before + model.elapsed(grant.granted.0, grant.granted.1);
    let allowed = entry.publish.options.max_run.or(model.rules.max_run);
    if allowed.is_some_and(|most| ran >= nanos(most)) {
        found.push(Loss::Overran);
    }
    let (silent, away) = (Duration::from_nanos(silent), away.map(Duration::from_nanos));
    ensure!(
        !found.is_empty(),
        "6 absence",
        "{id} is taken from its holder, silent for {silent:?} of {:?}, away for {away:?}",
        holder.lease
    );
    Ok(found)
}

/// Whether a session has said that its delivery of an entry is over, but only out of turn.
fn said_out_of_turn(holder: &Session, entry: &Entry) -> bool {
    let settles = |asked: &Asked| match &asked.operation {
        Operation::Settle(settle) => Some(settle.token) == entry.token,
        _ => false,
    };
    holder.asked.values().any(|asked| asked.early && !asked.handled && settles(asked))
}

#[cfg(test)]
mod tests {
    use crate::model::testing::{Scene, WORKERS, broken, token};
    use crate::model::{Fact, ReturnedFact, Rules};
    use std::time::Duration;
    use trunkline_types::session::{ClientFrame, Operation};
    use trunkline_types::{Outcome, Settle, WallTime};

    fn back(attempts: u32, due: u64, token_stays: bool) -> Fact {
        let due = WallTime(due);
        let (losses, called_off, said) = (0, false, 0);
        let entry = 1;
        let at = due;
        let fact = ReturnedFact { entry, attempts, losses, due, at, token_stays, called_off, said };
        Fact::Returned(fact)
    }

    fn leased() -> Scene {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene
    }

    #[test]
    fn a_retry_counts_and_waits_within_its_backoff() {
        let retry = || Outcome::Retry { reason: String::new(), delay: None };
        let mut scene = leased();
        scene.settle(WORKERS[0], 1, retry());
        broken(scene.fact(back(0, 1000, false)), "attempts", "is retried");
        let mut scene = leased();
        scene.settle(WORKERS[0], 1, retry());
        broken(scene.fact(back(1, 1011, false)), "attempts", "10ms allowed");
        let mut scene = leased();
        scene.settle(WORKERS[0], 1, retry());
        assert_eq!(scene.fact(back(1, 1010, false)), Ok(()));
    }

    #[test]
    fn a_release_does_not_count() {
        let mut scene = leased();
        scene.settle(WORKERS[0], 1, Outcome::Release);
        broken(scene.fact(back(1, 1000, false)), "attempts", "is released");
    }

    #[test]
    fn a_lease_lapses_only_after_its_holders_own_silence() {
        let mut scene = leased();
        scene.at(1900);
        broken(scene.fact(back(1, 1900, true)), "6 absence", "taken from its holder");
        let mut scene = leased();
        scene.at(2500);
        scene.model.was_absent(Duration::from_secs(1));
        broken(scene.fact(back(1, 2500, true)), "6 absence", "silent for 500ms");
        let mut scene = leased();
        scene.at(2000);
        assert_eq!(scene.fact(back(1, 2000, true)), Ok(()));
    }

    #[test]
    fn a_steady_session_never_loses_a_lease() {
        let mut scene = leased();
        scene.model.sessions.get_mut(&WORKERS[0]).unwrap().steady = true;
        scene.at(2000);
        broken(scene.fact(back(1, 2000, true)), "6 absence", "steady");
    }

    #[test]
    fn no_lease_runs_out_before_its_session_is_welcome() {
        let mut scene = leased();
        scene.model.sessions.get_mut(&WORKERS[0]).unwrap().welcomed = false;
        scene.at(2000);
        broken(scene.fact(back(1, 2000, true)), "6 absence", "taken from its holder");
    }

    #[test]
    fn what_a_steady_session_has_said_to_be_over_may_lapse_if_that_came_out_of_turn() {
        let mut scene = leased();
        scene.model.sessions.get_mut(&WORKERS[0]).unwrap().steady = true;
        let outcome = Outcome::Complete { reply: None };
        let settle = Operation::Settle(Settle { token: token(1), outcome });
        let frame = ClientFrame::Operations { first: 2, operations: vec![settle] };
        scene.model.frame(2, &frame);
        scene.at(2000);
        assert_eq!(scene.fact(back(1, 2000, true)), Ok(()));
    }

    #[test]
    fn a_lease_lasts_as_long_as_its_session_was_told_whatever_is_set_later() {
        let mut scene = leased();
        let rules = Rules { lease: Duration::from_millis(500), ..scene.model.rules.clone() };
        scene.model.configure(rules);
        scene.at(1600);
        broken(scene.fact(back(1, 1600, true)), "6 absence", "silent for 600ms of 1s");
    }
}
