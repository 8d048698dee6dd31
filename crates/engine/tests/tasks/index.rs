//! Ended tasks leave memory for an index and stay readable.

use super::{child, shown, task};
use crate::stage::{Peer, Stage, config, deliveries, hello, items, later, millis, settle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline_engine::{
    Command, Effect, EndedTask, Engine, EngineConfig, Past, TaskIndex, merge_context, merge_tasks,
};
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{
    Answer, ContextSnapshot, Durability, MessageId, MessageStatus, Outcome, PauseReason, Publish,
    Query, RefusalCode, Sequence, TaskFilter, TaskPage, TaskSnapshot, TaskState, TaskUpdate,
    TenantId, WallTime,
};

/// An index in memory, in which tasks lie as bytes.
#[derive(Clone, Debug, Default)]
struct Index(Arc<Mutex<BTreeMap<MessageId, EndedTask>>>);

impl Index {
    /// Takes in what was handed over, as it is read again.
    fn take(&self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Past(Past::Ended(task)) = effect {
                self.insert(task);
            }
        }
    }

    fn insert(&self, task: &EndedTask) {
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        task.encode_head(&mut head);
        task.encode_rest(&mut rest);
        let mut read = EndedTask::decode_head(task.place, &head).unwrap();
        read.decode_rest(&rest).unwrap();
        assert_eq!(read, *task);
        self.0.lock().unwrap().insert(task.task.id, read);
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those that a filter wants, newest first, as a driver lists them.
    fn page(&self, filter: &TaskFilter, before: Sequence) -> TaskPage {
        let tasks = self.0.lock().unwrap();
        let wanted = tasks.values().rev().filter(|task| {
            task.place < before
                && task.is_wanted(&TenantId::default(), filter)
                && filter.before.is_none_or(|before| task.task.id < before)
        });
        let mut tasks: Vec<_> = wanted.map(|task| task.task.clone()).collect();
        let most = filter.limit as usize;
        let next = (tasks.len() > most).then(|| tasks[most - 1].id);
        tasks.truncate(most);
        TaskPage { tasks, next, ..TaskPage::default() }
    }
}

impl TaskIndex for Index {
    fn find(&self, _: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        Ok(self.0.lock().unwrap().get(&id).cloned().map(Box::new))
    }

    fn count(&self, _: &TenantId, before: Sequence) -> Result<u64, String> {
        let tasks = self.0.lock().unwrap();
        Ok(tasks.values().filter(|task| task.place < before).count() as u64)
    }

    fn since(&self) -> Result<Option<WallTime>, String> {
        let tasks = self.0.lock().unwrap();
        let first = tasks.values().min_by_key(|task| task.place);
        Ok(first.map(|task| task.task.updated_at))
    }
}

fn with(index: &Index, recent_tasks: usize) -> EngineConfig {
    EngineConfig { task_index: Some(Arc::new(index.clone())), recent_tasks, ..config() }
}

/// A task that ended with a reply.
fn done(stage: &mut Stage, index: &Index, agent: &mut Peer, client: &mut Peer) -> Publish {
    let mut publish = task(stage, "skill:s");
    publish.envelope.context_id = Some("talk".parse().unwrap());
    finish(stage, index, agent, client, &publish);
    publish
}

fn finish(stage: &mut Stage, index: &Index, agent: &mut Peer, client: &mut Peer, work: &Publish) {
    let sent = stage.publish(client, work).unwrap();
    index.take(&stage.complete(agent, deliveries(&sent)[0].token, "done"));
}

/// The index has everything up to now.
fn indexed(stage: &mut Stage) {
    let through = stage.engine.sequence();
    stage.handle(Command::Indexed { through });
}

fn status(stage: &mut Stage, id: MessageId) -> MessageStatus {
    match stage.query(Query::Message(id)) {
        Ok(Answer::Message(status)) => *status,
        other => panic!("{other:?}"),
    }
}

fn is_known(stage: &mut Stage, id: MessageId) -> bool {
    stage.query(Query::task(id)).is_ok()
}

/// What the engine says of a list, and up from which place ended tasks were in memory.
fn asked(stage: &mut Stage, question: Query) -> (Answer, Sequence) {
    let query = trunkline_engine::QueryKey(7);
    let principal = trunkline_types::Principal::default();
    let effects = stage.handle(Command::Ask { query, principal, question: Box::new(question) });
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Answer { result, known, .. } => Some((result, known.tasks_from)),
        _ => None,
    });
    let (result, ended_from) = answer.unwrap();
    let none = trunkline_types::History::default();
    let answer = result.unwrap_or_else(|_| {
        let (id, history) = ("talk".parse().unwrap(), none);
        Answer::Context(Box::new(ContextSnapshot { id, tasks: 0, tasks_open: 0, history }))
    });
    (answer, ended_from)
}

#[test]
fn an_ended_task_that_left_memory_is_shown_as_it_was() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 0));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let publish = task(&mut stage, "skill:s");
    let id = publish.envelope.id;
    let sent = stage.publish(&mut client, &publish).unwrap();
    let (reason, message) = (PauseReason::Input, Some("which?".into()));
    let pause = settle(deliveries(&sent)[0].token, Outcome::Pause { reason, message });
    stage.ask(&mut agent, pause).unwrap();
    let payload = "this".into();
    let again = stage.ask(&mut client, Operation::Continue { task: id, payload }).unwrap();
    index.take(&stage.complete(&mut agent, deliveries(&again)[0].token, "42"));
    let whole = Query::Task { id, history_length: None };
    let seen = |stage: &mut Stage| (stage.query(whole.clone()), status(stage, id));
    let before = seen(&mut stage);
    let Ok(Answer::Task(task)) = &before.0 else { panic!("{before:?}") };
    assert_eq!(task.history.messages.len(), 4);
    indexed(&mut stage);
    assert_eq!(seen(&mut stage), before);
    index.0.lock().unwrap().clear();
    assert!(!is_known(&mut stage, id), "it was still in memory");
}

#[test]
fn a_task_that_left_memory_is_watched_from_any_number() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 0));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let id = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    let last = shown(&mut stage, id).last_event;
    for after in 0..=last {
        let watch = Operation::Watch { task: id, after };
        let told = |effects: &[Effect]| -> Vec<TaskUpdate> {
            let update = |item: &SessionItem| match item {
                SessionItem::Task { update, .. } => Some(update.clone()),
                _ => None,
            };
            items(effects).filter_map(update).collect()
        };
        let in_memory = told(&stage.ask(&mut client, watch.clone()).unwrap());
        assert_eq!(in_memory.len() as u64, last - after);
        let through = stage.engine.sequence();
        let mut other = Stage::on(stage.config.clone(), stage.records.clone(), stage.now, through);
        let mut client = other.client(9);
        let on_disk = told(&other.ask(&mut client, watch).unwrap());
        assert_eq!(on_disk, in_memory);
    }
    let watch = Operation::Watch { task: id, after: last + 1 };
    indexed(&mut stage);
    let refusal = stage.ask(&mut client, watch).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
}

#[test]
fn what_is_done_about_a_task_that_left_memory_says_how_it_ended() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 0));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let done = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    let publish = task(&mut stage, "skill:t");
    stage.publish(&mut client, &publish).unwrap();
    let cancel = |id| Operation::Cancel { id, reason: "enough".into(), descendants: false };
    let canceled = publish.envelope.id;
    index.take(&stage.ask(&mut client, cancel(canceled)).unwrap());
    indexed(&mut stage);
    let go_on = Operation::Continue { task: done, payload: "x".into() };
    for operation in [cancel(done), go_on] {
        let refusal = stage.ask(&mut client, operation).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::WrongState, "{refusal}");
    }
    stage.ask(&mut client, cancel(canceled)).unwrap();
    stage.ask(&mut client, Operation::Unwatch { task: done }).unwrap();
}

#[test]
fn the_latest_stay_in_memory_and_what_the_index_lacks_does_too() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 2));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let ids: Vec<_> =
        (0..4).map(|_| done(&mut stage, &index, &mut agent, &mut client).envelope.id).collect();
    indexed(&mut stage);
    let later = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    index.0.lock().unwrap().clear();
    let known: Vec<_> = ids.iter().map(|&id| is_known(&mut stage, id)).collect();
    assert_eq!(known, [false, false, false, true]);
    assert!(is_known(&mut stage, later));
}

#[test]
fn nothing_leaves_memory_before_the_index_has_it_unless_that_takes_nothing_any_more() {
    let index = Index::default();
    let mut stage = Stage::new(EngineConfig { ended_tasks: 2, ..with(&index, 0) });
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let nowhere = Index::default();
    (0..3).for_each(|_| drop(done(&mut stage, &nowhere, &mut agent, &mut client)));
    assert_eq!(stage.stats().tasks_forgotten, 0, "they wait for the index");
    stage.handle(Command::IndexStopped);
    assert_eq!(stage.stats().tasks_forgotten, 1);
    nowhere.0.lock().unwrap().values().for_each(|task| index.insert(task));
    assert_eq!(stage.stats().tasks_forgotten, 0, "it can be read");
    indexed(&mut stage);
    assert_eq!(stage.stats().tasks_forgotten, 0);
    index.0.lock().unwrap().pop_first();
    assert_eq!(stage.stats().tasks_forgotten, 1, "the index let go of it");
}

#[test]
fn an_ephemeral_task_is_not_handed_over() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 0));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let mut publish = task(&mut stage, "skill:s");
    publish.options.durability = Some(Durability::Ephemeral);
    finish(&mut stage, &index, &mut agent, &mut client, &publish);
    assert_eq!(index.len(), 0);
    indexed(&mut stage);
    assert!(is_known(&mut stage, publish.envelope.id));
}

#[test]
fn a_replay_hands_over_again_what_the_index_lacks_and_keeps_nothing_that_it_has() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 1));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    done(&mut stage, &index, &mut agent, &mut client);
    let middle = stage.engine.sequence();
    stage.handle(Command::Indexed { through: middle });
    let second = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    for through in [Sequence(0), middle] {
        let mut engine = Engine::new(stage.config.clone());
        engine.indexed(through);
        let mut handed = Vec::new();
        for (at, record) in stage.records.clone() {
            engine.replay(at, record).unwrap();
            handed.extend(engine.take_past().into_iter().filter_map(|past| match past {
                Past::Ended(task) => Some(*task),
                _ => None,
            }));
        }
        let known = index.0.lock().unwrap();
        let wanted: Vec<_> = known.values().filter(|task| task.place > through).collect();
        assert_eq!(handed.iter().collect::<Vec<_>>(), wanted);
        if through == middle {
            assert_eq!(wanted[0].task.id, second);
            assert_eq!(engine.durable_state(), stage.engine.durable_state());
        }
    }
}

#[test]
fn cleaning_leaves_out_what_the_index_has() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 10));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let first = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    indexed(&mut stage);
    let second = done(&mut stage, &Index::default(), &mut agent, &mut client).envelope.id;
    let (before, through) = (stage.engine.sequence().next(), stage.engine.indexed_through());
    let mut effects = stage.handle(Command::Clean { before });
    while !effects.contains(&Effect::Cleaned { before }) {
        effects = stage.handle(Command::Clean { before });
    }
    stage.records.retain(|(at, _)| *at >= before);
    let now = later(stage.now, millis(1));
    let mut stage = Stage::on(stage.config, stage.records, now, through);
    assert!(is_known(&mut stage, first) && is_known(&mut stage, second));
    index.0.lock().unwrap().clear();
    assert_eq!([first, second].map(|id| is_known(&mut stage, id)), [false, true]);
}

#[test]
fn a_lost_index_takes_no_task_along_that_the_log_still_has() {
    const HOUR: Duration = Duration::from_hours(1);
    let index = Index::default();
    let mut stage = Stage::new(EngineConfig { ended_task_keep: HOUR, ..with(&index, 0) });
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    // The first ends while the clock is ahead, and leaves memory for the index.
    let noon = stage.now.wall;
    stage.now.wall = noon.after(HOUR);
    let first = done(&mut stage, &index, &mut agent, &mut client).envelope.id;
    indexed(&mut stage);
    // The second ends after it, and is past its time before it.
    stage.now.wall = noon;
    let second = done(&mut stage, &Index::default(), &mut agent, &mut client).envelope.id;
    stage.pass(HOUR + millis(1));
    assert_eq!([first, second].map(|id| is_known(&mut stage, id)), [true, false]);
    // Everything is said again, nothing is gone yet, and the index is.
    let before = stage.engine.sequence().next();
    let mut effects = stage.handle(Command::Clean { before });
    while !effects.contains(&Effect::Cleaned { before }) {
        effects = stage.handle(Command::Clean { before });
    }
    index.0.lock().unwrap().clear();
    let mut stage = Stage::on(stage.config, stage.records, stage.now, Sequence(0));
    assert!(is_known(&mut stage, first));
    stage.pass(HOUR);
    assert_eq!([first, second].map(|id| is_known(&mut stage, id)), [false, false]);
}

#[test]
fn a_list_goes_over_from_memory_to_the_index_without_gap_or_repeat() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 3));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let mut ids: Vec<_> =
        (0..10).map(|_| done(&mut stage, &index, &mut agent, &mut client).envelope.id).collect();
    indexed(&mut stage);
    let open = task(&mut stage, "skill:t");
    stage.publish(&mut client, &open).unwrap();
    ids.push(open.envelope.id);
    ids.reverse();
    for limit in 1..=12 {
        let (mut listed, mut filter) = (Vec::new(), TaskFilter { limit, ..TaskFilter::default() });
        loop {
            let (answer, ended_from) = asked(&mut stage, Query::Tasks(filter.clone()));
            let Answer::Tasks(page) = answer else { panic!("{answer:?}") };
            assert!(page.tasks.len() <= 4, "more is in memory than stays there");
            let page = merge_tasks(&filter, page, index.page(&filter, ended_from));
            assert!(page.tasks.len() <= limit as usize);
            listed.extend(page.tasks.iter().map(|task: &TaskSnapshot| task.id));
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(listed, ids, "{limit} at a time");
    }
}

#[test]
fn a_task_in_both_is_shown_as_in_memory_and_nothing_beyond_the_shorter_page() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 9));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    (0..4).for_each(|_| drop(done(&mut stage, &index, &mut agent, &mut client)));
    let filter = TaskFilter { limit: 10, ..TaskFilter::default() };
    let all = index.page(&filter, Sequence(u64::MAX));
    let mut known = all.clone();
    known.tasks.iter_mut().for_each(|task| task.state = TaskState::Working);
    let (first, third) = (all.tasks[0].id, all.tasks[2].id);
    known.tasks.remove(1);
    let merged = merge_tasks(&filter, known.clone(), all.clone());
    let (working, completed) = (TaskState::Working, TaskState::Completed);
    let states: Vec<_> = merged.tasks.iter().map(|task| task.state).collect();
    assert_eq!((states, merged.next), (vec![working, completed, working, working], None));
    known.tasks.truncate(1);
    known.next = Some(first);
    let merged = merge_tasks(&filter, known, all.clone());
    assert_eq!((merged.tasks.len(), merged.next), (1, Some(first)));
    let mut past = all.clone();
    past.tasks.truncate(3);
    past.next = Some(third);
    let merged = merge_tasks(&filter, all, past);
    assert_eq!((merged.tasks.len(), merged.next), (3, Some(third)));
}

#[test]
fn a_conversation_has_the_messages_of_tasks_in_memory_and_in_the_index() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 2));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    for _ in 0..5 {
        done(&mut stage, &index, &mut agent, &mut client);
        stage.pass(millis(1));
    }
    let id = "talk".parse().unwrap();
    let ask = |history_length| Query::Context { id: "talk".parse().unwrap(), history_length };
    let (whole, _) = asked(&mut stage, ask(None));
    let Answer::Context(whole) = whole else { panic!("{whole:?}") };
    assert_eq!((whole.tasks, whole.history.messages.len()), (5, 10));
    indexed(&mut stage);
    for length in [None, Some(0), Some(1), Some(5), Some(10), Some(11)] {
        let (known, ended_from) = asked(&mut stage, ask(length));
        let Answer::Context(known) = known else { panic!("{known:?}") };
        assert_eq!(known.tasks, 2);
        let tasks = index.0.lock().unwrap();
        let past: Vec<_> =
            tasks.values().rev().filter(|task| task.place < ended_from).cloned().collect();
        let merged = merge_context(&id, Ok(*known), &past, false, length).unwrap();
        let most = length.map_or(10, |length| length.min(10)) as usize;
        assert_eq!(merged.tasks, 5);
        assert_eq!(merged.history.messages[..], whole.history.messages[10 - most..]);
        assert_eq!(merged.history.more, most < 10 && length != Some(0));
    }
}

#[test]
fn who_calls_off_a_task_reaches_those_below_one_that_left_memory() {
    let index = Index::default();
    let mut stage = Stage::new(with(&index, 0));
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let root = task(&mut stage, "skill:t");
    let middle = child(&mut stage, &root, "skill:s");
    let leaf = child(&mut stage, &middle, "skill:t");
    let top = child(&mut stage, &root, "skill:t");
    stage.publish(&mut client, &root).unwrap();
    stage.publish(&mut client, &top).unwrap();
    finish(&mut stage, &index, &mut agent, &mut client, &middle);
    stage.publish(&mut client, &leaf).unwrap();
    indexed(&mut stage);
    let cancel =
        Operation::Cancel { id: middle.envelope.id, reason: "enough".into(), descendants: true };
    // The one in the middle has ended, those below it have not.
    let _ = stage.ask(&mut client, cancel);
    assert_eq!(shown(&mut stage, leaf.envelope.id).state, TaskState::Canceled);
    assert_eq!(shown(&mut stage, top.envelope.id).state, TaskState::Submitted);
}

#[test]
fn an_index_that_cannot_be_read_says_so_instead_of_knowing_nothing() {
    #[derive(Debug)]
    struct Broken;
    impl TaskIndex for Broken {
        fn find(&self, _: &TenantId, _: MessageId) -> Result<Option<Box<EndedTask>>, String> {
            Err("the disk is on fire".into())
        }
        fn count(&self, _: &TenantId, _: Sequence) -> Result<u64, String> {
            Err("the disk is on fire".into())
        }
        fn since(&self) -> Result<Option<WallTime>, String> {
            Err("the disk is on fire".into())
        }
    }
    let mut stage = Stage::new(EngineConfig { task_index: Some(Arc::new(Broken)), ..config() });
    let id = stage.id();
    let refusal = stage.query(Query::task(id)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert!(refusal.message.contains("on fire"), "{refusal}");
    stage.connect(hello(1, None));
}
