//! The real binary, on loopback and in temporary directories.
//!
//! `harness` starts brokers, agents and commands and waits for what they make true; the other
//! files are one subject each.

#![allow(clippy::unwrap_used, reason = "the harness is test code through and through")]

mod a2a_push;
mod agent_options;
mod causes;
mod config;
mod demo_python;
mod descriptors;
mod directory;
mod drain;
mod effects;
mod events;
mod follow;
mod guarantees;
mod harness;
mod help;
mod letters;
mod lifecycle;
mod lists;
mod messages;
mod options;
mod outcomes;
mod proxy;
mod reference;
mod refusals;
mod restart;
mod schedules;
mod sdks;
mod shows;
mod stop;
mod storage;
mod subscriptions;
mod tasks;
mod telling;
mod tenants;
mod torture;
mod version;
mod work;
