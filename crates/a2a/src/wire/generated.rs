//! The generated types and service of the package `lf.a2a.v1`.

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

include!(concat!(env!("OUT_DIR"), "/lf.a2a.v1.rs"));
include!(concat!(env!("OUT_DIR"), "/lf.a2a.v1.serde.rs"));
