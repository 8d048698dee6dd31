//! The client against a broker whose every word a test decides.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod answers;
mod broker;
mod layered;
mod operators;
mod options;
mod orphans;
mod queries;
mod real;
mod reconnect;
mod sending;
mod service;
mod sink;
mod transports;
mod watching;
