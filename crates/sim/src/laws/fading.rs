//! What goes to one inbox alone is of use for no longer than that says.

use super::answers::only_inbox;
use crate::check::{Check, ensure};
use crate::model::Model;
use std::time::Duration;
use trunkline_types::Publish;

/// How long what is sent now is of use, as the inbox that it goes to is set.
pub(super) fn ttl_of(model: &Model, sent: &Publish) -> Option<Duration> {
    let inbox = only_inbox(sent).filter(|_| sent.options.gather.is_none());
    let settings = inbox.and_then(|inbox| model.book.settings.get(&inbox));
    let of_inbox = settings.and_then(|settings| settings.ttl);
    [sent.envelope.ttl, of_inbox].into_iter().flatten().min()
}

/// Whether what a record tells of is what was sent, with the time to live that it is to have.
pub(super) fn is_same(model: &Model, sent: &Publish, told: &Publish) -> bool {
    told.envelope.ttl == ttl_of(model, sent) && is_same_but_for_ttl(sent, told)
}

/// Whether what is handed out may be what was sent: what leaves no record may have come in before
/// its inbox was set anew.
pub(super) fn may_be_same(model: &Model, sent: &Publish, told: &Publish) -> bool {
    let shorter =
        || told.envelope.ttl.is_some_and(|ttl| sent.envelope.ttl.is_none_or(|own| ttl < own));
    let same = told.envelope.ttl == sent.envelope.ttl;
    (same || (is_fading(model, sent) && shorter())) && is_same_but_for_ttl(sent, told)
}

/// Whether what was sent may have expired by itself.
pub(super) fn may_expire(model: &Model, sent: &Publish) -> bool {
    sent.envelope.ttl.is_some() || is_fading(model, sent)
}

/// Checks that what was accepted lives no longer than its inbox says, whoever made it.
pub(super) fn ends_in_time(model: &Model, accepted: &Publish) -> Check {
    let (id, ttl) = (accepted.envelope.id, accepted.envelope.ttl);
    let wanted = ttl_of(model, accepted);
    ensure!(ttl == wanted, "timers", "{id} is of use for {ttl:?}, its inbox says {wanted:?}");
    Ok(())
}

/// Whether it goes to an inbox alone that has ever had a time to live.
pub(super) fn is_fading(model: &Model, sent: &Publish) -> bool {
    only_inbox(sent).is_some_and(|inbox| model.fading.contains(&inbox))
}

fn is_same_but_for_ttl(sent: &Publish, told: &Publish) -> bool {
    let mut sent = sent.clone();
    sent.envelope.ttl = told.envelope.ttl;
    sent == *told
}

#[cfg(test)]
mod tests {
    use super::{ends_in_time, may_be_same};
    use crate::check::Check;
    use crate::model::Fact;
    use crate::model::testing::{SENDER, Scene, accepted, broken, publish, skill};
    use std::sync::Arc;
    use std::time::Duration;
    use trunkline_types::session::Operation;
    use trunkline_types::{InboxAddress, InboxChange, InboxSettings, Publish};

    const HOUR: Duration = Duration::from_hours(1);

    fn of_an_hour() -> Scene {
        let mut scene = Scene::new();
        let inbox = InboxAddress::Skill(skill());
        let change = InboxChange::default().ttl(HOUR);
        let settings = Box::new(InboxSettings::default().changed(&change));
        let set = Operation::SetInbox { inbox: inbox.clone(), change: Box::new(change) };
        let operation = scene.operate(SENDER, set);
        scene.fact(Fact::InboxSet { inbox, settings, session: SENDER, operation }).unwrap();
        scene
    }

    fn lives(number: u64, ttl: Option<Duration>) -> Publish {
        let mut publish = publish(number);
        publish.envelope.ttl = ttl;
        publish
    }

    /// What says `own` is sent and taken in as what says `told`.
    fn accept(scene: &mut Scene, own: Option<Duration>, told: Option<Duration>) -> Check {
        let operation = scene.operate(SENDER, Operation::Publish(Arc::new(lives(1, own))));
        let now = scene.model.now.wall;
        scene.fact(accepted(Arc::new(lives(1, told)), operation, now, 1))
    }

    #[test]
    fn what_is_taken_in_lives_as_long_as_its_sender_and_its_inbox_say() {
        for (own, told) in [(None, HOUR), (Some(HOUR / 2), HOUR / 2), (Some(HOUR * 2), HOUR)] {
            accept(&mut of_an_hour(), own, Some(told)).unwrap();
            broken(accept(&mut of_an_hour(), own, Some(HOUR / 3)), "answers", "did not send");
            broken(accept(&mut of_an_hour(), own, None), "answers", "did not send");
        }
        broken(accept(&mut Scene::new(), None, Some(HOUR)), "answers", "did not send");
    }

    #[test]
    fn what_the_broker_makes_itself_lives_no_longer_than_its_inbox_says() {
        let scene = of_an_hour();
        ends_in_time(&scene.model, &lives(1, Some(HOUR))).unwrap();
        broken(ends_in_time(&scene.model, &lives(1, None)), "timers", "its inbox says");
    }

    #[test]
    fn what_leaves_no_record_may_have_been_shortened_only_where_that_was_set() {
        let (sent, told) = (lives(1, None), lives(1, Some(HOUR)));
        assert!(may_be_same(&of_an_hour().model, &sent, &told));
        assert!(!may_be_same(&Scene::new().model, &sent, &told));
        assert!(!may_be_same(&of_an_hour().model, &told, &sent));
    }
}
