//! Every promise can be seen to be broken: a verdict that cannot proves nothing.

use super::*;
use crate::torture::ledger::Ledger;
use crate::torture::plan::{WORK, digest};
use std::sync::Arc;
use trunkline_types::session::{Accepted, Delivery};
use trunkline_types::{
    Destination, Envelope, Epoch, InboxAddress, Kind, Partition, Payload, Publish, Refusal, Settle,
    TaskEvent, Token, WallTime,
};

/// One task that was accepted, delivered, completed and confirmed, and what the broker says of it.
struct Scene {
    disk: Disk,
    ledger: Ledger,
    evidence: Evidence,
    id: MessageId,
    publish: Arc<Publish>,
}

fn id(unique: u64) -> MessageId {
    MessageId::from_parts(1, Partition(0), unique)
}

fn token(counter: u64) -> Token {
    Token { epoch: Epoch(1), counter }
}

fn publish(unique: u64, level: Durability) -> Arc<Publish> {
    let to = Destination::skill(WORK).unwrap();
    let payload = Plan::Answer.payload(&unique.to_string(), 2);
    let mut publish = Publish::new(Envelope::new(id(unique), Kind::Request, to, payload.into()));
    publish.options.task = true;
    publish.options.durability = Some(level);
    Arc::new(publish)
}

fn result(publish: &Publish, mark: u64) -> Payload {
    format!("{}#{mark}", digest(&publish.envelope.payload.data)).into()
}

fn status(number: u64, state: TaskState) -> TaskEvent {
    let body = TaskEventBody::Status { state, reason: None };
    TaskEvent { number, epoch: Epoch(1), at: WallTime(0), body }
}

fn snapshot(publish: &Publish, state: TaskState, result: Option<Payload>) -> TaskSnapshot {
    TaskSnapshot {
        id: publish.envelope.id,
        destination: publish.envelope.destination.clone(),
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: None,
        agent: None,
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result,
        last_event: 3,
        created_at: WallTime(0),
        updated_at: WallTime(0),
        history: trunkline_types::History::default(),
    }
}

impl Scene {
    fn new(level: Durability) -> Self {
        let ledger = Ledger::new();
        let publish = publish(1, level);
        ledger.said(1);
        ledger.published(&publish);
        ledger.answered(WallTime(0));
        ledger.accepted(id(1), None);
        let mut scene = Self {
            disk: Disk::Plain,
            ledger,
            evidence: Evidence::default(),
            id: id(1),
            publish: Arc::clone(&publish),
        };
        scene.handle(1);
        let events = [TaskState::Submitted, TaskState::Working, TaskState::Completed];
        let events = (1..).zip(events).map(|(number, state)| status(number, state)).collect();
        scene.evidence.stories.insert(id(1), Story::Ended { events, gaps: Vec::new() });
        let snapshot = snapshot(&publish, TaskState::Completed, Some(result(&publish, 1)));
        scene.evidence.listed.insert(id(1), snapshot);
        scene.evidence.stats.tasks_completed = 1;
        scene
    }

    /// A delivery with this token is completed, and that is confirmed.
    fn handle(&mut self, counter: u64) {
        self.ledger.delivered(&Delivery {
            token: token(counter),
            publish: Arc::clone(&self.publish),
            inbox: InboxAddress::Skill(WORK.parse().unwrap()),
            attempt: 1,
            accepted_at: WallTime(0),
            expires_at: None,
            backlog: 0,
            backlog_age: std::time::Duration::ZERO,
            messages: Vec::new(),
            number: 1,
            missed: Vec::new(),
            max_run: None,
        });
        let outcome = Outcome::Complete { reply: Some(result(&self.publish, counter)) };
        self.ledger.settling(&Settle { token: token(counter), outcome });
        self.ledger.settled(token(counter), Ok(()));
    }

    fn task(&mut self) -> &mut TaskSnapshot {
        self.evidence.listed.get_mut(&self.id).unwrap()
    }

    fn story(&mut self) -> (&mut Vec<TaskEvent>, &mut Vec<(u64, u64)>) {
        match self.evidence.stories.get_mut(&self.id) {
            Some(Story::Ended { events, gaps }) => (events, gaps),
            _ => unreachable!("the scene has an ended task"),
        }
    }

    /// Which promises are broken.
    fn broken(&self) -> Vec<Promise> {
        let mut tallies = Tallies::default();
        let history = History::default();
        judge(self.disk, &history, &self.ledger.books(), &self.evidence, &mut tallies);
        Promise::ALL.into_iter().filter(|promise| tallies.of(*promise).broken > 0).collect()
    }
}

/// The promises that are broken after a change to a scene in which all are held.
fn broken_by(change: impl FnOnce(&mut Scene)) -> Vec<Promise> {
    let mut scene = Scene::new(Durability::Synced);
    assert_eq!(scene.broken(), []);
    change(&mut scene);
    scene.broken()
}

#[test]
fn a_lost_task_is_noticed() {
    let lost = |scene: &mut Scene| {
        scene.evidence.stories.insert(scene.id, Story::Missing);
        scene.evidence.listed.clear();
        scene.evidence.stats.tasks_completed = 0;
    };
    assert_eq!(broken_by(lost), [Promise::NothingLost]);
    for (level, disk, broken) in [
        (Durability::Buffered, Disk::Plain, vec![Promise::BufferedKept]),
        (Durability::Buffered, Disk::Unflushed, vec![]),
        (Durability::Ephemeral, Disk::Plain, vec![]),
    ] {
        let mut scene = Scene::new(level);
        scene.disk = disk;
        lost(&mut scene);
        assert_eq!(scene.broken(), broken, "{level} on {disk:?}");
    }
}

#[test]
fn a_task_that_does_not_end_is_noticed() {
    let stuck = |scene: &mut Scene| {
        scene.evidence.stories.insert(scene.id, Story::Open("open".into()));
    };
    assert_eq!(broken_by(stuck), [Promise::NothingLost]);
}

#[test]
fn a_second_end_is_noticed() {
    let on_record = |scene: &mut Scene| {
        scene.story().0.push(status(4, TaskState::Completed));
        scene.task().last_event = 4;
    };
    assert_eq!(broken_by(on_record), [Promise::EndsOnce]);
    // Two workers are told that their result is the result: one of them was told a lie.
    let confirmed = |scene: &mut Scene| scene.handle(2);
    assert_eq!(broken_by(confirmed), [Promise::EndsOnce, Promise::SettledStays]);
}

#[test]
fn a_wrong_end_is_noticed() {
    let unknown = |scene: &mut Scene| {
        let result = result(&scene.publish, 77);
        scene.task().result = Some(result);
    };
    assert_eq!(broken_by(unknown), [Promise::EndsAsHandled, Promise::SettledStays]);
    let undone = |scene: &mut Scene| {
        scene.task().state = TaskState::Failed;
        scene.evidence.stats.tasks_completed = 0;
        scene.evidence.stats.tasks_failed = 1;
    };
    assert_eq!(broken_by(undone), [Promise::EndsAsHandled, Promise::SettledStays]);
}

#[test]
fn a_repeated_token_and_an_altered_payload_are_noticed() {
    assert_eq!(broken_by(|scene| scene.handle(1)), [Promise::TokensUnique]);
    let altered = |scene: &mut Scene| {
        let mut other = (*scene.publish).clone();
        other.envelope.payload = "answer other".into();
        scene.ledger.books().sent.get_mut(&id(1)).unwrap().publish = Arc::new(other);
        scene.handle(2);
    };
    assert!(broken_by(altered).contains(&Promise::PayloadIntact));
}

#[test]
fn a_gap_in_the_events_is_noticed() {
    let missing = |scene: &mut Scene| drop(scene.story().0.remove(1));
    assert_eq!(broken_by(missing), [Promise::EventsNumbered]);
    let told = |scene: &mut Scene| scene.story().1.push((2, 2));
    assert_eq!(broken_by(told), [Promise::EventsNumbered]);
}

#[test]
fn what_was_not_accepted_must_not_be_there() {
    let refused = |scene: &mut Scene| {
        let refusal = Refusal::new(RefusalCode::DiskFull, "full");
        let other = publish(2, Durability::Synced);
        scene.ledger.published(&other);
        scene.ledger.refused(id(2), &refusal);
        scene.evidence.listed.insert(id(2), snapshot(&other, TaskState::Submitted, None));
    };
    assert_eq!(broken_by(refused), [Promise::NothingInvented]);
}

#[test]
fn a_key_that_made_two_tasks_is_noticed() {
    let twice = |scene: &mut Scene| {
        for unique in [2, 3] {
            let mut publish = (*publish(unique, Durability::Ephemeral)).clone();
            publish.envelope.idempotency_key = Some("key".parse().unwrap());
            scene.ledger.published(&Arc::new(publish));
            scene.ledger.accepted(id(unique), None);
        }
    };
    assert_eq!(broken_by(twice), [Promise::KeysOnce]);
    let once = |scene: &mut Scene| {
        for unique in [2, 3] {
            let mut publish = (*publish(unique, Durability::Ephemeral)).clone();
            publish.envelope.idempotency_key = Some("key".parse().unwrap());
            scene.ledger.published(&Arc::new(publish));
            let more = Accepted {
                operation: 1,
                id: id(2),
                duplicate: unique > 2,
                targets: 1,
                dropped: 0,
                parked: 0,
            };
            scene.ledger.accepted(id(unique), Some(&more));
        }
    };
    assert_eq!(broken_by(once), []);
}

#[test]
fn an_operation_without_answer_and_a_wrong_sum_are_noticed() {
    assert_eq!(broken_by(|scene| scene.ledger.said(1)), [Promise::AllAnswered]);
    let sum = |scene: &mut Scene| scene.evidence.stats.counters.accepted = 1;
    assert_eq!(broken_by(sum), [Promise::Conserved]);
    let count = |scene: &mut Scene| scene.evidence.stats.tasks_completed = 2;
    assert_eq!(broken_by(count), [Promise::Conserved]);
}

#[test]
fn a_recovery_that_changes_something_is_noticed() {
    let scene = Scene::new(Durability::Synced);
    let before = scene.evidence.listed.clone();
    let broken = |after: &HashMap<_, _>| {
        let mut tallies = Tallies::default();
        compare(Disk::Plain, &scene.ledger.books(), &before, after, &mut tallies);
        tallies.of(Promise::RecoveryFaithful).broken
    };
    assert_eq!(broken(&before), 0);
    let mut after = before.clone();
    for task in after.values_mut() {
        task.attempts += 1;
    }
    assert_eq!(broken(&after), 1);
    assert_eq!(broken(&HashMap::new()), 1);
}

#[test]
fn a_case_counts_under_the_faults_that_struck_while_it_was_under_way() {
    let mut scene = Scene::new(Durability::Synced);
    let (sent, day) = (scene.ledger.books().sent[&id(1)].at, 86_400_000);
    let (story, _) = scene.story();
    story[2].at = WallTime(sent.0 + day);
    let mut history = History::default();
    for (fault, from, until) in [
        (Fault::Cut, sent.0 - 2, sent.0 - 1),
        (Fault::Kill, sent.0 + 1, sent.0 + 2),
        (Fault::Stall, sent.0 + day + 1, sent.0 + day + 2),
    ] {
        let open = history.begin(fault, WallTime(from));
        history.end(open, WallTime(until));
    }
    let under = |scene: &Scene, fault| {
        let mut tallies = Tallies::default();
        judge(scene.disk, &history, &scene.ledger.books(), &scene.evidence, &mut tallies);
        tallies.under(Promise::NothingLost, fault)
    };
    assert_eq!(under(&scene, Fault::Kill), (1, 0));
    assert_eq!(under(&scene, Fault::Cut), (0, 0));
    assert_eq!(under(&scene, Fault::Stall), (0, 0));
    // What is lost may have been lost by whatever came after it was sent.
    scene.evidence.listed.clear();
    assert_eq!(under(&scene, Fault::Kill), (1, 1));
    assert_eq!(under(&scene, Fault::Cut), (0, 0));
    assert_eq!(under(&scene, Fault::Stall), (1, 1));
}

#[test]
fn a_damaged_block_excuses_the_tasks_that_it_told_of_and_no_other() {
    let scene = Scene::new(Durability::Synced);
    let task = scene.evidence.listed.values().next().unwrap();
    let before: HashMap<_, _> = (1..=3).map(|unique| (id(unique), task.clone())).collect();
    let broken = |told: &[u64], left: u64| {
        let after = before.clone().into_iter().filter(|(it, _)| *it <= id(left)).collect();
        let told = told.iter().copied().map(id).collect();
        let mut tallies = Tallies::default();
        contained(&told, &before, &after, &mut tallies);
        let tally = tallies.of(Promise::DamageContained);
        (tally.checked, tally.broken)
    };
    assert_eq!(broken(&[], 3), (3, 0));
    assert_eq!(broken(&[3, 9], 2), (3, 0));
    // As many records, but of others.
    assert_eq!(broken(&[1, 2], 2), (3, 1));
    assert_eq!(broken(&[3], 1), (3, 1));
    assert_eq!(broken(&[], 1), (3, 2));
}

#[test]
fn a_damaged_index_excuses_what_is_counted_and_no_task_more() {
    let scene = Scene::new(Durability::Synced);
    let task = scene.evidence.listed.values().next().unwrap();
    let before: HashMap<_, _> = (1..=3).map(|unique| (id(unique), task.clone())).collect();
    let broken = |forgotten, left: u64| {
        let after = before.clone().into_iter().filter(|(it, _)| *it <= id(left)).collect();
        let mut tallies = Tallies::default();
        index_contained(forgotten, &before, &after, &mut tallies);
        let tally = tallies.of(Promise::IndexContained);
        (tally.checked, tally.broken)
    };
    assert_eq!(broken(0, 3), (3, 0));
    assert_eq!(broken(0, 2), (3, 1));
    assert_eq!(broken(1, 2), (3, 0));
    assert_eq!(broken(1, 1), (3, 1));
    assert_eq!(broken(2, 1), (3, 0));
    assert_eq!(broken(0, 0), (3, 3));
}
