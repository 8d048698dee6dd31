//! A payload that cannot be read: what becomes of its entry, and that it counts for as much.

use super::{Spilling, few};
use crate::world::config;
use trunkline_engine::{Command, EngineConfig, PayloadStore};
use trunkline_types::session::{ClientFrame, LetterAddress, Operation, Redrive};
use trunkline_types::{Kind, MessageId, Outcome, TaskFilter};

#[test]
fn a_payload_that_cannot_be_read_makes_a_dead_letter_that_says_why() {
    let mut it = Spilling::new(0);
    let id = it.send("skill:s", |_| {});
    let next = it.send("skill:s", |_| {});
    let agent = it.world.try_connect(few(10)).unwrap();
    let places = it.wanted();
    let payloads = places.into_iter().map(|at| {
        let read = it.records.read(at);
        (
            at,
            read.and_then(|read| if read.envelope.id == id { Err("rot".into()) } else { Ok(read) }),
        )
    });
    // Nor when it is tried once more.
    let (payloads, store) = (payloads.collect(), it.records.clone());
    store.0.lock().unwrap().clear();
    it.world.handle(Command::Loaded { payloads });
    assert_eq!(it.world.deliveries(agent)[0].publish.envelope.id, next);
    let letter = &it.letters()[0];
    assert_eq!(letter.publish.envelope.id, id);
    assert!(letter.reason.contains("cannot be read from the log: rot"), "{}", letter.reason);
    assert!(letter.publish.envelope.payload.data.is_empty());
    // It cannot be sent again as if it were whole.
    let again = |it: &mut Spilling, payload| {
        let letter = LetterAddress { id, inbox: None };
        let id = it.world.message(Kind::Request, "skill:s").envelope.id;
        let redrive = Redrive { letter, id, payload, destination: None, priority: None };
        it.world.ask(&mut it.sender, Operation::Redrive(Box::new(redrive)))
    };
    let refusal = again(&mut it, None).unwrap_err();
    assert!(refusal.message.contains("was lost"), "{refusal:?}");
    again(&mut it, Some("again".into())).unwrap();
}

/// One task dies of its handler, the next because its payload cannot be read.
fn two_deaths(config: EngineConfig) -> (Spilling, [MessageId; 2]) {
    let mut it = Spilling::with(EngineConfig { payload_memory: 0, ..config });
    let mut agent = it.world.try_connect(few(10)).unwrap();
    let first = it.send("skill:s", |_| {});
    let delivery = it.world.deliveries(agent).remove(0);
    it.world.settle(&mut agent, delivery.token, Outcome::DeadLetter { reason: "no".to_owned() });
    it.world.frame(agent, ClientFrame::Goodbye);
    let second = it.send("skill:s", |_| {});
    it.world.try_connect(few(10)).unwrap();
    let wanted = it.wanted();
    assert_eq!(wanted.len(), 1);
    it.fail_to_load(wanted);
    (it, [first, second])
}

#[test]
fn a_letter_whose_payload_cannot_be_read_counts_for_as_much_as_where_it_can() {
    let kept = |it: &mut Spilling| -> Vec<_> {
        it.letters().iter().map(|letter| letter.publish.envelope.id).collect()
    };
    // Of 113 and 168 bytes.
    for (bound, both) in [(281, true), (280, false)] {
        let (mut it, [first, second]) =
            two_deaths(EngineConfig { dead_letter_bytes: bound, ..config() });
        let expected = if both { vec![second, first] } else { vec![second] };
        assert_eq!(kept(&mut it), expected, "in the broker that could not read it");
        assert!(it.letters()[0].publish.envelope.payload.data.is_empty());
        let mut it = it.restarted();
        assert_eq!(kept(&mut it), expected, "in one that can");
        assert_eq!(*it.letters()[0].publish, it.sent[1]);
        // What was lost as it is said again counts for as much too.
        let (mut it, [first, second]) =
            two_deaths(EngineConfig { dead_letter_bytes: bound, ..config() });
        let expected = if both { vec![second, first] } else { vec![second] };
        it.clean();
        let mut it = it.restarted();
        assert!(it.letters()[0].publish.envelope.payload.data.is_empty());
        assert_eq!(kept(&mut it), expected, "in one that has only what is left of it");
    }
}

#[test]
fn a_task_whose_payload_cannot_be_read_counts_for_as_much_as_where_it_can() {
    let kept = |it: &mut Spilling| -> Vec<_> {
        it.list(TaskFilter::default()).iter().map(|task| task.id).collect()
    };
    // Of 102 and 159 bytes.
    for (bound, both) in [(261, true), (260, false)] {
        for clean in [false, true] {
            let (mut it, [first, second]) =
                two_deaths(EngineConfig { ended_task_bytes: bound, ..config() });
            let expected = if both { vec![second, first] } else { vec![second] };
            assert_eq!(kept(&mut it), expected, "in the broker that could not read it");
            if clean {
                it.clean();
            }
            let mut it = it.restarted();
            assert_eq!(kept(&mut it), expected, "after a restart, cleaned: {clean}");
        }
    }
}
