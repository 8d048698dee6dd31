//! Ended tasks on disk: read and listed after they left memory, made again from the log when the
//! index is missing, damaged or behind, and deleted when they are past their time or too much.

use crate::common::scene::{Scene, file, indexing as at};
use crate::common::{get, task};
use rusqlite::Connection;
use std::time::Duration;
use std::{fs, thread};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::{Connector, Operation, SessionItem};
use trunkline_types::{
    Answer, ContextSnapshot, MessageId, Outcome, Query, RefusalCode, Stats, TaskFilter, TaskState,
    TaskUpdate, WallTime,
};

/// Work that is done.
impl Scene {
    /// So many tasks that are done, in the order in which they were.
    async fn work(&mut self, count: usize) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(self.complete(task("s", &number.to_string())).await);
        }
        ids
    }

    /// Waits until so many ended tasks are on disk only.
    async fn tasks_indexed(&self, count: u64) {
        self.until(|stats| stats.tasks_indexed == count).await;
    }

    async fn context(&self, id: &str, history_length: Option<u32>) -> ContextSnapshot {
        let question = Query::Context { id: id.parse().unwrap(), history_length };
        match self.broker.query(question).await.unwrap() {
            Answer::Context(context) => *context,
            other => panic!("{other:?}"),
        }
    }
}

async fn is_known(broker: &Broker, id: MessageId) -> bool {
    match get(broker, id).await {
        Ok(task) => task.state.is_terminal(),
        Err(refusal) => {
            assert_eq!(refusal.code, RefusalCode::NotFound, "{refusal}");
            false
        }
    }
}

#[tokio::test]
async fn an_ended_task_is_read_from_the_index_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let id = scene.work(1).await[0];
    let before = get(&scene.broker, id).await.unwrap();
    scene.tasks_indexed(1).await;
    assert_eq!(get(&scene.broker, id).await.unwrap(), before);
    scene.close().await;
    let mut scene = Scene::open(at(data.path()), 3).await;
    assert_eq!(get(&scene.broker, id).await.unwrap(), before);
    let number = scene.client.send(Operation::Watch { task: id, after: 1 });
    scene.client.answer(number).await.unwrap();
    for wanted in 2..=before.last_event {
        let told = scene.client.find(|item| match item {
            SessionItem::Task { update: TaskUpdate::Event(event), .. } => Some(event.number),
            _ => None,
        });
        assert_eq!(told.await, wanted);
    }
    let stats = scene.stats().await;
    assert_eq!((stats.tasks_forgotten, stats.tasks_completed, stats.tasks_indexed), (0, 1, 1));
    // What the index does not have, nobody has.
    let connection = Connection::open(file(data.path())).unwrap();
    connection.execute("DELETE FROM tasks", []).unwrap();
    assert!(!is_known(&scene.broker, id).await);
}

#[tokio::test]
async fn as_many_of_the_latest_stay_in_memory_as_are_set() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.recent_tasks = 2;
    let mut scene = Scene::open(config, 1).await;
    scene.work(5).await;
    scene.tasks_indexed(3).await;
}

#[tokio::test]
async fn lists_are_narrowed_by_every_field_and_go_on_from_page_to_page() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.recent_tasks = 3;
    let mut scene = Scene::open(config, 1).await;
    let root = scene.complete(task("s", "root")).await;
    let mut all = vec![root];
    let mut expected: [Vec<MessageId>; 4] = Default::default();
    for number in 0..40 {
        let mut work = task("s", "x");
        let id = work.envelope.id;
        all.push(id);
        if number % 4 == 0 {
            work.envelope.context_id = Some("talk".parse().unwrap());
            expected[0].push(id);
        }
        if number % 5 == 0 {
            (work.envelope.root_id, work.envelope.causation_id) = (Some(root), Some(root));
            expected[1].push(id);
        }
        if number % 3 == 0 {
            work.envelope.destination = "agent:a".parse().unwrap();
            expected[2].push(id);
        }
        if number % 7 == 0 {
            expected[3].push(id);
            scene.end(work, Outcome::Fail { reason: "no".into() }).await;
        } else {
            scene.complete(work).await;
        }
    }
    scene.tasks_indexed(38).await;
    let mut open = task("nobody", "open");
    open.envelope.context_id = Some("talk".parse().unwrap());
    expected[0].push(open.envelope.id);
    all.push(open.envelope.id);
    scene.client.publish(open.clone()).await.unwrap();
    expected[1].insert(0, root);
    let [of_context, of_root, sent_to_agent, failed] = expected;
    let ended: Vec<_> = all.iter().copied().filter(|id| *id != open.envelope.id).collect();
    let of_skill: Vec<_> = ended.iter().copied().filter(|id| !sent_to_agent.contains(id)).collect();
    let both = |a: &[MessageId], b: &[MessageId]| -> Vec<MessageId> {
        a.iter().copied().filter(|id| b.contains(id)).collect()
    };
    let state = |state| vec![state];
    let none = TaskFilter::default;
    let (context, agent) = ("talk".parse().ok(), "a".parse().ok());
    let skill: Option<trunkline_types::SkillName> = "s".parse().ok();
    let cases = [
        (none(), all.clone()),
        (TaskFilter { context_id: context.clone(), ..none() }, of_context.clone()),
        (TaskFilter { root_id: Some(root), ..none() }, of_root.clone()),
        (TaskFilter { agent: agent.clone(), ..none() }, ended.clone()),
        (TaskFilter { skill: skill.clone(), ..none() }, of_skill.clone()),
        (TaskFilter { states: state(TaskState::Failed), ..none() }, failed.clone()),
        (TaskFilter { states: state(TaskState::Submitted), ..none() }, vec![open.envelope.id]),
        (
            TaskFilter { states: vec![TaskState::Failed, TaskState::Completed], ..none() },
            ended.clone(),
        ),
        (
            TaskFilter { agent: agent.clone(), states: state(TaskState::Failed), ..none() },
            failed.clone(),
        ),
        (
            TaskFilter { skill: skill.clone(), states: state(TaskState::Failed), ..none() },
            both(&failed, &of_skill),
        ),
        (TaskFilter { agent: agent.clone(), skill: skill.clone(), ..none() }, of_skill.clone()),
        (
            TaskFilter { context_id: context, root_id: Some(root), ..none() },
            both(&of_context, &of_root),
        ),
        (TaskFilter { root_id: Some(root), agent, skill, ..none() }, both(&of_root, &of_skill)),
        (TaskFilter { agent: "b".parse().ok(), ..none() }, Vec::new()),
    ];
    for (filter, mut wanted) in cases {
        wanted.reverse();
        for limit in [0, 1, 3, 1000] {
            let filter = TaskFilter { limit, ..filter.clone() };
            assert_eq!(scene.list(filter.clone()).await, wanted, "{filter:?}");
        }
    }
    let refused = scene.broker.query(Query::Tasks(TaskFilter { limit: 1001, ..none() })).await;
    assert_eq!(refused.unwrap_err().code, RefusalCode::Invalid);
    let agents = |count: usize| (0..count).map(|n| format!("a{n}").parse().unwrap()).collect();
    let but = |count| Query::Tasks(TaskFilter { except: agents(count), ..none() });
    let refused = scene.broker.query(but(TaskFilter::MOST_EXCEPT + 1)).await.unwrap_err();
    assert!(refused.message.contains("9 agents, the limit is 8"), "{refused}");
    assert!(scene.broker.query(but(TaskFilter::MOST_EXCEPT)).await.is_ok());
}

#[tokio::test]
async fn a_list_by_time_goes_by_the_acceptance_whatever_the_clock_of_who_made_the_id() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        // Its id is of a time long ago.
        let id = scene.complete(task("s", "x")).await;
        assert_eq!(id.millis(), 1);
        tasks.push((get(&scene.broker, id).await.unwrap().created_at, id));
        thread::sleep(Duration::from_millis(3));
    }
    scene.tasks_indexed(3).await;
    let listed = async |since: Option<WallTime>, until: Option<WallTime>| {
        scene.list(TaskFilter { since, until, ..TaskFilter::default() }).await
    };
    let [(_, first), (second_at, second), (third_at, third)] = tasks[..] else { panic!() };
    assert_eq!(listed(Some(second_at), None).await, [third, second]);
    assert_eq!(listed(None, Some(second_at)).await, [first]);
    assert_eq!(listed(Some(second_at), Some(third_at)).await, [second]);
    assert_eq!(listed(Some(third_at.after(Duration::from_secs(1))), None).await, []);
}

#[tokio::test]
async fn a_conversation_is_whole_over_memory_and_index() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.recent_tasks = 1;
    let mut scene = Scene::open(config, 1).await;
    for number in 0..4 {
        let mut work = task("s", &number.to_string());
        work.envelope.context_id = Some("talk".parse().unwrap());
        scene.complete(work).await;
    }
    scene.tasks_indexed(3).await;
    let context = scene.context("talk", None).await;
    assert_eq!((context.tasks, context.tasks_open), (4, 0));
    let said = |context: &ContextSnapshot| -> Vec<String> {
        let messages = context.history.messages.iter();
        messages.map(|message| message.payload.to_text().into_owned()).collect()
    };
    assert_eq!(said(&context), ["0", "done", "1", "done", "2", "done", "3", "done"]);
    let latest = scene.context("talk", Some(3)).await;
    assert_eq!(said(&latest), ["done", "3", "done"]);
    assert!(latest.history.more);
    assert_eq!(scene.context("talk", Some(0)).await.tasks, 4);
    let question = Query::Context { id: "other".parse().unwrap(), history_length: None };
    assert_eq!(scene.broker.query(question).await.unwrap_err().code, RefusalCode::NotFound);
}

#[tokio::test]
async fn another_tenant_finds_nothing_in_the_index() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let mut work = task("s", "x");
    work.envelope.context_id = Some("talk".parse().unwrap());
    let id = scene.complete(work).await;
    scene.tasks_indexed(1).await;
    let tenant = "other".parse().unwrap();
    let principal = trunkline_types::Principal { tenant, ..Default::default() };
    let other = scene.broker.as_principal(principal);
    for question in [
        Query::task(id),
        Query::Message(id),
        Query::Context { id: "talk".parse().unwrap(), history_length: None },
    ] {
        assert_eq!(other.query(question).await.unwrap_err().code, RefusalCode::NotFound);
    }
    let Ok(Answer::Tasks(page)) = other.query(Query::Tasks(TaskFilter::default())).await else {
        panic!()
    };
    assert_eq!(page.tasks, []);
}

#[tokio::test]
async fn a_missing_or_damaged_index_gets_its_tasks_from_the_log_again() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let mut ids = scene.work(20).await;
    scene.tasks_indexed(20).await;
    scene.close().await;
    ids.reverse();
    for session in [3, 5, 7] {
        match session {
            3 => fs::remove_dir_all(data.path().join("index")).unwrap(),
            5 => fs::write(file(data.path()), "no database at all".repeat(1000)).unwrap(),
            _ => fs::write(file(data.path()), "").unwrap(),
        }
        let scene = Scene::open(at(data.path()), session).await;
        assert_eq!(scene.list(TaskFilter::default()).await, ids);
        scene.tasks_indexed(20).await;
        assert_eq!(scene.list(TaskFilter::default()).await, ids);
        assert_eq!(scene.stats().await.tasks_forgotten, 0);
        scene.close().await;
    }
}

#[tokio::test]
async fn an_index_without_tasks_gets_them_and_keeps_its_keys() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let mut work = task("s", "x");
    work.envelope.idempotency_key = Some("once".parse().unwrap());
    let id = scene.complete(work.clone()).await;
    scene.tasks_indexed(1).await;
    scene.close().await;
    let connection = Connection::open(file(data.path())).unwrap();
    connection
        .execute_batch(
            "DROP TABLE tasks; DROP TABLE task_sums; DROP TABLE task_times;
             DROP TABLE letters; DROP TABLE letter_sums; ALTER TABLE state DROP COLUMN complete;
             ALTER TABLE state DROP COLUMN tasks_gone; ALTER TABLE state DROP COLUMN letters_gone;
             ALTER TABLE state DROP COLUMN again;
             PRAGMA user_version = 1;
             UPDATE keys SET place = place + 1000000, id = substr(id, 1, 16);",
        )
        .unwrap();
    drop(connection);
    let mut scene = Scene::open(at(data.path()), 3).await;
    assert!(is_known(&scene.broker, id).await);
    scene.tasks_indexed(1).await;
    work.envelope.id = crate::common::new_id();
    let again = scene.client.publish(work).await.unwrap();
    assert!(again.is_some_and(|accepted| accepted.duplicate));
    let connection = Connection::open(file(data.path())).unwrap();
    let old = "SELECT count(*) FROM keys WHERE place > 1000000";
    assert_eq!(connection.query_row(old, [], |row| row.get::<_, i64>(0)), Ok(1));
}

#[tokio::test]
async fn tasks_of_records_that_were_cleaned_away_are_in_the_index() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.clean_min_bytes = 1 << 18;
    config.engine.recent_tasks = 10;
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut ids = Vec::new();
    for _ in 0..400 {
        ids.push(scene.complete(task("s", &"x".repeat(4000))).await);
    }
    let cleaned = |stats: &Stats| stats.log.is_some_and(|log| log.removed_segments > 10);
    let stats = scene.until(cleaned).await;
    let log = stats.log.unwrap();
    assert!(log.amplification_percent() < 150, "what the index has is not said again: {log:?}");
    scene.close().await;
    let scene = Scene::open(config, 3).await;
    ids.reverse();
    assert_eq!(scene.list(TaskFilter { limit: 1000, ..TaskFilter::default() }).await, ids);
    assert_eq!(scene.stats().await.tasks_forgotten, 0);
}

#[tokio::test]
async fn tasks_on_disk_go_when_their_time_is_over_and_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    let mut scene = Scene::open(config.clone(), 1).await;
    let ids = scene.work(3).await;
    scene.tasks_indexed(3).await;
    thread::sleep(Duration::from_millis(5));
    config.engine.ended_task_keep = Duration::from_millis(1);
    scene.broker.reconfigure(config.engine.clone()).unwrap();
    scene.until(|stats| stats.tasks_forgotten == 3 && stats.tasks_indexed == 0).await;
    for id in ids {
        assert!(!is_known(&scene.broker, id).await);
    }
    scene.close().await;
    let scene = Scene::open(config, 3).await;
    assert_eq!(scene.stats().await.tasks_forgotten, 3);
}

#[tokio::test]
async fn the_oldest_tasks_on_disk_go_when_there_are_too_many_bytes_and_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.ended_task_disk_bytes = 20 << 10;
    let mut scene = Scene::open(config, 1).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(scene.complete(task("s", &"x".repeat(4000))).await);
    }
    let stats = scene.until(|stats| stats.tasks_indexed + stats.tasks_forgotten == 10).await;
    let stats = if stats.tasks_indexed > 5 {
        scene.until(|stats| stats.tasks_indexed < 6).await
    } else {
        stats
    };
    assert_eq!((stats.tasks_forgotten, stats.tasks_indexed), (6, 4));
    assert!(!is_known(&scene.broker, ids[5]).await && is_known(&scene.broker, ids[6]).await);
}

#[tokio::test]
async fn without_a_place_for_an_index_ended_tasks_stay_in_memory() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("index"), "in the way").unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let ids = scene.work(3).await;
    for id in &ids {
        assert!(is_known(&scene.broker, *id).await);
    }
    let stats = scene.stats().await;
    assert_eq!((stats.tasks_indexed, stats.records_unindexed), (0, 0));
    scene.close().await;
    let scene = Scene::open(at(data.path()), 3).await;
    assert_eq!(scene.list(TaskFilter::default()).await.len(), 3);
}

#[tokio::test]
async fn while_the_index_cannot_follow_new_work_waits_and_no_task_is_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::durable(data.path());
    (config.engine.ended_tasks, config.engine.recent_tasks) = (2, 0);
    let mut scene = Scene::open(config, 1).await;
    // Whoever looks into the file can keep the broker from writing to it.
    let connection = Connection::open(file(data.path())).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let large = "x".repeat(1 << 20);
    let mut ids = Vec::new();
    let refusal = loop {
        let work = task("s", &large);
        let id = work.envelope.id;
        match scene.client.publish(work).await {
            Ok(_) => ids.push(id),
            Err(refusal) => break refusal,
        }
        assert!(ids.len() < 200, "256 MiB may wait");
        let delivery = scene.agent.delivery().await;
        let outcome = Outcome::Complete { reply: Some(large.as_str().into()) };
        let number = scene.agent.settle(delivery.token, outcome);
        scene.agent.answer(number).await.unwrap();
    };
    assert_eq!(refusal.code, RefusalCode::Unavailable, "{refusal}");
    let known = async |scene: &Scene, id: MessageId| {
        let question = Query::Task { id, history_length: Some(0) };
        scene.broker.query(question).await.is_ok()
    };
    for id in &ids {
        assert!(known(&scene, *id).await, "{id} is in memory until the index has it");
    }
    assert_eq!(scene.stats().await.tasks_forgotten, 0);
    connection.execute_batch("ROLLBACK").unwrap();
    scene.tasks_indexed(ids.len() as u64).await;
    scene.complete(task("s", "again")).await;
    scene.tasks_indexed(ids.len() as u64 + 1).await;
    for id in &ids {
        assert!(known(&scene, *id).await);
    }
    assert_eq!(scene.stats().await.tasks_forgotten, 0);
}

#[tokio::test]
async fn it_is_said_since_when_every_ended_task_is_known() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.clean_min_bytes = 1 << 18;
    let mut scene = Scene::open(config.clone(), 1).await;
    let made = scene.stats().await.history_since_ms;
    let first = scene.work(1).await[0];
    let end = get(&scene.broker, first).await.unwrap().updated_at;
    assert!((1..=end.0).contains(&made));
    thread::sleep(Duration::from_millis(5));
    for _ in 0..300 {
        scene.complete(task("s", &"x".repeat(4000))).await;
    }
    let cleaned = |stats: &Stats| stats.log.is_some_and(|log| log.removed_segments > 10);
    scene.until(cleaned).await;
    assert_eq!(scene.stats().await.history_since_ms, made, "none was forgotten");
    scene.close().await;
    // What cleaned segments alone told of is lost with the index.
    fs::remove_dir_all(data.path().join("index")).unwrap();
    let scene = Scene::open(config.clone(), 3).await;
    let stats = scene.until(|stats| stats.records_unindexed == 0).await;
    let since = stats.history_since_ms;
    assert!(stats.tasks_forgotten > 0 && since > end.0, "{stats:?}");
    let filter = TaskFilter { limit: 1000, ..TaskFilter::default() };
    let question = Query::Tasks(filter);
    let Ok(Answer::Tasks(page)) = scene.broker.query(question).await else { panic!() };
    let known = page.tasks.iter().filter(|task| task.updated_at.0 >= since).count();
    assert!(known > 0, "they are those that ended last");
    scene.close().await;
    let scene = Scene::open(config, 5).await;
    let again = scene.until(|stats| stats.records_unindexed == 0).await.history_since_ms;
    assert_eq!(again, since);
}
