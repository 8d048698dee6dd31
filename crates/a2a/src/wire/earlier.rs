//! The generated types and service of the package `a2a.v1`, which is version 0.3 over gRPC.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    missing_debug_implementations,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::map_err_ignore,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/a2a.v1.rs"));
include!(concat!(env!("OUT_DIR"), "/a2a.v1.serde.rs"));
