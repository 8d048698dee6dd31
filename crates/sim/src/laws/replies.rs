//! A requester hears how its request ended: the truth, and not before it is durable (law 1).

use crate::check::{Check, ensure};
use crate::model::{Ending, Model};
use trunkline_types::session::Reply;
use trunkline_types::{FailureCode, SessionId};

/// Checks a reply that a session is told of.
pub(crate) fn told(model: &mut Model, session: SessionId, reply: &Reply) -> Check {
    let id = reply.request;
    model.replies.remove(&(session, id));
    let Some(publish) = model.published.get(&id) else {
        ensure!(false, "answers", "a reply to {id}, which nobody sent");
        return Ok(());
    };
    ensure!(publish.options.reply, "answers", "a reply to {id}, whose sender wants none");
    let level = publish.durability();
    if !level.is_logged() {
        return Ok(());
    }
    let Some(entry) = model.book.entries_of(id).next() else {
        ensure!(false, "1 durable", "a reply to {id}, of which no record tells");
        return Ok(());
    };
    ensure!(entry.sender == session, "routing", "the reply to {id} goes to another session");
    let right = match (&entry.end, &reply.result) {
        (Some(Ending::Completed(said)), Ok(payload)) => {
            *payload == said.clone().unwrap_or_default()
        }
        (Some(end), Err(failure)) => code(end) == Some(failure.code),
        _ => false,
    };
    ensure!(right, "answers", "the reply to {id} is {:?}, it ended {:?}", reply.result, entry.end);
    ensure!(
        model.reached(entry.latest, level),
        "1 durable",
        "the reply to {id} is told before record {} is {level}",
        entry.latest.0
    );
    Ok(())
}

fn code(end: &Ending) -> Option<FailureCode> {
    match end {
        // Only events are dropped, and no event has a reply.
        Ending::Completed(_) | Ending::Dropped => None,
        Ending::Failed => Some(FailureCode::Failed),
        Ending::Rejected => Some(FailureCode::Rejected),
        Ending::Expired => Some(FailureCode::Expired),
        Ending::Canceled => Some(FailureCode::Canceled),
        Ending::DeadLettered => Some(FailureCode::DeadLettered),
    }
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::model::testing::{SENDER, Scene, WORKERS, broken, id};
    use crate::model::{Ending, Fact};
    use trunkline_types::session::Reply;
    use trunkline_types::{Outcome, Payload};

    fn reply(text: &str) -> Reply {
        Reply { request: id(1), agent: None, result: Ok(Payload::text(text)) }
    }

    #[test]
    fn a_reply_is_asked_for_true_and_durable() {
        let mut scene = Scene::new();
        broken(told(&mut scene.model, SENDER, &reply("x")), "answers", "nobody sent");
        scene.accept(1, |publish| publish.options.reply = true).unwrap();
        scene.sync();
        scene.lease(1, 1, WORKERS[0]).unwrap();
        broken(told(&mut scene.model, SENDER, &reply("x")), "answers", "it ended None");
        let said = Some(Payload::text("x"));
        scene.settle(WORKERS[0], 1, Outcome::Complete { reply: said.clone() });
        scene.fact(Fact::Ended { entry: 1, how: Ending::Completed(said), said: 0 }).unwrap();
        broken(told(&mut scene.model, SENDER, &reply("x")), "1 durable", "is told before");
        scene.sync();
        assert_eq!(told(&mut scene.model, SENDER, &reply("x")), Ok(()));
        broken(told(&mut scene.model, SENDER, &reply("y")), "answers", "it ended");
        broken(told(&mut scene.model, WORKERS[0], &reply("x")), "routing", "another session");
    }
}
