//! A2A in front of a real broker with real agents, by real clients of HTTP and gRPC.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod bench;
mod cards;
mod far;
mod faults;
mod grpc;
mod grpc_03;
mod lists;
mod options;
mod own;
mod proxy;
mod proxy_bindings;
mod proxy_faults;
mod proxy_settings;
mod push;
mod send;
mod slow;
mod streams;
mod tasks;
mod unread;
mod v03;
