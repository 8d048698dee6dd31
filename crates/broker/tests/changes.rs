//! Lists by latest change, over what is in memory and what is on disk only.

use crate::common::scene::{Scene, indexing};
use crate::common::{Peer, card, hello, task};
use std::cmp::Reverse;
use trunkline_broker::Broker;
use trunkline_types::session::Connector;
use trunkline_types::{
    AgentId, Answer, Change, Destination, MessageId, Outcome, Query, TaskFilter, TaskPage,
    TaskSnapshot, TaskState, WallTime,
};

async fn page(broker: &Broker, filter: TaskFilter) -> TaskPage {
    match broker.query(Query::Tasks(filter)).await {
        Ok(Answer::Tasks(page)) => page,
        other => panic!("{other:?}"),
    }
}

/// All pages of a list, and what each says that there is in all.
async fn listed(broker: &Broker, filter: TaskFilter) -> (Vec<MessageId>, Option<u64>) {
    let mut filter = TaskFilter { by_change: true, ..filter };
    let (mut found, mut totals) = (Vec::new(), Vec::new());
    loop {
        let page = page(broker, filter.clone()).await;
        assert!(page.tasks.len() <= filter.limit as usize && page.next.is_none());
        assert!(page.tasks.is_sorted_by_key(|task| Reverse(Change::of(task))));
        found.extend(page.tasks.iter().map(|task| task.id));
        totals.push(page.total);
        let Some(next) = page.next_change else { break };
        filter.changed_before = Some(next);
    }
    assert!(totals.iter().all(|total| *total == totals[0]), "{totals:?}");
    (found, totals[0])
}

fn is_at(task: &TaskSnapshot, agent: &str) -> bool {
    let sent = matches!(&task.destination, Destination::Agent(to) if to.as_str() == agent);
    sent || task.agent.as_ref().is_some_and(|held| held.as_str() == agent)
}

/// Tasks of two agents and three conversations, ended one way and another, and some that wait.
async fn work(scene: &mut Scene) {
    let mut other = Peer::open(&scene.broker, hello(77, Some(card("b", "t")))).await.unwrap();
    for number in 0..48 {
        let to_other = number % 4 == 1;
        let mut work = task(if to_other { "t" } else { "s" }, "x");
        if number % 8 == 1 {
            work.envelope.destination = Destination::agent("b").unwrap();
        }
        work.envelope.context_id = Some(format!("c-{}", number % 3).parse().unwrap());
        scene.client.publish(work).await.unwrap();
        let agent = if to_other { &mut other } else { &mut scene.agent };
        let delivery = agent.delivery().await;
        let outcome = match number % 5 {
            0 => Outcome::Fail { reason: "no".into() },
            _ => Outcome::Complete { reply: None },
        };
        let settled = agent.settle(delivery.token, outcome);
        agent.answer(settled).await.unwrap();
    }
    for _ in 0..5 {
        scene.client.publish(task("later", "x")).await.unwrap();
    }
}

#[tokio::test]
async fn by_latest_change_every_filter_has_its_tasks_once_and_says_how_many_there_are() {
    for in_memory in [0, 10, 1000] {
        let data = tempfile::tempdir().unwrap();
        let mut config = indexing(data.path());
        config.engine.recent_tasks = in_memory;
        let mut scene = Scene::open(config.clone(), 1).await;
        work(&mut scene).await;
        let indexed = 48_u64.saturating_sub(in_memory as u64);
        scene.until(|stats| stats.tasks_indexed == indexed && stats.records_unindexed == 0).await;
        if in_memory == 10 {
            scene.close().await;
            scene = Scene::open(config, 3).await;
            scene.until(|stats| stats.tasks_indexed > 0).await;
        }
        let mut all = Vec::new();
        let mut every = TaskFilter { limit: 1000, ..TaskFilter::default() };
        loop {
            let page = page(&scene.broker, every.clone()).await;
            all.extend(page.tasks);
            let Some(next) = page.next else { break };
            every.before = Some(next);
        }
        assert_eq!(all.len(), 53);
        all.sort_by_key(|task| Reverse(Change::of(task)));
        let middle: WallTime = all[25].updated_at;
        let none = TaskFilter::default;
        let (a, b): (Option<AgentId>, Option<AgentId>) = ("a".parse().ok(), "b".parse().ok());
        let but_b: Vec<_> = b.iter().cloned().collect();
        let but_both: Vec<_> = a.iter().chain(&b).cloned().collect();
        let context_id = "c-1".parse().ok();
        let failed = || vec![TaskState::Failed];
        let both = || vec![TaskState::Failed, TaskState::Completed];
        let filters = [
            none(),
            TaskFilter { agent: a.clone(), ..none() },
            TaskFilter { agent: b.clone(), ..none() },
            TaskFilter { agent: b.clone(), states: failed(), ..none() },
            TaskFilter { agent: b.clone(), except: but_b.clone(), ..none() },
            TaskFilter { agent: a.clone(), except: but_b.clone(), ..none() },
            TaskFilter { except: but_both.clone(), ..none() },
            TaskFilter { except: but_both.clone(), states: failed(), ..none() },
            TaskFilter { except: but_both, context_id: context_id.clone(), ..none() },
            TaskFilter { except: but_b.clone(), ..none() },
            TaskFilter { except: but_b.clone(), states: failed(), ..none() },
            TaskFilter { except: but_b.clone(), changed_since: Some(middle), ..none() },
            TaskFilter { context_id: context_id.clone(), ..none() },
            TaskFilter { context_id, except: but_b, states: both(), ..none() },
            TaskFilter { states: failed(), ..none() },
            TaskFilter { states: vec![TaskState::Submitted, TaskState::Completed], ..none() },
            TaskFilter { changed_since: Some(middle), ..none() },
            TaskFilter { agent: b, changed_since: Some(middle), ..none() },
            TaskFilter { skill: "t".parse().ok(), ..none() },
        ];
        for filter in filters {
            let wanted = all.iter().filter(|task| {
                let TaskFilter { states, agent, except, context_id, changed_since, skill, .. } =
                    &filter;
                (states.is_empty() || states.contains(&task.state))
                    && agent.as_ref().is_none_or(|agent| is_at(task, agent.as_str()))
                    && !except.iter().any(|agent| is_at(task, agent.as_str()))
                    && context_id.as_ref().is_none_or(|id| task.context_id.as_ref() == Some(id))
                    && changed_since.is_none_or(|since| task.updated_at >= since)
                    && skill.as_ref().is_none_or(
                        |skill| matches!(&task.destination, Destination::Skill(to) if to == skill),
                    )
            });
            let wanted: Vec<_> = wanted.map(|task| task.id).collect();
            let total = filter.skill.is_none().then_some(wanted.len() as u64);
            for limit in [3, 1000] {
                let filter = TaskFilter { limit, ..filter.clone() };
                let found = listed(&scene.broker, filter.clone()).await;
                assert_eq!(found, (wanted.clone(), total), "{in_memory} in memory: {filter:?}");
            }
        }
        scene.close().await;
    }
}
