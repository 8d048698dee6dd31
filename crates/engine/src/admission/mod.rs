//! Is it allowed, valid, within bounds: hellos, frames, operations, publishes.

mod connect;
mod ending;
mod frame;
mod keys;
mod publish;
mod window;

pub(crate) use keys::Keys;
pub(crate) use window::{Remembered, Window};
