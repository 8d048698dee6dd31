//! Every value comes back as it was, and no bytes make decoding panic.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod broken;
mod carried;
mod fields;
mod round_trip;
mod values;
