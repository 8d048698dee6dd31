//! There are no more dead letters than may be, in number and in bytes: the oldest go for newer
//! ones, which is counted, and none goes before.

use crate::check::{Check, ensure};
use crate::model::{Letter, Model};
use std::time::Duration;
use trunkline_types::session::LetterAddress;
use trunkline_types::{DeadLetterPage, Stats};

/// As long as no run takes.
const LONG: Duration = Duration::from_hours(24);

/// The dead letters that there are when somebody asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Letters {
    /// Oldest first, and whether each is certainly there: its time may be over.
    kept: Vec<(Letter, bool)>,
    /// How many there are and how many went for newer ones, if that can be told.
    count: Option<(u64, u64)>,
}

impl Letters {
    pub(super) fn new(model: &Model) -> Self {
        let book = &model.book;
        let kept = book.letters.iter().map(|letter| (letter.clone(), is_certain(model, letter)));
        // Of what is ephemeral no record tells, nor of what went with time.
        let told = model.pure && model.rules.dead_letter_keep >= LONG;
        let count = told.then_some((book.letters.len() as u64, book.letters_gone));
        Self { kept: kept.collect(), count }
    }
}

/// Whether the time of a dead letter cannot be over.
fn is_certain(model: &Model, letter: &Letter) -> bool {
    let at = model.ended.get(&letter.entry);
    at.is_some_and(|at| at.after(model.rules.dead_letter_keep) > model.latest_wall)
}

/// Whether a dead letter that somebody names may be gone.
pub(super) fn may_be_gone(model: &Model, address: &LetterAddress) -> bool {
    let LetterAddress { id, inbox } = address;
    let named = |letter: &&Letter| {
        letter.id == *id && inbox.as_ref().is_none_or(|inbox| *inbox == letter.inbox)
    };
    let known = |letter: &Letter| {
        let entry = model.book.entries.get(&letter.entry);
        entry.is_some_and(|entry| entry.latest <= model.latest)
    };
    let mut there = model.book.letters.iter().filter(named);
    !there.any(|letter| known(letter) && is_certain(model, letter))
}

/// Checks a page of the newest dead letters against those that there were.
pub(super) fn shown(before: &Letters, page: &DeadLetterPage) -> Check {
    let logged = page.letters.iter().filter(|it| it.publish.durability().is_logged());
    let logged: Vec<_> = logged.map(|it| (it.publish.envelope.id, &it.inbox)).collect();
    let mut left = logged.iter();
    let mut next = left.next();
    for (letter, certain) in before.kept.iter().rev() {
        if next == Some(&(letter.id, &letter.inbox)) {
            next = left.next();
            continue;
        }
        let beyond = next.is_none() && page.next.is_some();
        let (id, inbox) = (letter.id, &letter.inbox);
        ensure!(!certain || beyond, "letters", "dead letter {id} of {inbox} is not shown");
    }
    ensure!(next.is_none(), "letters", "{next:?} is shown, which is no dead letter any more");
    Ok(())
}

/// Checks how many dead letters are said to be there, and to have gone for newer ones.
pub(super) fn counted(before: &Letters, stats: &Stats) -> Check {
    let found = (stats.dead_letters, stats.dead_letters_forgotten);
    let Some((there, gone)) = before.count else { return Ok(()) };
    ensure!(
        found == (there, gone),
        "letters",
        "there are {there} dead letters, {gone} went for newer ones, counted are {found:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Letters, counted, may_be_gone, shown};
    use crate::model::testing::{Scene, WORKERS, broken, id, publish, skill};
    use crate::model::{Ending, Fact};
    use std::sync::Arc;
    use std::time::Duration;
    use trunkline_types::session::LetterAddress;
    use trunkline_types::{DeadLetter, DeadLetterPage, InboxAddress, Outcome, Stats, WallTime};

    /// Three tasks die one after the other, of which two may be kept.
    fn scene(said: u64) -> Scene {
        let mut scene = Scene::new();
        scene.model.pure = true;
        scene.model.rules.breaker_failures = 0;
        scene.model.rules.dead_letter_keep = Duration::from_hours(24);
        for number in 1..=3 {
            scene.accept_synced(number);
            scene.lease(number, number, WORKERS[0]).unwrap();
            let reason = String::new();
            scene.settle(WORKERS[0], number, Outcome::DeadLetter { reason });
            let how = Ending::DeadLettered;
            scene.fact(Fact::Ended { entry: number, how, said }).unwrap();
        }
        scene.at(1001);
        scene
    }

    fn page(numbers: &[u64], next: Option<u64>) -> DeadLetterPage {
        let letter = |&number: &u64| DeadLetter {
            publish: Arc::new(publish(number)),
            inbox: InboxAddress::Skill(skill()),
            reason: String::new(),
            at: WallTime(1),
            accepted_at: WallTime(1),
            attempts: Vec::new(),
        };
        DeadLetterPage { letters: numbers.iter().map(letter).collect(), next }
    }

    #[test]
    fn the_newest_are_shown_as_many_as_may_be() {
        let letters = Letters::new(&scene(0).model);
        assert_eq!(shown(&letters, &page(&[3, 2], None)), Ok(()));
        assert_eq!(shown(&letters, &page(&[3], Some(1))), Ok(()));
        broken(shown(&letters, &page(&[3, 2, 1], None)), "letters", "no dead letter any more");
        broken(shown(&letters, &page(&[3], None)), "letters", "is not shown");
        broken(shown(&letters, &page(&[2], Some(1))), "letters", "is not shown");
        let letters = Letters::new(&scene(600).model);
        assert_eq!(shown(&letters, &page(&[3], None)), Ok(()), "by their bytes");
        broken(shown(&letters, &page(&[3, 2], None)), "letters", "no dead letter any more");
        let mut late = scene(0);
        late.model.rules.dead_letter_keep = Duration::ZERO;
        assert_eq!(shown(&Letters::new(&late.model), &page(&[], None)), Ok(()));
    }

    #[test]
    fn what_goes_for_a_newer_one_is_counted() {
        let letters = Letters::new(&scene(0).model);
        let count = |dead_letters, dead_letters_forgotten| {
            let stats = Stats { dead_letters, dead_letters_forgotten, ..Stats::default() };
            counted(&letters, &stats)
        };
        assert_eq!(count(2, 1), Ok(()));
        broken(count(3, 0), "letters", "counted are (3, 0)");
        broken(count(2, 0), "letters", "counted are (2, 0)");
    }

    #[test]
    fn only_what_is_gone_may_be_said_to_be() {
        let scene = scene(0);
        assert!(may_be_gone(&scene.model, &LetterAddress::from(id(1))));
        assert!(!may_be_gone(&scene.model, &LetterAddress::from(id(2))));
        assert!(may_be_gone(&scene.model, &LetterAddress::from(id(9))));
    }
}
