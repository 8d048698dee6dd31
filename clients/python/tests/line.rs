//! The queue of the drop-in broker, without an interpreter.

#[path = "../src/line.rs"]
mod line;

use line::{About, Line};
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::thread;
use std::time::Duration;
use trunkline_types::Priority;

const HOUR: Duration = Duration::from_hours(1);
/// Most messages that share a number.
const BUNDLE: usize = 128;

/// What waits: a name, and the number that its end is told by.
type Item = (u32, u64);

fn about(priority: Priority) -> About {
    About { priority, ttl: HOUR, delay: None }
}

fn put(line: &mut Line<Item>, name: u32, about: About) -> u64 {
    let mut given = 0;
    let made = line.put(about, |number| {
        given = number;
        Ok::<_, Infallible>((name, number))
    });
    assert!(made.is_ok());
    given
}

fn counts(line: &Line<Item>) -> [usize; 3] {
    [line.waiting, line.ready, line.open]
}

fn names(items: &[Item]) -> Vec<u32> {
    items.iter().map(|(name, _)| *name).collect()
}

/// Takes one that is in time.
fn take(line: &mut Line<Item>) -> Option<Item> {
    let (item, late) = line.take()?;
    assert!(!late, "{item:?} was in time");
    Some(item)
}

/// Looks whenever the line says so, until something may be taken.
fn until_ready(line: &mut Line<Item>) {
    assert_eq!(names(&line.tell()), []);
    while line.ready == 0 {
        thread::sleep(line.due().expect("something is due"));
        assert_eq!(names(&line.tick()), []);
    }
}

#[test]
fn the_most_urgent_goes_first_and_equal_ones_in_their_order() {
    let mut line = Line::new().unwrap();
    let order = [Priority::Normal, Priority::Low, Priority::Urgent, Priority::High];
    for (name, priority) in (0..).zip(order.iter().cycle().take(12)) {
        put(&mut line, name, about(*priority));
    }
    assert_eq!((counts(&line), line.has_unheard()), ([12, 0, 12], true));
    assert!(line.take().is_none(), "nobody has heard of them");
    assert_eq!(names(&line.tell()), []);
    assert_eq!((counts(&line), line.has_unheard()), ([12, 12, 12], false));
    let taken: Vec<Item> = std::iter::from_fn(|| take(&mut line)).collect();
    assert_eq!(names(&taken), [2, 6, 10, 3, 7, 11, 0, 4, 8, 1, 5, 9]);
    assert_eq!(counts(&line), [0, 0, 12]);
    for (left, (_, number)) in (0..12).rev().zip(taken) {
        line.end(number);
        assert_eq!(counts(&line), [0, 0, left]);
    }
}

#[test]
fn an_envelope_is_of_so_many_at_most_and_of_one_priority() {
    let mut line = Line::new().unwrap();
    let numbers: Vec<u64> =
        (0..).take(BUNDLE + 1).map(|name| put(&mut line, name, about(Priority::Low))).collect();
    assert!(numbers[..BUNDLE].iter().all(|number| *number == numbers[0]));
    assert_ne!(numbers[BUNDLE], numbers[0]);
    // Between others of its priority, another of a second one, and one that comes later.
    let high = put(&mut line, 1000, about(Priority::High));
    let delay = Some(Duration::from_nanos(1));
    let late = put(&mut line, 2000, About { delay, ..about(Priority::Low) });
    let again = put(&mut line, 129, about(Priority::Low));
    assert_eq!(again, numbers[BUNDLE]);
    assert_eq!(HashSet::from([high, late, again, numbers[0]]).len(), 4);
    // What was told is not added to.
    line.tell();
    assert_ne!(put(&mut line, 130, about(Priority::Low)), again);
}

#[test]
fn what_is_delayed_comes_when_it_is_due_and_not_before() {
    let mut line = Line::new().unwrap();
    put(&mut line, 1, About { delay: Some(HOUR), ttl: HOUR * 2, ..about(Priority::Urgent) });
    put(&mut line, 2, About { delay: Some(Duration::from_nanos(1)), ..about(Priority::Low) });
    until_ready(&mut line);
    assert_eq!(take(&mut line).map(|(name, _)| name), Some(2));
    assert_eq!(line.tick(), []);
    assert_eq!((counts(&line), line.take()), ([1, 0, 2], None));
    assert!(line.due().is_some_and(|due| due > HOUR / 2), "it waits for the end of the delay");
    // It is not lost with what is given up.
    assert_eq!(names(&line.clear()), [1]);
    assert_eq!(counts(&line), [0, 0, 1]);
}

#[test]
fn what_is_taken_after_its_time_is_said_to_be_late() {
    let mut line = Line::new().unwrap();
    put(&mut line, 1, About { ttl: Duration::ZERO, ..about(Priority::Normal) });
    put(&mut line, 2, about(Priority::Normal));
    // Its envelope lives as long as the longest, so that nobody gives it up for this.
    assert_eq!(line.tell(), []);
    let (item, late) = line.take().unwrap();
    assert_eq!((item.0, late), (1, true));
    assert_eq!(take(&mut line).map(|(name, _)| name), Some(2));
}

#[test]
fn what_waits_longer_than_its_time_is_given_up_in_its_order() {
    let mut line = Line::new().unwrap();
    let over = Duration::ZERO;
    for name in 0..6 {
        let ttl = if name % 2 == 0 { over } else { HOUR };
        put(&mut line, name, About { ttl, ..about(Priority::Normal) });
    }
    // It is over before its delay is, which the engine says at once.
    let delay = Some(HOUR);
    put(&mut line, 6, About { ttl: over, delay, ..about(Priority::Urgent) });
    assert_eq!((counts(&line), line.due()), ([7, 0, 7], Some(over)));
    assert_eq!(names(&line.tell()), [6]);
    assert_eq!(counts(&line), [6, 6, 6]);
    assert_eq!(names(&line.tick()), [0, 2, 4]);
    assert_eq!(counts(&line), [3, 3, 3]);
    assert!(line.due().is_some_and(|due| due > HOUR / 2), "what is left has its time");
    let left: Vec<Item> = std::iter::from_fn(|| take(&mut line)).collect();
    assert_eq!(names(&left), [1, 3, 5]);
    for (_, number) in left {
        line.end(number);
    }
    assert_eq!(counts(&line), [0, 0, 0]);
}

#[test]
fn what_is_given_up_comes_in_the_order_of_the_envelopes() {
    let mut line = Line::new().unwrap();
    let over = |priority| About { ttl: Duration::ZERO, ..about(priority) };
    let first = put(&mut line, 1, about(Priority::Urgent));
    line.tell();
    take(&mut line);
    put(&mut line, 2, over(Priority::Low));
    line.tell();
    line.end(first);
    // In the place of the first, and yet after the second.
    let third = put(&mut line, 3, over(Priority::High));
    assert_eq!(first & u64::from(u32::MAX), third & u64::from(u32::MAX));
    assert_eq!(line.tell(), []);
    assert_eq!(names(&line.tick()), [2, 3]);
}

#[test]
fn an_envelope_that_was_given_up_leaves_nothing_to_take() {
    let mut line = Line::new().unwrap();
    put(&mut line, 1, About { ttl: Duration::ZERO, ..about(Priority::Normal) });
    assert_eq!((line.tell(), counts(&line)), (Vec::new(), [1, 1, 1]));
    assert_eq!(names(&line.tick()), [1]);
    // Of this one nobody has heard.
    put(&mut line, 2, about(Priority::Normal));
    assert_eq!((line.take(), counts(&line)), (None, [1, 0, 1]));
    line.tell();
    assert_eq!(take(&mut line).map(|(name, _)| name), Some(2));
}

#[test]
fn what_cannot_be_made_leaves_nothing_behind() {
    let mut line = Line::<Item>::new().unwrap();
    let mut given = HashSet::new();
    for _ in 0..3 {
        let made = line.put(about(Priority::Normal), |number| {
            given.insert(number & u64::from(u32::MAX));
            Err("no")
        });
        assert_eq!(made, Err("no"));
    }
    assert_eq!((counts(&line), line.has_unheard(), given.len()), ([0, 0, 0], false, 1));
    put(&mut line, 1, about(Priority::Normal));
    let made = line.put(about(Priority::Normal), |_| Err("not with others either"));
    assert!(made.is_err());
    line.tell();
    assert_eq!((take(&mut line).map(|(name, _)| name), line.take()), (Some(1), None));
}

#[test]
fn what_ends_twice_or_was_never_there_ends_nobody_else() {
    let mut line = Line::new().unwrap();
    let first = put(&mut line, 1, about(Priority::Normal));
    line.tell();
    take(&mut line);
    line.end(first);
    line.end(first);
    assert_eq!(counts(&line), [0, 0, 0]);
    line.tell();
    // In its place, under another number.
    let second = put(&mut line, 2, about(Priority::Normal));
    assert_eq!(first & u64::from(u32::MAX), second & u64::from(u32::MAX));
    for number in [first, first, 0, u64::MAX] {
        line.end(number);
        assert_eq!(counts(&line), [1, 0, 1]);
    }
}

#[test]
fn all_that_nobody_has_taken_is_given_up_at_once() {
    let mut line = Line::new().unwrap();
    put(&mut line, 1, about(Priority::Low));
    line.tell();
    put(&mut line, 2, about(Priority::Urgent));
    line.tell();
    let (_, taken) = take(&mut line).unwrap();
    put(&mut line, 3, about(Priority::Urgent));
    put(&mut line, 4, about(Priority::Low));
    assert_eq!(names(&line.clear()), [1, 3, 4]);
    assert_eq!(counts(&line), [0, 0, 1]);
    line.tell();
    assert!(line.take().is_none());
    line.end(taken);
    assert_eq!(counts(&line), [0, 0, 0]);
    // And it goes on.
    put(&mut line, 5, about(Priority::Low));
    line.tell();
    assert_eq!(take(&mut line).map(|(name, _)| name), Some(5));
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[test]
fn in_whatever_order_it_is_used_it_is_as_four_queues() {
    for seed in 1..=20 {
        let mut dice = Dice(seed * 0x9E37_79B9_7F4A_7C15);
        let mut line = Line::new().unwrap();
        let mut unheard: [VecDeque<u32>; 4] = Default::default();
        let mut queues: [VecDeque<u32>; 4] = Default::default();
        let mut held: Vec<u64> = Vec::new();
        let mut places = 0;
        for name in 0..4000 {
            match dice.below(8) {
                0..=2 => {
                    let urgency = usize::try_from(dice.below(4)).unwrap();
                    let number = put(&mut line, name, about(Priority::ALL[urgency]));
                    places = places.max(number & u64::from(u32::MAX));
                    unheard[urgency].push_back(name);
                }
                3 => {
                    assert_eq!(line.tell(), []);
                    for (queue, more) in queues.iter_mut().zip(&mut unheard) {
                        queue.append(more);
                    }
                }
                4..=5 => {
                    // Of what was gathered, what a full envelope is followed by has been told.
                    let wanted = queues.iter_mut().rev().find_map(VecDeque::pop_front);
                    let taken = take(&mut line);
                    assert_eq!(taken.map(|(name, _)| name), wanted, "seed {seed}");
                    held.extend(taken.map(|(_, number)| number));
                }
                6 if !held.is_empty() => {
                    let one = usize::try_from(dice.below(held.len() as u64)).unwrap();
                    line.end(held.swap_remove(one));
                }
                _ => assert_eq!(line.tick(), []),
            }
            let ready = queues.iter().map(VecDeque::len).sum::<usize>();
            let waiting = ready + unheard.iter().map(VecDeque::len).sum::<usize>();
            assert_eq!(counts(&line), [waiting, ready, waiting + held.len()], "seed {seed}");
        }
        // What has ended leaves room for others.
        assert!(places < 1000, "{places} places for at most {} messages", line.open);
    }
}
