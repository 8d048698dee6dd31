//! `trunkline demo`: a broker and agents at work on real files, in processes of their own.
//!
//! Owns the agents of the demo (`roles`), their processes and the broker's (`stage`), and what is
//! shown of their work (`show`). It refuses to pretend: every figure is counted where it happens,
//! and the word count is checked. `python` runs the examples in Python instead. Read `run` first.

mod args;
mod figures;
mod files;
mod python;
mod roles;
mod run;
mod show;
mod stage;

pub(crate) use args::DemoArgs;
pub(crate) use run::run;
