//! The deliveries of an inbox are numbered in the order in which it took envelopes in, and every
//! one that was dropped to make room is told with the next delivery.

use super::deliveries;
use crate::check::{Check, ensure};
use crate::model::Model;
use std::collections::BTreeMap;
use trunkline_types::session::Delivery;
use trunkline_types::{InboxAddress, MessageId, SessionId, Token};

/// From so many ranges on what lies between them is told as missed as well.
const RANGES: usize = 64;

/// What is known of the numbers of an inbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// What was delivered under which number.
    delivered: BTreeMap<u64, MessageId>,
    /// The numbers of logged entries.
    logged: BTreeMap<u64, u64>,
    /// What was told to be missed, and with which delivery last.
    missed: BTreeMap<u64, Token>,
    /// How many were dropped, as records tell, before what is being handled, and since.
    owed: (u64, u64),
}

/// The next thing is about to be handled.
pub(crate) fn pass(model: &mut Model) {
    for numbers in model.numbers.values_mut() {
        numbers.owed = (numbers.owed.0 + numbers.owed.1, 0);
    }
}

/// Whether somebody is to be told of what was dropped from an inbox.
#[cfg(test)]
pub(super) fn owes(model: &Model, inbox: &InboxAddress) -> bool {
    model.numbers.get(inbox).is_some_and(|numbers| numbers.owed != (0, 0))
}

/// An envelope was dropped from an inbox.
pub(crate) fn dropped(model: &mut Model, inbox: &InboxAddress) {
    model.numbers.entry(inbox.clone()).or_default().owed.1 += 1;
}

/// Checks the number of a delivery and what it says was missed.
pub(crate) fn told(model: &mut Model, session: SessionId, delivery: &Delivery) -> Check {
    let Delivery { token, publish, number, missed, .. } = delivery;
    let (id, number) = (publish.envelope.id, *number);
    let inbox = deliveries::lies_in(model, session, delivery);
    let entry = model.granted.get(token).and_then(|grant| grant.entry);
    let numbers = model.numbers.entry(inbox.clone()).or_default();
    let first = numbers.delivered.entry(number).or_insert(id);
    ensure!(*first == id, "numbers", "{id} and {first} have number {number} of {inbox}");
    ensure!(
        !numbers.missed.contains_key(&number),
        "numbers",
        "{id} is delivered as number {number} of {inbox}, which was told to be missed"
    );
    if let Some(entry) = entry {
        numbers.logged.insert(entry, number);
        let before = numbers.logged.range(..entry).next_back().map(|(_, number)| *number);
        let after = numbers.logged.range(entry + 1..).next().map(|(_, number)| *number);
        let right = before.is_none_or(|at| at < number) && after.is_none_or(|at| at > number);
        ensure!(right, "numbers", "{id} has number {number}, between {before:?} and {after:?}");
    }
    let (mut count, mut fresh) = (0, 0);
    for range in missed {
        for told in range.first..=range.last {
            // It is told again if the delivery that told it was lost.
            let before = numbers.missed.insert(told, *token);
            let heard = before.and_then(|token| model.granted.get(&token));
            let heard = heard.is_some_and(|grant| grant.heard && !grant.taken_up);
            ensure!(
                !heard || missed.len() >= RANGES,
                "numbers",
                "number {told} of {inbox} is told to be missed again, and was heard"
            );
            count += 1;
            fresh += u64::from(before.is_none());
        }
    }
    let owed = std::mem::take(&mut numbers.owed.0);
    // What was dropped a moment before, while the same thing was handled, may be told already.
    numbers.owed.1 -= numbers.owed.1.min(fresh.saturating_sub(owed));
    ensure!(
        count >= owed,
        "numbers",
        "{owed} were dropped from {inbox}, {count} are told to be missed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{dropped, told};
    use crate::model::testing::{Scene, WORKERS, broken, publish, skill, token};
    use std::sync::Arc;
    use trunkline_types::session::{Delivery, NumberRange};
    use trunkline_types::{InboxAddress, WallTime};

    fn delivery(id: u64, number: u64, missed: &[(u64, u64)]) -> Delivery {
        let range = |&(first, last): &(u64, u64)| NumberRange { first, last };
        Delivery {
            token: token(id),
            publish: Arc::new(publish(id)),
            inbox: InboxAddress::Skill(skill()),
            attempt: 1,
            accepted_at: WallTime(1000),
            expires_at: None,
            backlog: 0,
            backlog_age: std::time::Duration::ZERO,
            messages: Vec::new(),
            number,
            missed: missed.iter().map(range).collect(),
            max_run: None,
        }
    }

    #[test]
    fn a_number_is_of_one_envelope_and_what_is_missed_never_comes() {
        let mut scene = Scene::new();
        let mut tell = |delivery: &Delivery| told(&mut scene.model, WORKERS[0], delivery);
        assert_eq!(tell(&delivery(1, 1, &[])), Ok(()));
        assert_eq!(tell(&delivery(1, 1, &[])), Ok(()), "again");
        broken(tell(&delivery(2, 1, &[])), "numbers", "have number 1");
        assert_eq!(tell(&delivery(2, 5, &[(2, 3)])), Ok(()));
        assert_eq!(tell(&delivery(3, 6, &[(2, 3)])), Ok(()), "it may have been lost");
        broken(tell(&delivery(3, 3, &[])), "numbers", "which was told to be missed");
    }

    #[test]
    fn every_drop_is_told_with_the_next_delivery() {
        let mut scene = Scene::new();
        dropped(&mut scene.model, &InboxAddress::Skill(skill()));
        assert_eq!(told(&mut scene.model, WORKERS[0], &delivery(1, 1, &[])), Ok(()), "at once");
        scene.at(1001);
        broken(
            told(&mut scene.model, WORKERS[0], &delivery(2, 3, &[])),
            "numbers",
            "1 were dropped",
        );
        dropped(&mut scene.model, &InboxAddress::Skill(skill()));
        scene.at(1002);
        assert_eq!(told(&mut scene.model, WORKERS[0], &delivery(3, 5, &[(4, 4)])), Ok(()));
        dropped(&mut scene.model, &InboxAddress::Skill(skill()));
        let now = delivery(4, 7, &[(6, 6)]);
        assert_eq!(told(&mut scene.model, WORKERS[0], &now), Ok(()), "told at once");
        scene.at(1003);
        assert_eq!(told(&mut scene.model, WORKERS[0], &delivery(5, 8, &[])), Ok(()));
        dropped(&mut scene.model, &InboxAddress::Skill(skill()));
        let again = delivery(6, 9, &[(6, 6)]);
        assert_eq!(told(&mut scene.model, WORKERS[0], &again), Ok(()), "it may have been lost");
        scene.at(1004);
        let check = told(&mut scene.model, WORKERS[0], &delivery(7, 10, &[]));
        broken(check, "numbers", "1 were dropped");
    }

    #[test]
    fn numbers_follow_the_order_of_acceptance() {
        let mut scene = Scene::new();
        scene.accept_synced(1);
        scene.accept_synced(2);
        scene.lease(1, 1, WORKERS[0]).unwrap();
        scene.lease(2, 2, WORKERS[0]).unwrap();
        assert_eq!(told(&mut scene.model, WORKERS[0], &delivery(1, 7, &[])), Ok(()));
        broken(told(&mut scene.model, WORKERS[0], &delivery(2, 6, &[])), "numbers", "between");
    }
}
