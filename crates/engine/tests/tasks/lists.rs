//! Lists of tasks: what narrows them, and that none looks at too many.

use super::{child, publish_all, task};
use crate::stage::{Stage, config, deliveries, millis};
use trunkline_types::{Answer, MessageId, Query, TaskFilter, TaskPage, TaskState, WallTime};

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
