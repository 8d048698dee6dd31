//! The engine from outside: commands and the time go in, records and effects come out.
//!
//! One program for all of it, because linking takes longer than the tests. All harnesses stand on
//! one, `stage`, whose calls return what they led to; `world` and `agents::world` keep that, to be
//! asked session by session.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod agents;
mod bounds;
mod carried_records;
mod cleaning;
mod dead_letters;
mod deadlock;
mod delays;
mod flow;
mod full;
mod gather;
mod guarantees;
mod keys;
mod leases_of_welcome;
mod letters_index;
mod messages;
mod mixed;
mod pending;
#[cfg(feature = "defects")]
mod planted;
mod records;
mod repeats;
mod schedules;
mod spill;
mod stage;
mod subscriptions;
mod tasks;
mod world;
