//! A page of tasks shows all that were asked for between its cursors, in memory or in the index,
//! and each once.

use super::tasks::state_of;
use crate::check::{Check, ensure};
use crate::model::{Model, Place};
use trunkline_types::{
    Destination, MessageId, SkillName, TaskFilter, TaskPage, TaskSnapshot, TaskState,
};

/// How many tasks a page has at most if nobody says.
const DEFAULT: u32 = 100;

/// The logged tasks that a list must have, by what is known when it is asked for.
pub(super) fn wanted(model: &Model, filter: &TaskFilter) -> Vec<MessageId> {
    let kept = kept(model);
    let tasks = model.book.sent.iter().filter(|(_, sent)| {
        let publish = &sent.publish;
        publish.is_task() && publish.durability().is_logged()
    });
    let is_wanted = |id: MessageId, to: &Destination, root: Option<MessageId>| {
        let Some(entry) = model.book.entries_of(id).next() else { return false };
        let ended = entry.place == Place::Ended;
        let state = entry.end.as_ref().map(state_of);
        (!ended || kept.contains(&entry.number))
            && (filter.states.is_empty() || state.is_some_and(|it| filter.states.contains(&it)))
            && of_skill(filter.skill.as_ref(), to)
            && filter.root_id.is_none_or(|wanted| id == wanted || root == Some(wanted))
    };
    let tasks = tasks.filter(|(id, sent)| {
        let envelope = &sent.publish.envelope;
        is_wanted(**id, &envelope.destination, envelope.root_id)
    });
    tasks.map(|(id, _)| *id).collect()
}

/// The entries of ended tasks that are certainly kept: as many of the latest as may be, unless
/// their time may be over.
fn kept(model: &Model) -> Vec<u64> {
    let ended = model.book.entries.values().filter(|entry| {
        let task = entry.publish.is_task() && entry.durability().is_logged();
        task && entry.place == Place::Ended
    });
    let mut ended: Vec<_> = ended.map(|entry| (entry.latest, entry.number)).collect();
    ended.sort_unstable();
    let latest = ended.into_iter().rev().take(model.rules.ended_tasks);
    let over = |number: &u64| {
        let at = model.ended.get(number);
        at.is_none_or(|at| at.after(model.rules.ended_task_keep) <= model.latest_wall)
    };
    latest.map(|(_, number)| number).filter(|number| !over(number)).collect()
}

/// Checks a page against what it must have.
pub(super) fn shown(filter: &TaskFilter, wanted: &[MessageId], page: &TaskPage) -> Check {
    let TaskFilter { states, skill, root_id, before, limit, .. } = filter;
    let newest_first = page.tasks.windows(2).all(|pair| pair[0].id > pair[1].id);
    ensure!(newest_first, "answers", "a page of tasks is not newest first");
    let most = if *limit == 0 { DEFAULT } else { *limit } as usize;
    ensure!(page.tasks.len() <= most, "answers", "a page of {most} has {}", page.tasks.len());
    for task in &page.tasks {
        let TaskSnapshot { id, state, destination, root_id: root, .. } = task;
        let behind = before.is_none_or(|before| *id < before);
        ensure!(behind, "answers", "task {id} is shown on the page behind {before:?}");
        let right = (states.is_empty() || states.contains(state))
            && of_skill(skill.as_ref(), destination)
            && root_id.is_none_or(|wanted| *id == wanted || *root == Some(wanted));
        ensure!(right, "answers", "task {id} is shown, but {filter:?} was asked for");
    }
    let on = before.is_none_or(|before| page.next.is_none_or(|next| next < before));
    ensure!(on, "answers", "behind the page before {before:?} is {:?}", page.next);
    let within = |id: &&MessageId| {
        before.is_none_or(|before| **id < before) && page.next.is_none_or(|next| **id >= next)
    };
    let missing = wanted.iter().filter(within).find(|id| page.tasks.iter().all(|it| it.id != **id));
    ensure!(
        missing.is_none(),
        "answers",
        "task {missing:?} is left out between {before:?} and {:?} of {filter:?}",
        page.next
    );
    Ok(())
}

fn of_skill(wanted: Option<&SkillName>, to: &Destination) -> bool {
    wanted.is_none_or(|wanted| matches!(to, Destination::Skill(skill) if skill == wanted))
}

/// Whether somebody may ask for tasks in this state only: a model knows for certain how a task
/// ended.
pub(crate) const STATES: [TaskState; 3] =
    [TaskState::Completed, TaskState::Failed, TaskState::Canceled];

#[cfg(test)]
mod tests {
    use super::{shown, wanted};
    use crate::model::testing::{Scene, WORKERS, broken, id, snapshot};
    use crate::model::{Ending, Fact};
    use trunkline_types::{Destination, MessageId, Outcome, TaskFilter, TaskPage, TaskState};

    fn page(numbers: &[u64], next: Option<u64>) -> TaskPage {
        let tasks = numbers.iter().map(|&number| snapshot(number, TaskState::Submitted));
        TaskPage { tasks: tasks.collect(), next: next.map(id), ..TaskPage::default() }
    }

    /// Three tasks, of which the first has ended.
    fn scene() -> Scene {
        let mut scene = Scene::new();
        (1..=3).for_each(|number| scene.accept_synced(number));
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: None });
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(None), said: 0 }).unwrap();
        scene
    }

    fn wants(scene: &Scene, filter: &TaskFilter) -> Vec<MessageId> {
        wanted(&scene.model, filter)
    }

    #[test]
    fn a_page_has_all_between_its_cursors_and_each_once() {
        let scene = scene();
        let all = TaskFilter { limit: 2, ..TaskFilter::default() };
        let tasks = wants(&scene, &all);
        assert_eq!(tasks, [id(1), id(2), id(3)]);
        let check = |filter: &TaskFilter, page| shown(filter, &tasks, &page);
        assert_eq!(check(&all, page(&[3, 2], Some(2))), Ok(()));
        broken(check(&all, page(&[3], Some(2))), "answers", "is left out");
        broken(check(&all, page(&[3, 2], None)), "answers", "is left out");
        broken(check(&all, page(&[2, 3], Some(2))), "answers", "newest first");
        broken(check(&all, page(&[3, 2, 1], None)), "answers", "a page of 2 has 3");
        let rest = TaskFilter { before: Some(id(2)), ..all };
        assert_eq!(check(&rest, page(&[1], None)), Ok(()));
        broken(check(&rest, page(&[2, 1], None)), "answers", "on the page behind");
        broken(check(&rest, page(&[1], Some(2))), "answers", "behind the page");
        broken(check(&rest, page(&[], None)), "answers", "is left out");
    }

    #[test]
    fn a_page_has_what_was_asked_for_and_nothing_else() {
        let scene = scene();
        let states = vec![TaskState::Completed];
        let ended = TaskFilter { states, ..TaskFilter::default() };
        assert_eq!(wants(&scene, &ended), [id(1)]);
        broken(shown(&ended, &[], &page(&[2], None)), "answers", "was asked for");
        let Ok(Destination::Skill(skill)) = Destination::skill("other") else { panic!() };
        let other = TaskFilter { skill: Some(skill), ..TaskFilter::default() };
        assert!(wants(&scene, &other).is_empty());
        broken(shown(&other, &[], &page(&[2], None)), "answers", "was asked for");
        let below = TaskFilter { root_id: Some(id(2)), ..TaskFilter::default() };
        assert_eq!(wants(&scene, &below), [id(2)]);
        broken(shown(&below, &[], &page(&[3], None)), "answers", "was asked for");
    }

    #[test]
    fn only_what_is_kept_must_be_there() {
        let mut scene = scene();
        scene.model.rules.ended_tasks = 0;
        assert_eq!(wants(&scene, &TaskFilter::default()), [id(2), id(3)]);
        scene.model.rules.ended_tasks = 1;
        assert_eq!(wants(&scene, &TaskFilter::default()).len(), 3);
        scene.at(5000);
        assert_eq!(wants(&scene, &TaskFilter::default()), [id(2), id(3)]);
    }
}
