//! Payloads of waiting work leave memory above the bound, and come back ahead of their delivery.

mod continued;
mod unread;

use crate::world::{Peer, World, config, hello};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline_engine::{
    Command, Effect, EngineConfig, PayloadFigures, PayloadStore, QueryKey, Record,
};
use trunkline_types::session::Operation;
use trunkline_types::{
    Answer, DeadLetter, DeadLetterFilter, Kind, MessageId, Outcome, Principal, Priority, Publish,
    Query, RefusalCode, Sequence, TaskFilter, TaskSnapshot, TaskState,
};

/// The records of a test, to be read again.
#[derive(Clone, Debug, Default)]
struct Records(Arc<Mutex<Vec<(Sequence, Record)>>>);

impl PayloadStore for Records {
    fn read(&self, at: Sequence) -> Result<Arc<Publish>, String> {
        let records = self.0.lock().unwrap();
        let record = records.iter().find(|(place, _)| *place == at);
        let (_, record) = record.ok_or("the disk is broken")?;
        record.clone().into_publish().ok_or_else(|| "nothing was published".to_owned())
    }
}

/// A world whose payloads can leave memory.
struct Spilling {
    world: World,
    records: Records,
    sender: Peer,
    sent: Vec<Publish>,
}

impl Spilling {
    /// With room for so many bytes.
    fn new(bound: u64) -> Self {
        Self::with(EngineConfig { payload_memory: bound, ..config() })
    }

    fn with(config: EngineConfig) -> Self {
        let records = Records::default();
        let payloads: Option<Arc<dyn PayloadStore>> = Some(Arc::new(records.clone()));
        let mut world = World::new(EngineConfig { payloads, ..config });
        let sender = world.client(1);
        Self { world, records, sender, sent: Vec::new() }
    }

    /// Sends a task of 100 bytes that no other has.
    fn send(&mut self, to: &str, change: impl FnOnce(&mut Publish)) -> MessageId {
        let mut task = self.world.message(Kind::Request, to);
        task.options.task = true;
        task.envelope.payload = format!("{:0100}", self.sent.len()).into();
        task.envelope.headers.push(("name".into(), "value".into()));
        change(&mut task);
        self.world.publish(&mut self.sender, &task).unwrap();
        self.note_records();
        let id = task.envelope.id;
        self.sent.push(task);
        id
    }

    fn note_records(&mut self) {
        self.records.0.lock().unwrap().clone_from(&self.world.records);
    }

    /// What the latest call asked for.
    fn wanted(&self) -> Vec<Sequence> {
        let places = |effect: &Effect| match effect {
            Effect::Load { places } => places.clone(),
            _ => Vec::new(),
        };
        self.world.effects.iter().flat_map(places).collect()
    }

    /// The driver has read what was asked for.
    fn load(&mut self, places: Vec<Sequence>) {
        self.note_records();
        let payloads = places.into_iter().map(|at| (at, self.records.read(at))).collect();
        self.world.handle(Command::Loaded { payloads });
    }

    fn figures(&self) -> PayloadFigures {
        self.world.engine.payloads()
    }

    /// Works on everything, answering whatever is asked for; returns what was delivered.
    fn work_off(&mut self, agent: &mut Peer) -> Vec<Publish> {
        let mut done = Vec::new();
        let mut held = self.world.deliveries(*agent);
        let mut wanted = self.wanted();
        loop {
            if !held.is_empty() {
                let delivery = held.remove(0);
                self.world.complete(agent, &delivery);
                done.push((*delivery.publish).clone());
            } else if !wanted.is_empty() {
                self.load(std::mem::take(&mut wanted));
            } else {
                return done;
            }
            held.extend(self.world.deliveries(*agent));
            wanted.extend(self.wanted());
        }
    }

    fn ask(&mut self, question: Query) -> Result<Answer, trunkline_types::Refusal> {
        let principal = Principal::default();
        self.world.handle(Command::Ask {
            query: QueryKey(7),
            principal,
            question: Box::new(question),
        });
        match self.world.effects.pop() {
            Some(Effect::Answer { result, .. }) => result,
            other => panic!("no answer but {other:?}"),
        }
    }

    /// The disk fails to read what was asked for, and anything else until it is restarted.
    fn fail_to_load(&mut self, places: Vec<Sequence>) {
        self.records.0.lock().unwrap().clear();
        let payloads = places.into_iter().map(|at| (at, self.records.read(at))).collect();
        self.world.handle(Command::Loaded { payloads });
    }

    /// Dead letters, newest first.
    fn letters(&mut self) -> Vec<DeadLetter> {
        match self.ask(Query::DeadLetters(DeadLetterFilter::default())).unwrap() {
            Answer::DeadLetters(page) => page.letters,
            other => panic!("another answer: {other:?}"),
        }
    }

    /// Takes out all records but those that say again what is there.
    fn clean(&mut self) {
        let before = self.world.records.last().unwrap().0.next();
        let mut cleaned = false;
        while !cleaned {
            self.world.handle(Command::Clean { before });
            cleaned = self.world.effects.contains(&Effect::Cleaned { before });
        }
        self.world.records.retain(|(at, _)| *at >= before);
        self.note_records();
    }

    /// A task with what was said in it.
    fn task(&mut self, id: MessageId) -> TaskSnapshot {
        match self.ask(Query::Task { id, history_length: Some(10) }).unwrap() {
            Answer::Task(task) => *task,
            other => panic!("another answer: {other:?}"),
        }
    }

    /// Tasks, newest first.
    fn list(&mut self, filter: TaskFilter) -> Vec<TaskSnapshot> {
        match self.ask(Query::Tasks(filter)).unwrap() {
            Answer::Tasks(page) => page.tasks,
            other => panic!("another answer: {other:?}"),
        }
    }

    fn restarted(self) -> Self {
        let Self { world, records, sent, .. } = self;
        records.0.lock().unwrap().clone_from(&world.records);
        let mut world = world.killed();
        let sender = world.operator();
        Self { world, records, sender, sent }
    }
}

fn few(credit: u32) -> trunkline_types::session::Hello {
    let mut hello = hello(2, Some("a"));
    hello.credit.deliveries = credit;
    hello
}

#[test]
fn payloads_over_the_bound_leave_memory_and_are_delivered_whole_and_in_order() {
    let mut it = Spilling::new(1000);
    for _ in 0..600 {
        it.send("skill:s", |_| {});
    }
    let figures = it.figures();
    assert!((900..=1100).contains(&figures.memory_bytes), "{figures:?}");
    assert_eq!(figures.memory_bytes + figures.disk_bytes, 60_000);
    assert_eq!(figures.on_disk, figures.disk_bytes / 100);
    let mut agent = it.world.try_connect(few(3)).unwrap();
    assert_eq!(it.world.deliveries(agent).len(), 3, "what is in memory goes at once");
    assert_eq!(it.wanted().len(), 256, "what comes next is asked for ahead");
    let done = it.work_off(&mut agent);
    assert_eq!(done, it.sent, "each as it was sent");
    let figures = it.figures();
    assert_eq!((figures.memory_bytes, figures.disk_bytes, figures.on_disk), (0, 0, 0));
    assert!(figures.load_batches >= 3 && figures.loads >= 580, "{figures:?}");
}

#[test]
fn with_room_for_all_nothing_leaves_memory() {
    let mut it = Spilling::new(100_000);
    for _ in 0..600 {
        it.send("skill:s", |_| {});
    }
    assert_eq!((it.figures().on_disk, it.figures().memory_bytes), (0, 60_000));
}

#[test]
fn a_lower_bound_is_in_force_at_once() {
    let mut it = Spilling::new(100_000);
    for _ in 0..50 {
        it.send("skill:s", |_| {});
    }
    it.world.configure(|config| config.payload_memory = 1000);
    assert_eq!((it.figures().memory_bytes, it.figures().on_disk), (1000, 40));
    it.world.configure(|config| config.payload_memory = 100_000);
    assert_eq!(it.figures().on_disk, 40, "what is out stays out until it is wanted");
    let mut agent = it.world.try_connect(few(1)).unwrap();
    assert_eq!(it.work_off(&mut agent), it.sent);
}

#[test]
fn a_lower_bound_is_worked_off_in_steps_and_what_is_left_comes_first() {
    let mut it = Spilling::new(u64::MAX);
    for _ in 0..1300 {
        it.send("skill:s", |_| {});
    }
    it.world.configure(|config| config.payload_memory = 1000);
    assert!(it.world.engine.is_spilling());
    assert!((1..=1024).contains(&it.figures().on_disk), "{:?}", it.figures());
    it.world.pass(Duration::ZERO);
    assert!(!it.world.engine.is_spilling());
    assert_eq!((it.figures().memory_bytes, it.figures().on_disk), (1000, 1290));
    let mut agent = it.world.try_connect(few(7)).unwrap();
    assert_eq!(it.world.deliveries(agent).len(), 7, "those in memory are the first");
    assert_eq!(it.work_off(&mut agent), it.sent);
}

#[test]
fn a_task_whose_payload_is_out_is_listed_found_and_called_off_like_any_other() {
    let mut it = Spilling::new(0);
    let root = it.send("skill:s", |_| {});
    let parent = it.send("skill:s", |task| {
        task.envelope.causation_id = Some(root);
        task.envelope.root_id = Some(root);
        task.envelope.context_id = Some("c".parse().unwrap());
    });
    let child = it.send("skill:t", |task| {
        task.envelope.causation_id = Some(parent);
        task.envelope.root_id = Some(root);
        task.envelope.context_id = Some("c".parse().unwrap());
    });
    let expected: Vec<_> = it.sent.iter().rev().map(|sent| sent.envelope.clone()).collect();
    let shown = it.list(TaskFilter::default());
    assert_eq!((it.figures().on_disk, shown.len()), (3, 3));
    for (task, sent) in shown.iter().zip(&expected) {
        assert_eq!((task.id, &task.destination), (sent.id, &sent.destination));
        assert_eq!((task.root_id, task.causation_id), (sent.root_id, sent.causation_id));
        assert_eq!((&task.context_id, &task.source), (&sent.context_id, &sent.source));
        assert_eq!((task.state, task.last_event), (TaskState::Submitted, 1));
    }
    let of_context = TaskFilter { context_id: Some("c".parse().unwrap()), ..TaskFilter::default() };
    let of_root = TaskFilter { root_id: Some(root), ..TaskFilter::default() };
    let skill = TaskFilter { skill: Some("t".parse().unwrap()), ..TaskFilter::default() };
    let ids = |tasks: Vec<TaskSnapshot>| tasks.iter().map(|task| task.id).collect::<Vec<_>>();
    let mut it = it.restarted();
    assert_eq!(it.figures().on_disk, 3);
    assert_eq!(ids(it.list(of_context)), [child, parent]);
    assert_eq!(ids(it.list(of_root)), [child, parent, root]);
    assert_eq!(ids(it.list(skill)), [child]);
    assert_eq!(it.world.status(child).unwrap().copies.len(), 1);
    let operation = Operation::Cancel { id: parent, reason: String::new(), descendants: true };
    it.world.send(&mut it.sender, operation);
    let open = TaskFilter { states: vec![TaskState::Submitted], ..TaskFilter::default() };
    assert_eq!(ids(it.list(open)), [root]);
}

#[test]
fn a_priority_waits_for_its_payload_while_others_go_on() {
    let mut it = Spilling::new(0);
    let urgent = it.send("skill:s", |task| task.envelope.priority = Priority::Urgent);
    let low = it.send("skill:s", |task| task.envelope.priority = Priority::Low);
    assert_eq!(it.figures().on_disk, 2, "nobody is there, so even the first of each is out");
    let mut agent = it.world.try_connect(few(1)).unwrap();
    let wanted = it.wanted();
    assert_eq!(wanted.len(), 2);
    assert!(it.world.deliveries(agent).is_empty());
    // The payload of the lower one comes first.
    let (first, second): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|&at| it.records.read(at).unwrap().envelope.id == low);
    it.load(first);
    let delivery = it.world.deliveries(agent).remove(0);
    assert_eq!(delivery.publish.envelope.id, low);
    it.load(second);
    it.world.complete(&mut agent, &delivery);
    assert_eq!(it.world.deliveries(agent)[0].publish.envelope.id, urgent);
}

#[test]
fn work_with_one_ordering_key_stays_in_order() {
    let mut it = Spilling::new(150);
    for number in 0..60 {
        let key = format!("k{}", number % 3);
        it.send("skill:s", |task| task.envelope.ordering_key = Some(key.parse().unwrap()));
    }
    assert!(it.figures().on_disk > 50);
    let mut agent = it.world.try_connect(few(10)).unwrap();
    let done = it.work_off(&mut agent);
    for key in ["k0", "k1", "k2"] {
        let of = |all: &[Publish]| -> Vec<Publish> {
            let own = |one: &&Publish| {
                one.envelope.ordering_key.as_ref().is_some_and(|it| it.as_str() == key)
            };
            all.iter().filter(own).cloned().collect()
        };
        assert_eq!(of(&done), of(&it.sent));
    }
}

#[test]
fn what_waits_for_its_time_leaves_memory_too_and_comes_back_then() {
    let mut it = Spilling::new(0);
    for _ in 0..5 {
        it.send("skill:s", |task| task.options.delay = Some(Duration::from_secs(1)));
    }
    let mut agent = it.world.try_connect(few(10)).unwrap();
    assert_eq!(it.figures().on_disk, 5);
    assert!(it.wanted().is_empty(), "it is not wanted yet");
    it.world.pass(Duration::from_secs(2));
    assert_eq!(it.work_off(&mut agent), it.sent);
}

#[test]
fn a_payload_that_is_out_shows_in_the_history_of_its_task_before_and_after_its_end() {
    let mut it = Spilling::new(0);
    let id = it.send("skill:s", |_| {});
    let said = it.task(id).history.messages;
    assert_eq!(said[0].payload, it.sent[0].envelope.payload);
    let reason = String::new();
    let operation = Operation::Cancel { id, reason, descendants: false };
    it.world.send(&mut it.sender, operation);
    it.note_records();
    let ended = it.task(id);
    assert_eq!(ended.state, TaskState::Canceled);
    assert_eq!(ended.history.messages[0].payload, it.sent[0].envelope.payload);
    let mut it = it.restarted();
    assert_eq!(it.task(id).history.messages[0].payload, it.sent[0].envelope.payload);
    it.records.0.lock().unwrap().clear();
    let refusal = it.ask(Query::Task { id, history_length: None }).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert!(refusal.message.contains("the disk is broken"), "{refusal:?}");
    it.ask(Query::Task { id, history_length: Some(0) }).unwrap();
}

#[test]
fn a_dead_letter_of_work_whose_payload_was_out_is_whole() {
    let mut it = Spilling::new(0);
    let id = it.send("skill:s", |_| {});
    let mut agent = it.world.try_connect(few(10)).unwrap();
    let wanted = it.wanted();
    it.load(wanted);
    let delivery = it.world.deliveries(agent).remove(0);
    let reason = "no".to_owned();
    let outcome = Outcome::DeadLetter { reason };
    // Held over a restart, it is out again.
    it.world.handle(Command::Stop);
    let mut it = it.restarted();
    assert_eq!(it.figures().on_disk, 1);
    let mut hello = few(10);
    (hello.held, hello.next_operation) = (vec![delivery.token], agent.next);
    agent = it.world.try_connect(hello).unwrap();
    it.world.settle(&mut agent, delivery.token, outcome);
    let mut it = it.restarted();
    let letters = it.letters();
    assert_eq!(letters[0].publish.envelope.id, id);
    assert_eq!(*letters[0].publish, it.sent[0]);
}

#[test]
fn a_replay_spills_as_it_goes_and_what_it_leaves_is_delivered_whole() {
    let mut it = Spilling::new(1000);
    for _ in 0..300 {
        it.send("skill:s", |_| {});
    }
    let mut it = it.restarted();
    let figures = it.figures();
    assert!(figures.memory_bytes <= 1100 && figures.on_disk >= 289, "{figures:?}");
    let mut agent = it.world.try_connect(few(7)).unwrap();
    assert_eq!(it.work_off(&mut agent), it.sent);
}

#[test]
fn cleaning_says_what_is_out_again_whole_and_lets_go_of_it_again() {
    let mut it = Spilling::new(0);
    let canceled = it.send("skill:s", |_| {});
    let operation = Operation::Cancel { id: canceled, reason: String::new(), descendants: false };
    it.world.send(&mut it.sender, operation);
    for _ in 0..20 {
        it.send("skill:s", |_| {});
    }
    it.clean();
    assert_eq!(it.figures().on_disk, 20, "it is in memory only until it is written");
    assert_eq!(it.task(canceled).history.messages[0].payload, it.sent[0].envelope.payload);
    let mut it = it.restarted();
    assert_eq!(it.task(canceled).history.messages[0].payload, it.sent[0].envelope.payload);
    let mut agent = it.world.try_connect(few(4)).unwrap();
    assert_eq!(it.work_off(&mut agent), it.sent[1..]);
}

#[test]
fn what_is_said_again_while_it_is_asked_for_is_delivered_once() {
    let mut it = Spilling::new(0);
    it.send("skill:s", |_| {});
    let mut agent = it.world.try_connect(few(4)).unwrap();
    let wanted = it.wanted();
    let before = it.world.records.last().unwrap().0.next();
    it.world.handle(Command::Clean { before });
    let delivery = it.world.deliveries(agent).remove(0);
    assert_eq!(*delivery.publish, it.sent[0], "it was read for that, so it can go");
    it.world.records.retain(|(at, _)| *at >= before);
    // What was asked for is not there any longer, which is no harm.
    it.load(wanted);
    assert!(it.world.items(agent).is_empty());
    it.world.complete(&mut agent, &delivery);
    assert_eq!(it.figures().memory_bytes, 0);
}
