//! A group shares its events: each goes to one of the subscriptions in it that want it.

use super::{bounds, copies};
use crate::check::{Check, ensure};
use crate::model::{Model, wants};
use std::collections::BTreeSet;
use trunkline_types::session::Subscription;
use trunkline_types::{AgentId, GroupName, InboxAddress, MessageId, Publish, SessionId};

/// Who got an event on behalf of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Member {
    Agent(AgentId),
    Session(SessionId),
}

/// Checks the inboxes that an event on a topic went to.
pub(crate) fn inboxes(
    model: &mut Model,
    publish: &Publish,
    found: &BTreeSet<InboxAddress>,
    too_many: usize,
) -> Check {
    let id = publish.envelope.id;
    let wanting: Vec<_> = model
        .book
        .subscriptions
        .iter()
        .filter(|(_, wanted)| wants::subscribed(wanted, publish))
        .cloned()
        .collect();
    let alone: BTreeSet<_> = wanting
        .iter()
        .filter(|(_, wanted)| wanted.group.is_none() && !may_miss(model, id, wanted))
        .map(|(agent, _)| InboxAddress::Agent(agent.clone()))
        .collect();
    let taking = wanting.iter().filter(|(_, wanted)| !misses(model, id, wanted));
    let all: BTreeSet<_> = taking.map(|(agent, _)| InboxAddress::Agent(agent.clone())).collect();
    ensure!(found.is_subset(&all), "routing", "event {id} goes to {found:?}, {all:?} want it");
    copies::left_out(model, id, alone.difference(found), too_many)?;
    let groups: BTreeSet<_> = wanting.iter().filter_map(|(_, own)| own.group.clone()).collect();
    for group in groups {
        let members = wanting.iter().filter(|(_, own)| own.group.as_ref() == Some(&group));
        let reached = members
            .map(|(agent, _)| agent.clone())
            .filter(|agent| found.contains(&InboxAddress::Agent(agent.clone())));
        let reached: BTreeSet<_> = reached.collect();
        let by_session = model.sessions.values().any(|session| {
            session.subscriptions.iter().any(|own| own.group.as_ref() == Some(&group))
        });
        let mut members = wanting.iter().filter(|(_, own)| own.group.as_ref() == Some(&group));
        let missed = members.all(|(_, own)| may_miss(model, id, own));
        ensure!(
            !reached.is_empty() || missed || by_session || too_many > 0 || bounds::are_tight(model),
            "groups",
            "event {id} goes to nobody of group {group}"
        );
        for agent in reached {
            let own = wanting.iter().filter(|(owner, _)| *owner == agent).map(|(_, own)| own);
            if sole_group(own, publish) == Some(&group) {
                note(model, id, &group, &Member::Agent(agent))?;
            }
        }
    }
    Ok(())
}

/// Whether a subscription may miss an event because its filter was not evaluated on it.
pub(super) fn may_miss(model: &Model, id: MessageId, wanted: &Subscription) -> bool {
    let filter = wanted.filter.as_ref();
    filter.is_some_and(|filter| model.costly.contains_key(&(id, filter.clone())))
}

/// Whether a subscription misses what is being accepted for certain.
fn misses(model: &Model, id: MessageId, wanted: &Subscription) -> bool {
    let filter = wanted.filter.as_ref();
    let command = filter.and_then(|filter| model.costly.get(&(id, filter.clone())));
    // What waited is looked at anew when it is routed.
    command == Some(&model.command) && !model.book.sent.contains_key(&id)
}

/// Checks that an event told to a session went to nobody else of its group.
pub(crate) fn told(model: &mut Model, session: SessionId, publish: &Publish) -> Check {
    let Some(row) = model.sessions.get(&session) else { return Ok(()) };
    let Some(group) = sole_group(row.subscriptions.iter(), publish).cloned() else { return Ok(()) };
    note(model, publish.envelope.id, &group, &Member::Session(session))
}

/// The group on whose behalf somebody with these subscriptions gets an event, if it can be no
/// other and nothing else of his wants it.
fn sole_group<'a>(
    own: impl Iterator<Item = &'a Subscription>,
    publish: &Publish,
) -> Option<&'a GroupName> {
    let mut groups = own.filter(|own| wants::subscribed(own, publish)).map(|own| &own.group);
    let first = groups.next()?.as_ref()?;
    groups.all(|other| other.as_ref() == Some(first)).then_some(first)
}

fn note(model: &mut Model, id: MessageId, group: &GroupName, member: &Member) -> Check {
    let key = (id, group.clone());
    model.shared += u64::from(!model.grouped.contains_key(&key));
    let first = model.grouped.entry(key).or_insert_with(|| member.clone());
    ensure!(
        *first == *member,
        "groups",
        "event {id} goes to {member:?} and to {first:?}, both of group {group}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{inboxes, told};
    use crate::check::Check;
    use crate::model::testing::{SENDER, Scene, broken, publish};
    use crate::model::{Fact, Model};
    use trunkline_types::session::Subscription;
    use trunkline_types::{AgentId, Destination, InboxAddress, Publish};

    fn agent(id: &str) -> AgentId {
        AgentId::new(id).expect("a name")
    }

    fn event(number: u64) -> Publish {
        let mut event = publish(number);
        event.envelope.destination = Destination::topic("t.a").expect("a topic");
        event
    }

    fn subscription(group: Option<&str>) -> Subscription {
        let group = group.map(|group| group.parse().expect("a name"));
        Subscription { group, ..Subscription::new("t.*".parse().expect("a pattern")) }
    }

    /// Both workers want the events of a topic kept for them.
    fn scene(groups: [Option<&str>; 2]) -> Scene {
        let mut scene = Scene::new();
        for (id, group) in ["a2", "a3"].into_iter().zip(groups) {
            let subscription = Subscription { durable: true, ..subscription(group) };
            scene.fact(Fact::Subscribed { agent: agent(id), subscription }).expect("it may");
        }
        scene
    }

    fn goes_to(model: &mut Model, number: u64, agents: &[&str]) -> Check {
        let found = agents.iter().map(|id| InboxAddress::Agent(agent(id))).collect();
        inboxes(model, &event(number), &found, 0)
    }

    #[test]
    fn an_event_goes_to_one_member_of_a_group_and_stays_with_it() {
        let mut scene = scene([Some("g"), Some("g")]);
        assert_eq!(goes_to(&mut scene.model, 1, &["a2"]), Ok(()));
        assert_eq!(goes_to(&mut scene.model, 1, &["a2"]), Ok(()), "again");
        broken(goes_to(&mut scene.model, 1, &["a3"]), "groups", "both of group g");
        broken(goes_to(&mut scene.model, 2, &["a2", "a3"]), "groups", "both of group g");
        broken(goes_to(&mut scene.model, 3, &[]), "groups", "to nobody of group g");
    }

    #[test]
    fn who_wants_an_event_alone_gets_it_whatever_groups_there_are() {
        let mut scene = scene([None, Some("g")]);
        assert_eq!(goes_to(&mut scene.model, 1, &["a2", "a3"]), Ok(()));
        broken(goes_to(&mut scene.model, 2, &["a3"]), "routing", "leaves out");
        broken(goes_to(&mut scene.model, 3, &["a2", "a3", "a9"]), "routing", "want it");
    }

    #[test]
    fn whose_filter_was_not_evaluated_misses_the_event() {
        let mut scene = scene([None, None]);
        let filter: trunkline_types::Filter = "h=a".parse().expect("a filter");
        let wanted = Subscription { filter: Some(filter.clone()), ..subscription(None) };
        let wanted = Subscription { durable: true, ..wanted };
        let own = Fact::Unsubscribed { agent: agent("a2"), subscription: wanted.clone() };
        scene.fact(own).expect("it may");
        scene.model.book.subscriptions.retain(|(owner, _)| *owner != agent("a2"));
        scene.fact(Fact::Subscribed { agent: agent("a2"), subscription: wanted }).expect("it may");
        let mut event = event(1);
        event.envelope.headers.push(("h".into(), "a".into()));
        let goes_to = |model: &mut Model, agents: &[&str]| {
            let found = agents.iter().map(|id| InboxAddress::Agent(agent(id))).collect();
            inboxes(model, &event, &found, 0)
        };
        assert_eq!(goes_to(&mut scene.model, &["a2", "a3"]), Ok(()));
        broken(goes_to(&mut scene.model, &["a3"]), "routing", "leaves out");
        scene.model.leave_out(event.envelope.id, &filter);
        broken(goes_to(&mut scene.model, &["a2", "a3"]), "routing", "want it");
        assert_eq!(goes_to(&mut scene.model, &["a3"]), Ok(()));
        scene.at(1002);
        assert_eq!(goes_to(&mut scene.model, &["a2", "a3"]), Ok(()), "looked at again later");
    }

    #[test]
    fn a_session_is_a_member_like_an_agent() {
        let mut scene = scene([Some("g"), Some("h")]);
        let own = scene.model.sessions.get_mut(&SENDER).expect("it is there");
        own.subscriptions.push(subscription(Some("g")));
        assert_eq!(told(&mut scene.model, SENDER, &event(1)), Ok(()));
        broken(goes_to(&mut scene.model, 1, &["a2", "a3"]), "groups", "both of group g");
        assert_eq!(goes_to(&mut scene.model, 2, &["a2", "a3"]), Ok(()));
        broken(told(&mut scene.model, SENDER, &event(2)), "groups", "both of group g");
    }
}
