//! The session protocol on the wire: generated types of `trunkline.v1` and their conversions.
//!
//! [`v1`] holds what the sources in `proto/` generate: messages, the `Broker` service's client
//! and server. Conversions are `From` (encoding never fails) and `TryFrom` with [`DecodeError`]
//! (untrusted bytes never panic and never turn into silent defaults). [`status`] maps refusals to
//! gRPC and back, and [`framed`] puts frames on streams without HTTP/2. It refuses to behave:
//! nothing here opens a socket or keeps state. Frames know nothing of gRPC, so that they can
//! travel over any stream that keeps their bounds.

mod bounds;
mod carried;
mod codec;
mod convert;
mod decode;
pub mod framed;
pub mod metadata;
pub mod status;
pub mod v1;

pub use bounds::{FRAME_BYTES, FRAME_FULL_BYTES, TEXT_BYTES, check_operation};
pub use carried::{Carried, CarriedItem, CarriedOperation, Carry};
pub use convert::server_frame;
pub use decode::DecodeError;
