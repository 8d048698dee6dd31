//! Is it allowed, valid, within bounds: hellos, frames, operations, publishes.

mod agents;
mod check;
mod connect;
mod deadlock;
mod ending;
mod frame;
mod full;
mod keys;
mod origin;
mod outside;
mod pressure;
mod publish;
mod settings;
mod window;

pub(crate) use frame::Answered;
pub(crate) use keys::Keys;
pub(crate) use origin::{Cause, NO_SESSION, Origin};
pub(crate) use outside::{Crowd, Outside};
pub(crate) use publish::nobody;
pub(crate) use window::{Remembered, Window};
