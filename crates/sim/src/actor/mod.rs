//! The actors: sessions of agents and clients, as good and as bad as they come.

mod client;
mod habits;
mod operating;
mod person;
mod sending;
mod working;

pub(crate) use person::Actor;
