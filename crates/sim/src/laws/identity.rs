//! An id belongs to the principal that has it: whoever else wants it is refused, and its holder
//! does not notice.

use crate::check::{Check, ensure};
use crate::model::Model;
use std::collections::BTreeMap;
use trunkline_types::session::{Hello, Welcome};
use trunkline_types::{Refusal, SessionId};

/// Who is connected, and how.
pub(crate) type Standing = BTreeMap<u64, SessionId>;

/// Whether a hello is certainly for an id that somebody else has: an agent that is registered, or
/// a session that is connected.
pub(crate) fn is_taken(model: &Model, hello: &Hello) -> bool {
    match &hello.card {
        Some(card) => model.book.agents.contains_key(&card.id),
        None => model
            .sessions
            .get(&hello.session)
            .is_some_and(|row| row.connection.is_some() && row.welcomed && !row.dismissed),
    }
}

/// Checks how somebody is answered who wants an id that another principal has.
pub(crate) fn answered(
    model: &Model,
    connection: u64,
    result: &Result<Box<Welcome>, Refusal>,
) -> Check {
    let taken = model.impostor == Some(connection) && result.is_ok();
    ensure!(!taken, "identity", "connection {connection} is welcomed under somebody else's id");
    Ok(())
}

/// Checks that everybody is still connected as before somebody wanted an id of theirs.
pub(crate) fn undisturbed(model: &Model, before: &Standing) -> Check {
    let same = model.connections == *before;
    ensure!(same, "identity", "connections were {before:?}, and are {:?}", model.connections);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_taken, undisturbed};
    use crate::model::testing::{SENDER, Scene, WORKERS, broken};
    use trunkline_types::session::{Credit, Hello, Welcome};
    use trunkline_types::{AgentCard, AgentId, Epoch, Limits, SessionId, WallTime};

    fn hello(session: SessionId, agent: Option<&str>) -> Hello {
        Hello {
            session,
            card: agent.map(|id| AgentCard::new(AgentId::new(id).expect("a name"))),
            credit: Credit::default(),
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        }
    }

    #[test]
    fn an_id_is_taken_while_its_agent_is_registered_or_its_session_there() {
        let mut scene = Scene::new();
        assert!(is_taken(&scene.model, &hello(SessionId(9), Some("a2"))));
        assert!(!is_taken(&scene.model, &hello(SessionId(9), Some("a9"))));
        assert!(is_taken(&scene.model, &hello(SENDER, None)));
        scene.model.disconnected(1);
        assert!(!is_taken(&scene.model, &hello(SENDER, None)));
    }

    #[test]
    fn who_wants_anothers_id_is_refused_and_its_holder_undisturbed() {
        let mut scene = Scene::new();
        let welcome = Welcome {
            epoch: Epoch(1),
            resumed: false,
            lease: std::time::Duration::from_secs(1),
            revoked: Vec::new(),
            limits: Limits::default(),
            now: WallTime(1000),
        };
        scene.model.impostor = Some(9);
        let welcomed = scene.model.welcome(9, &Ok(Box::new(welcome)));
        broken(welcomed, "identity", "somebody else's id");
        let before = scene.model.connections.clone();
        assert_eq!(undisturbed(&scene.model, &before), Ok(()));
        scene.model.disconnected(u64::try_from(WORKERS[0].0).expect("small"));
        broken(undisturbed(&scene.model, &before), "identity", "connections were");
    }
}
