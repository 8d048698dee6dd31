//! The standard's messages, as protobuf and as JSON.
//!
//! The messages are generated from `proto/lf/a2a/v1/a2a.proto`, those of version 0.3 over gRPC from
//! `proto/a2a/v1/a2a.proto`, their JSON by the `ProtoJSON` rules;
//! three of Google's types have forms of our own here, because the usual ones make floats of
//! integers or bring a calendar library along. Read the proto file first.

pub mod earlier;
mod generated;
mod timestamp;
mod value;

pub use generated::*;
pub use timestamp::Timestamp;
pub use value::{Struct, Value};

/// The encoded descriptors of both packages, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/a2a.descriptors"));
