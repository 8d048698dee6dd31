//! The world around the engine: time, the driver with its log, the wire, faults, and the loop
//! that lets one thing happen after the other.

mod broker;
mod calendar;
mod cleaning;
mod clock;
mod draining;
mod driver;
mod facts;
mod faults;
mod index;
mod lying;
mod payloads;
mod quiet;
mod restart;
mod rules;
mod run;
mod settings;
mod tenants;
mod wire;

pub(crate) use broker::DriverDefect;
pub(crate) use calendar::{Calendar, Event, FaultKind};
pub(crate) use clock::Clock;
pub(crate) use rules::SmallRules;
pub(crate) use run::{Outcome, Planted, Setup, World, run};
pub(crate) use tenants::{IMPOSTOR, principal, tenant};
pub(crate) use wire::{Link, ToBroker, ToClient};
