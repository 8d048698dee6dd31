//! Within its window an idempotency key is accepted once, and a repeat names what came first. When
//! the window is over the key is as good as new.

use crate::check::{Check, ensure};
use crate::model::{Asked, Model, nanos};
use trunkline_types::{IdempotencyKey, MessageId, Publish, WallTime};

/// Into how many parts a window is divided to count the keys within it.
const PARTS: u64 = 1440;

/// Checks that an envelope may be accepted under a key.
pub(crate) fn is_new(model: &Model, key: &IdempotencyKey, id: MessageId) -> Check {
    let latest = model.book.keys.get(key).and_then(|accepted| accepted.last());
    // A window that was over once is over, even if the clock is set back.
    let live = latest.is_some_and(|(_, at)| ends(model, *at) > model.latest_wall);
    ensure!(!live, "keys", "key {key} is accepted again: {id} after {latest:?}");
    let (count, most) = (count(model, |at| ends(model, at) > model.latest_wall), model.rules.keys);
    ensure!(count < most, "keys", "{id} has a new key, there are {count} of {most}");
    Ok(())
}

/// Whether a publish may be refused because there are as many keys as there may be, for it has a
/// new one.
pub(crate) fn are_many(model: &Model, asked: &Asked, publish: &Publish) -> bool {
    let Some(key) = &publish.envelope.idempotency_key else { return false };
    let known = model.book.keys.get(key).into_iter().flatten();
    let lives = known.into_iter().any(|(_, at)| ends(model, *at) > model.latest_wall);
    // Over its window a key counts for a small part of it.
    let part = (nanos(model.rules.key_window) / 1_000_000 / PARTS).max(1);
    let counted = |at| WallTime(ends(model, at).0.div_ceil(part).saturating_mul(part));
    let earliest = asked.handled_at.min(model.now.wall);
    !lives && count(model, |at| counted(at) > earliest) >= model.rules.keys
}

/// How many keys were accepted at times that count.
fn count(model: &Model, counts: impl Fn(WallTime) -> bool) -> usize {
    model.book.keys.values().flatten().filter(|(_, at)| counts(*at)).count()
}

/// Checks that a repeat names an envelope that was accepted under its key, says the same, and
/// whose window was not over when the repeat came.
pub(crate) fn repeated(
    model: &Model,
    number: u64,
    asked: &Asked,
    first: MessageId,
    publish: &Publish,
) -> Check {
    let key = publish.envelope.idempotency_key.as_ref();
    let known = key.and_then(|key| model.book.keys.get(key));
    let found = known.and_then(|known| known.iter().find(|(id, _)| *id == first));
    ensure!(found.is_some(), "keys", "operation {number} repeats {first}, {known:?} came first");
    let own = asked.record.is_some();
    ensure!(!own, "keys", "operation {number} was accepted, and is said to repeat {first}");
    let live = found.is_some_and(|(_, at)| ends(model, *at) > asked.handled_at);
    ensure!(live || model.jumped, "keys", "operation {number} repeats {first}, which is over");
    let sent = model.book.sent.get(&first);
    let same = sent.is_some_and(|sent| sent.publish.envelope.payload == publish.envelope.payload);
    ensure!(same, "keys", "operation {number} repeats {first}, but says something else");
    let durable = sent.is_some_and(|sent| model.reached(sent.at, sent.publish.durability()));
    ensure!(durable, "1 durable", "operation {number} repeats {first}, which is not durable yet");
    Ok(())
}

/// Whether a publish may be refused because its key stands for something else.
pub(crate) fn is_reused(model: &Model, asked: &Asked, publish: &Publish) -> bool {
    let key = publish.envelope.idempotency_key.as_ref();
    let known = key.and_then(|key| model.book.keys.get(key)).into_iter().flatten();
    let live = |at: WallTime| ends(model, at) > asked.handled_at || model.jumped;
    let sent = known.filter(|(_, at)| live(*at)).filter_map(|(id, _)| model.book.sent.get(id));
    sent.into_iter().any(|first| {
        first.publish.envelope.payload != publish.envelope.payload
            || first.publish.envelope.destination != publish.envelope.destination
    })
}

/// Whether anything was ever accepted under a key.
pub(crate) fn was_used(model: &Model, key: &IdempotencyKey) -> bool {
    model.book.keys.contains_key(key)
}

fn ends(model: &Model, at: WallTime) -> WallTime {
    at.after(model.rules.key_window)
}

#[cfg(test)]
mod tests {
    use super::repeated;
    use crate::check::Check;
    use crate::laws::answers::refused;
    use crate::model::testing::{SENDER, Scene, broken, id, publish};
    use std::sync::Arc;
    use trunkline_types::session::Operation;
    use trunkline_types::{IdempotencyKey, Publish, Refusal, RefusalCode};

    fn keyed(publish: &mut Publish) {
        publish.envelope.idempotency_key = IdempotencyKey::new("k").ok();
    }

    /// A repeat of the first envelope comes, and is answered so.
    fn repeat(scene: &mut Scene, number: u64, first: u64) -> Check {
        let mut publish = publish(number);
        keyed(&mut publish);
        let operation = Operation::Publish(Arc::new(publish.clone()));
        let operation = scene.operate(SENDER, operation);
        let asked = scene.model.sessions[&SENDER].asked[&operation].clone();
        repeated(&scene.model, operation, &asked, id(first), &publish)
    }

    #[test]
    fn a_key_is_accepted_once_within_its_window() {
        let mut scene = Scene::new();
        scene.accept(1, keyed).unwrap();
        scene.at(1999);
        broken(scene.accept(2, keyed), "keys", "is accepted again");
        let mut scene = Scene::new();
        scene.accept(1, keyed).unwrap();
        scene.at(2000);
        assert_eq!(scene.accept(2, keyed), Ok(()), "its window is over");
        scene.at(2999);
        broken(scene.accept(3, keyed), "keys", "is accepted again");
        let mut scene = Scene::new();
        scene.accept(1, keyed).unwrap();
        scene.at(2000);
        scene.at(1500);
        assert_eq!(scene.accept(2, keyed), Ok(()), "its window was over before");
    }

    #[test]
    fn a_repeat_names_what_came_first_within_the_window() {
        let mut scene = Scene::new();
        scene.accept(1, keyed).unwrap();
        broken(repeat(&mut scene, 2, 1), "1 durable", "is not durable yet");
        scene.sync();
        assert_eq!(repeat(&mut scene, 3, 1), Ok(()));
        broken(repeat(&mut scene, 4, 9), "keys", "came first");
        scene.at(2000);
        broken(repeat(&mut scene, 5, 1), "keys", "which is over");
    }

    fn under(publish: &mut Publish, key: &str) {
        publish.envelope.idempotency_key = IdempotencyKey::new(key).ok();
    }

    /// A publish with a key comes and is refused because there are too many.
    fn refuse(scene: &mut Scene, key: &str) -> Check {
        let mut publish = publish(9);
        under(&mut publish, key);
        let number = scene.operate(SENDER, Operation::Publish(Arc::new(publish)));
        refused(&mut scene.model, SENDER, number, &Refusal::new(RefusalCode::KeyCap, "many"))
    }

    #[test]
    fn there_are_no_more_keys_than_may_be() {
        let mut scene = Scene::new();
        scene.model.rules.inbox_logged = 9;
        for (number, key) in (1..).zip(["a", "b", "c"]) {
            broken(refuse(&mut scene, "z"), "refusals", "without a reason");
            scene.accept(number, |publish| under(publish, key)).unwrap();
        }
        broken(scene.accept(4, |publish| under(publish, "d")), "keys", "there are 3 of 3");
        assert_eq!(refuse(&mut scene, "d"), Ok(()));
        broken(refuse(&mut scene, "a"), "refusals", "without a reason");
        scene.at(2000);
        broken(refuse(&mut scene, "d"), "refusals", "without a reason");
        assert_eq!(scene.accept(5, |publish| under(publish, "d")), Ok(()));
    }

    #[test]
    fn what_was_accepted_is_no_repeat() {
        let mut scene = Scene::new();
        scene.accept(1, keyed).unwrap();
        scene.at(2000);
        scene.accept(2, keyed).unwrap();
        scene.sync();
        let asked = scene.model.sessions[&SENDER].asked[&1].clone();
        let mut publish = publish(1);
        keyed(&mut publish);
        broken(repeated(&scene.model, 1, &asked, id(2), &publish), "keys", "was accepted");
    }
}
