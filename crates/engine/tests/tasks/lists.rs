//! Lists of tasks: what narrows them, and that none looks at too many.

use super::{child, publish_all, task};
use crate::stage::{Stage, config, deliveries, millis};
use trunkline_engine::{Command, Effect, QueryKey};
use trunkline_types::{
    Answer, MessageId, Principal, Query, TaskFilter, TaskPage, TaskState, WallTime,
};

fn page(stage: &mut Stage, filter: TaskFilter) -> TaskPage {
    match stage.query(Query::Tasks(filter)) {
        Ok(Answer::Tasks(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn ids(stage: &mut Stage, filter: TaskFilter) -> Vec<MessageId> {
    page(stage, filter).tasks.iter().map(|task| task.id).collect()
}

#[test]
fn tasks_are_listed_by_any_of_several_states() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let [done, held, waiting] = ["skill:s", "skill:s", "skill:t"].map(|to| task(&mut stage, to));
    let sent = stage.publish(&mut client, &done).unwrap();
    stage.complete(&mut agent, deliveries(&sent)[0].token, "yes");
    stage.publish(&mut client, &held).unwrap();
    stage.publish(&mut client, &waiting).unwrap();
    let [done, held, waiting] = [done, held, waiting].map(|task| task.envelope.id);
    let mut listed = |states: &[TaskState]| {
        ids(&mut stage, TaskFilter { states: states.to_vec(), ..TaskFilter::default() })
    };
    assert_eq!(listed(&[]), [waiting, held, done]);
    assert_eq!(listed(&[TaskState::Working]), [held]);
    assert_eq!(listed(&[TaskState::Submitted, TaskState::Completed]), [waiting, done]);
}

#[test]
fn tasks_are_listed_by_their_root_with_the_root_among_them() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let root = task(&mut stage, "skill:s");
    let first = child(&mut stage, &root, "skill:s");
    let other = task(&mut stage, "skill:s");
    let second = child(&mut stage, &first, "skill:s");
    for publish in [&root, &first, &other, &second] {
        stage.publish(&mut client, publish).unwrap();
    }
    let [root, first, second] = [root, first, second].map(|task| task.envelope.id);
    let all = TaskFilter { root_id: Some(root), ..TaskFilter::default() };
    assert_eq!(ids(&mut stage, all.clone()), [second, first, root]);
    let none = TaskFilter { root_id: Some(first), ..TaskFilter::default() };
    assert_eq!(ids(&mut stage, none), [first], "it is no root, and only itself");
    let mut before = None;
    for expected in [second, first, root] {
        let one = page(&mut stage, TaskFilter { before, limit: 1, ..all.clone() });
        assert_eq!(one.tasks[0].id, expected);
        before = one.next;
    }
    assert_eq!(before, None);
    let mut stage = stage.restarted(millis(1));
    assert_eq!(ids(&mut stage, all), [second, first, root]);
}

#[test]
fn tasks_are_listed_by_the_time_at_which_they_were_accepted() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let mut sent = Vec::new();
    for _ in 0..3 {
        let publish = task(&mut stage, "skill:s");
        stage.publish(&mut client, &publish).unwrap();
        sent.push((publish.envelope.id, stage.now.wall));
        stage.pass(millis(10));
    }
    let mut listed = |since: Option<WallTime>, until: Option<WallTime>| {
        ids(&mut stage, TaskFilter { since, until, ..TaskFilter::default() })
    };
    assert_eq!(listed(Some(sent[1].1), None), [sent[2].0, sent[1].0]);
    assert_eq!(listed(None, Some(sent[1].1)), [sent[0].0]);
    assert_eq!(listed(Some(sent[1].1), Some(sent[2].1)), [sent[1].0]);
}

#[test]
fn a_page_ends_after_the_tasks_that_it_may_look_at_and_the_next_goes_on() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let mut rare = task(&mut stage, "skill:rare");
    rare.envelope.context_id = Some("order-7".parse().unwrap());
    stage.publish(&mut client, &rare).unwrap();
    let others: Vec<_> = (0..10_000).map(|_| task(&mut stage, "skill:common")).collect();
    publish_all(&mut stage, &mut client, &others);
    let by_skill = TaskFilter { skill: Some("rare".parse().unwrap()), ..TaskFilter::default() };
    let first = page(&mut stage, by_skill.clone());
    assert!(first.tasks.is_empty() && first.next.is_some(), "10,000 newer ones were looked at");
    let second = page(&mut stage, TaskFilter { before: first.next, ..by_skill });
    assert_eq!((second.tasks[0].id, second.next), (rare.envelope.id, None));
    let context_id = rare.envelope.context_id.clone();
    let by_context = page(&mut stage, TaskFilter { context_id, ..TaskFilter::default() });
    assert_eq!((by_context.tasks[0].id, by_context.next), (rare.envelope.id, None));
}

#[test]
fn a_list_waits_only_for_records_that_it_rests_on() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let (mut mine, mut other) = (task(&mut stage, "skill:s"), task(&mut stage, "skill:t"));
    mine.envelope.context_id = "mine".parse().ok();
    other.envelope.context_id = "other".parse().ok();
    let sent = stage.publish(&mut client, &mine).unwrap();
    stage.publish(&mut client, &other).unwrap();
    stage.is_fast = false;
    stage.complete(&mut agent, deliveries(&sent)[0].token, "yes");
    let mut ask = |context: &str, states: &[TaskState], by_change| {
        let (context_id, states) = (context.parse().ok(), states.to_vec());
        let filter = TaskFilter { context_id, states, by_change, ..TaskFilter::default() };
        let (query, principal) = (QueryKey(1), Principal::default());
        let effects = stage.handle(Command::Ask {
            query,
            principal,
            question: Box::new(Query::Tasks(filter)),
        });
        effects.iter().any(|effect| matches!(effect, Effect::Answer { .. }))
    };
    for by_change in [false, true] {
        assert!(ask("other", &[], by_change), "nothing of it changed");
        assert!(ask("nowhere", &[], by_change));
        assert!(!ask("mine", &[], by_change), "its end could be taken back");
        // Not to be on the list says something too.
        assert!(!ask("mine", &[TaskState::Working], by_change));
    }
    stage.is_fast = true;
    let effects = stage.commit();
    let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. }));
    assert_eq!(answers.count(), 4);
}
