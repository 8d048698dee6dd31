//! The generated types of the package `trunkline.v1`; the sources in `proto/` document them.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]

tonic::include_proto!("trunkline.v1");

/// The encoded descriptors of the package, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/trunkline.v1.descriptors"));
