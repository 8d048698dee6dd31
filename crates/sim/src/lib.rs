//! The simulator: seeded worlds in which the engine and its log run through faults of every kind,
//! beside a reference model that says what must never happen.
//!
//! Owns virtual time, the driver, the faulty wire and disk, the actors, the model and the laws.
//! It refuses everything that is not decided by the seed: one seed gives one trace. Read `plan`
//! for what a seed decides, `world::run` for how a run goes, `laws` for what is checked.

mod actor;
mod check;
mod cli;
mod day;
mod laws;
mod model;
mod plan;
mod planted;
mod swarm;
mod totals;
mod trace;
mod world;

pub use cli::run;
