//! Payloads that leave memory: what is asked for is where the log has it, what cannot be read is a
//! dead letter at once, and what lies where nobody takes it does not stay in memory.

use crate::check::{Check, Violation, ensure};
use crate::model::{Ending, Entry, Model, Place};
use trunkline_types::{Durability, InboxAddress, Sequence};

/// How many bytes of payloads the broker says are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Where {
    pub(crate) memory: u64,
    pub(crate) disk: u64,
}

/// The broker asks for the payload that the record at a place has: of which entry, if of any.
pub(crate) fn asked(model: &mut Model, at: Sequence, number: u64) -> Check {
    let Some(entry) = model.book.entries.get(&number) else {
        ensure!(false, "spilling", "the payload of entry {number} is asked for, which never was");
        return Ok(());
    };
    let (id, inbox, place, leases) = (entry.id(), entry.inbox.clone(), entry.place, entry.leases);
    ensure!(
        has(model, entry, at),
        "spilling",
        "{id} is asked for at record {}, it is at {}",
        at.0,
        entry.base.0
    );
    let waits = place == Place::Waiting && entry.may_leave();
    ensure!(waits, "spilling", "{id} is asked for while it is {place:?}");
    let written = model.reached(at, Durability::Buffered);
    ensure!(written, "spilling", "{id} is asked for at record {}, which is not written", at.0);
    super::shares::waits(model, &inbox, number);
    super::choice::asked(model, number);
    let again = model.loading.insert(at, (number, inbox, leases));
    ensure!(again.is_none(), "spilling", "{id} is asked for again before it came");
    Ok(())
}

/// The broker is about to be told what is in the record at a place, or that it cannot be read.
pub(crate) fn came(model: &mut Model, at: Sequence, readable: bool) {
    let Some((number, _, leases)) = model.loading.remove(&at) else { return };
    let Some(entry) = model.book.entries.get(&number) else { return };
    // It may have ended, or may have been said again, for which it was read; so it was if a
    // continued task waited for it to be delivered first.
    if !entry.is_open() || !has(model, entry, at) || entry.leases > leases {
        return;
    }
    if !readable {
        model.unread.insert(number);
    } else if entry.place == Place::Waiting {
        model.read.insert(number, entry.latest);
    }
}

/// Checks that nothing whose payload could not be read goes on as if it could.
pub(crate) fn nothing_in_silence(model: &mut Model) -> Check {
    for number in std::mem::take(&mut model.unread) {
        let entry = model.book.entries.get(&number);
        let end = entry.and_then(|entry| entry.end.as_ref());
        ensure!(
            end == Some(&Ending::DeadLettered),
            "spilling",
            "the payload of entry {number} cannot be read, yet its end is {end:?}"
        );
    }
    Ok(())
}

/// Checks how many bytes of payloads are said to be where, for all tenants together.
///
/// What lies in the inbox of a skill that no agent ever had is about to be delivered to nobody:
/// so there is never more of it in memory than may be, and nothing else excuses what is there but
/// its own size.
pub(crate) fn figures(models: &[Model], found: Where) -> Check {
    let open =
        || models.iter().flat_map(|model| model.book.open_entries().map(move |e| (model, e)));
    let open = || open().filter(|(_, entry)| entry.may_leave());
    let all: u64 = open().map(|(_, entry)| entry.size()).sum();
    let Where { memory, disk } = found;
    ensure!(
        memory + disk == all,
        "spilling",
        "payloads have {all} bytes, {memory} are said to be in memory and {disk} on disk"
    );
    let idle: u64 =
        open().filter(|(model, entry)| is_idle(model, entry)).map(|(_, entry)| entry.size()).sum();
    let most = models.first().map_or(0, |model| model.rules.payload_memory);
    ensure!(
        memory <= most + (all - idle),
        "10 bounds",
        "{memory} of {all} bytes of payloads are in memory, {most} may be; {idle} are of what \
         nobody takes"
    );
    Ok(())
}

/// Whether the record at a place has the payload of an entry. A crash may have taken the end of
/// what was said again last: then it was not, and the record before has it.
fn has(model: &Model, entry: &Entry, at: Sequence) -> bool {
    let torn = entry.base < model.book.boot;
    at == entry.base || (torn && entry.older == Some(at))
}

/// Whether an entry waits where nobody ever took anything.
fn is_idle(model: &Model, entry: &Entry) -> bool {
    let InboxAddress::Skill(skill) = &entry.inbox else { return false };
    entry.place == Place::Waiting
        && entry.leases == 0
        && !entry.delayed
        && entry.publish.envelope.ordering_key.is_none()
        && model.reached(entry.accepted, entry.durability())
        && !model.served.contains(skill)
}

/// A place at which there is no payload was asked for.
pub(crate) fn nothing_there(at: Sequence) -> Violation {
    Violation::new("spilling", format!("a payload is asked for at record {}, which has none", at.0))
}

#[cfg(test)]
mod tests {
    use super::{Where, asked, came, figures, nothing_in_silence};
    use crate::model::testing::{Scene, WORKERS, broken};
    use crate::model::{Ending, Fact};
    use trunkline_types::{Destination, Publish, Sequence};

    /// Two tasks that wait, and the places of their records.
    fn scene() -> (Scene, [Sequence; 2]) {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.accept_synced(2);
        let places = [1, 2].map(|number| scene.model.book.entries[&number].base);
        (scene, places)
    }

    #[test]
    fn what_was_delivered_before_its_payload_came_had_it() {
        let (mut scene, [first, _]) = scene();
        asked(&mut scene.model, first, 1).unwrap();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        came(&mut scene.model, first, false);
        assert_eq!(nothing_in_silence(&mut scene.model), Ok(()));
    }

    #[test]
    fn a_payload_is_asked_for_where_it_was_said_last() {
        let (mut scene, [first, second]) = scene();
        broken(asked(&mut scene.model, first, 9), "spilling", "which never was");
        broken(asked(&mut scene.model, second, 1), "spilling", "is asked for at record");
        assert_eq!(asked(&mut scene.model, first, 1), Ok(()));
        broken(asked(&mut scene.model, first, 1), "spilling", "again before it came");
        scene.fact(Fact::Carried { entry: Some(2) }).unwrap();
        broken(asked(&mut scene.model, second, 2), "spilling", "is asked for at record");
        let again = scene.model.book.entries[&2].base;
        broken(asked(&mut scene.model, again, 2), "spilling", "which is not written");
        scene.sync();
        assert_eq!(asked(&mut scene.model, again, 2), Ok(()));
    }

    #[test]
    fn what_is_delivered_already_is_not_asked_for() {
        let (mut scene, [first, _]) = scene();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        broken(asked(&mut scene.model, first, 1), "spilling", "while it is Leased");
    }

    #[test]
    fn what_cannot_be_read_is_a_dead_letter_at_once_and_nothing_else_is() {
        let dead = || Fact::Ended { entry: 1, how: Ending::DeadLettered, said: 0 };
        let (mut scene, [first, _]) = scene();
        asked(&mut scene.model, first, 1).unwrap();
        came(&mut scene.model, first, true);
        broken(scene.fact(dead()), "5 fencing", "without a reason");
        let (mut scene, [first, _]) = self::scene();
        asked(&mut scene.model, first, 1).unwrap();
        came(&mut scene.model, first, false);
        broken(nothing_in_silence(&mut scene.model), "spilling", "its end is None");
        let (mut scene, [first, _]) = self::scene();
        asked(&mut scene.model, first, 1).unwrap();
        came(&mut scene.model, first, false);
        assert_eq!(scene.fact(dead()), Ok(()));
        assert_eq!(nothing_in_silence(&mut scene.model), Ok(()));
    }

    #[test]
    fn every_byte_is_somewhere_and_what_nobody_takes_is_not_in_memory() {
        let (mut scene, _) = scene();
        let nobody = |publish: &mut Publish| {
            publish.envelope.destination = Destination::skill("nobody").unwrap();
        };
        let size = scene.model.book.entries[&1].size();
        let operation = scene.model.sessions.len() as u64;
        assert!(operation > 0 && size > 0);
        let check = |scene: &Scene, memory, disk| {
            figures(std::slice::from_ref(&scene.model), Where { memory, disk })
        };
        assert_eq!(check(&scene, 2 * size, 0), Ok(()), "somebody takes it");
        broken(check(&scene, size, 0), "spilling", "are said to be in memory");
        let entry = scene.model.book.entries.get_mut(&2).unwrap();
        nobody(std::sync::Arc::make_mut(&mut entry.publish));
        entry.inbox = "skill:nobody".parse().unwrap();
        let open = scene.model.book.entries[&2].inbox.clone();
        for rows in scene.model.book.open.values_mut() {
            rows.remove(&2);
        }
        scene.model.book.open.entry(open).or_default().insert(2);
        broken(check(&scene, 2 * size, 0), "10 bounds", "of what nobody takes");
        assert_eq!(check(&scene, size, size), Ok(()));
        scene.model.rules.payload_memory = size;
        assert_eq!(check(&scene, 2 * size, 0), Ok(()));
    }
}
