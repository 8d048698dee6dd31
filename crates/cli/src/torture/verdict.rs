//! Compares what was promised with what there is.
//!
//! Pure: the ledger and the evidence go in, the fate of each promise comes out.

use super::args::Disk;
use super::evidence::{Evidence, Story};
use super::fault::{Fault, Faults, History};
use super::ledger::{Books, Keyed, Said, Sent};
use super::plan::Plan;
use super::promise::{Promise, Tallies};
use std::collections::{BTreeSet, HashMap};
use trunkline_types::{
    Durability, MessageId, Outcome, RefusalCode, TaskEventBody, TaskSnapshot, TaskState, WallTime,
};

/// What never ended was under way until then.
const NEVER: WallTime = WallTime(u64::MAX);

/// The tasks whose acceptance was seen: those that must, or may, be on record.
pub(super) fn accepted_tasks(books: &Books) -> BTreeSet<MessageId> {
    books.sent.values().filter_map(|sent| accepted_task(sent).map(|(id, _)| id)).collect()
}

fn accepted_task(sent: &Sent) -> Option<(MessageId, Durability)> {
    let Some(Ok(id)) = sent.answer else { return None };
    sent.publish.is_task().then(|| (id, sent.publish.durability()))
}

/// Whether a level must survive the kills of a round.
pub(super) fn survives(disk: Disk, level: Durability) -> bool {
    match level {
        Durability::Synced => true,
        Durability::Buffered => disk == Disk::Plain,
        Durability::Ephemeral => false,
    }
}

/// Checks every promise that the ledger and the evidence speak of. Each case counts under the
/// faults of the round's history that struck while it was under way.
pub(super) fn judge(
    disk: Disk,
    history: &History,
    books: &Books,
    evidence: &Evidence,
    tallies: &mut Tallies,
) {
    let mut accepted = HashMap::new();
    let settles = settles(books);
    for sent in books.sent.values() {
        let Some((id, level)) = accepted_task(sent) else { continue };
        if accepted.contains_key(&id) {
            // A repeat under an idempotency key.
            continue;
        }
        let met = history.met(sent.at, ended(evidence, id));
        accepted.insert(id, met);
        let said = settles.get(&id).map_or(&[] as &[_], Vec::as_slice);
        Case { id, sent, level, disk, met, said }.judge(evidence, tallies);
    }
    deliveries(history, books, tallies);
    keys(history, books, tallies);
    for task in evidence.listed.values() {
        let known = accepted.get(&task.id);
        let met = known.copied().unwrap_or_else(|| history.all());
        tallies.check(Promise::NothingInvented, met, known.is_some(), || {
            format!("task {} is on record, {}, and was not accepted", task.id, task.state)
        });
    }
    for (said, answered) in &books.answered {
        tallies.held(Promise::AllAnswered, history.met(*said, *answered), 1);
    }
    let open = books.operations - books.answered.len() as u64;
    if open > 0 {
        let found = || format!("{open} operations have no answer");
        tallies.check(Promise::AllAnswered, history.all(), false, found);
    }
    conservation(history, evidence, tallies);
}

/// When a task ended on record.
fn ended(evidence: &Evidence, id: MessageId) -> WallTime {
    match (evidence.stories.get(&id), evidence.listed.get(&id)) {
        (Some(Story::Ended { events, .. }), Some(_)) => {
            events.last().map_or(NEVER, |event| event.at)
        }
        _ => NEVER,
    }
}

/// The settlements of each task.
fn settles(books: &Books) -> HashMap<MessageId, Vec<&Said>> {
    let mut settles: HashMap<_, Vec<_>> = HashMap::new();
    for said in books.settles.values() {
        if let Some(id) = said.id {
            settles.entry(id).or_default().push(said);
        }
    }
    settles
}

/// One accepted task.
struct Case<'a> {
    id: MessageId,
    sent: &'a Sent,
    level: Durability,
    disk: Disk,
    met: Faults,
    said: &'a [&'a Said],
}

impl Case<'_> {
    fn judge(&self, evidence: &Evidence, tallies: &mut Tallies) {
        let Self { id, level, met, .. } = self;
        let (level, met) = (*level, *met);
        let kept = match level {
            Durability::Synced => Some(Promise::NothingLost),
            Durability::Buffered if survives(self.disk, level) => Some(Promise::BufferedKept),
            _ => None,
        };
        let story = evidence.stories.get(id);
        let snapshot = evidence.listed.get(id);
        if let Some(promise) = kept {
            let held = matches!(story, Some(Story::Ended { .. })) && snapshot.is_some();
            tallies.check(promise, met, held, || match story {
                Some(Story::Open(why)) => format!("task {id} was accepted and does not end: {why}"),
                _ => format!("task {id} was accepted and is not there"),
            });
        }
        let (Some(Story::Ended { events, gaps }), Some(snapshot)) = (story, snapshot) else {
            return;
        };
        self.numbers(events.iter().map(|event| event.number), gaps, snapshot, tallies);
        let ends = events.iter().filter(|event| {
            matches!(event.body, TaskEventBody::Status { state, .. } if state.is_terminal())
        });
        let ends = ends.count();
        // Work that a crash may take back may also be done again.
        let confirmed = if kept.is_some() { self.confirmed().count() } else { 0 };
        tallies.check(Promise::EndsOnce, met, ends == 1 && confirmed <= 1, || {
            format!("task {id} has {ends} ends on record and {confirmed} confirmed settlements")
        });
        self.end(snapshot, tallies);
        if kept.is_some() {
            for said in self.confirmed() {
                let stands = stands(&said.outcome, snapshot);
                tallies.check(Promise::SettledStays, met, stands, || {
                    format!("task {id} was settled {:?} and is {}", said.outcome, snapshot.state)
                });
            }
        }
    }

    fn numbers(
        &self,
        numbers: impl Iterator<Item = u64>,
        gaps: &[(u64, u64)],
        snapshot: &TaskSnapshot,
        tallies: &mut Tallies,
    ) {
        let numbers: Vec<u64> = numbers.collect();
        let right = gaps.is_empty() && numbers.iter().copied().eq(1..=snapshot.last_event);
        let others = (numbers.len() as u64).saturating_sub(1);
        tallies.held(Promise::EventsNumbered, self.met, others);
        tallies.check(Promise::EventsNumbered, self.met, right, || {
            let last = snapshot.last_event;
            format!("task {} has events {numbers:?} of {last}, gaps {gaps:?}", self.id)
        });
    }

    /// Final settlements that the broker confirmed.
    fn confirmed(&self) -> impl Iterator<Item = &Said> {
        let confirmed = self.said.iter().filter(|said| matches!(said.answer, Some(Ok(()))));
        confirmed.copied().filter(|said| is_final(&said.outcome))
    }

    fn end(&self, snapshot: &TaskSnapshot, tallies: &mut Tallies) {
        let Self { id, .. } = self;
        let payload = &self.sent.publish.envelope.payload.data;
        let Some(plan) = Plan::of(payload) else { return };
        let state = snapshot.state;
        let found = match (state == plan.end(), state, &snapshot.result) {
            (false, ..) => Some(format!("is {state}, planned was {}", plan.end())),
            (true, TaskState::Completed, Some(result)) => {
                let replied = |said: &&Said| matches!(&said.outcome, Outcome::Complete { reply: Some(reply) } if reply == result);
                let known = plan.is_for_executables() || self.said.iter().any(replied);
                let right = plan.accepts(payload, &result.data);
                (!known || !right).then(|| format!("has the result {:?}", result.to_text()))
            }
            (true, TaskState::Completed, None) => Some("has no result".to_owned()),
            (true, ..) => {
                let planned =
                    snapshot.reason.as_deref().is_some_and(|reason| reason.contains("planned"));
                (!planned).then(|| "failed otherwise than planned".to_owned())
            }
        };
        tallies.check(Promise::EndsAsHandled, self.met, found.is_none(), || {
            let reason = snapshot.reason.as_deref().unwrap_or("no reason");
            format!("task {id} {} ({reason})", found.as_deref().unwrap_or_default())
        });
    }
}

/// Whether an outcome ends its task.
fn is_final(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Complete { .. }
        | Outcome::Fail { .. }
        | Outcome::Reject { .. }
        | Outcome::DeadLetter { .. } => true,
        Outcome::Retry { .. } | Outcome::Release | Outcome::Pause { .. } => false,
    }
}

/// Whether a task is what a confirmed settlement made it.
fn stands(outcome: &Outcome, snapshot: &TaskSnapshot) -> bool {
    match outcome {
        Outcome::Complete { reply } => {
            let reply = reply.clone().unwrap_or_default();
            let result = snapshot.result.clone().unwrap_or_default();
            snapshot.state == TaskState::Completed && result == reply
        }
        Outcome::Reject { .. } => snapshot.state == TaskState::Rejected,
        Outcome::Fail { .. } | Outcome::DeadLetter { .. } => snapshot.state == TaskState::Failed,
        Outcome::Retry { .. } | Outcome::Release | Outcome::Pause { .. } => true,
    }
}

fn deliveries(history: &History, books: &Books, tallies: &mut Tallies) {
    for (token, delivered) in &books.deliveries {
        let answered = books.settles.get(token).and_then(|said| said.answered);
        let met = history.met(delivered.at, answered.unwrap_or(delivered.at));
        tallies.held(Promise::TokensUnique, met, 1);
        tallies.held(Promise::PayloadIntact, met, 1);
    }
    for token in &books.repeated {
        let twice = || format!("token {token} came twice");
        tallies.check(Promise::TokensUnique, history.all(), false, twice);
    }
    for id in &books.altered {
        let altered = || format!("{id} was delivered with another payload");
        tallies.check(Promise::PayloadIntact, history.all(), false, altered);
    }
}

fn keys(history: &History, books: &Books, tallies: &mut Tallies) {
    for (key, Keyed { ids, from, until }) in &books.keys {
        let met = history.met(*from, *until);
        let many = || format!("key {key} made {ids:?}");
        tallies.check(Promise::KeysOnce, met, ids.len() == 1, many);
    }
    for sent in books.sent.values() {
        if let Some(Err(refusal)) = &sent.answer
            && refusal.code == RefusalCode::KeyReused
        {
            let met = history.met(sent.at, NEVER);
            tallies.check(Promise::KeysOnce, met, false, || refusal.message.clone());
        }
    }
}

fn conservation(history: &History, evidence: &Evidence, tallies: &mut Tallies) {
    let Evidence { listed, stats, .. } = evidence;
    let (accepted, ended, there) =
        (stats.counters.accepted, stats.counters.ended(), stats.gauges.total());
    let met = history.all();
    tallies.check(Promise::Conserved, met, accepted == ended + there, || {
        format!("{accepted} entries accepted, {ended} ended and {there} there")
    });
    if stats.tasks_forgotten == 0 {
        for (state, counted) in
            [(TaskState::Completed, stats.tasks_completed), (TaskState::Failed, stats.tasks_failed)]
        {
            let found = listed.values().filter(|task| task.state == state).count() as u64;
            tallies.check(Promise::Conserved, met, found == counted, || {
                format!("{counted} tasks counted as {state}, {found} are on record")
            });
        }
    }
}

/// What is most likely to differ, and when it was last changed.
fn brief(task: &TaskSnapshot) -> String {
    let TaskSnapshot { state, attempts, last_event, updated_at, result, .. } = task;
    let result = result.as_ref().map_or_else(|| "none".into(), |result| result.to_text());
    format!(
        "{state} after {attempts} attempts and {last_event} events at {updated_at:?}, result {result}"
    )
}

/// Compares the tasks on record before and after one more kill.
pub(super) fn compare(
    disk: Disk,
    books: &Books,
    before: &HashMap<MessageId, TaskSnapshot>,
    after: &HashMap<MessageId, TaskSnapshot>,
    tallies: &mut Tallies,
) {
    for sent in books.sent.values() {
        let Some((id, level)) = accepted_task(sent) else { continue };
        let Some(before) = before.get(&id).filter(|_| survives(disk, level)) else { continue };
        let after = after.get(&id);
        let same = after == Some(before);
        tallies.check(Promise::RecoveryFaithful, disk.fault(), same, || {
            let after = after.map_or_else(|| "gone".to_owned(), brief);
            format!("task {id} was {} and is {after}", brief(before))
        });
    }
}

/// Compares the tasks on record before and after a bit of the index was flipped. As many may be gone
/// as are counted as forgotten.
pub(super) fn index_contained(
    forgotten: u64,
    before: &HashMap<MessageId, TaskSnapshot>,
    after: &HashMap<MessageId, TaskSnapshot>,
    tallies: &mut Tallies,
) {
    let changed = changed(before, after);
    let excused = usize::try_from(forgotten).unwrap_or(usize::MAX);
    let held = before.len() - changed.len().saturating_sub(excused);
    tallies.held(Promise::IndexContained, Fault::IndexFlip, held as u64);
    for (id, task) in changed.iter().skip(excused) {
        tallies.check(Promise::IndexContained, Fault::IndexFlip, false, || {
            let after = after.get(id).map_or_else(|| "gone".to_owned(), brief);
            let changed = changed.len();
            format!(
                "{changed} tasks changed and {forgotten} are counted as forgotten: {id} was {} and \
                 is {after}",
                brief(task)
            )
        });
    }
}

/// Compares the tasks on record before and after a block was lost whose records told of some
/// messages. No other task may have changed.
pub(super) fn contained(
    told: &BTreeSet<MessageId>,
    before: &HashMap<MessageId, TaskSnapshot>,
    after: &HashMap<MessageId, TaskSnapshot>,
    tallies: &mut Tallies,
) {
    let mut changed = changed(before, after);
    changed.retain(|(id, _)| !told.contains(id));
    let held = before.len() - changed.len();
    tallies.held(Promise::DamageContained, Fault::BitFlip, held as u64);
    for (id, task) in changed {
        tallies.check(Promise::DamageContained, Fault::BitFlip, false, || {
            let after = after.get(id).map_or_else(|| "gone".to_owned(), brief);
            let told = told.len();
            format!(
                "a block was lost that told of {told} messages, of which {id} is none: it was {} \
                 and is {after}",
                brief(task)
            )
        });
    }
}

/// The tasks that are not what they were, in order.
pub(super) fn changed<'a>(
    before: &'a HashMap<MessageId, TaskSnapshot>,
    after: &HashMap<MessageId, TaskSnapshot>,
) -> Vec<(&'a MessageId, &'a TaskSnapshot)> {
    let mut changed: Vec<_> =
        before.iter().filter(|(id, task)| after.get(id) != Some(task)).collect();
    changed.sort_unstable_by_key(|(id, _)| **id);
    changed
}

#[cfg(test)]
mod tests;
